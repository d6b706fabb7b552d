"""Converts file stamps to true instants: the open of a bar, and the time at which it became known.

What can go wrong. A bar counts as known before its close, and a backtest trades on tomorrow's price. Bars of one date
can close hours apart, and half days close early. A vendor's stamp of a day may be midnight of its exchange, which is
another date in UTC.

A bar is therefore placed in the session of its own calendar, and its close is that of the session. What lies in no
session keeps its own stamp, so that a check can name it. Bars of extended hours are marked, as they are no error. A
stamp at midnight of the exchange is a date only where it fits no session otherwise, so that no stamp that fits is read
in another way.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from quantd.adapters.feeds.bars.rows import NO_STAMP, Table
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import DAY_NS, Sessions

Stamps = Literal["session", "open", "close"]

UNITS_NS: Final = {"s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000, "d": DAY_NS}

LATE_NS: Final = 4 * UNITS_NS["h"]
"""A daily bar stamped "close" may have the hour of a regular close on a day that closed early (three hours)."""

_EXTENDED_NS: Final = 8 * UNITS_NS["h"]
"""Maximum extent of extended hours before the open and after the close; New York's are 5.5 and 4 hours."""


class IntervalError(ValueError):
    """An unknown interval; `remedy` lists the valid forms."""

    def __init__(self, text: str) -> None:
        self.remedy = 'write seconds, minutes, hours or one day, as "30s", "5m", "1h" or "1d"'
        super().__init__(f'interval "{text}" is not known: {self.remedy}')


def interval_ns(text: str) -> int:
    """Return the ns of "1m" .. "12h" or "1d". Raises IntervalError for other text, and for more than a day."""
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in UNITS_NS or not 0 < int(number) * UNITS_NS[unit] <= DAY_NS:
        raise IntervalError(text)
    return int(number) * UNITS_NS[unit]


_QUARTER_NS: Final = 15 * UNITS_NS["m"]
"""The offset of each zone from UTC is a multiple of it."""


@dataclass(frozen=True, slots=True)
class Placed(Table):
    """The position of R bars in their sessions: int64[R] each, ns UTC.

    `inside` is False without a session; then `ts_open` and `ts_event` are the bar's own stamp and `day` is its UTC
    date. `extended` marks bars of extended hours, before the open or after the close, which are no errors.
    """

    ts_open: Ints
    ts_event: Ints
    day: Ints
    inside: Bools
    extended: Bools


def place(ts: Ints, sessions: Sessions, stamps: Stamps, interval: int) -> Placed:
    """Return true opens and closes of bars of one calendar. `interval` is in ns; DAY_NS means bars of whole sessions.

    A bar of a whole session whose stamp is midnight on the exchange's clock has that date, whatever `stamps` is.

    An intraday bar that extends beyond its session is cut at the session's bounds: a broker's 09:00 hour contains the
    trades from 09:30 on.
    """
    days, opens, closes = sessions.days, sessions.opens, sessions.closes
    if not len(days):
        nothing = np.zeros(len(ts), dtype=np.bool_)
        return Placed(ts, ts, ts - ts % DAY_NS, nothing, nothing)
    last = len(days) - 1
    extended = np.zeros(len(ts), dtype=np.bool_)
    if interval == DAY_NS:
        if stamps == "session":
            row = np.minimum(np.searchsorted(days, ts), last)
            inside = days[row] == ts
        elif stamps == "open":
            row = np.maximum(np.searchsorted(opens, ts, side="right") - 1, 0)
            inside = (opens[row] <= ts) & (ts < closes[row])
        else:
            row = np.maximum(np.searchsorted(opens, ts, side="left") - 1, 0)  # the newest session that opened before ts
            inside = (opens[row] < ts) & (ts <= closes[row] + LATE_NS)
        dated = _dated(ts, days, inside, sessions.zone)
        row, inside = np.where(dated >= 0, dated, row), inside | (dated >= 0)
        begins, ends = opens[row], closes[row]
    else:
        begin = ts if stamps == "open" else ts - interval
        row = np.minimum(np.searchsorted(closes, begin, side="right"), last)  # the first session that has not ended
        inside = (begin < closes[row]) & (begin + interval > opens[row])
        begins, ends = np.maximum(begin, opens[row]), np.minimum(begin + interval, closes[row])
        before, after = opens[row] - begin, begin - closes[np.maximum(row - 1, 0)]
        after = np.where(begin >= closes[-1], begin - closes[-1], after)
        extended = ~inside & (((before > 0) & (before <= _EXTENDED_NS)) | ((after >= 0) & (after < _EXTENDED_NS)))
    return Placed(
        ts_open=np.where(inside, begins, ts),
        ts_event=np.where(inside, ends, ts),
        day=np.where(inside, days[row], ts - ts % DAY_NS),
        inside=inside,
        extended=extended,
    )


def _dated(ts: Ints, days: Ints, inside: Bools, zone: str) -> Ints:
    """Return int64[R], the rows of the sessions whose date a stamp outside them names by midnight in `zone`; else -1.

    Vendors stamp days so: 05:00Z and 04:00Z in New York, 15:00Z of the day before in Tokyo.
    """
    row = np.full(len(ts), -1, dtype=np.int64)
    which = np.flatnonzero(~inside & (ts != NO_STAMP) & (ts % _QUARTER_NS == 0))
    if not len(which) or zone == "UTC":
        return row
    import polars as pl  # here: commands that read no bars load this module too

    clock = pl.Series(ts[which]).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone).dt.replace_time_zone(None)
    local = clock.dt.epoch("ns").to_numpy()
    place_of = np.minimum(np.searchsorted(days, local), len(days) - 1)
    row[which] = np.where(days[place_of] == local, place_of, -1)
    return row


def warm_from(sessions: Sessions, start_day: int, warmup: int, interval: int) -> int:
    """Return the instant after which bars are read, so that `warmup` samples precede the session of `start_day` (ns).

    A sample is a session's close on the house calendar or, intraday, each interval's end. There are fewer samples when
    the calendar begins later.
    """
    row = int(np.searchsorted(sessions.days, start_day))
    missing = warmup
    while missing > 0 and row > 0:
        row -= 1
        length = sessions.close_ns[row] - sessions.open_ns[row]
        samples = 1 if interval == DAY_NS else -(-length // interval)
        if samples > missing:
            return sessions.open_ns[row] + (samples - missing) * interval
        missing -= samples
    return sessions.close_ns[row - 1] if row > 0 else np.iinfo(np.int64).min + 1
