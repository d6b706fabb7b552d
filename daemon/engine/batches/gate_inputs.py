"""Arrays for the kernel of the gate: `Tables` of a set of limits, and `Market` of these and a context.

Both are cached: tables with the rules, a market in its context.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import gate_kernel as kernel
from quantd.daemon.engine.batches.gate_kernel import BASE, HEAD, MASK, ROOM, ROOMS, WEIGHT
from quantd.risk.limits.catalogue import Reason
from quantd.risk.limits.context import Bools, Context, Floats, Scenarios, Spread
from quantd.risk.limits.correlation import joint_bound, links_of
from quantd.risk.limits.kinds import Refused, Room, Row, Weighed
from quantd.risk.limits.ruleset import Rules
from quantd.risk.limits.settings import reserved

_HELD: Final = {
    "side": kernel.BY_SIDE, "net": kernel.NET, "traded": kernel.TRADED, "cash": kernel.CASH, "nothing": kernel.NOTHING
}  # fmt: skip

NO_ROWS: Final = np.empty((1, 1))
"""Stands for returns or matrices that are not made yet."""

ENDLESS: Final = 1e300
"""A bound that no exposure reaches."""

EAGER: Final = 20_000
"""Returns that are put by symbol at once: that costs less than to ask for them."""

NO_LINKS: Final = np.empty(1)


class Tables:
    """The limits of a set of rules as two flat arrays, `numbers` float64 and `codes` int64, and the returns float64[N,
    F] of all fixed scenarios."""

    def __init__(self, rules: Rules) -> None:
        limits, n = rules.limits, rules.size
        adding, reducing = reserved(limits.collar), reserved(limits.reduce_collar)
        paid = (1.0 + adding) * (1.0 + rules.fee) - 1.0
        covered = (1.0 + reducing) * (1.0 + rules.fee) - 1.0
        spec = limits.correlation
        weights = [*rules.weights, -1.0, -1.0][:2]
        numbers: list[Floats] = [np.array([
            paid, covered, rules.fee, max(adding, reducing), limits.in_flight, limits.cash_reserve,
            limits.max_cash_debit, 0.0 if rules.weight is None else rules.weight, *weights,
            *((0.0, 0.0, 0.0) if spec is None else (spec.threshold, spec.min_weight, joint_bound(spec))),
        ])]  # fmt: skip
        head = np.zeros(kernel.CODES, dtype=np.int64)
        codes: list[NDArray[np.int64]] = [head]

        def number(*values: float | Floats) -> int:
            """The place of some more numbers."""
            place = sum(map(len, numbers))
            numbers.append(np.hstack([np.atleast_1d(value) for value in values]))
            return place

        def table(at: int, entries: list[list[int]]) -> None:
            """A table of entries, with its length at `at` in the head, and its place behind."""
            head[at], head[at + 1] = len(entries), sum(map(len, codes))
            codes.append(np.array([value for entry in entries for value in entry], dtype=np.int64))

        table(kernel.C_ROWS, [_row(row, n, number) for row in rules.rows])
        labels = []
        for family in rules.families:
            labels.append(sum(map(len, codes)))
            codes.append(family.labels)
        table(kernel.C_FAMILIES, [
            [f.reason, f.names, f.largest, place, number(f.bound, f.settled_bound)]
            for f, place in zip(rules.families, labels, strict=True)
        ])  # fmt: skip
        table(kernel.C_TAILS, [[t.reason, int(t.mean), number(t.bound, t.scale)] for t in rules.tails])
        table(kernel.C_FORMS, [
            [q.reason, 0, number(_root(q.bound, q.scale), _root(q.settled_bound, q.scale))] for q in rules.quads
        ])  # fmt: skip
        table(kernel.C_COUNTS, [[count.reason] for count in rules.counts])
        head[kernel.C_NAMES_AT] = sum(map(len, codes))
        names = np.empty(n, dtype=np.int64)
        names[sorted(range(n), key=rules.universe.symbols.__getitem__)] = np.arange(n)
        codes.append(names)
        head[kernel.C_STATES], head[kernel.C_PAIRS] = 1 + rules.two_states, spec is not None
        head[kernel.C_WEIGHT :] = [
            rules.weight_code, Reason.NOT_FINITE, Reason.ZERO_CROSSING, Reason.SWITCH, Reason.EQUITY, Reason.HISTORY,
            Reason.CORRELATION, Reason.CASH, next(k for k, row in enumerate(rules.rows) if row.reason == Reason.CASH),
        ]  # fmt: skip
        self.numbers: Final = np.concatenate(numbers)
        self.codes: Final = np.concatenate(codes)
        fixed = [t.fixed.by_symbol for t in rules.tails if t.fixed is not None]
        self.fixed: Final = np.ascontiguousarray(np.hstack(fixed)) if fixed else NO_ROWS
        self.rooms_at: Final = BASE + ROOMS * n
        self.length: Final = self.rooms_at + len(rules.counts)


def _root(bound: float, scale: float) -> float:
    """The bound of a form's root before its scale; a form with scale 0 is always 0."""
    return bound / sqrt(scale) if scale > 0.0 else ENDLESS


