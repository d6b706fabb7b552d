"""The publisher against a real mosquitto: nothing missing, nothing doubled, nobody blocked, and a will."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from quantd.adapters.bus.messages import Message
from quantd.adapters.bus.outbox import Lanes
from quantd.adapters.bus.publisher import MqttBus, Outgoing
from quantd.adapters.bus.settings import BusAddressWrong, MqttSettings, Protocol, Tls, address
from tests.adapters.bus.running_bus import ALERTS, STATUS, running, settings
from tests.support.checkout import ROOT
from tests.support.mqtt import MemoryOutbox, Mosquitto, SqliteOutbox, certificate, free_port, until
from tests.support.services import require


@pytest.mark.requirement("R-179")
async def test_alerts_arrive_in_order_and_leave_the_outbox(mosquitto: Mosquitto) -> None:
    subscriber = mosquitto.subscribe("-q", "1", "-t", "quantd/#")
    outbox = MemoryOutbox()
    async with running(mosquitto.port, outbox) as bus:
        await until(lambda: (STATUS, "online") in subscriber.lines(), "status")
        for k in range(200):
            outbox.put(f"m{k}", ALERTS, f"{k}".encode())
        bus.wake()
        await until(lambda: outbox.depth() == 0, "drain")
        assert bus.sent == 200
        assert bus.online
    await until(lambda: (STATUS, "stopped") in subscriber.lines(), "last status")
    assert [p for t, p in subscriber.lines() if t == ALERTS] == [f"{k}" for k in range(200)]
    subscriber.close()


CHILD = """
import asyncio, sys
sys.path.insert(0, {root!r})
from quantd.adapters.bus.publisher import MqttBus
from quantd.adapters.bus.settings import MqttSettings
from tests.support.mqtt import MemoryOutbox
async def main():
    where = MqttSettings("127.0.0.1", {port}, protocol={protocol!r})
    bus = MqttBus(where, MemoryOutbox(), "quantd/paper/status", b"offline")
    bus.status(b"online")
    await bus.run()
