"""Paired tests of two return series: t, Wilcoxon signed-rank, and the two-sample Kolmogorov-Smirnov test.

All p-values are two-sided. Identical series give p = 1. None of these tests accounts for serial dependence.
"""

from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.significance.samples import is_constant, require_pair
from quantd.trading.market import Floats

MIN_PAIRS: Final = 2
"""Minimum number of pairs: a variance needs two."""


class PairedTest(Struct, frozen=True):
    """The result of one test: its statistic, its two-sided p-value and the number of pairs."""

    statistic: float
    p: float
    samples: int


def paired_t(own: Floats, other: Floats) -> PairedTest:
    """Test whether the means of returns `own` and `other` float64[T] are equal (Student 1908).

    The statistic is positive where `own` has the higher mean. A constant difference other than 0 has no variance: the
    statistic and p are NaN. Raises ValueError for different lengths, fewer than 2 pairs or non-finite returns.
    """
    require_pair(own, other, MIN_PAIRS)
    if np.array_equal(own, other):
        return PairedTest(0.0, 1.0, len(own))
    if is_constant(own - other):
        return PairedTest(float("nan"), float("nan"), len(own))
    from scipy import stats

    found = stats.ttest_rel(own, other)
    return PairedTest(float(found.statistic), float(found.pvalue), len(own))


def wilcoxon(own: Floats, other: Floats) -> PairedTest:
    """Test whether the differences of returns `own` and `other` float64[T] are symmetric about 0 (Wilcoxon 1945).

    The statistic is the smaller of the two sums of ranks. Pairs without a difference are left out. p is exact up to 50
    differences without ties, else from the normal approximation. Raises ValueError as `paired_t`.
    """
    require_pair(own, other, MIN_PAIRS)
    if np.array_equal(own, other):
        return PairedTest(0.0, 1.0, len(own))
    from scipy import stats

    found = stats.wilcoxon(own, other)
    return PairedTest(float(found.statistic), float(found.pvalue), len(own))


def kolmogorov_smirnov(own: Floats, other: Floats) -> PairedTest:
    """Test whether returns `own` and `other` float64[T] have the same distribution (Smirnov 1939).

    The statistic is the largest distance of the two empirical distributions. The test assumes independent series: for
    positively correlated ones, p is too large. Raises ValueError as `paired_t`.
    """
    require_pair(own, other, MIN_PAIRS)
    if np.array_equal(own, other):
        return PairedTest(0.0, 1.0, len(own))
    from scipy import stats

    found = stats.ks_2samp(own, other)
    return PairedTest(float(found.statistic), float(found.pvalue), len(own))
