"""The stationary bootstrap of Politis & Romano 1994: blocks of random length, wrapped around the end.

What can go wrong: blocks of one fixed length make a resample that is not stationary, although the series is. So block
lengths are geometrically distributed. Their mean is chosen by Politis & White 2004, corrected by Patton, Politis &
White 2009.

`quantd.trading.bootstrap` draws the indices. There is no interval where the statistic of a resample is undefined (NaN).
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from quantd.research.significance.samples import require_returns
from quantd.research.significance.sharpe_intervals import MIN_SAMPLES, RESAMPLES, Interval
from quantd.trading.bootstrap import STATIONARY_SEED, index_chunks, percentiles, stationary_length
from quantd.trading.market import Floats

SEED: Final = STATIONARY_SEED

Statistic = Callable[[Floats], Floats]
"""Maps resamples float64[R, T] to one value each, float64[R]."""


def row_means(resamples: Floats) -> Floats:
    """Return float64[R], the mean of each row of float64[R, T]."""
    return np.asarray(resamples.mean(axis=1))


def row_sharpes(resamples: Floats) -> Floats:
    """Return float64[R], each row's mean divided by its standard deviation (n - 1); NaN for a constant row."""
    deviations = resamples.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(deviations > 1e-15, resamples.mean(axis=1) / deviations, np.nan)


def stationary_interval(
    returns: Floats,
    statistic: Statistic = row_sharpes,
    *,
    length: float = 0.0,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | None:
    """Compute the percentile interval of a statistic of returns float64[T], at CONFIDENCE.

    `length` is the mean block length in samples; 0 selects the optimal one (`stationary_length`). Returns None
    where the statistic of a resample is NaN. Raises ValueError for fewer than MIN_SAMPLES returns or non-finite ones.
    """
    require_returns(returns, MIN_SAMPLES)
    mean_length = length or stationary_length(returns)
    chunks = index_chunks(len(returns), mean_length, resamples, np.random.default_rng(seed))
    return _percentiles(np.concatenate([statistic(returns[indices]) for _, indices in chunks]))


def _percentiles(values: Floats) -> Interval | None:
    bounds = percentiles(values)
    return None if bounds is None else Interval(*bounds)
