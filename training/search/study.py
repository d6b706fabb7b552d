"""Searches the hyper-parameters of a learner by Optuna's TPE (Bergstra et al. 2011) on the validation part.

The test part of the data cannot be read by trials. A study, the record of a search, is one SQLite file. Interrupted
trials are repeated. Each trial draws from a random generator of its own, so that a continued search with one worker has
the results of an uninterrupted one.

What can go wrong. A trial would be chosen by the test part: so the test part is sealed, and reading it raises an error.
An interrupted study would end with other trials than an uninterrupted one: so each trial's generator depends on the
study's seed and the trial's index alone, and the reports of an interrupted attempt are repeated for the pruner, which
ends bad trials early. A study would go on with other settings or data: so such a study is refused, and the message
names the first setting that differs. Two searches would write one file: so the second search is refused.

What the order guarantees. Trials that an ended process left open are marked as failed first, which frees their indices.
A trial's folder is removed after its result is stored. The folder of a trial that was stopped by a time limit or on
request is not removed.
"""

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import optuna
from msgspec import Struct
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy import event

from quantd.models.artifacts.folder import locked
from quantd.models.history.panel_files import file_digest
from quantd.regular_file import remove_folder
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.training.learners.record import Space
from quantd.training.plans.plan import Plan, described, replaced
from quantd.training.runs.workers import Executor, Failed
from quantd.training.search.spaces import dump, suggest, with_ranges
from quantd.training.search.study_results import (
    ASKED,
    BEFORE_PRUNING,
    INDEX,
    REASON,
    SCORES,
    SECONDS,
    STEPS,
    Row,
    _broken,
    rows_of,
)
from quantd.training.seeds.markets import markets_of
from quantd.training.seeds.seed_run import Progress, fit

STUDY: Final = "study.db"

UNDER_WAY: Final = "under-way"
"""Folder of checkpoints of interrupted trials."""

EVALUATIONS: Final = 10
"""Minimum evaluations of a trial, which the pruner compares."""


class StudyError(ExplainedError, ValueError):
    """A study that cannot continue as requested; the message has reason and remedy."""

    exit_code = CONFIG


