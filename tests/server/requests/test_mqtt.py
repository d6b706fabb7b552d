"""Commands over MQTT in a running service: acted on at once, once, and answered; everything else is refused and
counted."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from quantd.adapters.bus.commands import AHEAD_S, signed
from quantd.adapters.bus.embedded_broker import EmbeddedBroker
from quantd.adapters.bus.embedded_settings import EmbeddedSettings
from quantd.adapters.bus.publisher import Listen, MqttBus
from quantd.adapters.bus.settings import MqttSettings
from quantd.daemon.cli.failures import Failure
from quantd.risk.switch import HALT, REDUCE, RUN
from quantd.server.cli.operate import remote
from quantd.server.requests.mqtt import FILE, MqttCommands
from quantd.trading.events import Condition, Operator
from tests.server.api.shut_store import before
from tests.server.requests.command_desk import KEY, TOPIC, Desk, desk
from tests.support.command_line import CONFIG, ROOT, environment, quantd, write
from tests.support.mqtt import MemoryOutbox, Mosquitto, Subscriber, until
from tests.support.services import require


@pytest.fixture(autouse=True)
def _no_subscriber_outlives_its_test() -> Iterator[None]:
    yield
    Subscriber.close_all()


async def test_each_command_moves_the_switch_and_is_answered_and_is_in_the_journal(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for count, (name, state) in enumerate(
            [("reduce", REDUCE), ("halt", HALT), ("resume", RUN), ("flatten", HALT), ("resume", RUN)], 1
        ):
            answer = await d.said(name, f"number {count}")  # type: ignore[arg-type]
            assert (answer["done"], answer["id"]) == (True, f"command-{count}")
            assert d.switch == state
            assert answer["switch"] == ("RUN", "REDUCE", "HALT")[state]
        assert [(o.command, o.reason, o.who) for o in d.operators()] == [
            (name, f"number {k}", "mqtt me")
            for k, name in enumerate(["reduce", "halt", "resume", "flatten", "resume"], 1)
        ]
        assert d.service.bus_commands == {"taken": 5}


async def test_an_agent_alone_is_halted_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        assert (await d.said("halt", agent="trend"))["switch"] == "HALT"
        assert d.switch == RUN
        answer = await d.said("halt", agent="trendy")
        assert not answer["done"]
        assert "even, trend" in answer["text"]


async def test_resuming_over_the_bus_needs_a_reason_and_no_file_halt(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.said("halt")
        assert "has no reason" in (await d.said("resume", ""))["text"]
        d.service.halt_file.touch()
        assert "remove it" in (await d.said("resume", "well"))["text"]
        d.service.halt_file.unlink()
        assert d.switch == HALT
        assert d.refused == {"not_done": 2}


async def test_a_command_that_the_engine_refuses_is_answered_as_not_done(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.said("halt")
        before(d, Operator, lambda event: [Condition(event.ts, "broker", False, "no answer")])  # behind the checks
        answer = await d.said("resume", "well")
        assert (answer["done"], answer["text"], answer["switch"]) == (False, "not resumed: broker still down", "HALT")
        assert d.refused == {"not_done": 1}


async def test_a_command_sent_again_is_refused_also_by_the_next_start_and_after_the_clock_went_back(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as d:
        resume = d.payload("resume", "once")
        d.commands.received(d.payload("halt"), False)
        d.commands.received(resume, False)
        await d.answered(2)
        assert d.switch == RUN
        d.commands.received(d.payload("halt"), False)
        d.commands.received(resume, False)
        await d.answered(4)
        assert d.switch == HALT
        assert d.refused == {"repeated": 1}
        again = MqttCommands(d.service, KEY, TOPIC, d.world.folder, lambda _: None)
        again.received(resume, False)
        assert d.refused == {"repeated": 2}
        # much later it has been forgotten, and a clock that is set back brings it to life nowhere
        d.now = lambda: time.time() + 3600
        await d.said("reduce")
        d.now = time.time
        d.commands.received(resume, False)
        assert d.refused["expired"] == 1
        assert d.switch == HALT


async def test_a_memory_that_cannot_be_read_refuses_what_may_have_been_taken_and_nothing_later(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        (d.world.folder / FILE).write_bytes(b"{half")
        fresh = MqttCommands(d.service, KEY, TOPIC, d.world.folder, lambda _: None, lambda: d.now())
        fresh.received(d.payload("halt"), False)
        assert d.refused == {"expired": 1}
        assert d.switch == RUN
        d.now = lambda: time.time() + AHEAD_S + 10
        fresh.received(d.payload("halt"), False)
        await until(lambda: d.switch == HALT, "halt")


async def test_what_cannot_be_written_down_is_not_done_but_a_halt_is(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        (d.world.folder / FILE).unlink(missing_ok=True)
        (d.world.folder / FILE).mkdir()
        await d.said("halt")
        assert d.switch == HALT
        answer = await d.said("resume")
        assert not answer["done"]
        assert d.switch == HALT


def hostile(rng: random.Random, valid: bytes) -> bytes:
    """A payload that nobody who has the key made."""
    kind = rng.randrange(7)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    if kind == 1:  # a bit
        at = rng.randrange(len(valid))
        return valid[:at] + bytes([valid[at] ^ (1 << rng.randrange(8))]) + valid[at + 1 :]
    if kind == 2:  # cut off, or more behind it
        return valid[: rng.randrange(len(valid))] if rng.random() < 0.5 else valid + rng.randbytes(3)
    fields = json.loads(valid)
    if kind == 3:  # another value
        values = [None, True, -1, 0, 1e308, "", "x" * 300, [], {}, "halt", "resume", 2**80, "\x00", "é\n"]
        fields[rng.choice(list(fields))] = rng.choice(values)
        if fields == json.loads(valid):
            fields["id"] = "other-id"
    elif kind == 4:  # a field less, or more
        if rng.random() < 0.5:
            del fields[rng.choice([k for k in fields if k != "agent"])]
        else:
            fields[rng.choice(["admin", "__class__", "V", "topic"])] = 1
    elif kind == 5:  # signed with a guess
        return signed(rng.randbytes(16).hex(), TOPIC, "id-guessed", fields["ts"], "flatten", who="me", reason="x")
    else:  # later, with the same signature
        fields |= {"ts": fields["ts"] + rng.randint(1, 50), "id": f"id-{rng.random()}"}
    return json.dumps(fields).encode()


async def test_a_thousand_hostile_payloads_are_never_acted_on_and_fill_no_log(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        rng = random.Random(5)
        valid = d.payload("halt")
        with capture_logs() as logs:
            for _ in range(1000):
                d.commands.received(hostile(rng, valid), rng.random() < 0.02)
        await asyncio.sleep(0.3)
        assert d.operators() == []
        assert d.switch == RUN
        assert sum(d.refused.values()) == 1000
        assert d.refused["signature"] > 100
        assert d.refused["form"] > 100
        assert len([e for e in logs if e["event"] == "command.refused"]) <= 10
        assert d.answers == []  # who has no key is told nothing
        d.commands.received(valid, False)  # none of these was the real one
        await until(lambda: d.switch == HALT, "halt")


async def test_a_flood_of_right_commands_is_bounded(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for _ in range(200):
            d.commands.received(d.payload("resume"), False)
        await d.answered(200)
        assert d.refused["flood"] >= 100
        d.commands.received(d.payload("halt"), False)
        await until(lambda: d.switch == HALT, "halt")


@pytest.mark.parametrize(
    ("key", "said"), [({}, "is not given"), ({"QUANTD_MQTT_COMMAND_KEY": "short"}, "5 characters")]
)
def test_a_run_without_a_fit_key_ends_with_78_the_line_and_the_remedy(
    tmp_path: Path, key: dict[str, str], said: str
) -> None:
    write(tmp_path, CONFIG.replace("[bus]", "[bus]\ncommands = true"))
    done = quantd(tmp_path, "run", "--quiet", env=key)
    assert done.returncode == 78
    for part in ("config.toml:", "[bus] commands", said, "mqtt_command_key", "openssl rand -hex 32"):
        assert part in done.stderr
    assert not (tmp_path / "state" / "quantd.db").exists()


# over real brokers


@asynccontextmanager
async def over(folder: Path, place: MqttSettings) -> AsyncIterator[Desk]:
    """A desk whose commands come from a broker."""
    async with desk(folder) as d:
        bus = MqttBus(place, MemoryOutbox(), "quantd/paper/status", b"offline")
        bus.listen = Listen(TOPIC, d.commands.received)
        d.commands._answer = lambda payload: bus.transient("quantd/paper/commands/answer", payload)
        running = asyncio.create_task(bus.run())
        await until(lambda: bus.online, "connection")
        await asyncio.sleep(0.1)
        try:
            yield d
        finally:
            bus.stop(b"stopped")
            await running


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker").start()
    yield broker
    broker.stop()


def publish(port: int, topic: str, payload: bytes, *more: str) -> None:
    program = require("mosquitto")["mosquitto_pub"]
    command = [program, "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-t", topic, "-s", *more]
    subprocess.run(command, input=payload, timeout=10, check=False)


def cli(folder: Path, port: int, *arguments: str) -> tuple[int, str]:
    """`quantd … --mqtt`, with the key in its environment, in a folder without a configuration."""
    done = subprocess.run(
        [sys.executable, "-m", "quantd.daemon.cli", *arguments, "--mqtt", f"mqtt://127.0.0.1:{port}/quantd/paper"],
        cwd=folder,
        env=environment() | {"QUANTD_MQTT_COMMAND_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.long
async def test_commands_arrive_over_mosquitto_from_its_own_client_and_from_the_command_line(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    (tmp_path / "elsewhere").mkdir()
    async with over(tmp_path, MqttSettings("127.0.0.1", mosquitto.port)) as d:
        await asyncio.to_thread(publish, mosquitto.port, TOPIC, d.payload("halt"))
        await until(lambda: d.switch == HALT, "halt")
        code, said = await asyncio.to_thread(
            cli, tmp_path / "elsewhere", mosquitto.port, "resume", "--reason", "looked at it"
        )
        assert (code, d.switch) == (0, RUN), said
        assert "switch RUN" in said
        code, said = await asyncio.to_thread(cli, tmp_path / "elsewhere", mosquitto.port, "halt", "-a", "trendy")
        assert code == 1
        assert "even, trend" in said
        await asyncio.to_thread(publish, mosquitto.port, TOPIC, d.payload("halt"), "-r")
        await until(lambda: d.switch == HALT, "with MQTT 3.1.1 the broker delivers it without its flag")


@pytest.mark.long
async def test_the_lines_of_python_in_the_docs_halt_a_daemon(tmp_path: Path, mosquitto: Mosquitto) -> None:
    text = (ROOT / "docs/operate/switch.md").read_text()
    code = text.split("```python\n")[1].split("```")[0].replace('"1883"', f'"{mosquitto.port}"')
    folder = Path(mosquitto.programs["mosquitto_pub"]).parent
    environ = environment() | {"QUANTD_MQTT_COMMAND_KEY": KEY, "PATH": f"{folder}:{os.environ['PATH']}"}
    async with over(tmp_path, MqttSettings("127.0.0.1", mosquitto.port)) as d:
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], env=environ, check=True, timeout=20)
        assert (await d.committed()).reason == "the phone rang"
        assert d.switch == HALT


@pytest.mark.long
async def test_with_mqtt_5_a_retained_command_is_refused_at_once_and_again_after_the_broker_was_away(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with over(tmp_path, MqttSettings("127.0.0.1", mosquitto.port, protocol="5")) as d:
        await asyncio.to_thread(publish, mosquitto.port, TOPIC, d.payload("halt"), "-r")
        await until(lambda: d.refused == {"retained": 1}, "refusal of a live one")
        mosquitto.stop()
        mosquitto.start()
        await until(lambda: d.refused == {"retained": 2}, "refusal of the stored one")
        assert d.switch == RUN
        await asyncio.to_thread(publish, mosquitto.port, TOPIC, d.payload("halt"))
        await until(lambda: d.switch == HALT, "a command that is not retained")


@asynccontextmanager
async def embedded(folder: Path, settings: EmbeddedSettings) -> AsyncIterator[tuple[Desk, int]]:
    """A desk whose commands come from an embedded broker, and the port of that."""
    broker = EmbeddedBroker(settings)
    await asyncio.to_thread(broker.start)
    username, password = broker.publisher
    try:
        async with over(folder, MqttSettings("127.0.0.1", broker.port, username=username, password=password)) as d:
            yield d, broker.port
    finally:
        await asyncio.to_thread(broker.stop)


@pytest.mark.long
async def test_the_embedded_broker_lets_commands_in_and_nothing_else(tmp_path: Path) -> None:
    async with embedded(tmp_path, EmbeddedSettings(port=0, open_topic=TOPIC)) as (d, port):
        other = Subscriber(require("mosquitto")["mosquitto_sub"], port, tmp_path, "-t", "quantd/#")
        for topic in ("quantd/paper/status", "quantd/paper/commands/answer", "quantd/paper/commandsx", "x"):
            await asyncio.to_thread(publish, port, topic, b"forged")
        code, said = await asyncio.to_thread(cli, tmp_path, port, "halt", "--reason", "embedded")
        assert (code, d.switch) == (0, HALT), said
        await until(lambda: len(other.lines()) >= 2, "command and answer")
        assert {topic for topic, _ in other.lines()} == {TOPIC, f"{TOPIC}/answer"}
        assert "forged" not in str(other.lines())


@pytest.mark.long
async def test_the_embedded_broker_lets_no_command_in_unless_it_is_told_to(tmp_path: Path) -> None:
    async with embedded(tmp_path, EmbeddedSettings(port=0)) as (d, port):
        await asyncio.to_thread(publish, port, TOPIC, d.payload("halt"))
        await asyncio.sleep(0.3)
        assert d.switch == RUN
        assert d.service.bus_commands == {}


@pytest.mark.long
def test_a_command_to_a_broker_where_no_daemon_listens_is_not_known_to_have_worked(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_S", 0.3)
    monkeypatch.setenv("QUANTD_MQTT_COMMAND_KEY", KEY)
    url = f"mqtt://127.0.0.1:{mosquitto.port}/quantd/paper"
    with pytest.raises(Failure, match="is not known") as why:
        remote.command(tmp_path / "config.toml", url, "halt", reason="", agent="", as_json=False)
    assert why.value.exit_code == 75
    mosquitto.stop()
    with pytest.raises(Failure, match="did not take the command") as why:
        remote.command(tmp_path / "config.toml", url, "halt", reason="", agent="", as_json=False)
    assert why.value.exit_code == 75


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://host/site/desk", ("host", 1883, False, "site/desk")),
        ("mqtts://host:8884/quantd/live", ("host", 8884, True, "quantd/live")),
        ("mqtt://host", ("host", 1883, False, "desk/paper")),
        ("mqtt://host/", ("host", 1883, False, "desk/paper")),
    ],
)
def test_the_address_of_a_command_names_broker_and_instance(
    tmp_path: Path, url: str, expected: tuple[str, int, bool, str]
) -> None:
    config = write(tmp_path, CONFIG.replace("[bus]", '[bus]\nprefix = "desk"'))
    assert remote.place(url, config) == expected


@pytest.mark.parametrize(
    "url", ["host", "mqtt://host/quantd/+", "http://host/x", "mqtt://", "mqtt://me:pw@host/x", "mqtt://host:x/y"]
)
def test_what_is_no_address_of_a_command_is_refused_with_its_shape(tmp_path: Path, url: str) -> None:
    with pytest.raises(Failure, match="--mqtt") as why:
        remote.place(url, tmp_path / "none.toml")
    assert why.value.exit_code == 2
    assert "''" not in str(why.value)


async def test_an_incident_is_acknowledged_over_mqtt_once_and_its_id_is_signed(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.service.inbox.command(Condition(d.service.shell.state.now, "feed", False, "of the test"))
        (feed,) = [incident for incident in d.service.incidents.active() if incident.kind == "feed"]
        assert (await d.said("acknowledge", incident=feed.id))["done"]
        seen = d.service.incidents.find(feed.id)
        assert seen is not None
        assert (seen.state, seen.who) == ("acknowledged", "mqtt me")
        assert "acknowledged already" in (await d.said("acknowledge", incident=feed.id))["text"]
        assert "no incident" in (await d.said("acknowledge", incident="run-9-9-9"))["text"]
        other = json.loads(d.payload("acknowledge", incident="run-1-1-1")) | {"incident": feed.id}
        d.commands.received(json.dumps(other).encode(), False)
        d.commands.received(d.payload("halt", incident=feed.id), False)
        assert (d.refused["signature"], d.refused["form"]) == (1, 1)
