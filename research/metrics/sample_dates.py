"""Infers the samples a year of a series from its dates: monthly, weekly, by an exchange's sessions, or intraday.

What can go wrong: monthly returns are annualised with 252 samples a year. This mistake gave a Sharpe ratio of 2.67 in
place of 0.447. So the dates decide, and a number of periods that contradicts them is refused.

Rejected: a guess for irregular dates, and for bars of a single day, because such dates do not show the number of
sessions a year.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.trading.display_text import session_date
from quantd.trading.market import Ints
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import PERIODS_PER_YEAR

YEAR: Final = 365.25
"""Days of a mean year."""

USUAL: Final = (52.0, 26.0, 24.0, 12.0, 6.0, 4.0, 3.0, 2.0, 1.0)
"""Samples a year of the usual intervals of five days or more."""

USUAL_WITHIN: Final = 0.1
"""A rate this close to a usual one counts as the usual one: one February has 28 days."""

FOUR_WEEKS: Final = 28.0
"""Where more than three intervals all have this many days, 13 of them are a year; else they count as months."""

REGULAR: Final = 0.9
"""Least share of the intervals, or of the expected dates, that a regular series has."""

SHORT: Final = 28
"""Below this number of days from the first to the last date, a weekday occurs too rarely to be judged by itself."""

FEW_DATES: Final = 40
"""Below this many dates, holidays weigh more: FEW_REGULAR applies in place of REGULAR."""

FEW_REGULAR: Final = 0.7
"""As REGULAR, for a series with few dates, and for the times and counts of samples within days."""

LENGTH_WITHIN: Final = 0.2
"""A regular interval differs by up to this share from the median one: months, quarters and weeks with a holiday."""

DIFFERS: Final = 1.2
"""A stated number of samples a year contradicts the dates if it is this many times above or below their rate."""

DIFFERS_IRREGULAR: Final = 2.0
"""As DIFFERS, for irregular dates, whose mean rate is only a rough guide."""

PAUSE: Final = 10.0
"""An interval of more days is a pause; so is one above twice the usual interval, where that is longer."""

MOST_ISOLATED: Final = 2
"""A regular series may have this many single dates between two pauses. More of them are samples of a longer interval,
such as months."""

SUNDAY_OFFSET: Final = 4
"""1970-01-01 was a Thursday: (days + 4) % 7 is 0 on a Sunday."""


@dataclass(frozen=True, slots=True)
class SampleRate:
    """Samples a year of a series of dates.

    `periods` is None where the dates are irregular; `reason` states why. `mean` is the number of intervals divided by
    the years from the first to the last date, None for a single date.
    """

    periods: float | None
    mean: float | None
    reason: str = ""

    def contradicts(self, periods: float) -> bool:
        """Return True where `periods` and the rate of the dates differ by more than the factor DIFFERS.

        For irregular dates the rate is the mean rate, and the factor is DIFFERS_IRREGULAR.
        """
        rate, largest_factor = (self.periods, DIFFERS) if self.periods is not None else (self.mean, DIFFERS_IRREGULAR)
        return rate is not None and not 1.0 / largest_factor <= periods / rate <= largest_factor


def sample_rate(stamps: Ints) -> SampleRate:
    """Return the samples a year of the times `stamps`, int64[N] in ns, strictly ascending.

    Equal intervals give 365.25 days over their length: 12 for months, 4 for quarters, 52 for weeks. Dates of five days
    a week give 252, of seven 365. Bars within a day give their number in a median session, times the sessions a year.
    """
    if len(stamps) < 2:
        return SampleRate(None, None, "there is one date")
    gaps = np.diff(stamps) / DAY_NS  # in days, here and below
    mean = len(gaps) / float(gaps.sum()) * YEAR  # intervals a year, also where the dates are irregular
    median_gap = float(np.median(gaps))
    if median_gap < 0.75:
        periods, reason = _within_days(stamps, gaps, median_gap)
    else:
        periods, reason = _by_interval(stamps, gaps, median_gap)
    return SampleRate(periods, mean, reason)


def _by_interval(stamps: Ints, gaps: NDArray[np.float64], median_gap: float) -> tuple[float | None, str]:
    """Return (samples a year, "") for equal intervals or for dates on weekdays, or (None, reason).

    `gaps` float64[N-1] are the intervals in days, `median_gap` is their median. The weekdays of the dates decide in
    three cases: unequal intervals, intervals of about a day, and intervals of a few days that span less than SHORT days
    in all.
    """
    regular = np.abs(gaps / median_gap - 1.0) <= LENGTH_WITHIN
    too_short = median_gap < 5.0 and (stamps[-1] - stamps[0]) // DAY_NS < SHORT
    if float(regular.mean()) >= REGULAR and median_gap >= 1.5 and not too_short and not _mixed(gaps, median_gap):
        if len(gaps) > 3 and bool((gaps == FOUR_WEEKS).all()):
            return 13.0, ""  # four weeks, not months
        return _usual(YEAR / float(gaps[regular].mean())), ""
    rate = _days_a_year(stamps // DAY_NS)
    if rate is not None and not _mixed(gaps, median_gap):
        return rate, ""
    return (
        None,
        f"the dates are irregular, {_length_text(float(gaps.min()))} to {_length_text(float(gaps.max()))} apart",
    )


def _mixed(gaps: NDArray[np.float64], median_gap: float) -> bool:
    """Return True where some intervals are much longer than the median, such as months after days."""
    is_long = gaps > max(PAUSE, 2.0 * median_gap)
    return int((is_long[:-1] & is_long[1:]).sum()) > MOST_ISOLATED


def _usual(rate: float) -> float:
    """Return the usual rate (in USUAL) near `rate`, else `rate` itself; both in samples a year."""
    nearest_usual = min(USUAL, key=lambda usual: abs(rate / usual - 1.0))
    return nearest_usual if abs(rate / nearest_usual - 1.0) <= USUAL_WITHIN else rate


def _length_text(days: float) -> str:
    """Return a length in days as text, in days, hours or minutes."""
    if days >= 1.0:
        return f"{days:.3g} day{'' if days == 1.0 else 's'}"
    return f"{days * 24.0:.3g} hours" if days * 24.0 >= 1.0 else f"{days * 1440.0:.3g} minutes"


def _days_a_year(days: Ints) -> float | None:
    """Return the number of sessions a year of ascending day numbers int64[N] (0 is 1970-01-01); None where the dates
    are irregular.

    A weekday has sessions if most of the dates on this weekday are in the series. Five such weekdays give 252 sessions
    a year, as on an exchange; seven give 365. Gaps longer than PAUSE (a delisting, for example) are not counted.
    """
    gaps = np.diff(days)
    if float((gaps <= PAUSE).mean()) < REGULAR:
        return None
    if days[-1] - days[0] < SHORT:
        return _days_a_year_of_few(days)
    calendar_days = np.concatenate([np.arange(first, end) for first, end in _stretches(days, gaps)])
    all_by_weekday, dates_by_weekday = (
        np.bincount((day_numbers + SUNDAY_OFFSET) % 7, minlength=7) for day_numbers in (calendar_days, days)
    )
    is_session_weekday = dates_by_weekday > all_by_weekday / 2.0
    expected = int(all_by_weekday[is_session_weekday].sum())
    least_share = REGULAR if len(days) >= FEW_DATES else FEW_REGULAR
    if (
        not expected
        or len(days) / expected < least_share
        or dates_by_weekday[is_session_weekday].sum() / len(days) < least_share
    ):
        return None  # the weekdays of the calendar lack dates, or too many dates are on other weekdays
    weekdays = int(is_session_weekday.sum())
    return {7: 365.0, 5: float(PERIODS_PER_YEAR), 1: 52.0}.get(weekdays, weekdays * YEAR / 7.0)


def _days_a_year_of_few(days: Ints) -> float | None:
    """Return 252 for dates on most weekdays and no weekend, 365 for every date including a weekend, else None."""
    all_days = np.arange(int(days[0]), int(days[-1]) + 1)
    if not _at_weekend(days).any():
        return float(PERIODS_PER_YEAR) if len(days) >= FEW_REGULAR * int((~_at_weekend(all_days)).sum()) else None
    return 365.0 if len(days) == len(all_days) else None


def _stretches(days: Ints, gaps: Ints) -> list[tuple[int, int]]:
    """Return the day numbers (first, last + 1) of each series of dates without a gap of more than PAUSE days."""
    breaks = np.flatnonzero(gaps > PAUSE)
    firsts, lasts = [0, *(breaks + 1).tolist()], [*breaks.tolist(), len(days) - 1]
    return [(int(days[first]), int(days[last]) + 1) for first, last in zip(firsts, lasts, strict=True)]


def _within_days(stamps: Ints, gaps: NDArray[np.float64], median_gap: float) -> tuple[float | None, str]:
    """Return (samples a year, "") of dates with several samples a day, or (None, reason).

    Days are cut in the middle of the longest part of the 24 hours in which no day has a sample, such as the night. So
    no session is divided.
    """
    clock_times = np.unique(stamps % DAY_NS)
    gaps_of_clock = np.diff(clock_times, append=clock_times[0] + DAY_NS)
    widest = int(gaps_of_clock.argmax())
    day_ends = int(clock_times[widest] + gaps_of_clock[widest] // 2) % DAY_NS
    days, counts = np.unique((stamps - day_ends) // DAY_NS, return_counts=True)
    full_counts = counts[1:-1] if len(counts) > 2 else counts  # the first and the last day may be partial
    per_day = float(np.median(full_counts))
    # days with at most half of the usual samples do not count as sessions
    full_days = days[counts > per_day / 2.0]
    intraday_gaps = gaps[np.diff((stamps - day_ends) // DAY_NS) == 0]
    # the share of regular intervals; one or two samples a day have too few intervals to judge
    regular = float((np.abs(intraday_gaps / median_gap - 1.0) <= LENGTH_WITHIN).mean()) if per_day > 2.0 else 1.0
    if regular < FEW_REGULAR or float((np.abs(full_counts / per_day - 1.0) <= LENGTH_WITHIN).mean()) < FEW_REGULAR:
        return (
            None,
            f"the times are irregular, {_length_text(float(gaps.min()))} to {_length_text(float(gaps.max()))} apart",
        )
    if len(full_days) < 2:
        return None, "all samples are of one day"
    # no pause overnight and no weekend: the sessions cannot be told from the dates
    if (
        gaps_of_clock[widest] <= 2 * median_gap * DAY_NS
        and not _at_weekend(np.arange(full_days[0], full_days[-1] + 1)).any()
    ):
        return None, "the market does not close overnight, and no weekend is among the dates"
    rate = _days_a_year(full_days)
    return (None, "the days with samples are irregular") if rate is None else (per_day * rate, "")


def _at_weekend(days: Ints) -> NDArray[np.bool_]:
    return np.isin((days + SUNDAY_OFFSET) % 7, (0, 6))


def first_disorder(stamps: Ints) -> str:
    """Return the first index at which the times `stamps` (ns) do not ascend, as text; empty where they do."""
    wrong = np.flatnonzero(np.diff(stamps) <= 0)
    if not len(wrong):
        return ""
    k = int(wrong[0]) + 1
    day, previous_day = session_date(int(stamps[k])), session_date(int(stamps[k - 1]))
    if stamps[k] == stamps[k - 1]:
        return f"row {k} repeats the time of row {k - 1} ({day})"
    return f"row {k} ({day}) comes before row {k - 1} ({previous_day})"
