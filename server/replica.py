"""Serves the page and the reads of a run that another process trades.

The run is replayed from its store, which is opened for reading. No lock is taken and nothing is written to the store,
so any number of instances may run beside the trading daemon.

What can go wrong: an instance shows figures that differ from the trading daemon's, or shows old figures as present
ones. So a replay that differs from the record ends the instance; the remedy is the trading daemon's version and
configuration. The instance checks regularly whether the trading daemon answers and when it committed last. An answer of
another read-only instance at the trading daemon's address does not count.

A replay continues from the state after the last replay, if that replay had all events of its last instant. Otherwise a
replay begins at the newest snapshot of the store. After a replay the instance pauses for REST times the duration of the
replay.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast, get_args

import msgspec
import structlog
from yarl import URL

from quantd.adapters.store.handle import Store, read_only
from quantd.adapters.store.incidents.incident_fold import Incidents
from quantd.adapters.store.journal.job_runs import JobRun
from quantd.adapters.store.journal.records import Records
from quantd.adapters.store.lock import FILE, HEAD
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreError
from quantd.adapters.store.tables.projection import Projection
from quantd.daemon.assembly.parts import Parts, as_recorded, parts_of
from quantd.daemon.config import Config, store_url
from quantd.daemon.monitoring import systemd
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.recovery.replay import ConfigLost, first_start, newest_snapshot, refold
from quantd.daemon.recovery.stored_run import CannotStart
from quantd.daemon.runtime.alert_filter import AlertFilter
from quantd.daemon.runtime.journal import Journal, RecordTooLong, ReplayDifference
from quantd.daemon.runtime.leader import LeaderNow, leader_of
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.recent_history import Histories
from quantd.daemon.runtime.service import RECENT_ALERTS, Service
from quantd.server.api.client_side.transport import Address, exchange
from quantd.server.api.place import place_in, trusting
from quantd.server.api.server import Api
from quantd.trading.effects import Level, Publish
from quantd.trading.exit_codes import CHECK_FAILED, TRY_LATER

LOOK_S: Final = 1.0
"""Seconds between two looks at the journal and at the trading daemon."""

REST: Final = 4.0
"""Rest after a replay, as a multiple of its time: an instance takes at most a fifth of a core."""

ANSWER_S: Final = 2.0
"""Seconds within which the trading daemon answers, or is gone."""

DIFFERS: Final = (ReplayDifference, RecordTooLong, ConfigLost)
"""Errors of a replay that cannot repeat the record; they end the instance."""

GONE: Final = "leader gone"
"""Status of an instance whose trading daemon does not answer."""

_LEVELS: Final = get_args(Level)

log = structlog.get_logger("quantd.replica")


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay up to the journal's newest entry: state, histories, incidents and the latest alerts."""

    shell: Shell
    journal: Journal
    histories: Histories
    incidents: Incidents
    recent: list[Publish]


class StoredJobs:
    """The runs of jobs in the store."""

    def __init__(self, records: Records, run: str) -> None:
        self._records, self._run = records, run

    def runs(self) -> list[JobRun]:
        """All stored runs of jobs, the newest first."""
        return sorted(self._records.job_runs(self._run), key=lambda run: -run.id)

    def get(self, id: int) -> JobRun | None:
        """The run of a job by its id; None where there is none."""
        return next((run for run in self._records.job_runs(self._run) if run.id == id), None)


