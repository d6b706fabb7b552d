"""The daemon itself: its runs, schedules, configuration, version and figures, and the models of its agents."""

import asyncio
import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from msgspec import Struct

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.adapters.store.lock import FILE
from quantd.daemon.assembly.config_rows import Setting, settings_of
from quantd.daemon.config import digest
from quantd.daemon.jobs.job_table import JobRunLine, last_of
from quantd.daemon.runtime.schedule import Schedule, due, next_instants
from quantd.daemon.runtime.version import VERSION, blas_name, code_version, lock_hash
from quantd.daemon.views.agent_rows import Evaluation, evaluations
from quantd.server.api.documents import Query
from quantd.server.api.route_groups import RouteContext, RouteGroup
from quantd.server.api.route_records import Read
from quantd.server.api.run_reader import RunReader
from quantd.trading.display_text import instant_text
from quantd.trading.sessions import DAY_NS, Sessions

BACK_DAYS: Final = (2, 40, 400)
"""Days back in which the last instant of a schedule is searched; the next span is tried if one has none."""


class StoredRun(Struct, frozen=True):
    """One account history. `ended` is the reason why it cannot be continued; it is empty if it can."""

    run: str
    ts: int
    time: str
    mode: str
    agents: list[str]
    symbols: list[str]
    ended: str
    ended_time: str


class StoredRuns(Struct, frozen=True):
    """The runs of the store, oldest first; `run` is the present one."""

    run: str
    runs: list[StoredRun]


class ScheduleNow(Struct, frozen=True):
    """One schedule. `do` is the job that it starts, for `agents`; an empty list means all agents.

    `last` is its newest instant up to now, within 400 days, and `next` its next instant; 0 and an empty text mean none.
    `last_run` is its newest run, started by the schedule or by hand; null before the first.
    """

    name: str
    do: str
    agents: list[str]
    calendar: str
    when: str
    last_ts: int
    last: str
    next_ts: int
    next: str
    last_run: JobRunLine | None


class ScheduleList(Struct, frozen=True):
    """The schedules that are on. `ts` is the present: in a replay that is the time of the market."""

    run: str
    ts: int
    time: str
    schedules: list[ScheduleNow]


class Settings(Struct, frozen=True):
    """The configuration in force, with the source of each key; it has no secrets."""

    digest: str
    settings: list[Setting]


class Version(Struct, frozen=True):
    """Versions of the daemon, its libraries and its platform.

    `code` is a digest of the source code that affects decisions. `lock` is the digest of the tested versions of the
    dependencies. `commit` is the Git commit of a checkout, empty for an installed package.
    """

    version: str
    code: str
    python: str
    platform: str
    blas: str
    lock: str
    commit: str
    libraries: dict[str, str]


class Stats(Struct, frozen=True):
    """Figures of the process. `answers` counts responses since the start by class, 2xx to 5xx.

    `portfolios` is the number of open portfolios. `store_bytes` is null for a database that is named by a URL.
    `loop_lag_s` is the largest delay of the event loop since the last scrape of /metrics.
    """

    uptime_s: float
    answers: dict[str, int]
    memory_bytes: int
    streams: int
    agents: int
    models: int
    portfolios: int
    steps: int
    store_bytes: int | None
    loop_lag_s: float


class Policies(Struct, frozen=True):
    """The evaluation record of each agent's trained artifact; an agent without an artifact is omitted."""

    run: str
    policies: list[Evaluation]


class SystemReads:
    """Handlers of reads about the daemon itself. `answers` counts responses by status class, such as 2xx.

    `streams` returns the number of open event streams, and `jobs` returns the runs of jobs, newest first.
    """

    def __init__(
        self,
        run: RunReader,
        answers: Mapping[str, int],
        streams: Callable[[], int],
        jobs: Callable[[], Sequence[JobRun]],
    ) -> None:
        self._run = run
        self._answers = answers
        self._streams = streams
        self._jobs = jobs

    async def runs(self, request: web.Request, query: Query) -> StoredRuns:
        """The runs of the store."""
        service = self._run.service
        runs = await asyncio.to_thread(service.store.runs)
        rows = [
            StoredRun(
                run.run, run.ts, instant_text(run.ts), run.mode, list(run.epochs[-1][1]) if run.epochs else [],
                list(run.universe.symbols), run.ended, instant_text(run.ended_ts) if run.ended_ts else "",
            )
            for run in runs
        ]  # fmt: skip
        return StoredRuns(service.run, rows)

    async def schedules(self, request: web.Request, query: Query) -> ScheduleList:
        parts, service = self._run.parts, self._run.service
        now = time.time_ns() if parts.live else service.shell.ts
        runs = self._jobs()
        rows = await asyncio.to_thread(
            lambda: [_schedule_now(s, parts.sessions, now, last_of(s.name, runs)) for s in parts.schedules]
        )
        return ScheduleList(service.run, now, instant_text(now), rows)

    async def config(self, request: web.Request, query: Query) -> Settings:
        """The configuration in force. For port = 0 it shows the port that the system chose, that of this connection."""
        config = self._run.service.config
        rows = [_redacted(setting) for setting in await asyncio.to_thread(settings_of, config)]
        address = None if request.transport is None else request.transport.get_extra_info("sockname")
        if config.api.port == 0 and isinstance(address, tuple):
            port, source = address[1], "chosen by the system"
            rows = [Setting(row.key, port, f"{row.source}, {source}") if row.key == "api.port" else row for row in rows]
        return Settings(digest(config), rows)

    async def version(self, request: web.Request, query: Query) -> Version:
        return await asyncio.to_thread(_version)

    async def stats(self, request: web.Request, query: Query) -> Stats:
        """Counts and sizes of this process, and the size of the store if it is a local file."""
        service, run = self._run.service, self._run
        files = [run.folder / f"{FILE}{end}" for end in ("", "-wal", "-shm")] if isinstance(run.where, Path) else []
        memory, size = await asyncio.to_thread(_sizes, files)
        return Stats(
            uptime_s=time.monotonic() - service.started,
            answers=dict(self._answers),
            memory_bytes=memory,
            streams=self._streams(),
            agents=len(service.shell.state.in_use()),
            models=len(evaluations(service.shell.seats.all(), service.shell.state)),
            portfolios=len(service.shell.state.portfolios),
            steps=service.journal.seq,
            store_bytes=size if files else None,
            loop_lag_s=service.measured.loop_lag_s,
        )

    async def policies(self, request: web.Request, query: Query) -> Policies:
        service = self._run.service
        return Policies(service.run, evaluations(service.shell.seats.all(), service.shell.state))


