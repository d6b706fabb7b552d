"""Signals of the operating system: stop, halt and reload of the configuration."""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from msgspec import Struct

from quantd.adapters.store.lock import holder
from quantd.daemon.assembly.parts import Parts, limits_of_config, parts_of
from quantd.daemon.config import Config, ConfigError, Mistake, applicable, digest
from quantd.daemon.monitoring.metrics import configure
from quantd.daemon.recovery.continuation import CLOSES, SCHEDULES, NotCarried, move, moves
from quantd.daemon.recovery.tightening import change_of_limits, limits_of, loosened
from quantd.daemon.runtime.alert_filter import filter_of
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service, reason_of
from quantd.regular_file import NotRead, read_regular, write_whole
from quantd.trading.events import Operator, Stopping
from quantd.trading.exit_codes import TRY_LATER, ExplainedError

log = structlog.get_logger("quantd")

ANSWER_S: Final = 60.0
"""Longest wait for a reload, in seconds: one that adds a symbol waits until no order is open."""


REPORT: Final = "reload.json"
"""File of the state folder with the `ReloadReport` of a daemon that handles SIGHUP; removed at its end."""


class ReloadReport(Struct, frozen=True):
    """The process that handles SIGHUP, when its last reload began to read (ns UTC), and where file and run differ."""

    pid: int
    began: int
    differs: list[str]


def _tell(service: Service, folder: Path, began: int) -> None:
    """Writes the report of a reload for the command that waits for it."""
    report = msgspec.json.encode(ReloadReport(os.getpid(), began, service.differs))
    try:
        write_whole(folder / REPORT, report, 0o600, durable=False)
    except OSError as error:  # the command reports that it has no answer; trading goes on
        log.error("reload.not_reported", why=str(error))


def reload_now(folder: Path) -> list[str]:
    """Has the daemon of a state folder read its configuration again; returns where the file then differs from the run.

    Raises NotReloaded where no daemon trades in the folder, and where it does not answer in time.
    """

    def report() -> ReloadReport | None:
        try:
            return msgspec.json.decode(read_regular(folder / REPORT).data, type=ReloadReport)
        except (OSError, NotRead, msgspec.DecodeError):
            return None

    newest, sent = report(), time.time_ns()
    if newest is None or holder(folder) != newest.pid:  # a signal would end a daemon that does not handle it yet
        raise NotReloaded(f"no daemon trades in the state folder {folder}: start one with `quantd run`")
    os.kill(newest.pid, signal.SIGHUP)
    while time.time_ns() < sent + int(ANSWER_S * 1e9):
        if (newest := report()) is not None and newest.began >= sent:
            return newest.differs
        time.sleep(0.05)
    raise NotReloaded(f"the daemon did not answer within {ANSWER_S:g} s; `quantd status` has what differs")


class NotReloaded(ExplainedError):
    """Whether a reload was carried out is not known, or no daemon is there to do it."""

    exit_code = TRY_LATER


class KillSignal:
    """Halts trading on SIGUSR1. During recovery a signal does not end the process, and takes effect afterwards."""

    def __init__(self) -> None:
        self._pulled = False
        self._service: Service | None = None

    def pull(self) -> None:
        """Halt trading now, or as soon as a service is attached."""
        self._pulled = True
        if self._service is not None:
            with contextlib.suppress(InboxFull):  # a full inbox has a halt in it already
                now = self._service.shell.state.now
                self._service.inbox.command(Operator(now, "halt", "SIGUSR1", "signal"))

    def attach(self, service: Service) -> None:
        """Connects the service, whose trading a signal can halt; an earlier signal takes effect now."""
        self._service = service
        if self._pulled:
            self.pull()


def handle_signals(
    service: Service, parts: Parts, read: Callable[[], Config], tasks: asyncio.TaskGroup, folder: Path
) -> None:
    """Sets the handlers: SIGTERM and SIGINT stop cleanly, SIGHUP reloads; `KillSignal` handles SIGUSR1.

    `read` reads the configuration again, and the report of that is in the state folder, `folder`. `on_stop` of [quantd]
    says whether a stop cancels the open orders.
    """
    loop = asyncio.get_running_loop()
    on_stop = service.config.quantd.on_stop

    def stop(name: str) -> None:
        cancel = on_stop == "cancel"
        with contextlib.suppress(InboxFull):
            service.inbox.command(Stopping(service.shell.state.now, cancel, name))

    loop.add_signal_handler(signal.SIGTERM, stop, "SIGTERM")
    loop.add_signal_handler(signal.SIGINT, stop, "Ctrl-C")

    async def reload_in_turn() -> None:
        async with service.reloading:  # else an older file that is read slowly could be applied after a newer one
            began = time.time_ns()
            await reloaded(service, read, parts)
            await asyncio.to_thread(_tell, service, folder, began)

    if any(incident.kind == f"job_{JOB}" for incident in service.incidents.active()):
        service.alert("the file was read at the start, and is in force", JOB, up=True)
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(reload_in_turn()))
    _tell(service, folder, time.time_ns())


