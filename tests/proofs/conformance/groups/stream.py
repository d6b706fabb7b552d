"""What the venue says by itself, late, twice, out of order or not at all."""

import asyncio

from quantd.trading.orders import OrderState
from tests.proofs.conformance.cases import case
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.scene import Scene


@case("stream")
async def doubled_updates_book_nothing_twice(s: Scene) -> None:
    column = s.column("plain")
    await s.rig.stream("doubled")
    basket = await s.rest(Row(column, 10))
    for lots in (3, 4, 3):
        await s.rig.fill(basket, 0, lots, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)


@case("stream")
async def updates_in_reverse_are_all_booked(s: Scene) -> None:
    column = s.column("plain")
    price, tick = s.rig.price_nano(column), s.rig.universe.instruments[column].tick_nano
    basket = await s.rest(Row(column, 10))
    await s.rig.stream("held")
    for k, lots in enumerate((3, 4, 2)):
        await s.rig.fill(basket, 0, lots, price - k * tick)
    await s.rig.end(basket, 0, "cancelled")
    await s.rig.stream("reversed")
    await s.until(lambda: s.books.filled(basket) == [9])
    await s.state(basket, OrderState.CANCELLED)


@case("stream")
async def updates_in_reverse_and_asked_for_in_between_are_booked_once(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.stream("held")
    for lots in (3, 4, 3):
        await s.rig.fill(basket, 0, lots, s.rig.price_nano(column))
    await s.query(basket)
    assert s.known(basket) == OrderState.FILLED
    await s.rig.stream("reversed")
    await asyncio.sleep(0.05)
    assert s.books.filled(basket) == [10]


@case("stream")
async def what_was_missed_while_away_is_found_by_asking(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.stream("down")
    await s.until(lambda: s.books.conditions() == [False])
    await s.rig.fill(basket, 0, 4, s.rig.price_nano(column))
    await s.rig.stream("up")
    await s.until(lambda: s.books.conditions() == [False, True])
    await s.query(basket)
    assert s.books.filled(basket) == [4]
    await s.rig.fill(basket, 0, 6, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)


@case("stream")
async def a_lost_stream_is_told_once_and_comes_back(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.stream("lost")
    await s.until(lambda: s.books.conditions() == [False, True])
    await s.rig.listened()
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    assert s.books.conditions() == [False, True]


@case("stream")
async def a_stream_that_stays_away_is_told_once(s: Scene) -> None:
    await s.rig.stream("down")
    await s.until(lambda: s.books.conditions() == [False])
    await asyncio.sleep(0.3)
    assert s.books.conditions() == [False]
    await s.rig.stream("up")
    await s.until(lambda: s.books.conditions() == [False, True])


@case("stream")
async def a_silent_stream_hides_nothing_from_a_query(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.stream("silent")
    await s.rig.fill(basket, 0, 4, s.rig.price_nano(column))
    await s.rig.end(basket, 0, "expired")
    await s.query(basket)
    assert s.known(basket) == OrderState.EXPIRED
    assert s.books.filled(basket) == [4]


@case("stream")
async def a_message_that_nobody_can_read_does_not_end_the_news(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.stream("garbage")  # the message may have been news of an order: the stream begins anew
    await s.rig.listened()
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)


@case("stream")
async def an_order_of_somebody_else_is_not_reported_as_ours(s: Scene) -> None:
    column = s.column("plain")
    s.compare = False
    await s.rig.foreign_trade(column, 5, s.rig.price_nano(column))
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    assert s.books.truth().lots[column] == 10
    assert {(report.sample, report.n) for report in s.books.reports()} == {(basket.sample, basket.n)}


@case("stream")
async def a_fill_that_comes_before_the_answer_is_booked(s: Scene) -> None:
    column = s.column("plain")
    await s.rig.misbehave("time-out after", "submit")
    sending = asyncio.create_task(s.send(Row(column, 10)))
    await s.until(lambda: bool(s.baskets) and bool(s.rig.has(s.baskets[0], 0)))
    await s.rig.fill(s.baskets[0], 0, 10, s.rig.price_nano(column))
    basket = await sending
    await s.answer()
    await s.state(basket, OrderState.FILLED)


@case("stream")
async def a_venue_that_comes_back_is_used_again(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.down()
    await s.until(lambda: s.books.conditions()[-1:] == [False])
    await s.query(basket)
    assert s.known(basket) == OrderState.UNKNOWN
    await s.rig.up()
    await s.until(lambda: s.books.conditions()[-1:] == [True])
    await s.query(basket)
    assert s.known(basket) == OrderState.WORKING
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)


@case("stream")
async def a_trade_that_the_venue_takes_back_is_booked_back_to_the_micro(s: Scene) -> None:
    column = s.column("plain")
    tick = s.rig.universe.instruments[column].tick_nano
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 4, s.rig.price_nano(column) - tick)
    await s.rig.fill(basket, 0, 6, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    await s.rig.stream("doubled")
    await s.rig.take_back(basket, 0)
    await s.until(lambda: s.books.truth().lots[column] == 4)
    assert s.books.truth() == s.rig.truth()
    await heard_of(s)


@case("stream")
async def a_trade_that_the_venue_corrects_is_booked_as_it_is_now(s: Scene) -> None:
    column = s.column("plain")
    tick = s.rig.universe.instruments[column].tick_nano
    basket = await s.rest(Row(column, -10) if s.rig.truth().lots[column] else Row(column, 10))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    await s.rig.take_back(basket, 0, 10, s.rig.price_nano(column) - 3 * tick)
    await s.until(lambda: s.books.truth() == s.rig.truth())
    # and the correction may be wrong itself
    await s.rig.take_back(basket, 0, 9, s.rig.price_nano(column) - tick)
    await s.until(lambda: s.books.truth().lots[column] == 9)
    assert s.books.truth() == s.rig.truth()
    await heard_of(s)


async def heard_of(s: Scene) -> None:
    """A person hears of what was taken back; that is no contradiction."""
    said = [text for text in s.books.contradictions() if "took back a trade" in text]
    assert said
    s.books.effects = [effect for effect in s.books.effects if "took back a trade" not in getattr(effect, "text", "")]


@case("stream")
async def a_trade_of_before_a_restart_that_the_venue_takes_back_is_found_and_booked_back(s: Scene) -> None:
    column = s.column("plain")
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    later = await s.adapter()
    later.remember(basket)
    await s.listen_to(later)
    await s.rig.listened()
    await asyncio.sleep(0.1)
    await s.rig.take_back(basket, 0)
    await s.until(lambda: s.books.truth().lots[column] == 0)
    assert s.books.truth() == s.rig.truth()
    await heard_of(s)
