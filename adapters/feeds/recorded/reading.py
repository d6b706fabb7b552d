"""How the bars of a market are read, and what a symbol's daily or intraday evidence about it shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from quantd.adapters import calendars
from quantd.adapters.feeds.bars.rows import NO_STAMP, Rows
from quantd.adapters.feeds.bars.stamps import BarTimes, Stamps, place
from quantd.adapters.feeds.recorded.bar_files import nanoseconds
from quantd.adapters.feeds.recorded.misfit import UNDECIDED, setting
from quantd.adapters.feeds.table_files.file_symbol import names_coin
from quantd.trading.display_text import session_date
from quantd.trading.instruments import LARGE_EXCHANGES, Universe, calendar_of
from quantd.trading.market import Ints
from quantd.trading.sessions import DAY_NS, Sessions

CALENDARS: Final = tuple(dict.fromkeys((calendars.ALWAYS_OPEN, "24/5", "XNYS", *LARGE_EXCHANGES.values())))
"""The calendars that are tried."""

ZONES: Final = (
    "UTC", "America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/London", "Europe/Berlin",
    "Europe/Athens", "Asia/Kolkata", "Asia/Hong_Kong", "Asia/Tokyo", "Australia/Sydney",
    *(f"Etc/GMT{offset:+d}" for offset in (5, 4, 6, 8, 3, -1, -2, -3, -8)),
)  # fmt: skip
"""The clocks that are tried besides the exchanges' clocks; MetaTrader's brokers use Europe/Athens.

Etc/GMT+5 is five hours behind UTC in summer and winter: HistData writes such times.
"""

TOLERATED: Final = 0.01
"""Largest share of a symbol's bars outside sessions that needs no explanation."""

BETTER: Final = 5
"""A reading is better than another one if it has at most 1 / BETTER as many bars outside sessions."""

_MOST_BARS: Final = 20_000
"""Most bars of one symbol that are tried against calendars and clocks; the newest are taken."""

MOST_SEARCHES: Final = 5
"""After this many symbols without a result, the next symbols are compared with the last result only, to save time."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How daily bars fit a calendar: the number of bars outside sessions, and of sessions without a bar between its
    first and last bar."""

    outside: int
    missing: int

    @property
    def faults(self) -> int:
        """Number of bars outside sessions plus sessions without a bar."""
        return self.outside + self.missing


def _fit(ts: Ints, sessions: Sessions, stamps: Stamps) -> Fit:
    placed = place(ts, sessions, stamps, DAY_NS)
    days = np.unique(placed.day[placed.inside])
    if not len(days):
        return Fit(len(ts), 0)
    sessions_spanned = np.searchsorted(sessions.days, days[-1]) - np.searchsorted(sessions.days, days[0]) + 1
    # two bars in one session: one of them belongs to another date, and counts as outside
    repeated = int(placed.inside.sum()) - len(days)
    return Fit(int(np.sum(~placed.inside)) + repeated, int(sessions_spanned) - len(days))


@dataclass(frozen=True)
class Reading:
    """The bars of a market and how they are read. `zone` is the clock of stamps without an offset from UTC.

    `actual` are the sessions of each calendar by name, `length` is the interval in ns; 1 means trades, whose distances
    are not checked. `without_offset` returns whether the stamps have no offset.
    """

    rows: Rows
    placed: BarTimes
    universe: Universe
    actual: Mapping[str, Sessions]
    stamps: Stamps
    length: int
    zone: str = ""
    without_offset: Callable[[], bool] = lambda: False

    @cached_property
    def unzoned(self) -> bool:
        """Whether the stamps of the files have no offset from UTC; the files are read once for this."""
        return self.without_offset()

    def of(self, column: int) -> tuple[Ints, Sessions]:
        """Return the newest readable stamps of one symbol, and the sessions of its calendar."""
        ts = self.rows.ts[self.bars_of(column)]
        return ts[ts != NO_STAMP][-_MOST_BARS:], self.calendar_of(column)

    def calendar_of(self, column: int) -> Sessions:
        """Return the sessions of a symbol's calendar."""
        return self.actual[self.universe.instruments[column].calendar]

    def fit(self, ts: Ints, sessions: Sessions, stamps: Stamps) -> Fit:
        """Return how daily bars fit a calendar; computed once for all symbols with the same stamps.

        The sessions of the run may lack dates that the calendar of this name has: they have an entry of their own.
        """
        of_run = self.actual.get(sessions.name) is sessions
        key = blake2b(ts.tobytes(), digest_size=16).digest(), sessions.name, of_run, stamps
        if key not in self._fits:
            self._fits[key] = _fit(ts, sessions, stamps)
        return self._fits[key]

    @cached_property
    def _fits(self) -> dict[tuple[bytes, str, bool, Stamps], Fit]:
        return {}

    def bars_of(self, column: int) -> NDArray[np.intp]:
        """Return the indices of the bars of one symbol."""
        by_symbol, columns = self._by_symbol
        start, stop = np.searchsorted(columns, [column, column + 1])
        return by_symbol[start:stop]

    @cached_property
    def _by_symbol(self) -> tuple[NDArray[np.intp], Ints]:
        """The indices of the bars grouped by symbol, and the symbol of each; sorted once for all symbols."""
        order = np.argsort(self.rows.column, kind="stable")
        return order, self.rows.column[order]


def read_in_zone(ts: Ints, from_zone: str, to_zone: str) -> Ints:
    """Return int64[n], the stamps (ns UTC) read in another zone: the clock time of `ts` in `from_zone` (empty: UTC) is
    taken as a time in `to_zone`. With an empty `to_zone`, the stamps stay."""
    if not to_zone:
        return ts
    clock = (
        pl.Series(ts).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(from_zone or "UTC").dt.replace_time_zone(None)
    )
    return nanoseconds(clock, to_zone)


def calendar_answers(column: int, name: str, reading: Reading) -> tuple[str, ...]:
    """Return the remedies for bars of a symbol that fit a calendar: the calendar alone where it is decided.

    It is decided if the symbol's spelling names it. For a coin without a separator, such as BTCUSDT, that is 24/7
    unless its prices stand still on weekends.
    """
    calendar, symbol = setting("universe", calendar=name), reading.universe.symbols[column]
    if name == calendar_of(symbol):
        return (calendar,)
    if name != calendars.ALWAYS_OPEN or not names_coin(symbol):
        return calendar, *UNDECIDED
    bars = reading.bars_of(column)
    ts = reading.rows.ts[bars]
    weekend = bars[((ts // DAY_NS + 3) % 7 >= 5) & (ts != NO_STAMP)]
    moves = reading.rows.high[weekend] > reading.rows.low[weekend]
    return (calendar,) if moves.sum() >= (len(moves) + 1) // 2 else (calendar, *UNDECIDED)


def sessions_around(name: str, ts: Ints) -> Sessions:
    """Return the sessions of a calendar around the stamps; empty if the calendar cannot be built."""
    margin = timedelta(days=10)
    first, last = session_date(int(ts.min())) - margin, session_date(int(ts.max())) + margin
    try:
        return calendars.sessions(name, first, last, cache=calendars.shared_cache())
    except calendars.CalendarError:
        return Sessions(name, "UTC", (), (), ())
