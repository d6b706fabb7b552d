"""Search a learner's hyper-parameters, scored on the validation part only. After Ctrl-C the same command continues."""

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.bundled import placed
from quantd.daemon.cli.command import Command, Json, RayAddress
from quantd.daemon.cli.failures import needs, note
from quantd.daemon.cli.output import answer, progress, say, table
from quantd.trading.exit_codes import DONE, INTERRUPTED
from quantd.training.cli.learn import plan_options
from quantd.training.cli.learn.plan_options import plan_of, signals
from quantd.training.learners import names

if TYPE_CHECKING:
    from quantd.training.plans.plan import Plan
    from quantd.training.search.study import Course, Search, Sitting
    from quantd.training.search.study_results import Row


AGENTS: Final = names()
"""The names of the learners."""

SHOWN: Final = 5
"""Number of the best trials in the printed table."""


@dataclass(frozen=True, slots=True)
class Luck:
    """The significance of the best of many scores (Bailey and López de Prado 2014). All ratios are annual.

    `trials` is the number of trials with a score, pruned ones included, and `sessions` the number of validation
    sessions. `spread` is the standard deviation of the scores. `best_of_luck` is the maximum to expect of so many
    trials without skill (`highest_hurdle`); it never falls when a trial is added. `probability` is the probability, for
    normal returns, that the true ratio of the best trial exceeds `best_of_luck`.
    """

    trials: int
    sessions: int
    spread: float
    best_of_luck: float
    probability: float


# Long because of its 20 options, which `quantd tune --help` lists in this order, and because Ctrl-C is handled inside.
def tune_plan(
    plan: plan_options.PlanFile = None,
    agent: Annotated[str | None, plan_options.learner_of(AGENTS)] = None,
    profile: plan_options.Profile = "",
    trials: Annotated[
        int, typer.Option("--n-trials", min=1, help="Number of trials, those of earlier sittings included.")
    ] = 50,
    max_steps: Annotated[int, typer.Option(min=1, help="Environment steps of each seed of a trial, at most.")] = 50_000,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds per trial; its score is their mean.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds until running trials end at their next evaluation.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study.", show_default="the plan's name")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder.", show_default="state/tuning/STUDY")] = None,
    over: Annotated[
        list[str] | None,
        typer.Option("--over", metavar="KEY=LOW:HIGH", help="A range in place of the usual one; repeatable."),
    ] = None,
    sampler_seed: Annotated[int, typer.Option(min=0, help="Seed of the TPE sampler.")] = 0,
    on: plan_options.On = "local",
    workers: plan_options.Workers = 1,
    address: RayAddress = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Restart the study instead of continuing it.")] = False,
    bars: plan_options.Bars = None,
    actions: plan_options.Actions = None,
    symbols: plan_options.Symbols = None,
    sets: plan_options.Sets = None,
    show: Annotated[bool, typer.Option("--show", help="Print the search space and exit.")] = False,
    as_json: Json = False,
) -> int:
    from quantd.adapters.feeds.recorded.sound_bars import require_sound_bars

    needs("tuning", "torch", "optuna", "plotly")
    study_plan = plan_of(plan, agent, profile, sets, bars, actions, symbols, files=not show)
    if show:
        _show_space(study_plan, over or (), as_json=as_json)
        return DONE
    begins = study_plan.splits.train.first - timedelta(days=study_plan.warmup_days)
    require_sound_bars(*study_plan.data.files, study_plan.data.symbols, begins, study_plan.splits.test.last)
    from quantd.training.runs.workers import executor
    from quantd.training.search import study_files
    from quantd.training.search.study import Search, alone, opened, tune
    from quantd.training.seeds.markets import markets_of
    from quantd.training.seeds.validation import equal_weight

    pool = executor(on, workers, address)
    name = study or study_plan.name
    folder = out or placed("RESULTS_DIR", "state") / "tuning" / name
    timeout_s = math.inf if timeout is None else timeout
    search = Search(study_plan, name, trials, max_steps, seeds, sampler_seed, timeout_s, tuple(over or ()))
    trial_plan = search.base
    validation = study_plan.splits.validation
    note(
        f"tuning {name}: {study_plan.agent}, {trials} trials of {trial_plan.steps:,} env-steps and seeds "
        f"{', '.join(map(str, trial_plan.seeds))}; scored on {validation.first} to {validation.last} only"
    )
    _name_keys_outside(search)
    courses: list[Course] = []  # the running search, appended by `tune` when it begins
    received_signals: list[int] = []

    def stop(number: int) -> None:
        # a second signal, or one before the first trial, ends the command at once
        if received_signals or not courses:
            raise KeyboardInterrupt
        courses[0].stop()
        received_signals.append(number)
        note("stopping after the running evaluations; Ctrl-C again stops at once, and these trials will be repeated")

    with alone(folder), signals(stop), progress(f"tune {name}") as advance:
        sitting = tune(search, folder, pool, _TrialLines(advance), courses.append, fresh=fresh)
        market = markets_of(trial_plan).validation
        luck = luck_of([row.score for row in sitting.rows], market.last - market.first)
        notes = _notes(search, sitting, luck, equal_weight(market, study_plan.market).performance.sharpe)
        files = study_files.write(folder, opened(search, folder), search, sitting, notes)
    document = {"power": notes[0], **_document(folder, search, sitting, luck, files, bool(received_signals))}
    answer(as_json, document, lambda: _print_result(search, sitting, notes, files))
    if not sitting.finished:
        note(f"{len(sitting.rows)} of {trials} trials are done; the same command continues with the rest")
    return INTERRUPTED if received_signals else DONE


