"""Walk-forward of a policy over bars in memory, or of a configuration, with the code of `quantd walk`."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
from msgspec.structs import replace

from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.config import Config, ConfigError, read
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.backtests import Backtest, OnError, backtest_of, stops
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.functions import CallerPolicy, SentPoints, chosen
from quantd.research.python_api.run_config import (
    AGENT,
    PLACE,
    Settings,
    sets_of,
    setting_text,
    text_around,
    with_adjusted,
)
from quantd.research.python_api.sweeps import SweepResult, key_of
from quantd.research.runs.comparison import samples_a_year
from quantd.research.runs.failures import DecisionFailed
from quantd.research.runs.looks import trial_digest
from quantd.research.studies.grid import Grid
from quantd.research.studies.sweep import Progress, SweepFailed
from quantd.research.studies.sweep_points import Base, Market, Point, Work, base_of, grid_history, run_point, run_points
from quantd.research.studies.walk import (
    Run,
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
from quantd.research.studies.walk_calendar import Steps, day_of, refits
from quantd.training.runs.workers import Here, executor

if TYPE_CHECKING:
    from quantd.training.plans.plan import Plan


@dataclass(frozen=True, slots=True)
class How:
    """The arguments of `walk_forward` that say where the work runs, and whether equal weight runs for comparison."""

    compare: bool = True
    workers: int = 1
    on: str = "local"
    address: str = ""
    progress: Progress = lambda share: None
    family: str = ""


class WalkForward:
    """The result of a walk-forward. `str()` is the text of `quantd walk`."""

    def __init__(self, walk: Walk, backtest: Backtest, folder: Path) -> None:
        self.walk = walk
        """The refits with their periods."""
        self.backtest = backtest
        """The run out of sample: equity, fills, metrics and verdict."""
        self.folder = folder
        """Where walk.parquet and returns.parquet are."""

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

    def plot(self) -> Any:
        """Return a figure of equity and drawdown of the run out of sample."""
        return self.backtest.plot()

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report of the run out of sample, and return its path. The suffix is the format, such as .html."""
        return self.backtest.report(path)

    def __str__(self) -> str:
        return "\n".join([str(self.backtest), *self.walk.sentences()])

    def __repr__(self) -> str:
        return str(self)


