"""What the servers of spot exchanges share: start and stop, faults on command, a stream of news, and open orders that
are matched with the last price."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Generic, Protocol, TypeVar

from aiohttp import WSMsgType, web

AFTER: Final = frozenset({"500 after", "-1006 after", "-1007 after", "time-out after", "answer lost", "malformed"})
"""The faults that meet a request once it was executed."""
HTML: Final = "<html><h1>502 Bad Gateway</h1></html>"


@dataclass(slots=True)
class Misbehaviour:
    """What meets the next `times` requests to one of `paths`."""

    fault: str
    paths: tuple[str, ...]
    times: int


class Resting(Protocol):
    """An order, as far as it is matched. `stop_at` is 0 for an order without a stop price, and once it is set off."""

    set_off: bool

    @property
    def symbol(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def open(self) -> bool: ...
    @property
    def buys(self) -> bool: ...
    @property
    def left(self) -> Decimal: ...
    @property
    def limit(self) -> Decimal: ...
    @property
    def stop_at(self) -> Decimal: ...


Order = TypeVar("Order", bound=Resting)


class Spot(ABC, Generic[Order]):
    """A server and its books. `now` is its clock in ns."""

    answers: dict[str, tuple[int, dict[str, str], str]] = {}
    """Fault -> status, headers and text of its answer."""
    cut_text = "{"
    """The answer to a request that meets "malformed"."""
    garbage_text = "{"
    """A message of the stream that nobody can read."""
    orders: dict[Any, Order]

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.skew_ns = 0
        self.balances: dict[str, Decimal] = {}
        self.orders = {}
        self.misbehaviours: list[Misbehaviour] = []
        self.calls: list[str] = []
        self.rewrite: Callable[[str, str], str] | None = None
        """Changes the text of a right answer, by the name of its request."""
        self.prices: dict[str, str] = {}
        """Last price by symbol."""
        self.auto = False
        """Whether an order fills at the last price once that reaches it, and a market order at once."""
        self.on_arrival: Callable[[Order], None] = lambda order: None
        """Sees each new order before it can fill."""
        self.own_trades: list[tuple[Order, Order]] = []
        """With `auto`: each order that could have traded with an open one of the account, and that one."""
        self.on_cancel: dict[str, Callable[[], bool]] = {}
        """Client id -> what happens in the moment before its next cancel; False refuses the cancel."""
        self.trades_lag = 0
        """So many of the newest trades are not in the list yet."""
        self.stream_up = True
        self.doubled = self.silent = self.holding = False
        self.heard = asyncio.Event()
        """Set while anybody listens to the news of orders."""
        self.port = 0
        self._hung, self._left = asyncio.Event(), asyncio.Event()
        self._held: list[dict[str, Any]] = []
        self._sockets: list[web.WebSocketResponse] = []
        self._runner: web.AppRunner | None = None

    # the server

    @abstractmethod
    def routes(self) -> Iterable[web.RouteDef]: ...

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(self.routes())
        self._hung = asyncio.Event()
        self._runner = web.AppRunner(app, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        self._hung.set()
        await self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _json(self, name: str, answer: object) -> web.Response:
        """A right answer, or what `rewrite` makes of it."""
        text = json.dumps(answer)
        text = self.rewrite(name, text) if self.rewrite is not None else text
        return web.Response(text=text, content_type="application/json")

    # faults

    def misbehave(self, fault: str, paths: tuple[str, ...], times: int = 1) -> None:
        if not times:
            self.misbehaviours = [one for one in self.misbehaviours if one.paths != paths]
            return
        self.misbehaviours.append(Misbehaviour(fault, paths, times))

    def _meet(self, name: str) -> str:
        for one in self.misbehaviours:
            if name in one.paths and one.times > 0:
                one.times -= 1
                return one.fault
        return ""

    async def _faulty(self, request: web.Request, fault: str) -> web.StreamResponse:
        if fault == "502 html":
            return web.Response(status=502, text=HTML, content_type="text/html")
        if fault in ("time-out before", "time-out after"):
            await self._hung.wait()
            return web.Response(status=504)
        if fault in ("reset before", "answer lost"):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault == "malformed":
            return web.Response(text=self.cut_text, content_type="application/json")
        status, headers, text = self.answers[fault]
        return web.Response(status=status, headers=headers, text=text, content_type="application/json")

    # the market, as the test drives it

    @abstractmethod
    def fill(self, order: Order, qty: Decimal, price: Decimal) -> Any:
        """One execution of an open order."""

    @abstractmethod
    def prevented(self, order: Order) -> None:
        """End an order that would trade with an open one of the account."""

    def by_client(self, client_id: str) -> list[Order]:
        return [order for order in self.orders.values() if order.client == client_id]

    def add(self, asset: str, amount: Decimal) -> None:
        self.balances[asset] = self.balances.get(asset, Decimal(0)) + amount

    def price(self, symbol: str, price: str) -> None:
        """The last price changes: stops are set off, and what it reaches fills."""
        self.prices[symbol] = price
        for order in [one for one in self.orders.values() if one.open and one.symbol == symbol]:
            self.match(order)

    def match(self, order: Order, *, arrived: bool = False) -> None:
        """Fill an open order that the last price has reached, unless it could trade with another one."""
        if arrived:
            self.on_arrival(order)
        if not self.auto or not (arrived or order.symbol in self.prices):
            return
        last = Decimal(self.prices.get(order.symbol, "1"))
        if order.stop_at:
            if last < order.stop_at if order.buys else last > order.stop_at:
                return
            order.set_off = True
            arrived = True
        if arrived and (met := self._met(order)) is not None:
            self.own_trades.append((order, met))
            self.prevented(order)
        elif last <= order.limit if order.buys else last >= order.limit:
            self.fill(order, order.left, last)

    def _met(self, order: Order) -> Order | None:
        """An open order of the account that this one would trade with."""
        for one in self.orders.values():
            if one.open and not one.stop_at and one.symbol == order.symbol and one.buys != order.buys:
                buys, sells = (one, order) if one.buys else (order, one)
                if buys.limit >= sells.limit:
                    return one
        return None

    # the stream

    @abstractmethod
    def message(self, news: dict[str, Any]) -> dict[str, Any]:
        """One message of the stream."""

    def _say(self, news: dict[str, Any]) -> None:
        if self.silent:
            return
        if self.holding:
            self._held.append(news)
            return
        for _ in range(2 if self.doubled else 1):
            text = json.dumps(self.message(news))
            for socket in list(self._sockets):
                task = asyncio.ensure_future(self._send(socket, text))
                task.add_done_callback(lambda future: future.cancelled() or future.exception())

    async def _send(self, socket: web.WebSocketResponse, text: str) -> None:
        if not socket.closed:
            await socket.send_str(text)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        """The stream: each message of the client goes to `_asked`."""
        if not self.stream_up:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self._greet(socket)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await self._asked(socket, json.loads(message.data))
        finally:
            self._drop(socket)
        return socket

    async def _greet(self, socket: web.WebSocketResponse) -> None:
        """What the server sends at first."""

    @abstractmethod
    async def _asked(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None: ...

    def _listens(self, socket: web.WebSocketResponse) -> None:
        self._sockets.append(socket)
        self.heard.set()

    def release(self, newest_first: bool = False) -> None:
        """Say what was held back."""
        held, self._held, self.holding = self._held, [], False
        for news in reversed(held) if newest_first else held:
            self._say(news)

    async def garbage(self) -> None:
        """Say what nobody can read, and wait until every client has left for it."""
        sockets = list(self._sockets)
        for socket in sockets:
            await self._send(socket, self.garbage_text)
        while any(socket in self._sockets for socket in sockets):
            self._left.clear()
            await self._left.wait()

    def _connected(self) -> list[web.WebSocketResponse]:
        return list(self._sockets)

    async def cut(self) -> None:
        """Cut every WebSocket."""
        for socket in self._connected():
            self._drop(socket)
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()

    def _drop(self, socket: web.WebSocketResponse) -> None:
        self._sockets = [one for one in self._sockets if one is not socket]
        self._left.set()
        if not self._sockets:
            self.heard.clear()
