"""Whether a book's limits surely still have the levels they had when they were last measured, without measuring again.

Sound, never exact: `keeps` is true only where a full measurement would find every level unchanged. What it rests on,
since the measurement: no lots and no cash were booked, so the book changes by prices alone; every sample added one row to
the synchronous returns, that of the marks themselves; prices and equity are finite and positive.

Let a held price be g_i times what it was, low <= g_i <= high, and equity E where it was E0. Then
- a weight is w_i g_i E0 / E: sums of weights lie between low E0 / E and high E0 / E times what they were;
- what scenario s loses, -sum e_i g_i r_si, lies within middle L_s -+ half A_s, where L_s = -sum e_i r_si, A_s = sum
  |e_i r_si|, middle and half are those of [low, high]. While half <= SPREAD middle, a tail lies between middle times the
  tail of L - SPREAD A and middle times that of L + SPREAD A, since tails are monotone in each loss; and a deviation within
  SPREAD |A| of middle times what it was (the triangle inequality);
- a row that came since loses, at the exposures of its own day, what equity lost on that day. At those of now it
  differs by at most (high / low - 1) times what was moved: (highest - lowest) times the gross exposure;
- a row that left can only lower a tail: the lower ends are those of the rows that cannot have left yet.
"""

from math import inf, isfinite, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.context import Context, Floats, Scenarios
from risk.limits import Correlation, Limits
from risk.measures import SAMPLES_PER_YEAR, tail_count
from risk.monitor import NONE, UNWATCHED, band
from risk.rules import Rules, TailLimit, rules_of
from risk.standing import Values

SAMPLES: Final = 25
"""Samples a screen may serve before the book is measured again."""

SPREAD: Final = 0.06
"""How far prices may drift apart, as half their range over its middle, before the book is measured again."""

SLACK: Final = 1e-9
"""Room for the rounding of floats, relative."""

ROUNDED: Final = 2e-6
"""What rounding to micro-currency may make of a move of equity, in currency."""

WHOLE: Final = frozenset({"max_gross_exposure", "max_leverage", "max_net_exposure"})
"""Measures that are all of a one-sided book: easily summed, where the range of prices leaves it open."""


Band = tuple[float, float]
"""A value stays above the first and below the second."""


class _Expected(NamedTuple):
    """A tail as a mean: `part` of a row's excess over the tail's VaR goes into it. Shares of equity, before `scale`."""

    var: float
    upper: float
    rows: int
    high: float


class _Varying(NamedTuple):
    """A deviation: root of the sum of squares of what is known, the mean in it, and how much it may be."""

    upper: float
    mean: float
    high: float


class Screen:
    """Of one book. `keeps` is called once for each sample after the measurement, until it is False."""

    __slots__ = (
        "_equity", "_expected", "_exposures", "_fall", "_first", "_gross", "_heaviest", "_heavy", "_highest", "_largest", "_lowest",
        "_rise", "_row", "_samples", "_size", "_varying", "_whole", "_worst",
    )  # fmt: skip

    def __init__(self, equity: float, exposures: Floats) -> None:
        self._first = self._equity = equity
        self._exposures = exposures
        self._size = np.abs(exposures)
        self._gross = float(np.add.reduce(self._size))
        self._heavy = max(self._size.tolist(), default=0.0)
        self._whole = (-inf, inf)
        self._heaviest = (-inf, inf)
        self._rise, self._fall, self._row = inf, -inf, inf
        self._expected: list[_Expected] = []
        self._varying: list[_Varying] = []
        self._samples = 0
        self._lowest = self._highest = 1.0
        self._worst = self._largest = 0.0

    def begin(self, ratios: Floats, equity: float) -> None:
        """At the first sample at which the book holds what it was screened for, before `keeps`: held prices are float64[H]
        `ratios` times what they were. What the newest row lost is not what equity lost: it held something else."""
        self._equity = equity - float(self._exposures.dot(ratios - 1.0))

    def keeps(self, ratios: Floats, low: float, high: float, equity: float) -> bool:
        """Whether no level can have changed, with held prices float64[H] `ratios` times what they were, the least and the
        largest of them `low` and `high`."""
        moved = self._equity - equity
        self._equity = equity
        self._samples += 1
        if moved > self._worst:
            self._worst = self._largest = max(moved, self._largest)
        elif -moved > self._largest:
            self._largest = -moved
        if low < self._lowest:
            self._lowest = low
        if high > self._highest:
            self._highest = high
        # written so that anything that is not a number fails
        if not (low > 0.0 and equity > 0.0 and high - low <= SPREAD * (high + low)) or self._samples > SAMPLES:
            return False
        grown = self._first / equity
        least, most = low * grown, high * grown
        if not (most < self._rise and least > self._fall and self._weights_keep(ratios, least, most, equity)):
            return False
        slack = (self._highest / self._lowest - 1.0) * (self._highest - self._lowest) + SLACK
        slack = slack * self._gross + ROUNDED
        row = (self._worst + slack) / equity
        if not row < self._row:
            return False
        for tail in self._expected:
            beyond = tail.var * (least if tail.var > 0.0 else most)
            more = max(0.0, row - beyond) * self._samples / tail.rows
            if not most * tail.upper + more < tail.high:
                return False
        for each in self._varying:
            new = (self._largest + slack) / equity + most * each.mean
            if not sqrt((most * each.upper) ** 2 + self._samples * new * new) < each.high:
                return False
        return True

    def _weights_keep(self, ratios: Floats, least: float, most: float, equity: float) -> bool:
        """Whether the whole exposure and the heaviest position stay in their bands: by the range of prices, else exactly."""
        under, over = self._whole
        gross = self._gross / self._first
        if not (least * gross > under and most * gross < over) and not under < self._size.dot(ratios) / equity < over:
            return False
        under, over = self._heaviest
        heavy = self._heavy / self._first
        return (least * heavy > under and most * heavy < over) or (
            under < max((self._size * ratios).tolist()) / equity < over
        )

    def whole_within(self, band: Band) -> bool:
        """The band of gross exposure."""
        self._whole = max(self._whole[0], band[0] + SLACK), min(self._whole[1], band[1] - SLACK)
        return self._whole[0] < self._gross / self._first < self._whole[1]

    def heaviest_within(self, band: Band) -> bool:
        """The band of the heaviest position."""
        self._heaviest = max(self._heaviest[0], band[0] + SLACK), min(self._heaviest[1], band[1] - SLACK)
        return self._heaviest[0] < self._heavy / self._first < self._heaviest[1]

    def bound(self, lower: float, upper: float, within: Band) -> bool:
        """A measure between least x `lower` and most x `upper` must stay inside the band `within`; False when it cannot
        be told already."""
        low, high = within
        if upper > 0.0:
            self._rise = min(self._rise, high / upper * (1.0 - SLACK))
        if low > -inf:
            if lower <= 0.0:
                return False
            self._fall = max(self._fall, low / lower * (1.0 + SLACK))
        return self._fall < 1.0 < self._rise

    def rows_below(self, most: float) -> None:
        """No new row may lose as much as `most` of equity."""
        self._row = min(self._row, most)

    def expect(self, tail: _Expected) -> None:
        self._expected.append(tail)

    def vary(self, deviation: _Varying) -> None:
        self._varying.append(deviation)


