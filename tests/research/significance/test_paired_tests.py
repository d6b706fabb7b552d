"""Paired tests: equal series, constant differences, and what cannot be paired."""

import math
import subprocess
import sys

import numpy as np
import pytest

from quantd.research.significance.paired_tests import PairedTest, kolmogorov_smirnov, paired_t, wilcoxon
from tests.support.checkout import ROOT

TESTS = [paired_t, wilcoxon, kolmogorov_smirnov]


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


def test_a_constant_difference_has_no_t() -> None:
    returns, _ = pair()
    outcome = paired_t(returns, returns - 0.01)
    assert math.isnan(outcome.statistic)
    assert math.isnan(outcome.p)
    assert wilcoxon(returns, returns - 0.01).p < 1e-6


def test_scipy_is_loaded_by_a_test_and_not_by_an_import() -> None:
    folder = ROOT / "research" / "significance"
    names = sorted(path.stem for path in folder.glob("[a-z]*.py"))
    code = "".join(f"import quantd.research.significance.{name}\n" for name in names)
    code += "import sys\nsys.exit('scipy' in sys.modules)"
    assert "paired_tests" in names
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
