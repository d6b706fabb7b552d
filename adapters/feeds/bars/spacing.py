"""The distance between a symbol's bars, compared with the interval that a run reads them as.

Bars that are read with a wrong interval would count as known too early: the close of a week on its first day, a bar of
five minutes after one minute. A rarely traded symbol is no fault: it lacks bars, so that its distances vary, but the
interval remains the most frequent distance. The distances of a wrong interval are regular. A test of the mean distance
would stop thin markets, and a test of the smallest distance would let a whole file pass because of one stray bar.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.bars.stamps import UNITS_NS, BarTimes
from quantd.trading.instruments import Universe
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import DAY_NS, Sessions, interval_text

LEAST: Final = 5
"""Fewest distances between a symbol's bars that are compared."""

FEW: Final = 12
"""With fewer distances than this, every distance has to agree; otherwise the share REGULAR."""

AS_STATED: Final = 0.1
"""If more than this share of a symbol's distances is one interval, its bars count as bars of the stated interval."""

REGULAR: Final = 0.9
"""Smallest share of the distances that must agree with another interval for it to be the true interval."""

_BY_CHANCE: Final = 12.5
"""How rarely the distances of a thin market may look like those of a longer interval by chance: once in e**12.5.

A distance is a multiple of m intervals with probability 1/m, and exactly m intervals with 1/(e m) at most.
"""

_MONTH_DAYS: Final = (27, 32)
_SECOND: Final = UNITS_NS["s"]


@dataclass(frozen=True, slots=True)
class Spacing:
    """The finding that bars of the symbol in `column` are regularly `step` ns apart, instead of one interval.

    `sessions` is the distance in sessions, or 0 if the distance in time is regular.
    """

    column: int
    step: int
    sessions: int = 0

    @property
    def text(self) -> str:
        """The distance in words: "5m", "7 days", "a month"."""
        if self.sessions > 1:
            return f"{self.sessions} sessions"
        days = round(self.step / DAY_NS)
        if self.step <= DAY_NS:
            return interval_text(self.step)
        return "a month" if _MONTH_DAYS[0] <= days <= _MONTH_DAYS[1] else f"{days} days"


