"""What is particular to Binance spot, over the network, with ccxt itself on our side."""

import asyncio
import json
import sys
import time
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from quantd.adapters.brokers.ccxt.broker import Crypto, may_withdraw
from quantd.adapters.brokers.ccxt.connection import CryptoSettings, Line
from quantd.adapters.brokers.ccxt.liquidation import CryptoExit
from quantd.adapters.brokers.venue import Login
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.exchange.client import Access, connect
from quantd.trading.events import Unknown
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.orders import Cause, Kind, OrderBasket, Reports
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.binance import BinanceRig
from tests.proofs.conformance.scene import opened
from tests.support.command_line import environment
from tests.support.running_server import running_server
from tests.support.venues.binance import Exchange, Market, Moved, Order, Refused

pytestmark = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")

SIGNED: Final = {"timestamp", "recvWindow", "signature"}
LIMIT: Final = SIGNED | {
    "symbol", "side", "type", "timeInForce", "quantity", "price", "newClientOrderId", "newOrderRespType",
}  # fmt: skip
KNOWN_FORMS: Final[dict[str, set[str]]] = {
    "POST order": LIMIT | {"selfTradePreventionMode"},
    "POST order, stop": LIMIT | {"selfTradePreventionMode", "stopPrice"},
    "GET account": SIGNED,
    "GET openOrders": SIGNED,
    "GET myTrades": SIGNED | {"symbol", "startTime", "limit"},
    "GET order": SIGNED | {"symbol", "origClientOrderId"},
    "DELETE order": SIGNED | {"symbol", "origClientOrderId"},
}
"""Fields by request in ccxt's static fixtures, ts/src/test/static/request/binance.json of ccxt/ccxt at commit
0094a48beb788f92ae50d788bf957e49c07dac6f (spot: limit, limit with triggerPrice, selfTradePrevention, fetchBalance,
fetchMyTrades; fetchOrder and cancel by client id)."""


rig = running_server(BinanceRig)


def order_of(rig: BinanceRig, basket: OrderBasket, row: int = 0) -> Order:
    (order,) = rig.venue.by_client(rig._id(basket, row))
    return order


def only(news: Any) -> Any:
    (report,) = news
    return report


def sent(rig: BinanceRig) -> int:
    return rig.venue.calls.count("POST order")


