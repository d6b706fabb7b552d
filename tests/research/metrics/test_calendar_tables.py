"""Calendar returns against pandas, and by hand where months and years change."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.research.metrics.calendar_tables import PeriodReturn, annual_returns, monthly_returns
from quantd.trading.statistics import total_return
from tests.support.examples import examples
from tests.support.metric_references import World, bars_record, random_record, record_of


@given(seed=st.integers(0, 10_000), samples=st.integers(1, 900))
@settings(max_examples=examples(100), deadline=None)
def test_months_and_years_compound_to_the_total_return(seed: int, samples: int) -> None:
    record = random_record(seed, samples)
    assert record.benchmark is not None
    for table in (monthly_returns(record), annual_returns(record)):
        growth = np.prod([1.0 + row.total_return for row in table])
        assert growth == pytest.approx(1.0 + total_return(record.wealth), rel=1e-9)
        other = np.prod([1.0 + row.benchmark for row in table if row.benchmark is not None])
        assert other == pytest.approx(1.0 + total_return(record.benchmark), rel=1e-9)
        assert sum(row.samples for row in table) == record.samples


def test_each_month_and_year_of_recorded_bars_is_that_of_pandas() -> None:
    record = bars_record("SPY", "IWM")
    world = World(record)
    for table, keys in (
        (monthly_returns(record), [world.index.year, world.index.month]),
        (annual_returns(record), [world.index.year]),
    ):
        expected = (1.0 + world.r).groupby(keys).prod() - 1.0
        returns = {(e.year, e.month) if e.month else e.year: e.total_return for e in table}
        assert list(returns) == expected.index.tolist()
        assert list(returns.values()) == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-12)


def test_a_return_belongs_to_the_month_in_which_it_ends() -> None:
    days = pd.DatetimeIndex(["1969-12-30", "1969-12-31", "1970-01-02", "1970-01-30", "1970-03-02"])
    record = record_of([100.0, 110.0, 121.0, 99.0, 198.0], days=days, benchmark=np.array([1.0, 2.0, 2.0, 1.0, 4.0]))
    months = monthly_returns(record)
    assert [(month.year, month.month, month.samples, month.benchmark) for month in months] == [
        (1969, 12, 1, 1.0),
        (1970, 1, 2, -0.5),
        (1970, 3, 1, 3.0),
    ]
    assert [month.total_return for month in months] == pytest.approx([0.1, -0.1, 1.0], rel=1e-12)
    assert annual_returns(record) == (
        PeriodReturn(1969, None, pytest.approx(0.1), 1, 1.0),
        PeriodReturn(1970, None, pytest.approx(0.8), 3, 1.0),
    )


def test_a_record_without_a_return_has_empty_tables_and_one_without_a_benchmark_no_column_for_it() -> None:
    assert monthly_returns(record_of([100.0])) == annual_returns(record_of([100.0])) == ()
    assert {month.benchmark for month in monthly_returns(record_of([100.0, 101.0]))} == {None}
