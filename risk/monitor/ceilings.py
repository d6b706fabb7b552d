"""Upper bounds of limit values, which settle most levels without a measurement.

What can go wrong: a level changes without an alert. A band, the range of values at which a limit keeps its level, is
therefore only used to show that a level stays. A limit whose band does not show this is a doubt, and is measured. A
value within rounding of an edge of its band is a doubt too, because two ways to compute the value may differ.

- Exposures, weights and group weights (families) are exact. `quantd.trading.history.RunningSums` bounds VaR, CVaR and
  volatility.
- No pair of instruments weighs more than the two heaviest positions together.
- Where an upper bound does not settle a level, the losses of the book or the correlations of its pairs are computed.
- Where returns are missing, every limit over returns is a doubt.
"""

from collections.abc import Mapping
from math import inf, nan, sqrt
from typing import Any, Final

from quantd.risk.limits.average_correlation import KEY as AVERAGE
from quantd.risk.limits.case import SLACK
from quantd.risk.limits.catalogue import FLOORS
from quantd.risk.limits.correlation import joint_bound
from quantd.risk.limits.exposure import leverage_of
from quantd.risk.limits.record import Held, gross_of, heaviest_of, herfindahl_of, net_of
from quantd.risk.limits.ruleset import Rules
from quantd.risk.measures.portfolio import tail_count
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.monitor.levels import NONE, UNWATCHED, band, floor_band
from quantd.trading.history.rings import Ring, RunningSums
from quantd.trading.number_types import Floats, Ints, ReadRows, float_zeros

LEFT_OUT: Final = UNWATCHED | {"max_turnover"}
"""Limits without a level between trades."""

HEDGED: Final = 1e-4
"""Where the deviation of a book is below this fraction of the sum of its positions' deviations, rounding may change its
diversification."""

SURE: Final = 1e-9
"""Largest rounding of a diversification, of a weight and of a correlation."""

SPREAD: Final = "min_diversification"

MOST_PAIRS: Final = 16
"""Largest number of pairs whose correlation is computed here; with more pairs the limit is a doubt."""


KNOWN: Final = {heaviest_of: 1, gross_of: 2, net_of: 3, herfindahl_of: 4, leverage_of: 5}
"""Measure of exposures -> its code in `MeasureBand.value`."""


class Doubts:
    """Limits of a book whose level may change, as (key, least possible value, largest possible value, bound). The
    values are NaN where only a measurement can tell."""

    limits: list[Any]
    complete: bool
    """Whether a measurement of the limits over returns would use exactly the rows of returns that the bands use."""

    def __init__(self, complete: bool) -> None:
        self.limits, self.complete = [], complete

    def add(self, key: str, least: float, most: float, bound: float) -> None:
        """Add the limit `key`, whose value lies between `least` and `most`."""
        self.limits.append((key, least, most, bound))

    def add_of_returns(self, key: str, least: float, most: float, bound: float) -> None:
        """Add a limit over returns, with NaN for both values if a measurement may use other rows of returns."""
        if self.complete:
            self.add(key, least, most, bound)
        else:
            self.add(key, nan, nan, bound)


class MeasureBand:
    """A limit on a measure of exposures: a value between `low` and `high` keeps its level."""

    key: str
    measure: Any
    number: int
    """Code of the measure in `KNOWN`; 0 for any other measure."""
    bound: float
    low: float
    high: float

    def __init__(self, key: str, measure: Any, bound: float, edges: Any) -> None:
        self.key, self.measure, self.bound, self.low, self.high = key, measure, bound, edges[0], edges[1]
        self.number = KNOWN.get(measure, 0)

    def value(self, book: Holdings) -> float:
        """Return the limit's measure of a book; the measures in `KNOWN` are computed here, because a call is slower."""
        # 1 heaviest weight, 2 gross, 3 net, 4 Herfindahl, 5 leverage: the larger of the long side and of 1 + the short
        # side, if any is short
        if self.number == 1:
            return book.heaviest
        if self.number == 2:
            return book.gross
        if self.number == 3:
            return book.net if book.net > 0.0 else -book.net
        if self.number == 4:
            return book.herfindahl()
        if self.number == 5:
            shorts: float = (book.gross - book.net) / 2.0
            borrowed: float = 1.0 + shorts if shorts > SLACK else 0.0
            longs: float = (book.gross + book.net) / 2.0
            return longs if longs > borrowed else borrowed
        # 0.0 is the traded value: limits on it have no level between trades
        reading: float = self.measure(Held(book.heaviest, book.net, book.gross, book.herfindahl, 0.0))
        return reading


