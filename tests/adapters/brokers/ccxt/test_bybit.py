"""What is particular to Bybit spot, over the network, with ccxt itself on our side."""

from decimal import Decimal
from importlib.util import find_spec
from typing import Final

import pytest

from quantd.adapters.brokers.ccxt import VENUE
from quantd.trading.instruments import MICRO, NANO
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.bybit import BybitRig

pytestmark = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")

FIXTURES: Final[dict[str, set[str]]] = {
    "POST order/create": {"symbol", "side", "orderType", "category", "qty", "price"},
    "POST order/cancel": {"symbol", "orderFilter", "orderId", "category"},
    "GET order/realtime": {"symbol", "category"},
    "GET order/history": {"symbol", "category"},
    "GET execution/list": {"execType", "symbol", "category"},
    "GET account/wallet-balance": {"accountType"},
    "GET account/transaction-log": set(),
}
"""Fields by request in ccxt's static fixtures, ts/src/test/static/request/bybit.json of ccxt/ccxt at commit
00a587de3f2096338e997717e9085dd07562cea4 (spot: limit order, cancelOrder, fetchOpenOrders,
fetchClosedOrder without status and id, fetchMyTrades, fetchBalance, fetchLedger)."""

MORE: Final[dict[str, set[str]]] = {
    "POST order/create": {"orderLinkId", "smpType"},
    "POST order/cancel": {"orderLinkId"},
    "GET order/realtime": {"orderLinkId"},
    "GET order/history": {"orderLinkId"},
    "GET execution/list": {"startTime", "endTime"},
    "GET account/wallet-balance": set(),
    "GET account/transaction-log": {"startTime", "endTime"},
}
"""Fields of ours that these fixtures do not have."""


async def test_each_request_has_the_form_of_the_fixtures_and_the_named_fields_more() -> None:
    rig = BybitRig()
    await rig.start()
    try:
        since, basket = rig.now() - NANO, rig.basket(Row(0, 7))
        await rig.broker.submit(basket)
        await rig.fill(basket, 0, 2, rig.price_nano(0))
        await rig.broker.cancel(basket.sample, basket.n, 0, rig.now())
        rig.venue.asked = [row for row in rig.venue.asked if row[0] != "GET order/realtime"]  # those of all symbols
        await rig.settle()
        rig.broker.remember(missing := rig.basket(Row(1, 3)))  # of which the exchange knows nothing
        await rig.broker.query(missing.sample, missing.n, [0])
        await rig.broker.trades(since)
        await rig.broker.flows(since)
        await rig.broker.account()
    finally:
        await rig.stop()
    seen: dict[str, set[str]] = {name: set() for name in FIXTURES}
    for name, fields in rig.venue.asked:
        if name in seen:
            seen[name] |= set(fields)
    assert seen == {name: FIXTURES[name] | MORE[name] for name in FIXTURES}
    orders = [fields for name, fields in rig.venue.asked if name == "POST order/create"]
    assert [(order["category"], order["side"], order["orderType"]) for order in orders] == [("spot", "Buy", "Limit")]


async def test_the_books_round_each_fee_and_stay_within_the_rounding_of_the_record() -> None:
    """Bybit takes fees to the eighth digit and more; the books count millionths."""
    rig = BybitRig()
    await rig.start()
    try:
        rig.venue.fee_rate["Sell"] = Decimal("0.000675")
        await rig.hold(0, 100)
        since, before = rig.now() - NANO, rig.venue.balances.get("USDT", Decimal(0))
        for k in range(13):
            basket = rig.basket(Row(0, -1))
            await rig.broker.submit(basket)
            await rig.fill(basket, 0, 1, rig.price_nano(0) + k * NANO // 100)
        await rig.settle()
        trades = [trade for trade in await rig.broker.trades(since) if trade.units_nano < 0]
        change = rig.venue.balances["USDT"] - before
    finally:
        await rig.stop()
    assert len(trades) == 13
    cost = sum(Decimal(-trade.units_nano) * trade.price_nano for trade in trades) / NANO / NANO
    fees = sum(Decimal(trade.fee_micro or 0) for trade in trades) / MICRO
    assert 0 < abs(change - (cost - fees)) * MICRO < VENUE.rounding_micro
