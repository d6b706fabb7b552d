"""The equity of a book over time, as Alpaca's portfolio history: the valuations of the run, by windows of a timeframe.

What can go wrong: a program takes a deposit for a profit. So the profit is the change of equity without deposits,
withdrawals and capital moved from or to other books. A point is the last valuation in its window, and a window without
one has no point: nothing is interpolated.
"""

import re
from bisect import bisect_left, bisect_right
from calendar import monthrange
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from aiohttp import web

from quantd.daemon.views.account_profit import AccountProfit
from quantd.server.gateway.feed import in_order, when
from quantd.server.gateway.request_form import given
from quantd.server.gateway.vendor_form import Answer, invalid
from quantd.trading.display_text import session_date
from quantd.trading.instruments import MICRO
from quantd.trading.market import Ints
from quantd.trading.sessions import DAY_NS, Sessions

MINUTE_NS: Final = 60 * 10**9

FRAMES: Final = {
    "1Min": MINUTE_NS, "5Min": 5 * MINUTE_NS, "15Min": 15 * MINUTE_NS, "1H": 60 * MINUTE_NS, "1D": DAY_NS,
}  # fmt: skip
"""Timeframe -> its length."""

EPOCH: Final = date(1970, 1, 1)

MOST: Final = 10_000
"""Most points of an answer."""

READ: Final = frozenset({
    "period", "timeframe", "start", "end", "date_end", "intraday_reporting", "pnl_reset", "extended_hours",
    "cashflow_types",
})  # fmt: skip

ONLY: Final = {
    "intraday_reporting": ("market_hours",), "pnl_reset": ("per_day", "no_reset"), "extended_hours": ("false",),
    "cashflow_types": ("NONE",),
}  # fmt: skip
"""Parameter -> what it may be here; the first is the default."""


def history_of(
    profit: AccountProfit, book: str, request: web.Request, house: Sessions, interval_ns: int, now: int
) -> Answer:
    """The history of a book that a request asks for. `interval_ns` is the length of the run's bars. Raises Fault."""
    asked = given(request, READ)
    for name, values in ONLY.items():
        if asked.get(name, values[0]).lower() not in [value.lower() for value in values]:
            raise invalid(f"{name} {asked[name][:20]!r} is not served: {', '.join(values)} is")
    zone = ZoneInfo(house.zone)
    since, until = _span(asked, house, zone, now)
    frame = _frame(asked.get("timeframe", ""), since, until, interval_ns)
    ts, equity, flows = profit.book_samples(book)
    first = int(ts[0] == 0)  # the account before its first valuation is a base, and no point
    low, high = (int(np.searchsorted(ts, instant, side="right")) for instant in (since, until))
    rows = np.arange(max(low, first), high)
    begins = np.array([_begin(int(ts[row]), frame, zone) for row in rows], dtype=np.int64)
    rows = rows[np.append(begins[1:] != begins[:-1], True)] if len(rows) else rows
    if len(rows) > MOST:
        raise invalid(f"the history has {len(rows)} points of {frame}, and {MOST} at most: ask for a shorter period")
    base = max(low - 1, 0)
    bases = np.full(len(rows), base)
    if frame != "1D" and asked.get("pnl_reset", "per_day") == "per_day":
        days = np.array([_day(int(ts[row]) - 1, zone).toordinal() for row in rows], dtype=np.int64)
        bases = np.array([max(rows[days < day], default=base) for day in days], dtype=np.int64)
    return _answer(frame, [_begin(int(ts[row]), frame, zone) for row in rows], equity, flows, rows, bases, base)


