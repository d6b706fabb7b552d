"""Returns in percent are recognised, and fractions of real and of wild assets are not taken for them."""

import numpy as np
import pytest

from quantd import example_bars
from quantd.research.metrics.percent import percent_shape

SPY = example_bars().filter(symbol="SPY")["close"].to_numpy()


def returns(step: int) -> np.ndarray:
    prices = SPY[::step]
    return prices[1:] / prices[:-1] - 1.0


@pytest.mark.parametrize(("step", "periods"), [(1, 252.0), (5, 52.0), (21, 12.0)])
def test_real_returns_are_fractions_and_a_hundred_times_them_are_not(step, periods):
    assert percent_shape(returns(step), periods) == ""
    assert percent_shape(100.0 * returns(step), periods) != ""


def test_a_quiet_fund_in_percent_is_known_by_its_growth():
    fund = np.random.default_rng(1).normal(0.5, 0.15, 36)
    assert "times the capital in a year" in percent_shape(fund, 12.0)
    assert "times the capital in a year" in percent_shape(np.append(fund, np.nan), 12.0)
    assert percent_shape(fund / 100.0, 12.0) == ""


def test_a_wild_coin_and_a_look_ahead_are_fractions():
    draw = np.random.default_rng(2)
    assert percent_shape(draw.normal(0.0, 3.0 / np.sqrt(365.0), 500), 365.0) == ""  # 300 % volatility a year
    assert percent_shape(draw.normal(0.01, 0.02, 500), 252.0) == ""  # 12 times the capital a year
    assert percent_shape(np.array([0.1, 0.9, -0.5]), 252.0) == ""


def test_few_returns_beyond_one_are_in_percent():
    assert percent_shape(np.array([2.0, 3.0, -0.5]), 12.0) == "2 of 3 returns are beyond -1 and 1, that is 100 %"
