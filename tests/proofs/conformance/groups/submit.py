"""Submitting: what is sent is what the venue has, once, and what it fills or refuses is told."""

import asyncio

from quantd.trading.orders import Cause, Kind, OrderBasket, OrderState
from tests.proofs.conformance.cases import add, case
from tests.proofs.conformance.rig import Refusal, Row
from tests.proofs.conformance.scene import Scene


@case("submit")
async def an_order_is_accepted_and_rests(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    (order,) = s.rig.has(basket, 0)
    assert (order.lots, order.filled, order.open) == (10, 0, True)
    assert order.limit_nano == basket.worst_nano[0]


@case("submit")
async def a_sell_order_has_its_side(s: Scene) -> None:
    column = s.column("plain")
    await s.rig.hold(column, 30)
    s.books.holding(column, 30)
    basket = await s.rest(Row(column, -10))
    (order,) = s.rig.has(basket, 0)
    assert order.lots == -10
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    assert s.books.truth().lots[column] == 20


@case("submit")
async def a_whole_fill_is_booked(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    assert s.books.truth().lots[column] == 10


@case("submit")
async def a_partial_fill_leaves_the_rest_working(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 4, s.rig.price_nano(column))
    await s.state(basket, OrderState.PARTIAL)
    assert s.books.filled(basket) == [4]
    assert s.rig.has(basket, 0)[0].open


@case("submit")
async def several_executions_at_several_prices_are_each_booked(s: Scene) -> None:
    column = s.column("plain")
    price, tick = s.rig.price_nano(column), s.rig.universe.instruments[column].tick_nano
    basket = await s.rest(Row(column, 10))
    for lots, at in ((3, price), (1, price - tick), (4, price + tick), (2, price - 2 * tick)):
        await s.rig.fill(basket, 0, lots, at)
    await s.state(basket, OrderState.FILLED)
    causes = [c for c in s.books.causes(0) if c in (Cause.PART_FILL, Cause.LAST_FILL)]
    assert causes == [Cause.PART_FILL] * 3 + [Cause.LAST_FILL]


@case("submit")
async def a_round_trip_leaves_cash_and_no_lots(s: Scene) -> None:
    column = s.column("plain")
    price = s.rig.price_nano(column)
    buy = await s.rest(Row(column, 7))
    await s.rig.fill(buy, 0, 7, price)
    await s.state(buy, OrderState.FILLED)
    sell = await s.rest(Row(column, -7))
    await s.rig.fill(sell, 0, 7, price)
    await s.state(sell, OrderState.FILLED)
    assert not any(s.books.truth().lots)


@case("submit")
async def a_short_sale_makes_a_negative_holding(s: Scene) -> None:
    column = s.column("short")
    basket = await s.rest(Row(column, -10))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    assert s.books.truth().lots[column] == -10


def _off_tick(lots: int) -> None:
    async def run(s: Scene) -> None:
        column = s.column("plain")
        await s.rig.hold(column, 30)
        s.books.holding(column, 30)
        tick = s.rig.universe.instruments[column].tick_nano
        worst = s.rig.price_nano(column) + tick // 3
        basket = await s.rest(Row(column, lots, worst_nano=worst))
        (order,) = s.rig.has(basket, 0)
        better = worst - order.limit_nano if lots > 0 else order.limit_nano - worst
        assert 0 <= better < tick, "the worst price became worse, or moved by more than a tick"
        assert order.limit_nano % tick == 0

    side = "buy" if lots > 0 else "sale"
    add("submit", f"the limit of a {side} off the venue's tick is rounded to the better side", run)


_off_tick(10)
_off_tick(-10)


@case("submit")
async def a_cheap_price_keeps_its_finer_tick(s: Scene) -> None:
    column = s.column("cheap")
    tick = s.rig.universe.instruments[column].tick_nano
    worst = s.rig.price_nano(column) + tick
    basket = await s.rest(Row(column, 100, worst_nano=worst))
    assert s.rig.has(basket, 0)[0].limit_nano == worst


@case("submit")
async def lots_that_are_parts_of_a_unit_are_sent_exactly(s: Scene) -> None:
    column = s.column("fine")
    basket = await s.rest(Row(column, 1237))
    assert s.rig.has(basket, 0)[0].lots == 1237
    await s.rig.fill(basket, 0, 1000, s.rig.price_nano(column))
    await s.rig.fill(basket, 0, 237, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)


@case("submit")
async def several_rows_become_as_many_orders(s: Scene) -> None:
    plain, other, fine = s.column("plain"), s.column("other"), s.column("fine")
    basket = await s.rest(Row(plain, 10), Row(other, 20), Row(fine, 500))
    assert [s.rig.has(basket, row)[0].lots for row in range(3)] == [10, 20, 500]
    await s.rig.fill(basket, 1, 20, s.rig.price_nano(other))
    await s.state(basket, OrderState.FILLED, row=1)
    assert s.books.states(basket) == [OrderState.WORKING, OrderState.FILLED, OrderState.WORKING]


@case("submit")
async def only_the_rows_asked_for_are_sent(s: Scene) -> None:
    basket = s.decide(Row(s.column("plain"), 10), Row(s.column("other"), 20))
    s.books.take(await s.broker.submit(basket, [1]))
    await s.state(basket, OrderState.WORKING, row=1)
    assert s.rig.has(basket, 0) == []
    assert s.known(basket, 0) == OrderState.SENT
    s.books.take(await s.broker.submit(basket, [0]))
    await s.state(basket, OrderState.WORKING)


@case("submit")
async def a_basket_sent_twice_is_one_order(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    s.books.take(await s.broker.submit(basket))
    assert len(s.rig.has(basket, 0)) == 1
    assert s.known(basket) == OrderState.WORKING


@case("submit")
async def a_basket_sent_twice_at_once_is_one_order(s: Scene) -> None:
    basket = s.decide(Row(s.column("plain"), 10))
    for news in await asyncio.gather(s.broker.submit(basket), s.broker.submit(basket)):
        s.books.take(news)
    await s.state(basket, OrderState.WORKING)
    assert len(s.rig.has(basket, 0)) == 1


@case("submit")
async def one_sent_again_after_its_fill_is_told_of_the_fill(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    s.books.take(await s.broker.submit(basket))
    await s.state(basket, OrderState.FILLED)
    assert len(s.rig.has(basket, 0)) == 1


@case("submit")
async def one_sent_again_by_another_process_is_one_order(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    second = await s.adapter()
    second.remember(basket)
    s.books.take(await second.submit(basket))
    assert len(s.rig.has(basket, 0)) == 1
    assert s.known(basket) == OrderState.WORKING


@case("submit")
async def another_process_that_remembers_nothing_still_sends_no_second_order(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    second = await s.adapter()
    s.books.take(await second.submit(basket))
    assert len(s.rig.has(basket, 0)) == 1
    assert s.known(basket) == OrderState.WORKING


def _refused(why: Refusal) -> None:
    async def run(s: Scene) -> None:
        basket = await s.send(s.rig.refused(why))
        await s.state(basket, OrderState.REJECTED)
        assert not any(order.open for order in s.rig.has(basket, 0))
        assert any(report.reason for report in s.books.reports()), "refused without a reason"

    add("submit", f"an order refused for {why} is rejected with the venue's words", run)


for _why in ("buying power", "not held", "unshortable", "untradable", "too small", "closed"):
    _refused(_why)


@case("submit")
async def one_refused_row_holds_up_no_other(s: Scene) -> None:
    basket = await s.send(s.rig.refused("buying power"), Row(s.column("other"), 10))
    await s.state(basket, OrderState.REJECTED, row=0)
    await s.state(basket, OrderState.WORKING, row=1)


@case("submit")
async def an_order_rejected_later_is_told(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    await s.rig.end(basket, 0, "rejected")
    await s.state(basket, OrderState.REJECTED)


@case("submit")
async def an_order_that_expires_is_told_with_what_it_filled(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 3, s.rig.price_nano(column))
    await s.rig.end(basket, 0, "expired")
    await s.state(basket, OrderState.EXPIRED)
    assert s.books.filled(basket) == [3]


@case("submit")
async def a_stop_rests_with_its_trigger(s: Scene) -> None:
    column = s.column("plain")
    await s.rig.hold(column, 30)
    s.books.holding(column, 30)
    tick = s.rig.universe.instruments[column].tick_nano
    trigger = s.rig.price_nano(column) * 9 // 10 // tick * tick
    worst = s.rig.price_nano(column) * 8 // 10 // tick * tick
    basket = await s.rest(Row(column, -30, worst_nano=worst, kind=Kind.STOP, stop_nano=trigger, end=0))
    (order,) = s.rig.has(basket, 0)
    assert (order.stop_nano, order.limit_nano, order.lots) == (trigger, worst, -30)
    await s.rig.fill(basket, 0, 30, trigger)
    await s.state(basket, OrderState.FILLED)


async def _stop(s: Scene, lots: int) -> tuple[OrderBasket, int]:
    """A stop that rests for `lots` of thirty that are held; and its trigger."""
    column = s.column("plain")
    await s.rig.hold(column, 30)
    s.books.holding(column, 30)
    tick = s.rig.universe.instruments[column].tick_nano
    trigger, worst = (s.rig.price_nano(column) * tenths // 10 // tick * tick for tenths in (9, 8))
    row = Row(column, -lots, worst_nano=worst, kind=Kind.STOP, stop_nano=trigger, end=0)
    return await s.rest(row), trigger


@case("submit")
async def a_stop_fills_in_parts_from_its_trigger_on(s: Scene) -> None:
    basket, trigger = await _stop(s, 30)
    await s.rig.fill(basket, 0, 12, trigger)
    await s.state(basket, OrderState.PARTIAL)
    assert s.books.filled(basket) == [12]
    await s.rig.fill(basket, 0, 18, trigger)
    await s.state(basket, OrderState.FILLED)
    assert s.books.truth().lots[basket.sym[0]] == 0


@case("submit")
async def a_stop_that_was_cancelled_lets_what_it_covered_be_sold(s: Scene) -> None:
    basket, _ = await _stop(s, 30)
    await s.cancel(basket)
    await s.state(basket, OrderState.CANCELLED)
    assert not s.rig.has(basket, 0)[0].open
    sale = await s.rest(Row(basket.sym[0], -30))
    await s.rig.fill(sale, 0, 30, s.rig.price_nano(basket.sym[0]))
    await s.state(sale, OrderState.FILLED)
    assert s.books.truth().lots[basket.sym[0]] == 0


@case("submit")
async def a_partly_filled_stop_that_is_cancelled_keeps_its_fill(s: Scene) -> None:
    basket, trigger = await _stop(s, 20)
    await s.rig.fill(basket, 0, 5, trigger)
    await s.filled(basket, 5)
    await s.cancel(basket)
    await s.state(basket, OrderState.CANCELLED)
    assert s.books.truth().lots[basket.sym[0]] == 25


def _auction(kind: Kind, word: str) -> None:
    async def run(s: Scene) -> None:
        basket = await s.rest(Row(s.column("plain"), 10, kind=kind))
        (order,) = s.rig.has(basket, 0)
        assert order.in_force == word
        assert order.limit_nano == basket.worst_nano[0]

    add("submit", f"an order for the auction at the {kind.name.lower()} waits for it", run)


_auction(Kind.OPEN, "opg")
_auction(Kind.CLOSE, "cls")


@case("submit")
async def an_order_without_end_is_good_till_cancelled(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10, end=0))
    assert s.rig.has(basket, 0)[0].in_force == "gtc"


@case("submit")
async def an_order_with_an_end_is_good_for_the_day(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    assert s.rig.has(basket, 0)[0].in_force == "day"


@case("submit")
async def twenty_orders_at_once_are_twenty_orders(s: Scene) -> None:
    plain, other = s.column("plain"), s.column("other")
    baskets = [s.decide(Row(plain, 1 + k), Row(other, 1 + k)) for k in range(10)]
    for news in await asyncio.gather(*(s.broker.submit(basket) for basket in baskets)):
        s.books.take(news)
    for k, basket in enumerate(baskets):
        await s.state(basket, OrderState.WORKING)
        assert [s.rig.has(basket, row)[0].lots for row in (0, 1)] == [1 + k, 1 + k]
