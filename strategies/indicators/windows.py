"""Measures of the newest `width` rows of one or two columns: for one window, and for all windows at once.

The two forms use different algorithms (a reduction of one window; passes over shifted columns), so that tests can
compare them. Each window is computed afresh: no running sum accumulates rounding errors, and the start of a stream does
not matter. A missing value in a window makes its result NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.trading.market import Floats

One = Callable[..., Floats]
"""(window float64[width, N], ..) -> float64[N]."""
All = Callable[..., Floats]
"""(width, column float64[T, N], ..) -> float64[T - width + 1, N]."""

STILL: Final = 1e-12
"""A window with a deviation below this fraction of its mean counts as constant; the rest is rounding."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One measure: `one` window, or `all` windows of whole columns."""

    name: str
    one: One
    all: All


def _shifted(width: int, column: Floats) -> list[Floats]:
    """Return the values of `width` rows, oldest first, as views: entry i has row i of every window."""
    count = len(column) - width + 1
    return [column[i : i + count] for i in range(width)]


def _mean_all(width: int, column: Floats) -> Floats:
    rows = _shifted(width, column)
    total = rows[0].copy()
    for row in rows[1:]:
        total += row
    total /= width
    return total


def weighted(name: str, weights: Floats) -> Kernel:
    """Return the sum of weights float64[width] times the rows, oldest first."""
    weights.flags.writeable = False

    def one(window: Floats) -> Floats:
        return weights.dot(window)

    def every(width: int, column: Floats) -> Floats:
        rows = _shifted(width, column)
        total = rows[0] * weights[0]
        for row, weight in zip(rows[1:], weights[1:].tolist(), strict=True):
            total += row * weight
        return total

    return Kernel(name, one, every)


def _doubled(choose: np.ufunc) -> All:
    def every(width: int, column: Floats) -> Floats:
        # the extreme of 2, 4, 8 .. rows, each from the previous one; two overlapping ones give `width`
        span = 1
        while span * 2 <= width:
            column = choose(column[:-span], column[span:])
            span *= 2
        rest = width - span
        return choose(column[:-rest], column[rest:]) if rest else column.copy()

    return every


HIGHEST: Final = Kernel("highest", lambda window: np.maximum.reduce(window, axis=0), _doubled(np.maximum))
LOWEST: Final = Kernel("lowest", lambda window: np.minimum.reduce(window, axis=0), _doubled(np.minimum))


def _since(best: Callable[[Floats], Floats], better: np.ufunc, name: str) -> Kernel:
    """Return the bars since the extreme; the latest of equal ones."""

    def one(window: Floats) -> Floats:
        # values are missing only at the old end
        return np.where(window[0] == window[0], best(window[::-1]), np.nan)

    def every(width: int, column: Floats) -> Floats:
        rows = _shifted(width, column)
        found, since = rows[0].copy(), np.full(rows[0].shape, width - 1.0)
        for age, row in zip(range(width - 2, -1, -1), rows[1:], strict=True):
            taken = better(row, found)
            found[taken] = row[taken]
            since[taken] = age
        since[np.isnan(rows[0])] = np.nan
        return since

    return Kernel(name, one, every)


SINCE_HIGHEST: Final = _since(
    lambda window: window.argmax(axis=0).astype(np.float64), np.greater_equal, "since_highest"
)
SINCE_LOWEST: Final = _since(lambda window: window.argmin(axis=0).astype(np.float64), np.less_equal, "since_lowest")


def _settled(variance: Floats, mean: Floats) -> Floats:
    """Return `variance` without the rounding error of a mean."""
    variance[variance <= (STILL * mean) ** 2] = 0.0
    return variance


def variance(ddof: int) -> Kernel:
    """Return the variance about the window's own mean, divided by width - ddof."""

    def one(window: Floats) -> Floats:
        mean = np.add.reduce(window, axis=0) / len(window)
        centred = window - mean
        centred *= centred
        return _settled(np.add.reduce(centred, axis=0) / (len(window) - ddof), mean)

    def every(width: int, column: Floats) -> Floats:
        mean = _mean_all(width, column)
        total = np.zeros_like(mean)
        for row in _shifted(width, column):
            total += (row - mean) ** 2
        return _settled(total / (width - ddof), mean)

    return Kernel(f"variance{ddof}", one, every)


