"""Mean reversion: buy a symbol that stands far below its mean of a month, and hold it until it is back.

The distance is a z-score: the price less its mean, over the standard deviation of prices.
"""

import numpy as np

LOOKBACK = 21  # samples of prices in the mean
ENTER, LEAVE = -1.5, 0.0  # z-scores


def act(view, lookback=LOOKBACK, enter=ENTER, leave=LEAVE):
    """Return one weight per symbol: a fifth of five for each that is held; the rest is cash."""
    path = np.cumsum(view.returns(lookback), axis=0)  # logarithms of prices
    deviation = path.std(axis=0)
    usable = np.isfinite(deviation) & (deviation > 0)
    score = np.where(usable, (path[-1] - path.mean(axis=0)) / np.where(usable, deviation, 1.0), np.nan)
    held = np.asarray(view.weights) > 0.0
    target = usable & ((score < enter) | (held & (score < leave)))
    return target / len(target)
