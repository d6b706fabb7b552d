"""Trains the seeds of a plan in other processes or on other machines, with bit-identical results on a CPU.

What can go wrong. The checkpoints of a worker on another machine would be lost: so the files of a seed are sent with
its job, and returned with the result. A seed that diverged in a worker would be reported otherwise than in this
process: so both processes make the error by `diverged`.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from quantd.trading.exit_codes import ExplainedError
from quantd.training.learners.record import Diverged
from quantd.training.plans.plan import Plan
from quantd.training.runs.workers import Executor, Failed
from quantd.training.seeds import checkpoints
from quantd.training.seeds.markets import markets_of
from quantd.training.seeds.seed_run import Progress, fit


class SeedFailed(ExplainedError, RuntimeError):
    """A seed failed in another process for a reason other than the plan."""


class SeedJob(Struct, frozen=True):
    """The training of one seed, as a job for another process."""

    plan: Plan
    seed: int
    folder: str
    resume: bool
    carried: dict[str, bytes] | None = None
    """Files of its folder, where the worker does not share the disk; else None."""


def fit_seed(job: SeedJob, tell: Callable[[Progress], bool]) -> dict[str, bytes]:
    """Train one seed as a worker. Returns the files of the seed's folder if the worker does not share the disk."""
    markets = markets_of(job.plan)
    if job.carried is None:
        fit(job.plan, markets, job.seed, Path(job.folder), tell, resume=job.resume)
        return {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        _put(folder, job.carried)
        fit(job.plan, markets, job.seed, folder, tell, resume=job.resume)
        return _files(folder)


def spread(
    plan: Plan,
    folder_of: Callable[[int], Path],
    executor: Executor,
    report: Callable[[Progress], bool],
    *,
    resume: bool,
) -> bool:
    """Train every seed of `plan` in worker processes. Returns True when `report` asked to stop a seed.

    A worker that does not share the disk gets the files of a seed's folder with its job, and returns them. Raises
    Diverged where a seed reached values that are not finite, SeedFailed where it failed otherwise.
    """
    course = _Course(plan, folder_of, executor.shares_disk, report)

    def job(seed: int) -> SeedJob:
        folder = folder_of(seed)
        carried = _files(folder) if resume and folder.is_dir() else {}
        return SeedJob(plan, seed, str(folder), resume, None if executor.shares_disk else carried)

    executor.run(fit_seed, map(job, plan.seeds), course)
    return course.asked


def diverged(plan: Plan, seed: int, folder: Path, reason: str) -> Diverged:
    """Return the error for a seed whose training reached values that are not finite."""
    saved = checkpoints.there(folder)
    last_good = f"its last good checkpoint is {saved[-1]}" if saved else "it had no checkpoint yet"
    return Diverged(
        f"seed {seed} diverged {reason}. Nothing after that is kept; {last_good}. "
        f"Most often learner.learning_rate is too high "
        f"(now {getattr(plan.learner, 'learning_rate', '?')}), or the data have an invalid price: quantd data check"
    )


class _Course:
    """Reports the progress of the seeds in workers, and stores their files.

    `asked` is True when a report asked to stop.
    """

    def __init__(
        self, plan: Plan, folder_of: Callable[[int], Path], shared: bool, report: Callable[[Progress], bool]
    ) -> None:
        self._plan, self._folder_of, self._shared, self._told = plan, folder_of, shared, report
        self.asked = False

    def told(self, number: int, message: Progress) -> bool:
        asked = self._told(message)
        self.asked |= asked
        return asked

    def ended(self, number: int, outcome: dict[str, bytes] | Failed) -> None:
        seed = self._plan.seeds[number]
        if isinstance(outcome, Failed):
            if outcome.kind == "Diverged":
                raise diverged(self._plan, seed, self._folder_of(seed), outcome.reason.removeprefix("Diverged: "))
            raise SeedFailed(f"seed {seed}: {outcome.reason}")
        if not self._shared:
            _put(self._folder_of(seed), outcome)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def _put(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder. Only the last component of each name is used, so that no file is written elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / Path(name).name).write_bytes(content)
