"""What the policy promises. Run it: python -m pytest examples/strategies/minimum_variance"""

from types import SimpleNamespace

import numpy as np
from policy import LOOKBACK, MOST, act, calmest


def view_of(returns):
    return SimpleNamespace(returns=lambda k: returns[-k:])


def draws(*deviations):
    return np.random.default_rng(1).normal(size=(LOOKBACK, len(deviations))) * deviations


def test_the_calmer_symbol_weighs_more_and_the_sum_is_one():
    weights = act(view_of(draws(0.010, 0.012, 0.016, 0.020)))
    assert weights[0] > weights[1] > weights[2] > weights[3] > 0
    assert abs(weights.sum() - 1) < 1e-9


def test_no_symbol_has_more_than_its_most():
    assert act(view_of(draws(0.001, 0.02, 0.03, 0.03))).max() <= MOST + 1e-9


def test_independent_symbols_weigh_by_their_inverse_variance():
    weights = calmest(np.diag([1.0, 1.5, 2.0, 1.2]) * 1e-4)
    exact = 1 / np.array([1.0, 1.5, 2.0, 1.2])
    assert np.abs(weights - exact / exact.sum()).max() < 0.01


def test_a_symbol_without_a_history_gets_nothing():
    returns = draws(0.01, 0.02, 0.03)
    returns[3, 0] = np.nan
    assert act(view_of(returns))[0] == 0
