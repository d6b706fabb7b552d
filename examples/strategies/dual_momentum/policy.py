"""Dual momentum: the fund that rose most in a year, if it rose at all; else cash.

The rule is that of Antonacci (2014), with the three funds of the bundled market.
"""

import numpy as np

LOOKBACK = 252  # samples of returns that act reads
FUNDS = ("SPY", "QQQ", "IWM")
HURDLE_ANNUAL = 0.02  # what cash would have earned


def act(view, lookback=LOOKBACK, hurdle_annual=HURDLE_ANNUAL):
    """Return 1 for one of the funds, or nothing for all."""
    rise = view.returns(lookback).sum(axis=0)
    fund = np.isin(np.asarray(view.universe.symbols), FUNDS)
    rise = np.where(fund & np.isfinite(rise), rise, -np.inf)
    weights = np.zeros(len(rise))
    best = int(np.argmax(rise))
    weights[best] = float(rise[best] > hurdle_annual)
    return weights
