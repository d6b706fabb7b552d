"""Asking what became of an order: each state, all of its executions, and "never had" only with authority."""

from quantd.trading.events import NotFound
from quantd.trading.orders import Cause, OrderState
from tests.proofs.conformance.cases import case
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.scene import Scene


@case("query")
async def a_working_order_is_told(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    await s.query(basket)
    assert s.known(basket) == OrderState.WORKING
    assert Cause.ACCEPTED in s.books.causes(0)


@case("query")
async def a_partly_filled_order_is_told_with_its_executions(s: Scene) -> None:
    column = s.column("plain")
    await s.rig.stream("silent")
    basket = await s.send(Row(column, 10))
    await s.rig.fill(basket, 0, 3, s.rig.price_nano(column))
    await s.rig.fill(basket, 0, 2, s.rig.price_nano(column))
    await s.query(basket)
    assert s.books.filled(basket) == [5]
    assert s.known(basket) == OrderState.PARTIAL


@case("query")
async def a_filled_order_is_told_with_each_price(s: Scene) -> None:
    column = s.column("plain")
    price, tick = s.rig.price_nano(column), s.rig.universe.instruments[column].tick_nano
    await s.rig.stream("silent")
    basket = await s.send(Row(column, 10))
    for lots, at in ((5, price), (4, price + 3 * tick), (1, price - tick)):
        await s.rig.fill(basket, 0, lots, at)
    await s.query(basket)
    assert s.known(basket) == OrderState.FILLED
    price_lists = [
        [p for p, lots in zip(report.price_nano, report.lots, strict=True) if lots] for report in s.books.reports()
    ]
    price_lists = [prices for prices in price_lists if prices]
    # one price in each report, or all in the last: an adapter's own look may come between, and tells the same again
    assert [price, price + 3 * tick, price - tick] in ([p for prices in price_lists for p in prices], price_lists[-1])


@case("query")
async def a_cancelled_order_is_told_with_what_it_filled(s: Scene) -> None:
    column = s.column("plain")
    await s.rig.stream("silent")
    basket = await s.send(Row(column, 10))
    await s.rig.fill(basket, 0, 2, s.rig.price_nano(column))
    await s.rig.end(basket, 0, "cancelled")
    await s.query(basket)
    assert s.known(basket) == OrderState.CANCELLED
    assert s.books.filled(basket) == [2]


@case("query")
async def an_expired_order_is_told(s: Scene) -> None:
    await s.rig.stream("silent")
    basket = await s.send(Row(s.column("plain"), 10))
    await s.rig.end(basket, 0, "expired")
    await s.query(basket)
    assert s.known(basket) == OrderState.EXPIRED


@case("query")
async def a_rejected_order_is_told(s: Scene) -> None:
    await s.rig.stream("silent")
    basket = await s.send(Row(s.column("plain"), 10))
    await s.rig.end(basket, 0, "rejected")
    await s.query(basket)
    assert s.known(basket) == OrderState.REJECTED


@case("query")
async def several_rows_are_told_at_once(s: Scene) -> None:
    plain, other, fine = s.column("plain"), s.column("other"), s.column("fine")
    await s.rig.stream("silent")
    basket = await s.send(Row(plain, 10), Row(other, 20), Row(fine, 300))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(plain))
    await s.rig.end(basket, 1, "cancelled")
    await s.query(basket)
    assert s.books.states(basket) == [OrderState.FILLED, OrderState.CANCELLED, OrderState.WORKING]


@case("query")
async def asking_twice_books_nothing_twice(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 4, s.rig.price_nano(column))
    for _ in range(3):
        await s.query(basket)
    await s.filled(basket, 4)
    assert s.books.truth() == s.rig.truth()


@case("query")
async def fills_and_end_of_before_a_restart_are_told(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 4, s.rig.price_nano(column))
    await s.filled(basket, 4)
    await s.rig.stream("silent")
    await s.rig.fill(basket, 0, 5, s.rig.price_nano(column))
    await s.rig.end(basket, 0, "cancelled")
    second = await s.adapter()
    second.remember(basket)
    await s.query(basket, second)
    assert s.known(basket) == OrderState.CANCELLED
    assert s.books.filled(basket) == [9]


@case("query")
async def an_order_never_had_is_not_found_only_after_the_venue_settled(s: Scene) -> None:
    basket = s.decide(Row(s.column("plain"), 10))
    s.broker.remember(basket)
    await s.query(basket)
    assert not s.books.not_found(), "not found before the venue's settling time"
    await s.rig.settle()
    await s.query(basket)
    (report,) = s.books.not_found()
    assert report.row == [0]
    assert s.known(basket) == OrderState.EXPIRED


@case("query")
async def an_order_of_before_a_restart_that_never_arrived_is_not_found(s: Scene) -> None:
    basket = s.decide(Row(s.column("plain"), 10))
    await s.rig.settle()
    second = await s.adapter()
    second.remember(basket)
    await s.query(basket, second)
    assert [type(message) for message in s.books.news] == [NotFound]


@case("query")
async def a_basket_that_nobody_remembers_is_unknown_not_absent(s: Scene) -> None:
    basket = s.decide(Row(s.column("plain"), 10))
    second = await s.adapter()
    await s.rig.settle()
    await s.query(basket, second)
    assert s.books.unknown()
    assert not s.books.not_found()
