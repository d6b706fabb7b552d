"""Show the schedules with their last results and coming instants; run one now."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import msgspec
import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Reason, RunOptions, unused
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, iso, print_json, records, say, table
from quantd.daemon.cli.places import Place
from quantd.server.cli.client import reach
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE

if TYPE_CHECKING:
    from quantd.adapters.store.journal.job_runs import JobRun
    from quantd.daemon.config import Config
    from quantd.daemon.runtime.schedule import Schedule
    from quantd.trading.sessions import Sessions

POLL_S: Final = 0.2
"""Seconds between two questions to the daemon about a run that has not ended."""

SHOWN: Final = 60
"""Most characters of a result in a table; `--json` has the whole text."""

SECOND: Final = len("2019-03-29T20:00:00")
"""Length of an instant as text, up to its seconds."""

AHEAD: Final = timedelta(days=400)
"""How far ahead the sessions are known; a schedule without an instant until then is listed without one."""


def schedule_list(
    chosen: RunOptions = DEFAULTS,
    instants: Annotated[
        int, typer.Option("--next", min=0, max=10_000, metavar="N", help="List the next N instants instead.")
    ] = 0,
    jobs: Annotated[
        int, typer.Option("--jobs", min=0, max=1_000_000, metavar="N", help="List the newest N runs of jobs instead.")
    ] = 0,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="TIME|now", help="Start of the instants; else the clock of the run."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the schedules, each with its next instant and the result of its last run; or instants, or runs of jobs."""

    where = chosen.place()
    if jobs:
        unused("--jobs", {"--next": instants, "--after": after})
        _print_jobs(_runs(where)[:jobs], as_json)
        return
    settings = chosen.read()
    ts, clock = _start(settings, where, after)
    schedules, sessions = _schedules(settings, where, ts)
    rows = (
        _instants(schedules, sessions, ts, instants) if instants else _standing(schedules, sessions, ts, _runs(where))
    )
    if as_json:
        print_json({"after": iso(ts), "clock": clock, "instants" if instants else "schedules": rows})
        return
    say(f"after {iso(ts)} ({clock})")
    if instants:
        _print_instants(rows)
        return
    table(
        ("schedule", "does", "next", "last due", "state", "started", "seconds", "result"),
        [(row["schedule"], row["do"], row["next"] or "", *_last_cells(row["last"])) for row in rows],
    )


def _standing(
    schedules: "list[Schedule]", sessions: "dict[str, Sessions]", ts: int, runs: "list[JobRun]"
) -> list[dict[str, Any]]:
    """Each schedule with its next instant and its last run."""
    from quantd.daemon.jobs.job_table import BY_NAME, last_of
    from quantd.daemon.runtime.schedule import next_instants

    rows: list[dict[str, Any]] = []
    for schedule in schedules:
        next_runs = next_instants([schedule], sessions, ts, 1)
        last_run = last_of(schedule.name, runs)
        rows.append({
            "schedule": schedule.name, "do": schedule.do, "where": BY_NAME[schedule.do].place,
            "next": iso(next_runs[0][0]) if next_runs else None,
            "last": None if last_run is None else msgspec.to_builtins(last_run),
        })  # fmt: skip
    return rows


def _instants(
    schedules: "list[Schedule]", sessions: "dict[str, Sessions]", ts: int, count: int
) -> list[dict[str, Any]]:
    """The next `count` instants of the schedules after `ts`, in exchange time and UTC."""
    from quantd.daemon.runtime.schedule import moved_from, next_instants, zone_of

    rows: list[dict[str, Any]] = []
    for due_ts, index in next_instants(schedules, sessions, ts, count):
        schedule = schedules[index]
        zone = zone_of(schedule, sessions)
        closed_day = moved_from(schedule, sessions, due_ts)
        local = datetime.fromtimestamp(due_ts / 1e9, zone).isoformat(timespec="seconds")
        rows.append({
            "ts": due_ts, "time": iso(due_ts), "local": local, "zone": zone.key,
            "schedule": schedule.name, "do": schedule.do, "agents": list(schedule.agents),
            "moved_from": None if closed_day is None else closed_day.isoformat(),
        })  # fmt: skip
    return rows


def _print_instants(rows: list[dict[str, Any]]) -> None:
    records(
        rows,
        {"exchange time": lambda row: datetime.fromisoformat(row["local"]).strftime("%a %Y-%m-%d %H:%M:%S %z"),
         "zone": "zone", "UTC": "time", "schedule": "schedule", "does": "do",
         "agents": lambda row: (", ".join(row["agents"]) or "all")
         + (f" (moved from {row['moved_from']}, closed)" if row["moved_from"] else "")},
    )  # fmt: skip


