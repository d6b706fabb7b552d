"""Converts file stamps to true instants: the open of a bar, and the time at which it became known.

What can go wrong. A bar counts as known before its close, and a backtest trades on tomorrow's price. Bars of one date
can close hours apart, and half days close early. A vendor's stamp of a day may be midnight of its exchange, which is
another date in UTC.

A bar is therefore assigned to the session of its own calendar, and a daily bar closes with that session. A bar in no
session keeps its stamp, so that a check can report it. Bars of extended hours are marked and are no error. A stamp at
midnight of the exchange is read as a date only if it fits no session as an instant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from quantd.adapters.feeds.bars.rows import NO_STAMP, Table
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import DAY_NS, Sessions

Stamps = Literal["session", "open", "close"]

UNITS_NS: Final = {"s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000, "d": DAY_NS}

LATE_NS: Final = 4 * UNITS_NS["h"]
"""How late a daily bar stamped "close" may be: it may have the hour of a regular close on a day that closed early, by
three hours at most."""

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


CLOCKS: Final = (
    "America/New_York", "Europe/London", "Europe/Berlin", "Asia/Tokyo", "Asia/Hong_Kong", "Asia/Shanghai",
    "Asia/Kolkata", "Asia/Seoul", "Australia/Sydney", "America/Toronto", "America/Chicago", "America/Los_Angeles",
    "America/Sao_Paulo", "Asia/Singapore", "Europe/Warsaw", "Europe/Athens",
)  # fmt: skip
"""Clocks on which instants that are all midnight are dates."""

_NEARLY_ALL: Final = 0.98
"""Share of the stamps that have to be midnights of sessions on another clock than the exchange's."""

_LEAST_LABELS: Final = 5
"""Fewest stamps of one time of day that prove it to be an addition to a date."""

_QUARTER_NS: Final = 15 * UNITS_NS["m"]
"""The offset of every zone from UTC is a multiple of 15 minutes."""


@dataclass(frozen=True, slots=True)
class BarTimes(Table):
    """The position of R bars in their sessions: open, close (`ts_event`) and session date, int64[R] each, ns UTC.

    `inside` is False for a bar in no session, whose `ts_open` and `ts_event` are its stamp and whose `day` is its UTC
    date. `extended` is True for bars of extended hours, before the open or after the close, which are no errors.
    """

    ts_open: Ints
    ts_event: Ints
    day: Ints
    inside: Bools
    extended: Bools


def place(ts: Ints, sessions: Sessions, stamps: Stamps, interval: int) -> BarTimes:
    """Return true opens and closes of bars of one calendar. `interval` is in ns; DAY_NS means bars of whole sessions.

    A bar of a whole session whose stamp is midnight on the exchange's clock has that date, whatever `stamps` is. In a
    market without a pause, a day that opens at its stamp lasts 24 hours, and belongs to the session after which it is
    known.

    An intraday bar that extends beyond its session is cut at the session's bounds: a broker's 09:00 hour contains the
    trades from 09:30 on. Whatever `stamps` is, 15:59:59 is the end of one.

    `stamps` is the meaning of a bar's stamp: the date of its session, its open or its close.
    """
    days, opens, closes = sessions.days, sessions.opens, sessions.closes
    if not len(days):
        all_false = np.zeros(len(ts), dtype=np.bool_)
        return BarTimes(ts, ts, ts - ts % DAY_NS, all_false, all_false)
    last_session = len(days) - 1
    extended = np.zeros(len(ts), dtype=np.bool_)
    if interval == DAY_NS:
        if stamps == "session":
            session = np.minimum(np.searchsorted(days, ts), last_session)
            inside = days[session] == ts
        elif stamps == "open" and sessions.zone == "UTC":
            # the day lasts 24 hours from its stamp on, such as 22:00 UTC of a pair of currencies: known after that
            session = np.minimum(np.searchsorted(closes, ts + DAY_NS), last_session)
            begun = np.minimum(np.searchsorted(closes, ts, side="right"), last_session)
            inside = (opens[session] < ts + DAY_NS) | (opens[begun] <= ts)
            inside &= closes[session] >= ts + DAY_NS
        elif stamps == "open":
            session = np.maximum(np.searchsorted(opens, ts, side="right") - 1, 0)
            inside = (opens[session] <= ts) & (ts < closes[session])
        else:
            session = np.maximum(np.searchsorted(opens, ts) - 1, 0)  # the newest session that opened before ts
            inside = (opens[session] < ts) & (ts <= closes[session] + LATE_NS)
        session_of_date = _sessions_of_dates(ts, sessions, inside, stamps)
        session, inside = np.where(session_of_date >= 0, session_of_date, session), inside | (session_of_date >= 0)
        bar_opens, bar_closes = opens[session], closes[session]
    else:
        nominal_open = _nominal_open(ts, stamps, interval)
        # the first session that has not ended
        session = np.minimum(np.searchsorted(closes, nominal_open, side="right"), last_session)
        inside = (nominal_open < closes[session]) & (nominal_open + interval > opens[session])
        bar_opens, bar_closes = (
            np.maximum(nominal_open, opens[session]),
            np.minimum(nominal_open + interval, closes[session]),
        )
        ns_to_open, ns_since_close = opens[session] - nominal_open, nominal_open - closes[np.maximum(session - 1, 0)]
        # after the last session, counted from its own close
        ns_since_close = np.where(nominal_open >= closes[-1], nominal_open - closes[-1], ns_since_close)
        extended = ~inside & (
            ((ns_to_open > 0) & (ns_to_open <= _EXTENDED_NS))
            | ((ns_since_close >= 0) & (ns_since_close < _EXTENDED_NS))
        )
    return BarTimes(
        ts_open=np.where(inside, bar_opens, ts),
        ts_event=np.where(inside, bar_closes, ts),
        day=np.where(inside, days[session], ts - ts % DAY_NS),
        inside=inside,
        extended=extended,
    )


