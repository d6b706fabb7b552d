"""Paired tests against closed forms written out here, and against an enumeration of all signs."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from quantd.research.significance.paired_tests import PairedTest, kolmogorov_smirnov, paired_t, wilcoxon
from tests.support.checkout import ROOT

TESTS = [paired_t, wilcoxon, kolmogorov_smirnov]

DARWIN = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48.0])
"""Charles Darwin's 15 pairs of Zea mays, differences in eighths of an inch (Fisher, The Design of Experiments, 1935,
chapter III)."""


def pair(seed: int = 1, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    common, one, two = np.random.default_rng(seed).normal(0.0005, 0.01, (3, n))
    return common + one, common + two


@pytest.mark.requirement("R-244")
@pytest.mark.parametrize("test", TESTS)
def test_identical_series_have_p_one(test) -> None:  # type: ignore[no-untyped-def]
    returns, _ = pair()
    assert test(returns, returns.copy()) == PairedTest(0.0, 1.0, 40)


@pytest.mark.parametrize("test", TESTS)
def test_series_that_cannot_be_paired_are_refused(test) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="the same length"):
        test(np.ones(5), np.ones(6))
    with pytest.raises(ValueError, match="at least 2"):
        test(np.ones(1), np.zeros(1))
    with pytest.raises(ValueError, match="finite"):
        test(np.array([0.1, np.nan]), np.zeros(2))


def test_the_example_of_fisher() -> None:
    """Fisher 1935, chapter III: t = 2.148 with 14 degrees of freedom, and p just below 5 %."""
    outcome = paired_t(DARWIN, np.zeros(15))
    assert outcome.statistic == pytest.approx(2.148, abs=5e-4)
    assert outcome.p == pytest.approx(0.0497, abs=5e-5)


def test_t_is_mean_over_error() -> None:
    returns, other = pair()
    d = returns - other
    t = d.mean() / (d.std(ddof=1) / math.sqrt(len(d)))
    outcome = paired_t(returns, other)
    assert outcome.statistic == pytest.approx(t, rel=1e-12)
    assert outcome.p == pytest.approx(2 * stats.t.sf(abs(t), len(d) - 1), rel=1e-12)
    assert paired_t(other, returns).statistic == pytest.approx(-t)


def test_a_constant_difference_has_no_t() -> None:
    returns, _ = pair()
    outcome = paired_t(returns, returns - 0.01)
    assert math.isnan(outcome.statistic)
    assert math.isnan(outcome.p)
    assert wilcoxon(returns, returns - 0.01).p < 1e-6


def test_wilcoxon_is_the_share_of_signs_that_are_as_extreme() -> None:
    d = DARWIN[:10] + np.arange(10) * 0.01  # no ties
    ranks = stats.rankdata(np.abs(d))
    total = ranks.sum()
    observed = min(ranks[d > 0].sum(), ranks[d < 0].sum())
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product((0, 1), repeat=10)]
    extreme = sum(min(rank_sum, total - rank_sum) <= observed for rank_sum in sums) / len(sums)
    outcome = wilcoxon(d, np.zeros(10))
    assert outcome.statistic == observed
    assert outcome.p == pytest.approx(extreme, rel=1e-12)


def test_the_distance_of_kolmogorov_and_smirnov_is_that_of_the_steps() -> None:
    returns, other = pair(n=30)
    steps = np.concatenate([returns, other])
    distance = max(abs((returns <= x).mean() - (other <= x).mean()) for x in steps)
    outcome = kolmogorov_smirnov(returns, other)
    assert outcome.statistic == pytest.approx(distance, rel=1e-12)
    # the share of all ways to mix 6 and 6 values that are at least as far apart
    few, many = returns[:6], other[:6] + 0.01
    mixed = list(itertools.combinations(range(12), 6))
    values = np.sort(np.concatenate([few, many]))
    far = kolmogorov_smirnov(few, many)
    count = 0
    for chosen in mixed:
        inside = np.isin(np.arange(12), chosen)
        walk = np.abs(np.where(inside, 1, -1).cumsum()) / 6
        count += walk.max() >= far.statistic - 1e-12
    assert len(values) == 12
    assert far.p == pytest.approx(count / len(mixed), rel=1e-9)


def test_scipy_is_loaded_by_a_test_and_not_by_an_import() -> None:
    folder = ROOT / "research" / "significance"
    names = sorted(path.stem for path in folder.glob("[a-z]*.py"))
    code = "".join(f"import quantd.research.significance.{name}\n" for name in names)
    code += "import sys\nsys.exit('scipy' in sys.modules)"
    assert "paired_tests" in names
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
