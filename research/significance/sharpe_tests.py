"""The test of Ledoit and Wolf of equal Sharpe ratios of two paired return series.

What can go wrong: fat tails and serial dependence make a standard error too small that assumes independent normal
returns. Ledoit and Wolf do not assume this: their standard error is a kernel estimate.

Order: constant series are handled before any ratio, because they have no ratio. A standard error of rounding size
counts as 0: equal ratios then have p = 1.

All Sharpe ratios are per sample, not annual, of excess returns, with the divisor n - 1 in the standard deviation. All
p-values are two-sided.
"""

from math import erfc, nan, sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.significance.long_run import LongRun, long_run_error
from quantd.research.significance.samples import is_constant, require_pair
from quantd.trading.market import Floats

MIN_RETURNS: Final = 10
"""Minimum number of returns: four moments and their autoregressions are estimated."""

SMALLEST_ERROR: Final = 1e-12
"""A standard error up to this is rounding: the two ratios cannot differ."""


class SharpeTest(Struct, frozen=True):
    """The result of a test of equal Sharpe ratios.

    `own` is the ratio of the first series, `other` of the second, and `difference` is `own` less `other`, all per
    sample. `error` is the standard error of the difference. All four and `p` are NaN where a series is constant. Where
    the error is 0, p is 1 for equal ratios and NaN for unequal ones. The `bandwidth` of the kernel is in samples.
    """

    own: float
    other: float
    difference: float
    error: float
    p: float
    samples: int
    bandwidth: float = 0.0


def ledoit_wolf(returns: Floats, other: Floats) -> SharpeTest:
    """Test whether excess `returns` and `other` float64[T] have equal Sharpe ratios, robust to fat tails and
    serial dependence. p is from the normal distribution.

    The error is a prewhitened kernel estimate with automatic bandwidth. Source: Ledoit & Wolf 2008, section
    3.1. Raises ValueError for different lengths, fewer than MIN_RETURNS samples or non-finite returns.
    """
    require_pair(returns, other, MIN_RETURNS)
    if is_constant(returns) or is_constant(other):
        return _no_ratio(len(returns))
    long_run = _kernel_error(returns, other)
    return _test_result(_ratio(returns), _ratio(other), long_run.error, len(returns), long_run.bandwidth)


def _kernel_error(returns: Floats, other: Floats) -> LongRun:
    """Return the standard error of the difference of Sharpe ratios by the delta method, from the means and second
    moments of both series."""
    squares, other_squares = returns * returns, other * other
    moments = np.column_stack(
        (returns - returns.mean(), other - other.mean(), squares - squares.mean(), other_squares - other_squares.mean())
    )
    # [[0, 2, 1, 3]]: from (mean, square, mean, square) to the order of the moments, both means first
    gradient = np.array([*_gradient(returns), *(-derivative for derivative in _gradient(other))])[[0, 2, 1, 3]]
    return long_run_error(moments, gradient, "parzen", prewhiten=True)


def _gradient(returns: Floats) -> tuple[float, float]:
    """Return the derivatives of the Sharpe ratio of `returns` with respect to their mean and second moment."""
    mean, square = float(returns.mean()), float((returns * returns).mean())
    cubed = float(returns.var()) ** 1.5
    return square / cubed, -0.5 * mean / cubed


def _ratio(returns: Floats) -> float:
    return float(returns.mean() / returns.std(ddof=1))


def _test_result(ratio: float, other: float, error: float, samples: int, bandwidth: float) -> SharpeTest:
    difference = ratio - other
    if error > SMALLEST_ERROR:
        p = erfc(abs(difference) / error / sqrt(2.0))
    else:
        p = 1.0 if abs(difference) <= SMALLEST_ERROR else nan
    return SharpeTest(ratio, other, difference, error, p, samples, bandwidth)


def _no_ratio(samples: int) -> SharpeTest:
    return SharpeTest(nan, nan, nan, nan, nan, samples)