def _row(row: Row, n: int, number: "object") -> list[int]:
    make = number
    assert callable(make)
    uniform = all(
        np.ptp(each[side]) == 0.0 for each in (row.load, row.settled_load) for side in (slice(n), slice(n, None))
    )
    loads = (row.load, row.settled_load)
    if uniform:
        place = make(row.bound, row.settled_bound, *(each[side] for each in loads for side in (0, n)))
    else:
        place = make(row.bound, row.settled_bound, *loads)
    return [row.reason, _HELD[row.kind], int(not uniform), place]


def tables_of(rules: Rules) -> Tables:
    found: Tables | None = rules.tables
    if found is None:
        found = rules.tables = Tables(rules)
    return found


class Market:
    """One context under one set of rules; with `scenarios` by lookback, where they are known."""

    def __init__(
        self, ctx: Context, rules: Rules, scenarios: dict[int, Scenarios] | None, *, whole: bool, few: bool = False
    ) -> None:
        self.ctx: Final = ctx
        self.rules: Final = rules
        self.tables: Final = tables_of(rules)
        self.scenarios: Final = scenarios
        self.returns: Floats = NO_ROWS
        self.matrices: Floats = NO_ROWS
        self.links: Floats = NO_LINKS
        self._linked: Bools | None = None
        self._by_rows: Final[dict[tuple[int, ...], Market]] = {}
        n = rules.size
        head = np.zeros(HEAD)
        self._parts: Final = [head, ctx.px, self._barred()]
        self._length = HEAD + 2 * n
        self.width = n
        self._columns = 0
        self._sources: Final[list[Scenarios]] = []
        """The distinct sampled scenarios of the tails."""
        self._spreads: Final[list[Spread]] = []
        """The distinct covariances of the forms."""
        if scenarios is not None:
            head[kernel.M_ROWS] = 1.0
            self._statistics(head, scenarios)
        else:
            head[kernel.M_ROWS] = -1.0 if few else 0.0
        short = None if whole else self._short()
        if short is not None:
            head[kernel.M_SHORT_AT] = self._put(short)
        self._steps: Final = [
            (place, code, found) for place, code, cap in rules.caps if (found := cap(ctx, rules)) is not None
        ]
        self.table: Floats = self._with(self._steps)
        if 0 < self._columns * n <= EAGER:
            self.add_returns()

    def _put(self, part: Floats) -> int:
        """Adds a part to the table; returns its place."""
        place = self._length
        self._parts.append(part)
        self._length += len(part)
        return place

    def _barred(self) -> Floats:
        """Reason why no order may reduce each symbol; 0: none."""
        ctx, rules = self.ctx, self.rules
        found = np.zeros(rules.size)
        if not ctx.all_priced:
            found[~ctx.priced] = Reason.PRICE_MISSING
        bad = ctx.off_grid(rules.limits.reduce_collar, rules.ticks, rules.widest_tick)
        if bad is not None:
            found[bad] = Reason.WORST_PRICE
        return found

    def _short(self) -> Floats | None:
        """1 for symbols with too few returns of a lookback."""
        least = self.rules.limits.min_history
        shorts = [self.ctx.window(k, least).short for k in self.rules.lookbacks]
        marked = [short for short in shorts if short is not None]
        return np.logical_or.reduce(marked).astype(np.float64) if marked else None

    def _statistics(self, head: Floats, scenarios: dict[int, Scenarios]) -> None:
        """Bounds of deviations and means of all scenarios, and the entries of tails and forms."""
        n = self.rules.size
        places: dict[int, int] = {}
        starts: dict[int, int] = {}
        tails: list[float] = []
        stored = 0
        for tail in self.rules.tails:
            source, m = tail.of(scenarios)
            fixed = tail.fixed is not None
            if id(source) not in places:
                places[id(source)] = self._put(source.most_deviation())
                self._put(source.mean_size())
                if not fixed:
                    starts[id(source)] = self._columns
                    self._columns += len(source)
                    self._sources.append(source)
            start = stored if fixed else starts[id(source)]
            tails += [places[id(source)], float(fixed), start, len(source), m, source.beyond(m)]
            stored += len(source) if fixed else 0
        self.width = max(n, self._columns, stored)
        forms: list[float] = []
        for quad in self.rules.quads:
            if quad.spread is None:
                forms += [0.0, -1.0]
                continue
            spread = quad.spread(scenarios[quad.lookback])
            if id(spread) not in places:
                places[id(spread)] = self._put(spread.deviation())
                starts[id(spread)] = n * len(self._spreads)
                self._spreads.append(spread)
            forms += [places[id(spread)], starts[id(spread)]]
        head[kernel.M_TAILS_AT] = self._put(np.array(tails))
        head[kernel.M_FORMS_AT] = self._put(np.array(forms))

    def _with(self, steps: Sequence[tuple[int, int, Refused | Room | Weighed]]) -> Floats:
        """The table with some caps."""
        n, head = self.rules.size, self._parts[0]
        entries: list[float] = []
        arrays: list[Floats] = []
        merged: list[tuple[int, tuple[float, float, float], Floats | None]] = []
        for _, code, found in steps:
            match found:
                case Refused():
                    sides = np.zeros(2 * n)
                    if found.sells is not None:
                        sides[:n][found.sells] = code
                    if found.buys is not None:
                        sides[n:][found.buys] = code
                    if merged and merged[-1][0] == -1:
                        before = merged[-1][2]
                        assert before is not None
                        np.copyto(before, sides, where=before == 0.0)
                    else:
                        merged.append((-1, (0.0, 0.0, 0.0), sides))
                case Room():
                    same, other = {"none": (0.0, 0.0), "side": (1.0, 0.0), "both": (1.0, 1.0)}[found.open]
                    room = np.empty(2 * n)
                    room[:n], room[n:] = found.sells, found.buys
                    merged.append((code, (float(found.held), same, other), room))
                case Weighed():
                    merged.append((code, (0.0, 0.0, 0.0), None))
        place = self._length
        for code, parts, array in merged:
            kind = WEIGHT if array is None else MASK if code == -1 else ROOM
            entries += [kind, code, *parts, place]
            if array is not None:
                arrays.append(array)
                place += len(array)
        head[kernel.M_STEPS], head[kernel.M_STEPS_AT] = len(merged), place
        return np.concatenate((*self._parts, *arrays, np.array(entries)))

    def barred(self, bars: list[tuple[int, int, Refused]]) -> Floats:
        """The table with (place, code, refusal) of what the state of an account refuses."""
        return self._with(sorted([*self._steps, *bars], key=lambda step: step[0]))

    def with_rows(self, carried: Bools, lots: Floats) -> "tuple[Market, bool]":
        """The market of the scenario rows that all carried symbols and all with `lots` have; and whether fewer symbols
        may have more rows."""
        least = self.rules.limits.min_history
        windows = {k: self.ctx.window(k, least) for k in self.rules.lookbacks}
        short = np.zeros(len(lots), dtype=np.bool_)
        for window in windows.values():
            if window.short is not None:
                short |= window.short
        found: dict[int, Scenarios] = {}
        if not (carried & short).any():
            matters = carried | ((lots > 0.0) & ~short)
            found = {k: window.scenarios(matters) for k, window in windows.items()}
        few = not all(k in found and len(found[k]) >= least for k in windows)
        key = () if few else tuple(map(id, found.values()))
        if key not in self._by_rows:
            self._by_rows[key] = Market(self.ctx, self.rules, None if few else found, whole=False, few=few)
        gaps = not few and not all(window.complete or window.uniform for window in windows.values())
        return self._by_rows[key], gaps

    def _made(self, flag: int) -> None:
        known = int(self._parts[0][kernel.M_KNOWN]) | flag
        self._parts[0][kernel.M_KNOWN] = self.table[kernel.M_KNOWN] = known

    def add_returns(self) -> None:
        """The returns of all sampled scenarios, by symbol."""
        sources = [source.by_symbol for source in self._sources]
        self.returns = sources[0] if len(sources) == 1 else np.hstack(sources)
        self._made(1)

    def add_matrices(self) -> None:
        """The distinct covariances of the forms, one below the other."""
        matrices = [spread.cov for spread in self._spreads]
        self.matrices = np.ascontiguousarray(matrices[0] if len(matrices) == 1 else np.vstack(matrices))
        self._made(2)

    def add_links(self, wanted: Bools) -> None:
        """Which symbols are linked, at least of those `wanted`."""
        spec = self.rules.limits.correlation
        assert spec is not None
        assert self.scenarios is not None
        if self._linked is not None:
            wanted = wanted | self._linked
        self._linked = wanted
        self.links = links_of(self.scenarios[spec.lookback], wanted, spec).ravel()
        self._made(4)
