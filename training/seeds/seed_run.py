"""Trains one seed of a plan, with evaluations on the validation part, the best weights, and resumable checkpoints.

Every decision (to evaluate, save or stop) is made when the learner reports, because its state is complete then.

What can go wrong. A seed whose weights are not finite would overwrite its last good checkpoint: so the weights are
checked before anything is written. A resumed seed would differ from an uninterrupted one: so the learner, the best
weights and the progress are in one checkpoint. The best weights with the normalisation of another step would be another
policy: so the normalisation is stored with the weights.

What the order guarantees. The step is set before the evaluation, which may record it as the best step. The report to
the caller follows the evaluation, and the checkpoint is written last, so that it has the score and the reason of the
end.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import torch
from msgspec import Struct
from torch import Tensor

from quantd.training.learners.record import Algorithm, Diverged, Report, State, part
from quantd.training.market.normalisation import Scale
from quantd.training.plans.plan import Plan, described
from quantd.training.seeds import checkpoints
from quantd.training.seeds.checkpoints import Place
from quantd.training.seeds.environment import Ground
from quantd.training.seeds.imitation import imitate
from quantd.training.seeds.learner import learner_of, policy_of, policy_state, q_value, sound, state_on
from quantd.training.seeds.markets import Markets
from quantd.training.seeds.records import Files, figures
from quantd.training.seeds.validation import Walked, equal_weight, evaluate, excess

BEST: Final = "best"
"""Name of the checkpoint of the best evaluation."""
STOPPED: Final = "stopped"
"""End of a seed on request; it can be resumed."""


class Progress(Struct, frozen=True):
    """Progress of a seed at a report of its learner."""

    seed: int
    steps: int
    steps_per_s: float
    score: float | None
    """The ratio that the plan chooses by, on the validation part; None without an evaluation, or without a ratio."""
    best: float | None
    """The best score so far; None before the first."""
    metrics: dict[str, float]
    """All figures, losses and returns included, as in metrics.csv; NaN where not measured."""
    looked: bool = False
    """True when the validation part was evaluated at this report."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained seed with the weights of its best evaluation on the validation part."""

    seed: int
    learner: Algorithm
    normaliser: Scale | None
    """None without normalisation."""
    score: float
    """The ratio that the plan chooses by, on the validation part after costs; NaN when equity never moved."""
    step: int
    """Step of the best evaluation."""
    steps: int
    """Total steps."""
    ended: str
    """"end", "patience", or "stopped" on request."""


def fit(
    plan: Plan,
    markets: Markets,
    seed: int,
    folder: Path | None,
    report: Callable[[Progress], bool],
    *,
    resume: bool = False,
) -> Fitted:
    """Train one seed until `plan.steps`, until patience ends, or until `report` returns True.

    With a folder, the function writes records and checkpoints into it; with `resume` it continues from the newest
    checkpoint, bit-identical on a CPU. Raises Diverged, CheckpointError.
    """
    torch.set_num_threads(1)
    course = _course_of(plan, markets, seed, folder, report, resume=resume)
    if not course.place.ended:
        try:
            course.learner.learn(course.ground, plan.steps, course.told)
        except FloatingPointError as error:
            raise Diverged(f"after {course.place.step} steps: {error}") from None
    return course.fitted()


class SeedDiverged(Diverged):
    """One of several seeds reached values that are not finite."""

    def __init__(self, seed: int, text: str) -> None:
        super().__init__(text)
        self.seed: Final = seed


def fit_all(
    plan: Plan,
    markets: Markets,
    folder_of: Callable[[int], Path],
    report: Callable[[Progress], bool],
    *,
    resume: bool = False,
) -> list[Fitted]:
    """Train every seed of `plan`.

    The seeds are trained one after another. The function ends early where `report` stops a seed. Raises SeedDiverged,
    CheckpointError.
    """
    fitted: list[Fitted] = []
    for seed in plan.seeds:
        try:
            fitted.append(fit(plan, markets, seed, folder_of(seed), report, resume=resume))
        except Diverged as error:
            raise SeedDiverged(seed, str(error)) from None
        if fitted[-1].ended == STOPPED:
            break
    return fitted


