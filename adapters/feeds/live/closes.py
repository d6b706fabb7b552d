"""The next bar closes of a universe, and the symbols that can have a bar then."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.stamps import Placed, Stamps
from quantd.trading.instruments import Universe
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import DAY_NS, Sessions


class Closes:
    """The closes of bars of `interval_ns` in the sessions of a universe; DAY_NS means bars of whole sessions.

    Intraday bars begin with the session or, at some vendors, on the clock grid (New York's first hour from 09:30 to
    10:30, or to 10:00). `learn` detects the grid from the vendor's own bars; the default is the session grid.
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
        """Return the first close later than `ts` (ns UTC) and bool[N], the symbols with a bar then, or None."""
        since, last = self._last
        if last is not None and since <= ts < last[0]:
            return last  # called many times a second while idle
        closes = [self._next(k, ts) for k in range(len(self._names))]
        instants = [t for t in closes if t is not None]
        if not instants:
            return None
        first = min(instants)
        who = [c for c, t in zip(self._columns, closes, strict=True) if t == first]
        self._last = ts, (first, who[0] if len(who) == 1 else np.logical_or.reduce(who))
        return self._last[1]

    def open_after(self, ts: int) -> int | None:
        """Return the first open of any session later than `ts`; None beyond the calendars' end."""
        rows = [(s, bisect_right(s.open_ns, ts)) for s in self._sessions]
        return min((s.open_ns[row] for s, row in rows if row < len(s.open_ns)), default=None)

    def day_of(self, open_until: int) -> int:
        """Return the latest date (ns at 00:00 UTC) of a session that opens at or before `open_until`, 0 without one."""
        rows = [(s, bisect_right(s.open_ns, open_until) - 1) for s in self._sessions]
        return max((s.day_ns[row] for s, row in rows if row >= 0), default=0)

    def stamp_after(self, ts: int, stamps: Stamps) -> int:
        """Return the minimum stamp of bars that close later than `ts`."""
        if self.interval_ns < DAY_NS:
            return ts - self.interval_ns + 1 if stamps == "open" else ts + 1
        firsts = []
        for s in self._sessions:
            row = bisect_right(s.close_ns, ts)
            if row < len(s.close_ns):
                firsts.append(s.day_ns[row] if stamps == "session" else s.open_ns[row])
        return min(firsts, default=ts + 1)

    def back(self, ts: int, bars: int) -> int:
        """Return an instant since which each calendar has had `bars` closes up to `ts`, or all that it covers."""
        return min(self._back(s, ts, bars) for s in self._sessions)

    def learn(self, column: Ints, placed: Placed) -> None:
        """Detect the vendor's grid from bars inside sessions: those whose end fits only one of the two grids."""
        for k in range(len(self._names)):
            if self._by_clock[k] is not None or self.interval_ns >= DAY_NS:
                continue
            s, ends = self._sessions[k], placed.ts_event[self._number[column] == k]
            row = np.searchsorted(s.closes, ends)
            inner = ends != s.closes[np.minimum(row, len(s.close_ns) - 1)]
            ends, opens = ends[inner], s.opens[np.minimum(row, len(s.close_ns) - 1)][inner]
            with_session = (ends - opens) % self.interval_ns == 0
            with_clock = ends % self.interval_ns == 0
            telling = with_session != with_clock
            if telling.any():
                self._last = (0, None)
                self._by_clock[k] = bool(2 * np.sum(with_clock[telling]) > np.sum(telling))

    def _next(self, k: int, ts: int) -> int | None:
        s = self._sessions[k]
        row = bisect_right(s.close_ns, ts)
        if row == len(s.close_ns):
            return None
        opened, close = s.open_ns[row], s.close_ns[row]
        if self.interval_ns >= DAY_NS:
            return close
        base = opened - opened % self.interval_ns if self._by_clock[k] else opened
        return min(base + (max(0, (ts - base) // self.interval_ns) + 1) * self.interval_ns, close)

    def _back(self, s: Sessions, ts: int, bars: int) -> int:
        row = bisect_right(s.open_ns, ts) - 1
        while bars > 0 and row >= 0:
            opened, close = s.open_ns[row], min(ts, s.close_ns[row])
            if self.interval_ns >= DAY_NS:
                here = int(close == s.close_ns[row])
            elif close == s.close_ns[row]:
                here = -(-(close - opened) // self.interval_ns)
            else:
                here = (close - opened) // self.interval_ns  # an unfinished bar does not count
            if here >= bars:
                return close - bars * self.interval_ns if self.interval_ns < DAY_NS else opened
            bars -= here
            row -= 1
        return s.open_ns[max(row, 0)] if s.open_ns else ts
