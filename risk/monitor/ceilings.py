"""Upper bounds of limit values, which settle most levels without a measurement.

Exposures, weights and families are exact. `quantd.trading.history.RunningSums` bounds VaR, CVaR and volatility. No
pair of instruments weighs more than the two heaviest positions together. Where a bound does not settle a level, the
losses of the book do. Where a value is within rounding of an edge, or returns are missing, the level is not settled.
"""

from collections.abc import Mapping
from math import inf, isfinite, sqrt
from typing import Any, Final

import numpy as np

from quantd.risk.limits.catalogue import FLOORS
from quantd.risk.limits.correlation import joint_bound
from quantd.risk.limits.record import Held
from quantd.risk.limits.ruleset import Rules
from quantd.risk.measures.portfolio import tail_count
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.monitor.levels import NONE, UNWATCHED, band, floor_band
from quantd.trading.history.rings import Ring, RunningSums
from quantd.trading.number_types import Floats, Ints, float_zeros

LEFT_OUT: Final = UNWATCHED | {"max_turnover"}
"""Limits without a level between trades."""

HEDGED: Final = 1e-4
"""Deviation of a book, as a share of its positions' own, below which rounding may move its diversification."""

SURE: Final = 1e-9
"""Rounding of a diversification."""


class MeasureBand:
    """A limit on a measure of exposures: a value between `low` and `high` keeps its level."""

    measure: Any
    low: float
    high: float

    def __init__(self, measure: Any, edges: Any) -> None:
        self.measure, self.low, self.high = measure, edges[0], edges[1]


class FamilyBand:
    """A limit on the groups of `labels`, from 1 to `groups`."""

    labels: Ints
    sums: Floats
    low: float
    high: float

    def __init__(self, labels: Ints, groups: int, edges: Any) -> None:
        self.labels, self.sums, self.low, self.high = labels, float_zeros(groups + 1), edges[0], edges[1]


class TailBand:
    """A limit over returns, of the mean or the least of the worst losses at `confidence`; without one, the deviation.

    Over the losses of `fixed` scenarios it is the worst.
    """

    low: float
    high: float
    scale: float
    confidence: float
    mean: bool
    fixed: Any

    def __init__(self, edges: Any, scale: float, confidence: float = 0.0, mean: bool = False) -> None:
        self.low, self.high, self.scale, self.confidence, self.mean = edges[0], edges[1], scale, confidence, mean
        self.fixed = None

    def ceiling(self, rows: int) -> float:
        """Norm of the losses below which the level surely stays."""
        if self.low > -inf:
            return -inf
        count: int = tail_count(rows, self.confidence) if self.confidence > 0.0 else rows - 1
        return self.high / self.scale * sqrt(float(count if count > 1 else 1))

    def keeps(self, losses: Any) -> bool:
        """Whether float64[S] losses keep the level."""
        rows: int = len(losses)
        value: float = 0.0
        if self.confidence == 0.0:
            value = _deviation(losses)
        else:
            rank: int = rows - int(tail_count(rows, self.confidence))
            worst = np.partition(losses, rank)[rank:]
            value = float(np.add.reduce(worst)) / float(len(worst)) if self.mean else float(worst[0])
        return self.low < value * self.scale < self.high


class Window:
    """The limits over the returns of one lookback. `ceiling` is the least of the tails' at `rows` returns.

    With `spread`, a diversification between `low` and `high` keeps its level.
    """

    lookback: int
    tails: list[TailBand]
    rows: int
    ceiling: float
    spread: bool
    low: float
    high: float

    def __init__(self, lookback: int) -> None:
        self.lookback, self.tails, self.rows, self.ceiling = lookback, [], -1, -inf
        self.spread, self.low, self.high = False, -inf, inf

    def keep(self, book: Holdings, ring: Ring, fewest: int) -> bool:
        """Whether all levels stay; False where returns are missing."""
        known: RunningSums = ring.sums(self.lookback)
        rows: int = known.rows if known.rows > fewest else fewest
        tail: TailBand
        if rows != self.rows:
            self.rows, self.ceiling = rows, inf
            for tail in self.tails:
                own: float = tail.ceiling(rows)
                if own < self.ceiling:
                    self.ceiling = own
        small: bool = not self.tails or known.norm_of(book.size) < self.ceiling
        spread: bool = self.spread and book.gross > 0.0
        if small and not spread:
            return True
        losses = -ring.returns(self.lookback).dot(book.weights)
        if not isfinite(np.add.reduce(losses)):
            return False
        if not small and False in [tail.keeps(losses) for tail in self.tails]:
            return False
        return not spread or (known.complete and self.lookback >= fewest and self._spreads(book, known, losses))

    def _spreads(self, book: Holdings, known: RunningSums, losses: Any) -> bool:
        """Whether the diversification keeps its level: 1 - the deviation of the losses / the sum of the positions'
        own."""
        least: float = 0.0
        most: float = 0.0
        least, most = known.alone(book.size)
        together: float = _deviation(losses)
        if not (least > 0.0 and together > HEDGED * most):
            return False
        return self.low + SURE < 1.0 - together / least and 1.0 - together / most < self.high - SURE