def _schedule_now(
    schedule: Schedule, sessions: Mapping[str, Sessions], now: int, last_run: JobRunLine | None
) -> ScheduleNow:
    """A schedule with its last instant up to `now` (ns UTC) and its next one; 0 where there is none.

    The last instant is searched in ever longer spans of days back.
    """
    last_ts = 0
    for days in BACK_DAYS:
        if past := due([schedule], sessions, now - days * DAY_NS, now):
            last_ts = past[-1][0]
            break
    next_ts = next((ts for ts, _ in next_instants([schedule], sessions, now, 1)), 0)
    when = next(f"{key} {text}" for key in ("at", "cron", "every") if (text := getattr(schedule, key)) is not None)
    return ScheduleNow(
        schedule.name, schedule.do, list(schedule.agents), schedule.calendar, when,
        last_ts, instant_text(last_ts) if last_ts else "", next_ts, instant_text(next_ts) if next_ts else "",
        last_run,
    )  # fmt: skip


_URL_PATH: Final = re.compile(r"(\w[\w+.-]*://[^/?#]+)[/?#].+")
_URL_QUERY: Final = re.compile(r"(\w[\w+.-]*://[^?#]+)[?#].+")


def _redacted(setting: Setting) -> Setting:
    """A setting of the configuration without secrets: a URL's query may have a key, and the URL path of an alert sink
    may be a secret.
    """
    address = _URL_PATH if setting.key.startswith("alerts.sinks") else _URL_QUERY
    return Setting(setting.key, _cut(setting.value, address), setting.source)


def _cut(value: Any, address: re.Pattern[str]) -> Any:
    """The value with each text cut before the secret part of its URL. Group 1 of `address` is the part to keep."""
    if isinstance(value, str):
        return address.sub(r"\1/…", value)
    if isinstance(value, Mapping):
        return {key: _cut(inner, address) for key, inner in value.items()}
    return [_cut(inner, address) for inner in value] if isinstance(value, list) else value


@cache
def _version() -> Version:
    return Version(
        VERSION, code_version(), platform.python_version(), platform.platform(), blas_name(), lock_hash(),
        _commit(Path(__file__).resolve().parents[3]), _libraries(),
    )  # fmt: skip


def _libraries() -> dict[str, str]:
    """The version of each installed dependency of quantd, by name; dependencies of extras are included."""
    try:
        names = {re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in requires("quantd") or ()}
    except PackageNotFoundError:
        return {}
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # an extra that is not installed
    return versions


def _commit(root: Path) -> str:
    """The Git commit that is checked out in the folder `root`; empty if the folder is no checkout."""
    try:
        git_folder = root / ".git"
        if git_folder.is_file():  # a linked worktree: the file names its folder
            git_folder = root / git_folder.read_text().removeprefix("gitdir:").strip()
        head = (git_folder / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head
        name = head.removeprefix("ref:").strip()
        common = git_folder / "commondir"  # a linked worktree has its branches in the main one's folder
        common_folder = git_folder / common.read_text().strip() if common.exists() else git_folder
        return _ref(common_folder, name)
    except OSError:
        return ""


def _ref(folder: Path, name: str) -> str:
    """The commit of a branch `refs/heads/..`: read from the file of this name, or from `packed-refs`, in the Git folder
    `folder`; empty without either.
    """
    if (folder / name).exists():
        return (folder / name).read_text().strip()
    packed: Sequence[str] = (folder / "packed-refs").read_text().splitlines()
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")


def _sizes(files: Sequence[Path]) -> tuple[int, int]:
    """Return (resident memory of this process, total size of the files that exist), in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE"), sum(file.stat().st_size for file in files if file.exists())


def _opened(context: RouteContext) -> SystemReads:
    jobs: Callable[[], Sequence[JobRun]] = list if context.job_runs is None else context.job_runs.runs
    return SystemReads(context.run, context.guard.answers, lambda: context.streams, jobs)


ROUTES: Final = RouteGroup(
    "system",
    90,
    _opened,
    routes=(
        Read("/api/v1/runs", SystemReads.runs, "The runs of the store.", call="runs"),
        Read("/api/v1/schedules", SystemReads.schedules, "Schedules with their last and next runs.", call="schedules"),
        Read("/api/v1/config", SystemReads.config, "The configuration in force, without secrets.", call="config"),
        Read("/api/v1/version", SystemReads.version, "Versions of the daemon and its libraries.", call="version"),
        Read("/api/v1/stats", SystemReads.stats, "Uptime, responses, memory, size of the store.", call="stats"),
        Read("/api/v1/policies", SystemReads.policies, "Evaluation records of the agents' artifacts.", call="policies"),
    ),
)  # fmt: skip
