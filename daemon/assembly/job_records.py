"""Jobs of schedules as records, found by name: a record has all that schedules, runners and documents need of a job.

What can go wrong: the check of a configuration needs the names of jobs, and the work of a job imports the store,
research or training. Therefore a record is light, and its `work` imports what it needs when a daemon starts.

Rejected: a list of names in the configuration beside a list of workers. They were four places for one job, and the
daemon imported the packages above it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from quantd.adapters.plugins import ordered
from quantd.trading.orders import AT_SAMPLES

if TYPE_CHECKING:
    from quantd.adapters.store.journal.job_runs import JobRun
    from quantd.daemon.assembly.parts import Parts
    from quantd.daemon.runtime.service import Service
    from quantd.trading.ports import Broker

Where = Literal["loop", "thread", "process"]

HOUR_S: Final = 3_600.0

PACKAGES: Final = ("quantd.daemon.jobs.kinds", "quantd.research.jobs", "quantd.training.jobs")
"""The packages of quantd whose modules are searched for records."""

GROUP: Final = "quantd.jobs"
"""The entry-point group of installed packages with a record."""

Work = Callable[["JobRun"], Awaitable[str]]
"""Runs a job; returns its result as text."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """The arguments of the work of jobs: the service of a daemon and its parts.

    `folder` is the state folder, `store` the folder again or a URL, `sets` are overrides of the configuration. `venue`
    is None where it is simulated.
    """

    service: "Service"
    parts: "Parts"
    folder: Path
    store: str | Path
    sets: tuple[str, ...] = ()
    venue: "Broker | None" = None


class JobRecord(Struct, frozen=True):
    """One job. `order` is its place in the table of the documentation, and among the jobs of its lane.

    "loop" jobs are part of a step of the engine; they have no `work`, cannot fail, and have no time limit. The others
    run beside trading, one at a time in each `lane`, each only for its newest due instant. `work` makes the function
    that runs the job, once for each service. A failed attempt is repeated after `pause_s`, each later pause is twice as
    long; after `attempts` the job has failed, which is an alert, CRITICAL if so marked. With `again`, a run that the
    end of the process interrupted is repeated at the next start. With `at_stop`, the job also runs when it is due while
    the daemon stops. Raises ValueError for a "loop" job with `work`, `lane` or time limit, and for another job without
    one of them.
    """

    name: str
    order: int
    text: str
    where: Where = "loop"
    work: Callable[[JobContext], Work] | None = None
    timeout_s: float = 0.0
    attempts: int = 1
    pause_s: float = 30.0
    critical: bool = False
    lane: str = ""
    again: bool = False
    at_stop: bool = False
    by_hand: bool = True

    def __post_init__(self) -> None:
        beside = self.where != "loop"
        if not beside == bool(self.work) == bool(self.lane) == (self.timeout_s > 0.0):
            raise ValueError(f'job "{self.name}": a job beside the loop, and no other, has work, lane and timeout_s')

    @property
    def place(self) -> str:
        """Where it runs, as text."""
        if self.where != "loop":
            return self.where
        return "loop, at the next sample" if self.name in AT_SAMPLES else "loop"


def jobs() -> Mapping[str, JobRecord]:
    """Every job by its name, in order."""
    return ordered(PACKAGES, JobRecord, GROUP)
