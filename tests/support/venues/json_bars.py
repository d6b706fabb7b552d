"""Vendors of bars in the JSON dialects that are found in the world: lists of lists, lists of objects, columns, objects
by stamp; paged by token or by the last stamp; with a key in a header or a signed request."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

Bar = tuple[int, str, str, str, str, str]
"""Unix second, open, high, low, close, volume as text."""

KEY, SECRET = "k-123", "hush"


@dataclass
class JsonBars:
    """The venue. `page` bounds a page; requests are listed in `asked`; `refuse` holds (status, body) for the
    next ones."""

    bars: dict[str, list[Bar]]
    page: int = 1000
    refuse: list[tuple[int, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/klines", self._klines)
        app.router.add_get("/objects/{symbol}", self._objects)
        app.router.add_get("/columns", self._columns)
        app.router.add_get("/by-date", self._by_date)
        app.router.add_get("/signed", self._signed)
        return app

    def _some(self, request: web.Request, begin: int, end: int) -> list[Bar]:
        """[begin, end] in Unix seconds."""
        symbol = request.query.get("symbol") or request.match_info["symbol"]
        return [bar for bar in self.bars.get(symbol, []) if begin <= bar[0] <= end]

    def _refused(self, request: web.Request) -> web.Response | None:
        self.asked.append(str(request.rel_url))
        if self.refuse:
            status, body = self.refuse.pop(0)
            return web.Response(status=status, text=body)
        return None

    async def _klines(self, request: web.Request) -> web.Response:
        """Lists, milliseconds, prices as text, at most `page` from startTime on; endTime belongs to the range. Takes
        dates, too, which are whole days."""
        if refused := self._refused(request):
            return refused
        begin, end = _milliseconds(request.query["startTime"], 0), _milliseconds(request.query["endTime"], 86_399_999)
        bars = [bar for bar in self._some(request, 0, 1 << 40) if begin <= bar[0] * 1000 <= end]
        return web.json_response([[ts * 1000, *numbers, ts * 1000 + 59_999] for ts, *numbers in bars[: self.page]])

    async def _objects(self, request: web.Request) -> web.Response:
        """Objects below data.items, ISO stamps, JSON numbers, a next token, a key in a header."""
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": "invalid api key"}, status=401)
        if refused := self._refused(request):
            return refused
        begin, end = (_seconds(request.query[name]) for name in ("from", "to"))
        bars = [bar for bar in self._some(request, begin, end) if bar[0] < end]
        first = int(request.query.get("cursor", "0"))
        rows = [
            f'{{"when":"{datetime.fromtimestamp(ts, UTC):%Y-%m-%dT%H:%M:%S}Z",'
            f'"price":{{"o":{o},"h":{h},"l":{low},"c":{c}}},"size":{v}}}'
            for ts, o, h, low, c, v in bars[first : first + self.page]
        ]
        following = json.dumps(str(first + self.page) if first + self.page < len(bars) else None)
        return web.Response(text=f'{{"data":{{"items":[{",".join(rows)}]}},"next":{following}}}')

    async def _columns(self, request: web.Request) -> web.Response:
        """Columns side by side, Unix seconds, an error in a field of a 200, a key in the address."""
        if refused := self._refused(request):
            return refused
        if request.query.get("token") != KEY:
            return web.json_response({"s": "error", "why": "no such token"})
        bars = self._some(request, int(request.query["from"]), int(request.query["to"]))
        columns = {name: ",".join(str(bar[k]) for bar in bars) for k, name in enumerate("tohlcv")}
        return web.Response(text="{" + ",".join(f'"{name}":[{values}]' for name, values in columns.items()) + "}")

    async def _by_date(self, request: web.Request) -> web.Response:
        """An object by date, newest first, with names that hold dots."""
        if refused := self._refused(request):
            return refused
        names = ("1. open", "2. high", "3. low", "4. close", "5. volume")
        bars = self._some(request, 0, 1 << 40)[::-1]
        table = {f"{datetime.fromtimestamp(b[0], UTC):%Y-%m-%d}": dict(zip(names, b[1:], strict=True)) for b in bars}
        return web.json_response({"Meta Data": {}, "Time Series (Daily)": table})

    async def _signed(self, request: web.Request) -> web.Response:
        """As /klines, for requests signed as Binance has it: HMAC-SHA256 of the query, in hex, last."""
        query, _, signature = request.rel_url.raw_query_string.rpartition("&signature=")
        digest = hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
        if signature != digest or request.headers.get("X-KEY") != KEY or "timestamp=" not in query:
            return web.json_response({"msg": "Signature for this request is not valid."}, status=401)
        return await self._klines(request)


def _milliseconds(text: str, of_day: int) -> int:
    return int(text) if text.isdecimal() else _seconds(text) * 1000 + of_day


def _seconds(text: str) -> int:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
