"""Commands over MQTT: format, signature and replay protection. Pure.

Anyone with publish rights on a broker can send any message, and can replay recorded ones. A command is therefore signed
with a key known only to its sender and the daemon. Each command expires soon, names the instance of the daemon that it
is for, and is accepted once.
"""

import hmac
import re
from hashlib import sha256
from typing import Final, Literal

import msgspec
from msgspec import Struct

from quantd.adapters.json_text import decoded

VERSION: Final = 1

COMMANDS: Final = "commands"
"""Topic of commands below the topic of the instance, such as quantd/paper/commands."""

ANSWERS: Final = "commands/answer"
"""Topic of answers below the topic of the instance."""

MOST_BYTES: Final = 4_096
"""Maximum payload size; larger payloads are refused unread."""

AHEAD_S: Final = 60
"""Maximum seconds between `ts` and `expires`."""

SKEW_S: Final = 5
"""Tolerance for the sender's clock, in seconds in either direction."""

KEY_CHARS: Final = 32
"""Minimum key length: a short key that a person chooses can be guessed."""

REMEMBERED: Final = 1_000
"""Maximum number of accepted commands that have not expired; a further command is refused until the oldest has."""

Name = Literal["halt", "reduce", "resume", "flatten", "acknowledge"]
Fault = Literal[
    "size", "form", "retained", "signature", "version", "expired", "too_long", "future", "repeated", "flood", "not_done"
]
"""The reason for a refusal."""

_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_WHO: Final = re.compile(r"[^\s](.{0,62}[^\s])?")
_AGENT: Final = re.compile(r"[a-z0-9_-]{0,32}")


