"""Return statistics against plain Python from the textbook, and what must not move them."""

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quantd.trading.statistics import (
    SHARPE_DEFINITION,
    annual_return,
    calmar,
    downside_deviation,
    drawdowns,
    performance,
    sharpe,
    simple_returns,
    sortino,
    sum_in_order,
)

GROWTH = st.lists(st.floats(-0.3, 0.3), min_size=3, max_size=60)


def wealth(growth: list[float]) -> np.ndarray:
    return 100.0 * np.cumprod([1.0, *(1.0 + g for g in growth)])


@pytest.mark.requirement("R-153")
@given(GROWTH)
def test_every_figure_is_the_textbooks(growth: list[float]) -> None:
    equity = wealth(growth)
    got = performance(equity)
    returns = [b / a - 1.0 for a, b in pairwise(equity)]
    assert got.total_return == pytest.approx(equity[-1] / equity[0] - 1.0)
    assert got.annual_return == pytest.approx(
        math.exp(math.log(equity[-1] / equity[0]) * 252 / len(returns)) - 1.0, rel=1e-6
    )
    assert got.volatility_annual == pytest.approx(statistics.stdev(returns) * math.sqrt(252), abs=1e-9)
    worst = max(1.0 - b / a for k, a in enumerate(equity) for b in equity[k:])
    assert got.max_drawdown == pytest.approx(worst, abs=1e-12)
    if statistics.stdev(returns) > 1e-6:
        excess = [r - 0.02 / 252 for r in returns]
        expected = statistics.mean(excess) / statistics.stdev(excess) * math.sqrt(252)
        assert got.sharpe == pytest.approx(expected, rel=1e-6, abs=1e-9)
        short = math.sqrt(statistics.mean(min(e, 0.0) ** 2 for e in excess))
        if short > 1e-6:
            sortino = statistics.mean(excess) / short * math.sqrt(252)
            assert got.sortino == pytest.approx(sortino, rel=1e-6, abs=1e-9)


@given(GROWTH, st.floats(0.01, 1e6))
@example([0.0, 0.0, -7.495373267355125e-13], 663683.0)
def test_the_size_of_the_account_changes_nothing(growth: list[float], size: float) -> None:
    one, other = performance(wealth(growth)), performance(wealth(growth) * size)
    assert (one.sortino is None) == (other.sortino is None) or math.isclose(min(growth), 0.02 / 252, rel_tol=1e-6)
    for name in {*one.__struct_fields__} - {"sortino", "sharpe"}:
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-5, abs=1e-9)
    # Both values of wealth and both divisions round by 2^-53 of a ratio of at most 1.3, so that a return differs by at
    # most 5.8e-16 and the deviation of three returns by sqrt(3 / 2) of it, below 1e-15; Sharpe divides by the deviation
    deviation = float(simple_returns(wealth(growth)).std(ddof=1))
    if deviation > 4e-15:
        rounding = 2e-15 / deviation
        assert other.sharpe == pytest.approx(one.sharpe, rel=1e-5 + rounding, abs=1e-9 + math.sqrt(252) * rounding)


def test_sharpe_is_not_of_the_geometric_return_nor_of_another_year() -> None:
    returns = np.array([0.02, -0.01, 0.03, 0.0])
    assert sharpe(returns) == pytest.approx((0.01 - 0.02 / 252) / np.std(returns, ddof=1) * 252**0.5)
    assert sharpe(returns, periods=365) != pytest.approx(sharpe(returns))
    assert "252" in SHARPE_DEFINITION
    assert "2%" in SHARPE_DEFINITION


def test_returns_that_do_not_vary_have_no_sharpe() -> None:
    assert math.isnan(sharpe(np.full(10, 0.001)))
    assert math.isnan(sharpe(np.array([0.01])))


def test_drawdowns_begin_at_zero_and_grow_only_below_a_high() -> None:
    np.testing.assert_allclose(drawdowns(np.array([1.0, 2.0, 1.0, 3.0])), [0.0, 0.0, 0.5, 0.0])


@pytest.mark.parametrize("equity", [[1.0], [1.0, 0.0], [1.0, float("nan")], [1.0, -1.0], [float("inf"), 1.0]])
def test_a_series_that_is_not_wealth_is_refused(equity: list[float]) -> None:
    with pytest.raises(ValueError, match="finite and positive"):
        simple_returns(np.array(equity))


@given(GROWTH)
def test_sortino_and_calmar_are_the_textbooks(growth: list[float]) -> None:
    equity = wealth(growth)
    returns = simple_returns(equity)
    short = math.sqrt(statistics.fmean(min(r - 0.02 / 252, 0.0) ** 2 for r in returns))
    assert downside_deviation(returns) == pytest.approx(short, rel=1e-9)
    if short > 1e-9:
        expected = (statistics.fmean(returns) - 0.02 / 252) / short * math.sqrt(252)
        assert sortino(returns) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    worst = max(1.0 - b / a for k, a in enumerate(equity) for b in equity[k:])
    if worst > 1e-9:
        assert calmar(equity) == pytest.approx(annual_return(equity) / worst, rel=1e-6)


def test_what_never_falls_short_has_no_sortino_and_what_never_falls_no_calmar() -> None:
    rising = np.full(10, 0.01)
    assert math.isnan(sortino(rising))
    assert math.isnan(sortino(np.array([])))
    assert math.isnan(calmar(wealth(list(rising))))


def test_a_sum_in_order_rounds_after_each_number() -> None:
    assert sum_in_order([1e16, *[1.0] * 60]) == 1e16
    assert sum_in_order(0.1 for _ in range(10)) == 0.9999999999999999
    assert str(sum_in_order([-0.0])) == str(sum_in_order([])) == "0.0"
