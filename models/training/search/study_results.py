"""The trials of a hyper-parameter study as rows, and what their scores depend on."""

import math
from typing import Final, Literal

import optuna
from msgspec import Struct
from optuna.trial import FrozenTrial, TrialState

from quantd.models.learners.record import Space
from quantd.models.training.search.spaces import Value, value

BEFORE_PRUNING: Final = 5
"""Trials that end before any is stopped early; what MedianPruner does unless told otherwise."""


INDEX, ASKED, REASON, SECONDS, SCORES, STEPS = "index", "asked", "reason", "seconds", "scores", "steps"
"""What is kept of a trial, or of the study, beside what Optuna keeps."""


State = Literal["complete", "pruned", "failed"]


class Row(Struct, frozen=True):
    """A trial as it ended."""

    index: int
    """Which it is of those asked for, from 0; one that is tried again keeps it."""
    state: State
    score: float
    """Annual Sharpe ratio on the validation part; of a pruned one, its newest before it was stopped. NaN where there is
    none."""
    scores: tuple[float, ...]
    steps: int
    seconds: float
    values: dict[str, Value]
    reason: str


def rows_of(study: optuna.Study, space: Space, number: int | None = None) -> tuple[Row, ...]:
    """Trials that ended, in the order in which they are asked for; what was broken off is left out."""
    named = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    rows = (
        Row(
            trial.user_attrs[INDEX],
            named[trial.state.name],  # type: ignore[arg-type]
            _score(trial),
            tuple(trial.user_attrs.get(SCORES, ())),
            int(trial.user_attrs.get(STEPS, 0)),
            float(trial.user_attrs.get(SECONDS, math.nan)),
            {name: value(where, trial.params[name]) for name, where in space.items() if name in trial.params},
            str(trial.user_attrs.get(REASON, "")),
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and not _broken(trial) and number in (None, trial.number)
    )
    return tuple(sorted(rows, key=lambda row: row.index))


def importances(study: optuna.Study) -> dict[str, float]:
    """How much of the best tenth's difference from all trials each key explains (PED-ANOVA, Watanabe et al. 2023), the
    largest first; nothing where there are too few trials to say."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < BEFORE_PRUNING or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    try:
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    except (ValueError, RuntimeError):
        return {}


def _score(trial: FrozenTrial) -> float:
    if trial.state is TrialState.COMPLETE and trial.value is not None:
        return trial.value
    last = trial.last_step
    return math.nan if last is None else trial.intermediate_values[last]


def _broken(trial: FrozenTrial) -> bool:
    """It was cut off before it said anything: no reason is kept, and no index where even that came too late."""
    return INDEX not in trial.user_attrs or (trial.state is TrialState.FAIL and REASON not in trial.user_attrs)
