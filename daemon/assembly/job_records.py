"""Jobs of schedules as records, found by name. A record has everything that schedules, runners and documents need.

What can go wrong: to check a configuration only the names of jobs are needed, but the work of a job imports the store,
research or training. So a record imports little, and its `work` imports what it needs when a daemon starts.

Rejected: a list of names in the configuration beside a list of workers. A job was then declared in four places, and the
daemon imported packages of a higher layer.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from quantd.records import ordered
from quantd.trading.orders import AT_SAMPLES

if TYPE_CHECKING:
    from quantd.adapters.store.journal.job_runs import JobRun
    from quantd.daemon.assembly.parts import Parts
    from quantd.daemon.runtime.service import Service
    from quantd.trading.ports import Broker

Where = Literal["loop", "thread", "process"]

HOUR_S: Final = 3_600.0

PACKAGES: Final = ("quantd.daemon.jobs.kinds", "quantd.research.jobs.parity_job", "quantd.training.jobs.retraining_job")
"""The packages and modules of quantd with records."""

GROUP: Final = "quantd.jobs"
"""The entry-point group of installed packages with a record."""

Work = Callable[["JobRun"], Awaitable[str]]
"""Runs a job; returns its result as text."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What `work` of a job's record gets to make the job: the service of a daemon and its parts.

    `folder` is the state folder, `store` the state folder or a URL, `sets` are overrides of the configuration. `venue`
    is None for a simulated venue.
    """

    service: "Service"
    parts: "Parts"
    folder: Path
    store: str | Path
    sets: tuple[str, ...] = ()
    venue: "Broker | None" = None


class JobRecord(Struct, frozen=True):
    """One job. Jobs with a lower `order` come first in the documentation and in their lane.

    A "loop" job is part of a step of the engine: it has no `work`, no `lane` and no time limit, and cannot fail. Any
    other job runs beside trading, one at a time in each `lane`, and only for the newest instant at which it is due.
    `work` makes the function that runs the job, once for each service. A failed attempt is repeated after `pause_s`,
    and each later pause is twice as long. After `attempts` attempts the job has failed, which raises an alert, CRITICAL
    if `critical` is set. With `again`, a run that the end of the process interrupted is repeated at the next start.
    With `at_stop`, the job also runs if it is due when the daemon stops. Raises ValueError for a "loop" job with
    `work`, `lane` or time limit, and for another job without one of them.
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
        outside_loop = self.where != "loop"
        if not outside_loop == bool(self.work) == bool(self.lane) == (self.timeout_s > 0.0):
            raise ValueError(
                f'job "{self.name}": set work, lane and timeout_s where it runs outside the loop, else none'
            )

    @property
    def place(self) -> str:
        """Where the job runs (in the loop, or in a lane beside it), as text."""
        if self.where != "loop":
            return self.where
        return "loop, at the next sample" if self.name in AT_SAMPLES else "loop"


def jobs() -> Mapping[str, JobRecord]:
    """Return every job of schedules by its name, in the order of the documentation."""
    return ordered(PACKAGES, JobRecord, GROUP)
