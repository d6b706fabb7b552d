"""What a venue limits, and what keeps it from being used at all, in words."""

import asyncio

import msgspec
import pytest

from quantd.adapters.brokers.venue_errors import VenueError
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.orders import ENDED, Cause, OrderState
from tests.proofs.conformance.cases import case
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.scene import Scene


@case("limits")
async def no_more_requests_go_out_than_the_venue_takes(s: Scene) -> None:
    per_minute = 120
    second = await s.adapter(per_minute=per_minute)
    basket = await s.rest(Row(s.column("plain"), 10))
    second.remember(basket)
    before = s.rig.requests("query")
    asking = [asyncio.create_task(second.query(basket.sample, basket.n, [0])) for _ in range(per_minute)]
    await asyncio.sleep(0.5)
    sent = s.rig.requests("query") - before
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    # at once no more than half a minute's, and then no faster than the limit
    assert 0 < sent <= per_minute // 2 + per_minute // 60 + 1


@case("limits")
async def too_many_requests_are_waited_out(s: Scene) -> None:
    await s.rig.misbehave("429", "submit", 2)
    basket = await s.rest(Row(s.column("plain"), 10))
    assert len(s.rig.has(basket, 0)) == 1


@case("limits")
async def too_many_requests_for_ever_end_in_an_order_that_was_never_sent(s: Scene) -> None:
    await s.rig.misbehave("429 bare", "submit", 1000)
    basket = await s.send(Row(s.column("plain"), 10))
    assert Cause.REJECTED not in s.books.causes(0)
    assert s.rig.has(basket, 0) == []
    if s.known(basket) not in ENDED:
        await s.rig.settle()
        await s.query(basket)
    assert s.known(basket) == OrderState.EXPIRED


@case("limits")
async def maintenance_is_no_refusal(s: Scene) -> None:
    for on in ("submit", "query"):
        await s.rig.misbehave("503", on, 1)
    basket = await s.send(Row(s.column("plain"), 10))
    await s.answer()
    assert s.known(basket) == OrderState.UNKNOWN
    await s.rig.misbehave("503", "account", 5)
    with pytest.raises(ConnectionError):
        await s.broker.account()
    await s.rig.settle()
    await s.query(basket)
    assert s.known(basket) == OrderState.EXPIRED


@case("limits")
async def a_clock_far_from_the_venues_is_refused_with_both_times(s: Scene) -> None:
    for seconds in (10.0, -10.0):
        await s.rig.skew(seconds)
        second = s.rig.adapter()
        with pytest.raises(VenueError, match="clock"):
            await second.open()
        await second.close()


@case("limits")
async def a_clock_near_the_venues_is_not(s: Scene) -> None:
    await s.rig.skew(0.8)
    await s.adapter()


@case("limits")
async def a_time_out_is_kept(s: Scene) -> None:
    await s.rig.misbehave("time-out before", "submit")
    began = asyncio.get_running_loop().time()
    basket = await s.send(Row(s.column("plain"), 10))
    assert asyncio.get_running_loop().time() - began < 3.0 * s.rig.timeout_s
    assert s.books.unknown()
    assert s.rig.has(basket, 0) == []
    await s.rig.settle()
    await s.query(basket)


@case("limits")
async def a_request_that_is_given_up_leaves_nothing_behind(s: Scene) -> None:
    await s.rig.misbehave("time-out after", "submit")
    basket = s.decide(Row(s.column("plain"), 10))
    sending = asyncio.create_task(s.broker.submit(basket))
    await s.until(lambda: bool(s.rig.has(basket, 0)))
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    s.books.take(await s.broker.submit(basket))
    await s.state(basket, OrderState.WORKING)
    assert len(s.rig.has(basket, 0)) == 1


@case("errors")
async def a_wrong_key_is_refused_and_not_shown(s: Scene) -> None:
    second = s.rig.adapter(key="WRONGKEY12345678")
    with pytest.raises(VenueError) as refused:
        await second.open()
    await second.close()
    assert "key" in str(refused.value)
    for secret in (*s.rig.secrets(), "WRONGKEY12345678"):
        assert secret not in str(refused.value)


@case("errors")
async def another_currency_is_refused_with_both_names(s: Scene) -> None:
    universe = msgspec.structs.replace(
        s.rig.universe,
        currency="EUR",
        instruments=tuple(msgspec.structs.replace(i, currency="EUR") for i in s.rig.universe.instruments),
    )
    second = s.rig.adapter(universe=universe)
    with pytest.raises(VenueError, match="EUR") as refused:
        await second.open()
    await second.close()
    assert s.rig.universe.currency in str(refused.value)


@case("errors")
async def every_unknown_symbol_is_named(s: Scene) -> None:
    more = (Instrument("NOPE1"), Instrument("NOPE2"))
    second = s.rig.adapter(universe=Universe((*s.rig.universe.instruments, *more), currency=s.rig.universe.currency))
    with pytest.raises(VenueError, match=r"NOPE1.*NOPE2"):
        await second.open()
    await second.close()


@case("errors")
async def a_symbol_that_is_not_tradable_is_named(s: Scene) -> None:
    row = s.rig.refused("untradable")
    second = s.rig.adapter()
    await second.open()
    assert getattr(second, "untradable", {}).get(row.column)
    await second.close()


@case("errors")
async def a_lot_finer_than_the_venues_is_refused_with_its_symbol(s: Scene) -> None:
    column = s.column("unshortable")
    instrument = s.rig.universe.instruments[column]
    universe = msgspec.structs.replace(s.rig.universe, instruments=(msgspec.structs.replace(instrument, lot_nano=1),))
    second = s.rig.adapter(universe=universe)
    with pytest.raises(VenueError, match=instrument.symbol):
        await second.open()
    await second.close()


@case("errors")
async def a_venue_away_at_the_start_is_a_connection_error(s: Scene) -> None:
    await s.rig.down()
    second = s.rig.adapter()
    with pytest.raises(ConnectionError):
        await second.open()
    await second.close()
    await s.rig.up()


@case("errors")
async def closing_twice_or_unopened_is_no_error(s: Scene) -> None:
    second = s.rig.adapter()
    await second.close()
    third = await s.adapter()
    await third.close()
    await third.close()
