"""A dividend that another one of its symbol contradicts is named, with the amount or the line that is likely right."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.calendars import day_ns
from quantd.adapters.feeds.bars.dividends import dividend_doubts
from quantd.trading.events import Action

START = date(2015, 1, 5)


def paid(day: int, cash: float) -> Action:
    at = day_ns(START + timedelta(days=day))
    return Action(at, at, 0, "dividend", cash_nano=round(cash * 1e9))


def split(day: int, new: int, old: int) -> Action:
    at = day_ns(START + timedelta(days=day))
    return Action(at, at, 0, "split", new, old)


def quarters(*, cash: float = 0.5, count: int = 12) -> list[Action]:
    return [paid(91 * k, cash * 1.02**k) for k in range(count)]


def kinds(dividends: list[Action], splits: list[Action]) -> list[tuple[str, int, Fraction]]:
    dividends = sorted(dividends, key=lambda dividend: dividend.ts)
    doubts = dividend_doubts(dividends, splits)
    return [(doubt.kind, dividends.index(doubt.action), doubt.factor) for doubt in doubts]


@pytest.mark.parametrize("days", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("ratio", [1.0, 0.93, 1.078, 1.2])
def test_a_dividend_that_comes_again_within_a_week_repeats_the_first(days: int, ratio: float) -> None:
    dividends = [*quarters(), paid(91 * 5 + days, 0.5 * 1.02**5 * ratio)]
    assert kinds(dividends, []) == [("repeated", 6, Fraction(0))]


@pytest.mark.parametrize("at", [0, 4, 11])
def test_a_hundredth_of_another_dividend_is_in_another_unit_and_so_is_a_hundred_times(at: int) -> None:
    level = [paid(91 * k, 0.01375) for k in range(12)]
    small, large = list(level), list(level)
    small[at], large[at] = paid(91 * at, 0.0001375), paid(91 * at, 1.375)
    assert kinds(small, []) == [("unit", at, Fraction(100))]
    assert kinds(large, []) == [("unit", at, Fraction(1, 100))]


def test_a_dividend_of_the_day_of_a_split_that_fits_the_one_before_only_after_it_is_named() -> None:
    new_share = [*quarters(count=5), paid(500, 0.5 * 1.02**5 / 4)]
    assert kinds(new_share, [split(500, 4, 1)]) == [("unit", 5, Fraction(4))]
    old_share = [*quarters(count=5), paid(500, 0.5 * 1.02**5)]
    assert kinds(old_share, [split(500, 4, 1)]) == []


@given(
    st.lists(st.floats(0.4, 2.5), min_size=2, max_size=40), st.integers(13, 100), st.floats(0.001, 20.0)
)  # fmt: skip
def test_dividends_that_vary_by_a_few_times_and_are_two_weeks_apart_are_never_in_doubt(
    sizes: list[float], spacing_days: int, cash: float
) -> None:
    assert kinds([paid(spacing_days * k, max(cash * size, 1e-6)) for k, size in enumerate(sizes)], []) == []
