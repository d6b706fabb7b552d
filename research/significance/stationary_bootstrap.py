"""The stationary bootstrap of Politis & Romano 1994: blocks of random length, wrapped around the end.

What can go wrong: blocks of one fixed length make a resample that is not stationary, although the series is. Geometric
lengths do not. The mean length is that of Politis & White 2004, corrected by Patton, Politis & White 2009.

The first sample of each resample begins a block; the others begin one by chance or continue. Two series are resampled
by the same indices, so that a difference keeps the dependence between them. Where a resample has no value there is no
interval.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from quantd.research.significance.samples import require_pair, require_returns
from quantd.research.significance.sharpe_intervals import CONFIDENCE, MIN_SAMPLES, RESAMPLES, Interval
from quantd.trading.bootstrap import stationary_length
from quantd.trading.market import Floats, Ints

SEED: Final = 19_940_101

CHUNK: Final = 1 << 20
"""Number of indices drawn at a time, which bounds memory."""

Statistic = Callable[[Floats], Floats]
"""Maps resamples float64[R, T] to one value each, float64[R]."""


def row_means(resamples: Floats) -> Floats:
    """Return float64[R], the mean of each row of float64[R, T]."""
    return np.asarray(resamples.mean(axis=1))


def row_sharpes(resamples: Floats) -> Floats:
    """Return float64[R], the mean of each row of float64[R, T] over its deviation (n - 1); NaN for a constant row."""
    deviations = resamples.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(deviations > 1e-15, resamples.mean(axis=1) / deviations, np.nan)


def stationary_indices(samples: int, length: float, resamples: int, draw: np.random.Generator) -> Ints:
    """Return int64[resamples, samples]: the indices of each resample, in blocks of mean `length`. Raises ValueError for
    a length below 1."""
    if not length >= 1.0:
        raise ValueError(f"a mean block length is at least 1, not {length}")
    shape = (resamples, samples)
    begins = draw.random(shape) < 1.0 / length
    begins[:, 0] = True
    position = np.arange(samples)
    begun = np.maximum.accumulate(np.where(begins, position, 0), axis=1)
    starts = draw.integers(0, samples, shape, dtype=np.int64)
    indices: Ints = (np.take_along_axis(starts, begun, axis=1) + position - begun) % samples
    return indices


def stationary_weights(samples: int, length: float, resamples: int, draw: np.random.Generator) -> Floats:
    """Return float64[resamples, samples]: the share of each sample in each resample. The product with float64[T, K] has
    the means of the resamples."""
    out = np.empty((resamples, samples))
    for first, indices in _chunks(samples, length, resamples, draw):
        rows = len(indices)
        flat = (indices + samples * np.arange(rows)[:, None]).ravel()
        counts = np.bincount(flat, minlength=rows * samples).reshape(rows, samples)
        out[first : first + rows] = counts / samples
    return out


def stationary_interval(
    returns: Floats,
    statistic: Statistic = row_sharpes,
    *,
    length: float = 0.0,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | None:
    """Compute the percentile interval of a statistic of returns float64[T], at CONFIDENCE.

    `length` 0 selects `stationary_length`. Returns None where a resample has no value. Raises ValueError for fewer than
    MIN_SAMPLES returns or non-finite ones.
    """
    require_returns(returns, MIN_SAMPLES)
    mean = length or stationary_length(returns)
    chunks = _chunks(len(returns), mean, resamples, np.random.default_rng(seed))
    return _percentiles(np.concatenate([statistic(returns[indices]) for _, indices in chunks]))


def stationary_difference(
    returns: Floats,
    other: Floats,
    statistic: Statistic = row_sharpes,
    *,
    length: float = 0.0,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | None:
    """Compute the percentile interval of a statistic of `returns` float64[T] less that of `other`, resampled in
    pairs.

    `length` 0 selects the longer of the two `stationary_length`. Returns None where a resample has no value. Raises
    ValueError as `stationary_interval`, or for different lengths.
    """
    require_pair(returns, other, MIN_SAMPLES)
    mean = length or max(stationary_length(returns), stationary_length(other))
    chunks = _chunks(len(returns), mean, resamples, np.random.default_rng(seed))
    return _percentiles(np.concatenate([statistic(returns[rows]) - statistic(other[rows]) for _, rows in chunks]))


def _chunks(samples: int, length: float, resamples: int, draw: np.random.Generator) -> Iterator[tuple[int, Ints]]:
    step = max(1, CHUNK // samples)
    for first in range(0, resamples, step):
        yield first, stationary_indices(samples, length, min(step, resamples - first), draw)


def _percentiles(values: Floats) -> Interval | None:
    if not bool(np.isfinite(values).all()):
        return None
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(values, (tail, 1.0 - tail))
    return Interval(float(low), float(high))
