"""A gateway whose messages have another form: nothing counts as absent, as zero or as filled, and nothing is sent
twice. And the texts without a gateway."""

import asyncio
import sys
import time
from typing import Any

import msgspec
import pytest

from quantd.adapters.brokers.ibkr.broker import MOST_NEWS, Ibkr, broker, settings_of
from quantd.adapters.brokers.ibkr.connection import Line
from quantd.adapters.brokers.ibkr.orders import Desk
from quantd.adapters.brokers.ibkr.wire import NEEDED, client_id_of
from quantd.adapters.brokers.venue import Login
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.trading.events import Condition, NotFound
from quantd.trading.instruments import Universe
from quantd.trading.orders import OrderState

pytest.importorskip("ib_async")

from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.ibkr import IbkrRig
from tests.proofs.conformance.scene import Scene
from tests.support.venues.ibkr import Gateway, frame

FIELDS = [pytest.param(kind, place, id=f"{kind}-{place}") for kind, places in NEEDED.items() for place in places]
OTHER = ("", "x", "nan", "1e999")


def rewritten(message: bytes, kind: int, place: int, value: str) -> bytes:
    """Messages of that kind with another value in one field; others as they are."""
    fields: list[object] = list(message[4:-1].decode().split("\0"))
    if fields[0] != str(kind):
        return message
    fields[place] = value
    return frame(*fields)


def lie(rig: IbkrRig, kind: int, place: int, value: str) -> Any:
    """From now on the gateway writes so; returns what ends it."""
    send = rig.server._send
    rig.server._send = lambda session, message: send(session, rewritten(message, kind, place, value))  # type: ignore[method-assign]

    def stop() -> None:
        rig.server._send = send  # type: ignore[method-assign]

    return stop


@pytest.mark.long
@pytest.mark.parametrize(("kind", "place"), FIELDS)
async def test_a_field_in_another_form_is_never_absence_zero_or_a_fill(kind: int, place: int) -> None:
    await asyncio.gather(*(one(kind, place, value) for value in OTHER))


async def one(kind: int, place: int, value: str) -> None:
    rig = IbkrRig()
    rig.timeout_s = 0.6
    await rig.start()
    scene = Scene(rig)
    try:
        column = scene.column("plain")
        await rig.hold(column, 30)
        scene.books.holding(column, 30)
        stop = lie(rig, kind, place, value)
        basket = await scene.send(Row(column, 10))
        placed = rig.server.order(rig._id(basket, 0))
        price = rig.price_nano(column)
        await rig.fill(basket, 0, 4, price)
        await rig.settle()
        for _ in range(2):
            scene.books.take(await scene.broker.submit(basket))
            await scene.query(basket)
        assert scene.books.filled(basket)[0] in (0, 4)
        assert not [news for news in scene.books.news if isinstance(news, NotFound)]
        assert len(rig.has(basket, 0)) == 1
        try:
            account = await scene.broker.account()
        except ConnectionError:
            pass
        else:
            assert account.lots == rig.truth().lots
            assert account.cash_micro == rig.truth().cash_micro
        stop()
        rig.server.cut()
        rig.server.end(placed)
        for _ in range(20):
            await scene.query(basket)
            if scene.known(basket) == OrderState.CANCELLED and scene.books.truth() == rig.truth():
                break
            await asyncio.sleep(0.1)
        assert scene.books.filled(basket) == [4]
        assert scene.known(basket) == OrderState.CANCELLED
    finally:
        await scene.close()
        await rig.stop()


async def test_an_attempt_to_connect_that_is_given_up_leaves_no_client_behind() -> None:
    """It would hold the client id, and every later attempt would be refused."""
    gateway = await Gateway().start()

    def slow() -> None:
        time.sleep(0.05)  # the machine is busy just when the gateway is ready

    for busy in (False, True):
        settings = settings_of(login(gateway.url, gateway.account), "x")
        line = Line(msgspec.structs.replace(settings, timeout_s=0.04), Desk(settings, Universe(()), "r", int, print))
        if busy:
            wrapper = line._wrapper

            def late(wrapper: Any = wrapper) -> Any:
                made = wrapper()
                made.managedAccounts = lambda accounts: slow()
                return made

            line._wrapper = late  # type: ignore[method-assign]
            with pytest.raises(ConnectionError):
                await line.connect()
        else:
            await line.connect()
            line.drop("")
        await asyncio.sleep(0.1)
        assert gateway.sessions == []
    await gateway.stop()


def login(url: str = "", account: str = "DU1", live: bool = False) -> Login:
    return Login(Universe(()), "run1", {"ibkr_account": account}, live=live, url=url)


def test_an_address_is_a_host_and_a_port_and_without_one_that_of_the_mode() -> None:
    assert [settings_of(login(), "x").port, settings_of(login(live=True), "x").port] == [4002, 4001]
    settings = settings_of(login("gateway.lan:7497"), "x")
    assert (settings.host, settings.port, settings.paper) == ("gateway.lan", 7497, True)
    for wrong in ("gateway", "gateway:", ":4002", "gateway:x"):
        with pytest.raises(VenueError, match="no address of a gateway"):
            settings_of(login(wrong), "x")
    with pytest.raises(VenueError, match="QUANTD_IBKR_ACCOUNT"):
        broker(login(account=""))


async def test_without_the_extra_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("ib_async.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ib_async", None)
    venue: Ibkr = broker(login("127.0.0.1:1"))
    with pytest.raises(VenueError, match=r"ib_async is not installed\. Install it with: .*ibkr"):
        await venue.open()
    await venue.close()


async def test_news_that_nobody_reads_are_bounded_and_the_loss_is_named() -> None:
    venue = broker(login("127.0.0.1:1"))
    for k in range(MOST_NEWS + 1):
        venue._say(Condition(k, "broker", False, "away"))
    assert venue._queue.qsize() == MOST_NEWS
    (text,) = venue.set_aside()
    assert "a report was dropped" in text
    await venue.close()


def test_the_client_id_is_that_of_the_run_and_fits_the_protocol() -> None:
    ids = {client_id_of(f"run{k}") for k in range(1000)}
    assert len(ids) == 1000
    assert min(ids) > 0
    assert max(ids) < 2**31
    assert client_id_of("run7") == client_id_of("run7")