class FamilyBand:
    """A limit on the gross weight of each group of symbols. `alone` are the bands of the same limit on single
    positions, such as the largest weight.

    `labels` has the group of each symbol, 1 to `groups`, 0 for none.
    """

    key: str
    labels: Ints
    sums: Floats
    bound: float
    low: float
    high: float
    alone: list[MeasureBand]

    def __init__(self, key: str, labels: Ints, groups: int, bound: float, edges: Any, alone: list[MeasureBand]) -> None:
        self.key, self.labels, self.sums = key, labels, float_zeros(groups + 1)
        self.bound, self.low, self.high = bound, edges[0], edges[1]
        self.alone = alone

    def value(self, book: Holdings) -> float:
        """Return the largest gross weight of a group or, if larger, of a single position (measures `alone`)."""
        heaviest: float = book.heaviest_group(self.labels, self.sums)
        member: MeasureBand
        for member in self.alone:
            weight: float = member.value(book)
            if weight > heaviest:
                heaviest = weight
        return heaviest


class TailBand:
    """A limit over returns. With `mean` its value is the mean of the worst losses at `confidence`, else the smallest of
    them. With a confidence of 0 the value is the standard deviation of the losses.

    Over `fixed` scenarios the value is the worst loss.
    """

    key: str
    bound: float
    low: float
    high: float
    scale: float
    confidence: float
    mean: bool
    fixed: Any
    rows: int
    count: int
    """The number of worst losses among `rows` losses."""
    last: float
    """The last value."""

    def __init__(
        self, key: str, bound: float, edges: Any, scale: float, confidence: float = 0.0, mean: bool = False
    ) -> None:
        self.key, self.bound, self.low, self.high, self.last = key, bound, edges[0], edges[1], nan
        self.scale, self.confidence, self.mean = scale, confidence, mean
        self.fixed, self.rows, self.count = None, -1, 0

    def ceiling(self, rows: int) -> float:
        """Return the Euclidean norm of the losses over `rows` rows below which the level surely stays; -inf if the
        level may also fall."""
        if self.low > -inf:
            return -inf
        count: int = tail_count(rows, self.confidence) if self.confidence > 0.0 else rows - 1
        return self.high / self.scale * sqrt(float(count if count > 1 else 1))

    def keeps(self, book: Holdings, rows: int) -> bool:
        """Whether the limit keeps its level with the losses of a book over `rows` rows of returns."""
        value: float = 0.0
        if self.confidence == 0.0:
            value = book.deviation()
        else:
            if rows != self.rows:
                self.rows, self.count = rows, tail_count(rows, self.confidence)
            value = book.tail(self.count, self.mean)
        self.last = value * self.scale
        return self.low < self.last < self.high


