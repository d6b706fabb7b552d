"""The trials of a hyper-parameter study as rows, and the importance of the searched keys.

What can go wrong. An interrupted trial would count as a result, since Optuna has the same state for failed and for
interrupted trials. A failed trial has a recorded reason: so a failed trial without a reason counts as interrupted. It
is not among the rows, and its index is used again.
"""

import math
from typing import Final, Literal

import optuna
from msgspec import Struct
from optuna.trial import FrozenTrial, TrialState

from quantd.training.learners.record import Space
from quantd.training.search.spaces import Value, value

BEFORE_PRUNING: Final = 5
"""Trials that end before any is pruned, MedianPruner's default."""


INDEX, ASKED, REASON, SECONDS, SCORES, STEPS = "index", "asked", "reason", "seconds", "scores", "steps"
"""Names of attributes that are added to a trial or a study."""

State = Literal["complete", "pruned", "failed"]


class Row(Struct, frozen=True):
    """A trial that has ended: its settings, score, steps and time."""

    index: int
    """Its index among the requested trials, from 0; a trial that is repeated has the index of the interrupted one."""
    state: State
    score: float
    """Annual Sharpe ratio on the validation part: the last reported one for a pruned trial, NaN without any."""
    scores: tuple[float, ...]
    steps: int
    seconds: float
    values: dict[str, Value]
    reason: str


def rows_of(study: optuna.Study, space: Space, number: int | None = None) -> tuple[Row, ...]:
    """Return ended trials in order of their index, without interrupted ones; with `number`, only the trial with this
    Optuna number.
    """
    state_names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    rows = (
        Row(
            trial.user_attrs[INDEX],
            state_names[trial.state.name],  # type: ignore[arg-type]
            _score(trial),
            tuple(trial.user_attrs.get(SCORES, ())),
            int(trial.user_attrs.get(STEPS, 0)),
            float(trial.user_attrs.get(SECONDS, math.nan)),
            {name: value(trial.params[name]) for name in space if name in trial.params},
            str(trial.user_attrs.get(REASON, "")),
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and not _broken(trial) and number in (None, trial.number)
    )
    return tuple(sorted(rows, key=lambda row: row.index))


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the importance of each searched key by PED-ANOVA (Watanabe and others 2023), largest first.

    The result is empty for few trials, for trials of one score, and where Optuna cannot compute it.
    """
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
    """Return True for an interrupted trial: it has no index, or it failed without a reason."""
    return INDEX not in trial.user_attrs or (trial.state is TrialState.FAIL and REASON not in trial.user_attrs)
