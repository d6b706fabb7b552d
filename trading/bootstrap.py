"""The circular block bootstrap of paired returns, with resamples derived from a key, and the stationary bootstrap.

What can go wrong: a difference by chance that counts as skill. Returns of neighbouring samples depend on each other, so
that drawing single samples would give intervals that are too narrow. Blocks of neighbouring samples, wrapped around the
end, are drawn with replacement (D. Politis and J. Romano, 1992, 1994). Both series use the same blocks, so that a
resample keeps serial dependence and the dependence between the two series. The blocks are derived from a key, not from
a random generator, so that a replay draws the same blocks.

Blocks of one fixed length make a resample that is not stationary, although the series is. The blocks of the stationary
bootstrap (Politis & Romano 1994) have random, geometric lengths: the first sample of a resample begins a block, and
every later sample begins one with probability 1 / mean length or continues. The random numbers of the stationary
bootstrap come from the caller's generator.
"""

from collections.abc import Iterator
from hashlib import shake_128
from math import ceil, log10, sqrt
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from numpy.random import Generator

from quantd.trading.market import Floats, Ints
from quantd.trading.statistics import PERIODS_PER_YEAR, RiskFree

MOST_DRAWN: Final = 1 << 22
"""Maximum number of block starts in one test. Very long series use longer blocks instead, without loss of accuracy."""

RESAMPLES: Final = 2_000
CONFIDENCE: Final = 0.95
STATIONARY_SEED: Final = 19_940_101

MIN_SAMPLES: Final = 40
"""Minimum number of returns for an interval: a few blocks are not informative."""

CHUNK: Final = 1 << 20
"""Number of indices drawn at a time, which bounds memory."""

Measure = Literal["sharpe", "mean"]


class Gain(Struct, frozen=True):
    """The annual excess of one return series over another in one measure.

    `p` is the one-sided p-value of the studentised difference under the hypothesis of no difference. `block` is the
    block length in samples.
    """

    value: float
    p: float
    block: int


def drawn(key: bytes, below: int, rows: int, columns: int) -> Ints:
    """Return int64[rows, columns], uniform from 0 to `below` - 1; the same key always gives the same numbers."""
    numbers = np.frombuffer(shake_128(key).digest(8 * rows * columns), dtype="<u8") % np.uint64(below)
    return numbers.astype(np.int64).reshape(rows, columns)


