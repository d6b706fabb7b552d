"""The two arrays of a batch, laid out for a state and its limits."""

from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.columns import Encoded, Sets, Watched
from quantd.daemon.engine.batches.declarations import undeclared_limit
from quantd.daemon.engine.batches.rows_kernel import MARKS
from quantd.daemon.engine.batches.tables import GateSet, Levels, gate_set, levels_table
from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.safety.monitor import watched
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.catalogue import SALES_FREE
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.realised import KEPT
from quantd.risk.pretrade.gate import LOOPS
from quantd.trading.fill_prices import LimitFills, Terms
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats
from quantd.trading.ports import FillTerms

Ints = NDArray[np.int64]
Codes = NDArray[np.int8]

FREED: Final = np.isin(np.arange(128), list(SALES_FREE)).astype(np.int8)
"""FREED[reason]: 1 where sales of the same decision may permit what the reason cut."""


@dataclass(slots=True)
class Arrays:
    """The arrays of a batch, except those of the market and of the state.

    `gated`: the limits of every book are those that the kernels know, so that plans are made here.
    """

    levels: Levels
    gated: bool
    ints: Ints
    floats: Floats
    gates: Sets
    encoded: Encoded
    fills: LimitFills
    """Without terms no order is filled."""
    first: Codes
    house: Codes
    """Reasons of cuts: int8[A x N] of the agents, int8[N] of the house."""
    buffer: NDArray[np.uint8]
    """The rows of the digest."""

    sets: list[GateSet] = field(default_factory=list)
    """The sets of limits, where plans are made here."""
    finite: int = -1
    """The count of the ring at which its returns were known to be finite."""
    known: list[dict[str, int]] = field(default_factory=list)
    """The levels that the bands are for."""

    def section(self, name: int, size: int) -> Ints:
        """The first integers of a section."""
        start = int(self.ints[name])
        return self.ints[start : start + size]

    def numbers(self, name: int, size: int) -> Floats:
        """The first floats of a section."""
        start = int(self.ints[name])
        return self.floats[start : start + size]

    def renew(self, state: State) -> None:
        """Write the bands of the present levels of the house and of each agent."""
        levels = [state.monitor.levels, *state.watch.levels]
        if levels == self.known:
            return
        self.known = [dict(each) for each in levels]
        for name, bands in (
            (place.F_BOUNDS, self.levels.loss_bands(levels)), (place.F_BANDS, self.levels.realised_bands(levels)),
        ):  # fmt: skip
            self.numbers(name, 2 * len(bands))[:] = np.array(bands).ravel()
        books = [HOUSE] if self.levels.lone else [HOUSE, *range(len(state.agents))]
        limits = [limits_in_force(state, book) for book in books]
        watched, universe = self.gates.watched, state.universe
        watched.bands = [
            state.watch.bands_of(book, own, universe, levels[book + 1]) for book, own in zip(books, limits, strict=True)
        ]
        watched.rising = [
            Bands(rules_of(own, universe), levels[book + 1], True) for book, own in zip(books, limits, strict=True)
        ]


def arrays_of(state: State, terms: FillTerms | None, records: bool) -> Arrays | None:
    """The arrays for the limits and levels of now; None where a measure is unknown here. Cached with the state.

    Without `terms` of fills, plans are left to the engine. `records`: rows are logged with what is known of limits.
    """
    limits = [limits_in_force(state, book) for book in (HOUSE, *range(len(state.agents)))]
    known, alone = state.arrays, watched(state) == [HOUSE]
    same = known is not None and known[0] is state.rules and known[1] is terms and known[2] == (limits, alone, records)
    if known is None or not same:
        measured = None if any(map(undeclared_limit, limits)) else levels_table(state, records)
        made = None if measured is None else _made(state, measured, terms)
        known = state.arrays = state.rules, terms, (limits, alone, records), made
    found: Arrays | None = known[3]
    if found is not None:
        found.renew(state)
    return found


