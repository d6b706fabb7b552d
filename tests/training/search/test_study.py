"""The course of a study: what is asked, stopped early, cut off, begun again; with trials that answer at once, and with
real ones."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import optuna
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import BaseStorage, InMemoryStorage

from quantd.training.plans.plan import default, parsed, read, replaced
from quantd.training.runs.workers import Here, Processes
from quantd.training.search import study as tuning
from quantd.training.search import study_files
from quantd.training.search.study import (
    Course,
    Evaluation,
    Job,
    Search,
    Sitting,
    StudyError,
    Tried,
    kept,
    opened,
    tune,
)
from quantd.training.search.study_results import Row, rows_of
from tests.support.studies import LAST_CHOSEN_BY, SMALL, plan, search


def answer(job: Job, tell: Callable[[Evaluation], bool]) -> Tried:
    """As a trial would, at once: the nearer the learning rate is to 3e-4 and gamma to 0.97, the better."""
    learner = job.plan.learner
    height = -abs(math.log10(learner.learning_rate / 3e-4)) - 10.0 * abs(learner.gamma - 0.97)
    score = math.nan
    for number in range(1, 11):
        steps = job.plan.steps * number // 10
        score = height - 1.0 / number
        if tell(Evaluation(steps, steps, score, number == 10)) and number < 10:
            return Tried(score, (score,), steps, 0.0)
    return Tried(score, (score,), job.plan.steps, 0.0)


def sit(
    of: Search,
    storage: BaseStorage | None = None,
    work: Callable[[Job, Callable[[Evaluation], bool]], Tried] = answer,
    note: Callable[[Course, Row], None] = lambda course, row: None,
) -> tuple[Row, ...]:
    study = kept(of, storage or InMemoryStorage())
    course = Course(study, of, None, False, lambda row, trials: note(course, row))
    Here().run(work, course.jobs(), course)
    return rows_of(study, of.space)


@pytest.mark.requirement("R-087")
def test_a_trial_that_is_worse_than_half_of_the_others_ends_early() -> None:
    rows = sit(search(trials=30))
    complete = [row for row in rows if row.state == "complete"]
    pruned = [row for row in rows if row.state == "pruned"]
    middle = sorted(row.score for row in complete)[len(complete) // 2]
    assert all(row.steps < complete[0].steps for row in pruned)
    assert all(row.score < middle for row in pruned)
    assert all(row.state == "complete" for row in rows[: tuning.BEFORE_PRUNING])


@pytest.mark.parametrize("cut_at", [0, 3, 12])
def test_a_study_that_is_broken_off_comes_to_what_it_would_have_come_to(cut_at: int) -> None:
    reference, storage = sit(search(trials=20)), InMemoryStorage()

    class Killed(BaseException):
        pass

    count = 0

    def dies(job: Job, tell: Callable[[Evaluation], bool]) -> Tried:
        nonlocal count
        count += 1
        if count == cut_at + 1:
            tell(Evaluation(100, 100, -1.0, False))
            raise Killed
        return answer(job, tell)

    with pytest.raises(Killed):
        sit(search(trials=20), storage, dies)
    assert sit(search(trials=20), storage) == reference
    states = [trial.state for trial in kept(search(trials=20), storage).trials]
    assert states.count(optuna.trial.TrialState.FAIL) == 1
    assert len(states) == 21


def test_asked_to_stop_it_cuts_the_trial_and_begins_no_other() -> None:
    reference, storage = sit(search(trials=8)), InMemoryStorage()

    def third(course: Course, row: Row) -> None:
        if row.index == 2:
            course.stop()

    rows = sit(search(trials=8), storage, note=third)
    assert len(rows) == 3
    assert sit(search(trials=8), storage) == reference


def test_a_study_of_something_else_is_refused_by_what_differs() -> None:
    storage = InMemoryStorage()
    sit(search(trials=1), storage)
    for other, named in (
        (search(max_steps=2_560), "checkpoint_every"),
        (
            search(plan=plan(**{"market.costs.commission_bp": 20.0})),
            "market.costs.commission_bp = 10.0, now it is 20.0",
        ),
        (search(seeds=2), "seeds"),
        (search(sampler_seed=5), "sampler_seed"),
    ):
        with pytest.raises(StudyError, match=named):
            sit(other, storage)
    assert kept(search(sampler_seed=5), storage, fresh=True).trials == []


def test_a_diverged_trial_is_kept_as_such_and_the_search_goes_on() -> None:
    from quantd.training.learners.record import Diverged

    def work(job: Job, tell: Callable[[Evaluation], bool]) -> Tried:
        if job.plan.learner.learning_rate > 3e-4:
            raise Diverged("weights are not finite")
        return answer(job, tell)

    rows = sit(search(trials=12), work=work)
    lost = [row for row in rows if row.reason]
    assert lost
    assert all(row.state == "pruned" and row.reason == "Diverged: weights are not finite" for row in lost)
    assert all(row.values["learner.learning_rate"] > 3e-4 for row in lost)  # type: ignore[operator]
    assert len(rows) == 12


def test_a_first_trial_that_cannot_run_ends_the_search_with_its_reason() -> None:
    def work(job: Job, tell: Callable[[Evaluation], bool]) -> Tried:
        raise ValueError("no such column")

    with pytest.raises(StudyError, match="the first trial failed: ValueError: no such column"):
        sit(search(), work=work)


def test_a_trial_makes_whole_rollouts_and_no_more_steps_than_asked() -> None:
    for max_steps, steps, horizon in ((500, 496, 62), (50_000, 49_152, 256), (7, 8, 1)):
        base = search(plan=plan(**{"learner.horizon": 256}), max_steps=max_steps).base
        assert (base.steps, base.learner.horizon) == (steps, horizon)  # type: ignore[union-attr]
    dqn = Search(default("dqn"), "x", max_steps=50_000).base
    assert dqn.steps == 50_000


def test_two_processes_may_not_tune_in_one_folder(tmp_path: Path) -> None:
    with tuning.alone(tmp_path), pytest.raises(StudyError, match="another quantd tune"), tuning.alone(tmp_path):
        pass


# with real trials


def real(of: Search, folder: Path, workers: int = 1) -> Sitting:
    folder.mkdir(exist_ok=True)
    executor = Here() if workers == 1 else Processes(workers)
    return tune(of, folder, executor, lambda row, trials: None)


def scores(sitting: Sitting) -> list[tuple[float, tuple[float, ...], object]]:
    return [(row.score, row.scores, row.values) for row in sitting.rows]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sitting]:
    folder = tmp_path_factory.mktemp("tuned")
    return folder, real(search(trials=3), folder)


@pytest.mark.long
@pytest.mark.requirement("R-091")
def test_what_comes_after_the_validation_part_is_not_read(tuned: tuple[Path, Sitting], tmp_path: Path) -> None:
    cut = tmp_path / "bars.parquet"
    chosen_bars = pl.col("symbol").is_in(SMALL["data.symbols"]) & (pl.col("ts").dt.date() <= LAST_CHOSEN_BY)
    pl.scan_parquet(str(SMALL["data.bars"])).filter(chosen_bars).collect().write_parquet(cut)
    sitting = real(search(plan=plan(**{"data.bars": str(cut)}), trials=2), tmp_path / "study")
    assert scores(sitting) == scores(tuned[1])[:2]


# what is left to read


@pytest.mark.long
def test_the_files_hold_the_trials_and_need_nothing_else(tuned: tuple[Path, Sitting], tmp_path: Path) -> None:
    folder, sitting = tuned
    of = search(trials=3)
    written = study_files.write(tmp_path, opened(of, folder), of, sitting, ["what it is worth"])
    assert {path.name for path in written} == {"trials.csv", "history.html", "best.toml"}
    with (tmp_path / "trials.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["score"]) for line in lines] == [row.score for row in sitting.rows]
    assert [line["trial"] for line in lines] == ["1", "2", "3"]
    assert float(lines[0]["learner.gamma"]) == sitting.rows[0].values["learner.gamma"]
    page = (tmp_path / "history.html").read_text()
    assert "src=" not in page.split("<script", 1)[0]
    assert not any(f"<{tag} src=" in page or f"<{tag} href=" in page for tag in ("script", "link", "img"))
    assert all(f"{row.score:.4f}"[:6] in page or repr(row.score) in page for row in sitting.rows) or "bdata" in page
    best = read(tmp_path / "best.toml")
    assert sitting.best is not None
    scores = sum(max(1, row.steps // of.base.evaluate_every) for row in sitting.rows)
    assert scores > len(sitting.rows) == 3
    assert best == replaced(of.plan, {**sitting.best.values, "name": "ppo-tuned", "tuning_trials": scores})
    assert (tmp_path / "best.toml").read_text().startswith("# what it is worth\n")
    again = search(plan=best, trials=3)  # a search that starts from a tuned plan adds to it
    study_files.write(tmp_path, opened(of, folder), again, sitting, [])
    assert read(tmp_path / "best.toml").tuning_trials == 2 * scores


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1),
            "steps": st.integers(1, 10**9),
            "seeds": st.lists(st.integers(0, 2**31), min_size=1, max_size=5, unique=True),
            "normalise": st.booleans(),
            "learner.learning_rate": st.floats(1e-300, 1e300),
            "learner.hidden": st.lists(st.integers(1, 4096), min_size=1, max_size=4),
            "splits.test.last": st.dates(LAST_CHOSEN_BY.replace(year=2020)).map(str),
            "market.reward.kind": st.sampled_from(["log", "simple", "sharpe"]),
            "data.actions": st.sampled_from(["", 'a"b\\c.csv']),
        },
    )
)
def test_a_plan_survives_the_way_through_toml(changes: dict[str, object]) -> None:
    given_plan = replaced(default("ppo"), changes)
    assert parsed(study_files.toml(given_plan), "here") == given_plan


def test_a_trial_is_scored_by_its_sharpe_ratio_whatever_the_plan_chooses_by() -> None:
    chosen_by_growth = search(plan=plan(choose_by="growth"))
    assert chosen_by_growth.base.choose_by == "sharpe"
    assert chosen_by_growth.plan.choose_by == "growth"
