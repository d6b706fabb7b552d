"""The table of the jobs that a schedule may run, made from one record for each, and the rows of job runs that API and
commands show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from quantd.daemon.assembly.job_records import JobRecord, jobs
from quantd.trading.display_text import instant_text

if TYPE_CHECKING:
    from quantd.adapters.store.journal.job_runs import JobRun

JOBS: Final = tuple(jobs().values())
"""Every job, in the order of the documentation."""

BY_NAME: Final[dict[str, JobRecord]] = {job.name: job for job in JOBS}
"""Name of a job -> its record."""

LANES: Final = tuple(dict.fromkeys(job.lane for job in JOBS if job.where != "loop"))
"""The lanes of jobs beside trading, in order."""


def duration_text(seconds: float) -> str:
    """A time limit as text: "30 min", "2 h", "7 d"."""
    for unit, length in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


class JobRunLine(Struct, frozen=True):
    """One run of a job.

    `state` is queued, running, retrying, succeeded, failed or interrupted. `due` is an instant of market time,
    `started` and `ended` are times of the machine's clock. `who` is the sender of a run by hand, empty for a scheduled
    run.
    """

    id: str
    job: str
    schedules: tuple[str, ...]
    state: str
    attempts: int
    due: str
    started: str | None
    ended: str | None
    seconds: float | None
    result: str
    who: str
    reason: str


def line_of(run: "JobRun") -> JobRunLine:
    """A run of a job in the form that the API shows."""
    ended, started = run.ended_ns, run.started_ns
    return JobRunLine(
        str(run.id), run.job, run.schedules, run.state, run.attempts, instant_text(run.due_ts) if run.due_ts else "",
        instant_text(started) if started else None, instant_text(ended) if ended else None,
        round((ended - started) / 1e9, 3) if ended and started else None, run.result, run.who, run.reason,
    )  # fmt: skip


def last_of(schedule: str, runs: "Sequence[JobRun]") -> JobRunLine | None:
    """The newest run of a schedule among `runs`, newest first."""
    newest = next((run for run in runs if schedule in run.schedules), None)
    return None if newest is None else line_of(newest)
