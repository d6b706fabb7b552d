"""A program behind the gateway of a run whose market stands, and the configurations of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

from quantd.adapters.store.queries import Reader
from quantd.server.api.access.keyring import Keyring
from quantd.server.api.run_reader import RunReader
from quantd.server.gateway import alpaca
from quantd.server.gateway.alpaca import Gateway
from quantd.server.gateway.tickets import Tickets
from quantd.server.gateway.vendor_data import VendorData
from quantd.server.gateway.vendor_form import order_of
from quantd.server.requests.tokens import created
from tests.server.api.routes.outside_run import market
from tests.server.gateway.closed_schemas import STREAM, check, check_answer
from tests.support.command_line import CONFIG

GUEST = """[[agents]]
name = "guest"
policy = "external"
capital = 0.3
limits = { max_position_weight = 0.5, allow_short = true }
[[schedules]]"""
TRADING = CONFIG.replace("capital = 0.4", "capital = 0.2").replace("[[schedules]]", GUEST, 1)
"""A configuration in which the guest trades a book of its own."""

WIDE = TRADING.replace("max_position_weight = 0.5", "max_position_weight = 1.0").replace(
    "max_position_weight = 0.25\nmax_drawdown = 0.25\nvar = { limit = 0.03 }", 'profile = "research"'
)
"""The same without limits on one position."""


class Bot:
    """A program behind the gateway: `client` is the vendor's client, and `call` a request of it in a thread."""

    def __init__(self, world: Any, gateway: Gateway, url: str, key: str, secret: str) -> None:
        self.world, self.gateway, self.url, self.key, self.secret = world, gateway, url, key, secret
        self.client = TradingClient(key, secret, url_override=url)
        self.counts: Counter[tuple[str, int]] = Counter()
        """Answers by method and status."""

    async def call(self, what: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return await asyncio.to_thread(what, *given, **named)

    async def buy(self, qty: float, limit: float = 0.0, symbol: str = "SPY", **named: Any) -> Any:
        """Buy, or sell with a negative quantity, until cancelled where it has a limit."""
        side = OrderSide.BUY if qty > 0 else OrderSide.SELL
        more: dict[str, Any] = {"symbol": symbol, "qty": abs(qty), "side": side, **named}
        if limit:
            order: Any = LimitOrderRequest(limit_price=limit, time_in_force=TimeInForce.GTC, **more)
        else:
            order = MarketOrderRequest(time_in_force=TimeInForce.DAY, **more)
        return await self.call(self.client.submit_order, order)

    async def raw(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"APCA-API-KEY-ID": self.key, "APCA-API-SECRET-KEY": self.secret}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.url + path, data=body if isinstance(body, bytes) else None,
                            json=None if isinstance(body, bytes) else body) as response,
        ):  # fmt: skip
            return response.status, msgspec.json.decode(await response.read() or b"null")

    def folded(self) -> list[Any]:
        """The orders as a restart folds them from the journal. They must be those of now."""
        state, again = self.world.service.shell.state, Tickets(self.world.service.run)
        for _, entry in Reader.open(self.world.folder, self.world.service.run).journal():
            for _ in again.take(entry.event, entry.effects):
                pass
        orders = [order_of(state, ticket) for ticket in again.by_id.values()]
        assert orders == [order_of(state, ticket) for ticket in self.gateway.tickets.by_id.values()]
        return orders

    @property
    def mark(self) -> float:
        state = self.world.service.shell.state
        return float(state.marks[state.universe.index["SPY"]])


def checking(faults: list[str], counts: Counter[tuple[str, int]], *, passes: bool = False) -> Any:
    """A middleware that notes each answer that differs from its closed schema, and counts answers by method and
    status. With `passes` the market data are the vendor's own, of which the schema is no part."""

    @web.middleware
    async def check(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        if isinstance(response, web.Response) and not (passes and request.path.startswith("/v2/stocks/")):
            body = msgspec.json.decode(response.body or b"null")  # type: ignore[arg-type]
            counts[request.method, response.status] += 1
            try:
                check_answer(request.method, request.path, response.status, body)
            except AssertionError as why:
                faults.append(str(why))
        return response

    return check


@contextmanager
def checked_stream(faults: list[str]) -> Iterator[None]:
    """Note each message of the stream that differs from its closed schema."""
    send = alpaca.send

    async def checked(socket: web.WebSocketResponse, stream: str, data: Any) -> None:
        try:
            check(STREAM[stream], msgspec.json.decode(msgspec.json.encode(data)), stream)
        except AssertionError as why:
            faults.append(str(why))
        await send(socket, stream, data)

    alpaca.send = checked
    try:
        yield
    finally:
        alpaca.send = send


@asynccontextmanager
async def bot_of(
    folder: Path, text: str = TRADING, left: int = 40, vendor: VendorData | None = None
) -> AsyncIterator[Bot]:
    async with market(folder, text, left) as world:
        token, secret = created(world.folder, "robot", "propose", agent="guest")
        run = RunReader(world.service, world.assembly, world.config, world.folder)
        gateway = Gateway(run, Keyring(world.folder, "token", world.service.alert, notes=False), vendor)
        await gateway.rebuild()
        application, faults = gateway.application(), list[str]()
        counts: Counter[tuple[str, int]] = Counter()
        application.middlewares.insert(0, checking(faults, counts, passes=vendor is not None))
        runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        with checked_stream(faults):
            bot = Bot(world, gateway, f"http://127.0.0.1:{port}", token.id, secret)
            bot.counts = counts
            yield bot
            await runner.cleanup()
        assert not faults, faults[:5]
