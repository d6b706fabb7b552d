"""A test of several correlated means at once, by random changes of sign.

What can go wrong: of several means one is large by chance. So a p-value is corrected by the distribution of the largest
one. The means are correlated, and Holm's correction would then find too little. So the signs of a sample change in all
columns together, which keeps their correlation.

Under the hypothesis each sample has mean 0 given the samples before it. Its sign is then as likely the other one, for
symmetric values exactly, for others in large samples. The statistic is the sum over the root of the sum of squares,
which no change of sign alters. The correction steps down from the largest statistic (Romano & Wolf 2005).
"""

from typing import Final

import numpy as np
from msgspec import Struct

from quantd.trading.market import Floats

CHANGES: Final = 9_999
"""Random changes of sign; the smallest p-value is 1 / (CHANGES + 1)."""

SEED: Final = 20_050_701

ALIKE: Final = 1e-9
"""A statistic below another one by less than this counts as equal: sums differ in their last digits by processor."""

CHUNK: Final = 4_000_000
"""Signs that are drawn at a time."""


class Tested(Struct, frozen=True):
    """One-sided p-values that a mean is above 0: of each column alone, and adjusted for their number."""

    p: tuple[float, ...]
    adjusted: tuple[float, ...]


def sign_changes(values: Floats, *, changes: int = CHANGES, seed: int = SEED) -> Tested:
    """Test the means of float64[T, M]. A column of zeros has p = 1. Raises ValueError for values that are not finite.

    The same values and seed give the same p-values on every processor.
    """
    if not bool(np.isfinite(values).all()):
        raise ValueError("values are finite")
    size = np.sqrt((values * values).sum(axis=0))
    usable = np.flatnonzero(size > 0.0)
    p = np.ones(values.shape[1])
    adjusted = np.ones(values.shape[1])
    if not len(usable):
        return Tested(tuple(p.tolist()), tuple(adjusted.tolist()))
    scaled = values[:, usable] / size[usable]
    scaled = scaled[scaled.any(axis=1)]
    reached = scaled.sum(axis=0) - ALIKE
    order = np.argsort(-reached, kind="stable")
    draw = np.random.default_rng(seed)
    alone, largest = np.ones(len(usable)), np.ones(len(usable))
    step = max(1, CHUNK // len(scaled))
    for first in range(0, changes, step):
        signs = draw.integers(0, 2, (min(step, changes - first), len(scaled)), dtype=np.int8) * 2.0 - 1.0
        drawn = (signs @ scaled)[:, order]
        alone += (drawn >= reached[order]).sum(axis=0)
        # the largest of the statistics that are not above this one
        lower = np.maximum.accumulate(drawn[:, ::-1], axis=1)[:, ::-1]
        largest += (lower >= reached[order]).sum(axis=0)
    p[usable[order]] = alone / (changes + 1)
    adjusted[usable[order]] = np.maximum.accumulate(largest) / (changes + 1)
    return Tested(tuple(p.tolist()), tuple(adjusted.tolist()))
