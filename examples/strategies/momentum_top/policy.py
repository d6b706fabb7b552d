"""Momentum: equal parts of the two symbols that rose most in a year, without its last month.

The window of a year without a month is that of Jegadeesh and Titman (1993).
"""

import numpy as np

LOOKBACK = 252  # samples of returns that act reads
SKIPPED = 21  # newest samples that do not count
TOP = 2  # symbols that are held


def act(view, lookback=LOOKBACK, skipped=SKIPPED, top=TOP):
    """Return one weight per symbol; a symbol without a year of returns gets nothing."""
    rise = view.returns(lookback)[: lookback - skipped].sum(axis=0)
    rise = np.where(np.isfinite(rise), rise, -np.inf)
    chosen = np.argsort(-rise, kind="stable")[:top]
    weights = np.zeros(len(rise))
    weights[chosen] = np.isfinite(rise[chosen]) / top
    return weights
