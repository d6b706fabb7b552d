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

STILL: Final = 1e-12
"""A window with a deviation below this fraction of its mean counts as constant; the rest is rounding."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One measure. `one` maps windows float64[width, N] to float64[N]. `all` maps the width and whole columns
    float64[T, N] to float64[T - width + 1, N]."""

    name: str
    one: Callable[..., Floats]
    all: Callable[..., Floats]


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


def _doubled(choose: np.ufunc) -> Callable[[int, Floats], Floats]:
    def every(width: int, column: Floats) -> Floats:
        # the extreme of 2, 4, 8 .. rows, each from the previous one; two overlapping ones give `width`
        span = 1
        while span * 2 <= width:
            column = choose(column[:-span], column[span:])
            span *= 2
        shift = width - span
        return choose(column[:-shift], column[shift:]) if shift else column.copy()

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
        extreme, since = rows[0].copy(), np.full(rows[0].shape, width - 1.0)
        for age, row in zip(range(width - 2, -1, -1), rows[1:], strict=True):
            taken = better(row, extreme)
            extreme[taken] = row[taken]
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


def _central(name: str, term: np.ufunc, finish: Callable[[Floats, int, Floats], Floats]) -> Kernel:
    """Return `finish(sum, width, mean)` for the sum of `term` over the deviations of columns from the window's means;
    `mean` is that of the first column."""

    def one(*columns: Floats) -> Floats:
        width = len(columns[0])
        means = [np.add.reduce(column, axis=0) / width for column in columns]
        away = [column - mean for column, mean in zip(columns, means, strict=True)]
        return finish(np.add.reduce(term(*away), axis=0), width, means[0])

    def every(width: int, *columns: Floats) -> Floats:
        means = [_mean_all(width, column) for column in columns]
        total = np.zeros_like(means[0])
        for rows in zip(*(_shifted(width, column) for column in columns), strict=True):
            total += term(*(row - mean for row, mean in zip(rows, means, strict=True)))
        return finish(total, width, means[0])

    return Kernel(name, one, every)


def variance(ddof: int) -> Kernel:
    """Return the variance about the window's own mean, divided by width - ddof."""
    return _central(f"variance{ddof}", np.square, lambda total, width, mean: _settled(total / (width - ddof), mean))


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


MEAN_DEVIATION: Final = _central("mean_deviation", np.abs, lambda total, width, mean: total / width)
COVARIANCE: Final = _central("covariance", np.multiply, lambda total, width, mean: total / width)


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


def _drawdown_all(width: int, column: Floats) -> Floats:
    rows = _shifted(width, column)
    high, worst = rows[0].copy(), np.ones_like(rows[0])
    for row in rows:
        np.maximum(high, row, out=high)
        np.minimum(worst, row / high, out=worst)
    return worst - 1.0


DRAWDOWN: Final = Kernel(
    "drawdown", lambda w: np.minimum.reduce(w / np.maximum.accumulate(w, axis=0), axis=0) - 1.0, _drawdown_all
)
"""The deepest fall from an earlier high inside the window, at most 0."""
