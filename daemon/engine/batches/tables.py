"""The limits of all books as arrays for the kernels of a batch: measures of alert levels, and sets of limits of the
gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches import levels_kernel as kernel
from quantd.daemon.engine.batches.newest_returns import NewestReturns
from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.safety.monitor import watched
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.average_correlation import KEY as AVERAGE
from quantd.risk.limits.catalogue import FLOORS, LIMIT_OF, Limits
from quantd.risk.limits.context import Context, Floats, Scenarios
from quantd.risk.limits.correlation import joint_bound
from quantd.risk.limits.eligibility import blocked, no_borrow, price_age, price_missing, restricted, short, worst_price
from quantd.risk.limits.orders import duplicate, liquidity, order_notional, share_of_volume, volume_missing
from quantd.risk.limits.position import position_weight, sector_missing
from quantd.risk.limits.ruleset import Rules, rules_of
from quantd.risk.limits.tail_risk import shock_missing
from quantd.risk.measures.portfolio import tail_count
from quantd.risk.monitor.levels import NOISE, NONE, band, floor_band
from quantd.risk.pretrade.gate import LOOPS
from quantd.risk.pretrade.gate_bounds import Bounds, Cap
from quantd.risk.pretrade.gate_inputs import Market, Prepared
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.scenes import Losses, Scene, Spread
from quantd.risk.switch import STATE_LIMITS
from quantd.trading.instruments import Universe
from quantd.trading.number_types import float_zeros

Ints = NDArray[np.int64]

KINDS: Final = {
    "max_position_weight": kernel.HEAVIEST, "max_concentration": kernel.HEAVIEST, "max_gross_exposure": kernel.GROSS,
    "max_net_exposure": kernel.NET, "max_leverage": kernel.LEVERAGE, "max_herfindahl": kernel.HERFINDAHL,
}  # fmt: skip
"""Limit on exposures -> its measure."""

STEADY: Final = frozenset(
    {no_borrow, position_weight, price_age, price_missing, restricted, sector_missing, short, worst_price}
)
"""Caps that are the same at every complete row."""

BY_VOLUME: Final = frozenset({liquidity, share_of_volume, volume_missing})
"""Caps that follow from the average volume alone."""


@dataclass(slots=True)
class Levels:
    """The measures of the watched books and the bounds of losses of all. `lone`: the last agent is the house. `spread`
    is the lookback of measures of diversification, 0 without any.

    By measure, `keys` has book, limit and bound.
    """

    measures: Floats
    keys: list[tuple[int, str, float]]
    labels: Ints
    counts: Ints
    shocks: Floats
    lookback: int
    bounds: Floats
    lone: int
    spread: int
    realised: bool

    def bands(self, levels: Sequence[dict[str, int]]) -> list[tuple[float, float]]:
        """The band of each measure, given the levels of the house and of each agent."""
        return [_band(key, levels[book + 1].get(key, NONE), bound) for book, key, bound in self.keys]

    def loss_bands(self, levels: Sequence[dict[str, int]]) -> list[tuple[float, float]]:
        """The band of each loss of the house and of each agent, inside which its limit is kept too."""
        found = []
        for bounds, own in zip(self.bounds.reshape(-1, len(STATE_LIMITS)).tolist(), levels, strict=True):
            for key, bound in zip(STATE_LIMITS, bounds, strict=True):
                low, high = band(key, own.get(key, NONE), bound)
                found.append((max(low, NOISE.get(key, -inf)) if own.get(key) else low, min(high, bound * (1.0 - 1e-9))))
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


def _band(key: str, level: int, bound: float) -> tuple[float, float]:
    return floor_band(level, bound) if key in FLOORS else band(key, level, bound)


def levels_table(state: State, records: bool) -> Levels | None:
    """The measures for the limits and levels of now; None where one is unknown here, or is in `records` of rows."""
    books = watched(state)
    made = _Maker(state.universe)
    for book in books:
        realised = state.rules.house if book == HOUSE else state.rules.agents[book].limits
        if made.add(book, limits_in_force(state, book)) or (made.realised(book, realised) and records):
            return None
    return made.levels(state, int(books == [HOUSE]))


def unknown_to_levels(state: State) -> str:
    """The key of a limit in force whose measure is unknown here; empty for none."""
    made = _Maker(state.universe)
    return next(filter(None, (made.add(book, limits_in_force(state, book)) for book in watched(state))), "")


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


class _Maker:
    """Collects the measures of books."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self._measures: list[tuple[list[float], tuple[int, str, float]]] = []
        self._labels: list[Ints] = []
        self._counts: list[int] = []
        self._shocks: list[Floats] = []
        self._lookback = 0
        self._spread = 0

    def add(self, book: int, limits: Limits) -> str:
        """Add the measures of a book. Returns the key of one that is unknown here, else an empty string."""
        rules = rules_of(limits, self._universe)
        if rules.unmeasured or rules.average is not None:
            return rules.unmeasured[0].key if rules.unmeasured else AVERAGE

        def measure(key: str, kind: int, bound: float, *own: float, least: int = 0) -> None:
            self._measure(book, key, kind, bound, *own, least=least)

        if limits.min_diversification is not None:
            rows = limits.volatility_lookback
            if self._spread not in (0, rows):
                return "min_diversification"
            measure("min_diversification", kernel.DIVERSIFICATION, limits.min_diversification, rows,
                    least=limits.min_history)  # fmt: skip
            self._spread, self._lookback = rows, max(self._lookback, rows)
        grouped, alone = {family.key for family in rules.families}, {key for key, _, _ in rules.held_measures}
        for key, bound, _ in rules.held_measures:
            if key not in KINDS:
                return key
            if key not in grouped:
                measure(key, KINDS[key], bound)
        for family in rules.families:
            measure(family.key, kernel.FAMILY, family.settled_bound, len(self._labels), float(family.key in alone))
            self._labels.append(family.labels)
        for tail in rules.tails:
            if tail.fixed is not None:
                measure(tail.key, kernel.STRESS, tail.bound, len(tail.fixed), sum(map(len, self._shocks)))
                self._shocks.append(tail.fixed.returns)
            elif tail.filtered:
                return tail.key
            else:
                kind, rows = kernel.CVAR if tail.mean else kernel.VAR, tail.lookback
                measure(tail.key, kind, tail.bound, rows, len(self._counts), tail.scale, least=limits.min_history)
                self._counts += [tail_count(n, tail.confidence) for n in range(rows + 1)]
                self._lookback = max(self._lookback, rows)
        for quad in rules.quads:
            if quad.key == "max_volatility":
                rows = quad.lookback
                measure(
                    quad.key, kernel.VOLATILITY, quad.settled_bound, rows, sqrt(quad.scale), least=limits.min_history
                )
                self._lookback = max(self._lookback, rows)
            elif quad.spread is not None:
                return quad.key
        spec = limits.correlation
        if spec is not None:
            own = spec.min_weight, spec.threshold, spec.lookback
            measure("correlation", kernel.PAIRS, joint_bound(spec), *own, least=limits.min_history)
            self._lookback = max(self._lookback, spec.lookback)
        return ""

    def realised(self, book: int, limits: Limits) -> bool:
        """Add the realised measures of a book; False without any."""
        pairs = (
            ("max_realised_volatility", kernel.REALISED_VOLATILITY, limits.max_realised_volatility),
            ("min_sharpe", kernel.SHARPE, limits.min_sharpe),
        )
        for key, kind, bound in pairs:
            if bound is not None:
                self._measure(book, key, kind, bound)
        return any(bound is not None for _, _, bound in pairs)

    def _measure(self, book: int, key: str, kind: int, bound: float, *own: float, least: int = 0) -> None:
        numbers = [book + 1, kind, 0.0, 0.0, *own, *[0.0] * (3 - len(own)), least]
        self._measures.append((numbers, (book, key, bound)))

    def levels(self, state: State, lone: int) -> Levels:
        # the deepest first: the losses of fewer scenarios are the last of them
        tails = (kernel.VAR, kernel.CVAR, kernel.VOLATILITY, kernel.DIVERSIFICATION)
        books = (HOUSE, *range(len(state.agents)))
        each_bound = [getattr(limits_in_force(state, book), key) for book in books for key in STATE_LIMITS]
        bounds = [inf if bound is None else bound for bound in each_bound]
        self._measures.sort(key=lambda each: -each[0][4] if each[0][1] in tails else -inf)
        return Levels(
            np.array([numbers for numbers, _ in self._measures], dtype=np.float64).ravel(),
            [key for _, key in self._measures],
            np.concatenate([*self._labels, np.zeros(1, dtype=np.int64)]),
            np.array([*self._counts, 1]),
            np.concatenate([*(each.ravel() for each in self._shocks), np.zeros(1)]),
            self._lookback,
            np.array(bounds),
            lone,
            self._spread,
            any(each[0][1] >= kernel.REALISED_VOLATILITY for each in self._measures),
        )
