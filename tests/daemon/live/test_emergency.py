"""The emergency exit at wire-level servers, spoken to by the real clients."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import pytest

from quantd.adapters.brokers.account_exit import AccountExit, Holding
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.adapters.brokers.alpaca.liquidation import AlpacaExit
from quantd.adapters.brokers.ccxt.connection import CryptoSettings, Line
from quantd.adapters.brokers.ccxt.liquidation import CryptoExit
from quantd.adapters.brokers.venue_errors import KeysRefused
from quantd.adapters.exchange.client import Access
from quantd.daemon.live import emergency
from quantd.daemon.live.emergency import Emergency, Remainder, client_id
from tests.proofs.conformance.rigs.ccxt import ASSETS, MARKETS
from tests.support.mqtt import until
from tests.support.running_server import running_server
from tests.support.venues.alpaca import AlpacaServer, listed
from tests.support.venues.kraken import Exchange

STARTED = 1_790_000_000
crypto = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter pauses; their order is the same."""
    monkeypatch.setattr(emergency, "PAUSE_S", (0.02, 0.1))
    monkeypatch.setattr(emergency, "AGAIN_S", 0.3)


@running_server
def alpaca() -> AlpacaServer:
    server = listed(SPY="400.00", QQQ="300.00", TSLA="200.00")
    server.book.auto = True
    return server


@running_server
def kraken() -> Exchange:
    server = Exchange((replace(pair, bars=[]) for pair in MARKETS), ASSETS, time.time_ns)
    server.add("ZUSD", Decimal(100_000))
    server.prices = {"SOL/USD": "150.00", "BTC/USD": "60000.0", "ETH/USD": "2500.00", "LTC/USD": "80.00"}
    server.auto = True
    return server


def settings_of(server: AlpacaServer, timeout_s: float = 5.0, secret: str = "") -> AlpacaSettings:
    return AlpacaSettings(url=server.url, key=server.key, secret=secret or server.secret, timeout_s=timeout_s)


def of(server: AlpacaServer, timeout_s: float = 5.0, secret: str = "") -> AlpacaExit:
    return AlpacaExit(settings_of(server, timeout_s, secret))


def at(server: Exchange, timeout_s: float = 5.0, key: str = "") -> CryptoExit:
    access = Access(
        "kraken", key or server.key, server.secret, url=server.url, timeout_s=timeout_s, per_minute=0,
        orders_per_minute=0,
    )  # fmt: skip
    return CryptoExit(Line(CryptoSettings(access)), "USD")


async def left(
    account: AccountExit, *, close: bool = True, timeout_s: float = 60.0
) -> tuple[list[Remainder], Emergency]:
    run = Emergency(account, STARTED, timeout_s)
    await account.open()
    try:
        return await run.run(close=close), run
    finally:
        await account.close()


def working(
    server: AlpacaServer, symbol: str = "SPY", qty: str = "10", limit: str = "100.00", side: str = "buy"
) -> str:
    order = server.book.place(
        {"symbol": symbol, "qty": qty, "side": side, "type": "limit", "time_in_force": "gtc", "limit_price": limit},
        foreign=True,
    )
    return order.id


def closes(server: AlpacaServer) -> list[tuple[str, str, Decimal]]:
    return [(o.symbol, o.side, o.qty) for o in server.book.orders.values() if o.kind == "market"]


def crypto_order(server: Exchange, number: str, vol: str, symbol: str = "SOLUSD", side: str = "buy") -> Any:
    fields = {"pair": symbol, "type": side, "ordertype": "limit", "price": "100", "volume": vol, "cl_ord_id": number}
    txid = server._private_addorder(fields)["txid"][0]
    return server.orders[txid]


# Alpaca


async def test_orders_are_cancelled_and_positions_of_both_signs_closed_once(alpaca: AlpacaServer) -> None:
    first, second = working(alpaca), working(alpaca, "QQQ", "3")
    alpaca.book.positions |= {"SPY": Decimal(12), "TSLA": Decimal(-5), "QQQ": Decimal("0.25")}
    remaining, run = await left(of(alpaca))
    assert remaining == []
    assert {(o.id, o.outcome) for o in run.orders} == {(first, "cancelled"), (second, "cancelled")}
    assert {(p.symbol, p.qty) for p in run.positions} == {
        ("SPY", Decimal(12)), ("TSLA", Decimal(-5)), ("QQQ", Decimal("0.25"))
    }  # fmt: skip
    assert sorted(closes(alpaca)) == [
        ("QQQ", "sell", Decimal("0.25")), ("SPY", "sell", Decimal(12)), ("TSLA", "buy", Decimal(5))
    ]  # fmt: skip
    assert alpaca.book.positions == {}


