"""The laws of the paired tests, and the tests themselves, against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from quantd.research.significance.paired_tests import kolmogorov_smirnov, paired_t, wilcoxon
from quantd.research.significance.rank_statistics import (
    smirnov_two_sided,
    student_two_sided,
)

PAIRS = (2, 3, 5, 12, 13, 14, 20, 50, 51, 400)


def pairs(count: int, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated samples: without ties, rounded so that they have ties, or with equal pairs."""
    draw = np.random.default_rng([seed, count])
    one = draw.normal(size=count)
    two = one * draw.choice([0.0, 0.5, 0.9]) + draw.normal(size=count) + draw.choice([0.0, 0.1, 1.0])
    if kind == "ties":
        one, two = np.round(one, 1), np.round(two, 1)
    if kind == "equal":
        two[: count // 3] = one[: count // 3]
    return one, two


@pytest.mark.long
@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 5), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("kind", ["distinct", "ties", "equal"])
@pytest.mark.parametrize("count", PAIRS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_each_paired_test_is_that_of_scipy(count: int, kind: str, seeds: range) -> None:
    for seed in seeds:
        one, two = pairs(count, kind, seed)
        if np.array_equal(one, two):
            continue
        references = [(wilcoxon, stats.wilcoxon), (kolmogorov_smirnov, stats.ks_2samp)]
        if np.ptp(one - two) > 1e-9:  # scipy has a t of rounding errors for a constant difference
            references.append((paired_t, stats.ttest_rel))
        for test, reference in references:
            ours, theirs = test(one, two), reference(one, two)
            assert ours.statistic == pytest.approx(float(theirs.statistic), rel=1e-12), test
            assert ours.p == pytest.approx(float(theirs.pvalue), rel=1e-11), (test, seed)


@pytest.mark.parametrize("degrees", [1, 2, 3, 10, 251, 5_000, 1_000_000])
@pytest.mark.parametrize("t", [0.0, 1e-9, 0.01, 0.7, 1.0, 2.148, -2.148, 8.0, 30.0])
def test_students_law_is_that_of_scipy_in_the_middle_and_far_out(t: float, degrees: int) -> None:
    # the logarithm of the gamma function loses as many digits as it has before its point
    assert student_two_sided(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-8, abs=1e-250)


def test_an_infinite_t_has_no_tail_and_an_undefined_one_no_p() -> None:
    assert student_two_sided(math.inf, 5) == 0.0
    assert math.isnan(student_two_sided(math.nan, 5))


def test_smirnovs_law_beyond_the_sizes_that_scipy_has_exactly_approaches_its_limit() -> None:
    for distance in (150, 300, 500):
        limit = float(stats.kstwobign.sf(distance / 20_000 * math.sqrt(10_000)))
        assert smirnov_two_sided(distance, 20_000) == pytest.approx(limit, rel=0.02)
    assert smirnov_two_sided(0, 10) == 1.0
