"""Alpaca's market data as its clients meet it: bars of stocks and crypto in pages, corporate actions, and the stream of
bars."""

import asyncio
import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgpack
from aiohttp import WSMsgType, web

KEY, SECRET = "PKTEST", "s3cret"

Bar = tuple[str, str, str, str, str, str]
"""t, o, h, l, c, v as text: what stands in the JSON, digit for digit."""


def minutes(price: float, before: int, after: int) -> list[Bar]:
    """Bars of the minutes around now, `before` of them earlier: seven prices in turn, up to 6 above `price`."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return [
        (
            f"{now + timedelta(minutes=k):%Y-%m-%dT%H:%M:%SZ}",
            *(f"{price + k % 7 + d:.2f}" for d in (0, 1, -1, 0)),
            "12.5",
        )
        for k in range(-before, after)
    ]


@dataclass
class AlpacaData:
    """The venue. `bars` by symbol in time order; `page` limits a page whatever is asked; `refuse` holds (status,
    headers, message) for the next requests; `plan_connections` is how many streams an account may have; after
    `works_for` requests the key is refused."""

    bars: dict[str, list[Bar]] = field(default_factory=dict)
    crypto: dict[str, list[Bar]] = field(default_factory=dict)
    actions: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    page: int = 10_000
    refuse: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    works_for: int = 1_000_000
    plan_connections: int = 1
    symbol_limit: int = 30
    tape: bool = True
    """Whether the plan has halts and limits."""
    sockets: "list[Subscriber]" = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v2/stocks/bars", self._stocks)
        app.router.add_get("/v2/stocks/{what:bars|quotes|trades}/latest", self._newest)
        app.router.add_get("/v1beta3/crypto/us/bars", self._pairs)
        app.router.add_get("/v1/corporate-actions", self._actions)
        app.router.add_get("/v2/iex", self._stream)
        app.router.add_get("/v1beta3/crypto/us", self._stream)
        app.on_startup.append(self._started)
        return app

    async def _started(self, app: web.Application) -> None:
        self.loop = asyncio.get_running_loop()

    def _refusal(self, request: web.Request, *, keyless: bool = False) -> web.Response | None:
        self.asked.append(dict(request.query))
        self.works_for -= 1
        if self.works_for < 0:
            return web.json_response({"message": "forbidden."}, status=403)
        if self.refuse:
            status, headers, message = self.refuse.pop(0)
            return web.json_response({"message": message}, status=status, headers=headers)
        shown = request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")
        if shown != (KEY, SECRET) and not (keyless and shown == (None, None)):
            return web.json_response({"message": "forbidden."}, status=403)
        return None

    async def _stocks(self, request: web.Request) -> web.Response:
        if request.query.get("feed") == "sip" and "recent" in self.actions:
            message = "subscription does not permit querying recent SIP data"
            return web.json_response({"message": message}, status=403)
        return self._refusal(request) or self._bars(request, self.bars)

    async def _newest(self, request: web.Request) -> web.Response:
        """The newest bar of each symbol; its close as a quote or a trade."""
        if refused := self._refusal(request):
            return refused
        rows: dict[str, object] = {}
        for symbol in request.query["symbols"].split(","):
            t, o, h, low, c, v = self.bars[symbol][-1]
            rows[symbol] = {
                "bars": {"t": t, "o": float(o), "h": float(h), "l": float(low), "c": float(c), "v": float(v), "n": 3,
                         "vw": float(c)},
                "quotes": {"t": t, "bp": float(c), "bs": 2, "bx": "V", "ap": float(c), "as": 3, "ax": "V", "c": ["R"],
                           "z": "B"},
                "trades": {"t": t, "p": float(c), "s": 7, "x": "V", "i": 1, "c": ["@"], "z": "B"},
            }[request.match_info["what"]]  # fmt: skip
        return web.json_response({request.match_info["what"]: rows})

    async def _pairs(self, request: web.Request) -> web.Response:
        return self._refusal(request, keyless=True) or self._bars(request, self.crypto)

    def _bars(self, request: web.Request, bars: dict[str, list[Bar]]) -> web.Response:
        query = request.query
        start, end = instant(query["start"]), instant(query.get("end", "2100-01-01T00:00:00Z"))
        symbols = sorted(query["symbols"].split(","))
        symbol_bars = [(s, bar) for s in symbols for bar in bars.get(s, []) if start <= instant(bar[0]) <= end]
        first = int(base64.b64decode(query["page_token"])) if "page_token" in query else 0
        count = min(self.page, int(query.get("limit", 1000)))
        grouped: dict[str, list[str]] = {}
        for symbol, (t, o, h, low, c, v) in symbol_bars[first : first + count]:
            text = f'{{"t":"{t}","o":{o},"h":{h},"l":{low},"c":{c},"v":{v},"n":3,"vw":{c}}}'
            grouped.setdefault(symbol, []).append(text)
        body = ",".join(f"{json.dumps(s)}:[{','.join(rows)}]" for s, rows in grouped.items())
        more = first + count < len(symbol_bars)
        token = json.dumps(base64.b64encode(str(first + count).encode()).decode() if more else None)
        return web.Response(text=f'{{"bars":{{{body}}},"next_page_token":{token}}}', content_type="application/json")

    async def _actions(self, request: web.Request) -> web.Response:
        if refused := self._refusal(request):
            return refused
        query = request.query
        kinds = {f"{kind}s" for kind in query["types"].split(",")}
        listed = [(kind, row) for kind in sorted(kinds) for row in self.actions.get(kind, [])]
        symbols = set(query["symbols"].split(","))
        listed = [
            (kind, row) for kind, row in listed if named(row) in symbols and query["start"] <= dated(row)
                <= query["end"]
        ]  # fmt: skip
        first = int(query.get("page_token", "0"))
        out: dict[str, list[dict[str, object]]] = {}
        for kind, row in listed[first : first + self.page]:
            out.setdefault(kind, []).append(row)
        token = str(first + self.page) if first + self.page < len(listed) else None
        return web.json_response({"corporate_actions": out, "next_page_token": token})

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        packed = request.headers.get("Content-Type") == "application/msgpack"
        client = Subscriber(socket, packed)
        await client.say({"T": "success", "msg": "connected"})
        async for frame in socket:
            if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            message = msgpack.unpackb(frame.data) if packed else json.loads(frame.data)
            await self._answer(client, message)
        if client in self.sockets:
            self.sockets.remove(client)
        return socket

    async def _answer(self, client: "Subscriber", request: dict[str, object]) -> None:
        if request["action"] == "auth":
            if (request["key"], request["secret"]) != (KEY, SECRET):
                await client.say({"T": "error", "code": 402, "msg": "auth failed"})
            elif len(self.sockets) >= self.plan_connections:
                await client.say({"T": "error", "code": 406, "msg": "connection limit exceeded"})
                await client.socket.close()
            else:
                self.sockets.append(client)
                await client.say({"T": "success", "msg": "authenticated"})
        elif request["action"] == "subscribe":
            tape = {str(s) for name in ("statuses", "lulds") for s in request.get(name, [])}  # type: ignore[attr-defined]
            if tape:
                if not self.tape:
                    await client.say({"T": "error", "code": 409, "msg": "insufficient subscription"})
                    return
                client.tape.update(tape)
                await client.say({"T": "subscription", "statuses": sorted(tape), "lulds": sorted(tape)})
                return
            bars = [str(s) for s in request.get("bars", [])]  # type: ignore[union-attr]
            if len(bars) > self.symbol_limit:
                await client.say({"T": "error", "code": 405, "msg": "symbol limit exceeded"})
                return
            client.symbols.update(bars)
            subscription = {
                "T": "subscription",
                "trades": [],
                "quotes": [],
                "bars": bars,
                "updatedBars": bars,
                "dailyBars": [],
            }
            await client.say(subscription)

    def send(self, kind: str, symbol: str, bar: Bar) -> None:
        """A bar ("b") or a corrected one ("u") to whoever subscribed; from any thread."""

        async def now() -> None:
            for client in self.sockets:
                if symbol in client.symbols:
                    await client.bar(kind, symbol, bar)

        asyncio.run_coroutine_threadsafe(now(), self.loop).result(5)

    def status(self, symbol: str, code: str, text: str, t: str, reason: str = "") -> None:
        """A trading status ("s") as the tape has it; from any thread."""
        self._to_tape(symbol, {"T": "s", "S": symbol, "sc": code, "sm": text, "rc": "", "rm": reason, "t": t, "z": "C"})

    def limits(self, symbol: str, down: str, up: str, t: str) -> None:
        """Limits up and down ("l"); from any thread."""
        self._to_tape(symbol, {"T": "l", "S": symbol, "u": float(up), "d": float(down), "i": "B", "t": t, "z": "C"})

    def _to_tape(self, symbol: str, message: dict[str, object]) -> None:
        async def now() -> None:
            for client in self.sockets:
                if symbol in client.tape:
                    when = datetime.fromisoformat(str(message["t"]).replace("Z", "+00:00"))
                    await client.say(message | ({"t": when} if client.packed else {}))

        asyncio.run_coroutine_threadsafe(now(), self.loop).result(5)

    def drop(self) -> None:
        """Every stream is cut, without a word; from any thread."""

        async def now() -> None:
            for client in list(self.sockets):
                transport = (
                    client.socket._req.transport if client.socket._req else None
                )  # no farewell: as a cable that is pulled
                if transport is not None:
                    transport.abort()

        asyncio.run_coroutine_threadsafe(now(), self.loop).result(5)

    def error(self, code: int, text: str) -> None:
        """An error message to every stream."""

        async def now() -> None:
            for client in self.sockets:
                await client.say({"T": "error", "code": code, "msg": text})

        asyncio.run_coroutine_threadsafe(now(), self.loop).result(5)

    @property
    def subscribed(self) -> set[str]:
        """Symbols that some stream receives."""
        return {symbol for client in self.sockets for symbol in client.symbols}


@dataclass(eq=False)
class Subscriber:
    """One stream; the official client speaks msgpack, others JSON."""

    socket: web.WebSocketResponse
    packed: bool
    symbols: set[str] = field(default_factory=set)
    tape: set[str] = field(default_factory=set)

    async def say(self, message: dict[str, object]) -> None:
        if self.packed:
            await self.socket.send_bytes(msgpack.packb([message], datetime=True))
        else:
            await self.socket.send_str(json.dumps([message]))

    async def bar(self, kind: str, symbol: str, bar: Bar) -> None:
        t, o, h, low, c, v = bar
        if self.packed:
            when = datetime.fromisoformat(t.replace("Z", "+00:00"))
            numbers = {
                "o": float(o),
                "h": float(h),
                "l": float(low),
                "c": float(c),
                "v": float(v),
                "n": 3,
                "vw": float(c),
            }
            await self.say({"T": kind, "S": symbol, **numbers, "t": when})
            return
        head = f'"T":"{kind}","S":{json.dumps(symbol)},"t":"{t}"'
        await self.socket.send_str(f'[{{{head},"o":{o},"h":{h},"l":{low},"c":{c},"v":{v},"n":3,"vw":{c}}}]')


def instant(text: str) -> datetime:
    """RFC 3339 or a date, to the microsecond."""
    stamp, dot, suffix = text.partition(".")
    digits = suffix.rstrip("Z+:0123456789")  # nothing but the fraction and the zone can follow
    assert not digits
    moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    fraction = suffix.partition("Z")[0].partition("+")[0]
    return moment + timedelta(microseconds=int(fraction[:6].ljust(6, "0"))) if dot else moment


def named(row: dict[str, object]) -> object:
    """The symbol that a corporate action is about: a merger's is the one that is bought."""
    return row.get("symbol", row.get("acquiree_symbol"))


def dated(row: dict[str, object]) -> str:
    """The day it acts: ex date, effective date, or the day it is processed."""
    return str(row.get("ex_date", row.get("effective_date", row.get("process_date"))))