class BusCommand(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One command that is sent to the daemon over MQTT.

    `ts` and `expires` are whole seconds since 1970 (UTC). `agent` is empty for the house, the account as a whole.
    `incident` is the id of the incident to acknowledge, and empty for other commands. `signature` is the hex
    HMAC-SHA256 of the text that `canonical` returns.
    """

    v: int
    id: str
    ts: int
    expires: int
    command: Name
    reason: str
    who: str
    signature: str
    agent: str = ""
    incident: str = ""


class BusAnswer(Struct, frozen=True):
    """The result of a command with a valid signature. Commands without a valid signature are not answered."""

    v: int
    id: str
    command: str
    agent: str
    done: bool
    text: str
    switch: str


class CommandRefused(Exception):
    """A refused command. The field `command` is set only if the signature was valid."""

    def __init__(self, fault: Fault, text: str, command: BusCommand | None = None) -> None:
        super().__init__(text)
        self.fault = fault
        self.command = command


def canonical(topic: str, command: BusCommand) -> bytes:
    """Return the text that is signed: topic and every field but the signature, one per line.

    No field contains a line end, so that two different commands never have the same text.
    """
    c = command
    incident_line = (c.incident,) if c.command == "acknowledge" else ()
    return "\n".join(
        map(str, (topic, c.v, c.id, c.ts, c.expires, c.command, c.agent, c.reason, c.who, *incident_line))
    ).encode()


def signature(key: str, topic: str, command: BusCommand) -> str:
    """Return the hex HMAC-SHA256 of a command for one instance."""
    return hmac.new(key.encode(), canonical(topic, command), sha256).hexdigest()


def signed(
    key: str,
    topic: str,
    id: str,
    ts: int,
    name: Name,
    *,
    who: str,
    reason: str = "",
    agent: str = "",
    incident: str = "",
    for_s: int = 30,
) -> bytes:
    """Return the payload of a command, as `quantd halt --mqtt` sends it.

    `ts` is in seconds since 1970 (UTC); the command expires `for_s` seconds later. `agent` is empty for the whole
    account, `incident` for a command other than acknowledge.
    """
    # the empty text is replaced by the signature of the other fields
    unsigned = BusCommand(VERSION, id, ts, ts + for_s, name, reason, who, "", agent, incident)
    return msgspec.json.encode(msgspec.structs.replace(unsigned, signature=signature(key, topic, unsigned)))


def authentic(key: str, topic: str, payload: bytes, *, retained: bool = False) -> BusCommand:
    """Return the command in a payload, if the holder of the key signed it for this topic. Raises CommandRefused
    otherwise.

    Refused too are a retained message, a payload above MOST_BYTES bytes, a malformed command and another version.
    """
    if retained:
        raise CommandRefused(
            "retained", "a retained command would be carried out again at each connection; publish it without retain"
        )
    if len(payload) > MOST_BYTES:
        raise CommandRefused("size", f"the command has {len(payload)} bytes; the maximum is {MOST_BYTES}")
    try:
        command: BusCommand = decoded(payload, BusCommand)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        cause = "".join(c if c.isprintable() else "?" for c in str(error).replace("`", ""))
        raise CommandRefused("form", cause[:200]) from None
    acknowledges = command.command == "acknowledge"
    # before the signature: the signed text is unambiguous only for fields in their permitted form
    for name, fits in (
        ("id", _ID.fullmatch(command.id)),
        ("who", command.who.isprintable() and _WHO.fullmatch(command.who)),
        ("agent", _AGENT.fullmatch(command.agent)),
        ("reason", len(command.reason) <= 500 and command.reason.isprintable()),
        ("ts", 0 < command.ts < 2**53),
        ("expires", 0 < command.expires < 2**53),
        ("incident", _ID.fullmatch(command.incident) if acknowledges else not command.incident),
    ):
        if not fits:
            raise CommandRefused("form", f"{name} is not in its permitted form (docs/operate/switch.md)")
    if not hmac.compare_digest(signature(key, topic, command).encode(), command.signature.encode("utf-8", "replace")):
        raise CommandRefused(
            "signature", "the signature is wrong; sign with the secret mqtt_command_key of this instance"
        )
    if command.v != VERSION:
        raise CommandRefused("version", f"v = {command.v} is not supported; write v = {VERSION}", command)
    return command


class Taken(Struct):
    """The commands accepted so far: `ids` maps each command id to its expiry, and `horizon` is the latest expiry of the
    removed ids.

    A command that expires at or before `horizon` is refused, so that a clock that is set back revives no old command.
    The record is stored, and so survives a restart.
    """

    ids: dict[str, int] = {}
    horizon: int = 0

    def admit(self, command: BusCommand, now_s: float) -> None:
        """Raise CommandRefused for a command that is not new, not timely, or one too many in a minute.

        Times are in seconds since 1970 (UTC). `ids` has the accepted commands; `horizon` is the latest expiry of those
        that were removed from it.
        """
        expired_since_s, ahead_s = now_s - command.expires, command.ts - now_s
        if command.id in self.ids:
            raise CommandRefused("repeated", "the command was accepted already; each command needs a new id", command)
        if not 0 < command.expires - command.ts <= AHEAD_S:
            raise CommandRefused("too_long", f"expires must be 1 to {AHEAD_S} s after ts", command)
        if not ahead_s <= SKEW_S:
            raise CommandRefused(
                "future", f"ts is {ahead_s:.0f} s ahead of the daemon's clock; {SKEW_S} s are permitted", command
            )
        if not expired_since_s <= SKEW_S or command.expires <= self.horizon:
            raise CommandRefused("expired", f"it expired {expired_since_s:.0f} s ago by the daemon's clock", command)
        if len(self.forget(now_s).ids) >= REMEMBERED:
            raise CommandRefused(
                "flood", f"{REMEMBERED} commands were accepted within a minute; wait a minute", command
            )

    def forget(self, now_s: float) -> "Taken":
        """Return the record without the ids of expired commands. An expired command is refused for its time, so that
        its id is no longer needed."""
        expired_ids = [id for id, expires in self.ids.items() if expires + SKEW_S < now_s]
        for id in expired_ids:
            self.horizon = max(self.horizon, self.ids.pop(id))
        return self

    def take(self, command: BusCommand) -> None:
        self.ids[command.id] = command.expires