class _Sections:
    """Collects the sections of both arrays behind their heads."""

    def __init__(self) -> None:
        self.head = np.zeros(place.HEAD, dtype=np.int64)
        self._ints: list[Ints] = [self.head]
        self._floats: list[Floats] = [np.zeros(8)]
        self.ints_end, self.floats_end = place.HEAD, 8

    def ints(self, name: int, values: "Ints | int") -> int:
        """Add a section of integers, or of so many zeros; returns its place."""
        part = np.zeros(values, dtype=np.int64) if isinstance(values, int) else values.astype(np.int64).ravel()
        self.head[name], start = self.ints_end, self.ints_end
        self._ints.append(part)
        self.ints_end += len(part)
        return start

    def floats(self, name: int, values: "Floats | int") -> int:
        """Add a section of floats, or of so many zeros; returns its place."""
        part = np.zeros(values) if isinstance(values, int) else values.astype(np.float64).ravel()
        self.head[name], start = self.floats_end, self.floats_end
        self._floats.append(part)
        self.floats_end += len(part)
        return start

    def made(self) -> tuple[Ints, Floats]:
        return np.concatenate(self._ints), np.concatenate(self._floats)


def _made(state: State, levels: Levels, terms: FillTerms | None) -> Arrays:
    n, agents, rules = state.universe.size, len(state.agents), state.rules
    books, rows = agents + 1, place.LONGEST
    limits = [limits_in_force(state, book) for book in (HOUSE, *range(agents))]
    distinct = list(dict.fromkeys(map(id, limits)))
    number_of = [distinct.index(id(each)) for each in limits]
    sets = [gate_set(limits[number_of.index(k)], state.universe) for k in range(len(distinct))]
    known = [each for each in sets if each is not None]
    by_volume = any(each.by_volume for each in known)
    gated = terms is not None and len(known) == len(sets) and (rules.daily or not by_volume)
    made = _Sections()
    entries = _put_sets(made, known if gated else [])
    made.head[place.SIZE], made.head[place.AGENTS], made.head[place.LONE] = n, agents, levels.lone
    made.head[place.BORROW] = rules.borrow_bp_annual > 0.0
    made.ints(place.A_TIMES, 4 * rows)
    made.ints(place.A_DUE, rows)
    made.ints(place.SAMPLES, 2 * rows)
    made.ints(place.A_MARKS, 2 * books * MARKS)
    made.ints(place.A_EQUITY, rows * (agents + 5))
    made.ints(place.A_SETS, np.array([*number_of, *entries]))
    pairs, fills = n + 2 * n * agents, 5 * n + 2 * n * agents
    made.ints(place.A_REASONS, n)
    made.ints(place.A_ORDERS, 5 * n)
    made.ints(place.A_PAIRS, pairs)
    made.ints(place.A_FILLS, fills)
    made.ints(place.A_CROSSED, 2 * agents * n)
    made.ints(place.A_CROSS_WORST, 2 * n)
    told = place.MOST_AHEAD
    made.ints(place.A_PLANS, place.PLAN * (told + 1))
    made.ints(place.A_BASKETS, 2 * (told + 2))
    copied = int(made.head[place.A_CROSSED] - made.head[place.A_REASONS])
    made.ints(place.A_COPIES, copied * (told + 2))
    made.ints(place.A_CASH, rows)
    made.ints(place.A_AHEAD, told * (1 + agents + n))
    made.ints(place.A_REQUESTED, agents)
    windows = [each.limits.duplicate_window_ns for each in rules.agents]
    made.ints(place.A_ASKED_AT, np.array([*[0] * agents, *windows]))
    for section, size in (
        (place.A_WANTED, agents * n), (place.A_SURVIVING, agents * n), (place.A_TOTAL, n), (place.A_WORST, 2 * n),
        (place.A_ANSWERED, agents), (place.A_FOLLOW, agents), (place.A_ZERO, n), (place.A_ENDS, n),
        (place.A_PART, agents), (place.A_PARTS, agents), (place.A_GIVEN, agents), (place.A_OWN, agents),
    ):  # fmt: skip
        made.ints(section, size)
    order = sorted(range(n), key=state.universe.symbols.__getitem__)
    made.ints(place.A_RANK, np.array(order))
    names = _names(made, state.universe, state.ledger.names)
    made.floats(place.F_LOT_SIZE, state.universe.lot_size)
    made.floats(place.F_BOUNDS, 6 * books)
    made.floats(place.F_BASIS, 3 * books)
    made.floats(place.F_BANDS, 4 * books)
    for section, size in (
        (place.F_PX, n), (place.F_ANSWERS, (agents + 1) * n), (place.F_WEIGHTS, agents * n),
        (place.F_CHANGE, agents * n), (place.F_HELD, books * n), (place.F_PASSED, n), (place.F_PASSES, agents * n),
        (place.F_SUMS, n), (place.F_ROWS, rows * n), (place.F_AHEAD, told * agents * n),
        (place.F_REQUESTED, agents * n),
    ):  # fmt: skip
        made.floats(section, size)
    terms_of = [
        (*state.rooms[k], each.min_trade, float(each.limits.max_price_age_ns)) for k, each in enumerate(rules.agents)
    ]
    made.floats(place.F_AGENTS, np.array(terms_of))
    made.floats(place.F_FEES, np.array([rules_of(each, state.universe).fee for each in limits]))
    made.ints(place.A_REALISED, books)
    made.floats(place.F_REALISED, books * (KEPT + rows) if levels.by_returns else 0)
    made.head[place.REALISED] = levels.by_returns
    made.head[place.GUARDED] = state.guards is not None
    made.floats(place.F_GUARDS, _guards(state))
    made.floats(place.F_VOLUME, n)
    ints, floats = made.made()
    if terms is not None:
        ints[place.LATENCY] = terms.latency_ns
    floats[2] = min(min(each.collar, each.reduce_collar) for each in limits)
    floats[3] = max(each.tick_nano for each in state.universe.instruments)
    room = 2 * n * 128 * (told + 1) + rows * 64 * (books + 2) + 2 * int(names.size) * (rows + 2)
    buffer = np.zeros(room, dtype=np.uint8)
    first, house = np.zeros(agents * n, dtype=np.int8), np.zeros(n, dtype=np.int8)
    gates = Sets(n, LOOPS, Watched(state.watch.holdings_of(n)), first.data, house.data, FREED.data)
    gates.collars = [rules_of(limits[number_of.index(k)], state.universe).collars for k in range(len(sets))]
    for each in known if gated else ():
        gates.add(each.gate, each.bounds, each.scene, each.caps)
    return Arrays(
        levels=levels,
        gated=gated,
        ints=ints,
        floats=floats,
        gates=gates,
        encoded=Encoded(buffer.data, names.data),
        fills=LimitFills(Terms([], [], []) if terms is None else terms.terms),
        first=first,
        house=house,
        buffer=buffer,
        sets=known,
    )


