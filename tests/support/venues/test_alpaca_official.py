"""The venue of the tests is one that the vendor's own client takes for Alpaca: it trades here, by its own models."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.support.running_server import running_server
from tests.support.venues.alpaca import AlpacaServer, listed

pytest.importorskip("alpaca", reason="alpaca-py is not installed")

from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import AssetClass, OrderSide, OrderStatus, PositionSide, QueryOrderStatus, TimeInForce
from alpaca.trading.models import (
    Asset,
    Clock,
    NonTradeActivity,
    Order,
    Position,
    TradeAccount,
    TradeActivity,
    TradeUpdate,
)
from alpaca.trading.requests import (
    GetAssetsRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
)
from alpaca.trading.stream import TradingStream


@running_server
def venue() -> AlpacaServer:
    server = listed(SPY="400.00")
    server.list("HARD", "20.00", shortable=False, fractionable=False)
    server.list("BTC/USD", "60000.0", shortable=False)
    return server


def client(server: AlpacaServer, secret: str | None = None) -> Any:
    return TradingClient(server.key, secret or server.secret, url_override=server.url)


def limit(symbol: str, qty: float, price: float, **how: Any) -> LimitOrderRequest:
    how = {"side": OrderSide.BUY, "time_in_force": TimeInForce.DAY} | how
    return LimitOrderRequest(symbol=symbol, qty=qty, limit_price=price, **how)


async def test_the_official_client_reads_account_clock_and_assets(venue: AlpacaServer) -> None:
    trading = client(venue)
    account = await asyncio.to_thread(trading.get_account)
    assert isinstance(account, TradeAccount)
    assert account.cash == "1000000"
    assert account.currency == "USD"
    clock = await asyncio.to_thread(trading.get_clock)
    assert isinstance(clock, Clock)
    assert abs(clock.timestamp.timestamp() - venue.now() / 1e9) < 5
    asset = await asyncio.to_thread(trading.get_asset, "SPY")
    assert isinstance(asset, Asset)
    assert asset.tradable
    crypto = await asyncio.to_thread(trading.get_all_assets, GetAssetsRequest(asset_class=AssetClass.CRYPTO))
    assert [coin.symbol for coin in crypto] == ["BTC/USD"]
    assert (await asyncio.to_thread(trading.get_asset, "BTC/USD")).symbol == "BTC/USD"


async def test_the_official_client_trades_and_finds_its_order_by_client_id(venue: AlpacaServer) -> None:
    trading = client(venue)
    order = await asyncio.to_thread(trading.submit_order, limit("SPY", 10, 401.25, client_order_id="q-1"))
    assert isinstance(order, Order)
    assert order.limit_price == "401.25"
    venue.fill("q-1", "4", "401.10")
    partial_order = await asyncio.to_thread(trading.get_order_by_client_id, "q-1")
    assert partial_order.status == OrderStatus.PARTIALLY_FILLED
    assert partial_order.filled_qty == "4"
    assert partial_order.filled_avg_price == "401.1"
    venue.fill("q-1", "6", "400.90")
    assert (await asyncio.to_thread(trading.get_order_by_id, order.id)).status == OrderStatus.FILLED
    (position,) = await asyncio.to_thread(trading.get_all_positions)
    assert isinstance(position, Position)
    assert (position.qty, position.side) == ("10", PositionSide.LONG)
    assert (await asyncio.to_thread(trading.get_account)).cash == "995990.2"
    again = limit("SPY", 10, 401.25, client_order_id="q-1")
    with pytest.raises(APIError, match="client_order_id must be unique"):
        await asyncio.to_thread(trading.submit_order, again)


async def test_the_official_client_cancels_and_replaces(venue: AlpacaServer) -> None:
    trading = client(venue)
    order = await asyncio.to_thread(trading.submit_order, limit("SPY", 10, 390.0, client_order_id="q-2"))
    change = ReplaceOrderRequest(qty=12, limit_price=391.0, client_order_id="q-3")
    new = await asyncio.to_thread(trading.replace_order_by_id, order.id, change)
    assert new.replaces == order.id
    assert (await asyncio.to_thread(trading.get_order_by_id, order.id)).status == OrderStatus.REPLACED
    await asyncio.to_thread(trading.cancel_order_by_id, new.id)
    assert venue.order("q-3").status == "canceled"
    with pytest.raises(APIError) as refused:
        await asyncio.to_thread(trading.cancel_order_by_id, new.id)
    assert refused.value.status_code == 422
    closed = await asyncio.to_thread(trading.get_orders, GetOrdersRequest(status=QueryOrderStatus.CLOSED))
    assert {closed_order.client_order_id for closed_order in closed} == {"q-2", "q-3"}


async def test_refusals_reach_the_official_client_with_status_code_and_words(venue: AlpacaServer) -> None:
    trading = client(venue)
    for request, status, words in (
        (limit("SPY", 10_000, 400.0), 403, "insufficient buying power"),
        (limit("NONE", 1, 400.0), 422, "not found"),
        (limit("SPY", 1, 400.123), 422, "sub-penny"),
        (limit("SPY", 1.5, 400.0, time_in_force=TimeInForce.GTC), 422, "DAY"),
        (limit("HARD", 1, 20.0, side=OrderSide.SELL), 422, "short"),
        (limit("BTC/USD", 1, 60000.0), 422, "time_in_force"),
    ):
        with pytest.raises(APIError, match=words) as refused:
            await asyncio.to_thread(trading.submit_order, request)
        assert refused.value.status_code == status
        assert isinstance(refused.value.code, int)
    with pytest.raises(APIError) as unauthorized:
        await asyncio.to_thread(client(venue, "wrong").get_account)
    assert unauthorized.value.status_code == 401
    unknown = UUID(int=5)
    with pytest.raises(APIError) as missing:
        await asyncio.to_thread(trading.get_order_by_id, unknown)
    assert missing.value.status_code == 404


async def test_stops_wait_and_market_orders_fill_at_the_price(venue: AlpacaServer) -> None:
    venue.book.auto = True
    trading = client(venue)
    buy = MarketOrderRequest(symbol="SPY", qty=5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
    await asyncio.to_thread(trading.submit_order, buy)
    stop = StopLimitOrderRequest(
        symbol="SPY", qty=5, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, stop_price=380.0, limit_price=370.0
    )
    order = await asyncio.to_thread(trading.submit_order, stop)
    venue.price("SPY", "385")
    assert (await asyncio.to_thread(trading.get_order_by_id, order.id)).status == OrderStatus.NEW
    venue.price("SPY", "379")
    assert (await asyncio.to_thread(trading.get_order_by_id, order.id)).filled_avg_price == "379"


async def test_activities_are_what_the_vendors_models_say(venue: AlpacaServer) -> None:
    trading = client(venue)
    await asyncio.to_thread(trading.submit_order, limit("SPY", 2, 401.0, client_order_id="q-4"))
    venue.fill("q-4", "1", "400.5")
    venue.fill("q-4", "1", "400.6")
    venue.book.move_cash("CSD", venue.book.cash)
    venue.book.move_cash("DIV", venue.book.cash / 1_000_000, "SPY")
    others_of_the_day = {"DIVNRA", "DIVCGL", "DIVTXEX", "INT", "FEE", "CFEE", "CSW", "JNLC", "PTC", "WH"}
    for kind in sorted(others_of_the_day):
        venue.book.move_cash(kind, Decimal("-0.15"), sub_type="REG" if kind == "FEE" else "", dated=kind == "INT")
    fills = await asyncio.to_thread(trading.get, "/account/activities/FILL", {"direction": "asc", "page_size": 1})
    assert len(fills) == 1
    more = {"direction": "asc", "page_token": fills[0]["id"]}
    fills += await asyncio.to_thread(trading.get, "/account/activities/FILL", more)
    assert [TradeActivity(**fill).cum_qty for fill in fills] == [1.0, 2.0]
    non_trades = await asyncio.to_thread(trading.get, "/account/activities", {"category": "non_trade_activity"})
    assert {NonTradeActivity(**activity).activity_type.value for activity in non_trades} == {
        "CSD",
        "DIV",
    } | others_of_the_day


async def test_the_official_stream_hears_each_update(venue: AlpacaServer) -> None:
    heard: asyncio.Queue[TradeUpdate] = asyncio.Queue()

    async def hear(update: TradeUpdate) -> None:
        heard.put_nowait(update)

    stream = TradingStream(venue.key, venue.secret, url_override=venue.stream_url)
    stream.subscribe_trade_updates(hear)
    # private, and pinned by this test: the public way owns a loop of its own
    task = asyncio.create_task(stream._run_forever())  # type: ignore[no-untyped-call]
    async with asyncio.timeout(60):
        await venue.listened()
        await asyncio.to_thread(client(venue).submit_order, limit("SPY", 3, 401.0, client_order_id="q-5"))
        venue.fill("q-5", "1", "400.5")
        venue.end("q-5", "canceled")
        first, second, third = [await heard.get() for _ in range(3)]
    assert [update.event for update in (first, second, third)] == ["new", "partial_fill", "canceled"]
    assert (second.price, second.qty, second.position_qty) == (400.5, 1.0, 1.0)
    assert second.order.client_order_id == "q-5"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stream.close()


async def test_the_official_client_cancels_all_orders_and_closes_positions(venue: AlpacaServer) -> None:
    trading = client(venue)
    order = await asyncio.to_thread(trading.submit_order, limit("SPY", 3, 100.0))
    (cancellation,) = await asyncio.to_thread(trading.cancel_orders)
    assert (cancellation.id, cancellation.status) == (order.id, 200)
    venue.book.positions["SPY"] = Decimal(7)
    closing = await asyncio.to_thread(trading.close_position, "SPY")
    assert (closing.side, closing.qty, closing.symbol) == (OrderSide.SELL, "7", "SPY")
    with pytest.raises(APIError, match="insufficient qty"):
        await asyncio.to_thread(trading.close_position, "SPY")
    with pytest.raises(APIError, match="position not found"):
        await asyncio.to_thread(trading.close_position, "HARD")
