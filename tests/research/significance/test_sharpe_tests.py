"""The test of equal Sharpe ratios against loops over the paper's formulas."""

import math

import numpy as np
import pytest

from quantd.research.significance.sharpe_tests import MIN_RETURNS, SharpeTest, ledoit_wolf
from tests.proofs.significance_loops import pair, parzen_error


@pytest.mark.parametrize("seed", range(3))
def test_the_robust_error_is_that_of_the_loops(seed: int) -> None:
    returns, other = pair(seed, n=90)
    returns = returns + 0.3 * np.roll(returns, 1)
    outcome = ledoit_wolf(returns, other)
    assert outcome.error == pytest.approx(parzen_error(returns, other), rel=1e-9)
    assert outcome.p == pytest.approx(math.erfc(abs(outcome.difference) / outcome.error / math.sqrt(2)), rel=1e-12)


@pytest.mark.requirement("R-252")
def test_equal_series_have_p_one_and_multiples_of_each_other_too() -> None:
    returns, _ = pair()
    for factor in (1.0, 3.0):
        outcome = ledoit_wolf(returns, factor * returns)
        assert (outcome.difference, outcome.p) == (pytest.approx(0.0, abs=1e-12), 1.0)


def test_a_constant_series_has_no_ratio() -> None:
    returns, _ = pair()
    for outcome in (ledoit_wolf(returns, np.full(120, 0.01)), ledoit_wolf(np.zeros(120), returns)):
        assert isinstance(outcome, SharpeTest)
        assert math.isnan(outcome.difference)
        assert math.isnan(outcome.p)


def test_series_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="the same length"):
        ledoit_wolf(np.ones(50), np.ones(51))
    with pytest.raises(ValueError, match=f"at least {MIN_RETURNS}"):
        ledoit_wolf(np.ones(MIN_RETURNS - 1), np.ones(MIN_RETURNS - 1))
