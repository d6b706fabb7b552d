"""Makes the gates (checks of orders) of the compiled fold from sets of limits.

`unknown_to_plans` names a limit that only Python applies.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from quantd.daemon.engine.core.limiter import (
    DEVIATION,
    DEVIATION_AND_MEAN,
    HISTORY,
    TAIL_OF,
    Limiter,
    Statistic,
)
from quantd.daemon.engine.core.newest_returns import NewestReturns, bounds_of
from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import LIMIT_OF, Limits
from quantd.risk.limits.context import Context, Floats, Scenarios
from quantd.risk.limits.eligibility import blocked, no_borrow, price_age, price_missing, restricted, short, worst_price
from quantd.risk.limits.kinds import Refused
from quantd.risk.limits.orders import duplicate, liquidity, order_notional, share_of_volume, volume_missing
from quantd.risk.limits.position import position_weight, sector_missing
from quantd.risk.limits.ruleset import Rules, rules_of
from quantd.risk.limits.tail_risk import shock_missing
from quantd.risk.measures.portfolio import tail_count
from quantd.risk.pretrade.gate import LOOPS
from quantd.risk.pretrade.gate_bounds import Cap
from quantd.risk.pretrade.gate_inputs import Market, Prepared
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.scenes import Losses, Scene, Spread
from quantd.trading.instruments import Universe
from quantd.trading.number_types import float_zeros, int_zeros

STEADY: Final = frozenset(
    {no_borrow, position_weight, price_age, price_missing, restricted, sector_missing, short, worst_price}
)
"""Caps that are the same at every bar in which all symbols have prices."""

BY_VOLUME: Final = frozenset({liquidity, share_of_volume, volume_missing})
"""Caps that follow from the average volume alone."""


@dataclass(frozen=True, slots=True)
class GateSet:
    """A set of limits: its `limiter` (the checks of the compiled fold), and the rules and market with which the caps
    of an agent are made anew while symbols are in a cooldown."""

    limiter: Limiter
    rules: Rules
    market: Market
    rare: NewestReturns
    by_volume: bool
    """Whether a cap follows from the average volume."""

    def moved(self, rules: Rules) -> "GateSet":
        """The same gates with the bounds of `rules`, which differ from theirs in moving limits alone."""
        for row, linear in zip(self.limiter.bounds.rows, rules.rows, strict=True):
            row.bound, row.settled_bound = linear.bound, linear.settled_bound
        return replace(self, rules=rules)

    def caps(self, account: Account, requested: Floats) -> list[Cap]:
        """Return the caps of a gate on an account with blocked symbols (cooldown after an exit)."""
        bars = [
            (order, code, Refused(columns, columns))
            for order, code, refusal in self.rules.bars
            if refusal is blocked and (columns := refusal(self.rules, account, requested)) is not None
        ]
        return self.market.barred(bars) if bars else self.limiter.caps


def unknown_to_plans(limits: Limits, universe: Universe) -> str:
    """Return the key of the first limit that the fold's gate cannot apply, because it depends on more than complete
    bars and the account; empty for none.

    The fold is the compiled fast path. The kinds of limits are checked one after the other: those that bar a symbol,
    those of the opening of positions, unmeasured ones, traded sums, tails, counts, caps on orders, and quadratic ones.
    """
    rules = rules_of(limits, universe)
    for _, code, barring_check in rules.bars:
        if barring_check not in (blocked, duplicate, shock_missing) or (
            barring_check is shock_missing and limits.stress is not None
        ):
            return LIMIT_OF[code]
    unknown_keys = [LIMIT_OF[code] for code, _ in rules.openings] + [row.key for row in rules.unmeasured]
    unknown_keys += [key for key, _, _ in rules.traded_measures] + [tail.key for tail in rules.tails if tail.filtered]
    unknown_keys += [count.key for count in rules.counts if count.key != "max_open_orders"]
    for _, code, cap in rules.caps:
        disabled = cap is order_notional and limits.max_order_notional is None
        if not (cap in STEADY or cap in BY_VOLUME or disabled):
            unknown_keys.append(LIMIT_OF[code])
    for quad in rules.quads:
        scenarios = Scenarios(np.zeros((max(quad.lookback, 2), universe.size)))
        if quad.spread is not None and quad.spread(scenarios) is not scenarios.sample:
            unknown_keys.append(quad.key)
    return unknown_keys[0] if unknown_keys else ""


def gate_set(limits: Limits, universe: Universe) -> GateSet | None:
    """Return a gate (check of orders) for a set of limits; None if a limit depends on more than complete bars and the
    account."""
    if unknown_to_plans(limits, universe):
        return None
    rules, n = rules_of(limits, universe), universe.size
    # placeholders: the market data of each sample replaces them
    context = Context(
        px=np.ones(n),
        prices_nano=np.full(n, 2**60, dtype=np.int64),
        age_ns=np.zeros(n, dtype=np.int64),
        volume_lots=np.ones(n),
        returns=lambda k: np.zeros((k, n)),
        universe=universe,
    )
    scenarios = {k: Scenarios(np.zeros((max(k, 2), n))) for k in rules.lookbacks}
    prepared = Prepared(rules)
    market = Market(context, prepared, scenarios, complete=True)
    scene, newest_returns = market.scene, NewestReturns(rules)
    scene.px, scene.volume, scene.rare = float_zeros(n), float_zeros(n), newest_returns
    gate = Gate(n, LOOPS, len(rules.counts))
    limiter = Limiter(gate, prepared.bounds, scene, market.caps, rules.fee)
    # the largest number of each limit on a number of orders
    limiter.most[:] = np.array([float(count.most) for count in rules.counts]).data
    limiter.statistics, limiter.bounds_of = _statistics(rules, scene, newest_returns), bounds_of
    return GateSet(limiter, rules, market, newest_returns, bool(limits.by_volume))


def _statistics(rules: Rules, scene: Scene, rare: NewestReturns) -> list[Statistic]:
    """Return the statistics that renew a scene (market data of a sample); its losses and spreads get new arrays.

    Losses are the scenarios of a limit on tail losses, spreads the covariances of a quadratic limit. `Limiter.renew`
    replaces the values that are 0 here. With fewer than `least` returns nothing is measured.
    """
    least, n, no_counts = rules.limits.min_history, rules.size, int_zeros(0)
    statistics = [Statistic(HISTORY, 0, lookback, least, no_counts, None) for lookback in rules.lookbacks]
    losses_by_source: dict[int, Losses] = {}
    losses = list(scene.losses)
    for number, tail in enumerate(rules.tails):
        if tail.fixed is not None:
            continue  # fixed scenarios depend on no returns
        source = losses[number].number
        if source not in losses_by_source:
            losses_by_source[source] = Losses(float_zeros(n), float_zeros(n), 0.0, 0, 1, source)
            statistics.append(
                Statistic(
                    DEVIATION_AND_MEAN,
                    number,
                    tail.lookback,
                    least,
                    no_counts,
                    np.asarray(losses_by_source[source].deviation),
                )
            )
        losses[number] = Losses(losses_by_source[source].deviation, losses_by_source[source].mean, 0.0, 0, 1, source)
        rare.losses.append((losses[number], tail.lookback))
        counts = [tail_count(max(rows, 1), tail.confidence) for rows in range(tail.lookback + 1)]
        statistics.append(Statistic(TAIL_OF, number, tail.lookback, least, np.array(counts, dtype=np.int64).data, None))
    scene.losses = losses
    spreads = list(scene.spreads)
    for number, quad in enumerate(rules.quads):
        if quad.spread is not None:
            spreads[number] = Spread(False, float_zeros(n))
            rare.spreads.append((spreads[number], quad.lookback))
            statistics.append(
                Statistic(DEVIATION, number, quad.lookback, least, no_counts, np.asarray(spreads[number].deviation))
            )
    scene.spreads = spreads
    return statistics
