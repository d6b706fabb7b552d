"""What the policy promises. Run it: python -m pytest examples/strategies/coin_trend"""

from types import SimpleNamespace

import numpy as np
from policy import LOOKBACK, act


def view_of(returns):
    return SimpleNamespace(returns=lambda k: returns[-k:])


def test_a_coin_that_fell_is_cash_and_the_other_does_not_grow():
    returns = np.tile([0.001, -0.001], (LOOKBACK, 1))
    assert act(view_of(returns)).tolist() == [0.5, 0.0]


def test_the_whole_account_is_cash_where_all_fell():
    assert act(view_of(np.full((LOOKBACK, 2), -0.01))).tolist() == [0.0, 0.0]


def test_what_happened_before_the_four_weeks_does_not_count():
    returns = np.vstack([np.full((10, 2), -0.5), np.full((LOOKBACK, 2), 0.001)])
    assert act(view_of(returns)).tolist() == [0.5, 0.5]


def test_a_coin_without_a_history_gets_nothing():
    returns = np.full((LOOKBACK, 2), 0.001)
    returns[0, 1] = np.nan
    assert act(view_of(returns)).tolist() == [0.5, 0.0]
