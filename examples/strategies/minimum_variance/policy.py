"""Minimum variance: the mix with the smallest variance of the last year, long only.

The covariance is shrunk by half to correlations of zero, against errors of estimation, as by Ledoit and Wolf (2004).
The band of config.toml leaves out trades below 2 % of the book.
"""

import numpy as np

LOOKBACK = 252  # samples of returns that act reads
SHRINK = 0.5
MOST = 0.4  # of the book in one symbol
STEPS = 60


def act(view, lookback=LOOKBACK, shrink=SHRINK, most=MOST):
    """Return one weight per symbol; their sum is 1, or 0 while nothing has a history."""
    returns = view.returns(lookback)
    usable = np.isfinite(returns).all(axis=0) & (np.nan_to_num(returns).std(axis=0) > 0)
    weights = np.zeros(returns.shape[1])
    if not usable.any():
        return weights
    covariance = np.atleast_2d(np.cov(returns[:, usable], rowvar=False))
    covariance = (1 - shrink) * covariance + shrink * np.diag(np.diag(covariance))
    weights[usable] = calmest(covariance, most)
    return weights


def calmest(covariance, most=MOST):
    """The weights of least variance, by exponentiated gradient; none above `most` where that can be kept."""
    count = len(covariance)
    weights = np.full(count, 1 / count)
    rate = 1 / np.trace(covariance)
    most = max(most, 1 / count)
    for _ in range(STEPS):
        weights = weights * np.exp(-rate * (covariance @ weights) * count)
        weights = weights / weights.sum()
        full = np.zeros(count, dtype=bool)
        while (over := ~full & (weights > most)).any():  # what is above is cut, and the others share it
            full |= over
            free = weights * ~full
            weights = np.where(full, most, free * (1 - most * full.sum()) / max(free.sum(), 1e-12))
    return weights
