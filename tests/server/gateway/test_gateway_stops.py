"""Stop orders by the vendor's own client."""

from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import GetOrdersRequest, StopLimitOrderRequest, StopOrderRequest

from quantd.adapters.store.queries import Reader
from quantd.server.gateway.tickets import Tickets
from quantd.server.gateway.vendor_form import order_of
from tests.server.gateway.gateway_bot import Bot

GTC: dict[str, Any] = {"symbol": "SPY", "time_in_force": TimeInForce.GTC}


async def until_below(bot: Bot, price: float) -> int:
    """Go on until the mark is at the price or below it; returns the number of bars."""
    for bars in range(30):
        if bot.mark <= price:
            return bars
        await bot.world.go(1)
    raise AssertionError(f"the mark is never {price}: it is {bot.mark}")


async def test_a_stop_order_waits_as_new_fires_and_fills(bot: Bot) -> None:
    await bot.buy(3)
    await bot.world.go(2)
    stop = round(bot.mark * 0.995, 2)
    asked = StopOrderRequest(qty=3, side=OrderSide.SELL, stop_price=stop, client_order_id="out", **GTC)
    order = await bot.call(bot.client.submit_order, asked)
    assert (order.status.value, order.type.value, float(order.stop_price), order.limit_price) == (
        "new", "stop", stop, None,
    )  # fmt: skip
    (position,) = await bot.call(bot.client.get_all_positions)
    assert (float(position.qty), float(position.qty_available)) == (3.0, 0.0)
    await until_below(bot, stop)
    waiting = await bot.call(bot.client.get_order_by_id, order.id)
    assert waiting.filled_qty == "0"
    await bot.world.go(2)
    filled = await bot.call(bot.client.get_order_by_client_id, "out")
    assert (filled.status.value, float(filled.filled_qty)) == ("filled", 3.0)
    assert await bot.call(bot.client.get_all_positions) == []


async def test_a_stop_limit_order_is_listed_and_cancelled_and_is_the_same_from_the_journal(bot: Bot) -> None:
    low, high = round(bot.mark * 1.2, 2), round(bot.mark * 1.21, 2)
    asked = StopLimitOrderRequest(qty=2, side=OrderSide.BUY, stop_price=low, limit_price=high, **GTC)
    order = await bot.call(bot.client.submit_order, asked)
    await bot.world.go(3)
    (listed,) = await bot.call(bot.client.get_orders, GetOrdersRequest(status=QueryOrderStatus.OPEN))
    assert (listed.id, listed.type.value, listed.status.value) == (order.id, "stop_limit", "new")
    assert (float(listed.stop_price), float(listed.limit_price)) == (low, high)
    await bot.call(bot.client.cancel_order_by_id, order.id)
    assert (await bot.call(bot.client.get_order_by_id, order.id)).status.value == "canceled"
    assert await bot.call(bot.client.get_orders) == []
    again = Tickets(bot.world.service.run)
    for _, entry in Reader.open(bot.world.folder, bot.world.service.run).journal():
        for _ in again.take(entry.event, entry.effects):
            pass
    state, now = bot.world.service.shell.state, bot.gateway.tickets
    assert [order_of(state, t) for t in again.by_id.values()] == [order_of(state, t) for t in now.by_id.values()]


async def test_a_stop_order_passes_the_limits_when_it_comes(bot: Bot) -> None:
    stop = round(bot.mark * 1.05, 2)
    asked = StopOrderRequest(qty=90_000, side=OrderSide.BUY, stop_price=stop, **GTC)
    with pytest.raises(APIError) as refused:
        await bot.call(bot.client.submit_order, asked)
    assert refused.value.status_code == 403
    assert "at most" in refused.value.message
    assert "max_position_weight" in refused.value.message
    below = StopOrderRequest(qty=1, side=OrderSide.BUY, stop_price=round(bot.mark * 0.9, 2), **GTC)
    with pytest.raises(APIError, match="is reached"):
        await bot.call(bot.client.submit_order, below)
    assert bot.world.service.shell.state.awaiting == []
