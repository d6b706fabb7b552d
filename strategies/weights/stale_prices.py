"""Detection of stale prices: an instrument that does not trade appears safer each day, and cannot be bought."""

from typing import Final

import numpy as np

from quantd.trading.market import Bools, Floats

STILL_SAMPLES: Final = 5
"""Consecutive samples without any price change that mark a stale price: its bars are missing, or it is halted."""

STILL_SHARE: Final = 3
"""More than one unchanged sample in this many of the window also mark a stale price."""


def standing_still(returns: Floats) -> Bools:
    """Return bool[.., N]: columns of float64[.., k, N] returns with a stale price.

    A column is stale if its newest STILL_SAMPLES are exactly 0, or more than a third of all rows (at least
    STILL_SAMPLES). In a shorter window all of them must be 0. NaN does not count as 0.
    """
    zero, rows = returns == 0.0, returns.shape[-2]
    # the usual windows in one look: too few zeros for any column, and none in the newest row
    if np.count_nonzero(zero) * STILL_SHARE <= rows and not np.count_nonzero(zero[..., -1, :]):
        return np.zeros(returns.shape[:-2] + returns.shape[-1:], dtype=np.bool_)
    count = np.add.reduce(zero, axis=-2, dtype=np.int64)
    often: Bools = (count * STILL_SHARE > rows) & (count >= min(STILL_SAMPLES, rows))
    newest: Bools = np.logical_and.reduce(zero[..., -STILL_SAMPLES:, :], axis=-2)
    return often | newest
