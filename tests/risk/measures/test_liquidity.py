"""Days to unwind against a book sold day by day."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.risk.measures.liquidity import book_days, unwind_days

positions = st.lists(
    st.tuples(st.integers(-1_000, 1_000), st.integers(1, 10_000), st.floats(1.0, 500.0)), min_size=1, max_size=8
)


def test_days_are_the_position_over_our_share_of_the_volume() -> None:
    days = unwind_days(np.array([1_000.0, -500.0, 0.0]), np.array([5_000.0, 500.0, 10.0]), 0.1)
    np.testing.assert_allclose(days, [2.0, 10.0, 0.0])


@pytest.mark.parametrize("volume", [math.nan, 0.0, -1.0])
def test_a_held_position_without_a_known_volume_has_no_days(volume: float) -> None:
    days = unwind_days(np.array([10.0, 0.0]), np.array([volume, volume]))
    assert math.isnan(days[0])
    assert days[1] == 0.0
    assert all(math.isnan(d) for d in book_days(np.array([10.0, 0.0]), days))


@given(positions, st.floats(0.01, 1.0))
def test_the_book_is_unwound_when_selling_day_by_day_says_so(book: list[tuple[int, int, float]], share: float) -> None:
    lots = np.array([float(b[0]) for b in book])
    days = unwind_days(lots, np.array([float(b[1]) for b in book]), 0.1)
    values = lots * np.array([b[2] for b in book])
    total = np.abs(values).sum()
    (days_needed,) = book_days(values, days, [share])
    if total == 0.0:
        assert days_needed == 0.0
        return

    def sold(at: float) -> float:
        part = np.divide(at, days, out=np.ones_like(days), where=days > 0.0)
        return float((np.abs(values) * np.minimum(part, 1.0)).sum())

    assert sold(days_needed) == pytest.approx(share * total, rel=1e-6)
    assert days_needed == 0.0 or sold(days_needed * 0.999) < share * total


def test_unless_set_we_are_a_tenth_of_the_volume_and_half_most_and_all_of_the_book_are_told() -> None:
    days = unwind_days(np.array([100.0, 1.0]), np.array([1_000.0, 10.0]))
    np.testing.assert_allclose(days, [1.0, 1.0])
    np.testing.assert_allclose(book_days(np.array([50.0, 50.0]), days), [0.5, 0.9, 1.0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_position_without_a_value_leaves_the_book_without_an_answer(value: float) -> None:
    assert all(math.isnan(d) for d in book_days(np.array([value, 10.0]), np.array([1.0, 2.0])))


def test_the_whole_book_is_sold_with_its_slowest_position_however_small_that_is() -> None:
    # by interpolation the rounding of 14 tenths is worth more than the last position
    values, days = np.append(np.full(14, 0.1), 1e-15), np.append(np.ones(14), 1_000.0)
    assert book_days(values, days)[-1] == 1_000.0
