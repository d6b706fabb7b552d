"""`quantd tune`: a search of hyper-parameters, its progress, and what its best is worth after so many were tried. Needs
torch and Optuna."""

import math
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from quantd.daemon.cli.command import Command, Json, one_of
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.learn import train
from quantd.daemon.cli.output import print_json, progress, say, table
from quantd.models.learners import names
from quantd.trading.exit_codes import CONFIG, DONE, INTERRUPTED

if TYPE_CHECKING:
    from quantd.models.training.search.study import Course, Search, Sitting
    from quantd.models.training.search.study_results import Row


STUDIES: Final = Path("state/tuning")
"""A folder for each study, by its name."""

AGENTS: Final = names()

NEEDED: Final = ("torch", "optuna", "plotly", "safetensors")

SHOWN: Final = 5
"""Trials in the table, the best."""


@dataclass(frozen=True, slots=True)
class Luck:
    """What the best score is worth when so many were looked at (Bailey and López de Prado 2014). Ratios are annual."""

    trials: int
    """With a score, pruned ones too."""
    sessions: int
    spread: float
    """Standard deviation of the scores."""
    best_of_luck: float
    """The highest that is to be expected of so many ratios that are all luck, spread as these are."""
    probability: float
    """That the best one's true ratio is above that. Returns are taken as normal."""


def tune_plan(
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN.toml]", help="What every trial begins from, as in examples/train.")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            parser=one_of(AGENTS),
            metavar=f"[{'|'.join(AGENTS)}]",
            help="Who learns.",
            show_default="the plan's, or ppo",
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="Named settings of the agent, such as prioritized (dqn).")] = "",
    trials: Annotated[int, typer.Option("--n-trials", min=1, help="In all, those of earlier sittings too.")] = 50,
    max_steps: Annotated[int, typer.Option(min=1, help="Env-steps of each seed of a trial, at most.")] = 50_000,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="A trial's score is the mean over so many.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds, after which trials under way end at their next evaluation.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Its name.", show_default="the plan's name")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder.", show_default="state/tuning/STUDY")] = None,
    sampler_seed: Annotated[int, typer.Option(min=0, help="Of what TPE draws.")] = 0,
    on: Annotated[Literal["local", "ray"], typer.Option(help="Where trials run.")] = "local",
    workers: Annotated[int, typer.Option(min=1, max=10_000, help="Trials at once.")] = 1,
    address: Annotated[
        str, typer.Option(help="Of a Ray cluster.", show_default="one begun on this machine, and ended")
    ] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin the study anew; without it, it goes on.")] = False,
    bars: Annotated[Path | None, typer.Option(help="Daily raw bars.", show_default="data/us_daily.parquet")] = None,
    actions: Annotated[
        str | None, typer.Option(help='Splits, dividends; "" for none.', show_default="data/us_actions.csv")
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Joined by commas.", show_default="AAPL,BAC,IWM,QQQ,SPY")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of a plan; may be given again.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print what would be searched and do nothing.")] = False,
    as_json: Json = False,
) -> int:
    """Search a learner's hyper-parameters, by validation alone. Ctrl-C stops it in order; the same command goes on."""
    asked = train.Asked(
        plan=plan, agent=agent, profile=profile, bars=bars, actions=actions, symbols=symbols, sets=tuple(sets or ())
    )
    if show:
        return _show_space(asked, as_json=as_json)
    _needed()
    made = train.plan_of(asked)
    train.probed(made.data.files[0])
    from quantd.models.training.runs.workers import executor
    from quantd.models.training.search import study_files
    from quantd.models.training.search.study import Search, alone, opened, tune
    from quantd.models.training.seeds.markets import markets_of
    from quantd.models.training.seeds.validation import equal_weight

    where = executor(on, workers, address)
    name = study or made.name
    folder = out or STUDIES / name
    search = Search(
        made, name, trials, max_steps, seeds, sampler_seed,
        math.inf if timeout is None else timeout,
    )  # fmt: skip
    base = search.base
    _tell(
        f"tuning {name}: {made.agent}, {trials} trials of {base.steps:,} env-steps and seeds "
        f"{', '.join(map(str, base.seeds))}; scored on {made.splits.validation.first} to "
        f"{made.splits.validation.last} alone"
    )
    with alone(folder), _stopping() as stops, progress(f"tune {name}", shown=not as_json) as bar:
        sitting = tune(search, folder, where, _Telling(bar), stops.append, fresh=fresh)
        stopped = len(stops) > 1
        market = markets_of(base).validation
        luck = luck_of([row.score for row in sitting.rows], market.last - market.first)
        notes = _notes(search, sitting, luck, equal_weight(market, made.market).score)
        files = study_files.write(folder, opened(search, folder), search, sitting, notes)
    if as_json:
        print_json(_document(folder, search, sitting, luck, files, stopped))
    else:
        _report(search, sitting, notes, files)
    if not sitting.finished:
        _tell(f"{len(sitting.rows)} of {trials} trials are there; the same command goes on with the rest")
    return INTERRUPTED if stopped else DONE


