"""Covariance estimators for risk, allocators and research.

What can go wrong: with fewer samples than instruments, the sample covariance is singular, and some portfolios seem to
have no risk. `ledoit_wolf` shrinks the covariance towards equal variances, by an intensity computed from the data.

Returns float64[S, N] are simple, per sample, oldest first and finite. A covariance float64[N, N] is per sample.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.trading.market import Floats

Ints = NDArray[np.int64]

DECAY: Final = 0.94
"""Lambda of exponentially weighted estimates for daily data (RiskMetrics Technical Document, 4th ed., 1996)."""


@lru_cache(maxsize=64)
def ones(count: int) -> Floats:
    """Return float64[count] of ones for column sums. The array is shared and read-only."""
    vector = np.ones(count)
    vector.flags.writeable = False
    return vector


def covariance(returns: Floats, sums: Floats | None = None) -> Floats:
    """Return the sample covariance float64[N, N] (divisor S - 1). `sums` float64[N] are the column sums of `returns`,
    if the caller has them."""
    if sums is None:
        sums = ones(len(returns)).dot(returns)
    centred = returns - sums / len(returns)
    return centred.T.dot(centred) / max(len(returns) - 1, 1)


def ledoit_wolf(returns: Floats, cov: Floats | None = None) -> Floats:
    """Return the Ledoit-Wolf covariance float64[N, N], shrunk towards equal variances without correlation.

    The shrinkage intensity minimises the expected squared error. The divisor is S, as in the source, not S - 1. `cov`
    is `covariance(returns)`, if the caller has it. Source: O. Ledoit and M. Wolf, A well-conditioned estimator for
    large-dimensional covariance matrices (2004).
    """
    rows, size = returns.shape
    centred = returns - ones(rows).dot(returns) / rows
    estimate = centred.T.dot(centred) / rows if cov is None else cov * ((rows - 1) / rows)
    mean = float(estimate.trace()) / size
    estimate_elements = estimate.ravel("K")  # a view, by rows or by columns
    squared_norm = float(estimate_elements.dot(estimate_elements))
    # Squared Frobenius distances to the target, divided by N: of the sample covariance, and the part that is noise.
    distance = squared_norm / size - mean * mean
    squares = np.einsum("ij,ij->i", centred, centred)
    noise = (float(squares.dot(squares)) / rows - squared_norm) / (rows * size)
    # At intensity 1, the estimate equals the target.
    intensity = min(max(noise, 0.0) / distance, 1.0) if distance > 0.0 else 0.0
    estimate *= 1.0 - intensity
    estimate_elements[:: size + 1] += intensity * mean
    return estimate


@lru_cache(maxsize=64)
def decay_weights(rows: int, decay: float) -> Floats:
    """Return float64[S] weights that decay geometrically into the past and add up to 1, oldest first, read-only."""
    weights = decay ** np.arange(rows - 1, -1, -1.0)
    weights /= weights.sum()
    weights.flags.writeable = False
    return weights


def ewma_covariance(returns: Floats, decay: float = DECAY) -> Floats:
    """Return the exponentially weighted covariance float64[N, N] per sample with zero mean; row weights add up to 1.
    Source: J.P. Morgan/Reuters, RiskMetrics Technical Document, 4th ed. (1996), chapter 5."""
    scaled = returns * np.sqrt(decay_weights(len(returns), decay))[:, None]
    return scaled.T.dot(scaled)
