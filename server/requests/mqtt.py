"""Signed operator commands over MQTT, when `[bus] commands` is on.

What can go wrong: somebody records a command and sends it again, perhaps after a restart or a change of the clock. So
each command is verified, executed at most once, and answered. All other messages are refused and counted.

Order: `halt` and `reduce` act as soon as they are verified, because a full disk must not delay a stop. Every other
command acts after its id is on disk, so that no restart repeats it. A command that cannot be carried out is refused
before its id is stored. If the stored ids are unreadable, every command that may have been executed already is refused.
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
"""Most accepted commands that wait to be written and answered."""

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
        """`answer` publishes the bytes of an answer on the answer topic of the instance. `key` verifies commands and
        `now` is the wall clock in s. The ids of earlier commands are read from a file in `folder`."""
        self._service = service
        self._key = key
        self._topic = topic
        self._answer = answer
        self._now = now
        self._file = folder / FILE
        self._memory = _read(self._file, now())
        self._queue: asyncio.Queue[tuple[BusCommand, Command | None]] = asyncio.Queue(QUEUE)
        self._logged: dict[str, tuple[float, int]] = {}

    def received(self, payload: bytes, retained: bool) -> None:
        """Accept or refuse a message of the command topic, at once; the method raises no error."""
        try:
            command = authentic(self._key, self._topic, payload, retained=retained)
            self._memory.admit(command, self._now())
            queued = None
            if self._queue.full():
                raise CommandRefused("flood", f"{QUEUE} commands are already queued; try again", command)
            if command.command in ("halt", "reduce"):
                queued = self._queue_event(command)
            else:
                self._event(command)  # an impossible command is refused before it is written to disk
        except CommandRefused as why:
            self._refuse(why)
            return
        # only now is its id used up: a refused command may be sent again with the same id
        self._memory.take(command)
        self._queue.put_nowait((command, queued))

    async def run(self) -> None:
        """Write accepted commands to disk, execute all but halts and reduces, and answer; run until cancelled.

        Halts and reduces were executed when they arrived. An answer says whether the command was done.
        """
        while True:
            command, outcome = await self._queue.get()
            # the id is written before the command acts: after a kill in between, the next process refuses it
            is_written = await asyncio.to_thread(_write, self._file, msgspec.json.encode(self._memory))
            try:
                if outcome is None:
                    if not is_written:
                        raise CommandRefused(
                            "not_done",
                            f"{self._file.name} in the state folder cannot be written; see the daemon's log",
                            command,
                        )
                    outcome = self._queue_event(command)
                commit = await _carried_out(outcome)
                if (why := commit.refused) is not None:
                    raise CommandRefused("not_done", why.text, command)
            except TimeoutError:
                self._respond(
                    command, False, f"not committed within {WAIT_S:g} s and still queued; check `quantd status`"
                )
            except CommandRefused as refused:
                self._refuse(refused)
            else:
                self._service.bus_commands["taken"] += 1
                log.warning("command.taken", command=command.command, who=command.who, reason=command.reason)
                unrecorded_text = "in force; it will be journalled once the store takes writes again"
                self._respond(command, True, unrecorded_text if commit.unrecorded else "done", commit.answer)

    def _event(self, command: BusCommand) -> Operator | Acknowledged:
        """The event of a command. Raises CommandRefused for a command that cannot be carried out."""
        c = command
        try:
            if c.command == "acknowledge":
                return acknowledgement(self._service, c.incident, c.reason, f"mqtt {c.who}")
            return operator(self._service, c.command, c.reason, f"mqtt {c.who}", c.agent)
        except NotDone as why:
            raise CommandRefused("not_done", str(why), c) from None

    def _queue_event(self, command: BusCommand) -> Command:
        """Queue the event of a command for the engine. Raises CommandRefused."""
        try:
            events = [self._event(command)]
            return self._service.inbox.commands(events, lambda state, _: _switch_name(state, command))[0]
        except InboxFull as why:
            raise CommandRefused("not_done", str(why), command) from None

    def _refuse(self, why: CommandRefused) -> None:
        """Count a refusal, answer it if its sender is verified, and log it at most once in LOG_EVERY_S per fault."""
        self._service.bus_commands[why.fault] += 1
        last_s, unlogged = self._logged.get(why.fault, (-LOG_EVERY_S, 0))
        now_s = time.monotonic()
        if now_s - last_s >= LOG_EVERY_S:
            self._logged[why.fault] = (now_s, 0)
            log.warning("command.refused", fault=why.fault, text=str(why), more_since_the_last_line=unlogged)
        else:
            self._logged[why.fault] = (last_s, unlogged + 1)
        if why.command is not None:
            self._respond(why.command, False, str(why))

    def _respond(self, command: BusCommand, done: bool, text: str, switch: object = None) -> None:
        """Answer a command over MQTT: whether it was `done`, and a `text` for its sender.

        `switch` is the state of the trading switch immediately after the command; None stands for its present state.
        """
        switch_name = str(switch or _switch_name(self._service.shell.state, command))
        answer = BusAnswer(VERSION, command.id, command.command, command.agent, done, text, switch_name)
        self._answer(msgspec.json.encode(answer))


async def _carried_out(command: Command) -> Committed[object]:
    """Wait for the commit of a command, and return its outcome.

    After WAIT_S seconds without a commit, the outcome of a halt or reduce that the engine has handled is returned as
    unrecorded. For any other command TimeoutError is raised.
    """
    try:
        async with asyncio.timeout(WAIT_S):
            return await asyncio.shield(command.done)
    except TimeoutError:
        if command.stepped is None or not is_stop(command):
            raise
        return replace(command.stepped, unrecorded="the store is slow")


def _switch_name(state: State, command: BusCommand) -> str:
    return SWITCH[state.switch_of(command.agent if command.agent in state.rules.names() else "").state]


def _read(file: Path, now_s: float) -> Taken:
    """The commands that were accepted earlier, so that none is executed twice; none without a file.

    If the file is unreadable, every command that expires within about a minute of `now_s` is refused, because any of
    them may have been executed.
    """
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
    """Write the file; True when it is durable. On a failure the old file remains."""
    try:
        write_whole(file, data, 0o600)
    except OSError as error:
        log.error("commands.not_written", file=str(file), error=str(error))
        return False
    return True
