"""A broker that speaks MQTT 5 and nothing else: a real mosquitto behind a door that turns other versions away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import read
from quantd.server.cli.setup.rehearsal import alert
from tests.adapters.bus.running_bus import ALERTS, STATUS, running
from tests.support.mqtt import MemoryOutbox, Mosquitto, until


class Door:
    """Lets in who speaks `level` (5 is MQTT 5, 4 is 3.1.1); the others hear "unacceptable protocol version" and are cut
    off."""

    def __init__(self, inside: int, level: int) -> None:
        self._inside, self._level = inside, level
        self.port = 0
        self.turned_away = 0

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1024)
        at = first.index(b"MQTT") + 4 if b"MQTT" in first[:12] else -1
        if at < 0 or first[at] != self._level:
            self.turned_away += 1
            writer.write(b"\x20\x02\x00\x01")
            await writer.drain()
            writer.close()
            return
        back, out = await asyncio.open_connection("127.0.0.1", self._inside)
        out.write(first)
        await asyncio.gather(_pass(reader, out), _pass(back, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def door(inside: int, level: int = 5) -> AsyncIterator[Door]:
    broker_door = Door(inside, level)
    server = await asyncio.start_server(broker_door._came, "127.0.0.1", 0)
    broker_door.port = server.sockets[0].getsockname()[1]
    try:
        yield broker_door
    finally:
        server.close()


@pytest.mark.long
async def test_a_broker_of_another_version_is_named_with_the_line_that_reaches_it(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async with door(mosquitto.port, level=5) as way, running(way.port, MemoryOutbox()) as bus:
        await until(lambda: way.turned_away > 0 and bus.last_error != "", "a refusal")
        assert 'write [bus] protocol = "5"' in bus.last_error
    async with door(mosquitto.port, level=4) as way, running(way.port, MemoryOutbox(), protocol="5") as bus:
        await until(lambda: way.turned_away > 0 and bus.last_error != "", "a refusal")
        assert 'write [bus] protocol = "3.1.1"' in bus.last_error


async def test_a_message_that_the_broker_refuses_is_dropped_and_counted_and_the_others_arrive(tmp_path: Path) -> None:
    """MQTT 5 says so, with the acknowledgement; 3.1.1 could not."""
    (tmp_path / "acl").write_text("topic readwrite quantd/paper/status\ntopic readwrite quantd/paper/alerts/#\n")
    broker = Mosquitto(tmp_path)
    text = broker.config.read_text().replace("max_inflight_messages 0", "max_inflight_messages 5")
    # unlimited, this mosquitto hangs up instead of refusing
    text = text.replace("max_queued_messages 0", "max_queued_messages 1000")
    broker.config.write_text(f"{text}acl_file {tmp_path}/acl\n")
    broker.start()
    try:
        subscriber = broker.subscribe("-q", "1", "-t", "quantd/#")
        outbox = MemoryOutbox()
        async with running(broker.port, outbox, protocol="5") as bus:
            await until(lambda: (STATUS, "online") in subscriber.lines(), "status")
            bus.retain("quantd/paper/risk", b"not for this one")
            for k in range(100):
                outbox.put(f"m{k}", "quantd/paper/decisions" if k == 50 else ALERTS, f"{k}".encode())
            bus.wake()
            await until(lambda: outbox.depth() == 0, "drain")
            assert bus.drops == 2
            assert bus.sent == 99
            assert bus.reconnects == 0, "it never had more on their way than the broker takes"
        wanted = [f"{k}" for k in range(100) if k != 50]
        await until(lambda: [p for t, p in subscriber.lines() if t == ALERTS] == wanted, "the others")
    finally:
        broker.stop()


TEXT = """
[universe]
symbols = ["SPY"]
[feed]
path = "none.csv"
[broker]
cash = "1000.00"
[bus]
kind = "mqtt"
url = "mqtt://127.0.0.1:{port}"
protocol = "{protocol}"
[[agents]]
name = "a"
policy = "equal_weight"
capital = 1.0
"""


async def test_the_doctors_round_trip_speaks_the_configured_version(mosquitto: Mosquitto) -> None:
    async with door(mosquitto.port) as way:
        tried = await alert(read(TEXT.format(port=way.port, protocol="5"), known_names()))
    assert tried.failed == ""
    assert way.turned_away == 0