def walk_forward(
    what: object,
    bars: object = None,
    refit: str = "3y",
    window: str = "expanding",
    embargo: int = 5,
    *,
    over: Mapping[str, Iterable[object]] | None = None,
    first: str = "",
    settings: Settings | None = None,
    params: Mapping[str, object] | None = None,
    adjusted: bool = False,
    compare: bool = True,
    workers: int = 1,
    on: str = "local",
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

    An interrupted walk continues when it is called again. `workers` is the number of points of the grid that run at
    once, in processes or with `on="ray"` in a Ray cluster at `address`. Raises Misused for arguments that do not apply
    to `what`, ConfigError, or another Error.
    """
    stop = stops(on_error)
    steps = Steps(refit, window, embargo, first)
    how = How(compare, workers, on, address, progress, family)
    if isinstance(what, SweepResult):
        if not (over is None and params is None and settings is None):
            raise Misused("over, params or settings are given beside a sweep, which has them already; omit them")
        arguments = what.swept
        over, params, settings, adjusted = arguments.over, arguments.params, arguments.settings, arguments.adjusted
        # further bars may be given beside a sweep: the same grid is then walked over them
        what, bars = arguments.what, arguments.bars if bars is None else bars
    if (plan := _plan_in(what)) is not None:
        if not (bars is None and over is None and settings is None and params is None):
            raise Misused("a training plan has its own bars, costs and settings; omit bars, over, settings and params")
        return walk_plan(plan, steps, None, how, stop=stop)  # None: the default state folder
    if not over:
        raise Misused('nothing is fitted: name the parameters to choose from, over={"lookback": [20, 60, 120]}')
    if bars is None and not (isinstance(what, str | os.PathLike) and str(what).endswith(".toml")):
        raise Misused("a policy needs bars: quantd.walk_forward(policy, bars=frame, over=...), or name a config.toml")
    all_settings = with_adjusted(settings, adjusted=adjusted)
    return _walk_over_grid(what, bars, over, params or {}, all_settings, steps).walked(how, stop=stop)


def _walk_over_grid(
    what: object,
    bars: object,
    over: Mapping[str, Iterable[object]],
    params: Mapping[str, object],
    settings: Settings | None,
    steps: Steps,
) -> "_WalkOverGrid":
    """Return the prepared walk-forward of a policy over `bars`, or of the configuration file `what`."""
    is_file = isinstance(what, str | os.PathLike) and str(what).endswith(".toml")
    policy, params, caller = chosen(what, params)
    frame = None if bars is None else bar_frame(bars)
    path = Path(str(what)) if is_file else Path(PLACE)
    text = path.read_text(encoding="utf-8") if is_file or frame is None else text_around(frame, policy, params)
    grid = Grid(
        {key_of(key, is_file=is_file): [setting_text(value) for value in values] for key, values in over.items()}
    )
    require_keys(grid)
    sets, folder = sets_of(settings), path.parent if is_file else Path()
    config = read(text, known_names(), file=str(path), folder=folder, environ=os.environ, sets=sets)
    if mistakes := config.missing_files() if frame is None else ():
        raise ConfigError(mistakes)
    return _WalkOverGrid(config, text, sets, grid, steps, config.state_folder(None), frame, caller, what)


def walk_file(path: Path, grid: Grid, steps: Steps, sets: tuple[str, ...], state: Path | None, how: How) -> WalkForward:
    """Walk a configuration forward, as the command does: at a failed decision the agent holds.

    Raises ConfigError for a wrong configuration or a missing file, or another Error.
    """
    require_keys(grid)
    text = path.read_text(encoding="utf-8")
    config = read(text, known_names(), file=str(path), folder=path.parent, environ=os.environ, sets=sets)
    if mistakes := config.missing_files():
        raise ConfigError(mistakes)
    walk = _WalkOverGrid(config, text, sets, grid, steps, config.state_folder(state))
    return walk.walked(how, stop=False)


def walk_plan(plan: "Plan", steps: Steps, state: Path | None, how: How, *, stop: bool = False) -> WalkForward:
    """Train a plan anew at each refit, and trade each policy over the next period. Raises an Error, for example for
    data that do not fit the plan.
    """
    from quantd.research.studies import walk_training as training

    training.require_plan(plan)
    rows = pl.read_parquet(plan.data.files[0]).filter(pl.col("symbol").is_in(plan.data.symbols))
    frame = bar_frame(rows)
    # a training takes each date of its bars as a session, and so does the walk
    always = {"universe.calendar": "24/7"} if bool((rows["ts"].dt.weekday() > 5).any()) else {}
    sets = sets_of(training.settings_of(plan) | always)
    # equal weight stands in for the policies, which are trained below
    text = text_around(frame, "equal_weight", {})
    config = read(text, known_names(), file=PLACE, environ=os.environ, sets=sets)
    folder = config.state_folder(state)
    full_assembly = assemble(config, cache=folder / "cache", bars=frame)
    calendar = full_assembly.sessions[full_assembly.universe.calendar]
    planned = refits(steps, calendar, full_assembly.start_ns, full_assembly.feed.last_ts)
    walk_folder = folder_of(folder, training.identity_of(plan, steps))
    pool = None if how.on == "local" and how.workers == 1 else executor(how.on, how.workers, how.address)
    last_day, periods = day_of(full_assembly.feed.last_ts - 1), samples_a_year(full_assembly)
    chosen = training.trained(plan, planned, last_day, walk_folder, pool, how.progress, periods)
    base = base_of(config, text, sets, folder / "cache")
    # each refit sets the agent's policy to the artifact that was trained for it
    # None: no policy is an object of the caller
    assembly = traded(base, [f"agents.{AGENT}.policy"], chosen, None, frame)
    note_choices(folder, full_assembly, training.SHOWN, chosen, how.family)
    backtest = backtest_of(assembly, folder, compare=how.compare, stop=stop, family=how.family, kind="walk")
    walk = walk_of(assembly, backtest.record, training.SHOWN, chosen)
    write(walk, walk_folder)
    return WalkForward(walk, backtest, walk_folder)


class _WalkOverGrid:
    """A walk-forward that chooses from a grid of parameters: its market, and the input that all refits share."""

    def __init__(
        self,
        config: Config,
        text: str,
        sets: tuple[str, ...],
        grid: Grid,
        steps: Steps,
        state: Path,
        frame: BarFrame | None = None,
        caller: CallerPolicy | None = None,
        what: object = None,
    ) -> None:
        """`text` is the text of `config`, `sets` its overrides, and `state` the state folder.

        `frame` has the bars in memory, if there are any. `caller` loads the policy `what`, if `what` is an object.
        """
        self._grid, self._frame, self._caller, self._state = grid, frame, caller, state
        base = base_of(config, text, sets, self._state / "cache")
        self._base = replace(base, history=grid_history(base, grid.axes, caller))
        self._whole = self._assembled(self._base, config)
        self._steps = steps
        # a caller's object has no file whose text the digest could contain: its source stands for it
        market = trial_digest(self._whole)
        self._market = market if caller is None else f"{self._whole.market} {caller.known_as[2]}"

    def _assembled(self, base: Base, config: Config) -> Assembly:
        cache = Path(base.cache)
        return assemble(config, cache=cache, isolation=self._caller, bars=self._frame, history=base.history)

    def walked(self, how: How, *, stop: bool) -> WalkForward:
        """Choose the values of each refit, trade them, and write the result.

        With `stop`, a failed decision raises an Error.
        """
        full_assembly, base = self._whole, self._base
        calendar = full_assembly.sessions[full_assembly.universe.calendar]
        planned = refits(self._steps, calendar, full_assembly.start_ns, full_assembly.feed.last_ts)
        identity = identity_of(base, self._grid, self._steps, self._market)
        walk_folder = folder_of(self._state, identity)
        walk_folder.mkdir(parents=True, exist_ok=True)
        base = replace(base, bars=self._written(walk_folder))
        run: Run = run_points
        inline: _InProcess | None = None
        in_process = self._caller is not None and how.workers == 1 and how.on == "local"
        # a caller's function runs here, or is sent to the workers; other policies are loaded by the workers
        if self._caller is not None:
            run = inline = _InProcess(self._caller, stop=stop)
            if not in_process:
                run, inline = SentPoints(self._caller, stop=stop), None
        pool = Here() if in_process else executor(how.on, how.workers, how.address)
        try:
            chosen = choices(base, self._grid, planned, identity, walk_folder, pool, how.progress, run, stop=stop)
        except SweepFailed:
            if inline is not None and inline.failed is not None:  # the failed decision itself, with its cause
                raise inline.failed from inline.failed.__cause__
            raise
        assembly = traded(base, self._grid.keys, chosen, self._caller, self._frame)
        note_choices(self._state, full_assembly, self._grid.keys, chosen, how.family)
        backtest = backtest_of(assembly, self._state, compare=how.compare, stop=stop, family=how.family, kind="walk")
        walk = walk_of(assembly, backtest.record, self._grid.keys, chosen)
        write(walk, walk_folder)
        return WalkForward(walk, backtest, walk_folder)

    def _written(self, place: Path) -> str:
        """Write bars in memory to a file in the folder `place`, and return its path; empty for bars of a file."""
        if self._frame is None:
            return ""
        path = place / "bars.parquet"
        self._frame.frame.write_parquet(path)
        return str(path.resolve())


def _plan_in(what: object) -> "Plan | None":
    """Return `what` if it is a training plan, or the plan of a TOML file that has the key `agent`; else None."""
    if isinstance(what, str | os.PathLike) and str(what).endswith(".toml"):
        path = Path(str(what))
        try:
            agent = msgspec.toml.decode(path.read_bytes()).get("agent")
        except msgspec.DecodeError:
            return None  # the configuration's own reader names the line
        if not isinstance(agent, str):
            return None
        from quantd.training.plans.plan import read as read_plan

        return read_plan(path)
    if type(what).__name__ != "Plan":
        return None
    from quantd.training.plans.plan import Plan

    return what if isinstance(what, Plan) else None


class _InProcess:
    """Runs the points of a caller's function in this process."""

    def __init__(self, caller: CallerPolicy, *, stop: bool) -> None:
        self._caller, self._stop = caller, stop
        self._open: tuple[Base, Market] | None = None
        self.failed: DecisionFailed | None = None
        """The failed decision that ended the walk."""

    def __call__(self, work: Work, tell: Callable[[Point], bool]) -> int:
        """Run the points of `work`, and give each result to `tell`. Returns their number.

        The market stays open for further work with the same shared input (`work.base`).
        """
        if self._open is None or self._open[0] != work.base:
            self._open = work.base, Market.open(work.base, self._caller)
        for number, values in work.points:
            try:
                tell(run_point(self._open[1], work.base, work.keys, number, values, stop=self._stop))
            except DecisionFailed as error:
                self.failed = error
                raise
        return len(work.points)
