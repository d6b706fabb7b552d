"""Whether a book's limits surely still have the levels they had when they were last measured, without measuring again.

Sound, never exact: `keeps` is true only where a full measurement would find every level unchanged. What it rests on,
since the measurement: no lots and no cash were booked, so the book changes by prices alone; every sample added one row
to the synchronous returns, that of the marks themselves; prices and equity are finite and positive.

Let a held price be g_i times what it was, low <= g_i <= high, and equity E where it was E0. Then
- a weight is w_i g_i E0 / E: sums of weights lie between low E0 / E and high E0 / E times what they were;
- what scenario s loses, -sum e_i g_i r_si, lies within middle L_s -+ half A_s, where L_s = -sum e_i r_si, A_s = sum
  |e_i r_si|, middle and half are those of [low, high]. While half <= SPREAD middle, a tail lies between middle times
  the tail of L - SPREAD A and middle times that of L + SPREAD A, since tails are monotone in each loss; and a deviation
  within SPREAD |A| of middle times what it was (the triangle inequality);
- a row that came since loses, at the exposures of its own day, what equity lost on that day. At those of now it
  differs by at most (high / low - 1) times what was moved: (highest - lowest) times the gross exposure;
- a row that left can only lower a tail: the lower ends are those of the rows that cannot have left yet.
`quantd.risk.monitor.levels.band` leaves more room at the edges of a level than floats are rounded by.
"""

from collections.abc import Callable
from functools import cached_property
from math import inf, isclose, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.catalogue import Correlation, Limits
from quantd.risk.limits.context import Context, Floats, Scenarios
from quantd.risk.limits.kinds import Losses
from quantd.risk.limits.ruleset import Rules, rules_of
from quantd.risk.limits.values import Values, scenarios_of
from quantd.risk.measures.portfolio import SAMPLES_PER_YEAR, tail_count
from quantd.risk.monitor.levels import NONE, UNWATCHED, band

SAMPLES: Final = 25
"""Samples a screen may serve before the book is measured again."""

SPREAD: Final = 0.06
"""How far prices may drift apart, as half their range over its middle, before the book is measured again."""

WIDEST: Final = (1.0 + SPREAD) / (1.0 - SPREAD)
"""The same as largest over least."""

ROUNDED: Final = 2e-6
"""What rounding to micro-currency may make of a move of equity, in currency."""

WHOLE: Final = frozenset({"max_gross_exposure", "max_account_notional", "ramp", "max_leverage", "max_net_exposure"})
"""Measures that are all of a one-sided book: easily summed, where the range of prices leaves it open."""

LEFT_OUT: Final = UNWATCHED | {"max_turnover"}
"""What is not looked at between trades."""

OF_SCENARIOS: Final = frozenset({"var", "cvar", "stress", "max_volatility", "correlation"})


Band = tuple[float, float]
"""A value stays above the first and below the second."""


