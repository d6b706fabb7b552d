"""Merges bars of many symbols into one market, for the recorded and the live feed.

Each bar has its true close, and bars of one instant form one slice. Corporate actions take effect at the open of their
day. Quarantined bars are listed with their symbol.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from quantd.adapters.feeds.bars.checks import BadBar, Checked, Reason, Reasons, judge
from quantd.adapters.feeds.bars.rows import NO_STAMP, ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import BarTimes, Stamps, place
from quantd.trading.events import Action
from quantd.trading.instruments import Universe
from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Columns:
    """All bars of N symbols as arrays, in T slices, one for each instant: the stamps are int64[T], the other columns
    [T, N]. `fresh` is True where a symbol has a new bar."""

    ts_open: Ints
    ts_event: Ints
    key: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    open_nano: Ints
    close_nano: Ints
    fresh: Bools


def place_all(
    rows: Rows, universe: Universe, sessions: Mapping[str, Sessions], stamps: Stamps, interval: int
) -> BarTimes:
    """Place bars in the sessions of their instrument's calendar. `interval` is in ns."""
    calendars = [instrument.calendar for instrument in universe.instruments]
    if len(set(calendars)) == 1:
        return place(rows.ts, sessions[calendars[0]], stamps, interval)
    all_false = np.zeros(len(rows), dtype=np.bool_)
    all_placed = BarTimes(rows.ts.copy(), rows.ts.copy(), rows.ts.copy(), all_false, all_false.copy())
    calendar_names = sorted(set(calendars))
    calendar_index = np.array([calendar_names.index(calendar) for calendar in calendars])[rows.column]
    for k, name in enumerate(calendar_names):
        of_calendar = calendar_index == k
        placed_part = place(rows.ts[of_calendar], sessions[name], stamps, interval)
        for field in BarTimes.__slots__:
            getattr(all_placed, field)[of_calendar] = getattr(placed_part, field)
    return all_placed


def horizon(universe: Universe, sessions: Mapping[str, Sessions]) -> Ints:
    """Return int64[N]: the first instant that each instrument's calendar covers."""
    firsts = {name: min((*s.day_ns[:1], *s.open_ns[:1]), default=0) for name, s in sessions.items()}
    return np.array([firsts[i.calendar] for i in universe.instruments], dtype=np.int64)


class Places(NamedTuple):
    """The slices of R bars: open, close and key of each slice, and int64[R] the place of each bar in their table."""

    ts_open: Ints
    ts_event: Ints
    key: Ints
    place: Ints


def places(column: Ints, placed: BarTimes, size: int, *, daily: bool) -> Places:
    """Return the slices of `size` symbols: the bars of one `ts_event` (close) are in one slice; daily bars of two
    session dates stay in separate slices.

    `placed` has the session date and the close of each bar, `column` its symbol. The key of a slice is its session date
    for daily bars, else its close.
    """
    key = placed.day if daily else placed.ts_event
    order = np.lexsort((key, placed.ts_event))
    event, keys = placed.ts_event[order], key[order]
    starts_slice = np.ones(len(order), dtype=np.bool_)
    starts_slice[1:] = (event[1:] != event[:-1]) | (keys[1:] != keys[:-1])
    starts = np.flatnonzero(starts_slice)
    ts_open, ts_event, key = np.minimum.reduceat(placed.ts_open[order], starts), event[starts], keys[starts]
    del event, keys  # each is as large as a price
    place = np.empty(len(order), dtype=np.int64)  # of each bar in a table of slices
    place[order] = (np.cumsum(starts_slice) - 1) * size
    place += column
    return Places(ts_open, ts_event, key, place)


def merge(rows: Rows, slices: Places, size: int) -> Columns:
    """Return the table of slices of `size` symbols. A symbol without a bar has NaN prices, 0 nano-currency and False in
    `fresh`."""
    count = len(slices.ts_event)

    def spread(values: Floats | Ints | Bools, empty: float) -> np.ndarray:
        table = np.full(count * size, empty, dtype=values.dtype)
        table[slices.place] = values
        return table.reshape(count, size)

    fresh = spread(np.ones(len(rows), dtype=np.bool_), empty=False)
    return Columns(
        ts_open=slices.ts_open,
        ts_event=slices.ts_event,
        key=slices.key,
        open=spread(rows.open, np.nan),
        high=spread(rows.high, np.nan),
        low=spread(rows.low, np.nan),
        close=spread(rows.close, np.nan),
        volume=spread(rows.volume, np.nan),
        open_nano=spread(rows.open_nano, 0),
        close_nano=spread(rows.close_nano, 0),
        fresh=fresh,
    )


def timed(listed: list[ActionRow], universe: Universe, sessions: Mapping[str, Sessions]) -> list[Action]:
    """Return the actions with their time: the open of the session of the ex date, or of the next session if that
    date has none."""
    timed_actions = []
    for action in listed:
        calendar = sessions[universe.instruments[action.column].calendar]
        session = int(np.searchsorted(calendar.days, action.day_ns))
        if session < len(calendar.days):
            cash = action.cash_nano
            timed_actions.append(
                Action(
                    calendar.open_ns[session],
                    action.day_ns,
                    action.column,
                    action.kind,
                    action.numerator,
                    action.denominator,
                    cash,
                )
            )
    return sorted(timed_actions, key=lambda action: action.ts)


def bad_bar(rows: Rows, placed: BarTimes, row: int, universe: Universe, reason: str) -> BadBar:
    """Return the bar in `row` of `rows` with the reason of its rejection."""
    values = [column[row].item() for column in (rows.open, rows.high, rows.low, rows.close, rows.volume)]
    return BadBar(
        int(rows.ts[row]), int(placed.ts_event[row]), universe.symbols[int(rows.column[row])], reason, *values
    )


def bad_bars(rows: Rows, placed: BarTimes, reason: Reasons, universe: Universe) -> list[BadBar]:
    """Return the rejected bars in order of time."""
    bad_rows = np.flatnonzero(reason)
    bad_rows = bad_rows[np.argsort(placed.ts_event[bad_rows], kind="stable")]
    return [bad_bar(rows, placed, row, universe, Reason(reason[row]).name.lower()) for row in bad_rows.tolist()]


def checked_bars(
    rows: Rows,
    listed: list[ActionRow],
    universe: Universe,
    sessions: Mapping[str, Sessions],
    stamps: Stamps,
    length_ns: int,
    now_ns: int,
) -> tuple[Rows, BarTimes, Checked]:
    """Return all bars inside the hours of their sessions, with their times (`BarTimes`) and the verdict on each."""
    placed = place_all(rows, universe, sessions, stamps, length_ns)
    # bars without a readable stamp stay, so that they get a verdict
    in_hours = ~placed.extended | (rows.ts == NO_STAMP)
    rows, placed = rows.take(in_hours), placed.take(in_hours)
    return rows, placed, judge(rows, placed, length_ns, timed(listed, universe, sessions), now_ns)
