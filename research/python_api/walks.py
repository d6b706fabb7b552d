"""Walk-forward of a policy over bars in memory, or of a configuration, with the code of `quantd walk`."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl

from quantd.adapters.calendars import ALWAYS_OPEN
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.config import ConfigError, read
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.backtests import Backtest, OnError, backtest_of
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.grid_studies import GridStudy, How, grid_of, is_file
from quantd.research.python_api.plots import Picture
from quantd.research.python_api.run_config import AGENT, PLACE, Settings, sets_of, text_around, with_adjusted
from quantd.research.python_api.sweeps import SweepResult
from quantd.research.runs.comparison import samples_a_year
from quantd.research.studies.combinatorial import Combinatorial, Folds, Groups, noted, validated
from quantd.research.studies.grid import Grid
from quantd.research.studies.sweep import Progress
from quantd.research.studies.sweep_points import Base, Run, base_of
from quantd.research.studies.walk import (
    Choice,
    Walk,
    choices,
    folder_of,
    identity_of,
    note_choices,
    require_keys,
    traded,
    walk_of,
    write,
)
from quantd.research.studies.walk_calendar import Refit, Steps, day_of, refits
from quantd.training.runs.workers import Executor, Place, executor

if TYPE_CHECKING:
    from quantd.training.plans.plan import Plan


ONE_PERIOD: Final = "trains on one period of time, and combinatorial groups lie on both sides of a held-out group"
"""Why a training plan has no combinatorial cross-validation."""


class WalkForward:
    """The result of a walk-forward. `str()` is the text of `quantd walk`."""

    def __init__(self, walk: Walk, backtest: Backtest, folder: Path) -> None:
        self.walk = walk
        """The refits with their periods."""
        self.backtest = backtest
        """The run out of sample: equity, fills, metrics and verdict."""
        self.folder = folder
        """Where walk.parquet and returns.parquet are, and splits.parquet and paths.parquet of `combinatorial`."""
        self.combinatorial: Combinatorial | None = None
        """Splits, paths and Sharpe ratios of the combinatorial cross-validation; None where it was not requested."""

    @property
    def table(self) -> pl.DataFrame:
        """One row per refit: its dates, the chosen values, and the ratios in and out of sample."""
        return self.walk.table

    @property
    def returns(self) -> pl.DataFrame:
        """The returns out of sample: ts, return, and the date of the latest refit (new choice of parameters)."""
        return self.walk.stitched

    @property
    def efficiency(self) -> float | None:
        """The Sharpe ratio out of sample divided by the mean ratio in sample; None where that mean is not above 0."""
        return self.walk.efficiency

    @property
    def stability(self) -> float | None:
        """The share of refits that chose the same values as the previous refit; None for a single refit."""
        return self.walk.stability

    def plot(self) -> Picture:
        """Return the picture of equity and drawdown of the run out of sample."""
        return self.backtest.plot()

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report of the run out of sample, and return its path. The suffix is the format, such as .html."""
        return self.backtest.report(path)

    def __str__(self) -> str:
        combinatorial = [] if self.combinatorial is None else self.combinatorial.sentences()
        return "\n".join([str(self.backtest), *self.walk.sentences(), *combinatorial])

    def __repr__(self) -> str:
        return str(self)


