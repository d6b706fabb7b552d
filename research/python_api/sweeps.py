"""Sweeps of a policy over bars in memory, or of a configuration, as by `quantd sweep`."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import read
from quantd.daemon.views.report.rendering import html
from quantd.regular_file import write_whole
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.backtests import OnError, stops
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.functions import SentPoints, chosen
from quantd.research.python_api.plots import Picture, sweep_plot
from quantd.research.python_api.run_config import (
    AGENT,
    PLACE,
    Settings,
    sets_of,
    setting_text,
    text_around,
    with_adjusted,
)
from quantd.research.runs.failures import DecisionFailed
from quantd.research.runs.looks import trial_digest
from quantd.research.studies.grid import Grid
from quantd.research.studies.heat_map import heat_map_table, sweep_page
from quantd.research.studies.sweep import Progress, Sweep, SweepFailed, folder_of, identity_of
from quantd.research.studies.sweep import sweep as run_sweep
from quantd.research.studies.sweep_points import Market, Point, Work, base_of, grid_history, run_point, run_points
from quantd.training.runs.workers import Here, executor


@dataclass(frozen=True, slots=True)
class Swept:
    """The arguments of a sweep, from which `quantd.walk_forward` repeats the same grid."""

    what: object
    over: Mapping[str, Iterable[object]]
    bars: object
    settings: Settings | None
    params: Mapping[str, object] | None
    adjusted: bool


@dataclass(frozen=True, repr=False)
class SweepResult(Sweep):
    """The result of a sweep: `table`, `best`, `returns`, `deflated`, `overfitting`. `str()` is its verdict."""

    swept: Swept

    def heat_map(self, across: str, down: str, metric: str = "sharpe") -> Picture:
        """Return the heat map of a metric over two keys, as the mean over the other keys.

        Raises ValueError for an unknown key.
        """
        return Picture(html([heat_map_table(self, across, down, metric)]))

    def plot(self, metric: str = "sharpe") -> Any:
        """Return a figure of a metric: a line over the values of one key, or a heat map over the first two keys.

        Without plotly, the figure consists of the report's tables. Raises NoFigure for an unknown metric.
        """
        return sweep_plot(self, metric)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write one HTML page that opens without a network, and return its path."""
        out = Path(path)
        write_whole(out, sweep_page(self, "backtest").encode(), durable=False)
        return out

    def __str__(self) -> str:
        return "\n".join([*self.failure_lines, self.verdict(), *self.doubt_lines()])

    def __repr__(self) -> str:
        return str(self)


# Long because what is swept (a file, a name, a function of the caller) and where (here, in processes, in a cluster)
# decide together how a point is run.
def sweep(
    what: object,
    over: Mapping[str, Iterable[object]],
    bars: object = None,
    settings: Settings | None = None,
    *,
    params: Mapping[str, object] | None = None,
    adjusted: bool = False,
    workers: int = 1,
    on: str = "local",
    address: str = "",
    on_error: OnError = "raise",
    progress: Progress = lambda share: None,
    family: str = "",
) -> SweepResult:
    """Backtest a policy or a configuration at every point of a grid.

    `what` is a policy, with `bars`, or the path of a TOML file. `over` maps keys to their values: parameters of the
    policy ({"lookback": range(21, 253, 21)}), or dotted keys of the configuration. `params` are the policy's other
    parameters, `settings` replace keys. `adjusted` states that prices are adjusted for splits. `workers` points run at
    once, in processes or with `on="ray"` in a Ray cluster at `address`; a function of the caller is sent there by
    cloudpickle. An interrupted sweep continues when it is called again. Each point counts as a trial, for its own
    market and for the `family` that is named.

    The first decision that a policy fails to take raises an Error; with `on_error="hold"` the agent holds as in the
    daemon, and the point is marked as failed. Raises Misused for a policy without
    bars, and ConfigError or another Error.
    """
    stop, over = stops(on_error), {key: tuple(values) for key, values in over.items()}
    is_file = isinstance(what, str | os.PathLike) and str(what).endswith(".toml")
    policy, policy_params, caller = chosen(what, params)
    frame = None if bars is None else bar_frame(bars)
    if is_file:
        path = Path(str(what))
        text, file = path.read_text(encoding="utf-8"), str(path)
    elif frame is None:
        raise Misused("a policy needs bars: quantd.sweep(policy, over, bars=frame), or name a config.toml")
    else:
        text, file = text_around(frame, policy, policy_params), PLACE
    folder = Path(file).parent if is_file else Path()
    sets = sets_of(with_adjusted(settings, adjusted=adjusted))
    config = read(text, known_names(), file=file, folder=folder, environ=os.environ, sets=sets)
    state = config.state_folder(None)
    grid = Grid(
        {key_of(key, is_file=is_file): [setting_text(value) for value in values] for key, values in over.items()}
    )
    assembly = assemble(config, cache=state / "cache", isolation=caller, bars=frame)
    base = base_of(config, text, sets, state / "cache")
    base = replace(base, history=grid_history(base, grid.axes, caller))
    market = trial_digest(assembly) if caller is None else f"{assembly.market} {caller.known_as[2]}"
    sweep_folder = folder_of(state, identity := identity_of(base, grid, market))
    run: Callable[[Work, Callable[[Point], bool]], int] = run_points
    inline: _InProcess | None = None
    in_process = caller is not None and workers == 1 and on == "local"
    if caller is not None and in_process:
        point_assembly = assemble(config, cache=state / "cache", isolation=caller, bars=frame, history=base.history)
        run = inline = _InProcess(Market(point_assembly, frame, state / "cache", base.history), stop=stop)
    elif frame is not None:
        sweep_folder.mkdir(parents=True, exist_ok=True)
        frame.frame.write_parquet(sweep_folder / "bars.parquet")
        base = replace(base, bars=str((sweep_folder / "bars.parquet").resolve()))
        run = run_points if caller is None else SentPoints(caller, stop=stop)
    pool = Here() if in_process else executor(on, workers, address)
    try:
        study = run_sweep(base, grid, identity, sweep_folder, state, pool, progress, run, stop=stop, family=family)
    except SweepFailed:
        if inline is not None and inline.failed is not None:
            raise inline.failed from inline.failed.__cause__
        raise
    return SweepResult(study.keys, study.points, study.known, Swept(what, over, bars, settings, params, adjusted))


def key_of(key: str, *, is_file: bool) -> str:
    """Return the dotted key of the configuration; a name without a dot is a parameter of the policy.

    Raises Misused for a name without a dot where `is_file` is True, because the file may have several agents.
    """
    if "." in key:
        return key
    if is_file:
        raise Misused(f"{key!r} is no dotted key of the configuration; write agents.NAME.params.{key}")
    return f"agents.{AGENT}.params.{key}"


class _InProcess:
    """Runs the points of a sweep over one market in this process."""

    def __init__(self, market: Market, *, stop: bool) -> None:
        self._market, self._stop = market, stop
        self.failed: DecisionFailed | None = None
        """The failed decision that ended the sweep."""

    def __call__(self, work: Work, tell: Callable[[Point], bool]) -> int:
        for index, values in work.points:
            try:
                tell(run_point(self._market, work.base, work.keys, index, values, stop=self._stop))
            except DecisionFailed as error:
                self.failed = error
                raise
        return len(work.points)
