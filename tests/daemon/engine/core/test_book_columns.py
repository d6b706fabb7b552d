"""The marks of losses and the growth of a book are those of its switch and of its realised returns."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.risk.limits.catalogue import Limits
from quantd.risk.monitor.realised import Realised
from quantd.risk.switch import Switch
from quantd.risk.switch import observe as observe_switch
from quantd.trading.sessions import DAY_NS

MONDAY = 4 + 7 * 2_000
"""Days since 1970 of a Monday."""

NEAR = 1 / 1024


def week_of(day: int) -> int:
    return (day + 3) // 7


def book_of(value: int = 100, day: int = MONDAY) -> BookColumns:
    """A book after a first sample, without a loss limit."""
    book = BookColumns(2)
    book.peak = book.day_open = book.week_open = book.last = value
    book.day, book.week = day, week_of(day)
    book.low[:], book.high[:] = wide()
    return book


def wide() -> tuple[memoryview, memoryview]:
    sides = BookColumns(1)
    for k in range(3):
        sides.low[k], sides.high[k] = -inf, inf
    return sides.low, sides.high


def bands(value: float) -> list[tuple[float, float]]:
    """Bands that a value is in, at an edge of, and beyond."""
    near = max(NEAR * abs(value), NEAR**3)
    edges = [-inf, value - near, value, value + near, inf]
    return [(low, high) for low in edges for high in edges if low < high]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(80, 120)), min_size=1, max_size=12))
def test_marks_are_those_of_a_switch_and_losses_keep_their_bands(steps: list[tuple[int, int]]) -> None:
    """The equity of each sample is marked after some days."""
    day = MONDAY + 5
    book, switch = book_of(100, day), Switch(high_water=100)
    observe_switch(switch, 100, day * DAY_NS, Limits())
    days, values = [day], [100]
    for later, value in steps:
        day += later
        before = [k for k, each in enumerate(days) if each < day]
        week = [k for k, each in enumerate(days) if (each - MONDAY) // 7 < (day - MONDAY) // 7]
        days.append(day)
        values.append(value)
        opened, began = values[before[-1]] if before else 100, values[week[-1]] if week else 100
        losses = [max(0.0, 1.0 - value / each) for each in (max(values), opened, began)]
        for k, loss in enumerate(losses):
            for low, high in bands(loss):
                book.low[:], book.high[:] = wide()
                book.low[k], book.high[k] = low, high
                assert book.calm(value, day, week_of(day)) is (low < loss < high)
        book.observe(value, day, week_of(day))
        observe_switch(switch, value, day * DAY_NS, Limits())
        marks = book.peak, book.day_open, book.week_open, book.day, book.week, book.last
        assert marks == (max(values), opened, began, day, week_of(day), value)
        assert marks == (
            switch.high_water, switch.day_open, switch.week_open, switch.day_key, switch.week_key, switch.last
        )  # fmt: skip
        assert book.micro == value


@pytest.mark.parametrize("opening", ["day_open", "week_open"])
@pytest.mark.parametrize("value", [0, 1, -5])
def test_a_loss_since_an_opening_that_is_not_positive_is_left_to_the_engine(opening: str, value: int) -> None:
    book = book_of()
    setattr(book, opening, value)
    assert book.calm(90, MONDAY, week_of(MONDAY)) is (value > 0)


@given(st.lists(st.integers(1, 10**15), min_size=1, max_size=8), st.integers(0, 10**12))
def test_growth_is_that_of_realised_returns(values: list[int], deposit: int) -> None:
    flows, realised, book = 10**12, Realised(), book_of()
    realised.add(values[0], flows)
    flows += deposit
    book.grown, book.equity, book.flows = realised.basis(flows)
    for value in values[1:]:
        realised.add(value, flows)
        book.observe(value, MONDAY, week_of(MONDAY))
        assert (book.grown, book.equity, book.flows) == realised.basis(flows)
