"""One seed of a plan: learns in the training part, is judged on the validation part now and then, keeps the best, can
be taken up again.

Everything is decided where a learner reports, for there a state says all that comes after.
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

from quantd.models.learners.record import Algorithm, Diverged, Report, State, part
from quantd.models.market.normalisation import Scale
from quantd.models.training.plans.plan import Plan, described
from quantd.models.training.seeds import checkpoints
from quantd.models.training.seeds.checkpoints import Place
from quantd.models.training.seeds.environment import Ground
from quantd.models.training.seeds.imitation import imitate
from quantd.models.training.seeds.learner import learner_of, policy_of, policy_state, q_value, sound
from quantd.models.training.seeds.markets import Markets
from quantd.models.training.seeds.records import Files, figures
from quantd.models.training.seeds.validation import evaluate

BEST: Final = "best"
STOPPED: Final = "stopped"
"""Asked to by who listens; it can be taken up again."""


class Progress(Struct, frozen=True):
    """What a seed has to say after each report of its learner."""

    seed: int
    steps: int
    steps_per_s: float
    losses: dict[str, float]
    mean_return: float
    """Of episodes that ended since the one before, in units of the normalised reward; NaN when none did."""
    score: float | None
    """Sharpe ratio on the validation part; None where it was not looked at, or there is none."""
    best: float | None
    """The best one so far; None before the first."""
    metrics: dict[str, float]
    """All of it as metrics.csv has it; NaN where not measured."""
    looked: bool = False
    """At the validation part, this time."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A seed as it was at its best on the validation part."""

    seed: int
    learner: Algorithm
    normaliser: Scale | None
    """None where the plan normalises nothing."""
    score: float
    """Its Sharpe ratio there after costs; NaN when it never held anything that moved."""
    step: int
    """At which it was so,"""
    steps: int
    """of so many made."""
    ended: str
    """"end", "patience", or "stopped" when it was asked to."""


def fit(
    plan: Plan,
    markets: Markets,
    seed: int,
    folder: Path | None,
    report: Callable[[Progress], bool],
    *,
    resume: bool = False,
) -> Fitted:
    """Until `plan.steps`, until patience is over or until `report` says True. With a folder it leaves records and
    checkpoints there; with `resume` it goes on from the newest of them, and comes to the same bits on a CPU as if never
    interrupted.

    Raises Diverged, CheckpointError.
    """
    torch.set_num_threads(1)
    course = _Course(plan, markets, seed, folder, report)
    newest = checkpoints.there(folder) if folder is not None and resume else []
    if newest:
        course.load(*checkpoints.read(newest[-1], plan))
    course.begin(fresh=not newest)
    if not course.place.ended:
        try:
            course.learner.learn(course.ground, plan.steps, course.told)
        except FloatingPointError as error:
            raise Diverged(f"after {course.place.step} steps: {error}") from None
    return course.fitted()