class Window:
    """The limits over the returns of one lookback.

    While the norm of the losses is below `ceiling`, no limit of `tails` changes its level. `ceiling` is computed for
    `rows` rows of returns; `rows` is -1 before the first time. With `spread` there is a limit on diversification: a
    value between `low` and `high` keeps its level. The last value was between `least` and `most`, which are NaN before
    the first value.
    """

    lookback: int
    tails: list[TailBand]
    rows: int
    ceiling: float
    spread: bool
    bound: float
    low: float
    high: float
    least: float
    most: float

    def __init__(self, lookback: int) -> None:
        self.lookback, self.tails, self.rows, self.ceiling = lookback, [], -1, -inf
        self.spread, self.bound, self.low, self.high = False, 0.0, -inf, inf
        self.least = self.most = nan

    def keep(self, book: Holdings, ring: Ring, fewest: int, doubts: Doubts | None) -> bool:
        """Whether all limits of this window surely keep their levels; False where returns are missing.

        A level is how near a limit is to its bound, and a band the values that keep it. `ring` has the recent returns,
        and with fewer than `fewest` rows of them nothing is measured.
        Without `doubts` the first level that may change ends the computation. With `doubts`, every limit whose level
        may change is added to that object.
        """
        sums: RunningSums = ring.sums(self.lookback)
        available: int = whole_rows(sums, ring)
        if available < fewest and available == ring.count - 1:
            return True  # below the fewest samples no loss is measured, and the level stays
        rows: int = sums.rows if sums.rows > fewest else fewest
        tail: TailBand
        if rows != self.rows:
            self.rows, self.ceiling = rows, inf
            for tail in self.tails:
                ceiling: float = tail.ceiling(rows)
                if ceiling < self.ceiling:
                    self.ceiling = ceiling
        below_ceiling: bool = not self.tails or sums.norm_below(book.size, self.ceiling)
        spread: bool = self.spread and book.gross > 0.0
        if below_ceiling and not spread:
            return True
        ring.fill()
        measured: bool = available <= ring.end and book.lose(ring._returns, ring.end - available, available)
        stay: bool = True
        if not below_ceiling:
            for tail in self.tails:
                tail.last = nan
                if not (measured and tail.keeps(book, available)):
                    if doubts is None:
                        return False
                    doubts.add_of_returns(tail.key, tail.last, tail.last, tail.bound)
                    stay = False
        self.least = self.most = nan
        # all four are needed: finite losses, no gap, enough rows, and a diversification surely within its band
        if spread and not (measured and sums.complete and available >= fewest and self._spreads(book, sums)):
            if doubts is not None:
                doubts.add_of_returns(SPREAD, self.least, self.most, self.bound)
            stay = False
        return stay

    def _spreads(self, book: Holdings, sums: RunningSums) -> bool:
        """Whether the limit on diversification surely keeps its level; False where rounding may change its value.

        The value is 1 - deviation of the losses / sum of the positions' deviations.
        """
        least: float = 0.0
        most: float = 0.0
        least, most = sums.alone(book.size)
        joint: float = book.deviation()
        if not (least > 0.0 and joint > HEDGED * most):
            return False
        self.least, self.most = 1.0 - joint / least - SURE, 1.0 - joint / most + SURE
        return self.low < self.least and self.most < self.high


def whole_rows(sums: RunningSums, ring: Ring) -> int:
    """Return the number of rows of returns that a measurement uses; `ring` has the recent returns.

    The number is the lookback of the sums. While the book has fewer samples, and no return is missing, it is the number
    of returns.
    """
    if 0 < sums.rows == ring.count - 1:
        return sums.rows
    return sums.lookback


class PairBand:
    """The limit on pairs of positions above the weight `least` whose correlation exceeds `threshold` (linked pairs).

    The level stays while the joint weight of the heaviest linked pair is below `high`. Where the level could fall, this
    weight must also be above `low`.
    """

    low: float
    high: float
    least: float
    threshold: float
    lookback: int

    def __init__(self, edges: Any, least: float, threshold: float, lookback: int) -> None:
        self.low, self.high, self.least, self.threshold = edges[0], edges[1], least, threshold
        self.lookback = lookback

    def keep(self, book: Holdings, ring: Ring, fewest: int) -> bool:
        """Whether the limit on pairs surely keeps its level; False where returns are missing.

        A level is kept while the value lies between `low` and `high`. Only positions above the weight `least` count.
        `ring` has the recent returns, `fewest` is the number of them below which nothing is measured, and SURE the
        margin for rounding.
        """
        # a level without a lower edge cannot fall: then only a pair above the upper edge can change it
        settled: bool = not self.low > -inf
        # no two positions together reach the upper edge
        if settled and 2.0 * book.heaviest < self.high:
            return True
        second: float = book.second()
        # the two heaviest do not reach it, or all positions but one are light
        if settled and (book.heaviest + second < self.high or second < self.least * (1.0 - SURE)):
            return True
        sums: RunningSums = ring.sums(self.lookback)
        rows: int = whole_rows(sums, ring)
        if rows < fewest:
            return rows == ring.count - 1  # with too few samples nothing is measured, and the level stays
        # a return of the window is missing
        if rows > sums.rows:
            return False
        newest: Any = ring.returns(rows)
        returns: ReadRows = newest.data
        size: Floats = book.size
        pair_count: int = 0
        for k in range(book.n):
            if size[k] < self.least - SURE:
                continue
            for other in range(k + 1, book.n):
                lighter: float = size[k] if size[k] < size[other] else size[other]
                both: float = size[k] + size[other]
                heavy: bool = both >= self.high
                # a pair matters above the upper edge, and while nothing is settled above the lower one
                if lighter < self.least - SURE or not (heavy or (not settled and both > self.low)):
                    continue
                pair_count += 1
                if pair_count > MOST_PAIRS:
                    return False
                excess: float = self._excess(book, k, other, returns)
                if heavy and not excess < -SURE:
                    return False
                settled = settled or (lighter > self.least + SURE and excess > SURE and both > self.low)
        return settled

    def _excess(self, book: Holdings, first: int, second: int, returns: ReadRows) -> float:
        """Return by how much the correlation of two positions (negated if they are on opposite sides) exceeds the
        threshold.

        The result is 0, neither surely above nor surely below the threshold, where an instrument never moved.
        """
        rows: int = len(returns)
        first_mean: float = 0.0
        second_mean: float = 0.0
        for row in range(rows):
            first_mean += returns[row, first]
            second_mean += returns[row, second]
        first_mean = first_mean / float(rows)
        second_mean = second_mean / float(rows)
        joint_sum: float = 0.0
        first_squares: float = 0.0
        second_squares: float = 0.0
        for row in range(rows):
            first_part: float = returns[row, first] - first_mean
            second_part: float = returns[row, second] - second_mean
            joint_sum += first_part * second_part
            first_squares += first_part * first_part
            second_squares += second_part * second_part
        joint: float = joint_sum if book.same_side(first, second) else -joint_sum
        scale: float = sqrt(first_squares * second_squares)
        return joint / scale - self.threshold if scale > 0.0 else 0.0