def _show_space(plan: "Plan", over: Sequence[str], *, as_json: bool) -> None:
    """Print the search space of the plan's learner, with the ranges `over` of --over."""
    from quantd.training.search import spaces

    space = spaces.with_ranges(plan, over)
    if as_json:
        say(spaces.dump(space))
    else:
        table(("key", "where"), spaces.lines(space))


def _name_keys_outside(search: "Search") -> None:
    """Print the keys whose value in the plan is outside the search space, and the remedy: no trial has such a value."""
    from quantd.training.search.spaces import lines, outside, shown

    ranges = dict(lines(search.space))
    for key, setting in outside(search.space, search.plan):
        note(
            f"{key} is {shown(setting)} in the plan and {ranges[key]} in a trial; to search near the plan, write "
            f"--over {key}=LOW:HIGH, and to keep its value, --over {key}="
        )


def luck_of(scores: Sequence[float], sessions: int) -> Luck | None:
    """Return the significance of the best of `scores`, annual Sharpe ratios in the order of the trials.

    None when no trial has a score (NaN). `sessions` is the number of validation sessions.
    """
    from quantd.research.significance.deflated_sharpe import highest_hurdle, prefixes, probabilistic_sharpe
    from quantd.trading.statistics import PERIODS_PER_YEAR

    # the formulas need ratios per session: they are divided by `annual`, and their results multiplied by it
    annual = math.sqrt(PERIODS_PER_YEAR)
    ratios = [score / annual for score in scores if math.isfinite(score)]
    if not ratios:
        return None
    trial_prefixes = tuple(prefixes(ratios))
    # the hurdle is the best ratio to expect of these trials if none of them had skill
    hurdle = highest_hurdle(trial_prefixes, sessions)
    probability = probabilistic_sharpe(max(ratios), hurdle, sessions, 0.0, 3.0)  # skewness and kurtosis of a normal
    return Luck(len(ratios), sessions, math.sqrt(trial_prefixes[-1].variance) * annual, hurdle * annual, probability)


class _TrialLines:
    """Prints a line for each trial that has ended, with the best score so far, and moves the progress bar."""

    def __init__(self, bar: Callable[[float], None]) -> None:
        self._bar, self._best = bar, -math.inf

    def __call__(self, row: "Row", trials: int) -> None:
        """Print the line of the trial in `row`; `trials` is the number of trials of the study.

        A score is an annual Sharpe ratio, NaN for a trial without one.
        """
        self._bar(min(1.0, (row.index + 1) / trials))
        if row.state == "complete" and row.score > self._best:
            self._best = row.score
        state_text = {"complete": "", "pruned": "stopped early, ", "failed": "failed, "}[row.state]
        best = f", best {self._best:+.3f}" if math.isfinite(self._best) else ""
        reason = f" ({row.reason})" if row.reason else ""
        note(
            f"trial {row.index + 1} of {trials}: {state_text}{_ratio(row.score)}{best}, {row.steps:,} steps, "
            f"{row.seconds:.1f} s{reason}"
        )