async def test_without_close_positions_stay(alpaca: AlpacaServer) -> None:
    working(alpaca)
    alpaca.book.positions["SPY"] = Decimal(12)
    remaining, run = await left(of(alpaca), close=False)
    assert (remaining, run.positions, alpaca.book.positions) == ([], [], {"SPY": Decimal(12)})
    assert closes(alpaca) == []


async def test_an_order_that_fills_in_part_or_in_full_during_its_cancel_is_reported_and_closed(
    alpaca: AlpacaServer,
) -> None:
    part, full = working(alpaca), working(alpaca, "QQQ", "3")
    of_part, of_full = alpaca.book.orders[part], alpaca.book.orders[full]
    alpaca.book.fill_on_cancel = {
        of_part.client_id: (Decimal(4), Decimal(100)), of_full.client_id: (Decimal(3), Decimal(100))
    }  # fmt: skip
    remaining, run = await left(of(alpaca))
    assert remaining == []
    assert {o.id: (o.outcome, o.filled) for o in run.orders} == {
        part: ("cancelled", Decimal(4)), full: ("filled", Decimal(3))
    }  # fmt: skip
    assert alpaca.book.positions == {}
    assert sorted(closes(alpaca)) == [("QQQ", "sell", Decimal(3)), ("SPY", "sell", Decimal(4))]


@pytest.mark.one_of(2)
@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
    "fault", ["500", "429", "429 bare", "502 html", "malformed", "reset before", "time-out before"]
)
@pytest.mark.parametrize("on", ["account", "cancel", "close"])
async def test_a_fault_on_the_way_delays_and_does_no_harm(alpaca: AlpacaServer, fault: str, on: str) -> None:
    working(alpaca)
    alpaca.book.positions["TSLA"] = Decimal(-5)
    alpaca.misbehave(fault, on, 1)
    remaining, _ = await left(of(alpaca, 0.3))
    assert remaining == []
    assert closes(alpaca) == [("TSLA", "buy", Decimal(5))]
    assert alpaca.book.positions == {}


@pytest.mark.long
@pytest.mark.parametrize("fault", ["500 after", "time-out after", "reset after", "malformed"])
@pytest.mark.parametrize("auto", [True, False])
async def test_a_lost_answer_doubles_no_close(alpaca: AlpacaServer, fault: str, auto: bool) -> None:
    """Also where the closing order is still working when it is looked for."""
    alpaca.book.auto = auto
    alpaca.book.positions["SPY"] = Decimal(12)
    alpaca.misbehave(fault, "close", 1)
    doing = asyncio.create_task(left(of(alpaca, 0.3)))
    if not auto:
        await until(lambda: closes(alpaca))
        await asyncio.sleep(1.0)
        (order,) = alpaca.book.orders.values()
        assert order.open, "a closing order is not cancelled"
        alpaca.book.fill(order, order.left, Decimal(400))
    remaining, run = await doing
    assert remaining == []
    assert closes(alpaca) == [("SPY", "sell", Decimal(12))]
    assert [(p.symbol, p.qty) for p in run.positions] == [("SPY", Decimal(12))]
    assert alpaca.book.positions == {}


@pytest.mark.long
async def test_a_close_that_arrives_late_turns_no_position_around(alpaca: AlpacaServer) -> None:
    alpaca.book.positions["SPY"] = Decimal(12)
    alpaca.misbehave("late", "close", 1)
    remaining, _ = await left(of(alpaca, 0.3))
    alpaca.accept_late()
    assert remaining == []
    assert (alpaca.book.positions, closes(alpaca)) == ({}, [("SPY", "sell", Decimal(12))])


