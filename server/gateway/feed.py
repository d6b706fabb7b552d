"""Market data of the gateway: the bars that the run has seen, in the form of Alpaca's data API, and its calendar.

What can go wrong: a program in a replay reads a price of the future, and its test is worth nothing. So each answer is
made of the same bars as /api/v1/bars, which end at the market time at the latest. A program asks for bars of a length
that the run does not have, adjusted, or of another symbol: that is refused with one sentence that names what is served.

The run has bars, and no quotes. A quote or a trade is the close of the newest bar, with size 0.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from aiohttp import web

from quantd.server.api.documents import MOST_NS
from quantd.server.api.routes.market_routes import LENGTHS, MOST_JOINED, BarNow, MarketRoutes, Per, joined
from quantd.server.api.run_reader import RunReader
from quantd.server.gateway.request_form import given
from quantd.server.gateway.vendor_form import Answer, Fault, answer, instant, invalid
from quantd.trading.display_text import session_date
from quantd.trading.sessions import DAY_NS, Sessions

MOST: Final = 10_000
"""Most bars in an answer, as at the vendor."""

MOST_SYMBOLS: Final = 200
"""Most symbols in a request."""

MINUTE_NS: Final = 60_000_000_000

UNITS: Final[dict[str, tuple[int, Per]]] = {
    "Min": (MINUTE_NS, "bar"), "T": (MINUTE_NS, "bar"), "Hour": (60 * MINUTE_NS, "bar"), "H": (60 * MINUTE_NS, "bar"),
    "Day": (DAY_NS, "day"), "D": (DAY_NS, "day"), "Week": (7 * DAY_NS, "week"), "W": (7 * DAY_NS, "week"),
    "Month": (31 * DAY_NS, "month"), "M": (31 * DAY_NS, "month"),
}  # fmt: skip
"""Unit of a timeframe -> its length, and how bars are joined to one of them."""

NAMES: Final[dict[Per, str]] = {"day": "1Day", "week": "1Week", "month": "1Month"}

OF_BARS: Final = frozenset({
    "symbols", "timeframe", "start", "end", "limit", "page_token", "sort", "adjustment", "feed", "asof", "currency",
})  # fmt: skip
OF_LATEST: Final = frozenset({"symbols", "feed", "currency", "limit", "page_token"})
"""Parameters that are read; clients send `limit` and `page_token` empty to the newest bar, too."""


class Feed:
    """The handlers of market data over one running service."""

    def __init__(self, run: RunReader) -> None:
        self._run, self._market = run, MarketRoutes(run)
        parts = run.parts
        self._house: Sessions = parts.sessions[parts.universe.calendar]
        self._zone = ZoneInfo(self._house.zone)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes, for several symbols and for one."""
        router.add_get("/v2/stocks/bars", self._bars)
        router.add_get("/v2/stocks/snapshots", self._snapshots)
        router.add_get("/v2/stocks/{what:bars|quotes|trades}/latest", self._latest)
        router.add_get("/v2/stocks/{symbol}/bars", self._bars)
        router.add_get("/v2/stocks/{symbol}/snapshot", self._snapshots)
        router.add_get("/v2/stocks/{symbol}/{what:bars|quotes|trades}/latest", self._latest)

    async def calendar(self, request: web.Request) -> web.Response:
        """The sessions of the account's calendar, with their times on the exchange's clock."""
        asked = given(request, frozenset({"start", "end", "date_type"}))
        if asked.get("date_type", "TRADING") != "TRADING":
            raise invalid("date_type must be TRADING")
        house = self._house
        first, last = (self._day(asked.get(name, "")) for name in ("start", "end"))
        if first is not None and last is not None:
            in_order(first, last)
        begin = bisect_left(house.day_ns, first) if first is not None else 0
        end = bisect_right(house.day_ns, last) if last is not None else len(house.day_ns)
        rows: list[Answer] = []
        for k in range(begin, end):
            opened, closed = (
                datetime.fromtimestamp(ns // 10**9, self._zone) for ns in (house.open_ns[k], house.close_ns[k])
            )
            rows.append({
                "date": str(session_date(house.day_ns[k])), "open": f"{opened:%H:%M}", "close": f"{closed:%H:%M}",
                "session_open": f"{opened:%H%M}", "session_close": f"{closed:%H%M}",
            })  # fmt: skip
        return answer(rows)

    def _day(self, text: str) -> int | None:
        """The day of a date or an instant, at 00:00 UTC in ns; None for no text. Raises Fault."""
        return when(text, UTC) // DAY_NS * DAY_NS if text else None

    async def _bars(self, request: web.Request) -> web.Response:
        """A page of bars: the symbols in the order of their names, of each the bars in the order of `sort`."""
        asked = given(request, OF_BARS)
        if asked.get("adjustment", "raw") != "raw":
            raise invalid(f"adjustment {asked['adjustment'][:20]!r} is not served: the bars of the run are raw")
        if "asof" in asked:
            raise invalid("asof is not served: a symbol is that of the run")
        if (order := asked.get("sort", "asc")) not in ("asc", "desc"):
            raise invalid("sort must be asc or desc")
        limit = asked.get("limit", "1000")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= MOST):
            raise invalid(f"limit must be a number from 1 to {MOST}")
        per = self._per(asked.get("timeframe", ""))
        start, end = self._period(asked)
        columns, one = self._columns(request, asked)
        at_symbol, at_ns = _place(asked.get("page_token", ""))
        pages: dict[str, list[Answer]] = {}
        room, token = int(limit), None
        for symbol, column in columns:
            if symbol < at_symbol:
                continue
            low, high = start, end
            if symbol == at_symbol and at_ns is not None:
                low, high = (max(start, at_ns + 1), end) if order == "asc" else (start, min(end, at_ns - 1))
            if not room:
                token = _token(symbol, None)
                break
            rows = await self._page(column, per, low, high, room + 1, oldest=order == "asc")
            shown = rows[:room]
            if shown or one:
                pages[symbol] = [self._bar(bar, per) for bar in shown]
            room -= len(shown)
            if len(rows) > len(shown):
                token = _token(symbol, self._begin(shown[-1].ts, per))
                break
        if one:
            symbol = columns[0][0]
            return answer({"symbol": symbol, "bars": pages[symbol], "next_page_token": token})
        return answer({"bars": pages, "next_page_token": token})

    async def _page(self, column: int, per: Per, start: int, end: int, most: int, *, oldest: bool) -> list[BarNow]:
        """At most `most` bars that begin in a period, the oldest or the newest first."""
        length = self._run.parts.interval_ns if per == "bar" else LENGTHS[per]
        since, until = min(max(start, 0), MOST_NS), min(max(end, 0) + length + 2, MOST_NS)
        if per == "bar":  # at most two bars end in the period and begin outside it
            bars = await self._market.seen(column, since, until, most + 2, oldest=oldest)
        else:
            parts = await self._market.seen(column, since, until, MOST_JOINED + 1)
            if len(parts) > MOST_JOINED:
                text = f"{NAMES[per]} bars are joined from at most {MOST_JOINED} bars of the run"
                raise invalid(f"{text}: ask for a shorter period")
            bars = joined(parts, per)
        rows = [bar for bar in bars if start <= self._begin(bar.ts, per) <= end]
        return (rows if oldest else rows[::-1])[:most]

    async def _latest(self, request: web.Request) -> web.Response:
        """The newest bar, or the close of it as a quote or a trade."""
        asked, what = given(request, OF_LATEST), request.match_info["what"]
        columns, one = self._columns(request, asked)
        rows: dict[str, Answer] = {}
        for symbol, column in columns:
            if newest := await self._market.seen(column, most=1):
                rows[symbol] = self._form(what, newest[-1])
        if one:
            symbol = columns[0][0]
            if symbol not in rows:
                raise Fault(404, 40410000, f"{symbol} has no bar yet")
            return answer({"symbol": symbol, what[:-1]: rows[symbol]})
        return answer({what: rows})

    async def _snapshots(self, request: web.Request) -> web.Response:
        """The newest bar of the run, of the day and of the day before, with its close as a quote and a trade."""
        asked = given(request, OF_LATEST)
        columns, one = self._columns(request, asked)
        daily = self._run.parts.interval_ns >= DAY_NS
        now = self._run.service.shell.ts
        rows: dict[str, Answer] = {}
        for symbol, column in columns:
            if daily:
                days = await self._market.seen(column, most=2)
                newest = days[-1:]
            else:  # the day before may be that before a long weekend
                bars = await self._market.seen(column, max(now - 15 * DAY_NS, 0), most=MOST_JOINED)
                days, newest = joined(bars, "day"), bars[-1:]
            if not newest:
                continue
            rows[symbol] = {
                "latestTrade": self._form("trades", newest[0]), "latestQuote": self._form("quotes", newest[0]),
                "minuteBar": None if daily else self._bar(newest[0], "bar"),
                "dailyBar": self._bar(days[-1], "day"),
                "prevDailyBar": self._bar(days[-2], "day") if len(days) > 1 else None,
            }  # fmt: skip
        if one:
            symbol = columns[0][0]
            if symbol not in rows:
                raise Fault(404, 40410000, f"{symbol} has no bar yet")
            return answer({"symbol": symbol, **rows[symbol]})
        return answer(rows)

    # the parts of a request

    def _columns(self, request: web.Request, asked: dict[str, str]) -> tuple[list[tuple[str, int]], bool]:
        """(symbol, column) of each symbol asked for, by name, and whether the path names it. Raises Fault."""
        universe = self._run.service.shell.state.universe
        one = request.match_info.get("symbol", "")
        names = [one] if one else sorted(set(filter(None, asked.get("symbols", "").split(","))))
        if not 1 <= len(names) <= MOST_SYMBOLS:
            raise invalid(f"symbols must name 1 to {MOST_SYMBOLS} symbols")
        if unknown := [name for name in names if name not in universe.index]:
            raise invalid(f"invalid symbol: {unknown[0][:40]} is none of the {universe.size} symbols of the run")
        if (currency := asked.get("currency", universe.currency)) != universe.currency:
            raise invalid(f"currency {currency[:10]!r} is not served: prices are in {universe.currency}")
        source = self._run.config.feed
        # iex is what programs of the free plan name, which has no other
        if (feed := asked.get("feed", "iex")) not in {"iex", source.plan if source.kind == "alpaca" else "iex"}:
            raise invalid(
                f"feed {feed[:20]!r} is not served: the bars are those of the run ({source.kind}); leave it out"
            )
        return [(name, universe.index[name]) for name in names], bool(one)

    def _per(self, text: str) -> Per:
        """How the bars of the run make those of a timeframe. Raises Fault for a timeframe that is not served."""
        interval = self._run.parts.interval_ns
        match = re.fullmatch(r"(\d{1,3})?([A-Za-z]+)", text)
        if match is not None and match[2] in UNITS:
            (length, per), count = UNITS[match[2]], int(match[1] or 1)
            if count * length == interval and (per in ("bar", "day")):
                return "bar"
            if count == 1 and per != "bar" and length > interval:
                return per
        hours, rest = divmod(interval, 60 * MINUTE_NS)
        of_run = f"{interval // MINUTE_NS}Min" if rest else f"{hours}Hour"
        names = [*([] if interval == DAY_NS else [of_run]), *NAMES.values()]
        raise invalid(f"timeframe {text[:20]!r} is not served: {', '.join(names)} are, made of the bars of the run")

    def _period(self, asked: dict[str, str]) -> tuple[int, int]:
        """The first and the last instant (ns UTC) at which bars begin: the present day without `start`, as at the
        vendor. Raises Fault.
        """
        now = self._run.service.shell.ts
        today = datetime.fromtimestamp(now // 10**9, self._zone).date()
        start, text = when(asked.get("start", str(today)), self._zone), asked.get("end", "")
        if not text:
            return start, now
        end = when(text, self._zone) + (DAY_NS - 1 if len(text) == 10 else 0)  # a date is the whole day
        return start, in_order(start, end)

    # the form of an answer

    def _begin(self, ts: int, per: Per) -> int:
        """The instant (ns UTC) at which a bar begins that ends at `ts`: midnight on the exchange's clock for days."""
        interval = self._run.parts.interval_ns
        if per == "bar" and interval < DAY_NS:
            return ts - interval
        day = session_date(ts - 1)
        if per == "week":
            day = date.fromordinal(day.toordinal() - day.weekday())
        elif per == "month":
            day = day.replace(day=1)
        return _ns(datetime.combine(day, time(), self._zone))

    def _bar(self, bar: BarNow, per: Per) -> Answer:
        if bar.open is None:
            raise invalid("the run records closes only, and has no whole bars; ask for the latest quote or trade")
        return {
            "t": instant(self._begin(bar.ts, per)), "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close,
            "v": bar.volume or 0, "n": None, "vw": None,
        }  # fmt: skip

    def _form(self, what: str, bar: BarNow) -> Answer:
        """The newest bar, or its close as a trade or a quote."""
        if what == "bars":
            return self._bar(bar, "bar")
        at: Answer = {"t": instant(bar.ts), "c": [], "z": ""}
        if what == "trades":
            return at | {"p": bar.close, "s": 0, "x": "", "i": 0}
        return at | {"bp": bar.close, "bs": 0, "bx": "", "ap": bar.close, "as": 0, "ax": ""}


def when(text: str, zone: tzinfo) -> int:
    """The instant of a text in ns UTC: a date is midnight in `zone`, a time without a zone is UTC. Raises Fault."""
    try:
        if len(text) == 10:
            return _ns(datetime.combine(date.fromisoformat(text), time(), zone))
        moment = datetime.fromisoformat(text)
        return _ns(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise invalid(f"{text[:40]!r} is no time: write 2019-01-31 or 2019-01-31T14:30:00Z") from None


def in_order(start: int, end: int) -> int:
    """The `end` of a period. Raises Fault if it is before the start: an empty answer would say that nothing was."""
    if end < start:
        raise invalid("start is after end; exchange them")
    return end


def _ns(moment: datetime) -> int:
    """An instant in ns UTC that fits 64 bits: 0 for one before 1970."""
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return min(max(seconds * 1000, 0), MOST_NS - 40 * DAY_NS)


def _token(symbol: str, begin: int | None) -> str:
    """The token of the page that goes on after the bar of a symbol that begins at an instant; None: from its first."""
    return urlsafe_b64encode(f"{symbol}|{'' if begin is None else begin}".encode()).decode()


def _place(token: str) -> tuple[str, int | None]:
    """The symbol and the instant in a page's token. Raises Fault."""
    if not token:
        return "", None
    try:
        symbol, begin = urlsafe_b64decode(token.encode()).decode().rsplit("|", 1)
        return symbol, int(begin) if begin else None
    except (ValueError, UnicodeError):
        raise invalid("page_token is none of this gateway; ask for the first page again") from None