VARIANCE: Final = variance(0)
SAMPLE_VARIANCE: Final = variance(1)


def _moment(power: int) -> Kernel:
    """Return a standardised central moment; 0 for constant values."""

    def finish(moment: Floats, square: Floats) -> Floats:
        out = np.zeros_like(square)
        np.divide(moment, square * (np.sqrt(square) if power == 3 else square), out=out, where=square != 0.0)
        return out

    def raised(centred: Floats, squared: Floats) -> Floats:
        # numpy's power of an array is forty times slower than a product
        return squared * (centred if power == 3 else squared)

    def one(window: Floats) -> Floats:
        mean = np.add.reduce(window, axis=0) / len(window)
        centred = window - mean
        squared = centred * centred
        square = _settled(np.add.reduce(squared, axis=0) / len(window), mean)
        return finish(np.add.reduce(raised(centred, squared), axis=0) / len(window), square)

    def every(width: int, column: Floats) -> Floats:
        mean = _mean_all(width, column)
        square, moment = np.zeros_like(mean), np.zeros_like(mean)
        for row in _shifted(width, column):
            centred = row - mean
            squared = centred * centred
            square += squared
            moment += raised(centred, squared)
        return finish(moment / width, _settled(square / width, mean))

    return Kernel({3: "skewness", 4: "kurtosis"}[power], one, every)


SKEWNESS: Final = _moment(3)
KURTOSIS: Final = _moment(4)


def _mean_deviation_all(width: int, column: Floats) -> Floats:
    mean = _mean_all(width, column)
    total = np.zeros_like(mean)
    for row in _shifted(width, column):
        total += np.abs(row - mean)
    return total / width


def _mean_deviation_one(window: Floats) -> Floats:
    away = window - np.add.reduce(window, axis=0) / len(window)
    return np.add.reduce(np.abs(away, out=away), axis=0) / len(window)


MEAN_DEVIATION: Final = Kernel("mean_deviation", _mean_deviation_one, _mean_deviation_all)


def _covariance_one(x: Floats, y: Floats) -> Floats:
    count = len(x)
    away = x - np.add.reduce(x, axis=0) / count
    return np.add.reduce(away * (y - np.add.reduce(y, axis=0) / count), axis=0) / count


def _covariance_all(width: int, x: Floats, y: Floats) -> Floats:
    mean_x, mean_y = _mean_all(width, x), _mean_all(width, y)
    total = np.zeros_like(mean_x)
    for a, b in zip(_shifted(width, x), _shifted(width, y), strict=True):
        total += (a - mean_x) * (b - mean_y)
    return total / width


COVARIANCE: Final = Kernel("covariance", _covariance_one, _covariance_all)


def _below_one(window: Floats) -> Floats:
    share = np.add.reduce(window[:-1] < window[-1], axis=0) / (len(window) - 1)
    return np.where(window[0] == window[0], share, np.nan)


def _below_all(width: int, column: Floats) -> Floats:
    rows = _shifted(width, column)
    count = np.zeros_like(rows[0])
    for row in rows[:-1]:
        count += row < rows[-1]
    count /= width - 1
    count[np.isnan(rows[0])] = np.nan
    return count


BELOW: Final = Kernel("below", _below_one, _below_all)
"""Share of the window's earlier values below the newest."""


def _drawdown_one(window: Floats) -> Floats:
    return np.minimum.reduce(window / np.maximum.accumulate(window, axis=0), axis=0) - 1.0


def _drawdown_all(width: int, column: Floats) -> Floats:
    rows = _shifted(width, column)
    high, worst = rows[0].copy(), np.ones_like(rows[0])
    for row in rows:
        np.maximum(high, row, out=high)
        np.minimum(worst, row / high, out=worst)
    return worst - 1.0


DRAWDOWN: Final = Kernel("drawdown", _drawdown_one, _drawdown_all)
"""The deepest fall from an earlier high inside the window, at most 0."""
