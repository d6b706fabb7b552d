"""A venue on 127.0.0.1 that speaks Alpaca's Trading API v2 over HTTP and WebSocket, and misbehaves on command.

Written from docs.alpaca.markets (reference of the Trading API, WebSocket streaming) and checked with the vendor's own
client in test_alpaca_official.py.
"""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

from aiohttp import WSMsgType, web

from tests.support.venues.alpaca_book import Book, Json, Listed, Placed, Refused, iso, text

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BEFORE = ("429", "429 bare", "500", "502 html", "503", "time-out before", "reset before")
"""Faults at which nothing is accepted."""


class AlpacaServer:
    """The venue. `book` is its truth; `misbehave` and `stream_*` make it lie, stutter or fall silent."""

    def __init__(
        self, *, key: str = "PKTESTKEY0000000", secret: str = "s3cret-of-the-test", cash: str = "1000000"
    ) -> None:
        self.key, self.secret = key, secret
        self.offset_ns = 0
        self.skew_ns = 0
        self.book = Book(self.now, Decimal(cash), say=self._say)
        self.faults: dict[str, deque[str]] = {}
        self.requests: Counter[str] = Counter()
        self.times: list[float] = []
        self.per_minute = 0
        self.late: list[tuple[str, Json]] = []
        """What was asked in a request that timed out "late": accepted when the test says so."""
        self.rewrite: Callable[[str, str], str] | None = None
        """Changes the text of an answer of success, by method and path of its request."""
        self.planted: dict[str, dict[int, Any]] = {}
        """List -> its items by number that are written as something else."""
        self.lags: dict[str, float] = {}
        """Path of a read, or "/stream" -> seconds by which its answers are behind the venue's truth."""
        self._past: deque[tuple[float, Book]] = deque(maxlen=1000)
        self.held: list[bytes] | None = None
        self.doubled = self.silent = False
        self.stream_open = True
        self._sockets: dict[web.WebSocketResponse, bool] = {}
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._stopping = asyncio.Event()
        self._listens = asyncio.Event()
        self._left = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._sender: asyncio.Task[None] | None = None
        self._recorder: asyncio.Task[None] | None = None
        self.port = 0

    # ---------------------------------------------------------------- start and stop

    async def start(self) -> "AlpacaServer":
        app = web.Application(middlewares=[self._middleware])
        app.add_routes(
            [
                web.get("/v2/account", self._account),
                web.get("/v2/clock", self._clock),
                web.get("/v2/assets", self._assets),
                web.get("/v2/assets/{symbol:.+}", self._asset),
                web.get("/v2/positions", self._positions),
                web.get("/v2/positions/{symbol:.+}", self._position),
                web.delete("/v2/positions/{symbol:.+}", self._close_position),
                web.post("/v2/orders", self._post),
                web.get("/v2/orders", self._orders),
                web.get("/v2/orders:by_client_order_id", self._by_client),
                web.get("/v2/orders/{id}", self._order),
                web.delete("/v2/orders", self._delete_all),
                web.delete("/v2/orders/{id}", self._delete),
                web.patch("/v2/orders/{id}", self._patch),
                web.get("/v2/account/activities", self._activities),
                web.get("/v2/account/activities/{type}", self._activities),
                web.get("/stream", self._stream),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.up()
        self._sender = asyncio.create_task(self._send())
        if self.lags:
            self._recorder = asyncio.create_task(self._record())
        return self

    async def stop(self) -> None:
        self._stopping.set()
        for task in (self._sender, self._recorder):
            if task is not None:
                task.cancel()
        if self._runner is not None:
            await self.down()
            await self._runner.cleanup()

    async def down(self) -> None:
        """Nothing listens any more, and every connection is cut."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        self.cut()
        assert self._runner is not None
        if self._runner.server is not None:
            for connection in list(self._runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        await asyncio.sleep(0)

    async def up(self) -> None:
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/stream"

    def now(self) -> int:
        """ns UTC by the venue's clock."""
        return time.time_ns() + self.offset_ns + self.skew_ns

    # ---------------------------------------------------------------- what a test does

    def list(self, symbol: str, price: str, fractionable: bool = True, shortable: bool = True) -> None:
        """Trade a symbol."""
        self.book.assets[symbol] = Listed(
            symbol,
            fractionable=fractionable,
            shortable=shortable,
            price=Decimal(price),
            number=len(self.book.assets) + 1,
        )

    def price(self, symbol: str, price: str) -> None:
        self.book.price(symbol, Decimal(price))

    def order(self, client_id: str) -> Placed:
        """The one order with this client id."""
        (order,) = self.book.by_client[client_id]
        return order

    def fill(self, client_id: str, qty: str, price: str) -> None:
        self.book.fill(self.order(client_id), Decimal(qty), Decimal(price))

    def end(self, client_id: str, status: str) -> None:
        self.book.end(self.order(client_id), status)

    def misbehave(self, fault: str, on: str, times: int = 1) -> None:
        """The next `times` requests of a kind meet a fault; "late" is a time-out that is accepted by `accept_late`.

        0 ends the faults of that kind."""
        if not times:
            self.faults.pop(on, None)
            return
        self.faults.setdefault(on, deque()).extend([fault] * times)

    def accept_late(self) -> None:
        """What timed out arrives after all."""
        late, self.late = self.late, []
        for what, body in late:
            with suppress(Refused):
                if what == "submit":
                    self.book.place(body)
                elif what == "close":
                    self.book.liquidate(body["symbol"])
                else:
                    self.book.cancel(body["id"])

    # ---------------------------------------------------------------- misbehaviour

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/stream":
            if not self.stream_open:
                return web.Response(status=503, text="no")
            return await handler(request)
        kind = _kind(request)
        self.requests[kind] += 1
        waiting = self.faults.get(kind)
        fault = waiting.popleft() if waiting else ""
        if self.per_minute and self._too_many():
            return web.json_response({"code": 42910000, "message": "too many requests."}, status=429)
        refused = self._authorised(request)
        if refused is not None:
            return refused
        if fault in BEFORE:
            return await self._instead(request, fault)
        if fault == "late":
            body = await request.json() if request.method == "POST" else dict(request.match_info)
            self.late.append((kind, body))
            return await self._instead(request, "time-out before")
        truth, resource = self.book, request.match_info.route.resource
        if request.method == "GET" and resource is not None and (lag_s := self.lags.get(resource.canonical)):
            self.book = self._before(lag_s)  # a handler of a read never waits, so nobody else sees this book
        try:
            answer = await handler(request)
        except Refused as words:
            answer = web.json_response(words.body, status=words.status)
        finally:
            self.book = truth
        if fault:
            return await self._instead(request, fault)
        return self._rewritten(request, answer)

    async def _record(self) -> None:
        """Keep copies of the book for answers that are behind."""
        while True:
            self._past.append((time.monotonic(), self.book.copy()))
            await asyncio.sleep(0.05)

    def _before(self, lag_s: float) -> Book:
        """The book as it was `lag_s` seconds ago."""
        wanted = time.monotonic() - lag_s
        return next((book for at, book in reversed(self._past) if at <= wanted), self._past[0][1])

    def _rewritten(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if self.rewrite is None or resource is None or not isinstance(answer, web.Response) or answer.status >= 300:
            return answer
        before = answer.text or ""
        after = self.rewrite(f"{request.method} {resource.canonical}", before)
        return answer if after == before else web.Response(text=after, content_type="application/json")

    def _too_many(self) -> bool:
        at = time.monotonic()
        self.times = [t for t in self.times if at - t < 60.0]
        self.times.append(at)
        return len(self.times) > self.per_minute

    def _authorised(self, request: web.Request) -> web.Response | None:
        keys = request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")
        if keys == (self.key, self.secret):
            return None
        return web.json_response({"message": "unauthorized."}, status=401)

    async def _instead(self, request: web.Request, fault: str) -> web.StreamResponse:
        """What a client gets in place of its answer."""
        match fault:
            case "429":
                body = {"code": 42910000, "message": "rate limit exceeded"}
                return web.json_response(body, status=429, headers={"Retry-After": "0.05"})
            case "429 bare":
                return web.json_response({"message": "too many requests."}, status=429)
            case "500" | "500 after":
                return web.json_response({"code": 50010000, "message": "internal server error occurred"}, status=500)
            case "502 html":
                page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
                return web.Response(status=502, text=page, content_type="text/html")
            case "503":
                return web.json_response({"code": 50310000, "message": "service unavailable"}, status=503)
            case "malformed":
                return web.Response(status=200, text='{"id": "b0b6dd9d-8b9b-48a9", "client_ord')
            case "time-out before" | "time-out after":
                await self._stopping.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    # ---------------------------------------------------------------- the API

    async def _account(self, request: web.Request) -> web.Response:
        return web.json_response(self.book.account_json())

    async def _clock(self, request: web.Request) -> web.Response:
        at = self.now()
        return web.json_response(
            {"timestamp": iso(at), "is_open": True, "next_open": iso(at + 10**14), "next_close": iso(at + 10**13)}
        )

    async def _assets(self, request: web.Request) -> web.Response:
        status, kind = request.query.get("status"), request.query.get("asset_class")
        assets = [asset.json() for asset in self.book.assets.values()]
        assets = [a for a in assets if status in (None, a["status"]) and kind in (None, a["class"])]
        return web.json_response(self._with_plants("assets", assets))

    def _with_plants(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        planted = self.planted.get(name, {})
        return [planted.get(k, item) for k, item in enumerate(items)]

    async def _asset(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        by_id = (asset for asset in self.book.assets.values() if asset.json()["id"] == symbol)
        asset = self.book.assets.get(symbol) or next(by_id, None)
        if asset is None:
            raise Refused(404, 40410000, f"asset not found for {symbol}")
        return web.json_response(asset.json())

    async def _positions(self, request: web.Request) -> web.Response:
        return web.json_response(self._with_plants("positions", self.book.positions_json()))

    async def _position(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"].replace("/", "")
        for position in self.book.positions_json():
            if position["symbol"] == symbol:
                return web.json_response(position)
        raise Refused(404, 40410000, "position does not exist")

    async def _post(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except json.JSONDecodeError:
            raise Refused(400, 40010000, "request body format is invalid") from None
        order = self.book.place(body)
        answer = self.book.order_json(order)
        if order.status == "new":
            # the answer is written before the order is at its exchange
            answer["status"] = "pending_new"
        return web.json_response(answer)

    async def _orders(self, request: web.Request) -> web.Response:
        query = request.query
        status, limit = query.get("status", "open"), int(query.get("limit", "50"))
        orders = sorted(self.book.orders.values(), key=lambda o: o.created, reverse=query.get("direction") != "asc")
        if status != "all":
            orders = [o for o in orders if o.open == (status == "open")]
        if "symbols" in query:
            orders = [o for o in orders if o.symbol in query["symbols"].split(",")]
        if "after" in query:
            orders = [o for o in orders if o.created > _ns(query["after"])]
        if "until" in query:
            orders = [o for o in orders if o.created <= _ns(query["until"])]
        page = [self.book.order_json(o) for o in orders[: min(limit, 500)]]
        return web.json_response(self._with_plants("orders", page))

    async def _by_client(self, request: web.Request) -> web.Response:
        client_id = request.query.get("client_order_id", "")
        orders = self.book.by_client.get(client_id)
        if not orders:
            raise Refused(404, 40410000, f"order not found for {client_id}")
        return web.json_response(self.book.order_json(orders[-1]))

    async def _order(self, request: web.Request) -> web.Response:
        order = self.book.orders.get(request.match_info["id"])
        if order is None:
            raise Refused(404, 40410000, f"order not found for {request.match_info['id']}")
        return web.json_response(self.book.order_json(order))

    async def _delete(self, request: web.Request) -> web.Response:
        self.book.cancel(request.match_info["id"])
        return web.Response(status=204)

    async def _delete_all(self, request: web.Request) -> web.Response:
        answers = []
        for order in [o for o in self.book.orders.values() if o.open]:
            try:
                self.book.cancel(order.id)
            except Refused as words:
                answers.append({"id": order.id, "status": 500, "body": words.body})
            else:
                answers.append({"id": order.id, "status": 200, "body": self.book.order_json(order)})
        return web.json_response(answers, status=207)

    async def _close_position(self, request: web.Request) -> web.Response:
        return web.json_response(self.book.order_json(self.book.liquidate(request.match_info["symbol"])))

    async def _patch(self, request: web.Request) -> web.Response:
        new = self.book.replace(request.match_info["id"], await request.json())
        return web.json_response(self.book.order_json(new) | {"status": "accepted"})

    async def _activities(self, request: web.Request) -> web.Response:
        query = request.query
        kinds = request.match_info.get("type") or query.get("activity_types", "")
        planted = self.planted.get("activities", {})
        numbers = {id(a): k for k, a in enumerate(self.book.activities)}
        activities = [a for a in self.book.listed() if not kinds or a["activity_type"] in kinds.split(",")]
        if "category" in query:
            trades = query["category"] == "trade_activity"
            activities = [a for a in activities if (a["activity_type"] == "FILL") == trades]
        if "after" in query:
            activities = [a for a in activities if a["_at"] > _ns(query["after"])]
        if "until" in query:
            activities = [a for a in activities if a["_at"] < _ns(query["until"])]
        activities.sort(key=lambda a: a["_at"], reverse=query.get("direction", "desc") != "asc")
        if "page_token" in query:
            ids = [a["id"] for a in activities]
            # a token that names nothing begins anew, as at the venue
            activities = activities[ids.index(query["page_token"]) + 1 :] if query["page_token"] in ids else activities
        size = min(int(query.get("page_size", "100")), 100)
        page = [{k: v for k, v in a.items() if k != "_at"} for a in activities[:size]]
        return web.json_response([planted.get(numbers[id(a)], item) for a, item in zip(activities, page, strict=False)])

    # ---------------------------------------------------------------- the stream

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        authorised = False
        try:
            async for frame in socket:
                if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    continue
                message = json.loads(frame.data)
                action, data = message.get("action"), message.get("data", {})
                if action in ("authenticate", "auth"):
                    keys = data.get("key_id", message.get("key")), data.get("secret_key", message.get("secret"))
                    authorised = keys == (self.key, self.secret)
                    status = "authorized" if authorised else "unauthorized"
                    answer: Json = {"stream": "authorization", "data": {"status": status, "action": "authenticate"}}
                elif not authorised:
                    answer = {"stream": "authorization", "data": {"status": "unauthorized", "action": action or ""}}
                else:
                    streams = [s for s in data.get("streams", []) if s == "trade_updates"]
                    answer = {"stream": "listening", "data": {"streams": streams}}
                    self._sockets[socket] = bool(streams)
                    self._listens.set()
                await socket.send_bytes(json.dumps(answer).encode())
        finally:
            self._sockets.pop(socket, None)
            self._left.set()
        return socket

    async def listened(self) -> None:
        """Wait until a client hears updates."""
        while not any(self._sockets.values()):
            self._listens.clear()
            await self._listens.wait()

    def _say(self, event: str, order: Placed, more: dict[str, Any]) -> None:
        update = {
            "stream": "trade_updates",
            "data": {"event": event, "order": self.book.order_json(order), "timestamp": iso(order.updated), **more},
        }
        message = json.dumps(update).encode()
        if self.silent:
            return
        if self.held is not None:
            self.held.append(message)
            return
        for _ in range(2 if self.doubled else 1):
            if lag_s := self.lags.get("/stream"):
                asyncio.get_running_loop().call_later(lag_s, self._queue.put_nowait, message)
            else:
                self._queue.put_nowait(message)

    async def garbage(self) -> None:
        """Say what nobody can read, and wait until every client has left for it."""
        heard = set(self._sockets)
        self._queue.put_nowait(b'{"stream": "trade_updates", "data": {"event": 7}}')
        while not heard.isdisjoint(self._sockets):
            self._left.clear()
            await self._left.wait()

    def release(self, *, backwards: bool = False) -> None:
        """Say what was held."""
        held, self.held = self.held or [], None
        for message in reversed(held) if backwards else held:
            self._queue.put_nowait(message)

    def cut(self) -> None:
        """Cut every connection of the stream, at once."""
        for socket in list(self._sockets):
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()
        self._sockets.clear()

    async def _send(self) -> None:
        while True:
            message = await self._queue.get()
            if message is None:
                return
            for socket, listens in list(self._sockets.items()):
                if listens:
                    with suppress(ConnectionError, RuntimeError):
                        await socket.send_bytes(message)


def _kind(request: web.Request) -> str:
    """Which of the suite's requests this is."""
    path, method = request.path, request.method
    if path.startswith("/v2/orders"):
        if method == "GET":
            return "account" if path == "/v2/orders" else "query"
        return {"POST": "submit", "DELETE": "cancel", "PATCH": "replace"}[method]
    if path.startswith("/v2/positions") and method == "DELETE":
        return "close"
    if path.startswith("/v2/account/activities"):
        return "query" if path.endswith("/FILL") else "flows"
    if path in ("/v2/account", "/v2/positions"):
        return "account"
    return "other"


def _ns(when: str) -> int:
    """RFC 3339 or a date -> ns UTC."""
    if len(when) == 10:
        when += "T00:00:00Z"
    moment = datetime.fromisoformat(when)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


__all__ = ["AlpacaServer", "text"]


def listed(**prices: str) -> AlpacaServer:
    """A venue that trades these symbols at these prices."""
    server = AlpacaServer()
    for symbol, price in prices.items():
        server.list(symbol, price)
    return server