@pytest.mark.long
async def test_one_order_that_cannot_be_cancelled_stops_no_other(alpaca: AlpacaServer) -> None:
    stuck, other = working(alpaca), working(alpaca, "QQQ", "3")
    alpaca.book.positions |= {"SPY": Decimal(12), "TSLA": Decimal(-5)}
    client = alpaca.book.orders[stuck].client_id
    alpaca.book.refuse_cancels = type("Always", (set,), {"discard": lambda self, key: None})({client})
    remaining, run = await left(of(alpaca), timeout_s=2.0)
    assert [o.id for o in run.orders] == [other]
    assert alpaca.book.positions == {"SPY": Decimal(12)}
    assert [remainder.kind for remainder in remaining] == ["order", "position"]
    assert "order is not cancelable" in remaining[0].text
    assert stuck in remaining[0].text
    assert "12 SPY" in remaining[1].text
    assert all("https://app.alpaca.markets" in remainder.remedy for remainder in remaining)


@pytest.mark.long
async def test_a_venue_that_never_gets_flat_is_left_after_the_time_out_with_one_line_for_each(
    alpaca: AlpacaServer,
) -> None:
    alpaca.book.auto = False
    alpaca.book.positions |= {"SPY": Decimal(12), "TSLA": Decimal(-5)}
    remaining, run = await left(of(alpaca), timeout_s=1.5)
    assert sorted(closes(alpaca)) == [("SPY", "sell", Decimal(12)), ("TSLA", "buy", Decimal(5))], "each once"
    assert [remainder.kind for remainder in remaining] == ["order", "order", "position", "position"]
    assert "waits for its market" in remaining[0].remedy
    assert run.positions == []


@pytest.mark.long
async def test_a_venue_that_does_not_answer_is_reported_as_unknown(alpaca: AlpacaServer) -> None:
    alpaca.misbehave("500", "account", 1000)
    remaining, _ = await left(of(alpaca, 0.2), timeout_s=1.0)
    assert [remainder.kind for remainder in remaining] == ["unknown", "unknown"]
    assert "status 500" in remaining[0].text
    run = Emergency(account := of(alpaca, 0.2), STARTED, 0.5)
    with pytest.raises(ConnectionError, match="did not give its account"):
        await run.contents()
    await account.close()


@pytest.mark.long
async def test_a_refused_close_is_repeated_with_pauses(alpaca: AlpacaServer) -> None:
    class Timed(AlpacaExit):
        async def close_position(self, holding: Holding, client_id: str) -> str:
            times.append(time.monotonic())
            return await super().close_position(holding, client_id)

    times: list[float] = []
    alpaca.book.positions["SPY"] = Decimal(12)
    alpaca.misbehave("500", "close", 2)
    assert (await left(Timed(settings_of(alpaca))))[0] == []
    assert (len(times), closes(alpaca)) == (3, [("SPY", "sell", Decimal(12))])
    assert all(later - earlier >= emergency.AGAIN_S for earlier, later in pairwise(times))


@pytest.mark.long
async def test_an_unforeseen_error_stops_nothing_else(alpaca: AlpacaServer) -> None:
    class Failing(AlpacaExit):
        async def close_position(self, holding: Holding, client_id: str) -> str:
            if holding.symbol == "SPY":
                raise ValueError("a number of the venue that is none")
            return await super().close_position(holding, client_id)

    alpaca.book.positions |= {"SPY": Decimal(12), "TSLA": Decimal(-5)}
    remaining, _ = await left(Failing(settings_of(alpaca)), timeout_s=1.0)
    assert [remainder.text for remainder in remaining] == [
        "position of 12 SPY is still open (a number of the venue that is none)"
    ]
    assert alpaca.book.positions == {"SPY": Decimal(12)}


async def test_wrong_keys_are_an_error_at_once(alpaca: AlpacaServer) -> None:
    with pytest.raises(KeysRefused, match="Check key and secret"):
        await left(of(alpaca, secret="wrong"))
    assert sum(alpaca.requests.values()) <= 2


async def test_orders_of_a_daemon_that_still_trades_are_cancelled_too(alpaca: AlpacaServer) -> None:
    alpaca.book.auto = False
    alpaca.book.positions["SPY"] = Decimal(12)
    doing = asyncio.create_task(left(of(alpaca)))
    await until(lambda: closes(alpaca))
    late = working(alpaca, "QQQ", "3")
    await until(lambda: not alpaca.book.orders[late].open)
    (close,) = [o for o in alpaca.book.orders.values() if o.kind == "market"]
    alpaca.book.fill(close, close.left, Decimal(400))
    remaining, run = await doing
    assert remaining == []
    assert [o.id for o in run.orders] == [late]


