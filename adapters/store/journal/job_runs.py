"""Runs of scheduled jobs: rows outside the journal, as the result of a job changes no account."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from quantd.adapters.store.driver import Queries
from quantd.adapters.store.journal.chain import insert_digested
from quantd.adapters.store.tables.table_models import columns_of

State = Literal["queued", "running", "retrying", "succeeded", "failed", "interrupted"]

OPEN: Final = frozenset({"queued", "running", "retrying"})
"""States of a run that has not ended."""

KEPT: Final = 50
"""Number of newest runs that the store keeps of a job and its set of schedules."""

COLUMNS: Final = columns_of("jobs")[:-1]


class JobRun(Struct, frozen=True):
    """One run of a job, with all its attempts.

    `id` numbers the job runs of one account history. `schedules` are the names of the schedules that started it. `who`
    is the sender of the command that started it, empty when a schedule started it. `due_ts` is the instant at which the
    job was due, on the clock of the market data. `started_ns` and `ended_ns` are times of the machine's clock, 0 before
    the start or end. `result` is the result of the last attempt, or its error.
    """

    id: int
    job: str
    schedules: tuple[str, ...] = ()
    who: str = ""
    reason: str = ""
    due_ts: int = 0
    state: State = "queued"
    attempts: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    result: str = ""


def put_job_runs(driver: Queries, run: str, runs: Sequence[JobRun]) -> None:
    """Write job runs in an open transaction. Of each job and schedule, the newest KEPT runs stay and older ones are
    deleted."""
    for job_run in runs:
        driver.execute("DELETE FROM jobs WHERE run = ? AND id = ?", (run, job_run.id))
    insert_digested(driver, "jobs", [_row(run, job_run) for job_run in runs])
    for job, schedules in {(job_run.job, _schedules_json(job_run)) for job_run in runs}:
        condition = "run = ? AND job = ? AND schedules = ?"
        ids = driver.execute(
            f"SELECT id FROM jobs WHERE {condition} ORDER BY id DESC LIMIT ?", (run, job, schedules, KEPT + 1)
        ).fetchall()
        if len(ids) > KEPT:  # the last id is the first of those to delete, as ids grow
            driver.execute(f"DELETE FROM jobs WHERE {condition} AND id <= ?", (run, job, schedules, ids[-1][0]))


def job_runs(driver: Queries, run: str) -> list[JobRun]:
    """Return the recorded runs of jobs of an account history, oldest first."""
    rows = driver.execute(f"SELECT {', '.join(COLUMNS[1:])} FROM jobs WHERE run = ? ORDER BY id", (run,)).fetchall()
    # the third column, `schedules`, is JSON
    return [
        msgspec.convert(dict(zip(COLUMNS[1:], (*row[:2], msgspec.json.decode(row[2]), *row[3:]), strict=True)), JobRun)
        for row in rows
    ]


def _row(run: str, job_run: JobRun) -> tuple[object, ...]:
    values = msgspec.structs.asdict(job_run) | {"run": run, "schedules": _schedules_json(job_run)}
    return tuple(values[name] for name in COLUMNS)


def _schedules_json(job_run: JobRun) -> str:
    return msgspec.json.encode(job_run.schedules).decode()
