"""A test of several correlated means at once, by random changes of sign.

What can go wrong: of several means one is large by chance. So each p-value is adjusted by the distribution of the
largest statistic. Holm's correction would reject too rarely, because the means are correlated. So the signs of a sample
(one row) change in all columns together, which preserves the correlation of the columns.

Under the hypothesis each sample has mean 0 given the earlier samples. Plus and minus are then equally likely signs:
exactly so for symmetric values, approximately for others in large samples. The statistic of a column is its sum divided
by the root of its sum of squares. A change of signs does not alter this divisor. The adjustment steps down from the
largest statistic (Romano & Wolf 2005).
"""

from typing import Final

import numpy as np
from msgspec import Struct

from quantd.trading.market import Floats

CHANGES: Final = 9_999
"""Random changes of sign; the smallest p-value is 1 / (CHANGES + 1)."""

SEED: Final = 20_050_701

SUM_TOLERANCE: Final = 1e-9
"""A statistic less than this below another one counts as equal: the last digits of a sum depend on the processor."""

CHUNK: Final = 4_000_000
"""Number of signs drawn at a time, which bounds memory."""


class Tested(Struct, frozen=True):
    """One-sided p-values of each column against the alternative that its mean is above 0: `p` of the column alone, and
    `adjusted` for the number of columns."""

    p: tuple[float, ...]
    adjusted: tuple[float, ...]


def sign_changes(values: Floats, *, changes: int = CHANGES, seed: int = SEED) -> Tested:
    """Test by random signs whether the mean of each column of float64[T, M] (T samples of M series) is above 0.

    The result has the p-value of each column, alone and adjusted for all M. A column of zeros has p = 1. The same
    values and seed give the same p-values on every processor. Raises ValueError for values that are not finite.
    """
    if not bool(np.isfinite(values).all()):
        raise ValueError("a value is not finite (NaN or infinite); remove its sample")
    norms = np.sqrt((values * values).sum(axis=0))
    usable = np.flatnonzero(norms > 0.0)
    p = np.ones(values.shape[1])
    adjusted = np.ones(values.shape[1])
    if not len(usable):
        return Tested(tuple(p.tolist()), tuple(adjusted.tolist()))
    scaled = values[:, usable] / norms[usable]
    scaled = scaled[scaled.any(axis=1)]  # a sample of zeros has no sign to change
    thresholds = scaled.sum(axis=0) - SUM_TOLERANCE
    order = np.argsort(-thresholds, kind="stable")
    generator = np.random.default_rng(seed)
    # from 1: the observed signs count as one of the changes, so that no p-value is 0
    single_counts, step_down_counts = np.ones(len(usable)), np.ones(len(usable))
    chunk = max(1, CHUNK // len(scaled))
    for first in range(0, changes, chunk):
        signs = generator.integers(0, 2, (min(chunk, changes - first), len(scaled)), dtype=np.int8) * 2.0 - 1.0
        statistics = (signs @ scaled)[:, order]
        single_counts += (statistics >= thresholds[order]).sum(axis=0)
        # in descending order of the observed statistics: the largest drawn statistic of this column and all later ones
        running_largest = np.maximum.accumulate(statistics[:, ::-1], axis=1)[:, ::-1]
        step_down_counts += (running_largest >= thresholds[order]).sum(axis=0)
    p[usable[order]] = single_counts / (changes + 1)
    adjusted[usable[order]] = np.maximum.accumulate(step_down_counts) / (changes + 1)
    return Tested(tuple(p.tolist()), tuple(adjusted.tolist()))