async def reloaded(service: Service, read: Callable[[], Config], parts: Parts) -> None:
    """Reloads the configuration; when a file or a policy cannot be read, it raises an alert and nothing changes."""
    try:
        await reload(service, read, parts)
    except Exception as error:
        log.exception("reload.failed", config=service.config.source.file)
        differ(
            service, [f"{service.config.source.file} was not reloaded: {reason_of(error)}; nothing of it is in force"]
        )


class Granted(NamedTuple):
    """A change that an operator was granted: the path of its key, the operator and the reason, and the fields of `Act`
    of the request. A looser limit waits; `loosens` is whether the change has one."""

    path: tuple[str | int, ...]
    who: str
    reason: str
    loosens: bool
    act: Mapping[str, Any]


async def reload(
    service: Service, read: Callable[[], Config], parts: Parts, granted: Granted | None = None
) -> list[Mistake]:
    """Reads the configuration again and applies the keys that may change; returns the mistakes.

    A key that may not change holds up no other one. The file and the run then differ, which `differ` tells.

    On a live market, a new universe or new agents cause a carry-over of the account and a restart of the program. New
    closed dates cause a restart too, because feed, venue and engine each hold the calendar; so does a schedule that is
    switched on or off. A key that is `granted` may become looser.
    """
    merged: Config | None = None
    try:
        new = await asyncio.to_thread(read)
        # a recorded market goes on from a later start: from its own it would repeat what was traded
        if moves(parts, new) and (parts.live or new.feed.start != service.config.feed.start):
            into = await asyncio.to_thread(parts_of, new, time.time_ns(), isolation=parts.isolation)
            if not into.live and into.start_ns <= service.shell.ts:
                raise NotCarried(f"[feed] start = {new.feed.start} is before the market time; set a later date")
            if mistakes := loosened(limits_of(service.shell.state), into.rules, new):  # they would stop its start
                raise ConfigError(mistakes)
            await move(service, into)
            differ(service, [])
            return []
        path = granted.path if granted is not None else ()
        merged, changed, mistakes = applicable(service.config, new, () if parts.live else CLOSED, path)
        if mistakes and "universe.closed" in changed:  # its restart would read the refused keys too
            merged, changed, mistakes = applicable(service.config, new, CLOSED)
    except ConfigError as error:
        mistakes, changed = error.mistakes, ()
    except NotCarried as error:
        mistakes, changed = [new.source.mistake(("universe",), f"cannot change now: {error}")], ()
    for mistake in mistakes:
        log.error("reload.refused", mistake=str(mistake))
    differ(service, [str(mistake) for mistake in mistakes])
    restarts = [key for key in changed if key in CLOSED or SWITCHED.fullmatch(key)]
    if changed and merged is not None and (granted is not None or not restarts):
        service.config = merged
        configure(merged.log.level.upper(), merged.log.format, instance=merged.quantd.name)  # type: ignore[arg-type]
        service.choose_alerts(filter_of(merged.alerts))
        state = service.shell.state
        rules, config = limits_of_config(parts, merged), digest(merged)
        event = change_of_limits(state, rules, state.now, config, changed, limits_of(state), granted is not None)
        if event.later and (granted is None or granted.loosens):
            who = "" if granted is None else granted.who
            event = msgspec.structs.replace(event, who=who, asked_ns=time.time_ns())
        if granted is not None:
            by = tuple(f"{key} by {granted.who}: {granted.reason}" for key in changed)
            event = msgspec.structs.replace(event, changed=by, **granted.act)
        await service.inbox.command(event)
        log.info("reloaded", changed=list(changed))
    if restarts:
        log.info("restarts", changed=restarts)
        # False: orders at the venue are not cancelled
        service.inbox.command(Stopping(service.shell.state.now, False, CLOSES if restarts == [*CLOSED] else SCHEDULES))
    elif not changed and mistakes and merged is not None:
        service.config = merged  # the same values, with the lines that are not in force
    return list(mistakes)


CLOSED: Final = ("universe.closed",)

SWITCHED: Final = re.compile(r"schedules\.\d+\.enabled")
"""Keys that switch a schedule on or off."""

JOB: Final = "config"
"""Name in the alerts about a file that differs from the run, `job_config`."""

MOST_TOLD: Final = 3
"""Differences in the text of the alert; `quantd status` has all."""


def differ(service: Service, found: list[str]) -> None:
    """Tells where the file and the run differ: a WARNING `job_config`, open until they agree."""
    before, service.differs = service.differs, found
    if found and found != before:
        more = f"; and {len(found) - MOST_TOLD} more in `quantd status`" if len(found) > MOST_TOLD else ""
        service.alert(f"the file differs from the run: {'; '.join(found[:MOST_TOLD])}{more}", JOB)
    elif before and not found:
        service.alert("the file and the run agree", JOB, up=True)
