"""The limit on what is held: the share of risk diversified away, where it can be known."""

import numpy as np
import pytest

from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.context import Context
from quantd.risk.limits.values import held_values
from quantd.risk.measures.diversification import diversification
from tests.support.risk_books import make_context

ROWS = 80
LIMITS = Limits(min_diversification=0.3, min_history=60, volatility_lookback=ROWS)
PX = np.array([100.0, 50.0, 10.0])


def returns(rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(7).normal(0.0, [0.01, 0.02, 0.03], (rows, 3))


def market(rows: np.ndarray) -> Context:
    return make_context(PX, rows, ["A", "B", "C"])


def account(lots: list[float], equity: float = 100_000.0) -> Account:
    return Account(lots=np.array(lots), cash=0.0, equity=equity)


def test_the_value_is_that_of_the_weights_held_and_their_covariance() -> None:
    rows, lots = returns(), np.array([300.0, -400.0, 0.0])
    weights = lots[:2] * PX[:2] / 50_000.0
    expected = diversification(weights, np.cov(rows[:, :2].T))
    assert 0.1 < expected < 0.5
    measured = held_values(market(rows), account(lots.tolist(), 50_000.0), LIMITS)
    assert measured == {"min_diversification": (pytest.approx(expected, rel=1e-9), 0.3)}


def test_one_position_takes_no_risk_away() -> None:
    assert held_values(market(returns()), account([0.0, 10.0, 0.0]), LIMITS) == {"min_diversification": (0.0, 0.3)}


@pytest.mark.parametrize("equity", [0.0, -1.0, float("nan")])
def test_without_an_equity_nothing_is_measured(equity: float) -> None:
    assert held_values(market(returns()), account([10.0, 10.0, 0.0], equity), LIMITS) == {}
    assert held_values(market(returns()), account([10.0, 10.0, 0.0], 0.5), LIMITS) != {}


def test_without_the_limit_or_a_position_nothing_is_measured() -> None:
    assert held_values(market(returns()), account([10.0, 10.0, 0.0]), Limits()) == {}
    assert held_values(market(returns()), account([0.0, 0.0, 0.0]), LIMITS) == {}


def test_too_short_a_history_of_what_is_held_is_no_measure_and_of_another_does_not_matter() -> None:
    assert held_values(market(returns(59)), account([10.0, 10.0, 0.0]), LIMITS) == {}
    assert held_values(market(returns(60)), account([10.0, 10.0, 0.0]), LIMITS) != {}
    rows = returns()
    rows[:30, 2] = np.nan
    assert held_values(market(rows), account([10.0, 10.0, 5.0]), LIMITS) == {}
    expected = diversification(np.array([1_000.0, 500.0]), np.cov(rows[:, :2].T))
    assert held_values(market(rows), account([10.0, 10.0, 0.0]), LIMITS) == {
        "min_diversification": (pytest.approx(expected), 0.3)
    }


def test_rows_that_are_not_synchronous_do_not_count() -> None:
    rows = returns()
    # each has 69 returns, both together 58 of 80, or 60
    rows[:11, 0] = rows[-11:, 1] = np.nan
    assert held_values(market(rows), account([10.0, 10.0, 0.0]), LIMITS) == {}
    rows = returns()
    rows[:10, 0] = rows[-10:, 1] = np.nan
    expected = diversification(np.array([1_000.0, 500.0]), np.cov(rows[10:-10, :2].T))
    assert held_values(market(rows), account([10.0, 10.0, 0.0]), LIMITS) == {
        "min_diversification": (pytest.approx(expected), 0.3)
    }


def test_what_never_moved_has_no_measure() -> None:
    assert held_values(market(np.zeros((ROWS, 3))), account([10.0, 10.0, 0.0]), LIMITS) == {}
