"""Stop orders and brackets by the vendor's own client."""

from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderClass, OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
)

from quantd.trading.events import Action
from quantd.trading.sessions import DAY_NS
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
    assert bot.folded()


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


def bracket(bot: Bot, **more: Any) -> MarketOrderRequest:
    exits = {
        "take_profit": TakeProfitRequest(limit_price=round(bot.mark * 1.004, 2)),
        "stop_loss": StopLossRequest(stop_price=round(bot.mark * 0.9, 2)),
    }
    return MarketOrderRequest(side=OrderSide.BUY, order_class=OrderClass.BRACKET, **GTC | {"qty": 3} | exits | more)


async def test_a_bracket_has_two_legs_of_which_one_fills_and_the_other_is_cancelled(bot: Bot) -> None:
    order = await bot.call(bot.client.submit_order, bracket(bot, client_order_id="group"))
    assert (order.order_class.value, len(order.legs)) == ("bracket", 2)
    target, stop = order.legs
    assert [(leg.status.value, leg.side.value, leg.type.value) for leg in order.legs] == [
        ("held", "sell", "limit"), ("held", "sell", "stop"),
    ]  # fmt: skip
    with pytest.raises(APIError, match="cancel the entry"):
        await bot.call(bot.client.cancel_order_by_id, stop.id)
    await bot.world.go(2)
    (position,) = await bot.call(bot.client.get_all_positions)
    assert (float(position.qty), float(position.qty_available)) == (3.0, 0.0)
    for nested, rows in (("false", 3), ("true", 1)):
        assert len((await bot.raw("GET", f"/v2/orders?status=all&nested={nested}"))[1]) == rows
    entry = await bot.call(bot.client.get_order_by_client_id, "group")
    assert [entry.status.value, *(leg.status.value for leg in entry.legs)] == ["filled", "new", "new"]
    for _ in range(20):
        if not await bot.call(bot.client.get_all_positions):
            break
        await bot.world.go(1)
    assert (await bot.call(bot.client.get_order_by_id, target.id)).status.value == "filled"
    assert (await bot.call(bot.client.get_order_by_id, stop.id)).status.value == "canceled"
    assert await bot.call(bot.client.get_all_positions) == []
    assert bot.folded()
    with pytest.raises(APIError) as used:
        await bot.buy(1, client_order_id="group#stop_loss")
    assert used.value.code == 40010001


async def test_the_cancel_of_an_unfilled_entry_cancels_its_legs_and_so_does_that_of_a_leg(bot: Bot) -> None:
    resting = LimitOrderRequest(
        qty=2, side=OrderSide.BUY, limit_price=round(bot.mark * 0.8, 2), order_class=OrderClass.OTO,
        stop_loss=StopLossRequest(stop_price=round(bot.mark * 0.7, 2)), **GTC,
    )  # fmt: skip
    order = await bot.call(bot.client.submit_order, resting)
    assert (order.order_class.value, [leg.type.value for leg in order.legs]) == ("oto", ["stop"])
    far = TakeProfitRequest(limit_price=round(bot.mark * 2, 2))
    filled = await bot.call(bot.client.submit_order, bracket(bot, qty=1, take_profit=far))
    await bot.world.go(2)
    await bot.call(bot.client.cancel_order_by_id, order.id)
    await bot.call(bot.client.cancel_order_by_id, filled.legs[1].id)
    await bot.world.go(2)
    asked = GetOrdersRequest(status=QueryOrderStatus.CLOSED)
    closed = {order.id: order.status.value for order in await bot.call(bot.client.get_orders, asked)}
    assert [closed[each.id] for each in (order, *order.legs, filled, *filled.legs)] == [
        "canceled", "canceled", "filled", "canceled", "canceled",
    ]  # fmt: skip
    (position,) = await bot.call(bot.client.get_all_positions)
    assert (float(position.qty), float(position.qty_available)) == (1.0, 1.0)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"order_class": "oco"}, "order_class 'oco' is not supported: simple, oto, bracket are"),
    ({"order_class": "bracket"}, "orders of the class bracket have both exits"),
    ({"order_class": "oto"}, "have one of take_profit and stop_loss"),
    ({"take_profit": {"limit_price": "1"}}, "orders of the class simple have no take_profit"),
    ({"order_class": "oto", "take_profit": {"limit_price": "1"}}, "take profit 1.00 of SPY must be above"),
    ({"order_class": "oto", "stop_loss": {"limit_price": "1"}}, "stop_loss requires a stop price"),
    ({"order_class": "oto", "stop_loss": {"stop_price": "1", "trail": "2"}}, "stop_loss.trail is not supported"),
    ({"order_class": "oto", "stop_loss": 5}, "stop_loss requires a stop price"),
]
"""A change of an order, and words of its refusal."""


