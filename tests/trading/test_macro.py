"""Dated values by session, and the history of series: a row a sample, given out by name, kept over a restart."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.trading.macro import (
    Available,
    DatedValues,
    MacroHistory,
    RepeatedDate,
    dated_values,
    on_sessions,
    series_columns,
)
from quantd.trading.sessions import DAY_NS

ROWS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.one_of(st.just(math.nan), st.floats(-1e6, 1e6))), max_size=12)


@given(rows=ROWS, more=ROWS, lookback=st.integers(1, 8))
def test_it_holds_the_newest_samples_and_the_same_after_a_restart(
    rows: list[tuple[float, float]], more: list[tuple[float, float]], lookback: int
) -> None:
    straight, restarted = MacroHistory(("vix", "rate"), lookback), MacroHistory(("vix", "rate"), lookback)
    for row in rows:
        straight.sample(row)
        restarted.sample(row)
    again = MacroHistory(("vix", "rate"), lookback)
    again.thaw(restarted.freeze())
    for row in more:
        straight.sample(row)
        again.sample(row)
    expected = ([(math.nan, math.nan)] * lookback + rows + more)[-lookback:]
    for place, name in enumerate(("vix", "rate")):
        for k in range(1, lookback + 1):
            values = straight.known(name, k)
            np.testing.assert_array_equal(values, [row[place] for row in expected[-k:]])
            np.testing.assert_array_equal(again.known(name, k), values)


def test_what_was_given_out_stays_as_it_was_and_cannot_be_written() -> None:
    history = MacroHistory(("vix",), 3)
    history.sample((1.0,))
    given_out = history.known("vix", 2)
    history.sample((2.0,))
    assert given_out[1] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        given_out[1] = 5.0


def test_a_series_that_is_new_after_a_restart_begins_with_nothing_and_the_others_go_on() -> None:
    one = MacroHistory(("vix", "rate"), 3)
    one.sample((1.0, 7.0))
    other = MacroHistory(("rate", "oil"), 4)
    other.thaw(one.freeze())
    assert other.known("rate", 4).tolist()[-1] == 7.0
    assert np.isnan(other.known("oil", 4)).all()


def test_what_there_is_not_is_named() -> None:
    history = MacroHistory(("vix",), 3)
    with pytest.raises(ValueError, match=r"macro\('vxi'\): \[feed\] macro has vix"):
        history.known("vxi", 1)
    with pytest.raises(ValueError, match="k must be between 1 and 3"):
        history.known("vix", 4)


def test_a_tick_without_values_is_nothing_known() -> None:
    history = MacroHistory(("vix",), 2)
    history.sample((3.0,))
    history.sample(())
    assert history.known("vix", 2)[0] == 3.0
    assert math.isnan(history.known("vix", 2)[1])


DAYS = np.arange(1, 60) * DAY_NS
SESSIONS = DAYS[(DAYS // DAY_NS + 3) % 7 < 5]
"""Weekdays: day 4 is a Monday."""

DATED_ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 8), st.floats(-9, 9) | st.just(math.nan)),
    max_size=30,
    unique_by=lambda row: row[:3],
)


def placed(rows: list[tuple[int, int, int, float]]) -> DatedValues:
    """Values of rows (column, date, days until its publication, value)."""
    columns, days, late, values = (np.array(column) for column in zip(*rows, strict=True))
    return dated_values(columns, days * DAY_NS, values.astype(np.float64), (days + late) * DAY_NS)


@given(DATED_ROWS.filter(bool), st.sampled_from(["next_open", "close"]), st.integers(0, 12))
def test_each_session_has_the_newest_value_that_was_published_before_it(
    rows: list[tuple[int, int, int, float]], available: Available, valid_days: int
) -> None:
    table = on_sessions(placed(rows), 3, SESSIONS, available, valid_days).at_closes()
    for t, today in enumerate((SESSIONS // DAY_NS).tolist()):
        for column in range(3):
            publications = [
                (day, day + late, value)
                for place, day, late, value in rows
                if place == column and not math.isnan(value) and day + late <= today - (available == "next_open")
            ]
            expected = math.nan
            if publications:
                _, published, expected = max(publications)  # of the newest date the newest publication
                since = next(s for s in (SESSIONS // DAY_NS).tolist() if s >= published + (available == "next_open"))
                begun = published if published < SESSIONS[0] // DAY_NS else since
                if valid_days and today - begun > valid_days:
                    expected = math.nan
            np.testing.assert_equal(table[t, column], expected)


def test_two_rows_of_one_date_and_publication_are_refused() -> None:
    days = np.array([1, 2, 1]) * DAY_NS
    assert len(dated_values(np.array([0, 0, 1]), days, np.ones(3)).values) == 3
    with pytest.raises(RepeatedDate) as error:
        dated_values(np.array([0, 0, 0]), days, np.ones(3))
    assert error.value.row == 2


def test_no_row_is_no_value() -> None:
    none = np.array([], dtype=np.int64)
    table = on_sessions(dated_values(none, none, np.array([])), 2, SESSIONS).at_closes()
    assert table.shape == (len(SESSIONS), 2)
    assert np.isnan(table).all()


def test_a_series_per_symbol_has_a_column_for_each_symbol_that_is_asked_for() -> None:
    history = MacroHistory(("vix", *series_columns("esg", ("A", "B"))), 3)
    history.sample((20.0, 1.0, 2.0))
    history.sample((21.0, 3.0, math.nan))
    np.testing.assert_array_equal(history.series("esg", ("B", "A"), 2), [[2.0, 1.0], [math.nan, 3.0]])
    again = MacroHistory(history.names, 3)
    again.thaw(history.freeze())
    np.testing.assert_array_equal(again.rows, history.rows)
    with pytest.raises(ValueError, match=r"series\('mood'\): \[feed\] series has esg$"):
        history.series("mood", ("A",), 1)
    with pytest.raises(ValueError, match=r"macro\('esg'\): \[feed\] macro has vix$"):
        history.known("esg", 1)
    with pytest.raises(ValueError, match=r"series\('esg', 4\): k must be between 1 and 3"):
        history.series("esg", ("A",), 4)
    with pytest.raises(ValueError, match="read-only"):
        history.series("esg", ("A",), 1)[0, 0] = 1.0