BAD_IDS = [
    "../account/configurations?x=#", "..", ".", "a/b", "%2e%2e", "x?y=1", "", "a" * 200, "7\r\nX: y", "é", "1#2",
]  # fmt: skip
ABSURD = ["1E+900000000", "NaN", "Infinity", "-1E+50", "1E-900000000", "sNaN"]


class Hostile:
    """A venue that answers each request for the lists with the given rows, and records what is requested."""

    def __init__(self, ids: list[str], positions: list[tuple[str, str]]) -> None:
        self.paths: list[str] = []
        self.orders = [self.order(id, "1") for id in ids]
        self._positions = [
            {
                "asset_id": symbol,
                "symbol": symbol,
                "qty": size,
                "side": "long",
                "market_value": size,
                "qty_available": size,
            }
            for symbol, size in positions
        ]

    def order(self, id: str, qty: str) -> dict[str, str | None]:
        return {
            "id": id, "client_order_id": "c", "symbol": "QQQ", "side": "buy", "type": "limit", "qty": qty,
            "notional": None, "filled_qty": "0", "filled_avg_price": None, "limit_price": "1", "stop_price": None,
            "status": "new", "submitted_at": None,
        }  # fmt: skip

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split("\r\n")[0].split(" ")
                self.paths.append(f"{method} {path}")
                rows: object = self.order("7f3", "1") if method == "GET" or "positions" in path else []
                if method == "GET" and path.startswith("/v2/orders?"):
                    rows = self.orders if "after" not in path else []
                elif method == "GET" and path.startswith("/v2/positions"):
                    rows = self._positions
                elif method == "GET" and path.startswith("/v2/account"):
                    rows = {"account_number": "PA1"}
                body = json.dumps(rows).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


async def emergency_at(venue: Hostile, timeout_s: float = 2.0) -> list[Remainder]:
    url = await venue.start()
    exit = AlpacaExit(AlpacaSettings(url=url, key="k", secret="s", timeout_s=0.5))
    return (await left(exit, timeout_s=timeout_s))[0]


@pytest.mark.long
async def test_an_id_of_the_venue_never_forms_a_path() -> None:
    """One venue has all ids, because an exit from orders that stay open waits until its time is over."""
    venue = Hostile([*BAD_IDS, "good-1"], [("SPY", "3"), ("../../x", "1"), ("..", "2")])
    remaining = await emergency_at(venue)
    for path in venue.paths:
        assert re.fullmatch(
            r"(GET|DELETE) /v2/(account|orders|orders/good-1|positions|positions/SPY|orders\?[A-Za-z0-9_=&%:.-]*)", path
        ), path
    assert "DELETE /v2/orders/good-1" in venue.paths
    texts = [remainder.text for remainder in remaining if remainder.kind == "order"]
    assert len(texts) == len(BAD_IDS) + 1
    for id, text in zip(BAD_IDS, texts, strict=False):
        assert id[:20] in text or repr(id[:20])[1:-1] in text


@pytest.mark.long
async def test_an_absurd_quantity_is_named_and_hides_no_other_position() -> None:
    """One venue has all quantities, because an exit from positions that stay open waits until its time is over."""
    orders = [(f"good-{k}", qty if qty != "sNaN" else "NaN") for k, qty in enumerate(ABSURD)]
    venue = Hostile([], [*((f"BAD{k}", qty) for k, qty in enumerate(ABSURD)), ("SPY", "3")])
    venue.orders += [venue.order(id, qty) for id, qty in orders]
    remaining = await emergency_at(venue)
    assert "DELETE /v2/positions/SPY" in venue.paths
    for id, _ in orders:
        assert f"DELETE /v2/orders/{id}" in venue.paths
    assert not any("BAD" in path for path in venue.paths)
    for k in range(len(ABSURD)):
        assert any(f"BAD{k}" in remainder.text and "quantity" in remainder.text for remainder in remaining), remaining
    assert all(len(remainder.text) < 300 for remainder in remaining)


def test_a_client_id_is_derived_from_start_symbol_and_number() -> None:
    assert client_id(STARTED, "BTC/USD", 0) == client_id(STARTED, "BTCUSD", 0) == "emergency-1790000000-BTCUSD-0"


# a crypto exchange


