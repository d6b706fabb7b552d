"""Rebalancing rules around a policy: when a rebalance is due, and how far it trades; otherwise the policy holds.

What can go wrong: a book that does not reach its target at once, because sales come before purchases. The same target
has `FOLLOW_UPS` further decisions, drifted with the market; while they last, no drift counts. What is missing after
them is remembered, and a threshold does not trade for it each day. An event is raised once, and again only after it has
passed.

The policy inside is called at every sample, also where nothing is due, so that its memory advances.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.strategies.policies.members import RULED, Ruled, noted, unpacked
from quantd.strategies.regimes import RegimeParams, in_force, market_of, model_of
from quantd.strategies.weights.combination import drifted
from quantd.strategies.weights.rebalancing import (
    PERIODS,
    correlation_change,
    covariance_of,
    drift_of,
    limited,
    reachable,
    risk_drift_of,
    volatility_ratio,
    worth_trading,
)
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import HOLD, Hold, Memory, Noted, View, own_memory, under

FOLLOW_UPS: Final = 2
"""Number of follow-up decisions with the same target, if the book has not reached it: sales come before purchases."""

REACHED: Final = 0.005
"""Maximum difference of any weight at which a book has reached its target."""

WORDS: Final = {"regime": "the regime changed", "volatility": "volatility jumped", "correlation": "correlations broke"}
EVENTS: Final = tuple(WORDS)

PASSED: Final = 0.8
"""An event has passed when its measure is below this share of the level that raises it."""

REGIMES: Final = model_of(RegimeParams())


class CostAware(Struct, frozen=True):
    """Trades only as far as the gain in utility exceeds the costs.

    The utility is that of a smaller distance from the target over `horizon` samples, with `risk_aversion`. Costs are
    `cost_bp` of the value traded, and `fixed` per trade in account currency.
    """

    cost_bp: float
    fixed: float = 0.0
    risk_aversion: float = 5.0
    horizon: int = 63


class RebalanceRules(Struct, frozen=True):
    """Rules for when a rebalance is due, and for the size of its trades.

    `when`: "always"; "calendar", at the first decision in a period of `every`; "threshold", if a weight differs by more
    than `drift` or a share of the risk by more than `risk_drift`; "event", at one of `events`, at least `wait` samples
    after the last rebalance. The fields from `band` on limit the trades (`quantd.strategies.weights.rebalancing`).
    """

    when: Literal["always", "calendar", "threshold", "event"] = "always"
    every: str = "month"
    drift: float = 0.05
    risk_drift: float = 0.03
    events: tuple[str, ...] = EVENTS
    wait: int = 5
    lookback: int = 126
    short: int = 21
    volatility_ratio: float = 2.0
    correlation_change: float = 0.35
    band: float = 0.0
    max_change: float = 1.0
    max_trades: int = 1_000_000
    max_turnover: float = 1_000_000.0
    min_notional: float = 0.0
    cost_aware: CostAware | None = None


@dataclass(frozen=True, slots=True)
class Rebalanced(Ruled):
    """Calls `policy` at every decision, so that its memory stays current, and trades its weights when that is due.

    The first nonzero target is due, and into an empty book its trades are not limited. Targets are scaled by `room`,
    the share of weights (at most 1) that the plan can reach at worst prices: the rest is no drift.
    A rebalance that limits or costs cut short is continued by the next.
    """

    rules: RebalanceRules
    room: Callable[[Floats], float] = lambda weights: 1.0

    @property
    def lookback(self) -> int:
        """The longest window of the policy and of the rules that are switched on, in samples."""
        rules = self.rules
        events = max(rules.lookback, REGIMES.lookback) if rules.when == "event" else 1
        risk = rules.lookback if rules.when == "threshold" or rules.cost_aware is not None else 1
        return max(self.policy.lookback, events, risk)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Implements `Policy.act`: weights towards the policy's target when a rebalance is due by the rules, or its
        follow-up; HOLD otherwise.
        """
        given, remembered = self.policy.act(view, own_memory(memory, RULED))
        wanted, note, warns = unpacked(given)
        words = [(note, warns)]
        rule_memory = own_memory(memory, "rebalance")
        if self.rules.when == "event":
            rule_memory = self._watched(view, rule_memory)
        answer: Floats | Hold = HOLD
        # a drift counts only after the follow-up orders of the last target
        waits = self.rules.when == "threshold" and "asked" in rule_memory
        target = None if isinstance(wanted, Hold) or waits else wanted * self.room(wanted)
        if target is not None and (target.any() or view.weights.any()) and self._due(target, view, rule_memory):
            answer = self._towards(target, view, first="last" not in rule_memory)
            rule_memory = self._rebalanced(answer, view, rule_memory)
        elif "asked" in rule_memory:
            answer, rule_memory = self._follow_up(view, rule_memory)
        if "event" in rule_memory:
            event, day = EVENTS[int(rule_memory["event"][0])], np.datetime64(int(rule_memory["event"][1]), "D")
            words.append((f"rebalanced on {day}: {WORDS[event]}", False))
        return noted(answer, words), under(RULED, remembered) | under("rebalance", rule_memory)

    def _due(self, target: Floats, view: View, rule_memory: Memory) -> bool:
        rules, last = self.rules, rule_memory.get("last")
        if last is None or rules.when == "always":
            return True
        if rules.when == "calendar":
            period = PERIODS[rules.every]
            return period(day_of(view)) != period(int(last[0]))
        if rules.when == "threshold":
            held = view.weights
            near = reachable(target, held, rule_memory["short"]) if "short" in rule_memory else target
            if drift_of(held, near) > rules.drift:
                return True
            return risk_drift_of(held, near, view.shared_by_date(covariance_of, rules.lookback)) > rules.risk_drift
        return "pending" in rule_memory and view.sample - int(last[1]) >= rules.wait

    def _towards(self, target: Floats, view: View, first: bool) -> Floats | Hold:
        """Return the weights after the rebalance, or a hold if nothing is worth trading."""
        rules, held = self.rules, view.weights
        weights = target
        if rules.cost_aware is not None:
            aware = rules.cost_aware
            risk = view.shared_by_date(covariance_of, rules.lookback) * (aware.risk_aversion * aware.horizon)
            cost = np.full(len(target), aware.cost_bp / 1e4)
            weights = worth_trading(target, held, risk, cost, aware.fixed / view.equity if view.equity > 0.0 else 0.0)
        if not (first and not held.any()):
            weights = limited(
                weights,
                held,
                band=rules.band,
                max_change=rules.max_change,
                max_trades=rules.max_trades,
                max_turnover=rules.max_turnover,
                least=rules.min_notional / view.equity if view.equity > 0.0 else 0.0,
            )
        return HOLD if np.array_equal(weights, held) else weights

    def _rebalanced(self, answer: Floats | Hold, view: View, rule_memory: Memory) -> dict[str, Floats]:
        new = {name: value for name, value in rule_memory.items() if name not in ("asked", "left", "short", "pending")}
        new["last"] = np.array([float(day_of(view)), float(view.sample)])
        if "pending" in rule_memory:
            new["event"] = np.array([rule_memory["pending"][0], float(day_of(view))])
        if not isinstance(answer, Hold):
            new |= {"asked": answer, "left": np.array([float(FOLLOW_UPS), float(view.sample)])}
        return new

    def _follow_up(self, view: View, rule_memory: Memory) -> tuple[Floats | Hold, dict[str, Floats]]:
        """Return the last target, drifted since, while the book has not reached it, and the new memory."""
        new_memory = {name: value for name, value in rule_memory.items() if name not in ("asked", "left")}
        follow_ups, at = rule_memory["left"].astype(int).tolist()
        goal = rule_memory["asked"]
        if goal.shape != view.weights.shape:
            return HOLD, new_memory
        elapsed = min(view.sample - at, self.lookback)
        if elapsed <= 0:
            return HOLD, dict(rule_memory)
        goal = drifted(goal[None], view.returns(elapsed))[1][0]
        if drift_of(goal, view.weights) <= REACHED:
            return HOLD, new_memory
        if follow_ups > 1:
            new_memory |= {"asked": goal, "left": np.array([follow_ups - 1.0, float(view.sample)])}
        else:
            new_memory["short"] = goal - view.weights
        return goal, new_memory

    def _watched(self, view: View, rule_memory: Memory) -> dict[str, Floats]:
        """Return the memory with the first pending event. An event is raised again only after it has passed."""
        rules = self.rules
        new: dict[str, Floats] = {name: value for name, value in rule_memory.items() if not name.startswith("regime/")}
        flags = rule_memory.get("flags", np.zeros(2)).copy()
        raised = []
        if "regime" in rules.events:
            current = in_force(REGIMES, view, rule_memory)
            new |= current.memory
            if current.switched and "regime/since" in rule_memory:
                raised.append("regime")
        market = market_of(view, REGIMES.params, rules.lookback)
        for k, event in enumerate(("volatility", "correlation")):
            if event not in rules.events:
                continue
            share = (
                volatility_ratio(market, rules.short) / rules.volatility_ratio
                if event == "volatility"
                else correlation_change(view.synchronous(rules.lookback), rules.short) / rules.correlation_change
            )
            if share >= 1.0 and not flags[k]:
                raised.append(event)
            flags[k] = share >= (PASSED if flags[k] else 1.0)
        new["flags"] = flags
        if raised and "last" in rule_memory and "pending" not in rule_memory:
            new["pending"] = np.array([float(EVENTS.index(raised[0]))])
        return new


def day_of(view: View) -> int:
    """Return the day of the decision since 1970-01-01; a decision at midnight belongs to the day that ends."""
    return (view.time - 1) // DAY_NS