def _notes(search: "Search", sitting: "Sitting", luck: Luck | None, equal_weight_sharpe: float) -> list[str]:
    """Return the evidence for and against the best trial, the statement of statistical power first.

    `sitting` is the study after this run of its search. `luck` is None where no trial has a score.
    """
    from quantd.training.power.power_line import power_line

    best, plan = sitting.best, search.plan
    power = power_line(plan, part="validation")
    if best is None or luck is None:
        return [power, "no trial has a score"]
    validation = plan.splits.validation
    evaluations = -(-search.base.steps // search.base.evaluate_every)  # rounded up: the last step is evaluated, too
    lines = [
        power,
        f"the best of {luck.trials} trials: Sharpe ratio {best.score:+.3f} after costs on "
        f"{validation.first} to {validation.last} ({luck.sessions} sessions), by which it was selected; "
        f"equal weight has {equal_weight_sharpe:+.3f} there",
        f"each score is itself the best of up to {evaluations} evaluations on the validation part (not corrected)",
    ]
    if luck.trials > 1:
        text = (
            f"the expected best of {luck.trials} ratios without skill is {luck.best_of_luck:+.3f} (the standard "
            f"deviation of the scores is {luck.spread:.3f}); the probability that the true ratio of the best trial is "
            f"higher is {luck.probability:.2f} (deflated Sharpe ratio, normal returns)"
        )
        lines.insert(2, text)  # directly after the best score
    return lines


def _print_result(search: "Search", sitting: "Sitting", notes: Sequence[str], files: Sequence[Path]) -> None:
    """Print the statistical power, the best trials, the counts of trials, the evidence, and the written files.

    `notes` are the lines of evidence, statistical power first; `sitting` is the study after this run of its search.
    """
    from quantd.training.search.spaces import shown

    say(f"power: {notes[0]}")
    complete = sorted((row for row in sitting.rows if row.state == "complete"), key=lambda row: -row.score)
    keys = tuple(search.space)
    columns = ("trial", "score", *(key.removeprefix("learner.") for key in keys))
    rows = [(str(row.index + 1), _ratio(row.score), *(shown(row.values[key]) for key in keys)) for row in complete]
    if rows:
        table(columns, rows[:SHOWN], right=columns)
    pruned, failed = (sum(row.state == state for row in sitting.rows) for state in ("pruned", "failed"))
    say(f"{len(complete)} complete, {pruned} stopped early, {failed} failed, {sitting.broken} interrupted and repeated")
    say(*notes[1:], *(f"wrote {path}" for path in files))
    best_plan = next((path for path in files if path.name == "best.toml"), None)
    if best_plan is not None:
        say(f"train the best trial's plan, with all seeds and all steps: quantd train {shlex.quote(str(best_plan))}")


def _document(
    folder: Path, search: "Search", sitting: "Sitting", luck: Luck | None, files: Sequence[Path], stopped: bool
) -> dict[str, object]:
    """Return the study's state as a JSON document.

    In the document, `before` counts the trials of earlier runs, and `broken` those that were interrupted and repeated.
    `sitting` is the study after this run of its search, `luck` the significance of its best trial (None without a
    score), and `stopped` True where a signal ended this run.
    """
    best = sitting.best
    return {
        "study": search.study,
        "folder": str(folder),
        "trials": len(sitting.rows),
        "before": sitting.before,
        "broken": sitting.broken,
        "finished": sitting.finished,
        "interrupted": stopped,
        "best": None if best is None else {"trial": best.index, "score": best.score, "values": best.values},
        "luck": luck,
        "files": [str(path) for path in files],
    }


def _ratio(score: float) -> str:
    return "no score" if math.isnan(score) else f"{score:+.3f}"


COMMAND: Final = Command("Learn", 30, tune_plan)