class Replica:
    """A read-only copy of the run of a state folder, replayed again as its journal grows."""

    def __init__(self, config: Config, folder: Path, leader: str = "") -> None:
        """`leader` is the URL of the trading daemon; empty means the address in `api.json`.

        Raises CannotStart without a run in the store, and for a run that cannot be replayed.
        """
        self.folder, self._address = folder, leader
        self._seen_ns = 0
        """When the journal was last seen to have grown."""
        where: str | Path = store_url(config.store.url) or folder
        try:
            self._records = read_only(where, folder)
            self._reader = Reader.open(where)
        except StoreError as why:
            raise CannotStart(f"{why}. A read-only instance shows a run that `quantd run` has begun.") from None
        self._run = self._reader.run.run
        self._parts: Parts = parts_of(config, time.time_ns(), cache=folder / "cache", isolation=Apart(folder))
        if (first := first_start(self._records, self._run)) is not None:
            self._parts = as_recorded(self._parts, first.feed)
        self._seq = -1
        self._resume_at: tuple[int, bytes] | None = None
        """(Number of the last replayed entry, snapshot after it), where the next replay begins; None: a stored one."""
        replayed = self._replay()
        self.service = self._service(config, replayed)
        self.jobs = StoredJobs(self._records, self._run)
        self._show(replayed)

    @property
    def parts(self) -> Parts:
        """The components of the run, with the recorded market of its first start."""
        return self._parts

    def _replay(self) -> Replayed:
        """Replay the run: from the end of the last replay, or from the newest snapshot of the store.

        Raises CannotStart for a replay that differs from the record, and StoreError while the store cannot be read.
        """
        try:
            seq, snapshot = self._resume_at or newest_snapshot(self._records, self._run)
            shell, journal = refold(self._parts, self._records, self._run, self.folder, seq=seq, snapshot=snapshot)
            histories = Histories(self._parts.config.risk.history)
            histories.read(self._reader)
            incidents, recent = self._records.incidents(self._run), self._reader.alerts(last=RECENT_ALERTS)
        except DIFFERS as why:
            fault = f"run {self._run} cannot be replayed from {self.folder}: {why}"
            raise CannotStart(
                f"{fault}. Use the version and the configuration of the trading daemon.", CHECK_FAILED
            ) from why
        self._seq, self._resume_at = journal.seq, None
        if not journal.entries and shell.state.round is None:  # between two instants: only then is a snapshot valid
            self._resume_at = journal.seq, shell.keep()
        alerts = [
            Publish(row.ts, cast(Level, row.level), row.kind, row.text, row.symbol, row.agent, row.value, row.bound)
            for row in recent
            if row.level in _LEVELS
        ]
        return Replayed(shell, journal, histories, incidents, alerts)

    def _service(self, config: Config, replayed: Replayed) -> Service:
        """The service that the API reads, with the replayed state. This service processes and writes no events."""
        parts, run = self._parts, self._run
        names = [agent.name for agent in parts.rules.agents]
        return Service(
            replayed.shell,
            replayed.journal,
            cast(Store, self._records),  # only the loop writes, and it does not run here
            Projection(run, parts.universe.symbols, names, {}, replayed.incidents),  # {}: no open baskets
            config=config,
            run=run,
            state_folder=self.folder,
            alerts=AlertFilter(config.alerts.levels, config.alerts.per_minute, "", "UTC"),  # no quiet hours
            histories=replayed.histories,
        )

    def _show(self, replayed: Replayed) -> None:
        """Make the API read the result of this replay."""
        service = self.service
        service.shell, service.journal, service.histories = replayed.shell, replayed.journal, replayed.histories
        service.recent, service.incidents = replayed.recent, replayed.incidents

    async def follow(self) -> None:
        """Replay the journal as it grows, and check the trading daemon, for ever.

        Raises CannotStart where a replay fails.
        """
        rest_until = 0.0
        while True:
            if time.monotonic() >= rest_until and await asyncio.to_thread(self._grown):
                began = time.monotonic()
                try:
                    self._show(await asyncio.to_thread(self._replay))
                except StoreError as why:
                    log.warning("store.unreadable", why=str(why))
                # rests REST times as long as the replay took
                rest_until = time.monotonic() + REST * (time.monotonic() - began)
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Check whether the trading daemon answers, and wake the event streams that wait for news."""
        service = self.service
        service.leader = await asyncio.to_thread(self._leader)
        service.status = service.leader.status or GONE
        service.progress += 1  # pages must also show that the data has grown older
        service.notify()

    def _grown(self) -> bool:
        """Whether the journal has more entries than the last replay. Raises CannotStart where another run has begun."""
        try:
            if (newest_run := self._records.current_run()) not in (None, self._run):
                raise CannotStart(
                    f"run {newest_run} has begun after run {self._run}: restart this read-only instance", TRY_LATER
                )
            grown = self._records.last_seq(self._run) > self._seq
            self._seen_ns = time.time_ns() if grown else self._seen_ns
            return grown
        except StoreError as why:
            log.warning("store.unreadable", why=str(why))
            return False

    def _leader(self) -> LeaderNow:
        """Whether the trading daemon answers, and the instant of its last commit.

        The daemon's address is `leader` or, if that is empty, the one in `api.json`.
        """
        place, status = None if self._address else place_in(self.folder), ""
        address = _address(self._address) if self._address else None
        if place is not None and _exists(place.pid):
            address = Address(place.host, place.port, trusting() if place.tls else None)
        if address is not None:
            try:
                response = exchange(address, "GET", "/health", {"Accept": "application/json"}, None, ANSWER_S)
                status = str(msgspec.json.decode(response.body, type=dict[str, object]).get("status", ""))
            except (OSError, msgspec.DecodeError, msgspec.ValidationError):
                status = ""
        if status == GONE:  # another read-only instance answers there
            status = ""
        pid, url = (0, self._address) if place is None else (place.pid, place.url)
        return leader_of(pid, url, status, self._written_ns(), time.time_ns())

    def _written_ns(self) -> int:
        """The instant of the last commit, in ns UTC: the change time of the journal's head file, else of the lock file.

        Without both files the instant is the later of the run's start and the latest growth of the journal seen by this
        instance.
        """
        for name in (HEAD, FILE):
            try:
                return (self.folder / name).stat().st_mtime_ns
            except OSError:
                continue
        return max(self._reader.run.ts, self._seen_ns)


def is_address(url: str) -> bool:
    """Whether a text is an http or https URL with a host and a port."""
    try:
        parsed_url = URL(url)
        return parsed_url.scheme in ("http", "https") and bool(parsed_url.host) and parsed_url.port is not None
    except ValueError:
        return False


def _address(url: str) -> Address:
    parsed_url = URL(url)
    assert parsed_url.host is not None
    assert parsed_url.port is not None
    return Address(parsed_url.host, parsed_url.port, trusting() if parsed_url.scheme == "https" else None)


def _exists(pid: int) -> bool:
    """Whether a process with this id exists, also one of another user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


async def serve(config: Config, folder: Path, shown: Callable[[str], None], leader: str = "") -> None:
    """Serve reads until SIGINT or SIGTERM; call `shown` with the API's URL. `leader` is the trading daemon's URL.

    Raises CannotStart for a run that cannot be replayed, and ApiUnavailable if the API cannot start.
    """
    replica = await asyncio.to_thread(Replica, config, folder, leader)
    ended = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, ended.set)
    # None: without a message bus; with `stored` the API refuses every request that would change something
    api = Api(replica.service, replica.parts, config, folder, None, stored=replica.jobs)
    await replica.look()
    await api.start()
    following = asyncio.create_task(replica.follow(), name="follow")
    stopping = asyncio.create_task(ended.wait(), name="stop")
    try:
        shown(api.url)
        systemd.ready(f"{config.quantd.name} · read-only")
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            await following
    finally:
        for task in (following, stopping):
            task.cancel()
        await api.stop()
