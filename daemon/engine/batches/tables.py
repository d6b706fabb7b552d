"""The limits of all books for the kernels of a batch: bands of losses and realised returns, and sets of the gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final

import numpy as np

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.newest_returns import NewestReturns
from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.safety.monitor import watched
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.catalogue import FLOORS, LIMIT_OF, Limits
from quantd.risk.limits.context import Context, Scenarios
from quantd.risk.limits.eligibility import blocked, no_borrow, price_age, price_missing, restricted, short, worst_price
from quantd.risk.limits.orders import duplicate, liquidity, order_notional, share_of_volume, volume_missing
from quantd.risk.limits.position import position_weight, sector_missing
from quantd.risk.limits.ruleset import Rules, rules_of
from quantd.risk.limits.tail_risk import shock_missing
from quantd.risk.measures.portfolio import tail_count
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.levels import NOISE, NONE, band, floor_band
from quantd.risk.pretrade.gate import LOOPS
from quantd.risk.pretrade.gate_bounds import Bounds, Cap
from quantd.risk.pretrade.gate_inputs import Market, Prepared
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.scenes import Losses, Scene, Spread
from quantd.risk.switch import STATE_LIMITS
from quantd.trading.instruments import Universe
from quantd.trading.number_types import float_zeros

STEADY: Final = frozenset(
    {no_borrow, position_weight, price_age, price_missing, restricted, sector_missing, short, worst_price}
)
"""Caps that are the same at every complete row."""

BY_VOLUME: Final = frozenset({liquidity, share_of_volume, volume_missing})
"""Caps that follow from the average volume alone."""


REALISED: Final = ("max_realised_volatility", "min_sharpe")
"""Limits on realised returns."""


@dataclass(slots=True)
class Levels:
    """What the levels of the house and of each agent depend on besides `Bands`, book by book.

    `losses` float64[B, 3] are the bounds of losses, infinite where there is none, and `realised` those of `REALISED`,
    None where there is none. `lone`: the last agent is the house.
    """

    losses: list[list[float]]
    realised: list[list[float | None]]
    lone: int

    @property
    def by_returns(self) -> bool:
        """Whether there is a limit on realised returns."""
        return any(bound is not None for each in self.realised for bound in each)

    def loss_bands(self, levels: Sequence[dict[str, int]]) -> list[tuple[float, float]]:
        """The band of each loss of each book, inside which its limit is kept too."""
        found = []
        for bounds, own in zip(self.losses, levels, strict=True):
            for key, bound in zip(STATE_LIMITS, bounds, strict=True):
                low, high = band(key, own.get(key, NONE), bound)
                found.append((max(low, NOISE.get(key, -inf)) if own.get(key) else low, min(high, bound * (1.0 - 1e-9))))
        return found

    def realised_bands(self, levels: Sequence[dict[str, int]]) -> list[tuple[float, float]]:
        """The band of each realised measure of each book."""
        found = []
        for bounds, own in zip(self.realised, levels, strict=True):
            for key, bound in zip(REALISED, bounds, strict=True):
                edges = floor_band if key in FLOORS else partial(band, key)
                found.append((-inf, inf) if bound is None else edges(own.get(key, NONE), bound))
        return found


@dataclass(slots=True)
class GateSet:
    """One set of limits: the gate with the scene of its rules, and what changes in it from row to row.

    `statistics` are entries of `layout.STATISTIC`; `counts` has the tail counts of each tail by number of rows.
    """

    rules: Rules
    bounds: Bounds
    gate: Gate
    scene: Scene
    caps: list[Cap]
    statistics: list[list[int]]
    counts: list[int]
    by_volume: bool
    rare: NewestReturns


def levels_table(state: State, records: bool) -> Levels | None:
    """What the levels depend on by the limits of now; None where one can only be measured, or is in `records` of
    rows."""
    if unknown_to_levels(state):
        return None
    books, rules = (HOUSE, *range(len(state.agents))), state.rules
    alone = watched(state)
    made = Levels([], [], int(alone == [HOUSE]))
    for book in books:
        limits, own = limits_in_force(state, book), rules.house if book == HOUSE else rules.agents[book].limits
        bounds = [getattr(limits, key) for key in STATE_LIMITS]
        made.losses.append([inf if bound is None else bound for bound in bounds])
        made.realised.append([getattr(own, key) if book in alone else None for key in REALISED])
    return None if records and made.by_returns else made


def unknown_to_levels(state: State) -> str:
    """The key of a limit in force whose level can only be measured; empty for none."""
    sets = [rules_of(limits_in_force(state, book), state.universe) for book in watched(state)]
    return next((found for each in sets if (found := Bands(each, {}).unsettled)), "")


def unknown_to_plans(limits: Limits, universe: Universe) -> str:
    """The key of a limit that depends on more than complete rows and the account; empty for none."""
    rules = rules_of(limits, universe)
    for _, code, bar in rules.bars:
        if bar not in (blocked, duplicate, shock_missing) or (bar is shock_missing and limits.stress is not None):
            return LIMIT_OF[code]
    found = [LIMIT_OF[code] for code, _ in rules.openings] + [row.key for row in rules.unmeasured]
    found += [key for key, _, _ in rules.traded_measures] + [tail.key for tail in rules.tails if tail.filtered]
    found += [count.key for count in rules.counts if count.key != "max_open_orders"]
    for _, code, cap in rules.caps:
        off = cap is order_notional and limits.max_order_notional is None
        if not (cap in STEADY or cap in BY_VOLUME or off):
            found.append(LIMIT_OF[code])
    for quad in rules.quads:
        known = Scenarios(np.zeros((max(quad.lookback, 2), universe.size)))
        if quad.spread is not None and quad.spread(known) is not known.sample:
            found.append(quad.key)
    return found[0] if found else ""


def gate_set(limits: Limits, universe: Universe) -> GateSet | None:
    """A gate for a set of limits; None where one of them depends on more than complete rows and the account."""
    if unknown_to_plans(limits, universe):
        return None
    rules, n = rules_of(limits, universe), universe.size
    ctx = Context(
        px=np.ones(n),
        prices_nano=np.full(n, 2**60, dtype=np.int64),
        age_ns=np.zeros(n, dtype=np.int64),
        volume_lots=np.ones(n),
        returns=lambda k: np.zeros((k, n)),
        universe=universe,
    )
    known = {k: Scenarios(np.zeros((max(k, 2), n))) for k in rules.lookbacks}
    prepared = Prepared(rules)
    market = Market(ctx, prepared, known, whole=True)
    scene = market.scene
    rare = NewestReturns(rules)
    scene.px, scene.volume, scene.rare = float_zeros(n), float_zeros(n), rare
    gate = Gate(n, LOOPS, len(rules.counts))
    for k, count in enumerate(rules.counts):
        gate.rooms[k] = float(count.most)
    statistics, counts = _statistics(rules, scene, rare)
    return GateSet(
        rules=rules,
        bounds=prepared.bounds,
        gate=gate,
        scene=scene,
        caps=market.caps,
        statistics=statistics,
        counts=counts,
        by_volume=limits.max_share_of_volume is not None or limits.liquidity is not None,
        rare=rare,
    )


def _statistics(rules: Rules, scene: Scene, rare: NewestReturns) -> tuple[list[list[int]], list[int]]:
    """The statistics of a scene, which then has arrays of its own for them, and the tail counts by number of rows."""
    least, n = rules.limits.min_history, rules.size
    found = [[place.HISTORY, 0, lookback, 0, least, 0] for lookback in rules.lookbacks]
    counts: list[int] = []
    first: dict[int, Losses] = {}
    losses = list(scene.losses)
    for number, tail in enumerate(rules.tails):
        if tail.fixed is not None:
            continue
        own = losses[number]
        before = first.get(own.number)
        if before is None:
            before = first[own.number] = Losses(float_zeros(n), float_zeros(n), 0.0, 0, 1, own.number)
            found.append([place.DEVIATION_AND_MEAN, number, tail.lookback, 0, least, 0])
        losses[number] = Losses(before.deviation, before.mean, 0.0, 0, 1, own.number)
        rare.losses.append((losses[number], tail.lookback))
        found.append([place.TAIL_OF, number, tail.lookback, len(counts), least, 0])
        counts += [tail_count(max(rows, 1), tail.confidence) for rows in range(tail.lookback + 1)]
    scene.losses = losses
    spreads = list(scene.spreads)
    for number, quad in enumerate(rules.quads):
        if quad.spread is not None:
            spreads[number] = Spread(False, float_zeros(n))
            rare.spreads.append((spreads[number], quad.lookback))
            found.append([place.DEVIATION, number, quad.lookback, 0, least, 0])
    scene.spreads = spreads
    return found, counts