# Long because each of its nineteen arguments has a line.
def walk_forward(
    what: object,
    bars: object = None,
    refit: str = "3y",
    window: str = "expanding",
    embargo: int = 5,
    *,
    over: Mapping[str, Iterable[object]] | None = None,
    first: str = "",
    combinatorial: tuple[int, int] | None = None,
    settings: Settings | None = None,
    params: Mapping[str, object] | None = None,
    adjusted: bool = False,
    compare: bool = True,
    workers: int = 1,
    on: Place = "local",
    address: str = "",
    on_error: OnError = "raise",
    progress: Progress = lambda share: None,
    family: str = "",
) -> WalkForward:
    """Choose parameters anew at each refit, on the bars before the refit, and trade the next period with them.

    `what` is a policy, with `bars`, or the path of a TOML file. `over` maps keys to their values. `params` are
    the policy's other parameters, `settings` replace keys, `adjusted` states that prices are adjusted for splits. If
    `what` is the result of a sweep, all these and the bars come from it. A training plan, or its path, as `what` is
    trained anew at each refit.
    `refit` is the time between refits ("3y", "6mo", "4w", "20d"). `window` is "expanding", or a length as "8y".
    `embargo` sessions before each refit are left out. `first` is the length of the first window of an expanding walk,
    by default 3 years or one refit. Each refit chooses the point with the highest Sharpe ratio after costs. Each refit
    counts as a trial, and so does the run out of sample.

    `combinatorial=(6, 2)` also cross-validates on 6 groups of sessions with 2 held out (`WalkForward.combinatorial`).
    Each split and each path counts as a trial.

    An interrupted walk continues when it is called again. `workers` is the number of points of the grid that run at
    once, in processes or with `on="ray"` in a Ray cluster at `address`. Raises Misused for arguments that do not apply
    to `what`, ConfigError, or another Error.
    """
    stop = on_error == "raise"
    steps = Steps(refit, window, embargo, first)
    how, points, seed = How(compare, workers, on, address, progress, family), None, 0
    if isinstance(what, SweepResult):
        if not (over is None and params is None and settings is None):
            raise Misused("over, params or settings are given beside a sweep, which has them already; omit them")
        arguments = what.swept
        over, params, settings, adjusted = arguments.over, arguments.params, arguments.settings, arguments.adjusted
        points, seed = arguments.points, arguments.seed
        # further bars may be given beside a sweep: the same grid is then walked over them
        what, bars = arguments.what, arguments.bars if bars is None else bars
    if (plan := _plan_in(what)) is not None:
        if not (bars is None and over is None and settings is None and params is None):
            raise Misused("a training plan has its own bars, costs and settings; omit bars, over, settings and params")
        if combinatorial is not None:
            raise Misused(f"a training plan {ONE_PERIOD}; omit combinatorial")
        return walk_plan(plan, steps, None, how, stop=stop)  # None: the default state folder
    if not over:
        raise Misused('nothing is fitted: name the parameters to choose from, over={"lookback": [20, 60, 120]}')
    grid = grid_of(what, over, points, seed)
    require_keys(grid)
    call = "quantd.walk_forward(policy, bars=frame, over=...)"
    study = GridStudy.of(what, bars, grid, params, with_adjusted(settings, adjusted=adjusted), call)
    return _walked(study, steps, how, None if combinatorial is None else Groups(*combinatorial), stop=stop)


def walk_file(
    path: Path,
    grid: Grid,
    steps: Steps,
    sets: tuple[str, ...],
    state: Path | None,
    how: How,
    groups: Groups | None = None,
) -> WalkForward:
    """Walk a configuration forward, as the command does: at a failed decision the agent holds.

    `groups` are those of a combinatorial cross-validation. Raises ConfigError for a wrong configuration or a missing
    file, or another Error.
    """
    require_keys(grid)
    text = path.read_text(encoding="utf-8")
    config = read(text, known_names(), file=str(path), folder=path.parent, environ=os.environ, sets=sets)
    if mistakes := config.missing_files():
        raise ConfigError(mistakes)
    return _walked(GridStudy(config, text, sets, grid, config.state_folder(state)), steps, how, groups, stop=False)


def walk_plan(plan: "Plan", steps: Steps, state: Path | None, how: How, *, stop: bool = False) -> WalkForward:
    """Train a plan anew at each refit, and trade each policy over the next period. Raises an Error, for example for
    data that do not fit the plan.
    """
    from quantd.research.studies import walk_training as training

    training.require_plan(plan)
    rows = pl.read_parquet(plan.data.files[0]).filter(pl.col("symbol").is_in(plan.data.symbols))
    frame = bar_frame(rows)
    # a training takes each date of its bars as a session, and so does the walk
    always = {"universe.calendar": ALWAYS_OPEN} if bool((rows["ts"].dt.weekday() > 5).any()) else {}
    sets = sets_of(training.settings_of(plan) | always)
    # equal weight stands in for the policies, which are trained below
    text = text_around(frame, "equal_weight", {})
    config = read(text, known_names(), file=PLACE, environ=os.environ, sets=sets)
    folder = config.state_folder(state)
    full_assembly = assemble(config, cache=folder / "cache", bars=frame)
    planned = _planned(steps, full_assembly)
    walk_folder = folder_of(folder, training.identity_of(plan, steps))
    pool = (
        None if (how.on, how.workers, how.address) == ("local", 1, "") else executor(how.on, how.workers, how.address)
    )
    last_day, periods = day_of(full_assembly.feed.last_ts - 1), samples_a_year(full_assembly)
    chosen = training.trained(plan, planned, last_day, walk_folder, pool, how.progress, periods)
    base = base_of(config, text, sets, folder / "cache")
    # each refit sets the agent's policy to the artifact that was trained for it
    # None: no policy is an object of the caller
    assembly = traded(base, [f"agents.{AGENT}.policy"], chosen, None, frame)
    note_choices(folder, full_assembly, training.SHOWN, chosen, how.family)
    return _traded(assembly, training.SHOWN, chosen, folder, walk_folder, how, stop=stop)