def paired_gain(
    returns: Floats,
    other: Floats,
    *,
    measure: Measure,
    risk_free_annual: RiskFree,
    key: bytes,
    resamples: int,
    block: int = 0,
) -> Gain:
    """Test whether simple `returns` float64[T] have a higher Sharpe ratio or mean than `other`, one-sided.

    The test bootstraps the studentised difference: O. Ledoit and M. Wolf, Robust performance hypothesis testing with
    the Sharpe ratio (2008). Standard errors use sums over blocks; the error of the original sample uses all n
    overlapping blocks. `block` is the block length, 0 for the optimal one. `key` is the seed of the `resamples` draws.
    `risk_free_annual` is one annual rate, or a rate for each return. Returns the annual difference, its one-sided
    p-value and the block length. Identical series give a p-value of 1. Raises ValueError for series of different
    lengths.
    """
    if len(returns) != len(other):
        raise ValueError(f"paired series must have the same length, not {len(returns)} and {len(other)}")
    n, scale = len(returns), sqrt(PERIODS_PER_YEAR) if measure == "sharpe" else PERIODS_PER_YEAR
    excess_pair = [returns - risk_free_annual / PERIODS_PER_YEAR, other - risk_free_annual / PERIODS_PER_YEAR]
    if measure == "sharpe":
        influences = influence(excess_pair[0]) - influence(excess_pair[1])
        difference = _of_sample(excess_pair[0]) - _of_sample(excess_pair[1])
    else:
        influences = excess_pair[0] - excess_pair[1]
        difference = float(influences.mean())
        influences = influences - difference
    length = min(block or block_length(influences), max(1, n // 2))
    sums = block_sums(running_sums(influences, length)[1], np.arange(n)[:, None], length, length)
    error = sqrt(float((sums * sums).mean()) / length / n)  # standard error of the mean of the influences
    # the difference does not vary, so that nothing can be tested
    if not error > 1e-12:
        return Gain(difference * scale, 1.0, length)
    # at most MOST_DRAWN blocks are drawn: for many resamples the blocks become longer
    length = max(length, ceil(n / (MOST_DRAWN // resamples)))
    differences, errors = resampled_gain(excess_pair, drawn(key, n, resamples, ceil(n / length)), length, measure)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(errors > 1e-12, (differences - difference) / errors, np.inf)
    return Gain(difference * scale, (1 + int((ratios >= difference / error).sum())) / (resamples + 1), length)


def _of_sample(excess: Floats) -> float:
    """Return the Sharpe ratio per sample, mean over standard deviation of excess returns; 0 for constant returns."""
    deviation = float(excess.std())
    return float(excess.mean()) / deviation if deviation > 1e-15 else 0.0


def resampled_gain(pair: list[Floats], starts: Ints, block: int, measure: Measure) -> tuple[Floats, Floats]:
    """Return (difference, its standard error), both float64[resamples], from sums over the drawn blocks.

    `pair` are the two series of returns, `starts` int64[resamples, blocks] the first sample of each block.
    """
    sample_count = starts.shape[1] * block
    block_influences: list[Floats] = []
    resampled_values: list[Floats] = []
    for returns in pair:
        centre, linear, square = running_sums(returns, block)
        linear_sums = linear[starts + block] - linear[starts]
        mean = linear_sums.sum(axis=1) / sample_count
        if measure == "mean":
            resampled_values.append(mean + centre)
            block_influences.append(linear_sums - block * mean[:, None])
            continue
        square_sums = square[starts + block] - square[starts]
        variance = np.maximum(square_sums.sum(axis=1) / sample_count - mean * mean, 1e-30)
        # the ratio of constant returns is 0, as in the sample: a book in cash would seem to beat every other
        varies = (variance > 1e-30).astype(np.float64)
        deviation = np.sqrt(variance)
        ratio = varies * (mean + centre) / deviation
        resampled_values.append(ratio)
        # Sums over a block of z and of z^2, standardised by the resample's own moments.
        z = (linear_sums - block * mean[:, None]) / deviation[:, None]
        zz = (square_sums - 2.0 * mean[:, None] * linear_sums + block * (mean * mean)[:, None]) / variance[:, None]
        block_influences.append(varies[:, None] * (z - 0.5 * ratio[:, None] * (zz - block)))
    block_differences = block_influences[0] - block_influences[1]
    return resampled_values[0] - resampled_values[1], np.sqrt(
        (block_differences * block_differences).mean(axis=1) / block / sample_count
    )


def influence(returns: Floats) -> Floats:
    """Return float64[T]: each return's influence on the Sharpe ratio. The mean of the influences is the ratio's
    estimation error, to first order.

    The influence is z - S (z^2 - 1) / 2, where z is the standardised return and S the Sharpe ratio per sample (Lo 2002,
    by the delta method). Constant returns give zeros.
    """
    deviation = float(returns.std())
    if deviation <= 1e-15:
        return np.zeros_like(returns)
    mean = float(returns.mean())
    z = (returns - mean) / deviation
    return z - 0.5 * (mean / deviation) * (z * z - 1.0)


def block_length(series: Floats) -> int:
    """Return the optimal block length in samples for the circular bootstrap of the mean; 1 without serial
    dependence. The estimate uses a flat-top lag window. The bandwidth is twice the last lag before a run of
    insignificant autocorrelations."""
    return max(1, min(ceil(_optimal_length(series, 4.0 / 3.0)), _longest_block(len(series))))


def stationary_length(series: Floats) -> float:
    """Return the optimal mean block length in samples for the stationary bootstrap of the mean, at least 1. Sources:
    Politis & White 2004; Patton, Politis & White 2009."""
    return max(1.0, min(_optimal_length(series, 2.0), float(_longest_block(len(series)))))


def _longest_block(n: int) -> int:
    return ceil(min(3.0 * sqrt(n), n / 3.0))


def _optimal_length(series: Floats, factor: float) -> float:
    """Return the block length with the least mean squared error of the bootstrap's variance estimate.

    The variance of the estimate is `factor` times the squared spectrum at frequency 0; `factor` is 4/3 for the
    circular bootstrap, 2 for the stationary one. The constants are those of Politis and White (2004): an
    autocorrelation is significant from 2 sqrt(log10(n) / n) on, and the bandwidth is twice the last lag before
    a run of insignificant ones.
    """
    n = len(series)
    deviations = series - series.mean()
    quiet_run = max(5, ceil(sqrt(log10(n))))
    lags = ceil(sqrt(n)) + quiet_run
    covariances = np.array([deviations[: n - lag] @ deviations[lag:] for lag in range(min(lags, n - 1) + 1)]) / n
    if covariances[0] <= 1e-30:
        return 1.0
    significant = np.abs(covariances[1:] / covariances[0]) >= 2.0 * sqrt(log10(n) / n)
    bandwidth = min(2 * max(1, _last_before_quiet(significant, quiet_run)), len(covariances) - 1)
    lag = np.arange(-bandwidth, bandwidth + 1)
    relative_lag = np.abs(lag) / bandwidth
    # a flat-top window: weight 1 up to half the bandwidth, then falling to 0
    window = np.where(relative_lag <= 0.5, 1.0, 2.0 * (1.0 - relative_lag)) * covariances[np.abs(lag)]
    spectrum = float(window.sum())
    slope = float((np.abs(lag) * window).sum())
    variance = factor * spectrum**2
    if variance <= 1e-30:
        return 1.0
    length: float = (2.0 * slope**2 / variance) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    return length


def _last_before_quiet(significant: np.ndarray, run: int) -> int:
    """Return the lag that precedes `run` insignificant lags in a row, or the last significant lag."""
    quiet_runs = np.flatnonzero(np.convolve(significant, np.ones(run), "valid") == 0.0)
    if len(quiet_runs):
        return int(quiet_runs[0])
    return int(np.flatnonzero(significant)[-1]) + 1 if significant.any() else 0


def running_sums(values: Floats, block: int) -> tuple[float, Floats, Floats]:
    """Return the mean, and the running sums float64[T + block] of deviations from the mean and of their squares.

    Beyond its end the series continues from its start, so that a block may wrap around."""
    centre = float(values.mean())
    wrapped_deviations = np.concatenate([values, values[: block - 1]]) - centre
    zero = np.zeros(1)
    return (
        centre,
        np.concatenate([zero, wrapped_deviations.cumsum()]),
        np.concatenate([zero, (wrapped_deviations * wrapped_deviations).cumsum()]),
    )


def block_sums(running: Floats, starts: Ints, block: int, last: int) -> Floats:
    """Return float64[rows], the sum over the blocks of each row; `running` are the running sums of the series.

    `starts` int64[rows, count] are the first samples of the blocks. A row's last block has `last` samples, the others
    `block`.
    """
    if block == 1:
        return np.take(np.diff(running), starts).sum(axis=1)
    sums = np.take(running[block:] - running[:-block], starts[:, :-1]).sum(axis=1)
    return sums + running[starts[:, -1] + last] - running[starts[:, -1]]


def stationary_indices(samples: int, length: float, resamples: int, draw: Generator) -> Ints:
    """Return int64[resamples, samples]: the indices of each resample, in blocks of mean `length`. Raises ValueError for
    a length below 1."""
    if not length >= 1.0:
        raise ValueError(f"the mean block length must be 1 or more, not {length}")
    shape = (resamples, samples)
    is_begin = draw.random(shape) < 1.0 / length
    is_begin[:, 0] = True
    position = np.arange(samples)
    block_begin = np.maximum.accumulate(np.where(is_begin, position, 0), axis=1)
    starts = draw.integers(0, samples, shape, dtype=np.int64)
    indices: Ints = (np.take_along_axis(starts, block_begin, axis=1) + position - block_begin) % samples
    return indices


def index_chunks(samples: int, length: float, resamples: int, draw: Generator) -> Iterator[tuple[int, Ints]]:
    """Yield (index of the first resample, sample indices) for all resamples, about CHUNK indices at a time."""
    step = max(1, CHUNK // samples)
    for first in range(0, resamples, step):
        yield first, stationary_indices(samples, length, min(step, resamples - first), draw)


def percentiles(values: Floats) -> tuple[float, float] | None:
    """Return the lower and upper bound of the percentile interval of `values` at CONFIDENCE; None where a value is
    not finite."""
    if not bool(np.isfinite(values).all()):
        return None
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(values, (tail, 1.0 - tail))
    return float(low), float(high)


def mean_interval(series: Floats, draw: Generator) -> tuple[float, float] | None:
    """Return the percentile interval of the mean of float64[T], with blocks of the optimal mean length.

    Returns None for fewer than MIN_SAMPLES samples, for non-finite ones, and where all are 0.
    """
    if len(series) < MIN_SAMPLES or not series.any() or not bool(np.isfinite(series).all()):
        return None
    chunks = index_chunks(len(series), stationary_length(series), RESAMPLES, draw)
    return percentiles(np.concatenate([series[indices].mean(axis=1) for _, indices in chunks]))