def _nominal_open(ts: Ints, stamps: Stamps, interval: int) -> Ints:
    """Return int64[R], the opens of intraday bars whose stamps are opens or closes; a stamp in the last second of a
    minute is a close."""
    minute = UNITS_NS["m"]
    in_last_second = (interval >= minute) & (ts % minute >= minute - UNITS_NS["s"])
    ends = np.where(in_last_second, (ts // minute + 1) * minute, ts + interval if stamps == "open" else ts)
    return ends - interval


def _sessions_of_dates(ts: Ints, sessions: Sessions, inside: Bools, stamps: Stamps) -> Ints:
    """Return int64[R]: for a stamp in no session that is a date, the index of its session; else -1."""
    session = _dated(ts, sessions.days, inside, (sessions.zone, *(CLOCKS if stamps == "session" else ())))
    if stamps == "session" and not (inside | (session >= 0)).all():
        session = np.maximum(session, _labelled(ts, sessions.days, sessions.zone))
    return session


def _dated(ts: Ints, days: Ints, inside: Bools, zones: Sequence[str]) -> Ints:
    """Return int64[R]: for a stamp in no session that is midnight on a clock, the index of the session of its date;
    else -1.

    Vendors stamp daily bars with such times: 05:00Z or 04:00Z in New York, 15:00Z of the day before in Tokyo. The first
    of `zones` is the exchange's. Another one counts only if nearly all of the stamps are midnights of sessions there: a
    broker in Chicago stamps days of New York with midnight in Chicago.
    """
    session = np.full(len(ts), -1, dtype=np.int64)
    on_quarter = (ts != NO_STAMP) & (ts % _QUARTER_NS == 0)
    if zones[0] == "UTC" or not (~inside & on_quarter).any():
        return session
    on_quarters = np.flatnonzero(on_quarter)
    import polars as pl  # here: commands that read no bars load this module too

    # the symbols of a market have the same stamps
    instants, at, bars = np.unique(ts[on_quarters], return_inverse=True, return_counts=True)
    stamps = pl.Series(instants).cast(pl.Datetime("ns", "UTC"))
    for zone in zones:
        local = stamps.dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.epoch("ns").to_numpy()
        next_session = np.minimum(np.searchsorted(days, local), len(days) - 1)
        is_midnight = days[next_session] == local
        # a clock of London has 00:00Z in winter, which is a date, and 23:00Z in summer
        if zone == zones[0] or bars[is_midnight].sum() >= _NEARLY_ALL * len(ts):
            session[on_quarters] = np.where(is_midnight[at] & ~inside[on_quarters], next_session[at], -1)
            if (session >= 0).any():
                break
    return session


def _labelled(ts: Ints, days: Ints, zone: str) -> Ints:
    """Return int64[R]: for stamps that all have one time of day, in UTC or on the exchange's clock `zone`, the index of
    the session of their date; else -1.

    Vendors add such a time to a date: 23:59:59, or 21:00Z in winter and summer, hours after the close of a half day. In
    a market without a pause only the last minute is of the date; another time is the bound of a day of its own.
    """
    session = np.full(len(ts), -1, dtype=np.int64)
    readable = ts != NO_STAMP
    if readable.sum() < _LEAST_LABELS:
        return session
    import polars as pl  # here: commands that read no bars load this module too

    instants = pl.Series(ts[readable]).cast(pl.Datetime("ns", "UTC"))
    for clock in ("UTC", zone):
        local = instants.dt.convert_time_zone(clock).dt.replace_time_zone(None).dt.epoch("ns").to_numpy()
        time = int(local[0]) % DAY_NS
        if (local % DAY_NS != time).any() or (zone == "UTC" and time < DAY_NS - UNITS_NS["m"]):
            continue
        next_session = np.minimum(np.searchsorted(days, local - time), len(days) - 1)
        is_date = days[next_session] == local - time
        if is_date.sum() >= _NEARLY_ALL * len(local):
            session[readable] = np.where(is_date, next_session, -1)
            break
    return session


def warm_from(sessions: Sessions, start_day: int, warmup: int, interval: int) -> int:
    """Return the instant after which bars are read, so that `warmup` samples precede the session of `start_day` (ns).

    A sample is a session's close on the house calendar (the account's) or, intraday, each interval's end. There are
    fewer samples when the calendar begins later.

    Returns the smallest time if the first session of the calendar belongs to the warm-up.
    """
    session = int(np.searchsorted(sessions.days, start_day))
    missing = warmup
    while missing > 0 and session > 0:
        session -= 1
        length = sessions.close_ns[session] - sessions.open_ns[session]
        samples = 1 if interval == DAY_NS else -(-length // interval)
        if samples > missing:
            return sessions.open_ns[session] + (samples - missing) * interval
        missing -= samples
    return sessions.close_ns[session - 1] if session > 0 else np.iinfo(np.int64).min + 1
