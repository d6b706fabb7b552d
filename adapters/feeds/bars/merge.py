"""Merges bars of many symbols into one market, for the recorded and the live feed.

Each bar has its true close, and bars of one instant form one slice. Corporate actions apply at the open of their day.
Quarantined bars are listed with their symbol.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quantd.adapters.feeds.bars.checks import BadBar, Checked, Reason, Reasons, judge
from quantd.adapters.feeds.bars.rows import NO_STAMP, ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import Placed, Stamps, place
from quantd.trading.events import Action
from quantd.trading.instruments import Universe
from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Columns:
    """All slices: int64[T] and [T, N] columns, see quantd.trading.market.Block."""

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
) -> Placed:
    """Place bars in the sessions of their own instrument's calendar. `interval` is in ns."""
    calendars = [i.calendar for i in universe.instruments]
    if len(set(calendars)) == 1:
        return place(rows.ts, sessions[calendars[0]], stamps, interval)
    nowhere = np.zeros(len(rows), dtype=np.bool_)
    out = Placed(rows.ts.copy(), rows.ts.copy(), rows.ts.copy(), nowhere, nowhere.copy())
    names = sorted(set(calendars))
    number = np.array([names.index(c) for c in calendars])[rows.column]
    for k, name in enumerate(names):
        which = number == k
        part = place(rows.ts[which], sessions[name], stamps, interval)
        for field in Placed.__slots__:
            getattr(out, field)[which] = getattr(part, field)
    return out


def horizon(universe: Universe, sessions: Mapping[str, Sessions]) -> Ints:
    """Return int64[N]: the first instant that each instrument's calendar covers."""
    firsts = {name: min((*s.day_ns[:1], *s.open_ns[:1]), default=0) for name, s in sessions.items()}
    return np.array([firsts[i.calendar] for i in universe.instruments], dtype=np.int64)


def merge(rows: Rows, placed: Placed, size: int, *, daily: bool) -> Columns:
    """Merge into one row per instant (and session date): bars of one `ts_event` form one slice."""
    key = placed.day if daily else placed.ts_event
    order = np.lexsort((key, placed.ts_event))
    event, keys = placed.ts_event[order], key[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (event[1:] != event[:-1]) | (keys[1:] != keys[:-1])
    starts = np.flatnonzero(new)
    at = np.cumsum(new) - 1
    column = rows.column[order]
    shape = (len(starts), size)

    def spread(values: Floats | Ints, empty: float) -> np.ndarray:
        out = np.full(shape, empty, dtype=values.dtype)
        out[at, column] = values[order]
        return out

    fresh = np.zeros(shape, dtype=np.bool_)
    fresh[at, column] = True
    return Columns(
        ts_open=np.minimum.reduceat(placed.ts_open[order], starts),
        ts_event=event[starts],
        key=keys[starts],
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
    """Time actions at the open of their ex date's session, or of the next session without one on that date."""
    timed = []
    for row in listed:
        calendar = sessions[universe.instruments[row.column].calendar]
        at = int(np.searchsorted(calendar.days, row.day_ns))
        if at < len(calendar.days):
            cash = row.cash_nano
            timed.append(
                Action(calendar.open_ns[at], row.day_ns, row.column, row.kind, row.numerator, row.denominator, cash)
            )
    return sorted(timed, key=lambda a: a.ts)


def bad_bar(rows: Rows, placed: Placed, k: int, universe: Universe, reason: str) -> BadBar:
    """Return bar number `k` with the reason of its rejection."""
    values = [column[k].item() for column in (rows.open, rows.high, rows.low, rows.close, rows.volume)]
    return BadBar(int(rows.ts[k]), int(placed.ts_event[k]), universe.symbols[int(rows.column[k])], reason, *values)


def bad_bars(rows: Rows, placed: Placed, reason: Reasons, universe: Universe) -> list[BadBar]:
    """Return the rejected bars, by time."""
    which = np.flatnonzero(reason)
    which = which[np.argsort(placed.ts_event[which], kind="stable")]
    return [bad_bar(rows, placed, k, universe, Reason(reason[k]).name.lower()) for k in which.tolist()]


def checked_bars(
    rows: Rows,
    listed: list[ActionRow],
    universe: Universe,
    sessions: Mapping[str, Sessions],
    stamps: Stamps,
    length_ns: int,
    now_ns: int,
) -> tuple[Rows, Placed, Checked]:
    """Return all bars inside the hours of their sessions, with their places and the verdict on each."""
    placed = place_all(rows, universe, sessions, stamps, length_ns)
    keep = ~placed.extended | (rows.ts == NO_STAMP)
    rows, placed = rows.take(keep), placed.take(keep)
    return rows, placed, judge(rows, placed, length_ns, timed(listed, universe, sessions), now_ns)
