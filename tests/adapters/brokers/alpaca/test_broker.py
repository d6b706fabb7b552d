"""What is Alpaca's own at its adapter; what all venues share is in tests/proofs/conformance."""

import asyncio

import msgspec
import pytest

from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.trading.instruments import NANO, Instrument
from quantd.trading.orders import OrderState
from quantd.trading.ports import TradeRecord
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.alpaca import AlpacaRig, alpaca_scene
from tests.proofs.conformance.scene import Scene

__all__ = ["alpaca_scene"]

PAIR = 5


@pytest.mark.long
async def test_what_the_venue_never_had_is_not_sent_after_its_end(s: Scene) -> None:
    s.rig.server.misbehave("time-out before", "submit")
    basket = s.decide(Row(0, 10, end=s.rig.now() + 10 * 10**9))
    s.books.take(await s.broker.submit(basket))
    await s.rig.settle()
    (report,) = await s.broker.submit(basket)
    assert "its end has passed" in report.reason  # type: ignore[union-attr]
    assert s.rig.requests("submit") == 1


async def test_executions_that_are_not_listed_yet_are_waited_for(s: Scene) -> None:
    await s.rig.stream("silent")
    basket = await s.send(Row(0, 10))
    s.rig.server.book.hidden = 1
    await s.rig.fill(basket, 0, 10, 400 * 10**9)
    asking = asyncio.create_task(s.query(basket))
    await asyncio.sleep(0.02)
    s.rig.server.book.hidden = 0
    await asking
    assert s.known(basket) == OrderState.FILLED
    await s.finish()


async def test_more_executions_than_a_page_has_are_all_found(s: Scene) -> None:
    await s.rig.stream("silent")
    basket = await s.send(Row(0, 250))
    for k in range(250):
        await s.rig.fill(basket, 0, 1, (400 * 100 - k % 7) * 10**7)
    await s.query(basket)
    assert s.known(basket) == OrderState.FILLED
    await s.finish()


@pytest.mark.long
async def test_a_pair_is_sent_good_till_cancelled_and_ended_by_us(s: Scene) -> None:
    basket = s.decide(Row(PAIR, 20, worst_nano=60_000 * 10**9, end=s.rig.now() + 10**9))
    s.books.take(await s.broker.submit(basket))
    assert s.rig.has(basket, 0)[0].in_force == "gtc"
    await s.rig.fill(basket, 0, 5, 60_000 * 10**9)
    s.rig.server.offset_ns += 2 * 10**9
    await s.state(basket, OrderState.EXPIRED)
    assert s.books.filled(basket) == [5]
    await s.finish()


async def test_a_position_of_a_pair_is_known_without_its_slash(s: Scene) -> None:
    await s.rig.hold(PAIR, 12)
    account = await s.broker.account()
    assert account.lots[PAIR] == 12
    assert account.others == ()


async def test_many_symbols_are_compared_in_one_answer(s: Scene) -> None:
    more = []
    for k in range(50):
        s.rig.server.list(f"M{k}", "10.00")
        more.append(Instrument(f"M{k}"))
    universe = msgspec.structs.replace(s.rig.universe, instruments=(*s.rig.universe.instruments, *more))
    second = s.rig.adapter(universe=universe)
    before = s.rig.server.requests["other"]
    await second.open()
    await second.close()
    assert s.rig.server.requests["other"] - before <= 3  # the clock, and a list for each class


async def test_a_404_that_is_not_about_an_order_is_no_not_found(s: Scene) -> None:
    rig = AlpacaRig()
    rig.server.port = s.rig.server.port
    elsewhere = rig.adapter()
    elsewhere._rest._base = s.rig.server.url + "/elsewhere"  # type: ignore[attr-defined]
    basket = s.decide(Row(0, 10))
    elsewhere.remember(basket)
    await s.rig.settle()
    news = await elsewhere.query(basket.sample, basket.n, [0])
    await elsewhere.close()
    s.books.take(news)
    assert s.books.unknown()
    assert not s.books.not_found()


async def test_no_way_of_printing_the_settings_shows_the_secrets() -> None:
    settings = AlpacaSettings(key="PKVISIBLE", secret="hushhush")
    assert "PKVISIBLE" not in f"{settings} {settings!r}"
    assert "hushhush" not in f"{settings} {settings!r}"
    assert settings.safe("a PKVISIBLE\nof hushhush " + "x" * 500)[:12] == "a *** of ***"
    assert len(settings.safe("x" * 500)) == 200


async def test_the_venues_own_record_of_trades_has_each_execution_with_its_side(s: Scene) -> None:
    rig = s.rig
    assert isinstance(rig.broker, TradeRecord)
    began = rig.now() - NANO
    bought = await s.rest(Row(0, 10))
    await rig.fill(bought, 0, 4, 149 * NANO)
    await rig.fill(bought, 0, 6, 148 * NANO)
    lot = rig.universe.lot_nano[0]
    trades = await rig.broker.trades(began)
    assert [(t.symbol, t.units_nano // lot, t.price_nano, t.fee_micro) for t in trades] == [
        (rig.universe.symbols[0], 4, 149 * NANO, None), (rig.universe.symbols[0], 6, 148 * NANO, None),
    ]  # fmt: skip
    assert len({t.id for t in trades}) == 2
    assert await rig.broker.trades(trades[-1].ts) == []