def _answer(frame: str, begins: list[int], equity: Ints, flows: Ints, rows: Ints, bases: Ints, base: int) -> Answer:
    """The history in the vendor's form: the samples `rows`, each with the sample that its profit begins at."""
    gained = (equity[rows] - flows[rows] - (equity[bases] - flows[bases])).tolist()
    of = equity[bases].tolist()
    return {
        "timestamp": [begin // 10**9 for begin in begins],
        "equity": (equity[rows] / MICRO).tolist(),
        "profit_loss": [micro / MICRO for micro in gained],
        "profit_loss_pct": [micro / worth if worth > 0 else None for micro, worth in zip(gained, of, strict=True)],
        "base_value": int(equity[base]) / MICRO,
        "timeframe": frame,
        "cashflow": {},
    }


def _begin(ts: int, frame: str, zone: ZoneInfo) -> int:
    """The begin of the window of a valuation: midnight on the exchange's clock for a day. A window has its end."""
    if frame == "1D":
        return round(datetime.combine(_day(ts - 1, zone), time(), zone).timestamp()) * 10**9
    return (ts - 1) // FRAMES[frame] * FRAMES[frame]


def _frame(text: str, since: int, until: int, interval_ns: int) -> str:
    """The timeframe of a request; without one the vendor's for the period, or the next one that the run has.

    Raises Fault.
    """
    served = [name for name, length in FRAMES.items() if length >= min(interval_ns, DAY_NS)]
    if text and text not in served:
        raise invalid(f"timeframe {text[:20]!r} is not served: {', '.join(served)} of the valuations of the run are")
    usual = "1Min" if until - since < 7 * DAY_NS else "15Min" if until - since < 30 * DAY_NS else "1D"
    return text or next(name for name in served if FRAMES[name] >= FRAMES[usual])


def _span(asked: dict[str, str], house: Sessions, zone: ZoneInfo, now: int) -> tuple[int, int]:
    """The period of a request, since < valuation <= until, in ns UTC. Raises Fault."""
    if "end" in asked and "date_end" in asked:
        raise invalid("end and date_end are both given; leave one out")
    period, start = asked.get("period", ""), asked.get("start", "")
    last = asked.get("end", asked.get("date_end", ""))
    if period and start and last:
        raise invalid("period, start and end are all given; leave one out")
    until = _last(last, zone) if last else now
    if start:
        since = when(start, zone)
        if period:
            until = _ns(_date(_day(since, zone), period, house, 1) + timedelta(days=1), zone)
        return since, min(in_order(since, until) if last else until, now)
    return _ns(_date(_day(max(until, 1) - 1, zone), period or "1M", house, -1), zone), min(until, now)


def _last(text: str, zone: ZoneInfo) -> int:
    """The end of a request; a date is its whole day."""
    return when(text, zone) + (DAY_NS if len(text) == 10 else 0)


def _date(day: date, period: str, house: Sessions, way: int) -> date:
    """The other end of a period that ends (`way` -1) or begins with a day: its first or last date. D are sessions.

    Raises Fault.
    """
    match = re.fullmatch(r"([1-9]\d{0,3})([DWMA])", period)
    if match is None:
        raise invalid(f"period {period[:20]!r} is not served: a number with D, W, M or A is, such as 1M")
    count, unit = int(match[1]), match[2]
    if unit == "D":
        ns = (day - EPOCH).days * DAY_NS
        at = bisect_right(house.day_ns, ns) - count if way < 0 else bisect_left(house.day_ns, ns) + count - 1
        return session_date(house.day_ns[min(max(at, 0), len(house.day_ns) - 1)])
    if unit == "W":
        other = day + timedelta(days=7 * count * way)
    else:
        year, month = divmod(12 * day.year + day.month - 1 + (12 if unit == "A" else 1) * count * way, 12)
        year = min(max(year, 1970), 2200)
        other = date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
    return other - timedelta(days=way)


def _ns(day: date, zone: ZoneInfo) -> int:
    """Midnight of a date on the exchange's clock, in ns UTC; 0 before 1970."""
    return when(str(max(day, EPOCH)), zone)


def _day(ns: int, zone: ZoneInfo) -> date:
    """The date of an instant on the exchange's clock."""
    return datetime.fromtimestamp(ns // 10**9, zone).date()
