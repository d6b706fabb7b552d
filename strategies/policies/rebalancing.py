"""Rebalancing rules around a policy: when a rebalance is due, and how far it trades. At other times the policy holds.

What can go wrong: a book that does not reach its target at once, because sales come before purchases. The engine
trades the rest while the policy holds. So for a threshold no drift counts until `SETTLES` samples have passed. What the
book then still misses of its target is stored, so that a threshold does not trade for it each day. An event (such as
high volatility) is raised once, and again only after it has passed.

The rules store these keys in memory: "last", the day and sample of the last rebalance; "asked", its target until the
book has settled; "short", what the book then missed; "pending", the index of an event that has not been traded yet;
"event", the index and day of the last traded event; "flags", whether volatility and correlation were raised and have
not passed.

A policy with a memory is called at every sample, even if no rebalance is due, so that its memory advances. A stateless
one is not called between the dates of a calendar.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.strategies.policies.members import RULED, Ruled, noted, unpacked
from quantd.strategies.regimes import RegimeParams, in_force, market_of, model_of
from quantd.strategies.weights.combination import drifted
from quantd.strategies.weights.rebalancing_rules import (
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

SETTLES: Final = 4
"""Samples after a rebalance within which the book reaches its target, as far as it can: its orders and the engine's
follow-ups."""

WORDS: Final = {"regime": "the regime changed", "volatility": "volatility jumped", "correlation": "correlations broke"}
EVENTS: Final = tuple(WORDS)

PASSED: Final = 0.8
"""An event has passed when its measure is below this fraction of the level that raises it."""

ONLY_LAST: Final = {"rebalance/last"}
"""The names in a memory that has the last rebalance alone."""

REGIMES: Final = model_of(RegimeParams())


class CostAware(Struct, frozen=True):
    """Trades only as far as the gain in utility exceeds the costs.

    The utility gained comes from the smaller distance from the target over `horizon` samples, at `risk_aversion`. Costs
    are `cost_bp` of the value traded, and `fixed` per trade in account currency.
    """

    cost_bp: float
    fixed: float = 0.0
    risk_aversion: float = 5.0
    horizon: int = 63


class RebalanceRules(Struct, frozen=True):
    """Rules for when a rebalance is due, and for the size of its trades.

    `when` is "always"; "calendar", at the first decision in a period of `every`; "threshold", if a weight differs by
    more than `drift` or a share of the risk by more than `risk_drift`, which is off at 1; "event", at one of `events`,
    at least `wait` samples after the last rebalance. The fields from `band` on limit the trades
    (`quantd.strategies.weights.rebalancing_rules`).
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
    """Calls `policy` at every decision, so that its memory stays current, and trades when a rebalance is due. If the
    policy is `stateless`, it is not called in a period of the calendar that has been traded.

    For the first nonzero target a rebalance is due, and its trades are not limited if the book is empty. `room` maps
    weights to the fraction of them (at most 1) that the limits let a book hold. Targets are multiplied by
    this fraction, so that only a difference that orders can close counts as drift. A rebalance whose trades are reduced
    by limits or costs is continued by the next rebalance.
    """

    rules: RebalanceRules
    room: Callable[[Floats], float] = lambda weights: 1.0
    stateless: bool = False

    @property
    def lookback(self) -> int:
        """The longest window of the policy and of the rules that are switched on, in samples."""
        rules = self.rules
        events = max(rules.lookback, REGIMES.lookback) if rules.when == "event" else 1
        drift = (rules.lookback if rules.risk_drift < 1.0 else SETTLES) if rules.when == "threshold" else 1
        risk = rules.lookback if rules.cost_aware is not None else drift
        return max(self.policy.lookback, events, risk)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Implements `Policy.act`: weights towards the policy's target when a rebalance is due by the rules, HOLD
        otherwise.

        The memory of the rules has "last", the day and sample of the last rebalance; "asked", the target that the book
        may not have reached yet; and "event", the event of the last rebalance with its day.
        """
        # with another entry than "last", the rules were others before, and have something to settle or to say
        traded = self.stateless and self.rules.when == "calendar" and memory.keys() == ONLY_LAST
        if traded and not self._new_period(view, memory["rebalance/last"]):
            return HOLD, memory
        rule_memory = own_memory(memory, "rebalance")
        policy_answer, remembered = self.policy.act(view, own_memory(memory, RULED))
        policy_weights, note, warns = unpacked(policy_answer)
        words = [(note, warns)]
        if self.rules.when == "event":
            rule_memory = self._watched(view, rule_memory)
        answer: Floats | Hold = HOLD
        if "asked" in rule_memory:
            rule_memory = self._settled(view, rule_memory)
        # a drift counts only after the follow-up orders of the last target
        settling = "asked" in rule_memory
        target = None if isinstance(policy_weights, Hold) or settling else policy_weights * self.room(policy_weights)
        # an empty target for an empty book is no rebalance
        if target is not None and (target.any() or view.weights.any()) and self._due(target, view, rule_memory):
            answer = self._towards(target, view, first="last" not in rule_memory)
            rule_memory = self._rebalanced(answer, view, rule_memory)
        if "event" in rule_memory:
            event, day = EVENTS[int(rule_memory["event"][0])], np.datetime64(int(rule_memory["event"][1]), "D")
            words.append((f"rebalanced on {day}: {WORDS[event]}", False))
        return noted(answer, words), under(RULED, remembered) | under("rebalance", rule_memory)

    def _due(self, target: Floats, view: View, rule_memory: Memory) -> bool:
        """Return True if the rules ask for a rebalance towards `target` now.

        In the memory, "last" has the day and the sample of the last rebalance, "short" the target less the weights
        after its follow-ups, and "pending" an event that awaits a rebalance.
        """
        rules, last = self.rules, rule_memory.get("last")
        if last is None or rules.when == "always":
            return True
        if rules.when == "calendar":
            return self._new_period(view, last)
        if rules.when == "threshold":
            held = view.weights
            reachable_target = reachable(target, held, rule_memory["short"]) if "short" in rule_memory else target
            if drift_of(held, reachable_target) > rules.drift:
                return True
            return rules.risk_drift < 1.0 and (
                risk_drift_of(held, reachable_target, view.shared_by_date(covariance_of, rules.lookback))
                > rules.risk_drift
            )
        return "pending" in rule_memory and view.sample - int(last[1]) >= rules.wait

    def _new_period(self, view: View, last: Floats) -> bool:
        """Return True if the calendar's period has changed since the rebalance `last`, its day and sample."""
        period = PERIODS[self.rules.every]
        return period(day_of(view)) != period(int(last[0]))

    def _towards(self, target: Floats, view: View, first: bool) -> Floats | Hold:
        """Return the weights float64[N] after the rebalance, or HOLD if no trade is worth its costs or all are too
        small.

        `first` is True for the first rebalance; if the book is empty then, no limit on trades applies.
        """
        rules, held = self.rules, view.weights
        weights = target
        if rules.cost_aware is not None:
            aware = rules.cost_aware
            risk = view.shared_by_date(covariance_of, rules.lookback) * (aware.risk_aversion * aware.horizon)
            cost = np.full(len(target), aware.cost_bp / 1e4)
            # the fixed cost of a trade, as a fraction of the equity
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
        """Return the rules' memory after a rebalance to the weights `answer`."""
        new_memory = {name: value for name, value in rule_memory.items() if name not in ("asked", "short", "pending")}
        new_memory["last"] = np.array([float(day_of(view)), float(view.sample)])
        if "pending" in rule_memory:
            new_memory["event"] = np.array([rule_memory["pending"][0], float(day_of(view))])
        if self.rules.when == "threshold" and not isinstance(answer, Hold):
            new_memory["asked"] = answer
        return new_memory

    def _settled(self, view: View, rule_memory: Memory) -> dict[str, Floats]:
        """Return the rules' memory; once the last target's follow-ups are over, with "short" in place of "asked"."""
        new_memory = {name: value for name, value in rule_memory.items() if name != "asked"}
        goal, elapsed = rule_memory["asked"], view.sample - int(rule_memory["last"][1])
        if goal.shape != view.weights.shape:
            return new_memory
        if elapsed < SETTLES:
            return dict(rule_memory)
        # the target, drifted with the market since
        goal = drifted(goal[None], view.returns(min(elapsed, self.lookback)))[1][0]
        return new_memory | {"short": goal - view.weights}

    def _watched(self, view: View, rule_memory: Memory) -> dict[str, Floats]:
        """Return the rules' memory, with the first new event (such as high volatility) as pending.

        A pending event awaits a rebalance; while there is one, new events are dropped. An event is raised again only
        after it has passed.
        """
        rules = self.rules
        new_memory: dict[str, Floats] = {
            name: value for name, value in rule_memory.items() if not name.startswith("regime/")
        }
        raised_flags = rule_memory.get("flags", np.zeros(2)).copy()
        new_events = []
        if "regime" in rules.events:
            current = in_force(REGIMES, view, rule_memory)
            new_memory |= current.memory
            if current.switched and "regime/since" in rule_memory:
                new_events.append("regime")
        market = market_of(view, REGIMES.params, rules.lookback)
        for k, event in enumerate(("volatility", "correlation")):
            if event not in rules.events:
                continue
            fraction_of_level = (
                volatility_ratio(market, rules.short) / rules.volatility_ratio
                if event == "volatility"
                else correlation_change(view.synchronous(rules.lookback), rules.short) / rules.correlation_change
            )
            if fraction_of_level >= 1.0 and not raised_flags[k]:
                new_events.append(event)
            # a raised event has passed once the measure is below PASSED times its level
            raised_flags[k] = fraction_of_level >= (PASSED if raised_flags[k] else 1.0)
        new_memory["flags"] = raised_flags
        # before the first rebalance an event has nothing to change
        if new_events and "last" in rule_memory and "pending" not in rule_memory:
            new_memory["pending"] = np.array([float(EVENTS.index(new_events[0]))])
        return new_memory


def day_of(view: View) -> int:
    """Return the day of the decision since 1970-01-01; a decision at midnight belongs to the day that ends."""
    return (view.time - 1) // DAY_NS
