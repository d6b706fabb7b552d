"""Paired tests of two return series: t, Wilcoxon signed-rank, and the two-sample Kolmogorov-Smirnov test.

What can go wrong: none of these tests accounts for serial dependence. `quantd.research.significance.sharpe_tests` has
tests that do. The Kolmogorov-Smirnov test also assumes two independent series, so that its p-value is too large for
positively correlated series.

All p-values are two-sided. Identical series give p = 1. Identical series are handled first, because they have no
variance to divide by.
"""

from math import erfc, sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.significance.rank_statistics import (
    average_ranks,
    signed_rank_two_sided,
    smirnov_two_sided,
    student_two_sided,
)
from quantd.research.significance.samples import is_constant, require_pair
from quantd.trading.market import Floats

MIN_PAIRS: Final = 2
"""Minimum number of pairs: a variance needs two."""

EXACT_PAIRS: Final = 50
"""Up to this number of pairs the signed-rank test is exact, if there are no ties and no equal pairs."""

EXACT_TIES: Final = 13
"""Up to this number of pairs the signed-rank test is exact where there are ties or equal pairs."""


class PairedTest(Struct, frozen=True):
    """The result of one test: its statistic, its two-sided p-value and the number of pairs."""

    statistic: float
    p: float
    samples: int


def paired_t(returns: Floats, other: Floats) -> PairedTest:
    """Test whether the means of `returns` and `other` float64[T] are equal (Student 1908).

    The statistic is positive where `returns` has the higher mean. A constant difference other than 0 has no variance:
    the statistic and p are NaN. Raises ValueError for different lengths, fewer than 2 pairs or non-finite returns.
    """
    require_pair(returns, other, MIN_PAIRS)
    if np.array_equal(returns, other):
        return PairedTest(0.0, 1.0, len(returns))
    if is_constant(returns - other):
        return PairedTest(float("nan"), float("nan"), len(returns))
    differences = returns - other
    t = float(differences.mean() / sqrt(differences.var(ddof=1) / len(returns)))
    return PairedTest(t, student_two_sided(t, len(returns) - 1), len(returns))


def wilcoxon(returns: Floats, other: Floats) -> PairedTest:
    """Test whether the differences of `returns` and `other` float64[T] are symmetric about 0 (Wilcoxon 1945).

    The statistic is the smaller of the two sums of ranks, of the positive and of the negative differences. Equal pairs
    are left out. p is exact for up to EXACT_PAIRS pairs without ties and equal pairs, and for up to EXACT_TIES pairs
    with ties or equal pairs. For more pairs p is from the normal approximation. Raises ValueError for different
    lengths, fewer than 2 pairs or non-finite returns.
    """
    require_pair(returns, other, MIN_PAIRS)
    if np.array_equal(returns, other):
        return PairedTest(0.0, 1.0, len(returns))
    differences = (returns - other)[returns != other]
    ranks = average_ranks(np.abs(differences))
    positive, negative = float(ranks[differences > 0].sum()), float(ranks[differences < 0].sum())
    _, ties = np.unique(ranks, return_counts=True)
    distinct = len(differences) == len(returns) and bool((ties == 1).all())
    if len(returns) <= (EXACT_PAIRS if distinct else EXACT_TIES):
        p = signed_rank_two_sided(ranks, positive)
    else:
        n = float(len(ranks))
        variance = (n * (n + 1.0) * (2.0 * n + 1.0) - float((ties**3.0 - ties).sum()) / 2.0) / 24.0
        z = (positive - n * (n + 1.0) / 4.0) / sqrt(variance)
        p = erfc(abs(z) / sqrt(2.0))
    return PairedTest(min(positive, negative), p, len(returns))


def kolmogorov_smirnov(returns: Floats, other: Floats) -> PairedTest:
    """Test whether `returns` and `other` float64[T] have the same distribution (Smirnov 1939).

    The statistic is the largest distance of the two empirical distributions, and p is exact. The test assumes
    independent series: for positively correlated ones, p is too large. Raises ValueError for different lengths, fewer
    than 2 pairs or non-finite returns.
    """
    require_pair(returns, other, MIN_PAIRS)
    if np.array_equal(returns, other):
        return PairedTest(0.0, 1.0, len(returns))
    values, n = np.concatenate([returns, other]), len(returns)
    below = [np.searchsorted(np.sort(side), values, "right") for side in (returns, other)]
    distance = int(np.abs(below[0] - below[1]).max())
    return PairedTest(distance / n, smirnov_two_sided(distance, n), n)