def _show_space(asked: train.Asked, *, as_json: bool) -> int:
    """The space of an agent."""
    _needed()
    from quantd.models.learners.record import learners
    from quantd.models.training.search import spaces

    space = learners()[train.plan_of(asked).agent].space
    if as_json:
        say(spaces.dump(space))
    else:
        table(("key", "where"), spaces.lines(space))
    return DONE


def luck_of(scores: Sequence[float], sessions: int) -> Luck | None:
    """None where no trial has a score."""
    import numpy as np

    from quantd.research.deflated_sharpe import expected_maximum, probabilistic_sharpe
    from quantd.trading.statistics import PERIODS_PER_YEAR

    known = np.array([score for score in scores if math.isfinite(score)]) / math.sqrt(PERIODS_PER_YEAR)
    if not len(known):
        return None
    variance = float(known.var(ddof=1)) if len(known) > 1 else 0.0
    luck = expected_maximum(len(known), variance)
    annual = math.sqrt(PERIODS_PER_YEAR)
    probability = probabilistic_sharpe(float(known.max()), luck, sessions, 0.0, 3.0)
    return Luck(len(known), sessions, math.sqrt(variance) * annual, luck * annual, probability)


class _Telling:
    """A line for each trial that ended, and the bar."""

    def __init__(self, bar: Callable[[float], None]) -> None:
        self._bar, self._best, self._ended = bar, -math.inf, 0

    def __call__(self, row: "Row", trials: int) -> None:
        self._ended += 1
        self._bar(min(1.0, (row.index + 1) / trials))
        if row.state == "complete" and row.score > self._best:
            self._best = row.score
        said = {"complete": "", "pruned": "stopped early, ", "failed": "failed, "}[row.state]
        best = f", best {self._best:+.3f}" if math.isfinite(self._best) else ""
        why = f" ({row.reason})" if row.reason else ""
        _tell(
            f"trial {row.index + 1} of {trials}: {said}{_ratio(row.score)}{best}, {row.steps:,} steps, "
            f"{row.seconds:.1f} s{why}"
        )


@contextmanager
def _stopping() -> "Iterator[list[Course | int]]":
    """A list that takes the course; the first signal asks it to stop and is added, the second ends at once."""
    known: list[Course | int] = []

    def ask(number: int, frame: object) -> None:
        if len(known) != 1 or isinstance(known[0], int):
            raise KeyboardInterrupt
        known[0].stop()
        known.append(number)
        _tell(
            "stopping when the evaluations under way are over; once more stops at once, and repeats those trials later"
        )

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield known
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _notes(search: "Search", sitting: "Sitting", luck: Luck | None, equal: float) -> list[str]:
    """What to know of the best one before it is believed; comments in its file, too."""
    best, plan = sitting.best, search.plan
    if best is None or luck is None:
        return ["no trial has a score: nothing was found"]
    part = plan.splits.validation
    lines = [
        f"the best of {luck.trials} trials: Sharpe ratio {best.score:+.3f} after costs on {part.first} to {part.last} "
        f"({luck.sessions} sessions), which it was chosen by; equal weight, "
        f"which learns nothing, has {equal:+.3f} there"
    ]
    if luck.trials > 1:
        lines.append(
            f"of {luck.trials} ratios that are all luck, spread as these are ({luck.spread:.3f}), the best would be "
            f"{luck.best_of_luck:+.3f}; "
            f"that this one is more than that has probability {luck.probability:.2f} (deflated Sharpe ratio, returns "
            f"taken as normal)"
        )
    lines.append(
        "each score is itself the best of up to "
        f"{-(-search.base.steps // search.base.evaluate_every)} looks "
        f"at the validation part, which this does not take off"
    )
    return lines


def _report(search: "Search", sitting: "Sitting", notes: Sequence[str], files: Sequence[Path]) -> None:
    complete = sorted((row for row in sitting.rows if row.state == "complete"), key=lambda row: -row.score)
    keys = tuple(search.space)
    columns = ("trial", "score", *(key.removeprefix("learner.") for key in keys))
    rows = [(str(row.index + 1), _ratio(row.score), *(_value(row.values.get(key)) for key in keys)) for row in complete]
    if rows:
        table(columns, rows[:SHOWN], right=columns)
    pruned, failed = (sum(row.state == state for row in sitting.rows) for state in ("pruned", "failed"))
    say(
        f"{len(complete)} complete, {pruned} stopped early, {failed} failed, "
        f"{sitting.broken} broken off and tried again"
    )
    for line in notes:
        say(line)
    for path in files:
        say(f"wrote {path}")
    best = next((path for path in files if path.name == "best.toml"), None)
    if best is not None:
        say(f"train it, with all seeds and all steps: quantd train {shlex.quote(str(best))}")


def _document(
    folder: Path, search: "Search", sitting: "Sitting", luck: Luck | None, files: Sequence[Path], stopped: bool
) -> dict[str, object]:
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


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _needed() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Failure(f"tuning needs {', '.join(missing)}: install quantd with its extra `train`", CONFIG)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


COMMAND: Final = Command(tune_plan, "Learn", order=30)
