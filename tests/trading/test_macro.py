"""The history of macro series: a row a sample, given out by name, kept over a restart."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.trading.macro import MacroHistory

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
            found = straight.known(name, k)
            np.testing.assert_array_equal(found, [row[place] for row in expected[-k:]])
            np.testing.assert_array_equal(again.known(name, k), found)


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
    with pytest.raises(ValueError, match="between 1 and 3 samples are kept"):
        history.known("vix", 4)


def test_a_tick_without_values_is_nothing_known() -> None:
    history = MacroHistory(("vix",), 2)
    history.sample((3.0,))
    history.sample(())
    assert history.known("vix", 2)[0] == 3.0
    assert math.isnan(history.known("vix", 2)[1])
