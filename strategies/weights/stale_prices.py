"""Which prices stand still: an instrument that does not trade looks safer each day, and cannot be bought."""

from typing import Final

import numpy as np

from quantd.trading.market import Bools, Floats

STILL_SAMPLES: Final = 5
"""So many samples in a row without any change of a real price: its bars are missing, or it is halted."""

STILL_SHARE: Final = 3
"""Or more than one in so many samples of the window: what is left does not measure how it moves."""


def standing_still(returns: Floats) -> Bools:
    """bool[N], columns of float64[k, N] returns whose newest STILL_SAMPLES are exactly 0, or more than a third of all rows
    (STILL_SAMPLES at least). In a shorter window all of them have to be. NaN is no standing still."""
    zero = returns == 0.0
    count = np.add.reduce(zero, axis=0, dtype=np.int64)
    often: Bools = (count * STILL_SHARE > len(returns)) & (count >= min(STILL_SAMPLES, len(returns)))
    newest: Bools = np.logical_and.reduce(zero[-STILL_SAMPLES:], axis=0)
    return often | newest