def screen(
    ctx: Context,
    exposures: Floats,
    equity: float,
    limits: Limits,
    values: Values,
    levels: dict[str, int],
    columns: NDArray[np.intp] | None = None,
) -> Screen | None:
    """A screen of a book of float64[N] signed `exposures` at marks that are all known, measured as `values`, shares of
    `equity`, with the levels they now have; `columns` are those of the ratios it will be asked with (None: all). None where
    one of the limits has no bound, or is too near an edge."""
    if not equity > 0.0 or limits.min_diversification is not None:  # what takes away risk changes with every row
        return None
    rules = rules_of(limits, ctx.universe)
    made = Screen(equity, exposures if columns is None else exposures[columns])
    bands = {key: band(key, levels.get(key, NONE), bound) for key, (_, bound) in values.items() if key not in LEFT_OUT}
    book = _Book(ctx, rules, exposures, np.abs(exposures), equity, bands)
    for key, within in bands.items():
        if key not in OF_SCENARIOS and not _weighed(made, key, values[key][0], within, book):
            return None
    return made if _scenarios(made, book) else None


LEFT_OUT: Final = UNWATCHED | {"max_turnover"}
"""What is not looked at between trades."""

OF_SCENARIOS: Final = frozenset({"var", "cvar", "stress", "max_volatility", "correlation"})


class _Book(NamedTuple):
    ctx: Context
    rules: Rules
    exposures: Floats
    size: Floats
    equity: float
    bands: dict[str, Band]


def _weighed(made: Screen, key: str, value: float, within: Band, book: _Book) -> bool:
    """Bound a measure that is a function of weights alone; False where it has none."""
    low, high = within
    if key == "max_herfindahl":
        # a sum of squares grows as a square
        root = (sqrt(low) if low > 0.0 else low, sqrt(high) if high < inf else inf)
        return made.bound(sqrt(value), sqrt(value), root)
    if any(family.key == key for family in book.rules.families):
        return made.bound(value, value, within)
    if key in ("max_position_weight", "max_concentration"):
        return made.heaviest_within(within)
    if key in WHOLE:
        gross = float(np.add.reduce(book.size)) / book.equity
        if abs(value - gross) <= 1e-12 * gross:
            return made.whole_within(within)
        if key == "max_net_exposure":
            return made.bound(value - SPREAD * gross, value + SPREAD * gross, within)
    return False


