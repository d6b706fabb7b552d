"""Covariances of returns, once: for risk, allocators and research.

Returns float64[S, N] are simple, per sample, oldest first, finite; a covariance float64[N, N] is per sample.
"""

from functools import lru_cache
from typing import Final

import numpy as np

from quantd.trading.market import Floats

DECAY: Final = 0.94
"""Lambda of exponentially weighted estimates for daily data (RiskMetrics Technical Document, 4th ed., 1996)."""


@lru_cache(maxsize=64)
def ones(count: int) -> Floats:
    """float64[count] of 1, to sum columns with; not to be written to."""
    found = np.ones(count)
    found.flags.writeable = False
    return found


def covariance(returns: Floats, sums: Floats | None = None) -> Floats:
    """float64[N, N] sample covariance (divisor S - 1); `sums` float64[N] of the columns where they are known."""
    if sums is None:
        sums = ones(len(returns)).dot(returns)
    centred = returns - sums / len(returns)
    return centred.T.dot(centred) / (len(returns) - 1)


def ledoit_wolf(returns: Floats, cov: Floats | None = None) -> Floats:
    """float64[N, N] covariance per sample, shrunk towards equal variances without correlation by the intensity of least
    expected squared error; divisor S, as in the source, not S - 1. `cov`: the sample's `covariance`, where it is known.

    Source: O. Ledoit and M. Wolf, A well-conditioned estimator for large-dimensional covariance matrices (2004).
    """
    rows, size = returns.shape
    centred = returns - ones(rows).dot(returns) / rows
    found = centred.T.dot(centred) / rows if cov is None else cov * ((rows - 1) / rows)
    mean = float(found.trace()) / size
    flat = found.ravel("K")  # a view, in rows or in columns
    norm = float(flat.dot(flat))
    # squared distances (Frobenius norms, over N) to the target: that of the sample covariance, and what of it is noise
    apart = norm / size - mean * mean
    squares = np.einsum("ij,ij->i", centred, centred)
    noise = (float(squares.dot(squares)) / rows - norm) / (rows * size)
    # at 1 the sample says nothing that the target does not
    intensity = min(max(noise, 0.0) / apart, 1.0) if apart > 0.0 else 0.0
    found *= 1.0 - intensity
    flat[:: size + 1] += intensity * mean
    return found


@lru_cache(maxsize=64)
def decay_weights(rows: int, decay: float) -> Floats:
    """float64[S] weights that fall by `decay` a sample into the past and add up to 1, oldest first; not to be written to."""
    found = decay ** np.arange(rows - 1, -1, -1.0)
    found /= found.sum()
    found.flags.writeable = False
    return found


def ewma_covariance(returns: Floats, decay: float = DECAY) -> Floats:
    """float64[N, N] exponentially weighted covariance per sample, mean 0; the weights of the S rows add up to 1.

    Source: J.P. Morgan/Reuters, RiskMetrics Technical Document, 4th ed. (1996), chapter 5.
    """
    scaled = returns * np.sqrt(decay_weights(len(returns), decay))[:, None]
    return scaled.T.dot(scaled)
