"""The form of a command over MQTT: what is signed, what is refused and why, and that nothing is taken twice."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.bus.commands import (
    AHEAD_S,
    REMEMBERED,
    SKEW_S,
    BusCommand,
    CommandRefused,
    Taken,
    authentic,
    canonical,
    signature,
    signed,
)

KEY = "k" * 32
TOPIC = "quantd/paper/commands"
NOW = 1_720_000_000

lines = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=40).filter(
    str.isprintable
)
ids = st.from_regex(r"\A[A-Za-z0-9._-]{8,64}\Z")
names = st.sampled_from(["halt", "reduce", "resume", "flatten"])
commands = st.builds(
    BusCommand,
    v=st.just(1),
    id=ids,
    ts=st.integers(1, 2**52),
    expires=st.integers(1, 2**52),
    command=names,
    reason=lines,
    who=lines.filter(lambda w: 0 < len(w) == len(w.strip())),
    signature=st.just(""),
    agent=st.from_regex(r"\A[a-z0-9_-]{0,32}\Z"),
)


def payload(command: BusCommand, key: str = KEY, topic: str = TOPIC) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(command, signature=signature(key, topic, command)))


def halt(**other: object) -> BusCommand:
    fields = {"v": 1, "id": "id-00001", "ts": NOW, "expires": NOW + 30, "command": "halt", "reason": "why", "who": "me"}
    return BusCommand(**{**fields, "signature": "", **other})  # type: ignore[arg-type]


def fault(call: object, *arguments: object, **named: object) -> str:
    with pytest.raises(CommandRefused) as why:
        call(*arguments, **named)  # type: ignore[operator]
    return why.value.fault


@given(commands)
def test_what_was_signed_with_the_key_for_this_instance_is_what_is_read(command: BusCommand) -> None:
    read = authentic(KEY, TOPIC, payload(command))
    assert msgspec.structs.replace(read, signature="") == command


@given(commands, commands)
def test_no_two_commands_have_one_signed_text(one: BusCommand, other: BusCommand) -> None:
    assert (canonical(TOPIC, one) == canonical(TOPIC, other)) == (one == other)


@pytest.mark.parametrize(
    ("ts", "expires", "now", "expected"),
    [
        (0, AHEAD_S, 0, ""),
        (0, AHEAD_S + 1, 0, "too_long"),
        (0, 0, 0, "too_long"),
        (0, -1, 0, "too_long"),
        (0, 30, 30 + SKEW_S, ""),
        (0, 30, 30.001 + SKEW_S, "expired"),
        (0, 30, -SKEW_S, ""),
        (0, 30, -SKEW_S - 0.001, "future"),
    ],
)
def test_a_command_is_timely_between_its_two_ends_with_the_tolerance_for_clocks(
    ts: int, expires: int, now: float, expected: str
) -> None:
    command = halt(ts=NOW + ts, expires=NOW + expires)
    if expected:
        assert fault(Taken().admit, command, NOW + now) == expected
    else:
        Taken().admit(command, NOW + now)


@given(st.lists(st.integers(0, 5), min_size=3, max_size=20), st.data())
def test_no_command_is_taken_twice_however_the_clock_is_set_and_however_often_the_daemon_starts(
    clocks: list[int], data: st.DataObject
) -> None:
    halts = [halt(id=f"command-{k}", ts=NOW + 20 * k, expires=NOW + 20 * k + 10) for k in range(6)]
    memory, taken = Taken(), []
    for clock in clocks:
        if data.draw(st.booleans()):  # a restart
            memory = msgspec.json.decode(msgspec.json.encode(memory), type=Taken)
        for command in halts:
            try:
                memory.admit(command, NOW + 20.0 * clock)
            except CommandRefused:
                continue
            memory.take(command)
            taken.append(command.id)
    assert len(taken) == len(set(taken))


@given(st.lists(st.integers(0, 100), min_size=1, max_size=40))
def test_with_a_clock_that_goes_forward_every_new_timely_command_is_taken(gaps: list[int]) -> None:
    memory, now = Taken(), NOW
    for k, gap in enumerate(gaps):
        now += gap
        command = halt(id=f"command-{k}", ts=now - 20, expires=now + 1 + k % 30)
        memory.admit(command, now)
        memory.take(command)
        assert fault(memory.admit, command, now) == "repeated"


def test_more_commands_than_can_be_remembered_are_refused_until_the_oldest_have_expired() -> None:
    memory = Taken()
    for k in range(REMEMBERED):
        memory.admit(halt(id=f"command-{k}"), NOW)
        memory.take(halt(id=f"command-{k}"))
    assert fault(memory.admit, halt(id="one-too-many"), NOW) == "flood"
    later = NOW + 31 + SKEW_S
    memory.admit(halt(id="one-too-many", ts=later, expires=later + 30), later)
    assert memory.ids == {}


def test_the_sender_signs_what_the_daemon_reads() -> None:
    command = authentic(KEY, TOPIC, signed(KEY, TOPIC, "id-00001", NOW, "resume", who="me", reason="ü ok", agent="a"))
    assert (command.command, command.reason, command.agent, command.expires) == ("resume", "ü ok", "a", NOW + 30)
