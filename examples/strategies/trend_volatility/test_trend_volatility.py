"""What the policy promises. Run it: python -m pytest examples/strategies/trend_volatility"""

from types import SimpleNamespace

import numpy as np
from policy import LOOKBACK, TARGET_ANNUAL, YEAR, act


def view_of(returns):
    return SimpleNamespace(returns=lambda k: returns[-k:])


def moves(size, drift):
    """Returns that go up and down by `size` round a drift."""
    return np.where(np.arange(LOOKBACK) % 2, size, -size) + drift


def test_what_falls_is_not_held():
    weights = act(view_of(np.column_stack([moves(0.001, 0.001), moves(0.001, -0.001)])))
    assert weights[0] > 0 == weights[1]


def test_a_wild_market_is_held_less_so_that_its_volatility_is_the_target():
    returns = np.column_stack([moves(0.03, 0.003), moves(0.03, 0.003)])
    weights = act(view_of(returns))
    volatility_annual = (returns[-21:] @ weights).std() * np.sqrt(YEAR)
    assert weights.sum() < 1
    assert abs(volatility_annual - TARGET_ANNUAL) < 1e-9


def test_nothing_is_borrowed_in_a_calm_market():
    assert act(view_of(np.column_stack([moves(1e-5, 0.001)] * 3))).sum() <= 1 + 1e-12


def test_a_symbol_without_a_history_gets_nothing():
    returns = np.column_stack([moves(0.001, 0.001), moves(0.001, 0.001)])
    returns[0, 1] = np.nan
    assert act(view_of(returns))[1] == 0