asyncio.run(main())
"""


def child(port: int, protocol: Protocol) -> "subprocess.Popen[bytes]":
    code = CHILD.format(root=str(ROOT), port=port, protocol=protocol)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, cwd=ROOT)


@pytest.mark.requirement("R-182")
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_a_killed_publisher_is_offline_for_present_and_later_subscribers(
    mosquitto: Mosquitto, protocol: Protocol
) -> None:
    now = mosquitto.subscribe("-t", STATUS)
    publisher = child(mosquitto.port, protocol)
    await until(lambda: (STATUS, "online") in now.lines(), "online")
    publisher.send_signal(signal.SIGKILL)
    publisher.wait()
    await until(lambda: now.lines()[-1] == (STATUS, "offline"), "last will")
    later = mosquitto.subscribe("-t", STATUS)
    await until(lambda: later.lines() == [(STATUS, "offline")], "retained last will")
    now.close()
    later.close()


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_five_broker_restarts_lose_and_double_no_alert(
    mosquitto: Mosquitto, tmp_path: Path, protocol: Protocol
) -> None:
    durable = ("-c", "-i", "durable", "-q", "1", "-t", "quantd/paper/alerts/#")
    first = mosquitto.subscribe(*durable)
    outbox = SqliteOutbox(tmp_path / "outbox.db")
    raised = 0
    async with running(mosquitto.port, outbox, protocol=protocol) as bus:
        await until(lambda: bus.online, "connection")
        for restart in range(5):
            for phase in range(40):
                outbox.put(f"a-{raised}", ALERTS, json.dumps({"id": f"a-{raised}"}).encode())
                raised += 1
                bus.wake()
                if phase == 8:
                    await asyncio.to_thread(mosquitto.stop)
                if phase == 24:
                    await asyncio.to_thread(mosquitto.start)
                await asyncio.sleep(0.005)
            await until(lambda restart=restart: bus.reconnects > restart and bus.online, "reconnection")
        await until(lambda: outbox.depth() == 0, "drain")
        assert bus.reconnects >= 5

        def ids() -> list[str]:
            return [json.loads(p)["id"] for _, p in first.lines()]

        await until(lambda: len(set(ids())) == raised, "the subscriber has all")
    assert set(ids()) == {f"a-{k}" for k in range(raised)}
    first.close()


@pytest.mark.long
async def test_alerts_raised_before_the_publisher_died_are_sent_by_the_next_one(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    subscriber = mosquitto.subscribe("-q", "1", "-t", "quantd/paper/alerts/#")
    outbox = SqliteOutbox(tmp_path / "outbox.db")
    for k in range(50):
        outbox.put(f"m{k}", ALERTS, f"m{k}".encode())

    class Dies(SqliteOutbox):
        """Loses the acknowledgement of the first window, as a process does that is killed there."""

        def acknowledge(self, ids: Sequence[str]) -> None:
            raise ConnectionAbortedError

    lost = MqttBus(settings(mosquitto.port), Dies(tmp_path / "outbox.db"), STATUS, b"offline")
    task = asyncio.create_task(lost.run())
    await until(lambda: len(subscriber.lines()) >= 32, "first window")
    task.cancel()
    await asyncio.wait([task])
    assert outbox.depth() == 50
    async with running(mosquitto.port, outbox):
        await until(lambda: outbox.depth() == 0, "drain")
    await until(lambda: len({p for _, p in subscriber.lines()}) == 50, "all")
    received = [p for _, p in subscriber.lines()]
    assert len(received) > 50  # some twice, told apart by their ids
    assert set(received) == {f"m{k}" for k in range(50)}
    subscriber.close()


@pytest.mark.requirement("R-181")
@pytest.mark.long
async def test_while_the_broker_is_away_nothing_waits_for_it_and_the_counters_say_so() -> None:
    outbox = MemoryOutbox()
    lanes = Lanes(outbox, lambda seq, data: (), capacity=5)
    bus = MqttBus(settings(free_port()), lanes, STATUS, b"offline")
    task = asyncio.create_task(bus.run())
    await until(lambda: bus.failures >= 2, "attempts")
    for k in range(1_000):
        outbox.put(f"m{k}", ALERTS, b"x")
        bus.wake()
        bus.retain("quantd/paper/portfolio", b"%d" % k)
        bus.heartbeat("quantd/paper/heartbeat", b"beat")
    await until(lambda: bus.queue_depth == 1_000, "the backlog counted")
    assert bus.drops == 0
    bus.transient("quantd/paper/commands/answer", b"done")
    assert bus.drops == 1
    for k in range(8):
        lanes.put(Message(f"f{k}", "quantd/paper/fills", b"x", False))
    await until(lambda: bus.queue_depth == 1_005, "the backlog counted")
    await until(lambda: bus.drops == 4, "what gave way counted")  # a second question of the same count
    assert not bus.online
    assert "refused" in bus.last_error
    bus.stop(b"stopped", 1.0)
    await asyncio.wait_for(task, 60)
    assert outbox.depth() == 1_000


@pytest.mark.long
async def test_a_broker_that_hangs_does_not_hold_up_the_stop_and_says_offline_when_it_wakes(
    mosquitto: Mosquitto,
) -> None:
    outbox = MemoryOutbox()
    bus = MqttBus(settings(mosquitto.port), outbox, STATUS, b"offline")
    bus.status(b"online")
    task = asyncio.create_task(bus.run())
    await until(lambda: bus.online, "connection")
    await asyncio.sleep(0.1)
    assert mosquitto.process is not None
    mosquitto.process.send_signal(signal.SIGSTOP)
    outbox.put("m", ALERTS, b"x")
    bus.stop(b"stopped", 1.0)
    await asyncio.wait_for(task, 60)
    assert outbox.depth() == 1
    mosquitto.process.send_signal(signal.SIGCONT)
    later = mosquitto.subscribe("-t", STATUS)
    await until(lambda: later.lines() != [], "status")
    assert later.lines()[0][1] != "online"
    later.close()


@pytest.mark.long
async def test_a_broker_that_never_answers_costs_no_file_descriptors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        quick = MqttSettings(
            "127.0.0.1", silent.getsockname()[1], connect_s=0.05, retry_first_s=0.01, retry_most_s=0.02
        )
        async with running(quick, MemoryOutbox(), 0.2) as bus:
            await until(lambda: bus.failures >= 3, "attempts")
            before = len(os.listdir("/proc/self/fd"))
            await until(lambda: bus.failures >= 13, "attempts")
            assert len(os.listdir("/proc/self/fd")) <= before + 3


async def test_an_outbox_that_fails_is_asked_again_and_the_bus_stays_online(mosquitto: Mosquitto) -> None:
    class Ill(MemoryOutbox):
        ill = True

        def pending(self, limit: int) -> Sequence[Outgoing]:
            if self.ill:
                raise OSError("no space left on device")
            return super().pending(limit)

    outbox = Ill()
    outbox.put("m", ALERTS, b"x")
    async with running(mosquitto.port, outbox) as bus:
        await until(lambda: "no space left" in bus.last_error, "failure")
        assert bus.online
        outbox.ill = False
        await until(lambda: outbox.depth() == 0, "drain")
        assert bus.connections == 1


async def test_a_message_that_mqtt_cannot_carry_does_not_block_the_others(mosquitto: Mosquitto) -> None:
    outbox = MemoryOutbox()
    outbox.put("bad", "quantd/paper/alerts/+/#", b"x")
    outbox.put("good", ALERTS, b"x")
    async with running(mosquitto.port, outbox) as bus:
        await until(lambda: outbox.depth() == 0, "drain")
        assert bus.drops == 1
        assert bus.sent == 1


PORTFOLIO = "quantd/paper/portfolio"


def oversize(folder: Path, most_bytes: int) -> Mosquitto:
    """A broker that closes the connection at a longer packet, as MQTT 3.1.1 has no other answer."""
    return Mosquitto(folder, extra=f"allow_anonymous true\nmax_packet_size {most_bytes}").start()


@pytest.mark.long
@pytest.mark.requirement("R-181")
@pytest.mark.parametrize(
    ("most_bytes", "long", "kind"),
    [(600, 601, "queue"), (600, 5_000, "state"), (2_000, 300_000, "queue"), (131_072, 200_000, "state")],
)
async def test_a_message_above_the_brokers_limit_is_set_aside_with_one_alert_and_the_others_arrive_once(
    tmp_path: Path, most_bytes: int, long: int, kind: str
) -> None:
    broker = oversize(tmp_path, most_bytes)
    subscriber = broker.subscribe("-q", "1", "-t", "quantd/#")
    outbox, raised = MemoryOutbox(), list[str]()
    async with running(broker.port, outbox) as bus:
        bus.undeliverable = raised.append
        for k in range(20):
            outbox.put(f"a{k}", ALERTS, f"a{k}".encode())
            if k == 5 and kind == "queue":
                outbox.put("long", "quantd/paper/orders", b"x" * long)
        if kind == "state":
            bus.retain(PORTFOLIO, b"x" * long)
        bus.wake()
        await until(lambda: outbox.depth() == 0 and len(raised) == 1, "drain")
        bus.retain("quantd/paper/risk", b"y" * (long + 5))  # longer than what was refused: no further connection
        outbox.put("after", ALERTS, b"after")
        bus.wake()
        await until(lambda: outbox.depth() == 0 and not bus._unsent, "drain")
        assert f"{long} bytes" in raised[0]
        assert "max_packet_size" in raised[0]
        assert bus.online
        assert bus.connections <= 5
    arrived = [p for t, p in subscriber.lines() if t == ALERTS]
    assert sorted(arrived) == sorted([*(f"a{k}" for k in range(20)), "after"])
    subscriber.close()
    broker.stop()


async def test_a_broker_of_mqtt_5_that_names_its_limit_is_never_sent_a_longer_packet(tmp_path: Path) -> None:
    broker = oversize(tmp_path, 2_000)
    outbox, raised = MemoryOutbox(), list[str]()
    outbox.put("long", "quantd/paper/orders", b"x" * 2_000)
    outbox.put("next", "quantd/paper/fills", b"x" * 2_500)
    outbox.put("fits", ALERTS, b"x" * 1_900)
    async with running(broker.port, outbox, protocol="5") as bus:
        bus.undeliverable = raised.append
        await until(lambda: outbox.depth() == 0, "drain")
        assert bus.connections == 1
        assert bus.drops == 2
    assert len(raised) == 1
    broker.stop()


@pytest.mark.long
async def test_pauses_between_connections_grow_while_connections_end_early(tmp_path: Path) -> None:
    """A broker that acknowledges nothing and closes at each publication is not flooded, and nothing is set aside."""
    times: list[float] = []

    async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        times.append(time.monotonic())
        await reader.read(1_000)
        writer.write(b"\x20\x02\x00\x00")
        await reader.read(1_000)
        writer.close()

    server = await asyncio.start_server(closes, "127.0.0.1", 0)
    outbox = MemoryOutbox()
    outbox.put("m", ALERTS, b"x")
    slow = MqttSettings("127.0.0.1", server.sockets[0].getsockname()[1], retry_first_s=0.1, retry_most_s=30.0)
    async with running(slow, outbox, 0.2):
        await until(lambda: len(times) == 6, "attempts")
        assert times[5] - times[4] > 0.5
        assert times[5] - times[0] > 1.4
        assert outbox.depth() == 1
    server.close()


async def test_a_topic_without_a_right_to_it_does_not_stop_the_others(tmp_path: Path) -> None:
    """AWS IoT Core closes the connection at a publication that its policy denies; a broker in a few lines does too."""
    arrived: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = (await reader.readexactly(1))[0]
                size, shift = 0, 0
                while True:
                    byte = (await reader.readexactly(1))[0]
                    size, shift = size | (byte & 127) << shift, shift + 7
                    if byte < 128:
                        break
                packet = await reader.readexactly(size)
                if kind >> 4 == 1:
                    writer.write(b"\x20\x02\x00\x00")
                elif kind >> 4 == 3:
                    end = 2 + int.from_bytes(packet[:2], "big")
                    if b"denied" in packet[:end]:
                        break
                    if kind >> 1 & 3:
                        arrived.append(packet[end + 2 :])
                        writer.write(b"\x40\x02" + packet[end : end + 2])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    outbox, raised = MemoryOutbox(), list[str]()
    outbox.put("right", ALERTS, b"z" * 100)
    outbox.put("wrong", "quantd/paper/denied", b"x")
    outbox.put("other", ALERTS, b"other")
    async with running(server.sockets[0].getsockname()[1], outbox) as bus:
        bus.undeliverable = raised.append
        await until(lambda: outbox.depth() == 0, "drain")
        outbox.put("again", "quantd/paper/denied", b"xx")
        outbox.put("last", ALERTS, b"last")
        bus.wake()
        await until(lambda: outbox.depth() == 0, "drain")
        assert bus.connections <= 5
    assert arrived.count(b"other") == arrived.count(b"last") == arrived.count(b"z" * 100) == 1
    assert len(raised) == 1
    assert "quantd/paper/denied" in raised[0]
    server.close()


async def test_retained_states_are_said_again_to_a_broker_that_forgot_them(tmp_path: Path) -> None:
    forgetful = Mosquitto(tmp_path)
    forgetful.config.write_text(forgetful.config.read_text().replace("persistence true", "persistence false"))
    forgetful.start()
    async with running(forgetful.port, MemoryOutbox()) as bus:
        bus.retain("quantd/paper/portfolio", b"rich")
        await until(lambda: bus.online, "connection")
        await asyncio.to_thread(forgetful.stop, signal.SIGKILL)
        await asyncio.to_thread(forgetful.start)
        await until(lambda: bus.reconnects == 1, "reconnection")
        late = forgetful.subscribe("-t", "quantd/#")
        await until(
            lambda: set(late.lines()) == {(STATUS, "online"), ("quantd/paper/portfolio", "rich")}, "retained states"
        )
        late.close()
    forgetful.stop()


def password_file(folder: Path, username: str, password: str) -> Path:
    passwords = folder / "passwords"
    subprocess.run(
        [require("mosquitto")["mosquitto_passwd"], "-b", "-c", str(passwords), username, password], check=True
    )
    passwords.chmod(0o644)
    return passwords


async def test_a_wrong_password_is_named_and_the_right_one_lets_in(tmp_path: Path) -> None:
    passwords = password_file(tmp_path, "quantd", "right")
    broker = Mosquitto(tmp_path, extra=f"password_file {passwords}").start()
    async with running(broker.port, MemoryOutbox(), username="quantd", password="wrong") as bus:
        await until(lambda: bus.failures > 0, "refusal")
        assert "Not authorized" in bus.last_error
        assert "wrong" not in repr(bus._settings)
    async with running(broker.port, MemoryOutbox(), username="quantd", password="right") as bus:
        await until(lambda: bus.online, "connection")
    broker.stop()


@pytest.mark.requirement("R-234")
async def test_tls_is_spoken_with_a_broker_whose_certificate_is_trusted_and_with_no_other(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    broker = Mosquitto(tmp_path, extra=f"allow_anonymous true\ncertfile {cert}\nkeyfile {key}").start()
    trusting = MqttSettings("localhost", broker.port, tls=Tls(ca_file=str(cert)), retry_first_s=0.05)
    outbox = MemoryOutbox()
    outbox.put("m", ALERTS, b"x")
    async with running(trusting, outbox):
        await until(lambda: outbox.depth() == 0, "drain")
    async with running(MqttSettings("localhost", broker.port, tls=Tls()), outbox, 0.5) as stranger:
        await until(lambda: stranger.failures > 0, "refusal")
        assert "certificate" in stranger.last_error
    broker.stop()


def test_certificate_files_that_are_missing_are_found_before_the_daemon_runs() -> None:
    with pytest.raises(OSError, match="No such file"):
        Tls(ca_file="/nowhere/ca.pem").context()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", ("broker", 1883, False)),
        ("mqtts://broker", ("broker", 8883, True)),
        ("mqtt://10.0.0.1:1884/", ("10.0.0.1", 1884, False)),
        ("mqtt://[::1]:1885", ("::1", 1885, False)),
    ],
)
def test_an_address_is_host_port_and_whether_tls(url: str, expected: tuple[str, int, bool]) -> None:
    assert address(url) == expected


@pytest.mark.parametrize(
    "url", ["", "broker", "http://broker", "mqtt://", "mqtt://b:x", "mqtt://b:99999", "mqtt://b/topic", "mqtt://b?q=1"]
)
def test_what_is_no_address_is_refused_with_its_shape(url: str) -> None:
    with pytest.raises(BusAddressWrong, match="mqtt://host:1883"):
        address(url)


def test_a_login_in_the_address_is_refused_without_repeating_it() -> None:
    with pytest.raises(BusAddressWrong) as refused:
        address("mqtt://me:hunter2@broker")
    assert "hunter2" not in str(refused.value)
    assert "mqtt_password" in str(refused.value)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_two_daemons_with_one_client_id_are_both_told_once_why_the_broker_ends_their_connections(
    mosquitto: Mosquitto, protocol: Protocol
) -> None:
    where = MqttSettings(
        "127.0.0.1", mosquitto.port, "quantd-t5", retry_first_s=0.1, retry_most_s=30.0, protocol=protocol
    )
    alerts: list[list[str]] = [[], []]
    async with running(where, MemoryOutbox(), 0.5) as one, running(where, MemoryOutbox(), 0.5) as other:
        one.undeliverable, other.undeliverable = alerts[0].append, alerts[1].append
        await until(lambda: all(alerts), "an alert of each", within_s=30.0)
        await asyncio.sleep(1.0)
    for (text,) in alerts:
        assert "the client id quantd-t5. Is a second daemon of this name running?" in text


async def test_a_broker_that_restarts_is_no_other_client(mosquitto: Mosquitto) -> None:
    told: list[str] = []
    async with running(mosquitto.port, MemoryOutbox(), client_id="quantd-t5") as bus:
        bus.undeliverable = told.append
        for connections in range(1, 3):
            await until(lambda: bus.online and bus.connections == connections, "a connection")  # noqa: B023
            mosquitto.stop()
            await until(lambda: not bus.online, "the end of the connection")
            mosquitto.start()
    assert told == []


async def test_a_broker_of_mqtt_5_that_names_the_take_over_is_believed_at_once() -> None:
    async def takes_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writer.write(b"\x20\x03\x00\x00\x00" + b"\xe0\x02\x8e\x00")
        await reader.read(1_000)
        writer.close()

    server = await asyncio.start_server(takes_over, "127.0.0.1", 0)
    alerts: list[str] = []
    where = MqttSettings("127.0.0.1", server.sockets[0].getsockname()[1], "quantd-t5", protocol="5")
    async with running(where, MemoryOutbox(), 0.2) as bus:
        bus.undeliverable = alerts.append
        await until(lambda: bool(alerts), "an alert")
        assert bus.connections == 1
        assert "another client has taken over the client id quantd-t5" in alerts[0]
    server.close()