class _Look(NamedTuple):
    """A `value`, share of equity, that `exact` gives in currency of float64[H] ratios, where their range leaves it
    open."""

    value: float
    under: float
    over: float
    exact: Callable[[Floats], float]


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
    """Of one book of float64[H] signed `exposures`. `keeps` is called once for each sample after the measurement, until
    it is False."""

    __slots__ = (
        "_equity", "_expected", "_exposures", "_fall", "_first", "_gain", "_gross", "_highest", "_looks", "_lowest",
        "_rise", "_row",
        "_samples", "_size", "_varying", "_worst",
    )  # fmt: skip

    def __init__(self, equity: float, exposures: Floats) -> None:
        self._first = self._equity = equity
        self._exposures = exposures
        self._size = np.abs(exposures)
        self._gross = float(np.add.reduce(self._size))
        self._rise, self._fall, self._row = inf, -inf, inf
        self._looks: list[_Look] = []
        self._expected: list[_Expected] = []
        self._varying: list[_Varying] = []
        self._samples = 0
        self._lowest = self._highest = 1.0
        self._worst = self._gain = 0.0

    def begin(self, ratios: Floats, equity: float) -> None:
        """At the first sample at which the book holds what it was screened for, before `keeps`: held prices are
        float64[H]
        `ratios` times what they were. What the newest row lost is not what equity lost: it held something else."""
        self._equity = equity - float(self._exposures.dot(ratios - 1.0))

    def keeps(self, ratios: Floats, low: float, high: float, equity: float) -> bool:
        """Whether no level can have changed, with held prices float64[H] `ratios` times what they were, the least and
        the largest of them `low` and `high`."""
        moved = self._equity - equity
        self._equity = equity
        self._samples += 1
        # at each sample of a long run: without a call
        if moved > self._worst:
            self._worst = moved
        if -moved > self._gain:
            self._gain = -moved
        if low < self._lowest:
            self._lowest = low
        if high > self._highest:
            self._highest = high
        # written so that anything that is not a number fails
        if not (low > 0.0 and equity > 0.0 and high <= low * WIDEST) or self._samples > SAMPLES:
            return False
        grown = self._first / equity
        least, most = low * grown, high * grown
        if not (most < self._rise and least > self._fall):
            return False
        for value, under, over, exact in self._looks:
            if not (least * value > under and most * value < over) and not under < exact(ratios) / equity < over:
                return False
        slack = (self._highest / self._lowest - 1.0) * (self._highest - self._lowest) * self._gross + ROUNDED
        row = (self._worst + slack) / equity
        if not row < self._row:
            return False
        for tail in self._expected:
            beyond = min(least * tail.var, most * tail.var)
            more = max(0.0, row - beyond) * self._samples / tail.rows
            if not most * tail.upper + more < tail.high:
                return False
        for each in self._varying:
            new = (max(self._worst, self._gain) + slack) / equity + most * each.mean
            if not sqrt((most * each.upper) ** 2 + self._samples * new * new) < each.high:
                return False
        return True

    def holds(self) -> bool:
        """Whether all values lie within their bands to begin with; else there is nothing to screen."""
        return self._fall < 1.0 < self._rise and all(look.under < look.value < look.over for look in self._looks)

    def whole_within(self, value: float, within: Band) -> None:
        """All exposure together, `value` of equity, must stay inside the band."""
        self._looks.append(_Look(value, *within, self._size.dot))

    def heaviest_within(self, value: float, within: Band) -> None:
        """The heaviest position, `value` of equity, must stay inside the band."""
        size = self._size
        self._looks.append(_Look(value, *within, lambda ratios: max((size * ratios).tolist())))

    def bound(self, lower: float, upper: float, within: Band) -> None:
        """A measure between least x `lower` and most x `upper` must stay inside the band `within`."""
        low, high = within
        if upper > 0.0:
            self._rise = min(self._rise, high / upper)
        if low > -inf:
            self._fall = max(self._fall, low / lower if lower > 0.0 else inf)

    def never(self) -> None:
        """There is a measure that has no bound."""
        self._rise = -inf

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
    `equity`, with the levels they now have; `columns` are those of the ratios it will be asked with (None: all). None
    where one of the limits has no bound, or is too near an edge."""
    if not equity > 0.0 or limits.min_diversification is not None:  # what takes away risk changes with every row
        return None
    made = Screen(equity, exposures if columns is None else exposures[columns])
    bands = {key: band(key, levels.get(key, NONE), bound) for key, (_, bound) in values.items() if key not in LEFT_OUT}
    weights = exposures / equity
    book = _Book(ctx, rules_of(limits, ctx.universe), weights, np.abs(weights), bands)
    for key, within in bands.items():
        if key not in OF_SCENARIOS:
            _weighed(made, key, values[key][0], within, book)
    _scenarios(made, book)
    return made if made.holds() else None


class _Book(NamedTuple):
    """float64[N] signed `weights` and their `size`."""

    ctx: Context
    rules: Rules
    weights: Floats
    size: Floats
    bands: dict[str, Band]


def _weighed(made: Screen, key: str, value: float, within: Band, book: _Book) -> None:
    """Bound a measure that is a function of weights alone."""
    low, high = within
    gross = float(np.add.reduce(book.size))
    if key == "max_herfindahl":
        # a sum of squares grows as a square
        made.bound(sqrt(value), sqrt(value), (sqrt(low) if low > 0.0 else low, sqrt(high)))
    elif any(family.key == key for family in book.rules.families):
        made.bound(value, value, within)
    elif key in ("max_position_weight", "max_concentration"):
        made.heaviest_within(value, within)
    elif key in WHOLE and isclose(value, gross, rel_tol=1e-12):
        made.whole_within(value, within)
    elif key == "max_net_exposure":
        made.bound(value - SPREAD * gross, value + SPREAD * gross, within)
    else:
        made.never()


class _Moves:
    """What a book loses in each of some `scenarios`, shares of equity, and what of that may move."""

    def __init__(self, scenarios: Scenarios, book: _Book) -> None:
        self.scenarios = scenarios
        self._book = book

    @cached_property
    def losses(self) -> Floats:
        """float64[S]."""
        return -self.scenarios.returns.dot(self._book.weights)

    @cached_property
    def apart(self) -> Floats:
        """float64[S], how far each may move while prices drift apart by SPREAD."""
        size = self._book.size
        # |r| size = 2 max(r, 0) size - r size
        return SPREAD * self.scenarios.losses_of(size, 2.0 * size)

    def reach(self, count: int) -> float:
        """More than the mean of the worst `count` losses, whatever they are."""
        return float(self.scenarios.reach(count).dot(self._book.size))


def _scenarios(made: Screen, book: _Book) -> None:
    """Bound tails, volatility and the weight of linked pairs."""
    rules = book.rules
    known = scenarios_of(book.ctx, rules.lookbacks, rules.limits.min_history, book.weights)
    # by the time it is asked the oldest rows may be gone
    if known is None or any(len(scenarios) <= SAMPLES for scenarios in known.values()):
        made.never()
        return
    moves = {lookback: _Moves(scenarios, book) for lookback, scenarios in known.items()}
    if rules.limits.correlation is not None:
        _pairs(made, book.size, rules.limits.correlation, book.bands["correlation"])
    for tail in rules.tails:
        if tail.filtered:
            made.never()  # a new row changes every one of them
        elif tail.fixed is None:
            _tail(made, tail, moves[tail.lookback], book.bands[tail.key])
        else:
            fixed = _Moves(tail.fixed, book)
            least, most = (fixed.losses - fixed.apart).max(), (fixed.losses + fixed.apart).max()
            made.bound(float(least), float(most), book.bands[tail.key])
    for quad in rules.quads:
        if quad.key == "max_volatility":
            _deviation(made, moves[quad.lookback], book.bands[quad.key], quad.lookback)
        elif quad.key in OF_SCENARIOS:
            made.never()


def _pairs(made: Screen, size: Floats, spec: Correlation, within: Band) -> None:
    """No pair weighs more than the two heaviest positions, and none counts while the second is small. Which are linked
    changes with every row, so nothing keeps a pair above an edge."""
    *_, second, first = sorted([0.0, *size.tolist()])
    low, high = within
    # whichever leaves more room
    if high * second < spec.min_weight * (first + second):
        made.bound(0.0, second, (low, spec.min_weight))
    else:
        made.bound(0.0, first + second, within)


def _tail(made: Screen, tail: Losses, moves: _Moves, within: Band) -> None:
    """Bound a tail of losses, as shares of equity."""
    low, high = (edge / tail.scale for edge in within)
    rows = len(moves.scenarios)
    # the window may still grow: fewer rows beyond VaR give the larger tail
    count = tail_count(rows, tail.confidence)
    below = above = moves.reach(count)
    threshold = 0.0
    if not (low == -inf and above * WIDEST < high):  # else far away, whatever the losses are
        upper = _worst(moves.losses + moves.apart, count)
        above, threshold = max(float(tail.measure(upper)), 0.0), float(upper[0])
        left = moves.losses - moves.apart
        left[:SAMPLES] = -inf
        below = float(tail.measure(_worst(left, tail_count(min(rows + SAMPLES, tail.lookback), tail.confidence))))
    if tail.key == "cvar":
        made.expect(_Expected(threshold, above, count, high))
    else:
        made.rows_below(high)
    made.bound(below, above, (low, high))


def _worst(losses: Floats, count: int) -> Floats:
    """float64[count], the largest of `losses`, the least of them first."""
    rank = len(losses) - count
    losses.partition(rank)
    return losses[rank:]


def _deviation(made: Screen, moves: _Moves, within: Band, lookback: int) -> None:
    """Bound the annual volatility, as a root of a sum of squares."""
    low, high = (edge / sqrt(SAMPLES_PER_YEAR) for edge in within)
    losses, apart = moves.losses, moves.apart
    left, mean = losses[SAMPLES:], float(losses.mean())
    lower = _norm(left - left.mean()) - _norm(apart[SAMPLES:])
    upper = _norm(losses - mean) + _norm(apart)
    # the window may still grow, and its divisor with it
    low *= sqrt(min(len(losses) + SAMPLES, lookback) - 1)
    high *= sqrt(len(losses) - 1)
    made.vary(_Varying(upper, abs(mean), high))
    made.bound(lower, upper, (low, high))


def _norm(row: Floats) -> float:
    return sqrt(float(row.dot(row)))