class Search(Struct, frozen=True):
    """A hyper-parameter search: its plan, its name and its limits.

    Raises StudyError for counts below 1 and a time limit that is not above 0.
    """

    plan: Plan
    """The base of every trial; the search space of its agent is applied to it."""
    study: str
    trials: int = 50
    """Total, earlier runs included."""
    max_steps: int = 50_000
    """Env-steps of each seed of a trial."""
    seeds: int = 1
    """Number of seeds in the mean score of a trial."""
    sampler_seed: int = 0
    timeout_s: float = math.inf
    """Time after which no trial starts and running trials end after their evaluation."""
    over: tuple[str, ...] = ()
    """Ranges that replace the learner's, or are added: "learner.gamma=0.2:0.9" (`spaces.with_ranges`)."""

    def __post_init__(self) -> None:
        if min(self.trials, self.max_steps, self.seeds) < 1 or not self.timeout_s > 0.0:
            raise StudyError("trials, max_steps and seeds must be 1 or more, timeout above 0")

    @property
    def space(self) -> Space:
        """The search space of the plan's learner, with the ranges that `over` sets.

        Raises RangeError for a wrong range.
        """
        return with_ranges(self.plan, self.over)

    @property
    def base(self) -> Plan:
        """The plan from which the trials start: the plan of a trial before the searched values are set."""
        seeds = self.plan.seeds[: self.seeds]
        # as many seeds as a trial has: where the plan has fewer, the next numbers
        further_seeds = range(max(seeds) + 1, max(seeds) + 1 + self.seeds - len(seeds))
        # the score of a trial is a Sharpe ratio, whatever the plan chooses its evaluations by
        changes: dict[str, object] = {"seeds": (*seeds, *further_seeds), "choose_by": "sharpe"}
        batch, rollout = self.plan.market.batch, 1
        if "learner.horizon" in self.space:
            rollout = max(self.space["learner.horizon"].values)  # type: ignore[union-attr, assignment]
        elif (horizon := getattr(self.plan.learner, "horizon", 0)) > 0:
            rollout = min(horizon, max(1, self.max_steps // batch))
            changes["learner.horizon"] = rollout
        # rounded down to whole rollouts: a learner stops only after a rollout, and must not take more than max_steps
        steps = max(1, self.max_steps // (batch * rollout)) * batch * rollout
        changes |= {"steps": steps, "evaluate_every": min(self.plan.evaluate_every, max(1, steps // EVALUATIONS))}
        # a trial is short: it has one checkpoint, when it ends or is stopped
        return replaced(self.plan, {**changes, "checkpoint_every": steps + 1, "keep": 1})


class Job(Struct, frozen=True):
    """One trial of a search, as a job for a worker."""

    plan: Plan
    folder: str = ""
    """Folder of its checkpoint when stopped; empty for none."""


class Evaluation(Struct, frozen=True):
    """Progress of a trial.

    `score` is the mean over the scores of the completed seeds and the newest score of the current seed.
    """

    steps: int
    """Env-steps of all its seeds so far."""
    at: int
    """The steps, rounded down to a multiple of `evaluate_every`, so that the pruner compares trials at equal steps."""
    score: float
    last: bool
    """True at the last step of the last seed."""


class Tried(Struct, frozen=True):
    """An ended or stopped trial; `score` is the mean of each seed's best validation score."""

    score: float
    scores: tuple[float, ...]
    steps: int
    seconds: float


class Sitting(Struct, frozen=True):
    """The state of a study after a run of its search."""

    rows: tuple[Row, ...]
    before: int
    """Trials of earlier runs."""
    broken: int
    """Interrupted and repeated trials, of all runs."""
    finished: bool
    """Whether all requested trials are done."""

    @property
    def best(self) -> Row | None:
        """The complete trial with the highest score, the first of equal ones; None without a complete trial."""
        complete = [row for row in self.rows if row.state == "complete" and math.isfinite(row.score)]
        return max(complete, key=lambda row: row.score, default=None)


def attempt(job: Job, tell: Callable[[Evaluation], bool]) -> Tried:
    """Run one trial in a worker: train its plan with each of its seeds."""
    began = time.perf_counter()
    plan, markets = job.plan, markets_of(job.plan)
    scores: list[float] = []
    total_steps, stopped = 0, False
    for seed_index, seed in enumerate(plan.seeds):

        def report(progress: Progress, seeds_done: int = seed_index) -> bool:
            # `seeds_done` is a default value, because `seed_index` changes with the loop
            nonlocal stopped
            if progress.score is None:
                return False
            # the mean of the finished seeds and of the present one
            so_far = math.fsum((*scores, progress.score)) / (seeds_done + 1)
            steps = seeds_done * plan.steps + progress.steps
            last = seeds_done + 1 == len(plan.seeds) and progress.steps >= plan.steps
            # `tell` returns True where the trial has to end
            stopped = tell(Evaluation(steps, steps - steps % plan.evaluate_every, so_far, last)) and not last
            return stopped

        folder = Path(job.folder) / str(seed) if job.folder else None
        fitted = fit(plan, markets, seed, folder, report, resume=folder is not None)
        scores.append(fitted.score)
        total_steps += fitted.steps
        if stopped:
            break
    return Tried(math.fsum(scores) / len(scores), tuple(scores), total_steps, time.perf_counter() - began)


class Course:
    """One run of a search: asks Optuna for trials, distributes them to workers, and reports their results to Optuna.

    Implements `Watch`, which receives progress of workers.
    """

    def __init__(
        self, study: optuna.Study, search: Search, folder: Path | None, parallel: bool, note: Callable[[Row, int], None]
    ) -> None:
        """Mark the trials that an interrupted run left open as failed. `broken` counts interrupted trials of all runs.

        `note` gets the row of each ended trial. With `folder` None, trials store no files. `parallel` is True for
        several workers. `_trials`, `_folders` and `_reported` (the steps reported to Optuna) have an entry for each
        trial of this run, by number. `_asked_to_end` is "pruned" where the pruner ends a trial, "cut" where the study
        stops.
        """
        self._study, self._search, self._note = study, search, note
        self._folder, self._parallel = folder, parallel
        self._base: Final = search.base
        self._until = time.monotonic() + search.timeout_s
        self._trials: list[optuna.Trial] = []
        self._asked_to_end: dict[int, Literal["pruned", "cut"]] = {}
        self._folders: list[Path | None] = []
        self._reported: list[set[int]] = []
        self._stopped = False
        self.broken = self._fail_open_trials()

    def stop(self) -> None:
        """Stop starting trials; running trials end after their current evaluation."""
        self._stopped = True

    @property
    def stopping(self) -> bool:
        """Whether no further trial starts: on request, or after the time limit."""
        return self._stopped or time.monotonic() >= self._until

    def jobs(self) -> Iterator[Job]:
        """Yield a job for each trial that the study lacks; a worker that is free takes the next one."""
        while not self.stopping:
            used_indices = {
                trial.user_attrs[INDEX] for trial in self._study.get_trials(deepcopy=False) if not _broken(trial)
            }
            index = next(i for i in range(len(used_indices) + 1) if i not in used_indices)
            if index >= self._search.trials:
                return
            # a generator for each trial, so that an interrupted study draws what it would have drawn without it
            seed = int(np.random.SeedSequence((self._search.sampler_seed, index)).generate_state(1)[0])
            # constant_liar: open trials count as bad ones, so that workers do not try the same values
            self._study.sampler = TPESampler(seed=seed, constant_liar=self._parallel)
            trial = self._study.ask()
            trial.set_user_attr(INDEX, index)
            plan = replaced(self._base, suggest(self._search.space, trial))
            self._remember(trial, index)
            self._trials.append(trial)
            self._folders.append(self._folder_of(trial, index))
            yield Job(plan, str(self._folders[-1] or ""))

    def told(self, number: int, message: Evaluation) -> bool:
        """Report an evaluation of a trial, once for each step.

        Returns True when the trial has to end: Optuna prunes it, or the study stops. `number` is the trial's index in
        this run, and `message.at` its steps, rounded down so that trials are compared at equal steps.
        """
        trial = self._trials[number]
        if math.isfinite(message.score) and message.at not in self._reported[number]:
            self._reported[number].add(message.at)
            trial.report(message.score, message.at)
        if message.last:
            return False
        if trial.should_prune():
            self._asked_to_end[number] = "pruned"
        elif self.stopping:
            self._asked_to_end[number] = "cut"
        return number in self._asked_to_end

    def ended(self, number: int, outcome: Tried | Failed) -> None:
        """Record the outcome of a trial: its score, or that it was pruned, failed, or cut because the study stopped.

        The next run of the study continues a trial that was cut. The folder of any other trial is removed.
        """
        trial, reason = self._trials[number], self._asked_to_end.get(number)
        if isinstance(outcome, Failed):
            self._failed(trial, outcome)
        elif reason == "cut":
            self._study.tell(trial, state=TrialState.FAIL)
            self.broken += 1
            return  # its folder stays: the next run of the study goes on with it
        else:
            trial.set_user_attr(SECONDS, outcome.seconds)
            trial.set_user_attr(SCORES, outcome.scores)
            trial.set_user_attr(STEPS, outcome.steps)
            if reason == "pruned":
                self._study.tell(trial, state=TrialState.PRUNED)
            elif math.isfinite(outcome.score):
                self._study.tell(trial, outcome.score)
            else:
                trial.set_user_attr(REASON, "no score: the account did not move")
                self._study.tell(trial, state=TrialState.PRUNED)
        folder = self._folders[number]
        if folder is not None:
            remove_folder(folder, ignore_errors=True)
        (row,) = rows_of(self._study, self._search.space, trial.number)
        self._note(row, self._search.trials)

    def _failed(self, trial: optuna.Trial, failed: Failed) -> None:
        """Record a failed trial. A diverged trial counts as pruned, because Optuna does not learn from failed trials.

        Raises StudyError where the first trial failed, since the next trials would fail in the same way.
        """
        trial.set_user_attr(REASON, failed.reason)
        diverged = failed.kind == "Diverged"
        self._study.tell(trial, state=TrialState.PRUNED if diverged else TrialState.FAIL)
        any_ended = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if not diverged and not any_ended:
            raise StudyError(f"the first trial failed: {failed.reason}")

    def _remember(self, trial: optuna.Trial, index: int) -> None:
        """Repeat the reports of an interrupted attempt of a trial, so that the pruner decides as without the
        interruption.
        """
        # `index` is the number of the trial in the study, the same for a repeated attempt
        reports = [
            failed_trial.intermediate_values
            for failed_trial in self._study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            if _broken(failed_trial)
            and failed_trial.user_attrs.get(INDEX) == index
            and failed_trial.params == trial.params
        ]
        values = reports[-1] if reports else {}
        for step in sorted(values):
            trial.report(values[step], step)
        self._reported.append(set(values))

    def _folder_of(self, trial: optuna.Trial, index: int) -> Path | None:
        """Return the folder of a trial, or None where no folder is stored.

        The name of the folder has the index of the trial and a hash of its values: with several workers, a repeated
        index may get other values.
        """
        if self._folder is None:
            return None
        values = blake2b(repr(sorted(trial.params.items())).encode(), digest_size=4).hexdigest()
        return self._folder / self._search.study / f"{index}-{values}"

    def _fail_open_trials(self) -> int:
        """Mark the open trials of an interrupted run as failed, which frees their indices.

        Returns the number of interrupted trials of all runs.
        """
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
            self._study.tell(trial.number, state=TrialState.FAIL)
        return sum(_broken(trial) for trial in self._study.get_trials(deepcopy=False))


def tune(
    search: Search,
    folder: Path,
    executor: Executor,
    note: Callable[[Row, int], None],
    began: Callable[[Course], None] = lambda course: None,
    *,
    fresh: bool = False,
) -> Sitting:
    """Continue or start the study in `folder`; `fresh` deletes an earlier study first.

    `note` is called after each trial with its row and the requested number of trials. `began` receives the running
    Course, whose `stop` ends the run. The caller holds the lock `alone(folder)`. Raises StudyError for a study of other
    settings, and for a failed first trial.
    """
    study = opened(search, folder, fresh=fresh)
    # workers elsewhere cannot write checkpoints of interrupted trials here
    under_way = folder / UNDER_WAY if executor.shares_disk else None
    if fresh:
        remove_folder(folder / UNDER_WAY / search.study, ignore_errors=True)
    before = len(rows_of(study, search.space))
    course = Course(study, search, under_way, executor.workers > 1, note)
    began(course)
    executor.run(attempt, course.jobs(), course)
    rows = rows_of(study, search.space)
    return Sitting(rows, before, course.broken, len(rows) >= search.trials)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock a folder against other searches. Raises StudyError where another one runs."""
    folder.mkdir(parents=True, exist_ok=True)
    fault = StudyError(f"{folder}: another quantd tune is running there; wait for it, or give another --out")
    with locked(folder / "study.lock", fault):
        yield


def opened(search: Search, folder: Path, *, fresh: bool = False) -> optuna.Study:
    """Return the study of the search in `folder`, new or continued. Raises StudyError where its settings differ."""
    try:
        return kept(search, _storage(folder / STUDY), fresh=fresh)
    except StudyError as error:
        raise StudyError(f"{folder}: {error}") from None


def kept(search: Search, storage: BaseStorage, *, fresh: bool = False) -> optuna.Study:
    """Return the study of the search in `storage`, new or continued, with its pruner. `fresh` begins it anew.

    Raises StudyError where the stored study was begun with another plan or other inputs.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study_names = optuna.get_all_study_names(storage)
    if fresh and search.study in study_names:
        optuna.delete_study(study_name=search.study, storage=storage)
    study = optuna.create_study(
        study_name=search.study,
        storage=storage,
        direction="maximize",
        # no trial is pruned in the first quarter of its steps
        pruner=MedianPruner(n_startup_trials=BEFORE_PRUNING, n_warmup_steps=search.max_steps // 4),
        load_if_exists=True,
    )
    inputs = _inputs(search)
    recorded: Mapping[str, object] | None = study.user_attrs.get(ASKED)
    if recorded is None:
        study.set_user_attr(ASKED, inputs)
    elif recorded != inputs:
        key, *further = (key for key in sorted({*recorded, *inputs}) if recorded.get(key) != inputs.get(key))
        raise StudyError(
            f"study {search.study} was begun with {key} = {recorded.get(key)!r}, now it is {inputs.get(key)!r}"
            f"{f' (and {len(further)} more differ)' if further else ''}; give --study another name, or --fresh to "
            "begin anew"
        )
    return study


def _inputs(search: Search) -> dict[str, object]:
    """Return name -> value of everything that a score depends on, in JSON types for comparison."""
    data = search.plan.data
    names = (data.bars, data.actions)
    files = {f"data of {name}": file_digest(path) for name, path in zip(names, data.files, strict=True) if path}
    plan = {key: _json(value) for key, value in described(search.base).items() if key != "tuning_trials"}
    return {**plan, **files, "sampler_seed": search.sampler_seed, "space": dump(search.space)}


def _json(value: object) -> Any:
    """Convert tuples to lists, and numbers that are not finite to text."""
    if isinstance(value, tuple | list):
        return [_json(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _storage(path: Path) -> RDBStorage:
    """Return the storage in an SQLite file.

    The file is in WAL mode, in which readers do not wait for the writer. Writes do not wait for the disk, so that a
    power failure may lose the last trial.
    """
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA journal_mode=WAL")
    file.close()
    storage = RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}})
    storage.engine.dispose()

    @event.listens_for(storage.engine, "connect")
    def faster(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    return storage
