"""What the policy promises. Run it: python -m pytest examples/strategies/mean_reversion"""

from types import SimpleNamespace

import numpy as np
from policy import LOOKBACK, act


def view_of(returns, weights=(0.0, 0.0)):
    return SimpleNamespace(returns=lambda k: returns[-k:], weights=weights)


def falls(last):
    """A month of small moves, and a last return."""
    return np.append(np.where(np.arange(LOOKBACK - 1) % 2, 0.001, -0.001), last)


def test_what_fell_far_below_its_mean_is_bought_and_the_rest_is_cash():
    assert act(view_of(np.column_stack([falls(-0.05), falls(0.001)]))).tolist() == [0.5, 0.0]


def test_a_position_is_held_until_the_price_is_back_at_its_mean():
    still_below = np.column_stack([falls(-0.0009), falls(0.001)])
    back = np.column_stack([falls(0.01), falls(0.001)])
    assert act(view_of(still_below)).tolist() == [0.0, 0.0]
    assert act(view_of(still_below, weights=(0.5, 0.0))).tolist() == [0.5, 0.0]
    assert act(view_of(back, weights=(0.5, 0.0))).tolist() == [0.0, 0.0]


def test_a_symbol_without_a_history_gets_nothing():
    returns = np.column_stack([falls(-0.05), falls(-0.05)])
    returns[0, 1] = np.nan
    assert act(view_of(returns)).tolist() == [0.5, 0.0]