def _course_of(
    plan: Plan, markets: Markets, seed: int, folder: Path | None, report: Callable[[Progress], bool], *, resume: bool
) -> "_Course":
    """Return the training of one seed, at its start or, with `resume`, at its newest checkpoint."""
    course = _Course(plan, markets, seed, folder, report)
    newest = checkpoints.there(folder) if folder is not None and resume else []
    if newest:
        course.load(*checkpoints.read(newest[-1], plan))
    course.begin(fresh=not newest)
    return course


class _Course:
    """The training of one seed: learner, environment, progress, best weights and records."""

    def __init__(
        self, plan: Plan, markets: Markets, seed: int, folder: Path | None, report: Callable[[Progress], bool]
    ) -> None:
        """Make the environment and an untrained learner; `begin` opens the records. With `folder` None, nothing is
        written.

        `place` is the progress of the seed, `_best` the policy with the best score so far (empty before the first
        evaluation), and `_files` its records.
        """
        self.plan: Final = plan
        self.markets: Final = markets
        self.ground: Final = Ground(plan, markets.train, seed)
        self.learner: Final[Algorithm] = learner_of(plan.learner, self.ground, seed, plan.device)
        self.place = Place(seed, 0)
        self._best: State = {}
        self._folder: Final = folder
        self._report: Final = report
        self._files: Files | None = None
        self._equal: Walked | None = None
        """Equal weight on the validation part; None until it is first needed."""

    def begin(self, *, fresh: bool) -> None:
        """Open the records, and imitate a classical policy if the plan names one.

        A fresh seed removes the files of an earlier run; a resumed one keeps its records up to its checkpoint.
        """
        if self._folder is not None:
            self._files = Files(self._folder, None if fresh else self.place.step)
            self._files.log_params(described(self.plan))
            if fresh:
                checkpoints.remove(*checkpoints.there(self._folder), self._folder / BEST)
        if fresh and self.plan.clone:
            imitate(self.plan, self.markets, self.learner, self.ground)
        if fresh and self.plan.choose_by != "sharpe":
            # the untrained policy counts as equal weight, which has no excess
            self.place = self._kept(0.0)
            self._write_best()

    def told(self, report: Report) -> bool:
        """Process a report of the learner: evaluate, record, save. Returns True to end the training of the seed."""
        plan, place = self.plan, self.place
        steps = report.steps
        # before anything is written, so that the last checkpoint stays good
        if not sound(self.learner):
            raise Diverged(f"after {steps} steps: weights are not finite")
        further = self.ground.means()
        if (mean_value := q_value(self.learner, self.ground.observation())) is not None:
            further["q_value"] = mean_value
        evaluation_due = steps // plan.evaluate_every > place.evaluated // plan.evaluate_every or steps >= plan.steps
        checkpoint_due = steps // plan.checkpoint_every > place.step // plan.checkpoint_every
        # before the evaluation, which records this step as that of the best score
        self.place = msgspec.structs.replace(place, step=steps)
        score = self._evaluated() if evaluation_due else None
        place, best = self.place, self.place.best_score
        further |= {"validation_score": _number(score), "best_score": _number(best)}
        metrics = figures(report, further)
        if self._files is not None:
            self._files.log_metrics(metrics, steps)
        stop_requested = self._report(
            Progress(place.seed, steps, report.steps_per_s, score, best, metrics, evaluation_due)
        )
        ended = "end" if steps >= plan.steps else ""
        # `stale` counts the evaluations since the best one; without patience the training goes to its end
        if not ended and plan.patience and place.stale >= plan.patience:
            ended = "patience"
        self.place = msgspec.structs.replace(place, ended=ended)
        if checkpoint_due or ended or stop_requested:
            self.save()
        return bool(ended) or stop_requested

    def save(self) -> None:
        """Write a checkpoint of the learner, the best weights and the progress."""
        if self._folder is None:
            return
        state = {f"learner.{name}": value for name, value in self.learner.state().items()}
        state |= {f"best.{name}": value for name, value in self._best.items()}
        checkpoints.write(checkpoints.path_of(self._folder, self.place.step), self.plan, self.place, state)
        checkpoints.prune(self._folder, self.plan.keep)

    def load(self, place: Place, state: State) -> None:
        self.place = place
        state = state_on(state, self.plan.device)
        self.learner.load(part(state, "learner."))
        self._best = part(state, "best.")
        # a seed at the end of its steps goes on where the plan now has more steps; one that lost patience does not
        is_over = (place.ended == "end" and place.step >= self.plan.steps) or place.ended == "patience"
        self.place = msgspec.structs.replace(place, ended=place.ended if is_over else "")

    def fitted(self) -> Fitted:
        """Return the trained seed, with the best weights in a new learner on the CPU, for evaluation and export."""
        place = self.place
        learner = learner_of(self.plan.learner, self.ground, place.seed)
        state = part(self._best, "policy.") if self._best else policy_state(self.learner.state())
        # the state of a GPU's generator does not fit a CPU's, which keeps its new state: a policy draws nothing
        new_generator = {} if self.plan.device == "cpu" else {"random": learner.state()["random"]}
        learner.load(state_on(state, "cpu") | new_generator)
        scale = self._scale() if self._best else self.ground.scale
        if scale is not None:
            scale = Scale(scale.mean.cpu(), scale.deviation.cpu(), scale.clip)
        score = _number(place.best_score)
        return Fitted(place.seed, learner, scale, score, place.best_step, place.step, place.ended or STOPPED)

    def _evaluated(self) -> float | None:
        """Evaluate the current policy, and store it if it is the best. Returns its score."""
        place, scale = self.place, self.ground.scale
        account, market = self.plan.market, self.markets.validation
        walked = evaluate(policy_of(self.learner, scale, account, self.markets.symbols), market, account)
        if self.plan.choose_by == "sharpe":
            score = walked.performance.sharpe
        else:
            if self._equal is None:
                self._equal = equal_weight(market, account)
            score = excess(walked, self._equal, self.plan.choose_by, self.plan.errors_above)
        finite_score = None if math.isnan(score) else score
        is_better = finite_score is not None and (place.best_score is None or finite_score > place.best_score)
        # the first policy is stored even without a score
        if is_better or not self._best:
            place = self._kept(finite_score)
        stale = 0 if is_better else place.stale + 1
        self.place = msgspec.structs.replace(place, evaluated=place.step, stale=stale)
        if self.place.best_step == self.place.step:
            self._write_best()
        return finite_score

    def _write_best(self) -> None:
        if self._folder is not None:
            checkpoints.write(self._folder / BEST, self.plan, self.place, self._best)

    def _kept(self, score: float | None) -> Place:
        """Store the current policy as the best one. Returns the progress with the score and step of this policy."""
        scale = self.ground.scale
        self._best = {f"policy.{name}": value for name, value in policy_state(self.learner.state()).items()}
        if scale is not None:
            self._best |= {"scale.mean": scale.mean, "scale.deviation": scale.deviation}
        return msgspec.structs.replace(self.place, best_score=score, best_step=self.place.step)

    def _scale(self) -> Scale | None:
        mean, deviation = self._best.get("scale.mean"), self._best.get("scale.deviation")
        if not isinstance(mean, Tensor) or not isinstance(deviation, Tensor):
            return None
        return Scale(mean, deviation)


def _number(value: float | None) -> float:
    """Return `value`, or NaN for None."""
    return float("nan") if value is None else value
