"""The distance between a symbol's bars, compared with the interval that a run reads them as.

Bars read with a wrong interval count as known too early: the close of a week on its first day, a bar of five minutes
after one. A thin market is no fault: it lacks bars, so that its distances vary, and one interval is their commonest.
The distances of a wrong interval are regular. A test of the mean distance would stop thin markets, and a test of the
smallest would let one stray bar pass a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.bars.stamps import UNITS_NS, Placed
from quantd.trading.instruments import Universe
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import DAY_NS, Sessions, interval_text

LEAST: Final = 5
"""Fewest distances of a symbol that are compared; of fewer than FEW every one has to agree."""

FEW: Final = 12

AS_STATED: Final = 0.1
"""Share of the distances that are one interval from which on a symbol's bars are taken as stated."""

REGULAR: Final = 0.9
"""Share of the distances that agree with another interval, for that one to be the right one."""

_BY_CHANCE: Final = 12.5
"""How rarely the distances of a thin market may look like those of a longer interval by chance: once in e**12.5.

One of them is a multiple of m intervals in a share of 1/m, and exactly m intervals in a share of 1/(e m), at most.
"""

_MONTH_DAYS: Final = (27, 32)
_SECOND: Final = UNITS_NS["s"]


@dataclass(frozen=True, slots=True)
class Spacing:
    """A symbol whose bars are `step` ns apart, not one interval; `sessions` is the step in sessions, or 0."""

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
    ts: Ints, column: Ints, placed: Placed, universe: Universe, sessions: Mapping[str, Sessions], interval: int
) -> list[Spacing]:
    """Return the symbols whose bars are regularly at another distance than `interval` (ns).

    `ts` int64[R] are the stamps and `placed` their places. Distances count inside a session; a calendar that never
    closes has one session without end.
    """
    readable = ts != NO_STAMP
    ts, column, day = ts[readable], column[readable], placed.day[readable]
    if np.any((np.diff(column) < 0) | ((np.diff(column) == 0) & (np.diff(ts) < 0))):
        order = np.lexsort((ts, column))
        ts, column, day = ts[order], column[order], day[order]
    step = (np.diff(ts) + _SECOND // 2) // _SECOND * _SECOND
    same = (np.diff(column) == 0) & (step > 0)
    always = np.array([sessions[item.calendar].zone == "UTC" for item in universe.instruments])
    inside = same if interval == DAY_NS else same & ((np.diff(day) == 0) | always[column[1:]])
    size = universe.size
    total = np.bincount(column[1:][inside], minlength=size)
    stated = np.bincount(column[1:][inside & (step == interval)], minlength=size)
    out = []
    for number in np.flatnonzero((total >= LEAST) & (stated <= AS_STATED * total)).tolist():
        which = np.flatnonzero(inside & (column[1:] == number))
        calendar = sessions[universe.instruments[number].calendar]
        spacing = _wrong(number, ts[which], step[which], calendar, interval)
        out += [] if spacing is None else [spacing]
    return out or (_daily(ts, column, step, same, total, universe, sessions) if interval < DAY_NS else [])


def _wrong(number: int, ts: Ints, step: Ints, calendar: Sessions, interval: int) -> Spacing | None:
    """Return the regular distance of one symbol's bars: `step` int64[n] follows each stamp of `ts`."""
    values, counts = np.unique(step, return_counts=True)
    if values[counts.argmax()] < interval:
        # a bar that its session cuts is shorter, and so is the distance to the next one
        cut = np.isin(ts, calendar.opens) | np.isin(ts + step, calendar.closes)
        values, counts = np.unique(step[~cut & (step < interval)], return_counts=True)
        if counts.sum() < max(LEAST, len(step) // 2):
            return None
        return Spacing(number, int(values[counts.argmax()]))
    commonest = int(values[counts.argmax()])
    rare = np.log(max(commonest // interval, 2)) + (counts.max() == len(step))
    if len(step) * rare < _BY_CHANCE and commonest < DAY_NS:
        return None  # a thin market has so few distances that are all multiples of some length, by chance
    if _agree(step % commonest == 0) and counts.max() * 2 >= len(step):
        return Spacing(number, commonest)
    return _irregular_days(number, ts, step, calendar) if interval == DAY_NS else None


def _irregular_days(number: int, ts: Ints, step: Ints, calendar: Sessions) -> Spacing | None:
    """Return a distance of weeks or months, which holidays and the length of months vary, or of some sessions."""
    rows = np.searchsorted(calendar.closes, np.append(ts, ts[-1:] + step[-1:]), side="right")
    values, counts = np.unique(np.diff(rows), return_counts=True)
    several = int(values[counts.argmax()])
    middle = int(np.median(step))
    if _agree(np.abs(step - middle) <= max(DAY_NS, middle * 3 // 20)):
        return Spacing(number, middle)
    if several > 1 and _agree(np.diff(rows) == several):
        return Spacing(number, several * DAY_NS, several)
    return None


def _agree(regular: Bools) -> bool:
    return bool(regular.all() if len(regular) < FEW else regular.mean() >= REGULAR)


def _daily(
    ts: Ints, column: Ints, step: Ints, same: Bools, total: Ints, universe: Universe, sessions: Mapping[str, Sessions]
) -> list[Spacing]:
    """Return every symbol if each of them has one bar a day, at one time of the day: they are days, not a shorter bar.

    A thin symbol has its one bar at any time. The time may move by an hour with the exchange's clock.
    """
    if total.any():
        return []
    bars = np.bincount(column, minlength=universe.size)
    out = []
    for number in np.flatnonzero(bars > LEAST).tolist():
        times, counts = np.unique(ts[column == number] % DAY_NS, return_counts=True)
        near = np.abs(times - times[counts.argmax()]) <= UNITS_NS["h"]
        if len(times[near]) > 2 or counts[near].sum() < REGULAR * bars[number]:
            return []
        which = np.flatnonzero(same & (column[1:] == number))
        calendar = sessions[universe.instruments[number].calendar]
        daily = bool((step[which] <= 4 * DAY_NS).mean() >= REGULAR)
        longer = None if daily else _irregular_days(number, ts[which], step[which], calendar)
        out.append(longer or Spacing(number, DAY_NS))
    return out if len(out) == np.count_nonzero(bars) else []
