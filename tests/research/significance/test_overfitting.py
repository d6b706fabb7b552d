"""The probability of backtest overfitting against a loop over the paper's steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.research.significance.overfitting import overfitting
from tests.proofs.significance_loops import looped_overfitting
from tests.support.examples import examples


@settings(max_examples=examples(30), deadline=None)
@given(
    samples=st.integers(24, 90),
    trials=st.integers(2, 9),
    blocks=st.sampled_from([4, 6, 8]),
    seed=st.integers(0, 99),
)
def test_both_shares_are_those_of_the_loop(samples: int, trials: int, blocks: int, seed: int) -> None:
    returns = np.random.default_rng(seed).normal(0.0003, 0.01, (samples, trials))
    estimate = overfitting(returns, blocks=blocks)
    assert (estimate.probability, estimate.loss) == looped_overfitting(returns, blocks)


def test_trials_that_do_not_trade_have_a_ratio_of_zero() -> None:
    returns = np.zeros((64, 4))
    estimate = overfitting(returns, blocks=4)
    assert (estimate.probability, estimate.loss) == (1.0, 0.0)  # all equal: the chosen one is in the middle
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