def _deviation(losses: Any) -> float:
    """Sample deviation of float64[S]."""
    rows: int = len(losses)
    centred = losses - np.add.reduce(losses) / rows
    return sqrt(float(centred.dot(centred)) / float(rows - 1))


class Bands:
    """The values at which every limit of a book keeps its present level."""

    rules: Final[Any]
    levels: Final[dict[str, int]]
    open: bool
    """Whether a level can only be measured."""
    _fewest: int
    _measures: list[MeasureBand]
    _families: list[FamilyBand]
    _windows: list[Window]
    _fixed: list[TailBand]
    _pair: float
    """Two positions below it together have no level, nor with one below `_beside`."""
    _beside: float

    def __init__(self, rules: Rules, levels: Mapping[str, int]) -> None:
        self.rules, self.levels = rules, dict(levels)
        limits = rules.limits
        self._fewest = limits.min_history
        bounds = [(key, bound) for key, bound, _ in rules.held_measures] + [(t.key, t.bound) for t in rules.tails]
        self.open = (
            bool(rules.unmeasured) or rules.average is not None or not FLOORS.isdisjoint([key for key, _ in bounds])
        )
        self._measures = [
            MeasureBand(measure, self._edges(key, bound))
            for key, bound, measure in [*rules.held_measures, *rules.traded_measures]
            if key not in LEFT_OUT
        ]
        self._families = [
            FamilyBand(f.labels.data, int(f.labels.max()), self._edges(f.key, f.settled_bound))
            for f in rules.families
            if f.names
        ]
        self._pair, self._beside = inf, 0.0
        spec = limits.correlation
        if spec is not None:
            edges = self._edges("correlation", joint_bound(spec))
            self._pair, self._beside = edges[1], spec.min_weight * (1.0 - 1e-9)
            self.open = self.open or edges[0] > -inf
        self._windows, self._fixed = [], []
        self._add_tails(rules)
        floor = limits.min_diversification
        if floor is not None:
            window: Window = self._window(limits.volatility_lookback)
            edges = floor_band(self.levels.get("min_diversification", NONE), floor)
            window.spread, window.low, window.high = True, edges[0], edges[1]

    def _edges(self, key: str, bound: float) -> Any:
        """(low, high), between which a value keeps the level."""
        return band(key, self.levels.get(key, NONE), bound)

    def _add_tails(self, rules: Rules) -> None:
        for tail in rules.tails:
            own: TailBand = TailBand(self._edges(tail.key, tail.bound), tail.scale, tail.confidence, tail.mean)
            if tail.fixed is not None:
                own.fixed = tail.fixed.returns
                self._fixed.append(own)
            elif tail.filtered:
                self.open = True
            else:
                self._window(tail.lookback).tails.append(own)
        for quad in rules.quads:
            if quad.key == "max_volatility":
                form: TailBand = TailBand(self._edges(quad.key, quad.settled_bound), sqrt(quad.scale))
                self._window(quad.lookback).tails.append(form)
            elif quad.spread is not None:
                self.open = True

    def _window(self, lookback: int) -> Window:
        window: Window
        for window in self._windows:
            if window.lookback == lookback:
                return window
        window = Window(lookback)
        self._windows.append(window)
        return window

    def keep(self, book: Holdings, ring: Ring) -> bool:
        """Whether all levels surely stay, of a solvent book without open orders. `ring` has the synchronous returns."""
        if self.open:
            return False
        if self._measures:
            held = Held(book.heaviest, book.net, book.gross, book.herfindahl, 0.0)
            measure: MeasureBand
            for measure in self._measures:
                value: float = measure.measure(held)
                if not measure.low < value < measure.high:
                    return False
        family: FamilyBand
        for family in self._families:
            if not family.low < book.heaviest_group(family.labels, family.sums) < family.high:
                return False
        if not 2.0 * book.heaviest < self._pair:
            second: float = book.second()
            if not (book.heaviest + second < self._pair or second < self._beside):
                return False
        window: Window
        for window in self._windows:
            if not window.keep(book, ring, self._fewest):
                return False
        fixed: TailBand
        for fixed in self._fixed:
            worst: float = -float(min(fixed.fixed.dot(book.weights).tolist()))
            if not fixed.low < worst * fixed.scale < fixed.high:
                return False
        return True
