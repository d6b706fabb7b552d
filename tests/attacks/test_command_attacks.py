"""Attacks on signed commands over MQTT: one line each, refused and counted; nothing is journalled or answered to a
sender without the key."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantd.adapters.bus.commands import signed
from quantd.risk.switch import RUN
from tests.server.requests.command_desk import KEY, TOPIC, Desk, desk

Payload = Callable[[Desk], bytes]


@dataclasses.dataclass(frozen=True)
class Attack:
    """A message on the command topic, and the fault with which it is refused."""

    name: str
    fault: str
    payload: Payload
    retained: bool = False


def altered(name: str, fault: str, **fields: Any) -> Attack:
    """A command of the key's holder with other fields and the old signature."""
    return Attack(name, fault, lambda d: json.dumps(json.loads(d.payload("halt")) | fields).encode())


def plain(name: str, fault: str, **sent: Any) -> Attack:
    """A signed command with unusual arguments."""
    return Attack(name, fault, lambda d: d.payload(sent.get("command", "flatten"), **without(sent)))


def without(sent: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sent.items() if key != "command"}


def text(name: str, fault: str, body: bytes) -> Attack:
    return Attack(name, fault, lambda _: body)


ATTACKS = (
    text("empty message", "form", b""),
    text("no JSON", "form", b"halt"),
    text("JSON without fields", "form", b"{}"),
    text("list of commands", "form", b"[[]]"),
    text("bytes that are not UTF-8", "form", b'{"id": "\xff\xfe"}'),
    text("nesting without an end", "form", b'{"v":' + b"[" * 3000),
    text("NaN as a number", "form", b'{"v": NaN}'),
    text("a megabyte", "size", b" " * 1_000_000),
    plain("signed with a guessed key", "signature", key="0" * 32),
    plain("signed with an empty key", "signature", key=""),
    plain("signed for another instance", "signature", topic="quantd/live/commands"),
    plain("signed for the topic of answers", "signature", topic=TOPIC + "/answer"),
    Attack(
        "command twice", "form", lambda d: d.payload("halt").replace(b'"command"', b'"command":"halt","command"', 1)
    ),
    altered("no signature", "signature", signature=""),
    altered("signature of zeros", "signature", signature="0" * 64),
    altered("signature that is no text", "form", signature=0),
    altered("another command", "signature", command="resume"),
    altered("another agent", "signature", agent="trend"),
    altered("another reason", "signature", reason="all is well"),
    altered("another sender", "signature", who="somebody"),
    altered("another id", "signature", id="command-99"),
    altered("a later end", "signature", expires=2**40),
    altered("a later time", "signature", ts=2**40),
    altered("another version", "signature", v=2),
    altered("a field more", "form", admin=True),
    altered("time that is no number", "form", ts="now"),
    altered("time below zero", "form", ts=-1),
    altered("time beyond whole numbers", "form", expires=2**60),
    altered("command that does not exist", "form", command="withdraw"),
    altered("order as a command", "form", command="buy"),
    altered("id with a path", "form", id="../../token"),
    altered("id of one character", "form", id="x"),
    altered("sender with control characters", "form", who="me\x1b[2J"),
    altered("reason with a line feed", "form", reason="ok\nresume"),
    altered("reason of 4,000 characters", "form", reason="x" * 3_000),
    altered("agent with a wildcard", "form", agent="#"),
    plain("expired an hour ago", "expired", ts=1),
    plain("of the future", "future", ts=2**40),
    plain("valid for a day", "too_long", for_s=86_400),
    plain("valid for no time", "too_long", for_s=0),
    plain("ends before it begins", "too_long", for_s=-30),
    Attack("retained by the broker", "retained", lambda d: d.payload("halt"), retained=True),
    plain("agent that does not exist", "not_done", command="halt", agent="nobody"),
    plain("all positions of one agent", "not_done", command="flatten", agent="trend"),
    plain("resume without a reason", "not_done", command="resume", reason=" "),
)


async def test_no_attack_changes_or_journals_anything(tmp_path: Path) -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 40
    async with desk(tmp_path) as d:
        wrong = {}
        for attack in ATTACKS:
            before = dict(d.refused)
            d.commands.received(attack.payload(d), attack.retained)
            refusals = {kind: count - before.get(kind, 0) for kind, count in d.refused.items()}
            if refusals[attack.fault] != 1 or sum(refusals.values()) != 1:
                wrong[attack.name] = refusals
        assert wrong == {}
        assert d.operators() == []
        assert d.switch == RUN
        answered = {answer["command"] for answer in d.answers}
        assert len(d.answers) == sum(attack.fault in ANSWERED for attack in ATTACKS), answered
        # the table would pass against a daemon that refuses everything
        d.commands.received(signed(KEY, TOPIC, "command-right", int(d.now()), "halt", who="me", reason="x"), False)
        assert (await d.committed()).command == "halt"


ANSWERED = ("expired", "future", "too_long", "not_done", "version", "repeated", "flood")
"""Faults of commands with a valid signature: their sender learns the reason."""
