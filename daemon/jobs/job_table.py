"""The jobs of schedules, as one table: what each does, where it runs, its time limit and its attempts.

It also has the rows of job runs that the API and the command line show.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from quantd.daemon.config.schema import Job
from quantd.daemon.runtime.schedule import TRADING_JOBS
from quantd.trading.display_text import instant_text
from quantd.trading.orders import AT_SAMPLES

if TYPE_CHECKING:
    from quantd.adapters.store.journal.job_runs import JobRun

Where = Literal["loop", "thread", "process"]

HOUR_S: Final = 3_600.0


class JobRecord(Struct, frozen=True):
    """One job.

    "loop" jobs are part of a step of the engine; they cannot fail, and have no time limit. The others run beside
    trading, one at a time in each `lane`, each only for its newest due instant. A failed attempt is repeated after
    `pause_s`, each later pause is twice as long; after `attempts` the job has failed, which is an alert, CRITICAL if
    so marked. With `again`, a run that the end of the process interrupted is repeated at the next start. With
    `at_stop`, the job also runs when it is due while the daemon stops.
    """

    name: Job
    text: str
    where: Where = "loop"
    timeout_s: float = 0.0
    attempts: int = 1
    pause_s: float = 30.0
    critical: bool = False
    lane: str = ""
    again: bool = False
    at_stop: bool = False
    by_hand: bool = True

    @property
    def place(self) -> str:
        """Where it runs, as text."""
        if self.where != "loop":
            return self.where
        return "loop, at the next sample" if self.name in AT_SAMPLES else "loop"

    @property
    def in_sessions(self) -> bool:
        """Whether it is due in sessions only."""
        return self.name in TRADING_JOBS


JOBS: Final = (
    JobRecord("rebalance", "the agents of the schedule decide, and their orders pass the gate"),
    JobRecord("reallocate", "capital moves between the agents"),
    JobRecord("promote", "challengers that are better than their champions are promoted"),
    JobRecord("flatten", "trading is halted, and every position is closed"),
    JobRecord("snapshot", "the state is saved, so that the next start replays less"),
    JobRecord("reconcile", "the venue's account is compared with the house book"),
    JobRecord("before_open", "an alert with what is wrong before the session", by_hand=False),
    JobRecord("after_close", "an alert with the day's result", by_hand=False),
    JobRecord(
        "daily_report", "a report of the last day", "thread", 0.5 * HOUR_S, 5, lane="reports", again=True, at_stop=True
    ),
    JobRecord(
        "risk_report", "a risk report of the last seven days", "thread", 0.5 * HOUR_S, 5, lane="reports", again=True,
        at_stop=True,
    ),
    # before a compaction: it contains what compaction moves
    JobRecord(
        "backup", "a backup of the store; the oldest are deleted", "thread", 2 * HOUR_S, 5, critical=True,
        lane="upkeep", again=True, at_stop=True,
    ),
    JobRecord(
        "compact", "old rows of the journal move to archives", "thread", 2 * HOUR_S, 5, lane="upkeep", again=True,
        at_stop=True,
    ),
    JobRecord(
        "parity",
        "the last day is compared with a backtest of the same bars, and folded again with the interpreted engine",
        "process", 0.5 * HOUR_S, 5,
        lane="parity", again=True,
    ),
    JobRecord(
        "retrain", "the policies of shadows are trained on the newest data", "process", 7 * 24 * HOUR_S, 5,
        lane="retraining", again=True,
    ),
    JobRecord(
        "data_refresh", "the recorded bars are downloaded into a new file", "process", HOUR_S, 5, lane="data",
        again=True,
    ),
    JobRecord(
        "health_check", "the checks of `quantd doctor`", "process", 600.0, 2, pause_s=10.0, lane="health",
    ),
    JobRecord(
        "statement", "the cash movements of a day, compared with the venue's record", "thread", HOUR_S, 5,
        lane="statement", again=True, at_stop=True,
    ),
)  # fmt: skip
"""Every job, in the order of the documentation."""

BY_NAME: Final[dict[str, JobRecord]] = {each.name: each for each in JOBS}

LANES: Final = tuple(dict.fromkeys(each.lane for each in JOBS if each.where != "loop"))
"""The lanes of jobs beside trading, in order."""


def duration_text(seconds: float) -> str:
    """A time limit as text: "30 min", "2 h", "7 d"."""
    for unit, length in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def jobs_table() -> str:
    """The table of jobs of the documentation, in Markdown."""
    lines = [
        "| job | what it does | runs in | time limit | attempts, pause | alert | repeated |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in JOBS:
        beside = each.where != "loop"
        cells = (
            f"`{each.name}`", each.text, each.place, duration_text(each.timeout_s) if beside else "",
            f"{each.attempts}, {duration_text(each.pause_s)}" if beside else "",
            ("CRITICAL" if each.critical else "WARNING") if beside else "", "yes" if each.again else "no",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


class JobRunLine(Struct, frozen=True):
    """One run of a job.

    `state` is queued, running, retrying, succeeded, failed or interrupted. `due` is the instant of the market, the
    others are of the clock. `who` is the sender of a run by hand, empty when the run was due.
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
    """A run as the API shows it."""
    ended, started = run.ended_ns, run.started_ns
    return JobRunLine(
        str(run.id), run.job, run.schedules, run.state, run.attempts, instant_text(run.due_ts) if run.due_ts else "",
        instant_text(started) if started else None, instant_text(ended) if ended else None,
        round((ended - started) / 1e9, 3) if ended and started else None, run.result, run.who, run.reason,
    )  # fmt: skip


def last_of(schedule: str, runs: "Sequence[JobRun]") -> JobRunLine | None:
    """The newest run of a schedule among `runs`, newest first."""
    found = next((run for run in runs if schedule in run.schedules), None)
    return None if found is None else line_of(found)
