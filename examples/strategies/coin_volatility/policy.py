"""Equal parts of all coins, scaled to a volatility of 30 % a year.

The scale is as in Moreira and Muir (2017): a portfolio is held less after a month of high volatility.
"""

import numpy as np

LOOKBACK = 30  # samples of the volatility: a month, because coins trade on all seven days
TARGET_ANNUAL = 0.30
YEAR = 365


def act(view, lookback=LOOKBACK, target_annual=TARGET_ANNUAL):
    """Return one weight per coin, equal among those with a month of returns; the rest is cash, the sum at most 1."""
    returns = view.returns(lookback)
    complete = np.isfinite(returns).all(axis=0)
    if not complete.any():
        return np.zeros(returns.shape[1])
    weights = complete / complete.sum()
    month = np.where(complete, returns, 0.0) @ weights
    volatility_annual = month.std() * np.sqrt(YEAR)
    return weights * min(1.0, target_annual / max(volatility_annual, 1e-6))
