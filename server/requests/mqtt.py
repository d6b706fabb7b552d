"""Signed operator commands over MQTT, when `[bus] commands` is on.

What can go wrong: a recorded command is sent again, also after a restart or a change of the clock. Each command is
verified, executed at most once and answered; the others are refused and counted.

Order: `halt` and `reduce` act as soon as they are verified, because a full disk must not delay a stop. The others act
after their id is on disk, so that no restart repeats one. A command that cannot be carried out is refused before its id
is stored. Where the stored ids are unreadable, everything that may have been executed before is refused.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from quantd.adapters.bus.commands import (
    AHEAD_S,
    SKEW_S,
    VERSION,
    BusAnswer,
    BusCommand,
    CommandRefused,
    Taken,
    authentic,
)
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.inbox import Command, Committed, InboxFull
from quantd.daemon.runtime.service import Service, is_stop
from quantd.daemon.views.overview import SWITCH
from quantd.regular_file import NotRead, read_regular, write_whole
from quantd.server.requests.acknowledgement import acknowledgement
from quantd.server.requests.control import NotDone, operator
from quantd.trading.events import Acknowledged, Operator

log = structlog.get_logger("quantd.commands")

FILE: Final = "commands.taken"
"""File in the state folder with the accepted commands."""

LOG_EVERY_S: Final = 10.0
"""Seconds between two log lines about one kind of refusal, so that a flood cannot fill the log."""

QUEUE: Final = 64
"""Maximum of accepted commands that are not yet on disk and answered."""

WAIT_S: Final = 10.0
"""Seconds to wait for the commit of a command."""


class MqttCommands:
    """Verifies the messages on the command topic of one instance; `service.bus_commands` counts the results."""

    def __init__(
        self,
        service: Service,
        key: str,
        topic: str,
        folder: Path,
        answer: Callable[[bytes], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`answer` publishes a payload on the answer topic."""
        self._service = service
        self._key = key
        self._topic = topic
        self._answer = answer
        self._now = now
        self._file = folder / FILE
        self._memory = _read(self._file, now())
        self._queue: asyncio.Queue[tuple[BusCommand, Command | None]] = asyncio.Queue(QUEUE)
        self._told: dict[str, tuple[float, int]] = {}

    def received(self, payload: bytes, retained: bool) -> None:
        """Accepts or refuses a message of the topic; returns at once and raises nothing."""
        try:
            command = authentic(self._key, self._topic, payload, retained=retained)
            self._memory.admit(command, self._now())
            done = None
            if self._queue.full():
                raise CommandRefused("flood", f"{QUEUE} commands are already queued; try again", command)
            if command.command in ("halt", "reduce"):
                done = self._act(command)
            else:
                self._event(command)  # an impossible command is refused before it is written to disk
        except CommandRefused as why:
            self._refuse(why)
            return
        # after the checks: a command that was refused may be sent again under its id
        self._memory.take(command)
        self._queue.put_nowait((command, done))

    async def run(self) -> None:
        """Writes accepted commands to disk, executes those that wait for it, and answers; runs until cancelled."""
        while True:
            command, outcome = await self._queue.get()
            # first the id, then the act: else a kill between them would let the next process take it again
            is_written = await asyncio.to_thread(_write, self._file, msgspec.json.encode(self._memory))
            try:
                if outcome is None:
                    if not is_written:
                        raise CommandRefused(
                            "not_done",
                            f"{self._file.name} in the state folder cannot be written; see the daemon's log",
                            command,
                        )
                    outcome = self._act(command)
                commit = await _carried_out(outcome)
                if (why := commit.refused) is not None:
                    raise CommandRefused("not_done", why.text, command)
            except TimeoutError:
                self._say(command, False, f"not committed within {WAIT_S:g} s and still queued; check `quantd status`")
            except CommandRefused as refused:
                self._refuse(refused)
            else:
                self._service.bus_commands["taken"] += 1
                log.warning("command.taken", command=command.command, who=command.who, reason=command.reason)
                later = "in force; it will be journalled once the store takes writes again"
                self._say(command, True, later if commit.unrecorded else "done", commit.answer)

    def _event(self, command: BusCommand) -> Operator | Acknowledged:
        c = command
        try:
            if c.command == "acknowledge":
                return acknowledgement(self._service, c.incident, c.reason, f"mqtt {c.who}")
            return operator(self._service, c.command, c.reason, f"mqtt {c.who}", c.agent)
        except NotDone as why:
            raise CommandRefused("not_done", str(why), c) from None

    def _act(self, command: BusCommand) -> Command:
        try:
            events = [self._event(command)]
            return self._service.inbox.commands(events, lambda state, _: _switch(state, command))[0]
        except InboxFull as why:
            raise CommandRefused("not_done", str(why), command) from None

    def _refuse(self, why: CommandRefused) -> None:
        self._service.bus_commands[why.fault] += 1
        last, unsaid = self._told.get(why.fault, (-LOG_EVERY_S, 0))
        now = time.monotonic()
        if now - last >= LOG_EVERY_S:
            self._told[why.fault] = (now, 0)
            log.warning("command.refused", fault=why.fault, text=str(why), more_since_the_last_line=unsaid)
        else:
            self._told[why.fault] = (last, unsaid + 1)
        if why.command is not None:
            self._say(why.command, False, str(why))

    def _say(self, command: BusCommand, done: bool, text: str, switch: object = None) -> None:
        """Answer a command; `switch` is the switch right behind it, or the present one where it was not carried out."""
        shown = str(switch or _switch(self._service.shell.state, command))
        answer = BusAnswer(VERSION, command.id, command.command, command.agent, done, text, shown)
        self._answer(msgspec.json.encode(answer))


async def _carried_out(command: Command) -> Committed[object]:
    """Return the outcome of a command. A stop is in force once it is stepped, committed or not. Raises TimeoutError."""
    try:
        async with asyncio.timeout(WAIT_S):
            return await asyncio.shield(command.done)
    except TimeoutError:
        if command.stepped is None or not is_stop(command):
            raise
        return replace(command.stepped, unrecorded="the store is slow")


def _switch(state: State, command: BusCommand) -> str:
    """The state of the switch that a command concerns."""
    return SWITCH[state.switch_of(command.agent if command.agent in state.rules.names() else "").state]


def _read(file: Path, now_s: float) -> Taken:
    """The commands accepted before. When the file is unreadable, every command made until now is refused."""
    try:
        return msgspec.json.decode(read_regular(file).data, type=Taken)
    except FileNotFoundError:
        return Taken()
    except (OSError, NotRead, msgspec.MsgspecError) as error:
        log.warning(
            "commands.forgotten", file=str(file), error=str(error), consequence="commands are refused for a minute"
        )
        return Taken(horizon=int(now_s) + AHEAD_S + SKEW_S)


def _write(file: Path, data: bytes) -> bool:
    """Writes the file; True when it is durable. On failure the old file stays."""
    try:
        write_whole(file, data, 0o600)
    except OSError as error:
        log.error("commands.not_written", file=str(file), error=str(error))
        return False
    return True
