"""Risk measures shared by the pre-trade gate and the monitor of present positions. Losses are positive.

What can go wrong: the monitor measures something else than the gate permits. Gate and monitor therefore use the same
functions. The quantile is an actual loss, never below the interpolated estimate (numpy's method "higher").
"""

from collections.abc import Callable
from functools import lru_cache, partial
from math import ceil, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quantd.trading.covariance import covariance as covariance
from quantd.trading.covariance import ones as ones
from quantd.trading.statistics import PERIODS_PER_YEAR, sum_in_order

Floats = NDArray[np.float64]

SAMPLES_PER_YEAR: Final = PERIODS_PER_YEAR
"""Samples per year for annualisation by the square root."""


@lru_cache(maxsize=256)
def tail_count(scenarios: int, confidence: float) -> int:
    """Return the number of losses at or beyond VaR among S scenarios: S - ceil(confidence x (S - 1)), at least 1.

    VaR is thus numpy's quantile by the method "higher": an actual loss, never below the interpolated estimate.
    """
    # 0.95 x 20 may be computed as 19.000000000000004: such rounding must not change the rank
    return max(1, scenarios - ceil(confidence * (scenarios - 1) - 1e-9))


def worst_of(losses: Floats, m: int) -> Floats:
    """Return the m worst of losses float64[..., S], in ascending order."""
    rank = losses.shape[-1] - m
    ordered = losses.copy()
    ordered.partition(rank)
    return ordered[..., rank:]


def historical_var(losses: Floats, confidence: float) -> float:
    """Return the value at risk of losses float64[S] by historical simulation, quantile method "higher".

    Source: P. Jorion, Value at Risk, 3rd ed. (2006), chapter 10.
    """
    return float(worst_of(losses, tail_count(len(losses), confidence))[0])


def historical_cvar(losses: Floats, confidence: float) -> float:
    """Return the expected shortfall of losses float64[S]: the mean of the losses at or beyond VaR.

    Source: C. Acerbi and D. Tasche, On the coherence of expected shortfall (2002), the case of whole counts.
    """
    return float(worst_of(losses, tail_count(len(losses), confidence)).mean())


FEW: Final = 64
"""Length of an array up to which a Python list is faster than a reduction by numpy."""


def _reduced(few: Callable[[list[float]], float], many: Callable[[NDArray[Any]], float], values: NDArray[Any]) -> float:
    """Return `few`(list of values) for at most FEW values, else `many`(array of values); the list is faster for few."""
    return few(values.tolist()) if len(values) <= FEW else float(many(values))


most: Final = partial(_reduced, max, np.maximum.reduce)
"""The largest of float64[N]."""

least: Final = partial(_reduced, min, np.minimum.reduce)
"""The smallest of float64[N]."""

total: Final = partial(_reduced, sum_in_order, np.add.reduce)
"""The sum of float64[N]; not finite if an entry is not."""


def correlation(cov: Floats) -> Floats:
    """Return float64[N, N], the Pearson correlation matrix of a covariance; 0 for an instrument that never moved."""
    sd = np.sqrt(np.diag(cov))
    scale = np.outer(sd, sd)
    return np.divide(cov, scale, out=np.zeros_like(cov), where=scale > 0.0)


def herfindahl(weights: Floats) -> float:
    """Sum of squared weights: 1 for one position, 1/N for equal weights (O. Herfindahl, 1950)."""
    return float(weights.dot(weights))


def drawdown(equity: float, peak: float) -> float:
    """Return the fall from the peak as a fraction of the peak; 1 if the peak is not positive, but 0 for an empty book,
    which has lost nothing."""
    return (peak - equity) / peak if peak > 0 else float(not equity == peak == 0)


def beta(returns: Floats, benchmark: Floats) -> float:
    """Return the slope of returns float64[S] on a benchmark's returns of the same samples; NaN if the benchmark never
    moved.

    Source: W. Sharpe, Capital asset prices (1964): covariance with the benchmark over its variance.
    """
    centred = benchmark - benchmark.mean()
    variance = float(centred.dot(centred))
    return float(centred.dot(returns)) / variance if variance > 0.0 else float("nan")


def correlation_with(returns: Floats, benchmark: Floats) -> float:
    """Return the Pearson correlation of returns float64[S] with a benchmark's returns, in [-1, 1]; NaN if one of
    the two never moved."""
    centred, centred_benchmark = returns - returns.mean(), benchmark - benchmark.mean()
    scale = sqrt(float(centred.dot(centred)) * float(centred_benchmark.dot(centred_benchmark)))
    # rounding may carry the correlation of two equal series above 1
    return min(1.0, max(-1.0, float(centred.dot(centred_benchmark)) / scale)) if scale > 0.0 else float("nan")
