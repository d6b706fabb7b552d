"""A price that stands still is no safe one."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.strategies.policies.allocator import moving
from quantd.strategies.policies.inverse_volatility import inverse_deviations
from quantd.strategies.weights.stale_prices import STILL_SAMPLES, standing_still


@given(
    zeros=st.lists(st.booleans(), min_size=1, max_size=40),
    unknown=st.integers(0, 40),
)
def test_it_is_five_in_a_row_now_or_more_than_a_third_of_the_window(zeros: list[bool], unknown: int) -> None:
    column = np.where(zeros, 0.0, 0.01)
    if unknown < len(column):
        column[unknown] = np.nan
    values = column.tolist()
    newest = all(v == 0.0 for v in values[-STILL_SAMPLES:])
    count = values.count(0.0)
    expected = newest or (3 * count > len(values) and count >= 5)
    other = np.full(len(column), 0.01)
    assert standing_still(np.column_stack((column, other))).tolist() == [expected, False]


@pytest.mark.parametrize(("still", "gets"), [(0, True), (4, True), (5, False), (21, False), (22, False), (60, False)])
def test_what_stands_still_gets_no_weight_by_either_measure(still: int, gets: bool) -> None:
    returns = np.random.default_rng(3).normal(0.0, 0.01, (63, 2))
    returns[63 - still :, 0] = 0.0
    assert (inverse_deviations(returns) > 0.0).tolist() == [gets, True]
    assert moving(returns).tolist() == [gets, True]


@pytest.mark.parametrize(("stood", "gets"), [(21, True), (22, False)])
def test_what_trades_again_waits_until_two_thirds_of_the_window_are_real(stood: int, gets: bool) -> None:
    returns = np.random.default_rng(3).normal(0.0, 0.01, (63, 1))
    returns[20 : 20 + stood] = 0.0
    assert (inverse_deviations(returns) > 0.0).tolist() == [gets]


def test_the_recorded_gap_of_qqq_gets_nothing_and_no_recorded_price_stands_still_by_itself() -> None:
    table = (
        pl.read_parquet("data/us_daily.parquet", columns=["ts", "symbol", "close"])
        .pivot(on="symbol", index="ts", values="close")
        .sort("ts")
    )
    days = table["ts"].dt.date().cast(pl.String).to_list()
    symbols = table.columns[1:]
    close = table.drop("ts").fill_null(strategy="forward").to_numpy()
    returns = close[1:] / close[:-1] - 1.0
    still_days: dict[str, set[str]] = {}
    for last in range(63, len(returns)):
        for column in np.flatnonzero(standing_still(returns[last - 63 : last])).tolist():
            still_days.setdefault(symbols[column], set()).add(days[last])
    assert set(still_days) == {"QQQ"}
    assert "2004-11-30" not in still_days["QQQ"]
    assert {"2005-01-03", "2008-10-10", "2011-03-01"} <= still_days["QQQ"]
    assert "2011-06-30" not in still_days["QQQ"]
