"""Yahoo Finance as yfinance meets it: cookie, crumb and chart v8, in the shape that was recorded, over bars of our
choice.

Like Yahoo it divides prices, volumes and dividends by every later split, and rounds prices to single precision.
"""

import asyncio
import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache as once
from zoneinfo import ZoneInfo

import numpy as np
from aiohttp import web

Daily = tuple[date, float, float, float, float, float]
"""date, open, high, low, close, volume; as traded."""


@once
def home() -> dict[str, str]:
    """The environment of commands that call yfinance in this process.

    yfinance opens its caches once for a process: their folder must outlive the folder of a test.
    """
    folder = tempfile.mkdtemp(prefix="quantd-yfinance-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {"XDG_CACHE_HOME": folder}


@dataclass
class Listing:
    """One symbol's truth. `bars` are days as traded; `minutes` are (UTC second, open, high, low, close, volume) of any
    length."""

    bars: list[Daily]
    splits: list[tuple[date, int, int]] = field(default_factory=list)
    dividends: list[tuple[date, str]] = field(default_factory=list)
    minutes: list[tuple[int, float, float, float, float, float]] = field(default_factory=list)
    zone: str = "America/New_York"
    opens: tuple[int, int] = (9, 30)
    currency: str = "USD"
    kind: str = "EQUITY"
    nulls: set[date] = field(default_factory=set)
    held: float = 1.0
    """Share of each dividend that the adjusted closes hold."""

    def factor(self, day: date) -> Fraction:
        """Shares of today to one of `day`."""
        total = Fraction(1)
        for when, new, old in self.splits:
            if when > day:
                total *= Fraction(new, old)
        return total


@dataclass
class Yahoo:
    """The venue. `throttled` answers 429 to everything; `broken` lists symbols answered with 500 and `empty` those with
    a chart of nothing; `slow_s` delays charts. `asked` counts chart requests. `foreign` answers every chart with a
    status, headers and a body; `changed` edits the text of each right answer."""

    listings: dict[str, Listing]
    throttled: bool = False
    broken: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    slow_s: float = 0.0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    foreign: tuple[int, dict[str, str], bytes] | None = None
    changed: Callable[[str], str] = lambda text: text

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._cookie)
        app.router.add_get("/v1/test/getcrumb", self._crumb)
        app.router.add_get("/v8/finance/chart/{symbol}", self._chart)
        return app

    async def _cookie(self, _: web.Request) -> web.Response:
        answer = web.Response(status=404, text="<html>not found</html>")
        answer.set_cookie("A3", "d=AQABBL", max_age=31_536_000)
        return answer

    async def _crumb(self, _: web.Request) -> web.Response:
        if self.throttled:
            return web.Response(status=429, text="Too Many Requests\r\n")
        return web.Response(text="3dJ8kQ1m.xE")

    async def _chart(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        self.asked.append((symbol, dict(request.query)))
        if self.throttled:
            return web.Response(status=429, text="Too Many Requests\r\n")
        await asyncio.sleep(self.slow_s)
        if self.foreign is not None:
            status, headers, body = self.foreign
            return web.Response(status=status, headers=headers, body=body)
        if symbol in self.broken:
            return web.json_response(
                {"chart": {"result": None, "error": {"code": "Internal", "description": "oops"}}}, status=500
            )
        listing = self.listings.get(symbol)
        if listing is None:
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return web.json_response({"chart": {"result": None, "error": error}}, status=404)
        result = chart(symbol, listing, dict(request.query), nothing=symbol in self.empty)
        text = self.changed(json.dumps({"chart": {"result": [result], "error": None}}))
        return web.Response(text=text, content_type="application/json")


def chart(symbol: str, listing: Listing, query: dict[str, str], *, nothing: bool = False) -> dict[str, object]:
    """The result of one chart request."""
    zone = ZoneInfo(listing.zone)

    def opening(day: date) -> int:
        return int(datetime(day.year, day.month, day.day, *listing.opens, tzinfo=zone).timestamp())

    daily = query["interval"] == "1d"
    if "range" in query:
        first, last = opening(listing.bars[-1][0]), 1 << 40
    else:
        first, last = int(query["period1"]), int(query["period2"])
    if daily:
        rows = [(opening(bar[0]), bar[0], *bar[1:]) for bar in listing.bars]
    else:
        rows = [(at, datetime.fromtimestamp(at, zone).date(), *values) for at, *values in listing.minutes]
    rows = [row for row in rows if first <= row[0] < last]
    wide: dict[str, list[float | int | None]] = {name: [] for name in ("open", "high", "low", "close", "volume")}
    for _, day, *values in rows:
        factor = float(listing.factor(day))
        null = day in listing.nulls
        for name, value in zip(("open", "high", "low", "close"), values[:4], strict=True):
            wide[name].append(None if null else float(np.float32(value / factor)))
        wide["volume"].append(None if null else round(values[4] * factor))
    meta: dict[str, object] = {
        "currency": listing.currency,
        "symbol": symbol,
        "exchangeName": "NMS",
        "fullExchangeName": "NasdaqGS",
        "instrumentType": listing.kind,
        "firstTradeDate": opening(listing.bars[0][0]),
        "regularMarketTime": opening(listing.bars[-1][0]),
        "hasPrePostMarketData": True,
        "gmtoffset": int(zone.utcoffset(datetime.now()).total_seconds()),  # type: ignore[union-attr]
        "timezone": "EST",
        "exchangeTimezoneName": listing.zone,
        "regularMarketPrice": listing.bars[-1][4],
        "priceHint": 2,
        "currentTradingPeriod": {
            part: {"timezone": "EST", "start": 1_700_000_000, "end": 1_700_023_400, "gmtoffset": -18_000}
            for part in ("pre", "regular", "post")
        },
        "dataGranularity": query["interval"],
        "range": query.get("range", ""),
        "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
    }
    if nothing or not rows:
        return {"meta": meta, "indicators": {"quote": [{}], "adjclose": [{}]}}
    if not daily:
        meta["tradingPeriods"] = [[_period(day, zone, listing.opens)] for day in sorted({row[1] for row in rows})]
    begin, end = rows[0][1], rows[-1][1]
    events: dict[str, dict[str, object]] = {}
    for day, amount in listing.dividends:
        if begin <= day <= end:
            at = opening(day)
            value = round(float(Fraction(amount) / listing.factor(day)), 6)
            events.setdefault("dividends", {})[str(at)] = {"amount": value, "date": at}
    for day, new, old in listing.splits:
        if begin <= day <= end:
            at = opening(day)
            split = {"date": at, "numerator": float(new), "denominator": float(old), "splitRatio": f"{new}:{old}"}
            events.setdefault("splits", {})[str(at)] = split
    result: dict[str, object] = {
        "meta": meta,
        "timestamp": [row[0] for row in rows],
        "indicators": {"quote": [wide]},
    }
    if daily:
        result["indicators"]["adjclose"] = [{"adjclose": _adjusted(listing, rows, wide["close"])}]
    if events:
        result["events"] = events
    return result


def _adjusted(listing: Listing, rows: list[tuple], closes: list[float | int | None]) -> list[float | None]:
    """Closes less later dividends, as Yahoo's adjclose: each dividend takes its share of the close before it."""
    out: list[float | None] = []
    factor, coming = 1.0, sorted(listing.dividends)
    for at in range(len(rows) - 1, -1, -1):
        while coming and coming[-1][0] > rows[at][1]:
            day, amount = coming.pop()
            close = closes[at]
            if close and any(row[1] >= day for row in rows):
                factor *= 1 - listing.held * float(Fraction(amount) / listing.factor(day)) / close
        close = closes[at]
        out.append(None if close is None else close * factor)
    return out[::-1]


def _period(day: date, zone: ZoneInfo, opens: tuple[int, int]) -> dict[str, object]:
    start = datetime(day.year, day.month, day.day, *opens, tzinfo=zone)
    offset = zone.utcoffset(start.replace(tzinfo=None))
    close = datetime(day.year, day.month, day.day, 16, 0, tzinfo=zone)
    return {
        "timezone": start.tzname(),
        "start": int(start.timestamp()),
        "end": int(close.timestamp()),
        "gmtoffset": int((offset or timedelta()).total_seconds()),
    }


def utc(text: str) -> int:
    """An instant as Unix seconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
