"""Trend with a volatility target: hold what stands above its 200-day mean, scaled to 10 % volatility a year.

The rule of the mean is that of Faber (2007). The scale is as in Moreira and Muir (2017).
"""

import numpy as np

LOOKBACK = 200  # samples of the mean of prices
MONTH = 21  # samples of the volatility
TARGET_ANNUAL = 0.10
YEAR = 252


def act(view, lookback=LOOKBACK, month=MONTH, target_annual=TARGET_ANNUAL):
    """Return one weight per symbol; the rest is cash, and the sum is at most 1."""
    returns = view.returns(lookback)
    path = np.exp(np.cumsum(returns, axis=0))  # prices, as multiples of the first
    rising = np.isfinite(path).all(axis=0) & (path[-1] > path.mean(axis=0))
    if not rising.any():
        return np.zeros(returns.shape[1])
    weights = rising / len(rising)
    newest = np.where(rising, np.nan_to_num(returns[-month:]), 0.0) @ weights
    volatility_annual = newest.std() * np.sqrt(YEAR)
    return weights * min(1.0 / weights.sum(), target_annual / max(volatility_annual, 1e-6))