async def test_a_class_or_an_exit_that_is_not_understood_is_refused(bot: Bot) -> None:
    for change, words in REFUSED:
        body = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"} | change
        status, answer = await bot.raw("POST", "/v2/orders", body)
        assert (status in (403, 422), words in answer["message"]) == (True, True), (change, answer)


async def test_an_order_is_replaced_by_one_with_a_new_id(bot: Bot) -> None:
    await bot.buy(3)
    await bot.world.go(2)
    low, lower = round(bot.mark * 0.9, 2), round(bot.mark * 0.8, 2)
    asked = StopOrderRequest(qty=3, side=OrderSide.SELL, stop_price=lower, **GTC)
    old = await bot.call(bot.client.submit_order, asked)
    new = await bot.call(bot.client.replace_order_by_id, old.id, ReplaceOrderRequest(stop_price=low, qty=2))
    assert (new.replaces, float(new.stop_price), float(new.qty), new.status.value) == (old.id, low, 2.0, "new")
    ended = await bot.call(bot.client.get_order_by_id, old.id)
    assert (ended.status.value, ended.replaced_by) == ("replaced", new.id)
    with pytest.raises(APIError, match="it cannot be replaced"):
        await bot.call(bot.client.replace_order_by_id, old.id, ReplaceOrderRequest(stop_price=low))
    with pytest.raises(APIError, match="would pass now"):
        await bot.call(bot.client.replace_order_by_id, new.id, ReplaceOrderRequest(qty=90_000))
    assert (await bot.call(bot.client.get_order_by_id, new.id)).status.value == "new"
    await bot.call(bot.client.cancel_order_by_id, new.id)
    limit = await bot.buy(1, limit=lower)
    await bot.world.go(1)
    other = await bot.call(
        bot.client.replace_order_by_id, limit.id, ReplaceOrderRequest(limit_price=low, client_order_id="other")
    )
    await bot.world.go(2)
    assert [(await bot.call(bot.client.get_order_by_id, each.id)).status.value for each in (limit, other)] == [
        "replaced", "new",
    ]  # fmt: skip
    listed = await bot.call(bot.client.get_orders)
    assert [(order.client_order_id, float(order.limit_price)) for order in listed] == [("other", low)]
    for body, words in (({"side": "sell"}, "side cannot be replaced"), ({"stop_price": "1"}, "have no stop price")):
        status, answer = await bot.raw("PATCH", f"/v2/orders/{other.id}", body)
        assert (status, words in answer["message"]) == (422, True), answer


async def test_a_bracket_is_not_replaced(bot: Bot) -> None:
    order = await bot.call(bot.client.submit_order, bracket(bot, client_order_id="group"))
    await bot.world.go(2)
    for leg in order.legs:
        with pytest.raises(APIError, match="is of a bracket"):
            await bot.call(bot.client.replace_order_by_id, leg.id, ReplaceOrderRequest(qty=1))


async def test_a_held_order_has_its_size_and_prices_after_a_split(bot: Bot) -> None:
    await bot.buy(3)
    await bot.world.go(2)
    stop = round(bot.mark * 0.9, 2)
    asked = StopOrderRequest(qty=3, side=OrderSide.SELL, stop_price=stop, client_order_id="out", **GTC)
    order = await bot.call(bot.client.submit_order, asked)
    now = bot.world.service.shell.state.now
    await bot.world.service.inbox.command(Action(now, now - now % DAY_NS, 0, "split", 2, 1))
    held = await bot.call(bot.client.get_order_by_id, order.id)
    assert (held.qty, float(held.stop_price)) == ("6", pytest.approx(stop / 2, abs=0.011))
    assert bot.world.service.shell.state.universe.symbols[0] == "SPY"
    await bot.world.go(1)  # the price of the recorded market is not halved, so that nothing fires
    await bot.call(bot.client.cancel_order_by_id, order.id)
    ended = await bot.call(bot.client.get_order_by_client_id, "out")
    assert ended.status.value == "canceled"
