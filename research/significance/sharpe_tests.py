"""Tests of equal Sharpe ratios of two paired return series: Jobson-Korkie-Memmel and Ledoit-Wolf.

What can go wrong: fat tails and serial dependence make the standard error of Jobson and Korkie too small, because they
assume independent normal returns. Ledoit and Wolf do not assume this. Their standard error is a kernel estimate or, in
the bootstrap, computed from the blocks of each resample.

Order: constant series are handled before any ratio, because they have no ratio. A standard error of rounding size
counts as 0: equal ratios then have p = 1. A resample without a standard error counts as infinitely far away, which can
only raise the p-value p.

All Sharpe ratios are per sample, not annual, of excess returns, with the divisor n - 1 in the standard deviation. All
p-values are two-sided.
"""

from math import erfc, nan, sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.significance.long_run import Kernel, LongRun, long_run_error
from quantd.research.significance.samples import is_constant, require_pair
from quantd.trading.bootstrap import block_length, influence, resampled_gain
from quantd.trading.market import Floats

RESAMPLES: Final = 4_999
"""Number of resamples of Ledoit & Wolf 2008."""

SEED: Final = 20_080_101

MIN_RETURNS: Final = 10
"""Minimum number of returns: four moments and their autoregressions are estimated."""

CHUNK: Final = 1 << 20
"""Number of block starts drawn at a time, which bounds memory."""

SMALLEST_ERROR: Final = 1e-12
"""A standard error up to this is rounding: the two ratios cannot differ."""

SMALLEST_VARIANCE: Final = 1e-14
"""A variance of the scaled difference up to this is rounding of a correlation of 1."""


class SharpeTest(Struct, frozen=True):
    """The result of a test of equal Sharpe ratios.

    `own` is the ratio of the first series, `other` of the second, and `difference` is `own` less `other`, all per
    sample. `error` is the standard error of the difference. All four and `p` are NaN where a series is constant. Where
    the error is 0, p is 1 for equal ratios and NaN for unequal ones. `bandwidth` of the kernel and the `block` length
    are in samples; 0 means not used.
    """

    own: float
    other: float
    difference: float
    error: float
    p: float
    samples: int
    bandwidth: float = 0.0
    block: int = 0


def jobson_korkie(returns: Floats, other: Floats) -> SharpeTest:
    """Test whether excess `returns` and `other` float64[T] have equal Sharpe ratios, assuming independent normal
    returns. Source: Jobson & Korkie 1981, with the variance of Memmel 2003.

    Raises ValueError for different lengths, fewer than MIN_RETURNS samples or non-finite returns.
    """
    require_pair(returns, other, MIN_RETURNS)
    if is_constant(returns) or is_constant(other):
        return _no_ratio(len(returns))
    first, second = _ratio(returns), _ratio(other)
    rho = float(np.corrcoef(returns, other)[0, 1])
    variance = 2.0 * (1.0 - rho) + 0.5 * (first * first + second * second - 2.0 * first * second * rho * rho)
    error = sqrt(variance / len(returns)) if variance > SMALLEST_VARIANCE else 0.0
    return _test_result(first, second, error, len(returns))


def ledoit_wolf(returns: Floats, other: Floats, *, kernel: Kernel = "parzen", prewhiten: bool = True) -> SharpeTest:
    """Test whether excess `returns` and `other` float64[T] have equal Sharpe ratios, robust to fat tails and
    serial dependence. p is from the normal distribution.

    The error is a kernel estimate with automatic bandwidth, by default prewhitened. Source: Ledoit & Wolf 2008, section
    3.1. Raises ValueError for different lengths, fewer than MIN_RETURNS samples or non-finite returns.
    """
    require_pair(returns, other, MIN_RETURNS)
    if is_constant(returns) or is_constant(other):
        return _no_ratio(len(returns))
    long_run = _kernel_error(returns, other, kernel, prewhiten=prewhiten)
    return _test_result(_ratio(returns), _ratio(other), long_run.error, len(returns), long_run.bandwidth)


