"""The server of the tests is one that python-binance, written by others for Binance, takes for Binance."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.support.running_server import running_server
from tests.support.venues.binance import Exchange, Moved, bitcoin_market

official = pytest.importorskip("binance.client", reason="python-binance is not installed (pip install python-binance)")
Client = official.Client
BinanceAPIException = pytest.importorskip("binance.exceptions").BinanceAPIException


venue = running_server(lambda: bitcoin_market(Exchange))


def client(server: Exchange, secret: str = "") -> Any:
    made = Client(server.key, secret or server.secret, ping=False)
    made.API_URL, made.MARGIN_API_URL = f"{server.url}/api", f"{server.url}/sapi"
    return made


async def of(call: Callable[..., Any], *args: Any, **how: Any) -> Any:
    return await asyncio.to_thread(lambda: call(*args, **how))


async def test_it_reads_clock_markets_and_account(venue: Exchange) -> None:
    trading = client(venue)
    assert await of(trading.ping) == {}
    assert abs((await of(trading.get_server_time))["serverTime"] - venue.now() // 10**6) < 1000
    info = await of(trading.get_symbol_info, "BTCUSDT")
    assert {one["filterType"] for one in info["filters"]} == {"PRICE_FILTER", "LOT_SIZE", "NOTIONAL"}
    assert (await of(trading.get_asset_balance, "BTC"))["free"] == "2.00000000"
    assert (await of(trading.get_account))["canTrade"] is True


async def test_it_places_finds_fills_and_cancels_orders(venue: Exchange) -> None:
    trading = client(venue)
    made = await of(
        trading.order_limit_buy, symbol="BTCUSDT", quantity="0.01", price="50000.00", newClientOrderId="mine-1"
    )
    assert (made["status"], made["clientOrderId"], made["fills"]) == ("NEW", "mine-1", [])
    assert [order["orderId"] for order in await of(trading.get_open_orders)] == [made["orderId"]]
    venue.fill(venue.orders[made["orderId"]], Decimal("0.004"), Decimal(50_000))
    found = await of(trading.get_order, symbol="BTCUSDT", origClientOrderId="mine-1")
    assert (found["status"], found["executedQty"]) == ("PARTIALLY_FILLED", "0.00400000")
    (trade,) = await of(trading.get_my_trades, symbol="BTCUSDT")
    assert (trade["commission"], trade["commissionAsset"], trade["isBuyer"]) == ("0.00000400", "BTC", True)
    ended = await of(trading.cancel_order, symbol="BTCUSDT", origClientOrderId="mine-1")
    assert (ended["status"], ended["origClientOrderId"]) == ("CANCELED", "mine-1")
    assert [order["status"] for order in await of(trading.get_all_orders, symbol="BTCUSDT")] == ["CANCELED"]
    venue.auto = True
    sold = await of(trading.order_market_sell, symbol="BTCUSDT", quantity="0.5")
    assert (sold["status"], sold["fills"][0]["commissionAsset"]) == ("FILLED", "USDT")


async def test_it_places_a_stop(venue: Exchange) -> None:
    trading = client(venue)
    how = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS_LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    made = await of(trading.create_order, **how, price="54000.00", stopPrice="55000.00")
    assert (made["type"], made["stopPrice"]) == ("STOP_LOSS_LIMIT", "55000.00000000")
    with pytest.raises(BinanceAPIException, match="trigger immediately") as wrong:
        await of(trading.create_order, **how, price="64000.00", stopPrice="65000.00")
    assert wrong.value.code == -2010


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"quantity": "100", "price": "50000.00"}, -2010),
        ({"quantity": "0.000001", "price": "50000.00"}, -1013),
        ({"quantity": "0.01", "price": "50000.001"}, -1013),
        ({"quantity": "0.00001", "price": "50000.00"}, -1013),
        ({"quantity": "0.01", "price": "50000.00", "newClientOrderId": "x" * 37}, -1100),
        ({"quantity": "0.01", "price": "50000.00", "symbol": "NOPEUSDT"}, -1121),
    ],
)
async def test_it_reads_the_refusals(venue: Exchange, how: dict[str, str], code: int) -> None:
    with pytest.raises(BinanceAPIException) as wrong:
        await of(client(venue).order_limit_buy, **{"symbol": "BTCUSDT"} | how)
    assert wrong.value.code == code


async def test_it_reads_the_other_errors(venue: Exchange) -> None:
    trading = client(venue)
    for call, code in ((trading.get_order, -2013), (trading.cancel_order, -2011)):
        with pytest.raises(BinanceAPIException) as wrong:
            await of(call, symbol="BTCUSDT", orderId=1)
        assert wrong.value.code == code
    with pytest.raises(BinanceAPIException) as wrong:
        await of(client(venue, "another").get_account)
    assert wrong.value.code == -1022
    venue.skew_ns = 60 * 10**9
    with pytest.raises(BinanceAPIException) as wrong:
        await of(trading.get_account)
    assert wrong.value.code == -1021


async def test_it_meets_the_limit_and_the_ban(venue: Exchange) -> None:
    venue.weight_limit, trading = 1, client(venue)
    codes = []
    for _ in range(3):
        with pytest.raises(BinanceAPIException) as wrong:
            await of(trading.get_account)
        codes.append((wrong.value.status_code, wrong.value.code, "Retry-After" in wrong.value.response.headers))
    assert codes == [(429, -1003, True), (418, -1003, True), (418, -1003, True)]


async def test_it_reads_the_wallet(venue: Exchange) -> None:
    now = venue.now()
    venue.moved += [
        Moved("1", "deposit", "USDT", Decimal(100), now, now),
        Moved("2", "withdrawal", "USDT", Decimal(30), now, now, Decimal(1)),
        Moved("3", "dividend", "BTC", Decimal("0.25"), now, now),
    ]
    trading = client(venue)
    assert (await of(trading.get_deposit_history))[0]["coin"] == "USDT"
    assert (await of(trading.get_withdraw_history))[0]["transactionFee"] == "1"
    assert (await of(trading.get_asset_dividend_history))["rows"][0]["asset"] == "BTC"
    assert (await of(trading.get_account_api_permissions))["enableWithdrawals"] is False
    assert (await of(trading.get_bnb_burn_spot_margin))["spotBNBBurn"] is False
    assert (await of(trading.get_system_status))["status"] == 0
