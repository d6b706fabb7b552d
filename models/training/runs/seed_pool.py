"""Seeds of one training in other processes or on other machines: each leaves its folder as `fit` leaves it, to be taken
up here.

What comes of it is the same to the bit on a CPU: a seed that is at its end is only read.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from quantd.models.learners.record import Diverged
from quantd.models.training.plans.plan import Plan
from quantd.models.training.runs.workers import Executor, Failed
from quantd.models.training.seeds import checkpoints
from quantd.models.training.seeds.markets import markets_of
from quantd.models.training.seeds.seed_run import Progress, fit
from quantd.trading.exit_codes import ExplainedError


class SeedFailed(ExplainedError, RuntimeError):
    """A seed ended in another process with an error that says nothing of the plan."""


class SeedJob(Struct, frozen=True):
    """One seed, as it is handed out."""

    plan: Plan
    seed: int
    folder: str
    resume: bool
    carried: dict[str, bytes] | None = None
    """Files of its folder, where the worker does not see it; None: it does."""


def fit_seed(job: SeedJob, tell: Callable[[Progress], bool]) -> dict[str, bytes]:
    """The work that `quantd.models.training.runs.workers` spreads; gives the files where they have to be
    carried back."""
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
    told: Callable[[Progress], bool],
    *,
    resume: bool,
) -> bool:
    """Fits every seed of `plan`; True when one was asked to end before it was at its end. Raises Diverged,
    SeedFailed."""
    watch = _Course(plan, folder_of, executor.shares_disk, told)

    def job(seed: int) -> SeedJob:
        folder = folder_of(seed)
        carried = _files(folder) if resume and folder.is_dir() else {}
        return SeedJob(plan, seed, str(folder), resume, None if executor.shares_disk else carried)

    executor.run(fit_seed, map(job, plan.seeds), watch)
    return watch.asked


def diverged(plan: Plan, seed: int, folder: Path, reason: str) -> Diverged:
    """What to say of a seed that came to values that are not finite."""
    kept = checkpoints.there(folder)
    good = f"its last good checkpoint is {kept[-1]}" if kept else "it had no checkpoint yet"
    return Diverged(
        f"seed {seed} diverged {reason}. Nothing after that is kept; {good}. "
        f"Most often learner.learning_rate is too high "
        f"(now {getattr(plan.learner, 'learning_rate', '?')}), or the data hold a price that is none: quantd data check"
    )


class _Course:
    def __init__(
        self, plan: Plan, folder_of: Callable[[int], Path], shared: bool, told: Callable[[Progress], bool]
    ) -> None:
        self._plan, self._folder_of, self._shared, self._told = plan, folder_of, shared, told
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
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / Path(name).name).write_bytes(content)
