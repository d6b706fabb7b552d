"""The next bar closes of a universe, and the symbols that can have a bar then."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.stamps import BarTimes, Stamps
from quantd.trading.instruments import Universe
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import DAY_NS, Sessions


class Closes:
    """The closes of bars of `interval_ns` in the sessions of a universe; DAY_NS means bars of whole sessions.

    Intraday bars begin at multiples of the interval after the session's open (session grid), or at some vendors at full
    hours (clock grid): New York's first hour is from 09:30 to 10:30, or to 10:00. `learn` detects the grid from the
    vendor's bars; the default is the session grid.
    """

    def __init__(self, universe: Universe, sessions: Mapping[str, Sessions], interval_ns: int) -> None:
        calendars = [i.calendar for i in universe.instruments]
        self.interval_ns: Final = interval_ns
        self._names: Final = sorted(set(calendars))
        self._sessions: Final = [sessions[name] for name in self._names]
        self._columns: Final = [np.array([c == name for c in calendars]) for name in self._names]
        self._number: Final = np.array([self._names.index(c) for c in calendars])
        self._by_clock: Final[list[bool | None]] = [None] * len(self._names)
        self._last: tuple[int, tuple[int, Bools] | None] = (0, None)

    def after(self, ts: int) -> tuple[int, Bools] | None:
        """Return the first close later than `ts` (ns UTC) and bool[N], True for symbols that can have a bar then.

        Returns None after the end of the calendars.

        `_last` caches the argument and the answer of the last call.
        """
        since, last = self._last
        if last is not None and since <= ts < last[0]:
            return last  # called many times a second while idle
        closes = [self._next(k, ts) for k in range(len(self._names))]
        instants = [close for close in closes if close is not None]
        if not instants:
            return None
        next_close = min(instants)
        symbol_masks = [mask for mask, close in zip(self._columns, closes, strict=True) if close == next_close]
        self._last = ts, (next_close, symbol_masks[0] if len(symbol_masks) == 1 else np.logical_or.reduce(symbol_masks))
        return self._last[1]

    def open_after(self, ts: int) -> int | None:
        """Return the first open of any session later than `ts`; None beyond the calendars' end."""
        next_rows = [(calendar, bisect_right(calendar.open_ns, ts)) for calendar in self._sessions]
        return min((calendar.open_ns[row] for calendar, row in next_rows if row < len(calendar.open_ns)), default=None)

    def day_of(self, open_until: int) -> int:
        """Return the latest date (ns at 00:00 UTC) of a session that opens at or before `open_until`, 0 without one."""
        next_rows = [(calendar, bisect_right(calendar.open_ns, open_until) - 1) for calendar in self._sessions]
        return max((calendar.day_ns[row] for calendar, row in next_rows if row >= 0), default=0)

    def stamp_after(self, ts: int, stamps: Stamps) -> int:
        """Return the minimum stamp of bars that close later than `ts`."""
        if self.interval_ns < DAY_NS:
            return ts - self.interval_ns + 1 if stamps == "open" else ts + 1
        firsts = []
        for calendar in self._sessions:
            row = bisect_right(calendar.close_ns, ts)
            if row == len(calendar.close_ns):
                continue
            if stamps == "open" and calendar.zone == "UTC":
                # a day of 24 hours belongs to the session after which it is known, so it may begin before the open
                firsts.append((calendar.close_ns[row - 1] if row else calendar.open_ns[0]) - DAY_NS + 1)
            else:
                firsts.append(calendar.day_ns[row] if stamps == "session" else calendar.open_ns[row])
        return min(firsts, default=ts + 1)

    def back(self, ts: int, bars: int) -> int:
        """Return an instant early enough for `bars` whole bars up to `ts` (ns UTC) on each calendar. A calendar that
        begins later has fewer."""
        return min(self._back(s, ts, bars) for s in self._sessions)

    def learn(self, column: Ints, placed: BarTimes) -> None:
        """Detect the vendor's grid, once for each calendar, by bars whose end fits only one of the two grids.

        A bar that ends with its session fits both grids and decides nothing.

        Bars begin at multiples of the interval after the session's open (session grid) or at full hours (clock grid).
        `_by_clock` is True for the clock grid, None until it is known.
        """
        for calendar_index in range(len(self._names)):
            if self._by_clock[calendar_index] is not None or self.interval_ns >= DAY_NS:
                continue
            calendar, ends = self._sessions[calendar_index], placed.ts_event[self._number[column] == calendar_index]
            row = np.searchsorted(calendar.closes, ends)
            inside_session = ends != calendar.closes[np.minimum(row, len(calendar.close_ns) - 1)]
            ends, opens = (
                ends[inside_session],
                calendar.opens[np.minimum(row, len(calendar.close_ns) - 1)][inside_session],
            )
            with_session = (ends - opens) % self.interval_ns == 0
            with_clock = ends % self.interval_ns == 0
            decisive = with_session != with_clock
            if decisive.any():
                self._last = (0, None)  # the stored answer is of the other grid
                self._by_clock[calendar_index] = bool(2 * np.sum(with_clock[decisive]) > np.sum(decisive))

    def _next(self, calendar_index: int, ts: int) -> int | None:
        """Return the first close of a bar later than `ts` (ns UTC) in one calendar; None after its end.

        A daily bar closes with its session. Intraday bars follow each other from the session's open, or on the clock;
        the session's close cuts the last one.
        """
        calendar = self._sessions[calendar_index]
        row = bisect_right(calendar.close_ns, ts)
        if row == len(calendar.close_ns):
            return None
        opened, close = calendar.open_ns[row], calendar.close_ns[row]
        if self.interval_ns >= DAY_NS:
            return close
        grid_start = opened - opened % self.interval_ns if self._by_clock[calendar_index] else opened
        return min(grid_start + (max(0, (ts - grid_start) // self.interval_ns) + 1) * self.interval_ns, close)

    def _back(self, calendar: Sessions, ts: int, bars: int) -> int:
        """Return the instant (ns UTC) at which the last `bars` complete bars of a calendar before `ts` begin; its first
        open if it has fewer."""
        row = bisect_right(calendar.open_ns, ts) - 1
        while bars > 0 and row >= 0:
            opened, close = calendar.open_ns[row], min(ts, calendar.close_ns[row])
            if self.interval_ns >= DAY_NS:
                session_bars = int(close == calendar.close_ns[row])
            elif close == calendar.close_ns[row]:
                session_bars = -(-(close - opened) // self.interval_ns)
            else:
                session_bars = (close - opened) // self.interval_ns  # an unfinished bar does not count
            if session_bars >= bars:
                return close - bars * self.interval_ns if self.interval_ns < DAY_NS else opened
            bars -= session_bars
            row -= 1
        return calendar.open_ns[max(row, 0)] if calendar.open_ns else ts