class Bands:
    """The bands of a book's limits: for each limit, the values at which the limit keeps its present level."""

    rules: Final[Any]
    levels: Final[dict[str, int]]
    unsettled: str
    """The key of a limit whose level can only be measured; empty for none."""
    _fewest: int
    _measures: list[MeasureBand]
    _families: list[FamilyBand]
    _windows: list[Window]
    _fixed: list[TailBand]
    _pairs: list[PairBand]
    """At most one."""
    _rising: bool
    _margin: float
    _longest: int
    """The longest lookback of the rules; 0 without any."""

    def __init__(self, rules: Rules, levels: Mapping[str, int], rising: bool = False, margin: float = 0.0) -> None:
        """Make the bands at the present `levels` of the limits, by key: a value within its band keeps its level.

        With `rising`, levels may rise but not fall: no value is too low for its level, and limits that are lower bounds
        are ignored. `margin` is the share of each bound by which a value must be below the start of the next level.
        """
        self.rules, self.levels, self._rising, self._margin = rules, dict(levels), rising, margin
        limits = rules.limits
        self._fewest = limits.min_history
        self._longest = max(rules.lookbacks, default=0)
        # limits without a band are measured at every sample
        keys_without_band = [row.key for row in rules.unmeasured] + [AVERAGE] * (rules.average is not None)
        keys_without_band += [key for key, _, _ in rules.held_measures if key in FLOORS]
        keys_without_band += [
            tail.key for tail in rules.tails if tail.key in FLOORS or (tail.filtered and tail.fixed is None)
        ]
        keys_without_band += [
            quad.key for quad in rules.quads if quad.key != "max_volatility" and quad.spread is not None
        ]
        # the first of these keys; empty if every limit has a band
        self.unsettled = [*keys_without_band, ""][0]
        grouped = {family.key for family in rules.families}
        measures = [
            (key, MeasureBand(key, measure, bound, self._edges(key, bound)))
            for key, bound, measure in [*rules.held_measures, *rules.traded_measures]
            if key not in LEFT_OUT
        ]
        self._measures = [measure_band for key, measure_band in measures if key not in grouped]
        self._families = [
            FamilyBand(
                f.key, f.labels.data, int(f.labels.max()), f.settled_bound, self._edges(f.key, f.settled_bound),
                [measure_band for key, measure_band in measures if key == f.key],
            )
            for f in rules.families
        ]  # fmt: skip
        spec = limits.correlation
        self._pairs = []
        if spec is not None:
            edges = self._edges("correlation", joint_bound(spec))
            self._pairs.append(PairBand(edges, spec.min_weight, spec.threshold, spec.lookback))
        self._windows, self._fixed = [], []
        self._add_tails(rules)
        floor = limits.min_diversification
        if floor is not None and not rising:
            window: Window = self._window(limits.volatility_lookback)
            edges = floor_band(self.levels.get(SPREAD, NONE), floor)
            window.spread, window.bound, window.low, window.high = True, floor, edges[0], edges[1]

    def _edges(self, key: str, bound: float) -> Any:
        """Return (low, high): a value of the limit `key` between them keeps the present level."""
        edges = band(key, self.levels.get(key, NONE), bound)
        return (-inf, edges[1] - self._margin * bound) if self._rising else edges

    def _add_tails(self, rules: Rules) -> None:
        """Make the bands (values that keep a level) of the limits on VaR, expected shortfall and volatility.

        A band over returns is added to the window of its lookback, a band over fixed scenarios to `_fixed`. Limits
        on filtered returns have no band: their levels are always measured.
        """
        for tail in rules.tails:
            edges: Any = self._edges(tail.key, tail.bound)
            tail_band: TailBand = TailBand(tail.key, tail.bound, edges, tail.scale, tail.confidence, tail.mean)
            if tail.fixed is not None:
                tail_band.fixed = tail.fixed.returns
                self._fixed.append(tail_band)
            elif not tail.filtered:
                self._window(tail.lookback).tails.append(tail_band)
        for quad in rules.quads:  # quadratic forms; only that of the volatility has a band
            if quad.key == "max_volatility":
                edges = self._edges(quad.key, quad.settled_bound)
                # the limit is scale x variance <= bound^2 after all fills, and the band measures the deviation
                deviation_band: TailBand = TailBand(quad.key, quad.settled_bound, edges, sqrt(quad.scale))
                self._window(quad.lookback).tails.append(deviation_band)

    def _window(self, lookback: int) -> Window:
        """Return the window of a lookback, created if it is missing."""
        window: Window
        for window in self._windows:
            if window.lookback == lookback:
                return window
        window = Window(lookback)
        self._windows.append(window)
        return window

    def keep(self, book: Holdings, ring: Ring) -> bool:
        """Whether all limits of a book with positive equity and without open orders surely keep their levels. `ring`
        has the synchronous returns."""
        return len(self.unsettled) == 0 and self._review(book, ring, None)

    def doubts(self, book: Holdings, ring: Ring) -> list[Any] | None:
        """Return the limits whose level may change, as (key, least possible value, largest possible value, bound); None
        where all limits must be measured. `ring` has the recent returns."""
        if len(self.unsettled) > 0:
            return None
        doubts: Doubts = Doubts(self._complete(ring))
        self._review(book, ring, doubts)
        return doubts.limits

    def _complete(self, ring: Ring) -> bool:
        """Whether `ring` (recent returns) has every return of the longest lookback, or of a shorter history of the
        book.

        At least `_fewest` rows, the least for a measurement, are needed. If the result is True, a measurement uses the
        same rows as the bands. No lookback is shorter than `_fewest`.
        """
        if self._longest == 0:
            return True
        sums: RunningSums = ring.sums(self._longest)
        rows: int = ring.count - 1
        most: int = self._longest if self._longest < rows else rows
        return sums.rows == most and most >= self._fewest

    def _review(self, book: Holdings, ring: Ring, doubts: Doubts | None) -> bool:
        """Whether all limits surely keep their levels.

        Limits whose level may change are added to `doubts`; if that is None, the first such limit ends the review.
        `ring` has the recent returns.
        """
        stay: bool = True
        value: float = 0.0
        measure: MeasureBand
        for measure in self._measures:
            value = measure.value(book)
            if not measure.low < value < measure.high:
                if doubts is None:
                    return False
                doubts.add(measure.key, value, value, measure.bound)
                stay = False
        family: FamilyBand
        for family in self._families:
            value = family.value(book)
            if not family.low < value < family.high:
                if doubts is None:
                    return False
                doubts.add(family.key, value, value, family.bound)
                stay = False
        pair: PairBand
        for pair in self._pairs:
            if not pair.keep(book, ring, self._fewest):
                if doubts is None:
                    return False
                doubts.add("correlation", nan, nan, 0.0)  # NaN: only a measurement can tell the value
                stay = False
        window: Window
        for window in self._windows:
            if not window.keep(book, ring, self._fewest, doubts):
                if doubts is None:
                    return False
                stay = False
        fixed: TailBand
        for fixed in self._fixed:
            # the worst loss over the scenarios
            value = -float(min(fixed.fixed.dot(book.weights).tolist())) * fixed.scale
            if not fixed.low < value < fixed.high:
                if doubts is None:
                    return False
                doubts.add(fixed.key, value, value, fixed.bound)
                stay = False
        return stay
