"""Cancelling and replacing: an order ends once, with what it filled, and never two stand in for one."""

from quantd.trading.orders import ENDED, OrderBasket, OrderState
from tests.proofs.conformance.cases import case
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.scene import Scene


@case("cancel")
async def an_open_order_is_cancelled(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    await s.cancel(basket)
    await s.state(basket, OrderState.CANCELLED)
    assert not s.rig.has(basket, 0)[0].open


@case("cancel")
async def a_partly_filled_order_keeps_its_fill(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 6, s.rig.price_nano(column))
    await s.cancel(basket)
    await s.state(basket, OrderState.CANCELLED)
    assert s.books.filled(basket) == [6]


@case("cancel")
async def a_filled_order_cannot_be_cancelled(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    await s.cancel(basket)
    assert s.books.cancels_refused()
    assert s.known(basket) == OrderState.FILLED


@case("cancel")
async def an_order_that_was_never_sent_cannot_be_cancelled(s: Scene) -> None:
    basket = s.decide(Row(s.column("plain"), 10))
    s.books.take(await s.broker.cancel(basket.sample, basket.n, 0, s.rig.now()))
    assert s.books.cancels_refused()


@case("cancel")
async def a_cancel_twice_ends_the_order_once(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    await s.cancel(basket)
    await s.cancel(basket)
    await s.answer()
    await s.state(basket, OrderState.CANCELLED)


@case("cancel")
async def a_whole_fill_before_the_cancel_wins(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill_on_cancel(basket, 0, 10, s.rig.price_nano(column))
    await s.cancel(basket)
    await s.answer()
    await s.state(basket, OrderState.FILLED)
    assert s.books.filled(basket) == [10]


@case("cancel")
async def a_part_filled_before_the_cancel_is_kept(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill_on_cancel(basket, 0, 4, s.rig.price_nano(column))
    await s.cancel(basket)
    await s.state(basket, OrderState.CANCELLED)
    assert s.books.filled(basket) == [4]


@case("cancel")
async def a_refused_cancel_is_reported_and_the_order_is_asked_for(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    await s.rig.refuse_cancel(basket, 0)
    await s.cancel(basket)
    assert s.books.cancels_refused()
    await s.answer()
    assert s.rig.has(basket, 0)[0].open
    assert s.known(basket) not in ENDED
    await s.cancel(basket)
    await s.state(basket, OrderState.CANCELLED)


@case("cancel")
async def an_order_that_the_venue_cancels_is_told(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    await s.rig.end(basket, 0, "cancelled")
    await s.state(basket, OrderState.CANCELLED)


@case("cancel")
async def an_order_of_before_a_restart_is_cancelled(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    second = await s.adapter()
    second.remember(basket)
    s.books.take(await second.cancel(basket.sample, basket.n, 0, s.rig.now()))
    await s.query(basket, second)
    await s.state(basket, OrderState.CANCELLED)


@case("cancel")
async def one_row_of_several_is_cancelled_alone(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10), Row(s.column("other"), 20))
    await s.cancel(basket, 1)
    await s.state(basket, OrderState.CANCELLED, row=1)
    assert s.known(basket, 0) == OrderState.WORKING
    assert s.rig.has(basket, 0)[0].open


async def _replace(s: Scene, old: OrderBasket, lots: int, up: int = 1) -> OrderBasket:
    """Put an order at another price and size in the place of an old one."""
    column = old.sym[0]
    tick = s.rig.universe.instruments[column].tick_nano
    new = s.decide(Row(column, lots, worst_nano=old.worst_nano[0] + up * tick))
    s.books.take(await s.broker.replace(old.sample, old.n, 0, new))
    return new


def _open(s: Scene, *baskets: OrderBasket) -> int:
    return sum(order.open for basket in baskets for order in s.rig.has(basket, 0))


@case("replace")
async def a_replaced_order_ends_and_the_new_one_rests_at_its_price(s: Scene) -> None:
    old = await s.rest(Row(s.column("plain"), 10))
    new = await _replace(s, old, 10)
    await s.state(old, OrderState.CANCELLED)
    await s.state(new, OrderState.WORKING)
    (order,) = s.rig.has(new, 0)
    assert order.open
    assert order.limit_nano == new.worst_nano[0]
    assert _open(s, old, new) == 1


@case("replace")
async def a_replacement_may_have_another_size(s: Scene) -> None:
    column = s.column("plain")
    old = await s.rest(Row(column, 10))
    new = await _replace(s, old, 6)
    await s.state(new, OrderState.WORKING)
    assert s.rig.has(new, 0)[0].lots == 6
    await s.rig.fill(new, 0, 6, s.rig.price_nano(column))
    await s.state(new, OrderState.FILLED)
    await s.state(old, OrderState.CANCELLED)


@case("replace")
async def a_fine_lot_is_replaced(s: Scene) -> None:
    old = await s.rest(Row(s.column("fine"), 1500))
    new = await _replace(s, old, 1400)
    await s.state(old, OrderState.CANCELLED)
    await s.state(new, OrderState.WORKING)
    assert _open(s, old, new) == 1


@case("replace")
async def a_filled_order_is_not_replaced(s: Scene) -> None:
    column = s.column("plain")
    old = await s.rest(Row(column, 10))
    await s.rig.fill(old, 0, 10, s.rig.price_nano(column))
    new = await _replace(s, old, 10)
    await s.state(old, OrderState.FILLED)
    assert s.known(new) in ENDED
    assert _open(s, new) == 0
    assert s.books.truth().lots[column] == 10


@case("replace")
async def a_partly_filled_order_keeps_its_fill_when_replaced(s: Scene) -> None:
    column = s.column("plain")
    old = await s.rest(Row(column, 10))
    await s.rig.fill(old, 0, 4, s.rig.price_nano(column))
    await s.filled(old, 4)
    new = await _replace(s, old, 6)
    await s.state(old, OrderState.CANCELLED)
    await s.state(new, OrderState.WORKING)
    assert s.books.filled(old) == [4]
    assert _open(s, old, new) == 1


@case("replace")
async def an_order_that_fills_on_the_way_is_not_replaced_by_more(s: Scene) -> None:
    column = s.column("fine")
    old = await s.rest(Row(column, 1500))
    await s.rig.fill_on_cancel(old, 0, 1000, s.rig.price_nano(column))
    new = await _replace(s, old, 1500)
    await s.state(old, OrderState.CANCELLED)
    assert s.books.filled(old) == [1000]
    assert s.known(new) in ENDED
    assert s.books.truth().lots[column] + sum(o.lots for o in s.rig.has(new, 0) if o.open) <= 1500


@case("replace")
async def a_replacement_of_an_unknown_order_is_not_sent(s: Scene) -> None:
    column = s.column("plain")
    never = s.decide(Row(column, 10))
    new = await _replace(s, never, 10)
    assert s.known(new) in ENDED
    assert s.rig.has(new, 0) == []


@case("replace")
async def a_refused_replacement_leaves_at_most_the_old_order(s: Scene) -> None:
    column = s.column("plain")
    old = await s.rest(Row(column, 10))
    refused = s.rig.refused("buying power")
    new = s.decide(Row(column, refused.lots))
    s.books.take(await s.broker.replace(old.sample, old.n, 0, new))
    await s.until(lambda: s.known(new) in ENDED)
    assert _open(s, new) == 0
    assert _open(s, old) == (s.known(old) not in ENDED)