def _scenarios(made: Screen, book: _Book) -> bool:
    """Bound tails, volatility and the weight of linked pairs; False where one has no bound."""
    ctx, rules, bands = book.ctx, book.rules, book.bands
    known: dict[int, Scenarios] | None = {}
    if rules.lookbacks:
        known = ctx.whole(rules.lookbacks, rules.limits.min_history) or _with_gaps(ctx, rules, book.exposures)
    if known is None or (rules.limits.correlation is not None and not _pairs(made, book, rules.limits.correlation)):
        return False
    bounded = {"correlation"}
    for tail in rules.tails:
        if tail.filtered or not _tail(made, tail, book, known):
            return False  # a new row changes every filtered one
        bounded.add(tail.key)
    for quad in rules.quads:
        if quad.key == "max_volatility":
            if not _deviation(made, known[quad.lookback], book, bands[quad.key], quad.lookback):
                return False
            bounded.add(quad.key)
    return bands.keys() & OF_SCENARIOS <= bounded


def _with_gaps(ctx: Context, rules: Rules, exposures: Floats) -> dict[int, Scenarios] | None:
    """The scenarios by lookback where some returns are missing, None without enough of them."""
    least, matters = rules.limits.min_history, exposures != 0.0
    found = {}
    for lookback in rules.lookbacks:
        window = ctx.window(lookback, least)
        if window.short is not None and np.count_nonzero(window.short & matters):
            return None
        found[lookback] = window.scenarios(matters)
        if len(found[lookback]) < least:
            return None
    return found


def _pairs(made: Screen, book: _Book, spec: Correlation) -> bool:
    """No pair weighs more than the two heaviest positions, and none counts while the second is small."""
    largest = sorted(book.size.tolist())[-2:] if len(book.size) > 1 else [0.0, 0.0]
    second, both = largest[0] / book.equity, sum(largest) / book.equity
    low, high = book.bands["correlation"]
    if low > -inf:
        return False  # which pairs are linked changes with every row
    if second == 0.0:
        return True
    # whichever leaves more room
    if high * second < spec.min_weight * both:
        return made.bound(0.0, second, (-inf, spec.min_weight))
    return made.bound(0.0, both, (low, high))


def _moves(scenarios: Scenarios, book: _Book) -> tuple[Floats, Floats]:
    """float64[S] losses as shares of equity, and how far each may move while prices drift apart by SPREAD."""
    size = book.size / book.equity
    # |r| size = 2 max(r, 0) size - r size
    return -scenarios.returns.dot(book.exposures / book.equity), SPREAD * scenarios.losses_of(size, 2.0 * size)


def _tail(made: Screen, tail: TailLimit, book: _Book, known: dict[int, Scenarios]) -> bool:
    """Bound a tail of losses, as shares of equity."""
    within = book.bands[tail.key]
    low, high = (edge / tail.scale for edge in within)
    # the window may still grow: fewer rows beyond VaR give the larger tail
    scenarios, count = tail.of(known)
    threshold, below = 0.0, 0.0
    crude = inf if tail.fixed is not None else float(scenarios.reach(count).dot(book.size)) / book.equity
    if low == -inf and crude * (1.0 + 2.0 * SPREAD) < high:
        above = crude  # far away, whatever the losses are
    else:
        losses, apart = _moves(scenarios, book)
        upper = _worst(losses + apart, count)
        above, threshold = max(float(tail.measure(upper)), 0.0), float(upper[0])
        if low > -inf:
            rows = losses - apart
            if tail.fixed is None:
                # by the time it is asked the oldest may be gone
                rows = rows[min(SAMPLES, len(rows)) :]
                count = tail_count(min(len(losses) + SAMPLES, tail.lookback), tail.confidence)
            if len(rows) < count:
                return False
            below = float(tail.measure(_worst(rows, count)))
    if tail.key == "cvar":
        made.expect(_Expected(threshold, above, count, high * (1.0 - SLACK)))
    elif tail.fixed is None:
        made.rows_below(high * (1.0 - SLACK))
    return made.bound(below, above, (low, high))


def _worst(losses: Floats, count: int) -> Floats:
    """float64[count], the largest of `losses`, the least of them first."""
    rank = len(losses) - count
    losses.partition(rank)
    return losses[rank:]


def _deviation(made: Screen, scenarios: Scenarios, book: _Book, within: Band, lookback: int) -> bool:
    """Bound the annual volatility."""
    low, high = (edge / sqrt(SAMPLES_PER_YEAR) for edge in within)
    losses, apart = _moves(scenarios, book)
    mean = float(losses.mean())
    upper = _norm(losses - mean) + _norm(apart)
    if isfinite(high):
        made.vary(_Varying(upper, abs(mean), high * sqrt(len(losses) - 1) * (1.0 - SLACK)))
    below = 0.0
    if low > -inf:
        rows = losses[SAMPLES:]
        if len(rows) < 2:
            return False
        below = _norm(rows - rows.mean()) - _norm(apart[SAMPLES:])
        low *= sqrt(min(len(losses) + SAMPLES, lookback) - 1)
    return made.bound(below, 0.0, (low, inf))


def _norm(row: Floats) -> float:
    return sqrt(float(row.dot(row)))
