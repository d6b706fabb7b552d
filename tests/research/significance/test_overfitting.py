"""The probability of backtest overfitting against a loop over the paper's steps."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.research.significance.overfitting import Measure, overfitting
from tests.proofs.significance_loops import looped_overfitting
from tests.support.examples import examples


@settings(max_examples=examples(30), deadline=None)
@given(
    samples=st.integers(24, 90),
    trials=st.integers(2, 9),
    blocks=st.sampled_from([4, 6, 8]),
    measure=st.sampled_from(["sharpe", "mean"]),
    seed=st.integers(0, 99),
)
def test_every_division_is_that_of_the_loop(
    samples: int, trials: int, blocks: int, measure: Measure, seed: int
) -> None:
    returns = np.random.default_rng(seed).normal(0.0003, 0.01, (samples, trials))
    estimate = overfitting(returns, blocks=blocks, measure=measure)
    probability, logits, slope, loss = looped_overfitting(returns, blocks, measure)
    assert estimate.probability == probability
    assert np.sort(estimate.logits) == pytest.approx(np.sort(logits), abs=1e-12)
    assert estimate.slope == pytest.approx(slope, rel=1e-9, abs=1e-9)
    assert estimate.loss == loss


def test_trials_that_do_not_trade_have_a_ratio_of_zero() -> None:
    returns = np.zeros((64, 4))
    estimate = overfitting(returns, blocks=4)
    assert math.isnan(estimate.slope)
    assert estimate.loss == 0.0
    assert estimate.logits == pytest.approx(np.zeros(6))  # all equal: the chosen one is in the middle
    assert estimate.probability == 1.0
    returns[:, 2] = np.random.default_rng(4).normal(0.5, 1.0, 64)
    assert overfitting(returns, blocks=4).probability == 0.0


def test_what_cannot_be_divided_is_refused() -> None:
    returns = np.zeros((64, 4))
    for blocks in (0, 3, 22):
        with pytest.raises(ValueError, match="even and from 2 to 20"):
            overfitting(returns, blocks=blocks)
    with pytest.raises(ValueError, match="at least 32 returns, not 31"):
        overfitting(returns[:31])
    with pytest.raises(ValueError, match="at least 2 trials, not 1"):
        overfitting(returns[:, :1])
