"""Refits follow from the first session, and their bars end an embargo before them."""

from datetime import date

import numpy as np
import pytest

from quantd.research.studies.walk_calendar import Period, Steps, WalkError, refits
from quantd.trading.sessions import DAY_NS, Sessions


def house(first: date, last: date) -> Sessions:
    dates = np.arange(first, last, dtype="datetime64[D]")
    days = tuple((dates[np.is_busday(dates)].astype("datetime64[ns]").astype(np.int64)).tolist())
    opens = tuple(day + 14 * 3600 * 10**9 for day in days)
    return Sessions("XNYS", "UTC", days, opens, tuple(day + DAY_NS for day in days))


DAYS = house(date(2010, 1, 4), date(2016, 7, 1))


def planned(steps: Steps, last: int = -1):
    return refits(steps, DAYS, DAYS.open_ns[0], DAYS.close_ns[last])


def test_an_expanding_walk_refits_each_year_on_all_bars_before_the_embargo():
    calendar = planned(Steps("1y", "expanding", 5))
    assert [refit.day.isoformat() for refit in calendar] == ["2013-01-04", "2014-01-06", "2015-01-05", "2016-01-04"]
    assert [refit.first for refit in calendar] == [None] * 4
    assert calendar[0].last == date(2012, 12, 27)  # five sessions between: 28 and 31 December, 1 to 3 January


def test_without_an_embargo_the_bars_end_at_the_session_before():
    assert planned(Steps("1y", "expanding", 0))[0].last == date(2013, 1, 3)


def test_a_moving_window_has_its_length_at_each_refit():
    calendar = planned(Steps("6mo", "2y", 5))
    assert calendar[0].day == date(2012, 1, 4)
    assert [(refit.first, refit.day) for refit in calendar[1:3]] == [
        (date(2010, 7, 4), date(2012, 7, 4)), (date(2011, 1, 4), date(2013, 1, 4))
    ]  # fmt: skip


def test_later_bars_move_no_refit():
    calendar, part = planned(Steps("3mo", "1y")), planned(Steps("3mo", "1y"), last=900)
    assert part == calendar[: len(part)]
    assert 0 < len(part) < len(calendar)


def test_months_end_on_their_last_day():
    assert Period.of("1mo", "refit").after(date(2015, 1, 31)) == date(2015, 2, 28)
    assert Period.of("1mo", "refit").after(date(2015, 3, 31), -1) == date(2015, 2, 28)
    assert Period.of("4w", "refit").after(date(2015, 12, 20)) == date(2016, 1, 17)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Steps("three years"), "refit 'three years' is not a period; write 3y, 6mo, 4w or 20d"),
        (lambda: Steps("0y"), "refit '0y' is not a period"),
        (lambda: Steps(window="rolling"), "window 'rolling' is no window; write \"expanding\", or a length as 8y"),
        (lambda: Steps(window="8y", first="2y"), "has no effect beside the fixed window"),
        (lambda: Steps(embargo=-1), "embargo -1"),
        (lambda: planned(Steps("1y", "9y")), "the first refit would be 2019-01-04, after the last session 2016-06-30"),
        (lambda: planned(Steps("1mo", "1mo", 40)), "an embargo of 40 sessions leaves no bars"),
        (lambda: Period.of("9999y", "refit").after(date(2015, 1, 1)), "outside the calendar"),
    ],
)
def test_a_mistake_names_the_value_and_the_remedy(make, text):
    with pytest.raises(WalkError) as raised:
        make()
    assert text in str(raised.value)
