"""Each documented key of each answer of each venue is checked: an answer of another form is an error.

The generator reads the adapters' own wire structs. For each request of a venue it drops each key, replaces it by null,
{} and [] (a text or a number by null and {}), and sends null, {}, [], a page of another server and a cut text with
status 200. Each is an error, or what the right answer says: no order counts as never arrived, no amount as zero, and no
order is sent again. A venue is a row of `VENUES`.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from importlib.util import find_spec
from typing import Annotated, Any, NamedTuple

import msgspec
import pytest
from msgspec import inspect

from quantd.adapters.brokers.alpaca import wire
from quantd.adapters.brokers.alpaca.account import listed_orders
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.adapters.brokers.alpaca.liquidation import AlpacaExit
from quantd.adapters.brokers.alpaca.market import read_listing
from quantd.adapters.brokers.ccxt.connection import CryptoSettings, Line
from quantd.adapters.brokers.ccxt.liquidation import CryptoExit
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.exchange.bybit_answers import Balance, Pair, Wallet
from quantd.adapters.exchange.client import Access
from quantd.adapters.exchange.dialects import BINANCE, BYBIT
from quantd.adapters.exchange.kraken_answers import KRAKEN_ANSWERS
from quantd.trading.events import NotFound, Unknown
from quantd.trading.orders import OrderBasket
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.alpaca import UNIVERSE, AlpacaRig
from tests.proofs.conformance.rigs.binance import BinanceRig
from tests.proofs.conformance.rigs.bybit import BybitRig
from tests.proofs.conformance.rigs.ccxt import CcxtRig
from tests.support.venues.foreign_answers import HTML

Path = tuple[str | int | None, ...]
"""Keys from the top of an answer down; None is the first item of a list or a map."""


class Fault(NamedTuple):
    """One answer of another form, made of a right one. `change` returns None where the answer lacks the key."""

    name: str
    change: Callable[[str], str | None]


# ---------------------------------------------------------------- the generator


SCALARS = (inspect.StrType, inspect.IntType, inspect.BoolType, inspect.DecimalType)


def keys(kind: inspect.Type, at: Path = ()) -> Iterator[tuple[Path, inspect.Type]]:
    """Yield the path and the type of each key of a wire struct, and of the structs inside it."""
    match kind:
        case inspect.StructType(fields=fields):
            for field in fields:
                yield (*at, field.encode_name), field.type
                yield from keys(field.type, (*at, field.encode_name))
        case inspect.DictType(value_type=item) | inspect.ListType(item_type=item):
            yield from keys(item, (*at, None))
        case inspect.Metadata(type=inner):
            yield from keys(inner, at)


def permits(kind: inspect.Type, value: object) -> bool:
    """Whether {} or [] is a documented value of a type: an empty list."""
    match kind, value:
        case inspect.DictType(min_length=least), {}:
            return not least
        case inspect.ListType(min_length=least), []:
            return not least
    return False


def faults(kind: Any) -> Iterator[Fault]:
    """Yield every answer of another form than the type `kind`."""
    yield Fault("a page of another server", lambda text: HTML.decode())
    yield Fault("a cut text", lambda text: text[: len(text) // 2] if len(text) > 2 else None)
    whole = inspect.type_info(kind)
    for value in (None, {}, []):
        if not permits(whole, value):
            yield Fault(f"{json.dumps(value)} for the whole", lambda text, value=value: json.dumps(value))  # type: ignore[misc]
    for path, type_of_key in keys(whole):
        name = ".".join("*" if step is None else str(step) for step in path)
        yield Fault(f"without {name}", changed(path, drop=True))
        # a list in the place of a text or a number is refused as a map is: one of them stands for both
        for value in (None, {}) if isinstance(type_of_key, SCALARS) else (None, {}, []):
            if not permits(type_of_key, value):
                yield Fault(f"{json.dumps(value)} for {name}", changed(path, value))


def changed(path: Path, value: object = None, *, drop: bool = False) -> Callable[[str], str | None]:
    """Return a function that drops or replaces the key at `path` of an answer."""

    def change(text: str) -> str | None:
        answer = deepcopy(json.loads(text))
        *steps, last = path
        parent = answer
        for step in steps:
            if step is None:
                step = next(iter(parent), None) if isinstance(parent, dict) else 0
            if not parent or (isinstance(parent, dict) and step not in parent):
                return None
            parent = parent[step]
        if parent is None or last not in parent:
            return None
        if drop:
            del parent[last]
        else:
            parent[last] = value
        return json.dumps(answer)

    return change


def least(kind: Any) -> int:
    """How many faults an answer has at least: the keys that the type demands, dropped and null."""
    needed = [path for path, _ in keys(inspect.type_info(kind))]
    return 3 + 2 * len(needed)


# ---------------------------------------------------------------- what is done with an answer


class Stage:
    """A rig, and the answer of one request that is planted while `planted` is set."""

    def __init__(self, rig: Any, request: str) -> None:
        self.rig, self.request = rig, request
        self.fault: Fault | None = None
        self.planted = 0
        """How many answers were changed."""
        venue = rig.server if isinstance(rig, AlpacaRig) else rig.venue
        venue.rewrite = self._rewrite

    def _rewrite(self, request: str, text: str) -> str:
        if self.fault is None or request != self.request:
            return text
        other = self.fault.change(text)
        self.planted += other is not None
        return text if other is None else other


Act = Callable[[Stage, Fault | None], Awaitable[Any]]
"""Does what sends the request, and returns what the adapter made of it; the fault is planted for that time only."""


def said(news: Any) -> list[Any]:
    """Reports without their times and numbers. Raises ConnectionError for an order whose state is unknown."""
    assert not any(isinstance(report, NotFound) for report in news), "an order counts as never arrived"
    if any(isinstance(report, Unknown) for report in news):
        raise ConnectionError("unknown")
    return [(type(report).__name__, getattr(report, "cause", None), getattr(report, "lots", None)) for report in news]


async def opens(stage: Stage, fault: Fault | None) -> Any:
    broker = stage.rig.adapter()
    stage.fault = fault
    try:
        await broker.open()
        desk = getattr(broker, "_desk", None)
        markets = getattr(broker, "_markets", None)
        return markets if desk is None else (desk.ticks, desk.least_nano, broker.untradable, broker._unlent)
    finally:
        stage.fault = None
        await broker.close()


def reads(name: str) -> Act:
    async def read(stage: Stage, fault: Fault | None) -> Any:
        broker = stage.rig.broker
        broker.set_aside()
        stage.fault = fault
        try:
            answer = await (broker.account() if name == "account" else getattr(broker, name)(1))
        finally:
            stage.fault = None
        if aside := broker.set_aside():
            raise ConnectionError(aside[0])
        if name == "account":
            if answer.unread or answer.blocked:
                raise ConnectionError(answer.blocked or "unread")
            return msgspec.structs.replace(answer, ts=0)
        return [msgspec.structs.replace(one, text="") if name == "flows" else one for one in answer]

    return read


async def lost(stage: Stage) -> OrderBasket:
    """An order that fills at the venue, and whose answer is lost."""
    rig = stage.rig
    basket: OrderBasket = rig.basket(Row(0, 7))
    await rig.misbehave("answer lost", "submit")
    await rig.broker.submit(basket)
    return basket


def finds(*, filled: bool) -> Act:
    async def find(stage: Stage, fault: Fault | None) -> Any:
        rig = stage.rig
        basket = await lost(stage)
        if filled:
            await rig.fill(basket, 0, 7, rig.price_nano(0))
        stage.fault = fault
        try:
            for _ in range(2):
                await rig.settle()
                with suppress(ConnectionError):
                    said(await rig.broker.query(basket.sample, basket.n, [0]))
            news = await rig.broker.submit(basket)
        finally:
            stage.fault = None
            assert len(rig.has(basket, 0)) == 1, "the order was sent again"
        if not filled:
            await rig.end(basket, 0, "cancelled")
        if aside := rig.broker.set_aside():
            raise ConnectionError(aside[0])
        return said(news)

    return find


async def submits(stage: Stage, fault: Fault | None) -> Any:
    rig = stage.rig
    basket = rig.basket(Row(0, 7))
    stage.fault = fault
    try:
        news = await rig.broker.submit(basket)
        await rig.settle()
        await rig.broker.submit(basket)
    finally:
        stage.fault = None
        assert len(rig.has(basket, 0)) == 1, "the order was sent again"
        await rig.end(basket, 0, "cancelled")
    return said(news)


async def sells(stage: Stage, fault: Fault | None) -> Any:
    """A sale needs the balance first: without it, it is not sent."""
    rig = stage.rig
    basket = rig.basket(Row(0, -2))
    stage.fault = fault
    try:
        news = await rig.broker.submit(basket)
    finally:
        stage.fault = None
        for order in rig.has(basket, 0):
            assert order.open
            await rig.end(basket, 0, "cancelled")
    return said(news)


async def cancels(stage: Stage, fault: Fault | None) -> Any:
    rig = stage.rig
    basket = rig.basket(Row(0, 7))
    await rig.broker.submit(basket)
    stage.fault = fault
    try:
        return said(await rig.broker.cancel(basket.sample, basket.n, 0, rig.now()))
    finally:
        stage.fault = None


async def replaces(stage: Stage, fault: Fault | None) -> Any:
    rig = stage.rig
    basket = rig.basket(Row(0, 7, rig.price_nano(0) // 2))
    await rig.broker.submit(basket)
    other = rig.basket(Row(0, 5, rig.price_nano(0) // 2))
    stage.fault = fault
    try:
        return said(await rig.broker.replace(basket.sample, basket.n, 0, other))
    finally:
        stage.fault = None
        assert len(rig.has(other, 0)) == 1
        await rig.end(other, 0, "cancelled")


async def lists_assets(stage: Stage, fault: Fault | None) -> Any:
    """The assets of a universe that is too large to be read one by one. What the list lacks is read by its symbol."""
    rest = stage.rig.broker._rest
    stage.fault = fault
    try:
        many = msgspec.structs.replace(UNIVERSE, instruments=UNIVERSE.instruments * 8)
        return (await read_listing(rest, many)).assets
    finally:
        stage.fault = None
        assert await listed_orders(rest) is not None


def exits(name: str) -> Act:
    async def leave(stage: Stage, fault: Fault | None) -> Any:
        rig = stage.rig
        basket = rig.basket(Row(0, 7, rig.price_nano(0) // 2))
        await rig.broker.submit(basket)
        if isinstance(rig, AlpacaRig):
            server = rig.server
            settings = AlpacaSettings(url=server.url, key=server.key, secret=server.secret, timeout_s=2.5)
            account: Any = AlpacaExit(settings)
        else:
            venue = rig.venue
            exchange = rig.name
            access = Access(exchange, venue.key, venue.secret, url=venue.url, per_minute=0)
            account = CryptoExit(Line(CryptoSettings(access)), rig.universe.currency)
        await account.open()
        orders = await account.orders()
        stage.fault = fault
        try:
            if name in ("cancel", "ended"):
                answer = await getattr(account, name)(orders[0] if name == "cancel" else orders)
            else:
                answer = await getattr(account, name)()
        finally:
            stage.fault = None
            await account.close()
            with suppress(RuntimeError, AssertionError):  # it has ended
                await rig.end(basket, 0, "cancelled")
        # a position or an order that cannot be read stays listed: the exit closes it without a quantity
        return len(answer) if name in ("orders", "holdings") else answer

    return leave


# ---------------------------------------------------------------- the venues


HOLDINGS = exits("holdings")
"""The exit alone takes an account without any asset: it was never funded, and there is nothing to close."""


def kraken(request: str, act: Act) -> Any:
    """The type of a whole answer of Kraken, with the items of its lists."""
    form = KRAKEN_ANSWERS[request]
    items = dict[str, form.item]  # type: ignore[name-defined]
    result = form.result
    if form.items:
        fields = msgspec.structs.fields(result)
        result = msgspec.defstruct("Result", [(f.name, items if f.name == form.items else f.type) for f in fields])
    elif form.item is not None:
        result = Annotated[items, msgspec.Meta(min_length=int(act is not HOLDINGS))]
    return msgspec.defstruct("Answer", [("error", list[str]), ("result", result)])


def binance(request: str, act: Act) -> Any:
    """The type of a whole answer of Binance, with the items of its lists."""
    method, _, path = request.partition(" ")
    form = BINANCE.form_of(path, method)
    assert form is not None, request
    if form.item is None:
        return form.result
    if not form.items:
        return list[form.item]  # type: ignore[name-defined]
    least_items = int(form.items != "rows" and act is not HOLDINGS)
    least_one = Annotated[list[form.item], msgspec.Meta(min_length=least_items)]  # type: ignore[name-defined]
    fields = [
        (f.encode_name, least_one if f.encode_name == form.items else f.type)
        for f in msgspec.structs.fields(form.result)
    ]
    return msgspec.defstruct("Answer", fields)


def bybit(request: str, act: Act) -> Any:
    """The type of a whole answer of Bybit, with the items of its lists."""
    form = BYBIT.form_of(request.partition(" ")[2])
    assert form is not None, request
    result = form.result
    if form.item is not None:
        many = int(form.item is Pair or (form.item is Balance and act is not HOLDINGS))
        rows = Annotated[list[form.item], msgspec.Meta(min_length=many)]  # type: ignore[name-defined]
        fields = msgspec.structs.fields(result)
        result = msgspec.defstruct(
            "Result", [(f.encode_name, rows if f.name == form.items else f.type) for f in fields]
        )
    if form.result is Wallet:
        result = msgspec.defstruct("Accounts", [("list", Annotated[list[result], msgspec.Meta(min_length=1)])])
    return msgspec.defstruct("Answer", [("retCode", int), ("result", result), ("time", str)])


class Venue(NamedTuple):
    """A row of the generator: the rig of a venue, and for each request the type of its answer and what sends it."""

    rig: Callable[[], Any]
    requests: list[tuple[str, Any, Act]]


def venue_of(rig: Callable[[], Any], form: Callable[[str, Act], Any], acts: list[tuple[Act, str]]) -> Venue:
    """The row of a venue whose requests are listed by what sends them."""
    return Venue(rig, [(request, form(request, act), act) for act, names in acts for request in names.split(", ")])


ALPACA = Venue(
    AlpacaRig,
    [
        ("GET /v2/account", wire.Account, reads("account")),
        ("GET /v2/account", wire.Account, opens),
        ("GET /v2/account", wire.AccountNumber, exits("number")),
        ("GET /v2/clock", wire.Clock, opens),
        ("GET /v2/assets/{symbol}", wire.Asset, opens),
        ("GET /v2/assets", list[wire.Asset], lists_assets),
        ("GET /v2/positions", list[wire.Position], reads("account")),
        ("GET /v2/positions", list[wire.Position], exits("holdings")),
        ("GET /v2/orders", list[wire.Order], reads("account")),
        ("GET /v2/orders", list[wire.Order], exits("orders")),
        ("GET /v2/orders:by_client_order_id", wire.Order, finds(filled=False)),
        ("GET /v2/orders:by_client_order_id", wire.Order, finds(filled=True)),
        ("GET /v2/orders/{id}", wire.Order, exits("ended")),
        ("POST /v2/orders", wire.Order, submits),
        ("PATCH /v2/orders/{id}", wire.Order, replaces),
        ("DELETE /v2/orders/{id}", None, cancels),
        ("DELETE /v2/orders/{id}", None, exits("cancel")),
        ("DELETE /v2/orders", list[wire.Cancelled], exits("cancel_all")),
        ("GET /v2/account/activities/{type}", list[wire.TradeActivity], reads("trades")),
        ("GET /v2/account/activities/{type}", list[wire.TradeActivity], finds(filled=True)),
        ("GET /v2/account/activities", list[wire.Activity], reads("flows")),
    ],
)
KRAKEN = venue_of(
    CcxtRig, kraken,
    [
        (opens, "Time, Assets, AssetPairs, BalanceEx, OpenOrders"),
        (reads("account"), "SystemStatus, BalanceEx, OpenOrders"),
        (sells, "BalanceEx"),
        (HOLDINGS, "BalanceEx"),
        (finds(filled=False), "OpenOrders"),
        (exits("orders"), "OpenOrders"),
        (finds(filled=True), "ClosedOrders, TradesHistory"),
        (reads("trades"), "TradesHistory"),
        (reads("flows"), "Ledgers"),
        (submits, "AddOrder"),
        (cancels, "CancelOrder"),
        (exits("cancel"), "CancelOrder"),
        (exits("cancel_all"), "CancelAll"),
    ],
)  # fmt: skip
BINANCE_SPOT = venue_of(
    BinanceRig, binance,
    [
        (opens, "GET time, GET exchangeInfo, GET bnbBurn, GET account, GET openOrders"),
        (reads("account"), "GET system/status, GET account, GET openOrders"),
        (sells, "GET account"),
        (HOLDINGS, "GET account"),
        (finds(filled=False), "GET openOrders"),
        (exits("orders"), "GET openOrders"),
        (finds(filled=True), "GET order, GET myTrades"),
        (exits("ended"), "GET order"),
        (reads("trades"), "GET myTrades"),
        (reads("flows"), "GET myTrades, GET capital/deposit/hisrec"),
        (reads("flows"), "GET capital/withdraw/history, GET asset/assetDividend"),
        (submits, "POST order"),
        (cancels, "DELETE order"),
        (exits("cancel"), "DELETE order"),
    ],
)  # fmt: skip
BYBIT_SPOT = venue_of(
    BybitRig, bybit,
    [
        (opens, "GET market/time, GET market/instruments-info, GET account/wallet-balance, GET order/realtime"),
        (reads("account"), "GET system/status, GET account/wallet-balance, GET order/realtime"),
        (sells, "GET account/wallet-balance"),
        (HOLDINGS, "GET account/wallet-balance"),
        (finds(filled=False), "GET order/realtime"),
        (finds(filled=True), "GET order/realtime, GET execution/list"),
        (exits("orders"), "GET order/realtime"),
        (reads("trades"), "GET execution/list"),
        (reads("flows"), "GET account/transaction-log"),
        (submits, "POST order/create"),
        (cancels, "POST order/cancel"),
        (exits("cancel"), "POST order/cancel"),
    ],
)  # fmt: skip
VENUES = {"alpaca": ALPACA} | (
    {"kraken": KRAKEN, "binance": BINANCE_SPOT, "bybit": BYBIT_SPOT} if find_spec("ccxt") is not None else {}
)

NOT_FOUND = ("not known to the venue", "no market of this venue")
"""What the adapters say of an instrument that a venue does not have."""


def long_form(venue: str, k: int) -> tuple[pytest.MarkDecorator, ...]:
    """The mark of a row whose request has an earlier row: another act reads the same answer."""
    names = [request for request, *_ in VENUES[venue].requests]
    return (pytest.mark.slow,) if names[k] in names[:k] else ()


@pytest.mark.parametrize(
    ("venue", "k"),
    [
        pytest.param(venue, k, marks=long_form(venue, k), id=f"{venue}-{row.requests[k][0].replace('/', ' ')}-{k}")
        for venue, row in VENUES.items()
        for k in range(len(row.requests))
    ],
)
async def test_an_answer_of_another_form_is_an_error(venue: str, k: int) -> None:
    request, kind, act = VENUES[venue].requests[k]
    rig = VENUES[venue].rig()
    await rig.start()
    try:
        await rig.hold(0, 50)
        await rig.flow("deposit", 3_000_000)
        if isinstance(rig, BinanceRig):  # each of its lists has an entry, and the first balance is none of zero
            await rig.hold(1, 5)
            await rig.flow("withdrawal", -1_000_000)
            await rig.flow("interest", 1_000_000)
        await rig.foreign_order(1, 3, rig.price_nano(1) // 2)
        filled = rig.basket(Row(0, 3))
        await rig.broker.submit(filled)
        await rig.fill(filled, 0, 3, rig.price_nano(0))
        stage = Stage(rig, request)
        right = await act(stage, None)
        planted: set[str] = set()
        for fault in faults(kind):
            stage.planted, error = 0, ""
            try:
                seen: Any = await act(stage, fault)
            except AssertionError as wrong:
                raise AssertionError(f"{fault.name}: {wrong}") from wrong
            except (ConnectionError, VenueError) as refused:
                error = str(refused)
            assert error or not stage.planted or seen == right, (fault.name, seen, right)
            assert not any(words in error for words in NOT_FOUND), (fault.name, error)
            planted |= {fault.name} if stage.planted else set()
        # a page, a cut text, null and {}; each key four times, but for a list that may be empty
        assert len(planted) >= least(kind), planted
    finally:
        await rig.stop()