class _Course:
    """What one call of `fit` keeps in mind."""

    def __init__(
        self, plan: Plan, markets: Markets, seed: int, folder: Path | None, report: Callable[[Progress], bool]
    ) -> None:
        self.plan: Final = plan
        self.markets: Final = markets
        self.ground: Final = Ground(plan, markets.train, seed)
        self.learner: Final[Algorithm] = learner_of(plan.learner, self.ground, seed, plan.device)
        self.place = Place(seed, 0)
        self._best: State = {}
        self._folder: Final = folder
        self._report: Final = report
        self._files: Files | None = None

    def begin(self, *, fresh: bool) -> None:
        """Opens the records, and imitates where the plan says so."""
        if self._folder is not None:
            self._files = Files(self._folder, None if fresh else self.place.step)
            self._files.log_params(described(self.plan))
            if fresh:
                for left in (*checkpoints.there(self._folder), self._folder / BEST):
                    left.with_suffix(".json").unlink(missing_ok=True)
                    left.with_suffix(".safetensors").unlink(missing_ok=True)
        if fresh and self.plan.clone:
            imitate(self.plan, self.markets, self.learner, self.ground)

    def told(self, report: Report) -> bool:
        """A learner's report; True ends it."""
        plan, place = self.plan, self.place
        steps, losses = report.steps, report.losses
        if not sound(self.learner):
            raise Diverged(f"after {steps} steps: weights are not finite")
        more = self.ground.told()
        if (q := q_value(self.learner, self.ground.observation())) is not None:
            more["q_value"] = q
        due = steps // plan.evaluate_every > place.evaluated // plan.evaluate_every or steps >= plan.steps
        saved = steps // plan.checkpoint_every > place.step // plan.checkpoint_every
        self.place = msgspec.structs.replace(place, step=steps)
        score = self._evaluated() if due else None
        place, best = self.place, self.place.best_score
        more |= {"validation_score": _number(score), "best_score": _number(best)}
        metrics = figures(report, more)
        if self._files is not None:
            self._files.log_metrics(metrics, steps)
        asked = self._report(
            Progress(place.seed, steps, report.steps_per_s, losses, report.mean_return, score, best, metrics, due)
        )
        ended = "end" if steps >= plan.steps else ""
        if not ended and plan.patience and place.stale >= plan.patience:
            ended = "patience"
        self.place = msgspec.structs.replace(place, ended=ended)
        if saved or ended or asked:
            self.save()
        return bool(ended) or asked

    def save(self) -> None:
        """A checkpoint of where it stands."""
        if self._folder is None:
            return
        state = {f"learner.{name}": value for name, value in self.learner.state().items()}
        state |= {f"best.{name}": value for name, value in self._best.items()}
        checkpoints.write(checkpoints.path_of(self._folder, self.place.step), self.plan, self.place, state)
        checkpoints.prune(self._folder, self.plan.keep)

    def load(self, place: Place, state: State) -> None:
        self.place = place
        self.learner.load(part(state, "learner."))
        self._best = part(state, "best.")
        # a longer plan, or more patience, goes on
        over = (place.ended == "end" and place.step >= self.plan.steps) or place.ended == "patience"
        self.place = msgspec.structs.replace(place, ended=place.ended if over else "")

    def fitted(self) -> Fitted:
        """With the best weights in a learner of their own."""
        place = self.place
        learner = learner_of(self.plan.learner, self.ground, place.seed, self.plan.device)
        learner.load(part(self._best, "policy.") if self._best else policy_state(self.learner.state()))
        scale = self._scale() if self._best else self.ground.scale
        score = _number(place.best_score)
        return Fitted(place.seed, learner, scale, score, place.best_step, place.step, place.ended or STOPPED)

    def _evaluated(self) -> float | None:
        """The score of the policy as it is; takes it as the best where it is."""
        place, scale = self.place, self.ground.scale
        score = evaluate(
            policy_of(self.learner, scale, self.plan.market, self.markets.symbols),
            self.markets.validation,
            self.plan.market,
        ).score
        known = None if math.isnan(score) else score
        better = known is not None and (place.best_score is None or known > place.best_score)
        if better or not self._best:
            self._best = {f"policy.{name}": value for name, value in policy_state(self.learner.state()).items()}
            if scale is not None:
                self._best |= {"scale.mean": scale.mean, "scale.deviation": scale.deviation}
            place = msgspec.structs.replace(place, best_score=known, best_step=place.step)
        stale = 0 if better else place.stale + 1
        self.place = msgspec.structs.replace(place, evaluated=place.step, stale=stale)
        if self._folder is not None and self.place.best_step == self.place.step:
            checkpoints.write(self._folder / BEST, self.plan, self.place, self._best)
        return known

    def _scale(self) -> Scale | None:
        mean, deviation = self._best.get("scale.mean"), self._best.get("scale.deviation")
        if not isinstance(mean, Tensor) or not isinstance(deviation, Tensor):
            return None
        return Scale(mean, deviation)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
