"""What the policy promises. Run it: python -m pytest examples/strategies/momentum_top"""

from types import SimpleNamespace

import numpy as np
from policy import LOOKBACK, SKIPPED, act


def view_of(returns):
    return SimpleNamespace(returns=lambda k: returns[-k:])


def test_the_two_that_rose_most_share_the_book():
    returns = np.tile([0.001, 0.003, -0.001, 0.002], (LOOKBACK, 1))
    assert act(view_of(returns)).tolist() == [0.0, 0.5, 0.0, 0.5]


def test_the_newest_month_does_not_count():
    returns = np.tile([0.001, 0.002, 0.003], (LOOKBACK, 1))
    returns[-SKIPPED:, 0] = 0.5
    assert act(view_of(returns)).tolist() == [0.0, 0.5, 0.5]


def test_a_symbol_without_a_history_gets_nothing():
    returns = np.tile([0.001, 0.002, 0.003], (LOOKBACK, 1))
    returns[0, 2] = np.nan
    assert act(view_of(returns)).tolist() == [0.5, 0.5, 0.0]
