"""What the policy promises. Run it: python -m pytest examples/strategies/coin_volatility"""

from types import SimpleNamespace

import numpy as np
from policy import LOOKBACK, TARGET_ANNUAL, YEAR, act


def view_of(returns):
    return SimpleNamespace(returns=lambda k: returns[-k:])


def moves(size):
    """Returns of two coins that go up and down together by `size`."""
    return np.tile(np.where(np.arange(LOOKBACK) % 2, size, -size), (2, 1)).T


def test_wild_coins_are_held_less_so_that_their_volatility_is_the_target():
    returns = moves(0.05)
    weights = act(view_of(returns))
    assert weights[0] == weights[1]
    assert abs((returns @ weights).std() * np.sqrt(YEAR) - TARGET_ANNUAL) < 1e-9


def test_nothing_is_borrowed_in_a_calm_market():
    assert act(view_of(moves(0.001))).tolist() == [0.5, 0.5]


def test_a_coin_without_a_history_gets_nothing():
    returns = moves(0.001)
    returns[0, 1] = np.nan
    assert act(view_of(returns)).tolist() == [1.0, 0.0]
    assert act(view_of(np.full((LOOKBACK, 2), np.nan))).tolist() == [0.0, 0.0]
