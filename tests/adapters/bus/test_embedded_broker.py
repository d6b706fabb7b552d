"""The embedded broker: what it serves, what it refuses, and that it holds nobody up."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiomqtt import Client

from quantd.adapters.bus import embedded_broker
from quantd.adapters.bus.embedded_broker import BrokerUnavailable, EmbeddedBroker
from quantd.adapters.bus.embedded_settings import EmbeddedSettings
from quantd.adapters.bus.publisher import MqttBus
from quantd.adapters.bus.settings import MqttSettings
from tests.support.mqtt import MemoryOutbox, Subscriber, until
from tests.support.services import require

STATUS = "quantd/paper/status"
ALERTS = "quantd/paper/alerts/INFO/test"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    running = EmbeddedBroker(EmbeddedSettings(port=0))
    running.start()
    yield running
    assert running.stop()


def publish(broker: EmbeddedBroker, topic: str, payload: str, *login: str) -> int:
    program = require("mosquitto")["mosquitto_pub"]
    place = ["-h", "127.0.0.1", "-p", str(broker.port)]
    command = [program, *place, "-q", "1", "-r", "-t", topic, "-m", payload, *login]
    return subprocess.run(command, timeout=10, capture_output=True).returncode


def as_daemon(broker: EmbeddedBroker) -> tuple[str, ...]:
    username, password = broker.publisher
    return ("-u", username, "-P", password)


def subscribe(broker: EmbeddedBroker, folder: Path, *arguments: str) -> Subscriber:
    return Subscriber(require("mosquitto")["mosquitto_sub"], broker.port, folder, *arguments)


def bus_on(broker: EmbeddedBroker, outbox: MemoryOutbox) -> MqttBus:
    username, password = broker.publisher
    place = MqttSettings("127.0.0.1", broker.port, username=username, password=password, retry_first_s=0.05)
    return MqttBus(place, outbox, STATUS, b"offline")


@pytest.mark.requirement("R-179")
async def test_port_zero_is_a_free_port_that_can_be_read_and_the_daemons_messages_reach_mosquitto_sub(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    assert broker.port > 0
    subscriber = subscribe(broker, tmp_path, "-q", "1", "-t", "quantd/#")
    outbox = MemoryOutbox()
    bus = bus_on(broker, outbox)
    bus.status(b"online")
    task = asyncio.create_task(bus.run())
    for k in range(100):
        outbox.put(f"m{k}", ALERTS, f"{k}".encode())
    bus.wake()
    await until(lambda: outbox.depth() == 0, "drain")
    bus.stop(b"stopped")
    await task
    await until(lambda: (STATUS, "stopped") in subscriber.lines(), "last status")
    assert [p for t, p in subscriber.lines() if t == ALERTS] == [f"{k}" for k in range(100)]
    subscriber.close()


@pytest.mark.long
async def test_retained_messages_reach_only_those_who_subscribed_to_them(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    assert publish(broker, STATUS, "online", *as_daemon(broker)) == 0
    owner = subscribe(broker, tmp_path, "-q", "1", "-t", "quantd/#")
    await until(lambda: owner.lines() == [(STATUS, "online")], "retained status")
    stranger = subscribe(broker, tmp_path, "-t", "zzz", "-W", "1")
    await asyncio.to_thread(stranger.process.wait, 10)
    assert stranger.lines() == []
    owner.close()


async def test_a_session_that_comes_back_is_served_while_others_subscribe(broker: EmbeddedBroker) -> None:
    username, password = broker.publisher
    topics = [f"q/{k}" for k in range(5)]
    async with Client("127.0.0.1", broker.port, username=username, password=password) as daemon:
        for topic in topics:
            await daemon.publish(topic, b"x", qos=1, retain=True)

    async def crowd(number: int) -> None:
        async with Client("127.0.0.1", broker.port, identifier=f"crowd-{number}") as client:
            for k in range(60):
                await client.subscribe(f"z/{number}/{k}", 1)

    async def comes_back() -> None:
        for visit in range(12):
            async with Client("127.0.0.1", broker.port, identifier="durable", clean_session=False) as client:
                if visit == 0:
                    for topic in topics:
                        await client.subscribe(topic, 0)
                heard = set()
                async with asyncio.timeout(60):
                    while len(heard) < len(topics):
                        heard.add(str((await anext(client.messages)).topic))
                assert heard == set(topics)

    await asyncio.gather(crowd(1), crowd(2), comes_back())


@pytest.mark.long
async def test_only_the_daemon_may_publish(broker: EmbeddedBroker, tmp_path: Path) -> None:
    publish(broker, STATUS, "forged")
    assert publish(broker, STATUS, "forged", "-u", broker.publisher[0], "-P", "guess") == 5
    forger = subscribe(broker, tmp_path, "-t", "x", "--will-topic", STATUS, "--will-payload", "forged", "--will-retain")
    forger.close()  # SIGKILL: its last will is due
    await asyncio.sleep(0.2)
    reader = subscribe(broker, tmp_path, "-t", "quantd/#", "-W", "1")
    await asyncio.to_thread(reader.process.wait, 10)
    assert reader.lines() == []


async def test_the_last_will_of_the_daemon_is_published_and_retained(broker: EmbeddedBroker, tmp_path: Path) -> None:
    will = ("--will-topic", STATUS, "--will-payload", "offline", "--will-retain", "--will-qos", "1")
    daemon = subscribe(broker, tmp_path, "-t", "x", *will, *as_daemon(broker))
    daemon.close()
    reader = subscribe(broker, tmp_path, "-t", STATUS)
    await until(lambda: reader.lines() == [(STATUS, "offline")], "last will")
    reader.close()


def test_a_port_in_use_is_named_with_the_remedy(broker: EmbeddedBroker) -> None:
    second = EmbeddedBroker(EmbeddedSettings(port=broker.port))
    with pytest.raises(BrokerUnavailable, match=rf"port = {broker.port}: another program already listens") as refused:
        second.start()
    assert "--set bus.port=0 --set api.port=0), or kind = 'mqtt'" in str(refused.value)
    assert second.stop()


def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(BrokerUnavailable, match=r"192\.0\.2\.1"):
        EmbeddedBroker(EmbeddedSettings(host="192.0.2.1", port=0, username="u", password="p")).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_a_broker_that_others_reach_needs_a_password(host: str) -> None:
    for username, password in (("", ""), ("me", ""), ("", "secret")):
        with pytest.raises(BrokerUnavailable, match="username"):
            EmbeddedBroker(EmbeddedSettings(host=host, username=username, password=password))


def test_with_a_username_nobody_reads_without_the_password(tmp_path: Path) -> None:
    closed = EmbeddedBroker(EmbeddedSettings(port=0, username="me", password="secret"))
    closed.start()
    assert "secret" not in repr(closed._settings)
    try:
        assert publish(closed, "a", "x") == 5
        assert publish(closed, "a", "x", "-u", "me", "-P", "wrong") == 5
        assert publish(closed, "a", "x", "-u", "nobody", "-P", "secret") == 5
        assert publish(closed, "a", "x", "-u", "me", "-P", "secret") == 0
    finally:
        assert closed.stop()


async def test_blocking_the_trading_loop_does_not_block_the_broker(broker: EmbeddedBroker, tmp_path: Path) -> None:
    reader = subscribe(broker, tmp_path, "-q", "1", "-t", "a")
    done = asyncio.get_running_loop().run_in_executor(None, publish, broker, "a", "x", *as_daemon(broker))
    limit = time.monotonic() + 60
    while reader.lines() != [("a", "x")]:  # no await: this loop is blocked all the while
        assert time.monotonic() < limit
        time.sleep(0.01)  # noqa: ASYNC251
    assert await done == 0
    reader.close()


def test_a_packet_of_any_announced_size_is_refused_before_it_is_read(broker: EmbeddedBroker) -> None:
    with socket.create_connection(("127.0.0.1", broker.port), timeout=60) as client:
        client.sendall(b"\x10\xff\xff\xff\x7f" + b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")  # CONNECT of 268 MB
        client.sendall(b"\x30\xff\xff\xff\x7f\x00\x01a")  # PUBLISH of 268 MB
        client.sendall(b"x" * 4096)
        client.settimeout(60)
        heard = b""
        try:
            while part := client.recv(1024):
                heard += part
        except ConnectionResetError:
            pass
        assert len(heard) <= 4  # at most a CONNACK, then the end
    assert publish(broker, "a", "x", *as_daemon(broker)) == 0


def test_a_client_that_says_nothing_is_cut_off_and_the_crowd_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_broker, "CONNECT_S", 0.3)
    monkeypatch.setattr(embedded_broker, "CONNECTIONS", 4)
    broker = EmbeddedBroker(EmbeddedSettings(port=0))
    broker.start()
    try:
        silent = [socket.create_connection(("127.0.0.1", broker.port), timeout=60) for _ in range(4)]
        time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", broker.port), timeout=60) as fifth:
            assert fifth.recv(1) == b""  # turned away at once
        assert [client.recv(1) for client in silent] == [b""] * 4
        for client in silent:
            client.close()
        time.sleep(0.05)
        assert publish(broker, "a", "x", *as_daemon(broker)) == 0
    finally:
        assert broker.stop()


def connect_packet(level: int, name: bytes = b"MQTT") -> bytes:
    body = len(name).to_bytes(2, "big") + name + bytes([level, 2, 0, 60]) + (b"\0" if level >= 5 else b"") + b"\0\3abc"
    return b"\x10" + bytes([len(body)]) + body


@pytest.mark.parametrize(
    ("level", "name", "answer"),
    [
        (5, b"MQTT", "20 03 00 84 00"),
        (6, b"MQTT", "20 03 00 84 00"),
        (3, b"MQIsdp", "20 02 00 01"),
        (3, b"MQTT", "20 02 00 01"),
        (4, b"MQTT", "20 02 00 00"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_a_client_of_another_version_is_refused_in_the_form_of_its_version(
    broker: EmbeddedBroker, level: int, name: bytes, answer: str, pieces: int
) -> None:
    packet = connect_packet(level, name)
    with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as client:
        for k in range(0, len(packet), max(1, len(packet) // pieces)):
            client.sendall(packet[k : k + max(1, len(packet) // pieces)])
            time.sleep(0.001)
        assert client.recv(100).hex(" ") == answer
        if level != 4:
            assert client.recv(100) == b""


@pytest.mark.one_of(2)
@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
    "packet",
    [
        connect_packet(5), connect_packet(4), connect_packet(3, b"MQIsdp"), b"", b"\x10", b"\x10\xff\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\x10\x0c\x00\x04MQTT", connect_packet(4, b"WXYZ"),
    ],
)  # fmt: skip
def test_a_client_that_leaves_before_its_answer_makes_no_traceback(
    broker: EmbeddedBroker, packet: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for linger in (b"\1\0\0\0\0\0\0\0", None):
        client = socket.create_connection(("127.0.0.1", broker.port))
        client.sendall(packet)
        if linger is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)  # a reset in place of an end
        client.close()
    time.sleep(0.3)
    assert [record.getMessage() for record in caplog.records if record.exc_info or record.name == "asyncio"] == []
    assert publish(broker, STATUS, "x", *as_daemon(broker)) == 0


@pytest.mark.parametrize("version", ["mqttv5", "mqttv31"])
def test_a_client_of_another_version_says_why_and_the_log_has_the_remedy(
    broker: EmbeddedBroker, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    program = require("mosquitto")["mosquitto_sub"]
    command = [program, "-p", str(broker.port), "-V", version, "-t", "#", "-W", "5"]
    done = subprocess.run(command, timeout=100, capture_output=True, text=True)
    assert done.returncode != 0
    assert "nsupported" in done.stderr or "unacceptable protocol version" in done.stderr
    end = time.monotonic() + 60.0  # the broker writes its line in a thread of its own
    while not any("choose 3.1.1 in it" in record.getMessage() for record in caplog.records):
        assert time.monotonic() < end
        time.sleep(0.02)
