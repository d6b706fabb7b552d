"""The columns of a book move its switch and its realised returns as the engine does."""

from math import inf

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.engine.core.book_columns import CALM, CROSSES, TRIPS, BookColumns
from quantd.risk.limits.catalogue import Limits
from quantd.risk.monitor.equity_series import KEPT
from quantd.risk.monitor.levels import band, floor_band, level, share_of
from quantd.risk.monitor.realised import Realised
from quantd.risk.switch_state import Switch
from quantd.trading.ledger.book import Book

MONDAY = 4 + 7 * 2_000
"""Days since 1970 of a Monday."""

NEAR = 1 / 1024


def week_of(day: int) -> int:
    return (day + 3) // 7


def book_of(value: int = 100, day: int = MONDAY) -> BookColumns:
    """A book after a first sample, without a loss limit."""
    book = BookColumns(2)
    book.book, book.marks = Book(2), Switch()
    book.marks.mark(value, day, week_of(day))
    book.low[:], book.high[:] = wide()
    book.moves_at[:] = book.high
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
def test_the_switch_has_the_marks_of_each_sample_and_losses_keep_their_bands(steps: list[tuple[int, int]]) -> None:
    """The equity of each sample is marked after some days."""
    day = MONDAY + 5
    book = book_of(100, day)
    days, values = [day], [100]
    for later, value in steps:
        day += later
        before = [k for k, marked_day in enumerate(days) if marked_day < day]
        week = [k for k, marked_day in enumerate(days) if (marked_day - MONDAY) // 7 < (day - MONDAY) // 7]
        days.append(day)
        values.append(value)
        opened, began = values[before[-1]] if before else 100, values[week[-1]] if week else 100
        losses = [max(0.0, 1.0 - value / reference) for reference in (max(values), opened, began)]
        for k, loss in enumerate(losses):
            for low, high in bands(loss):
                book.low[:], book.high[:] = wide()
                book.low[k], book.high[k] = low, high
                keeps = low < loss < high
                assert book.losses(value, day, week_of(day)) == (CALM if keeps else CROSSES)
                book.moves_at[k] = high
                assert book.losses(value, day, week_of(day)) == (TRIPS if loss >= high else CALM if keeps else CROSSES)
                book.moves_at[k] = inf
        book.observe(value, day, week_of(day))
        marks = book.marks
        assert (marks.high_water, marks.day_open, marks.week_open) == (max(values), opened, began)
        assert (marks.day_key, marks.week_key, marks.last) == (day, week_of(day), value)
        assert book.micro == value


@given(st.lists(st.integers(1, 10**15), min_size=1, max_size=8), st.integers(0, 10**12), st.booleans())
def test_an_observed_equity_is_added_to_the_returns_of_a_watched_book(
    values: list[int], deposit: int, rated: bool
) -> None:
    """A deposit precedes the first; cash may have had a rate until then."""
    single, book = Realised(), book_of()
    single.add(values[0], 10**12, 0.001 if rated else None)
    book.returns = returns = single.copy()
    book.book.flows_micro = 10**12 + deposit
    for value in values[1:] * (KEPT // 2):
        single.add(value, 10**12 + deposit)
        book.observe(value, MONDAY, week_of(MONDAY))
        assert returns.growth == single.growth
    assert returns.freeze() == single.freeze()


@given(
    st.floats(0.05, 0.5), st.floats(0.0, 2.0), st.integers(0, 3), st.integers(0, 3), st.integers(0, 200),
    st.integers(0, 9),
)  # fmt: skip
def test_realised_measures_that_keep_their_levels_have_them_by_the_exact_values(
    most: float, least: float, volatile: int, poor: int, samples: int, seed: int
) -> None:
    """And a value in the middle of its band is settled."""
    book, returns = book_of(), Realised()
    moves = np.random.default_rng(seed).normal(0.0002, 0.012, samples)
    for value in np.rint(1e12 * np.cumprod(1.0 + moves)).astype(int).tolist():
        returns.add(value, 0)
    book.returns = returns
    book.volatility_low, book.volatility_high = band("max_realised_volatility", volatile, most)
    book.sharpe_low, book.sharpe_high = floor_band(poor, least)
    before = {"max_realised_volatility": volatile, "min_sharpe": poor}
    values = returns.values(Limits(max_realised_volatility=most, min_sharpe=least))
    after = {key: level(key, share_of(key, *pair), before[key]) for key, pair in values.items()}
    if book.keeps_realised():
        assert all(after[key] == before[key] for key in after)
    elif after:
        edges = (book.volatility_low, book.volatility_high), (book.sharpe_low, book.sharpe_high)
        inside = [low * (1 + 1e-6 * np.sign(low)) < value < high * (1 - 1e-6 * np.sign(high))
                  for (low, high), (value, _) in zip(edges, values.values(), strict=True)]  # fmt: skip
        assert not all(inside)
