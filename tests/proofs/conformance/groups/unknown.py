"""Each way in which an answer can fail to come, at each request: never doubled, never assumed, in the end known."""

from typing import Final, get_args

from quantd.trading.orders import ENDED, Cause, OrderState
from tests.proofs.conformance.cases import add, case
from tests.proofs.conformance.rig import Fault, On, Row
from tests.proofs.conformance.scene import Scene

FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
TAKEN: Final = ("500 after", "time-out after", "answer lost", "malformed")
"""At these the venue has accepted."""
WAITS: Final = ("429", "429 bare")
"""At these it has surely not, and the same may be sent again."""


def _submit(fault: Fault) -> None:
    async def run(s: Scene) -> None:
        column = s.column("plain")
        await s.rig.misbehave(fault, "submit")
        basket = await s.send(Row(column, 10))
        assert Cause.REJECTED not in s.books.causes(0), "refused, though nobody refused it"
        await s.answer()
        if fault in TAKEN or fault in WAITS:
            await s.state(basket, OrderState.WORKING)
            assert not s.books.not_found()
        else:
            assert s.rig.has(basket, 0) == []
            assert s.known(basket) == OrderState.UNKNOWN, "an outcome was assumed"
            await s.rig.settle()
            await s.query(basket)
            assert s.known(basket) == OrderState.EXPIRED
            return
        assert len(s.rig.has(basket, 0)) == 1
        await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
        await s.state(basket, OrderState.FILLED)

    add("unknown", f"{fault} at a submit", run)


def _cancel(fault: Fault) -> None:
    async def run(s: Scene) -> None:
        basket = await s.rest(Row(s.column("plain"), 10))
        await s.rig.misbehave(fault, "cancel")
        await s.cancel(basket)
        await s.answer()
        if fault in TAKEN or fault in WAITS:
            await s.state(basket, OrderState.CANCELLED)
            return
        # a client may itself send a cancel again that was cut off: it changes nothing a second time
        await s.until(lambda: s.rig.has(basket, 0)[0].open == (s.known(basket) not in ENDED), "an end was assumed")
        await s.cancel(basket)
        await s.answer()
        await s.state(basket, OrderState.CANCELLED)

    add("unknown", f"{fault} at a cancel", run)


def _query(fault: Fault) -> None:
    async def run(s: Scene) -> None:
        column = s.column("plain")
        await s.rig.stream("silent")
        basket = await s.send(Row(column, 10))
        await s.rig.fill(basket, 0, 4, s.rig.price_nano(column))
        await s.rig.misbehave(fault, "query")
        await s.query(basket)
        assert not s.books.not_found(), "an order was declared absent by an answer that never came"
        assert s.known(basket) not in ENDED
        await s.query(basket)
        assert s.books.filled(basket) == [4]

    add("unknown", f"{fault} at a query", run)


def _replace(fault: Fault) -> None:
    async def run(s: Scene) -> None:
        column = s.column("plain")
        old = await s.rest(Row(column, 10))
        on: tuple[On, ...] = ("replace", "submit")
        for call in on:
            await s.rig.misbehave(fault, call)
        new = s.decide(Row(column, 10, worst_nano=old.worst_nano[0] + s.rig.universe.instruments[column].tick_nano))
        s.books.take(await s.broker.replace(old.sample, old.n, 0, new))
        await s.answer()
        await s.rig.settle()
        await s.query(old)
        await s.query(new)
        for basket in (old, new):
            there = [order.open for order in s.rig.has(basket, 0)]
            assert (there == [True]) == (s.known(basket) not in ENDED)
        both = [order for basket in (old, new) for order in s.rig.has(basket, 0) if order.open]
        assert len(both) <= 1, "both orders are open"

    add("unknown", f"{fault} at a replacement", run)


for _fault in FAULTS:
    _submit(_fault)
for _fault in FAULTS:
    _cancel(_fault)
for _fault in FAULTS:
    _query(_fault)
for _fault in FAULTS:
    _replace(_fault)


@case("unknown")
async def an_order_of_unknown_outcome_is_not_doubled_when_sent_again(s: Scene) -> None:
    await s.rig.misbehave("answer lost", "submit")
    basket = await s.send(Row(s.column("plain"), 10))
    s.books.take(await s.broker.submit(basket))
    await s.state(basket, OrderState.WORKING)
    assert len(s.rig.has(basket, 0)) == 1


@case("unknown")
async def an_order_that_the_venue_never_had_may_be_sent_again_once_it_settled(s: Scene) -> None:
    await s.rig.misbehave("time-out before", "submit")
    basket = await s.send(Row(s.column("plain"), 10))
    s.books.take(await s.broker.submit(basket))
    assert s.rig.has(basket, 0) == [], "sent again before the venue could know of the first"
    await s.rig.settle()
    s.books.take(await s.broker.submit(basket))
    await s.state(basket, OrderState.WORKING)
    assert len(s.rig.has(basket, 0)) == 1


@case("unknown")
async def a_venue_that_nobody_reaches_has_not_got_the_order(s: Scene) -> None:
    await s.rig.down()
    basket = await s.send(Row(s.column("plain"), 10))
    assert Cause.REJECTED not in s.books.causes(0)
    await s.rig.up()
    assert s.rig.has(basket, 0) == []
    if s.known(basket) not in ENDED:
        await s.rig.settle()
        await s.query(basket)
    assert s.known(basket) == OrderState.EXPIRED


@case("unknown")
async def a_venue_that_fails_again_and_again_leaves_the_order_unknown(s: Scene) -> None:
    await s.rig.misbehave("time-out after", "submit")
    await s.rig.stream("silent")
    basket = await s.send(Row(s.column("plain"), 10))
    await s.rig.settle()
    await s.rig.misbehave("500", "query", times=10_000)  # an adapter may query by itself meanwhile
    for _ in range(2):
        await s.query(basket)
        assert s.known(basket) == OrderState.UNKNOWN
    await s.rig.misbehave("500", "query", times=0)
    await s.query(basket)
    assert s.known(basket) == OrderState.WORKING


@case("unknown")
async def several_rows_of_unknown_outcome_are_each_resolved(s: Scene) -> None:
    await s.rig.misbehave("time-out before", "submit")
    await s.rig.misbehave("answer lost", "submit")
    basket = await s.send(Row(s.column("plain"), 10), Row(s.column("other"), 20), Row(s.column("fine"), 300))
    await s.answer()
    await s.rig.settle()
    await s.query(basket)
    order_counts = [len(s.rig.has(basket, row)) for row in range(3)]
    assert sorted(order_counts) == [0, 1, 1]
    states = s.books.states(basket)
    assert states == [OrderState.WORKING if there else OrderState.EXPIRED for there in order_counts]