def _guards(state: State) -> Floats:
    """float64[A, 2]: the protective levels of the agents."""
    guards = state.guards
    if guards is None:
        return np.full((len(state.agents), 2), np.inf)
    return np.where(np.isnan(found := np.hstack([guards.stop, guards.target])), np.inf, found)


def _put_sets(made: _Sections, sets: list[GateSet]) -> list[int]:
    """Add the statistics of the sets of limits; returns their entries of `layout.SET`."""
    counted = sum(len(each.statistics) for each in sets) * place.STATISTIC
    statistics: list[list[int]] = []
    counts: list[int] = []
    entries: list[int] = []
    for each in sets:
        entries += (place.STATISTIC * len(statistics), len(each.statistics))
        statistics += [[*one[:3], one[3] + counted + len(counts), *one[4:]] for one in each.statistics]
        counts += each.counts
    values = [*(value for row in statistics for value in row), *counts]
    start = made.ints(place.A_STATISTICS, np.array(values, dtype=np.int64))
    return [value + start if k % place.SET == 0 else value for k, value in enumerate(entries)]


def _names(made: _Sections, universe: Universe, books: list[str]) -> NDArray[np.uint8]:
    """Add the places of the encoded names of symbols and books, and the books' order; returns the names."""
    order = sorted(range(len(books)), key=books.__getitem__)
    encoded = [msgspec.msgpack.encode(name) for name in (*universe.symbols, *(books[k] for k in order))]
    places = np.cumsum([0, *map(len, encoded)])
    n = universe.size
    made.ints(place.A_NAMES, np.array([*places[: n + 1], *places[n:], *order]))
    return np.frombuffer(b"".join(encoded), dtype=np.uint8).copy()