def _print_jobs(newest: "list[JobRun]", as_json: bool) -> None:
    from quantd.daemon.jobs.job_table import JobRunLine, line_of

    runs = [line_of(run) for run in newest]
    columns: dict[str, str | Callable[[JobRunLine], str]] = {
        "run": "id", "job": "job", "state": "state", "attempts": "attempts:", "started": "started",
        "seconds": lambda run: "" if run.seconds is None else f"{run.seconds:g}", "by": "who",
        "result": lambda run: run.result[:SHOWN],
    }  # fmt: skip
    answer(as_json, {"runs": runs}, lambda: records(runs, columns, ("run",)))


def schedule_run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A schedule.")],
    chosen: RunOptions = DEFAULTS,
    reason: Reason = "",
    wait: Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="Longest wait for its end.")] = 30.0,
    as_json: Json = False,
) -> int:
    """Run a schedule now in the running daemon, and wait for its end. Exit code 1 when it failed."""
    from quantd.adapters.store.journal.job_runs import OPEN
    from quantd.daemon.jobs.job_table import JobRunLine

    daemon = reach(chosen.place())
    path = f"/api/v1/schedules/{quote(name, safe='')}/run"
    run = msgspec.convert(daemon.post(path, {"reason": reason}), JobRunLine)
    until = time.monotonic() + wait
    while run.state in OPEN and time.monotonic() < until:
        time.sleep(POLL_S)
        run = msgspec.convert(daemon.get(f"/api/v1/jobs/{run.id}"), JobRunLine)
    text = f"job run {run.id} of {name}: {run.state}"
    answer(as_json, run, f"{text}, {run.result}" if run.result else text)
    return CHECK_FAILED if run.state in ("failed", "interrupted") else DONE


def _schedules(config: "Config", where: Place, ts: int) -> "tuple[list[Schedule], dict[str, Sessions]]":
    """Return (enabled schedules, calendar -> its sessions around the instant `ts` in ns UTC).

    Raises Failure without an enabled schedule.
    """
    from quantd.daemon.runtime.schedule import schedule_of, sessions_of

    schedules = [schedule_of(config, index) for index, table in enumerate(config.schedules) if table.enabled]
    if not schedules:
        file = config.source.file
        raise Failure(
            f"{file} has no enabled [[schedules]], so every agent decides at every sample; add one", CHECK_FAILED
        )
    begin = datetime.fromtimestamp(ts / 1e9, UTC).date()
    # no cache if there is no state folder: a command that reads creates none
    cache = where.folder / "cache" if where.folder.is_dir() else None
    return schedules, sessions_of(config, begin - timedelta(days=10), begin + AHEAD, cache)


def _runs(where: Place) -> "list[JobRun]":
    """The job runs in the newest account history of the store, newest first; an empty list without a store."""
    try:
        reader = where.reader()
    except Failure:
        return []
    return reader.records.job_runs(reader.run.run)[::-1] if reader.records is not None else []


def _last_cells(last: dict[str, Any] | None) -> tuple[str, str, str, str, str]:
    """The five table cells about a schedule's last run; `last` is the run, None without one."""
    if last is None:
        return "", "never", "", "", ""
    seconds, started = last["seconds"], (last["started"] or "")[:SECOND].replace("T", " ")
    return last["due"], last["state"], started, "" if seconds is None else f"{seconds:g}", last["result"][:SHOWN]


def _start(config: "Config", where: Place, after: str | None) -> tuple[int, str]:
    """Return (instant in ns UTC after which instants are listed, name of its clock); `after` is the option --after."""
    if after is not None and after != "now":
        try:
            moment = datetime.fromisoformat(after)
        except ValueError:
            raise Failure(
                f"--after {after} is no instant: write 2024-03-08, 2024-03-08T20:00:00Z or now", USAGE
            ) from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 10**9, "as given"
    if after is None and config.feed.kind == "replay":
        try:
            newest_sample = next(iter(where.reader().equity(last=1)), None)
        except Failure:
            newest_sample = None
        if newest_sample is not None:
            return newest_sample.ts, "the replayed clock of the run; --after now for the wall clock"
    return time.time_ns(), "the wall clock"


COMMAND: Final = Command("Look", 120, {"list": schedule_list, "run": schedule_run})