def ledoit_wolf_bootstrap(
    returns: Floats,
    other: Floats,
    *,
    block: int = 0,
    kernel: Kernel = "parzen",
    prewhiten: bool = True,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> SharpeTest:
    """Test whether excess `returns` and `other` float64[T] have equal Sharpe ratios by the studentised circular
    block bootstrap. Source: Ledoit & Wolf 2008, section 3.2.

    `block` is the length of a block in samples; 0 selects it from the data (`block_length`). The error of a resample
    uses its own blocks. Raises ValueError for different lengths, fewer than MIN_RETURNS samples, non-finite returns,
    or a block outside [0, T / 2].
    """
    require_pair(returns, other, MIN_RETURNS)
    samples = len(returns)
    if not 0 <= block <= samples // 2:
        raise ValueError(f"a block has 1 to {samples // 2} of {samples} returns, or 0 for automatic, not {block}")
    if is_constant(returns) or is_constant(other):
        return _no_ratio(samples)
    long_run = _kernel_error(returns, other, kernel, prewhiten=prewhiten)
    length = block or min(block_length(influence(returns) - influence(other)), samples // 2)
    plain = _test_result(_ratio(returns), _ratio(other), long_run.error, samples, long_run.bandwidth, length)
    if not long_run.error > SMALLEST_ERROR:
        return plain
    distances = _resampled_distances([returns, other], plain.difference, length, resamples, np.random.default_rng(seed))
    beyond = int((distances >= abs(plain.difference) / long_run.error).sum())
    return SharpeTest(
        plain.own, plain.other, plain.difference, plain.error, (1 + beyond) / (resamples + 1), samples,
        long_run.bandwidth, length,
    )  # fmt: skip


def _resampled_distances(
    pair: list[Floats], difference: float, block: int, resamples: int, draw: np.random.Generator
) -> Floats:
    """Return float64[resamples], how far the difference of ratios of each resample is from `difference`.

    The unit is the standard error of the resample. The distance is infinite where this error is only rounding error.
    """
    samples = len(pair[0])
    count = samples // block
    # turns the deviation with divisor n of `resampled_gain` into the one with n - 1 of `_ratio`
    unbiased = sqrt((count * block - 1) / (count * block))
    results = np.empty(resamples)
    chunk = max(1, CHUNK // count)
    for first in range(0, resamples, chunk):
        rows = min(chunk, resamples - first)
        starts = draw.integers(0, samples, (rows, count), dtype=np.int64)
        values, errors = resampled_gain(pair, starts, block, "sharpe")
        with np.errstate(divide="ignore", invalid="ignore"):
            distances = np.abs(values * unbiased - difference) / errors
        results[first : first + rows] = np.where(errors > SMALLEST_ERROR, distances, np.inf)
    return results


def _kernel_error(returns: Floats, other: Floats, kernel: Kernel, *, prewhiten: bool) -> LongRun:
    """Return the standard error of the difference of Sharpe ratios by the delta method, from the means and second
    moments of both series."""
    squares, other_squares = returns * returns, other * other
    moments = np.column_stack(
        (returns - returns.mean(), other - other.mean(), squares - squares.mean(), other_squares - other_squares.mean())
    )
    # [[0, 2, 1, 3]]: from (mean, square, mean, square) to the order of the moments, both means first
    gradient = np.array([*_gradient(returns), *(-derivative for derivative in _gradient(other))])[[0, 2, 1, 3]]
    return long_run_error(moments, gradient, kernel, prewhiten=prewhiten)


def _gradient(returns: Floats) -> tuple[float, float]:
    """Return the derivatives of the Sharpe ratio of `returns` with respect to their mean and second moment."""
    mean, square = float(returns.mean()), float((returns * returns).mean())
    cubed = float(returns.var()) ** 1.5
    return square / cubed, -0.5 * mean / cubed


def _ratio(returns: Floats) -> float:
    return float(returns.mean() / returns.std(ddof=1))


def _test_result(
    ratio: float, other: float, error: float, samples: int, bandwidth: float = 0.0, block: int = 0
) -> SharpeTest:
    difference = ratio - other
    if error > SMALLEST_ERROR:
        p = erfc(abs(difference) / error / sqrt(2.0))
    else:
        p = 1.0 if abs(difference) <= SMALLEST_ERROR else nan
    return SharpeTest(ratio, other, difference, error, p, samples, bandwidth, block)


def _no_ratio(samples: int) -> SharpeTest:
    return SharpeTest(nan, nan, nan, nan, nan, samples)
