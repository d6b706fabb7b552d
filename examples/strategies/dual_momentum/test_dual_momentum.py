"""What the policy promises. Run it: python -m pytest examples/strategies/dual_momentum"""

from types import SimpleNamespace

import numpy as np
from policy import LOOKBACK, act

SYMBOLS = ("SPY", "AAPL", "QQQ", "IWM")


def view_of(*daily):
    returns = np.tile(daily, (LOOKBACK, 1))
    return SimpleNamespace(returns=lambda k: returns[-k:], universe=SimpleNamespace(symbols=SYMBOLS))


def test_the_best_fund_has_the_whole_book():
    assert act(view_of(0.001, 0.009, 0.002, 0.0)).tolist() == [0.0, 0.0, 1.0, 0.0]


def test_a_year_below_the_hurdle_is_spent_in_cash():
    assert act(view_of(-0.001, 0.009, 0.00007, -0.002)).sum() == 0


def test_a_fund_without_a_history_is_not_chosen():
    assert act(view_of(0.001, 0.0, np.nan, 0.0005)).tolist() == [1.0, 0.0, 0.0, 0.0]