def _walked(study: GridStudy, steps: Steps, how: How, groups: Groups | None = None, *, stop: bool) -> WalkForward:
    """Choose the values of each refit from a grid, trade them, and write the result.

    With `groups`, a combinatorial cross-validation follows the choices. With `stop`, a failed decision raises an Error.
    """
    grid, state, planned = study.grid, study.state, _planned(steps, study.assembly)
    folds = None if groups is None else Folds.of(groups, steps.embargo, study.assembly, study.base.history)
    identity = identity_of(study.base, grid, steps, study.market)
    walk_folder = folder_of(state, identity)

    def chosen_by(base: Base, where: Executor, run: Run) -> tuple[tuple[Choice, ...], Combinatorial | None]:
        if folds is None:
            return choices(base, grid, planned, identity, walk_folder, where, how.progress, run, stop=stop), None
        # each of the two parts is a half of the progress
        advances = [lambda share, part=part: how.progress((part + share) / 2) for part in range(2)]
        chosen = choices(base, grid, planned, identity, walk_folder, where, advances[0], run, stop=stop)
        return chosen, validated(
            base, grid, folds, study.assembly, identity, walk_folder, where, advances[1], run, study.caller, stop=stop
        )

    chosen, combinatorial = study.run(walk_folder, how, chosen_by, stop=stop)
    assembly = traded(study.base, grid.keys, chosen, study.caller, study.frame)
    note_choices(state, study.assembly, grid.keys, chosen, how.family)
    if combinatorial is not None:
        combinatorial = noted(combinatorial, state, walk_folder, study.assembly, identity, how.family)
    walk_result = _traded(assembly, grid.keys, chosen, state, walk_folder, how, stop=stop)
    walk_result.combinatorial = combinatorial
    return walk_result


def _planned(steps: Steps, assembly: Assembly) -> tuple[Refit, ...]:
    calendar = assembly.sessions[assembly.universe.calendar]
    return refits(steps, calendar, assembly.start_ns, assembly.feed.last_ts)


def _traded(
    assembly: Assembly,
    keys: Sequence[str],
    chosen: Sequence[Choice],
    state: Path,
    folder: Path,
    how: How,
    *,
    stop: bool,
) -> WalkForward:
    """Trade the choices of all refits in one run, and write the result to `folder`."""
    backtest = backtest_of(assembly, state, compare=how.compare, stop=stop, family=how.family, kind="walk")
    walk = walk_of(assembly, backtest.record, keys, chosen)
    write(walk, folder)
    return WalkForward(walk, backtest, folder)


def is_plan(path: Path) -> bool:
    """Return whether a TOML file is a training plan: it has the key `agent`. The reader of a file names its faults."""
    try:
        return isinstance(msgspec.toml.decode(path.read_bytes()).get("agent"), str)
    except msgspec.DecodeError:
        return False


def _plan_in(what: object) -> "Plan | None":
    """Return `what` if it is a training plan, or the plan of a TOML file that has the key `agent`; else None."""
    if is_file(what):
        if not is_plan(path := Path(str(what))):
            return None
        from quantd.training.plans.plan import read as read_plan

        return read_plan(path)
    if type(what).__name__ != "Plan":
        return None
    from quantd.training.plans.plan import Plan

    return what if isinstance(what, Plan) else None