async def test_each_request_has_the_form_of_the_fixtures(rig: BinanceRig) -> None:
    await rig.hold(0, 50)
    rig.venue.prices["SOLUSDT"] = "150"
    rows = Row(0, 7, rig.price_nano(0) // 2), Row(0, -5, 139 * NANO, Kind.STOP, 140 * NANO)
    for row in rows:
        basket = rig.basket(row)
        await rig.broker.submit(basket)
    await rig.fill(basket, 0, 2, 140 * NANO)
    await rig.broker.cancel(basket.sample, basket.n, 0, rig.now())
    await rig.broker.query(basket.sample, basket.n, [0])
    seen = {}
    for name, fields in rig.venue.asked:
        seen[f"{name}, stop" if fields.get("type") == "STOP_LOSS_LIMIT" else name] = set(fields)
    assert {name: seen[name] for name in KNOWN_FORMS} == KNOWN_FORMS
    stop = order_of(rig, basket)
    assert (stop.type, stop.stop, stop.price, stop.tif, stop.stp) == (
        "STOP_LOSS_LIMIT", Decimal(140), Decimal(139), "GTC", "EXPIRE_TAKER",
    )  # fmt: skip


@pytest.mark.parametrize("fault", ["-1006 after", "-1007 after"])
async def test_an_order_of_unknown_execution_is_looked_up_by_its_client_id_and_never_sent_again(
    rig: BinanceRig, fault: str
) -> None:
    rig.venue.misbehave(fault, ("POST order",), 1)
    basket = rig.basket(Row(0, 7))
    report = only(await rig.broker.submit(basket))
    assert isinstance(report, Unknown)
    assert "status unknown" in report.reason
    await rig.fill(basket, 0, 7, rig.price_nano(0))  # it is not among the open orders any more
    await rig.settle()
    report = only(await rig.broker.submit(basket))
    assert (report.cause, report.lots) == ([Cause.LAST_FILL], [7])
    assert sent(rig) == 1
    asked = [fields for name, fields in rig.venue.asked if name == "GET order"]
    assert {fields["origClientOrderId"] for fields in asked} == {rig._id(basket, 0)}


async def test_a_rejection_has_the_words_of_the_exchange_and_a_duplicate_is_none(rig: BinanceRig) -> None:
    report = only(await rig.broker.submit(rig.basket(Row(0, 1_000_000))))
    assert report.cause == [Cause.REJECTED]
    assert "insufficient balance" in report.reason
    rig.venue.reject_next.append(Refused(-2010, "Duplicate order sent."))
    report = only(await rig.broker.submit(rig.basket(Row(0, 3))))
    assert isinstance(report, Unknown)
    assert "has this order already" in report.reason


async def test_a_clock_that_runs_away_sends_nothing_and_says_what_to_do(rig: BinanceRig) -> None:
    await rig.skew(20.0)
    report = only(await rig.broker.submit(rig.basket(Row(0, 3))))
    assert report.cause == [Cause.EXPIRED]
    assert "never sent" in report.reason
    assert "-1021" in report.reason
    assert "Synchronise the clock" in report.reason
    assert not rig.venue.orders


async def test_an_order_that_arrives_after_its_window_is_refused_by_the_exchange(rig: BinanceRig) -> None:
    await rig.broker.submit(rig.basket(Row(0, 3)))
    (fields,) = [fields for name, fields in rig.venue.asked if name == "POST order"]
    assert float(fields["recvWindow"]) == rig.timeout_s * 1000
    rig.venue.skew_ns = int((rig.timeout_s + 0.1) * NANO)  # it arrives later by so much
    with pytest.raises(Refused, match="outside of the recvWindow"):
        rig.venue._in_time(fields)


async def test_who_is_told_to_wait_sends_nothing_until_then(rig: BinanceRig) -> None:
    """Who goes on after a 429 is banned (418), and who goes on while banned is banned for longer."""
    rig.venue.weight_limit, rig.venue.ban_s = 1, 0.6
    basket = rig.basket(Row(0, 3))
    before = len(rig.venue.calls)
    asking = asyncio.create_task(rig.broker.submit(basket))
    await asyncio.sleep(0.4)
    assert len(rig.venue.calls) == before + 1
    assert rig.venue.banned_until == 0.0
    rig.venue.weight_limit = 0
    assert only(await asking).cause == [Cause.ACCEPTED]
    assert sent(rig) == 2


async def test_a_ban_longer_than_our_patience_ends_in_an_order_that_was_never_sent(rig: BinanceRig) -> None:
    rig.venue.weight_limit, rig.venue.ban_s = 1, 60.0
    reports = [only(await rig.broker.submit(rig.basket(Row(0, 3)))) for _ in range(3)]
    assert {tuple(report.cause) for report in reports} == {(Cause.EXPIRED,)}
    assert "no request is sent for another" in reports[-1].reason
    assert not rig.venue.orders
    assert rig.venue.banned_until == 0.0


async def test_an_order_with_an_end_is_cancelled_by_us_then() -> None:
    rig = BinanceRig(poll_s=0.05)
    await rig.start()
    try:
        basket = rig.basket(Row(0, 7, rig.price_nano(0) // 2, end=rig.now() + NANO // 2))
        await rig.broker.submit(basket)
        async with asyncio.timeout(10):
            async for report in rig.broker.news():
                if isinstance(report, Reports) and report.cause == [Cause.CANCELLED]:
                    break
        assert order_of(rig, basket).status == "CANCELED"
        assert rig.venue.calls.count("DELETE order") == 1
    finally:
        await rig.stop()


async def test_an_order_that_would_trade_with_our_own_ends_and_is_told(rig: BinanceRig) -> None:
    basket = rig.basket(Row(0, 7))
    await rig.broker.submit(basket)
    rig.venue.close(order_of(rig, basket), "EXPIRED_IN_MATCH")
    assert only(await rig.broker.query(basket.sample, basket.n, [0])).cause == [Cause.EXPIRED]


# ---------------------------------------------------------------- fees


@pytest.mark.parametrize(("lots", "fee_nano"), [(10, 10_000_000), (-10, 0)])
async def test_a_purchase_pays_in_the_coin_and_a_sale_in_money(rig: BinanceRig, lots: int, fee_nano: int) -> None:
    rig.venue.fee_rate["BUY"] = Decimal("0.001")
    await rig.hold(0, 50)
    basket = rig.basket(Row(0, lots))
    await rig.broker.submit(basket)
    await rig.fill(basket, 0, 10, 150 * NANO)
    report = only(await rig.broker.query(basket.sample, basket.n, [0]))
    assert report.fee_nano == ([fee_nano] if fee_nano else [])
    assert report.fee_micro == [0 if fee_nano else 1_500_000]
    assert await rig.broker.flows(1) == []
    assert rig.broker.set_aside() == []  # type: ignore[attr-defined]


def with_bnb(rig: BinanceRig) -> Universe:
    """The rig's universe and BNB, as its market has it."""
    rig.venue.markets["BNBUSDT"] = Market("BNB", "USDT", "0.01", "0.001", "0.001", "5")
    bnb = Instrument("BNB/USDT", lot_nano=NANO // 1000, tick_nano=NANO // 100, calendar="24/7")
    return Universe((*rig.universe.instruments, bnb), "USDT", calendar="24/7")


async def test_fees_in_bnb_are_entries_of_bnb_where_the_universe_has_it(rig: BinanceRig) -> None:
    rig.venue.add("BNB", Decimal(2))
    rig.venue.bnb_burn = True
    rig.venue.fee_rate["BUY"] = Decimal("0.00075")
    broker = rig.adapter(universe=with_bnb(rig))
    await opened(broker)
    try:
        basket = rig.basket(Row(0, 10))
        await broker.submit(basket)
        await rig.fill(basket, 0, 4, 150 * NANO)
        await rig.fill(basket, 0, 6, 150 * NANO)
        report = only(await broker.query(basket.sample, basket.n, [0]))
        assert (report.fee_micro, report.fee_nano) == ([0, 0], [])
        flows = await broker.flows(1)
        assert [(flow.symbol, flow.kind, flow.amount_micro, flow.units_nano) for flow in flows] == [
            ("BNB/USDT", "fee", 0, -750_000), ("BNB/USDT", "fee", 0, -1_125_000),
        ]  # fmt: skip
        assert len({flow.id for flow in flows}) == 2
        assert rig.venue.balances["BNB"] == 2 + Decimal(sum(flow.units_nano for flow in flows)) / NANO
        assert [trade.fee_micro for trade in await broker.trades(1)] == [None, None]
        assert broker.set_aside() == []  # type: ignore[attr-defined]
    finally:
        await broker.close()


async def test_fees_in_bnb_are_refused_at_the_start_where_the_universe_has_it_not(rig: BinanceRig) -> None:
    rig.venue.bnb_burn = True
    broker = rig.adapter()
    with pytest.raises(VenueError, match="pays its fees in BNB, which is not in the universe") as wrong:
        await broker.open()
    assert wrong.value.remedy == 'Switch off "use BNB for fees" at Binance, or add BNB/USDT to [universe] symbols'


async def test_a_fee_in_bnb_that_was_switched_on_later_is_named(rig: BinanceRig) -> None:
    rig.venue.bnb_burn = True
    basket = rig.basket(Row(0, -10))
    await rig.hold(0, 50)
    await rig.broker.submit(basket)
    await rig.fill(basket, 0, 10, 150 * NANO)
    await rig.broker.query(basket.sample, basket.n, [0])
    assert any("the venue took a fee of" in text and "BNB" in text for text in rig.broker.set_aside())  # type: ignore[attr-defined]


# ---------------------------------------------------------------- deposits, withdrawals and rewards


async def test_movements_count_at_the_instant_of_their_end_and_in_the_spot_wallet_only(rig: BinanceRig) -> None:
    now = rig.now() // NANO * NANO
    day = 86_400 * NANO
    rig.venue.moved += [
        Moved("1", "deposit", "USDT", Decimal(100), now - 3 * day, now),  # begun earlier, credited now
        Moved("2", "deposit", "USDT", Decimal(7), now, 0),  # not credited yet
        Moved("3", "deposit", "USDT", Decimal(9), now, now, wallet=1),  # to the funding wallet
        Moved("4", "withdrawal", "USDT", Decimal(30), now - day, now, Decimal(1)),
        Moved("5", "withdrawal", "USDT", Decimal(5), now, 0),
        Moved("6", "dividend", "SOL", Decimal("0.25"), now, now),
        Moved("7", "dividend", "XLM", Decimal(1), now, now),  # of no symbol of the universe
        Moved("8", "deposit", "USDT", Decimal(50), now - 400 * day, now - 399 * day),
    ]
    flows = await rig.broker.flows(now - NANO)
    assert sorted((flow.id, flow.kind, flow.amount_micro, flow.units_nano, flow.symbol) for flow in flows) == [
        ("deposit 1", "deposit", 100_000_000, 0, ""),
        ("reward 6", "interest", 0, NANO // 4, "SOL/USDT"),
        ("withdrawal 4", "withdrawal", -31_000_000, 0, ""),
    ]
    assert "deposit 8" in {flow.id for flow in await rig.broker.flows(now - 500 * day)}
    assert rig.broker.set_aside() == []  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the test network, the key, the way out


async def test_the_test_network_has_its_own_addresses_and_no_wallet(rig: BinanceRig) -> None:
    exchange = await connect(Access("binance", "k", "s", sandbox=True))
    urls = exchange.urls["api"]
    await exchange.close()
    assert urls["private"] == "https://testnet.binance.vision/api/v3"
    assert urls["ws"]["ws-api"]["spot"] == "wss://ws-api.testnet.binance.vision/ws-api/v3"
    rig.venue.wallet = False
    access = Access("binance", rig.venue.key, rig.venue.secret, url=rig.venue.url, sandbox=True, per_minute=0)
    broker = Crypto(CryptoSettings(access, settle_s=30.0), rig.universe, "run", rig.now)
    await broker.open()
    try:
        assert (await broker.account()).blocked == ""
        assert await broker.flows(1) == []
        assert not any(name.startswith(("GET capital", "GET bnbBurn")) for name in rig.venue.calls[-12:])
    finally:
        await broker.close()


async def test_a_key_without_the_right_to_trade_or_from_another_address_is_refused(rig: BinanceRig) -> None:
    broker = rig.adapter(key="another")
    with pytest.raises(VenueError, match="-2015") as wrong:
        await broker.open()
    assert "list of addresses" in wrong.value.wrong


async def test_binance_says_whether_a_key_may_withdraw(rig: BinanceRig) -> None:
    secrets = {"ccxt_key": rig.venue.key, "ccxt_secret": rig.venue.secret}
    assert await may_withdraw(Login(rig.universe, "run", secrets, True, rig.venue.url, "binance")) is False


async def test_the_emergency_exit_cancels_one_by_one_and_sells(rig: BinanceRig) -> None:
    venue = rig.venue
    venue.auto, venue.prices["SOLUSDT"] = True, "150"
    await rig.hold(0, 50)
    await rig.foreign_order(0, 3, rig.price_nano(0) // 2)
    await rig.foreign_order(1, 3, rig.price_nano(1) // 2)
    account = CryptoExit(Line(CryptoSettings(Access("binance", venue.key, venue.secret, url=venue.url))), "USDT")
    await account.open()
    try:
        orders = await account.orders()
        assert sorted(order.symbol for order in orders) == ["ADA/USDT", "SOL/USDT"]
        await account.cancel_all()  # nothing: Binance cancels all orders of one symbol only
        assert len(await account.orders()) == 2
        for order in orders:
            await account.cancel(order)
        assert {ended.status for ended in (await account.ended(orders)).values()} == {"canceled"}
        (holding,) = await account.holdings()
        assert (holding.symbol, holding.qty, holding.worth) == ("SOL/USDT", Decimal(50), Decimal(7500))
        await account.close_position(holding, "emergency-1")
        assert venue.balances["SOL"] == 0
    finally:
        await account.close()


@pytest.mark.long
async def test_a_daemon_of_the_doctor_places_finds_cancels_buys_and_sells_there(tmp_path: Path) -> None:
    """The whole way of an order: bars, decision by hand, gate, journal, exchange, stream, and books equal at the end. A
    purchase pays in the coin, and the first answer is lost."""
    venue = Exchange([Market("BTC", "USDT", "0.01", "0.00001", "0.00001", "5")], time.time_ns)
    venue.add("USDT", Decimal(10_000))
    venue.add("BTC", Decimal(2))
    venue.auto, venue.bar_price, venue.prices["BTCUSDT"] = True, Decimal(90_000), "90000.00"
    await venue.start()
    venue.misbehave("-1007 after", ("POST order",), 1)
    sets = (
        f"broker.url={venue.url}", f"feed.url={venue.url}",
        'universe.instruments=[{ symbol = "BTC/USDT", lot = "0.00001", tick = "0.01" }]',
    )  # fmt: skip
    options = [word for text in sets for word in ("--set", text)]
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "quantd.daemon.cli", "doctor", "--venue", "binance", "--symbol", "BTC/USDT", "--json",
            "--order", "--fill", *options, cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
            env=environment() | {"QUANTD_CCXT_KEY": venue.key, "QUANTD_CCXT_SECRET": venue.secret},
        )  # fmt: skip
        out, _ = await process.communicate()
    finally:
        await venue.stop()
    checks = json.loads(out)["checks"]
    assert [(check["name"], check["text"]) for check in checks if check["ok"] is not True] == []
    assert [check["name"] for check in checks[6:]] == ["order", "list", "cancel", "stream", "buy", "sell", "books"]
    assert [(order.side, order.status) for order in venue.orders.values()] == [
        ("BUY", "CANCELED"), ("BUY", "FILLED"), ("SELL", "FILLED"),
    ]  # fmt: skip