def wrong_spacings(
    ts: Ints, column: Ints, placed: BarTimes, universe: Universe, sessions: Mapping[str, Sessions], interval: int
) -> list[Spacing]:
    """Return the symbols whose bars are regularly at another distance than `interval` (ns).

    `ts` and `column` int64[R] are the stamps and symbols of R bars, `placed` has their sessions. For intraday bars only
    distances inside one session count; a calendar that never closes counts as one session.

    A symbol is compared if it has at least LEAST distances. It is omitted if more than the share AS_STATED of them
    equals `interval`. If no symbol is found, and `interval` is less than a day, symbols with daily bars are looked for.
    """
    readable = ts != NO_STAMP
    ts, column, day = ts[readable], column[readable], placed.day[readable]
    if np.any((np.diff(column) < 0) | ((np.diff(column) == 0) & (np.diff(ts) < 0))):
        order = np.lexsort((ts, column))
        ts, column, day = ts[order], column[order], day[order]
    # rounded to whole seconds
    step = (np.diff(ts) + _SECOND // 2) // _SECOND * _SECOND
    follows_bar = (np.diff(column) == 0) & (step > 0)
    never_closes = np.array([sessions[item.calendar].zone == "UTC" for item in universe.instruments])
    inside = follows_bar if interval == DAY_NS else follows_bar & ((np.diff(day) == 0) | never_closes[column[1:]])
    size = universe.size
    distances = np.bincount(column[1:][inside], minlength=size)
    as_stated = np.bincount(column[1:][inside & (step == interval)], minlength=size)
    spacings = []
    for column_index in np.flatnonzero((distances >= LEAST) & (as_stated <= AS_STATED * distances)).tolist():
        distance_rows = np.flatnonzero(inside & (column[1:] == column_index))
        calendar = sessions[universe.instruments[column_index].calendar]
        spacing = _regular_spacing(column_index, ts[distance_rows], step[distance_rows], calendar, interval)
        spacings += [] if spacing is None else [spacing]
    return spacings or (
        _daily_spacings(ts, column, step, follows_bar, distances, universe, sessions) if interval < DAY_NS else []
    )


def _regular_spacing(column: int, ts: Ints, step: Ints, calendar: Sessions, interval: int) -> Spacing | None:
    """Return the regular distance of one symbol's bars, None if it has none.

    `step` int64[n] are the distances in ns from the stamps `ts` to the next ones.

    In a thin market distances may be multiples of the commonest one by chance.
    """
    values, counts = np.unique(step, return_counts=True)
    if values[counts.argmax()] < interval:
        # a bar that its session cuts is shorter, and so is the distance to the next one
        at_bounds = np.isin(ts, calendar.opens) | np.isin(ts + step, calendar.closes)
        values, counts = np.unique(step[~at_bounds & (step < interval)], return_counts=True)
        if counts.sum() < max(LEAST, len(step) // 2):
            return None
        return Spacing(column, int(values[counts.argmax()]))
    commonest = int(values[counts.argmax()])
    # the chance is one in N cases: log N for each distance, + 1 if all distances are equal
    log_chance = np.log(max(commonest // interval, 2)) + (counts.max() == len(step))
    if len(step) * log_chance < _BY_CHANCE and commonest < DAY_NS:
        return None  # a thin market has so few distances that are all multiples of some length, by chance
    if _mostly_true(step % commonest == 0) and counts.max() * 2 >= len(step):
        return Spacing(column, commonest)
    return _spacing_of_days(column, ts, step, calendar) if interval == DAY_NS else None


def _spacing_of_days(column: int, ts: Ints, step: Ints, calendar: Sessions) -> Spacing | None:
    """Return the distance of one symbol's bars in days, or in sessions if only these are regular; None without a
    regular distance.

    Holidays and the length of months vary a distance of weeks or months, so that the comparison has a tolerance.
    """
    # the sessions of all stamps, with the one at which the last distance ends
    session_rows = np.searchsorted(calendar.closes, np.append(ts, ts[-1:] + step[-1:]), side="right")
    values, counts = np.unique(np.diff(session_rows), return_counts=True)
    commonest_sessions = int(values[counts.argmax()])
    median_step = int(np.median(step))
    # the tolerance is a day, or 15 % of the distance
    if _mostly_true(np.abs(step - median_step) <= max(DAY_NS, median_step * 3 // 20)):
        return Spacing(column, median_step)
    if commonest_sessions > 1 and _mostly_true(np.diff(session_rows) == commonest_sessions):
        return Spacing(column, commonest_sessions * DAY_NS, commonest_sessions)
    return None


def _mostly_true(agreeing: Bools) -> bool:
    return bool(agreeing.all() if len(agreeing) < FEW else agreeing.mean() >= REGULAR)


def _daily_spacings(
    ts: Ints,
    column: Ints,
    step: Ints,
    follows_bar: Bools,
    distances: Ints,
    universe: Universe,
    sessions: Mapping[str, Sessions],
) -> list[Spacing]:
    """Return every symbol if each has one bar a day at one time of the day: these are daily bars, not intraday bars.

    Else no symbol is returned: in intraday data a rarely traded symbol may have one bar a day, too, but at another time
    each day. Daylight saving may move the time of daily bars by an hour.

    `distances` int64[N] are the numbers of distances inside sessions by symbol: daily bars have none. `follows_bar` is
    True where a distance joins two bars of one symbol.
    """
    if distances.any():
        return []
    bars = np.bincount(column, minlength=universe.size)
    spacings = []
    for column_index in np.flatnonzero(bars > LEAST).tolist():
        times, counts = np.unique(ts[column == column_index] % DAY_NS, return_counts=True)
        within_hour = np.abs(times - times[counts.argmax()]) <= UNITS_NS["h"]
        if len(times[within_hour]) > 2 or counts[within_hour].sum() < REGULAR * bars[column_index]:
            return []
        distance_rows = np.flatnonzero(follows_bar & (column[1:] == column_index))
        calendar = sessions[universe.instruments[column_index].calendar]
        daily = bool((step[distance_rows] <= 4 * DAY_NS).mean() >= REGULAR)
        longer = None if daily else _spacing_of_days(column_index, ts[distance_rows], step[distance_rows], calendar)
        spacings.append(longer or Spacing(column_index, DAY_NS))
    return spacings if len(spacings) == np.count_nonzero(bars) else []
