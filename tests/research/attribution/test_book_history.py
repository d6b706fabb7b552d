"""A history refuses what cannot be attributed, and is cut, reordered and valued by name."""

from dataclasses import replace

import numpy as np
import pytest

from quantd.research.attribution.book_history import Actions, Trades
from tests.support.book_histories import idle, real_history, reordered, three_trades


def test_asset_returns_hold_splits_and_dividends() -> None:
    # AAA in interval 2: a share of 104 became 2 of 51 and a dividend of 1
    expected = [[0.04, 0.0], [(2 * 51.0 + 1.0) / 104.0 - 1.0, -0.04], [55.0 / 51.0 - 1.0, 47.0 / 48.0 - 1.0]]
    np.testing.assert_allclose(three_trades().asset_returns(), expected, rtol=1e-12, atol=1e-15)


def test_a_delisting_returns_its_payment_and_a_missing_price_returns_nothing() -> None:
    history = replace(idle(), actions=Actions.of([(2, 0, 0.0, 5.5)]))
    marks = history.mark.copy()
    marks[2:, 0] = np.nan
    returns = replace(history, mark=marks).asset_returns()
    np.testing.assert_allclose(returns, [[0.1, 0.0], [-0.5, 0.0], [0.0, 0.0]])


def test_weights_are_values_over_equity() -> None:
    np.testing.assert_allclose(
        three_trades().weights(),
        [[0.0, 0.0], [2_080 / 10_048, 0.0], [2_040 / 11_063, -1_920 / 11_063], [0.0, -1_880 / 11_143.5]],
        rtol=1e-12, atol=1e-15,
    )  # fmt: skip


def test_a_period_has_the_rows_of_its_intervals_only() -> None:
    history = three_trades()
    days = history.days_ns
    period = history.between(int(days[1]), int(days[2]))
    assert period.intervals == 1
    assert period.trades.interval.tolist() == [1]
    assert period.trades.quantity.tolist() == [-40.0]
    assert period.bookings.amount.tolist() == [20.0]
    assert period.actions.interval.tolist() == [1, 1]
    assert period.equity.tolist() == [10_048.0, 11_063.0]
    assert history.trades.interval.tolist() == [1, 2, 3]  # the whole history is unchanged
    assert history.between(int(days[2]), int(days[2])).intervals == 0
    with pytest.raises(ValueError, match="no sample lies in the period"):
        history.between(0, 1)


def test_an_order_of_columns_changes_no_figure_by_name() -> None:
    history, _ = real_history()
    order = ("SPY", "AAPL", "QQQ", "BAC", "IWM")
    permutation = reordered(history, order)
    assert permutation.symbols == order
    back = reordered(permutation, history.symbols)
    np.testing.assert_array_equal(back.quantity, history.quantity)
    np.testing.assert_array_equal(back.trades.symbol, history.trades.symbol)
    np.testing.assert_array_equal(back.bookings.symbol, history.bookings.symbol)
    assert permutation.row_of({"QQQ": 0.3, "SPY": 0.1}).tolist() == [0.1, 0.0, 0.3, 0.0, 0.0]
    with pytest.raises(ValueError, match="GLD: not in the universe"):
        permutation.row_of({"GLD": 1.0})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mark": np.full((4, 2), np.nan)}, "positions without a price in AAA, BBB"),
        ({"mark": np.ones((4, 3))}, "mark has the shape"),
        ({"symbols": ("AAA", "AAA")}, "occurs twice"),
        ({"symbols": ("AAA", "cash")}, "no symbol may be named 'cash'"),
        ({"trades": Trades.of([(4, 0, 0, 1.0, 1.0, 1.0, 1.0, 0.0, False)])}, "outside the intervals 1 to 3"),
        ({"days_ns": np.empty(0, dtype=np.int64)}, "at least one sample"),
    ],
)
def test_a_history_that_cannot_be_attributed_is_refused(changes, text) -> None:
    with pytest.raises(ValueError, match=text):
        replace(three_trades(), **changes)
