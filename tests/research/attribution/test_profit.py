"""Profit by interval, book, symbol and kind: worked by hand, and equal to the change of equity in real backtests."""

import numpy as np
import pytest

from quantd.research.attribution.profit import KINDS, profit, residual
from tests.support.book_histories import (
    idle,
    real_history,
    three_trades,
)

PARTS = {
    # interval 1, AAA: bought 20 decided at 100, bar opened at 101, filled at 101.50, close 104, fee 2
    (0, "trend", "AAA", "holding"): 80.0,  # 20 x (104 - 100)
    (0, "trend", "AAA", "timing"): -20.0,  # 20 x (100 - 101)
    (0, "trend", "AAA", "slippage"): -10.0,  # 20 x (101 - 101.50)
    (0, "trend", "AAA", "commission"): -2.0,
    # interval 2, AAA: dividend of 1 on 20 old shares, then 2:1; 40 x 51 - 20 x 104
    (1, "trend", "AAA", "holding"): -40.0,
    (1, "trend", "AAA", "dividend"): 20.0,
    # interval 2, BBB: sold 40 decided at 50, opened at 49, filled at 48.90, close 48, fee 1
    (1, "value", "BBB", "holding"): 80.0,  # -40 x (48 - 50)
    (1, "value", "BBB", "timing"): -40.0,  # -40 x (50 - 49)
    (1, "value", "BBB", "slippage"): -4.0,  # -40 x (49 - 48.90)
    (1, "value", "BBB", "commission"): -1.0,
    # interval 3, AAA: sold 40 decided at 51, opened and filled at 52, fee 2; BBB from 48 to 47
    (2, "trend", "AAA", "timing"): 40.0,  # -40 x (51 - 52)
    (2, "trend", "AAA", "commission"): -2.0,
    (2, "value", "BBB", "holding"): 40.0,  # -40 x (47 - 48)
    (2, "value", "BBB", "borrow"): -0.5,
    (2, "value", "cash", "interest"): 3.0,
}


def test_three_trades_have_the_profit_worked_by_hand() -> None:
    history = three_trades()
    profits = profit(history).summed("interval", "agent", "symbol", "kind")
    expected = np.zeros((3, 2, 3, len(KINDS)))
    names = (*history.symbols, "cash")
    for (interval, agent, symbol, kind), amount in PARTS.items():
        expected[interval, history.agents.index(agent), names.index(symbol), KINDS.index(kind)] = amount
    np.testing.assert_allclose(profits, expected, rtol=0.0, atol=1e-9)


def test_no_fill_and_an_empty_period_have_no_profit() -> None:
    for samples in (1, 4):
        parts = profit(idle(samples))
        assert parts.summed("interval").tolist() == [0.0] * (samples - 1)
        assert parts.summed("symbol", "kind").shape == (3, len(KINDS))
        assert not parts.summed("symbol", "kind").any()


def test_a_real_backtest_adds_up_in_every_interval_and_every_book() -> None:
    history, _ = real_history()
    # the run has all that can go wrong: shorts, dividends, a split, crosses, deposits, borrow fees and interest
    assert (history.quantity.min(axis=(0, 1)) < 0.0).all()
    assert (history.actions.ratio == 4.0).sum() == 1
    assert (history.actions.ratio == 1.0).sum() > 10
    assert history.trades.crossed.sum() > 100
    assert sorted(set(np.round(np.diff(history.flows)).tolist())) == [-30_000.0, 0.0, 20_000.0, 50_000.0]
    parts = profit(history)
    for kind in KINDS[:-1]:
        assert np.abs(parts.reduced((kind,)).summed()) > 0.0, kind
    assert np.abs(residual(history, parts)).max() < 1e-9 * history.equity.min()
    change = np.diff(history.equity - history.flows)
    assert np.abs(parts.summed("interval") - change).max() < 1e-9 * history.equity.min()


def test_commission_borrow_and_interest_are_those_of_the_record() -> None:
    history, record = real_history()
    kinds = dict(zip(KINDS, profit(history).summed("kind").tolist(), strict=True))
    assert kinds["commission"] == pytest.approx(-record.commission_micro / 1e6, rel=1e-12)
    assert kinds["borrow"] == pytest.approx(-record.borrow_micro / 1e6, rel=1e-12)
    assert kinds["interest"] == pytest.approx(record.interest_micro / 1e6, rel=1e-12)
    np.testing.assert_allclose(history.equity, np.array(record.equity_micro) / 1e6, rtol=1e-14)
