"""Detection of stale prices: an instrument that does not trade appears safer each day, and cannot be bought."""

from typing import Final

import numpy as np

from quantd.trading.market import Bools, Floats

STILL_SAMPLES: Final = 5
"""Consecutive samples without any price change that mark a stale price: its bars are missing, or it is halted."""

STILL_SHARE: Final = 3
"""A price is stale too if more than one in this many samples of the window is unchanged."""


def standing_still(returns: Floats) -> Bools:
    """Return bool[N], True for each instrument whose `returns` float64[k, N] show a stale price.

    A price is stale if the newest STILL_SAMPLES returns are exactly 0, or if more than a third of all returns of the
    instrument, and at least STILL_SAMPLES, are 0. If k is less than STILL_SAMPLES, all k returns must be 0. NaN does
    not count as 0.
    """
    zero = returns == 0.0
    # the usual case, decided at once: too few zeros for any column to be stale, and none in the newest row
    if np.count_nonzero(zero) * STILL_SHARE <= len(returns) and not np.count_nonzero(zero[-1]):
        return np.zeros(returns.shape[1], dtype=np.bool_)
    count = np.add.reduce(zero, axis=0, dtype=np.int64)
    often: Bools = (count * STILL_SHARE > len(returns)) & (count >= min(STILL_SAMPLES, len(returns)))
    newest: Bools = np.logical_and.reduce(zero[-STILL_SAMPLES:], axis=0)
    return often | newest


def rolling_still(returns: Floats, k: int) -> Bools:
    """Return bool[R - k + 1, N], True where k consecutive rows of float64[R, N] show a stale price."""
    zeros = np.zeros((len(returns) + 1, returns.shape[1]), dtype=np.int64)
    np.cumsum(returns == 0.0, axis=0, out=zeros[1:])
    count, short = zeros[k:] - zeros[:-k], min(STILL_SAMPLES, k)
    newest = zeros[k:] - zeros[k - short : len(zeros) - short]
    still: Bools = ((count * STILL_SHARE > k) & (count >= short)) | (newest == short)
    return still
