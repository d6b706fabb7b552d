"""The server of the tests is one that pybit, Bybit's own client, takes for Bybit."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.support.running_server import running_server
from tests.support.venues.binance import bitcoin_market
from tests.support.venues.bybit import Exchange

official = pytest.importorskip("pybit.unified_trading", reason="pybit is not installed (pip install pybit)")
exceptions = pytest.importorskip("pybit.exceptions")
SPOT = {"category": "spot", "symbol": "BTCUSDT"}


venue = running_server(lambda: bitcoin_market(Exchange))


def client(server: Exchange, secret: str = "") -> Any:
    made = official.HTTP(api_key=server.key, api_secret=secret or server.secret, max_retries=1, retry_delay=0)
    made.endpoint = server.url
    return made


async def of(call: Callable[..., Any], **how: Any) -> Any:
    return (await asyncio.to_thread(lambda: call(**how)))["result"]


async def test_it_reads_clock_markets_and_account(venue: Exchange) -> None:
    trading = client(venue)
    assert abs(int((await of(trading.get_server_time))["timeNano"]) - venue.now()) < 10**9
    (market,) = (await of(trading.get_instruments_info, category="spot"))["list"]
    assert (market["status"], market["lotSizeFilter"]["basePrecision"]) == ("Trading", "0.00001")
    (account,) = (await of(trading.get_wallet_balance, accountType="UNIFIED"))["list"]
    assert {coin["coin"]: coin["walletBalance"] for coin in account["coin"]} == {"USDT": "100000", "BTC": "2"}
    assert (await of(trading.get_api_key_information))["permissions"]["Wallet"] == []


async def test_it_places_finds_fills_and_cancels_orders(venue: Exchange) -> None:
    trading, how = client(venue), {"side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "50000"}
    made = await of(trading.place_order, **SPOT, **how, orderLinkId="mine-1")
    assert made["orderLinkId"] == "mine-1"
    assert [order["orderId"] for order in (await of(trading.get_open_orders, **SPOT))["list"]] == [made["orderId"]]
    venue.fill(venue.orders[made["orderId"]], Decimal("0.004"), Decimal(50_000))
    (found,) = (await of(trading.get_open_orders, **SPOT, orderLinkId="mine-1"))["list"]
    assert (found["orderStatus"], found["cumExecQty"], found["leavesQty"]) == ("PartiallyFilled", "0.004", "0.006")
    (trade,) = (await of(trading.get_executions, **SPOT))["list"]
    assert (trade["execFee"], trade["feeCurrency"], trade["side"]) == ("0.000004", "BTC", "Buy")
    await of(trading.cancel_order, **SPOT, orderLinkId="mine-1")
    (ended,) = (await of(trading.get_order_history, **SPOT, orderLinkId="mine-1"))["list"]
    assert ended["orderStatus"] == "PartiallyFilledCanceled"
    assert (await of(trading.get_open_orders, **SPOT))["list"] == []
    venue.auto = True
    await of(trading.place_order, **SPOT, side="Sell", orderType="Market", qty="0.5", orderLinkId="mine-2")
    (sold,) = (await of(trading.get_order_history, **SPOT, orderLinkId="mine-2"))["list"]
    assert (sold["orderStatus"], sold["cumExecQty"]) == ("Filled", "0.5")


async def test_pages_have_a_cursor(venue: Exchange) -> None:
    trading = client(venue)
    for k in range(5):
        venue.enter("TRANSFER_IN", "USDT", Decimal(k))
    seen, cursor = list[str](), ""
    for _ in range(3):
        page = await of(trading.get_transaction_log, limit=2, cursor=cursor)
        seen += [entry["change"] for entry in page["list"]]
        cursor = page["nextPageCursor"]
    assert (seen, cursor) == (["4", "3", "2", "1", "0"], "")


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"qty": "100"}, 170131),
        ({"qty": "0.000001"}, 170137),
        ({"price": "50000.001"}, 170134),
        ({"qty": "0.00001"}, 170140),
        ({"symbol": "NOPEUSDT"}, 170121),
        ({"orderLinkId": "taken"}, 170141),
    ],
)
async def test_it_reads_the_refusals(venue: Exchange, how: dict[str, str], code: int) -> None:
    good = SPOT | {"side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "50000"}
    await of(client(venue).place_order, **good, orderLinkId="taken")
    with pytest.raises(exceptions.InvalidRequestError) as wrong:
        await of(client(venue).place_order, **good | how)
    assert wrong.value.status_code == code


async def test_it_reads_the_other_errors(venue: Exchange) -> None:
    with pytest.raises(exceptions.InvalidRequestError) as wrong:
        await of(client(venue).cancel_order, **SPOT, orderId="1")
    assert wrong.value.status_code == 170213
    with pytest.raises(exceptions.InvalidRequestError) as wrong:
        await of(client(venue, "another").get_wallet_balance, accountType="UNIFIED")
    assert wrong.value.status_code == 10004