@pytest.mark.long
@crypto
async def test_coins_are_sold_once_and_dust_is_named(kraken: Exchange) -> None:
    open_order = crypto_order(kraken, "mine", "5")
    for asset, amount in (("SOL", "7"), ("XXBT", "0.12345678"), ("XLTC", "0.01"), ("XXLM", "3")):
        kraken.add(asset, Decimal(amount))
    remaining, run = await left(at(kraken))
    assert open_order.status == "canceled"
    assert [(o.id, o.outcome) for o in run.orders] == [(open_order.txid, "cancelled")]
    assert sorted((p.symbol, p.qty) for p in run.positions) == [
        ("BTC/USD", Decimal("0.12345678")), ("SOL/USD", Decimal(7))
    ]  # fmt: skip
    assert [(holding.symbol, holding.dust) for holding in run.dust] == [
        ("LTC/USD", "less than the venue's least order of 0.04")
    ]
    assert [remainder.kind for remainder in remaining] == ["position"]
    assert "3 XLM/USD" in remaining[0].text
    assert "no market" in remaining[0].text
    assert kraken.balances["SOL"] == kraken.balances["XXBT"] == 0
    assert kraken.calls.count("AddOrder") == 2


@pytest.mark.quick_cases(2)
@crypto
@pytest.mark.parametrize(
    ("fault", "path"),
    [
        ("500", "OpenOrders"), ("429", "BalanceEx"), ("503", "CancelAll"), ("500 after", "AddOrder"),
        ("answer lost", "AddOrder"), ("time-out after", "AddOrder"), ("malformed", "AddOrder"), ("500", "AddOrder"),
        ("answer lost", "CancelAll"), ("500", "ClosedOrders"), ("500", "Ticker"),
    ],
)  # fmt: skip
async def test_a_fault_at_an_exchange_doubles_no_sale(kraken: Exchange, fault: str, path: str) -> None:
    crypto_order(kraken, "mine", "5")
    kraken.add("SOL", Decimal(7))
    kraken.misbehave(fault, (path,))
    remaining, _ = await left(at(kraken, 0.5))
    assert remaining == []
    sales = [o for o in kraken.orders.values() if o.ordertype == "market"]
    assert [(o.side, o.vol, o.status) for o in sales] == [("sell", Decimal(7), "closed")]
    assert kraken.balances["SOL"] == 0


class Recorded(CryptoExit):
    """Records the client ids of closing orders."""

    ids: tuple[str, ...] = ()

    async def close_position(self, holding: Holding, client_id: str) -> str:
        self.ids += (client_id,)
        return await super().close_position(holding, client_id)


@pytest.mark.long
@crypto
async def test_a_repeat_has_a_new_client_id_only_after_the_venue_acknowledged_the_order(kraken: Exchange) -> None:
    kraken.auto = False
    kraken.add("SOL", Decimal(7))
    kraken.misbehave("500", ("AddOrder",))
    account = Recorded(at(kraken)._line, "USD")
    doing = asyncio.create_task(left(account))
    await until(lambda: kraken.orders)
    (first,) = kraken.orders.values()
    kraken.fill(first, Decimal(3), Decimal(150))
    kraken.close(first, "canceled", "price protection")
    kraken.auto = True
    remaining, _ = await doing
    assert remaining == []
    assert account.ids == tuple(client_id(STARTED, "SOL/USD", k) for k in (0, 0, 1))
    assert kraken.balances["SOL"] == 0


@pytest.mark.long
@crypto
async def test_a_working_sale_after_a_lost_answer_is_waited_for(kraken: Exchange) -> None:
    kraken.auto = False
    kraken.add("SOL", Decimal(7))
    kraken.misbehave("answer lost", ("AddOrder",))
    remaining, _ = await left(at(kraken, 0.5), timeout_s=2.0)
    sales = [o for o in kraken.orders.values() if o.ordertype == "market"]
    assert len(sales) == 1, "the working sale is ours, and is waited for"
    assert sales[0].status == "open"
    assert [remainder.kind for remainder in remaining] == ["order", "position"]


@crypto
@pytest.mark.parametrize("wrong", [lambda s: setattr(s, "key", "another"), lambda s: s.permissions.discard("open")])
async def test_refused_keys_of_an_exchange(kraken: Exchange, wrong: Callable[[Exchange], Awaitable[None]]) -> None:
    account = at(kraken)
    wrong(kraken)
    with pytest.raises(KeysRefused):
        await left(account)
