"""Measures of the newest `width` values of one or two columns: for one window, and for all windows at once.

The forms for one and for all windows use different algorithms (a reduction of one window; passes over shifted columns),
so that tests can compare them. Each window is computed afresh: no running sum accumulates rounding errors, and the
start of a stream does not matter. A missing value in a window makes its result NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.trading.market import Floats

STILL: Final = 1e-12
"""A window with a deviation below this fraction of its mean counts as constant: the deviation is rounding."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One measure of a window.

    `one` maps windows float64[width, N] to float64[N]. `all` maps the width and whole columns float64[T, N] to
    float64[T - width + 1, N].
    """

    name: str
    one: Callable[..., Floats]
    all: Callable[..., Floats]


def _shifted(width: int, column: Floats) -> list[Floats]:
    """Return `width` views of `column`, oldest first: view i has row i of every window."""
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
    """Return the kernel (a measure of a window) of the sum of `weights` times the values of the window.

    `weights` are float64[width], oldest first; `name` is the name of the kernel.
    """
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


def _extreme_of_all(choose: np.ufunc) -> Callable[[int, Floats], Floats]:
    """Return a function from a width and a column to the maximum or minimum (`choose`) of every window."""

    def every(width: int, column: Floats) -> Floats:
        # the extreme of 2, 4, 8 .. rows, each from the previous one; two overlapping ones give `width`
        span = 1
        while span * 2 <= width:
            column = choose(column[:-span], column[span:])
            span *= 2
        shift = width - span
        return choose(column[:-shift], column[shift:]) if shift else column.copy()

    return every


HIGHEST: Final = Kernel("highest", lambda window: np.maximum.reduce(window, axis=0), _extreme_of_all(np.maximum))
LOWEST: Final = Kernel("lowest", lambda window: np.minimum.reduce(window, axis=0), _extreme_of_all(np.minimum))


def _since(best: Callable[[Floats], Floats], better: np.ufunc, name: str) -> Kernel:
    """Return the kernel (a measure of a window) of the number of bars since the window's highest or lowest value.

    Of equal values, the newest counts. `best` returns the index of the extreme in a window whose newest value comes
    first. `better` compares a newer value with an older one, and is also true where they are equal.
    """

    def one(window: Floats) -> Floats:
        # values are missing only at the old end
        return np.where(window[0] == window[0], best(window[::-1]), np.nan)

    def every(width: int, column: Floats) -> Floats:
        rows = _shifted(width, column)
        extreme, since = rows[0].copy(), np.full(rows[0].shape, width - 1.0)
        for age, row in zip(range(width - 2, -1, -1), rows[1:], strict=True):
            is_better = better(row, extreme)
            extreme[is_better] = row[is_better]
            since[is_better] = age
        since[np.isnan(rows[0])] = np.nan
        return since

    return Kernel(name, one, every)


SINCE_HIGHEST: Final = _since(
    lambda window: window.argmax(axis=0).astype(np.float64), np.greater_equal, "since_highest"
)
SINCE_LOWEST: Final = _since(lambda window: window.argmin(axis=0).astype(np.float64), np.less_equal, "since_lowest")


def _without_rounding(variance: Floats, mean: Floats) -> Floats:
    """Return `variance` with 0 where a variance is only the rounding error of its mean. Changes the array in place."""
    variance[variance <= (STILL * mean) ** 2] = 0.0
    return variance


def _of_deviations(name: str, term: np.ufunc, finish: Callable[[Floats, int, Floats], Floats]) -> Kernel:
    """Return the kernel (a measure of a window) of `finish(sum, width, mean)`, for one or two columns.

    `sum` is the sum of `term` over the window; `term` is applied to the deviations of each column from its mean in the
    window. `mean` is the mean of the first column.
    """

    def one(*columns: Floats) -> Floats:
        width = len(columns[0])
        means = [np.add.reduce(column, axis=0) / width for column in columns]
        deviations = [column - mean for column, mean in zip(columns, means, strict=True)]
        return finish(np.add.reduce(term(*deviations), axis=0), width, means[0])

    def every(width: int, *columns: Floats) -> Floats:
        means = [_mean_all(width, column) for column in columns]
        total = np.zeros_like(means[0])
        for rows in zip(*(_shifted(width, column) for column in columns), strict=True):
            total += term(*(row - mean for row, mean in zip(rows, means, strict=True)))
        return finish(total, width, means[0])

    return Kernel(name, one, every)


def variance(ddof: int) -> Kernel:
    """Return the kernel of the variance about the window's mean, with the divisor width - `ddof`."""
    return _of_deviations(
        f"variance{ddof}", np.square, lambda total, width, mean: _without_rounding(total / (width - ddof), mean)
    )


VARIANCE: Final = variance(0)
SAMPLE_VARIANCE: Final = variance(1)


def _standardised_moment(power: int) -> Kernel:
    """Return the kernel (a measure of a window) of the standardised central moment; 0 for constant values.

    `power` 3 gives the skewness, 4 the kurtosis.
    """

    def finish(sum_of_powers: Floats, variance: Floats) -> Floats:
        out = np.zeros_like(variance)
        np.divide(
            sum_of_powers, variance * (np.sqrt(variance) if power == 3 else variance), out=out, where=variance != 0.0
        )
        return out

    def power_of(centred: Floats, squared: Floats) -> Floats:
        # numpy's power of an array is forty times slower than a product
        return squared * (centred if power == 3 else squared)

    def one(window: Floats) -> Floats:
        mean = np.add.reduce(window, axis=0) / len(window)
        centred = window - mean
        squared = centred * centred
        variance = _without_rounding(np.add.reduce(squared, axis=0) / len(window), mean)
        return finish(np.add.reduce(power_of(centred, squared), axis=0) / len(window), variance)

    def every(width: int, column: Floats) -> Floats:
        mean = _mean_all(width, column)
        variance, sum_of_powers = np.zeros_like(mean), np.zeros_like(mean)
        for row in _shifted(width, column):
            centred = row - mean
            squared = centred * centred
            variance += squared
            sum_of_powers += power_of(centred, squared)
        return finish(sum_of_powers / width, _without_rounding(variance / width, mean))

    return Kernel({3: "skewness", 4: "kurtosis"}[power], one, every)


SKEWNESS: Final = _standardised_moment(3)
KURTOSIS: Final = _standardised_moment(4)


MEAN_DEVIATION: Final = _of_deviations("mean_deviation", np.abs, lambda total, width, mean: total / width)
COVARIANCE: Final = _of_deviations("covariance", np.multiply, lambda total, width, mean: total / width)


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
