"""The refits of a walk-forward: the session at which each takes effect, and the bars on which it is fitted.

What can go wrong: new bars move an earlier refit, so that yesterday's walk-forward is not the beginning of today's. So
the dates of refits follow from the beginning of the market alone. Each date is counted from the first refit, not from
the previous one: a date such as the 31st becomes the last day of a shorter month, and a date counted from that day
would never be a 31st again.

A refit at the last close is left out, because its decision has no outcome. An embargo that leaves no bars of a window
is refused.
"""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.trading.exit_codes import USAGE, ExplainedError
from quantd.trading.sessions import Sessions

EXPANDING: Final = "expanding"
"""A window from the first bar to the refit."""

UNITS: Final = {"y": (12, 0), "mo": (1, 0), "w": (0, 7), "d": (0, 1)}
"""Unit of a period -> (months, calendar days)."""

MOST_REFITS: Final = 10_000


class WalkError(ExplainedError, ValueError):
    """A walk-forward that cannot be made; the text names the value and the remedy."""

    exit_code = USAGE


class Period(Struct, frozen=True):
    """A number of calendar months and days."""

    months: int
    days: int

    @classmethod
    def of(cls, text: str, key: str) -> "Period":
        """Read "3y", "6mo", "4w" or "20d". Raises WalkError, whose message names `key`."""
        match = re.fullmatch(r"([1-9]\d{0,4})\s*(y|mo|w|d)", str(text).strip())
        if match is None:
            raise WalkError(f"{key} {text!r} is not a period; write 3y, 6mo, 4w or 20d (years, months, weeks, days)")
        months, days = UNITS[match[2]]
        return cls(int(match[1]) * months, int(match[1]) * days)

    def after(self, day: date, times: int = 1) -> date:
        """Return the date `times` periods after `day`, or earlier than `day` where `times` is negative.

        A day that the month does not have becomes its last day. Raises WalkError for a date outside the calendar.
        """
        year, month = divmod(day.year * 12 + day.month - 1 + self.months * times, 12)
        try:
            moved = _date_in_month(year, month + 1, day.day)
            return moved + timedelta(days=self.days * times)
        except (ValueError, OverflowError):
            raise WalkError(f"{times} periods from {day} end outside the calendar; write a shorter period") from None


def _date_in_month(year: int, month: int, day: int) -> date:
    """Return the date of `day` in a month, or the month's last day where the month has no such day."""
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(day, (following - timedelta(days=1)).day))


class Steps(Struct, frozen=True):
    """How a walk-forward steps through time, as text of the user.

    `refit` is the time between two refits. `window` is "expanding", or the fixed length of a moving window. The last
    `embargo` sessions before each refit are not among the bars of the refit. `first` is the length of the first window
    of an expanding walk-forward; where `first` is empty, the length is 3 years or, if longer, the time between two
    refits. Raises WalkError for a negative embargo, and for `first` together with a window of fixed length.
    """

    refit: str = "3y"
    window: str = EXPANDING
    embargo: int = 5
    first: str = ""

    def __post_init__(self) -> None:
        """Raises WalkError for a wrong period, a negative embargo, and for `first` beside a fixed window."""
        Period.of(self.refit, "refit")
        if self.window != EXPANDING:
            if self.first:
                text = f"first {self.first!r} has no effect beside the fixed window {self.window!r}: leave it out, or"
                raise WalkError(f"{text} write an expanding window")
            _window(self.window)
        elif self.first:
            Period.of(self.first, "first")
        if self.embargo < 0:
            raise WalkError(f"embargo {self.embargo} is negative; write a number of sessions, 0 or more")

    @property
    def beginning(self) -> Period:
        """The length of the first window."""
        if self.window != EXPANDING:
            return _window(self.window)
        if self.first:
            return Period.of(self.first, "first")
        refit, usual = Period.of(self.refit, "refit"), Period.of("3y", "first")
        day = date(2000, 1, 1)  # any date: periods of months and of days are compared from one start
        return max(refit, usual, key=lambda period: period.after(day))


def _window(text: str) -> Period:
    try:
        return Period.of(text, "window")
    except WalkError:
        raise WalkError(f'window {text!r} is no window; write "{EXPANDING}", or a length as 8y') from None


class Refit(Struct, frozen=True):
    """One refit: a policy fitted on the bars from `first` to `last` decides from the session `day` on.

    `number` counts the refits from 0. `first` is None where the window begins with the first bar of the market.
    `opens_ns` is the open of the session `day`, in ns UTC.
    """

    number: int
    day: date
    first: date | None
    last: date
    opens_ns: int


def refits(steps: Steps, calendar: Sessions, start_ns: int, last_ns: int) -> tuple[Refit, ...]:
    """Return the refits of a market that trades from `start_ns` on and has bars up to `last_ns` (both in ns UTC).

    The dates of refits follow from the beginning of the market alone, so that later bars change no date. Raises
    WalkError where the bars are too few for one refit.
    """
    begin = int(np.searchsorted(calendar.opens, start_ns))
    end = int(np.searchsorted(calendar.closes, last_ns, side="right"))
    days = [day_of(ns) for ns in calendar.day_ns[:end]]
    if begin >= end:
        raise WalkError("the bars end before the longest lookback is complete; give earlier bars")
    refit, window, first_window = Period.of(steps.refit, "refit"), steps.window, steps.beginning
    origin = first_window.after(days[begin])
    schedule: list[Refit] = []
    for number in range(MOST_REFITS):
        row = _row(days, refit.after(origin, number))
        if row >= end - 1:  # a decision at the last close has no outcome
            break
        last = row - 1 - steps.embargo
        # a fixed window begins its length before the refit (-1), an expanding one at the first bar (None)
        window_start = None if window == EXPANDING else max(days[begin], first_window.after(days[row], -1))
        if last <= begin or (window_start is not None and days[last] <= window_start):
            raise WalkError(
                f"refit {days[row]}: an embargo of {steps.embargo} sessions leaves no bars of the window; write a "
                "smaller embargo or a longer window"
            )
        if not schedule or schedule[-1].day < days[row]:
            schedule.append(Refit(len(schedule), days[row], window_start, days[last], calendar.open_ns[row]))
    if not schedule:
        raise WalkError(
            f"the first refit would be {origin}, after the last session {days[-1]} of the bars; write a shorter window "
            f"than {steps.first or ('3y' if window == EXPANDING else window)} (--first 1y, --window 2y), or give "
            "bars up to a later date"
        )
    return tuple(schedule)


def _row(days: Sequence[date], day: date) -> int:
    """Return the index of the first session on or after a day."""
    return int(np.searchsorted(np.array(days, dtype="datetime64[D]"), np.datetime64(day)))


def day_of(ns: int) -> date:
    """Return the date of a session's label or of an instant, both in ns UTC."""
    return date(1970, 1, 1) + timedelta(days=int(ns) // 86_400_000_000_000)
