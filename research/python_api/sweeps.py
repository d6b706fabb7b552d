"""Sweeps of a policy over bars in memory, or of a configuration, as by `quantd sweep`."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from quantd.daemon.views.report.rendering import html
from quantd.regular_file import write_whole
from quantd.research.python_api.backtests import OnError
from quantd.research.python_api.grid_studies import GridStudy, How, grid_of
from quantd.research.python_api.plots import Picture, sweep_picture
from quantd.research.python_api.run_config import Settings, with_adjusted
from quantd.research.studies.heat_map import heat_map_table, sweep_page
from quantd.research.studies.sweep import Progress, Sweep, folder_of, identity_of
from quantd.research.studies.sweep import sweep as run_sweep
from quantd.research.studies.sweep_points import Base, Run
from quantd.training.runs.workers import Executor, Place


@dataclass(frozen=True, slots=True)
class Swept:
    """The arguments of a sweep, from which `quantd.walk_forward` repeats the same grid."""

    what: object
    over: Mapping[str, Iterable[object]]
    bars: object
    settings: Settings | None
    params: Mapping[str, object] | None
    adjusted: bool
    points: int | None
    seed: int


@dataclass(frozen=True, repr=False)
class SweepResult(Sweep):
    """The result of a sweep: `table`, `best`, `returns`, `deflated`, `overfitting`. `str()` is its verdict."""

    swept: Swept
    notes: tuple[str, ...] = ()

    def heat_map(self, across: str, down: str, metric: str = "sharpe") -> Picture:
        """Return the heat map of a metric over two keys, as the mean over the other keys.

        Raises ValueError for an unknown key.
        """
        return Picture(html([heat_map_table(self, across, down, metric)]))

    def plot(self, metric: str = "sharpe") -> Picture:
        """Return the picture of a metric: a line over the values of one key, or a heat map for each pair of keys.

        Raises NoFigure for an unknown metric, and where no point has a value of it.
        """
        return sweep_picture(self, metric)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write one HTML page that opens without a network, and return its path."""
        out = Path(path)
        write_whole(out, sweep_page(self, "backtest").encode(), durable=False)
        return out

    def __str__(self) -> str:
        return "\n".join([*self.failure_lines, self.verdict(), *self.doubt_lines(), *self.fault_lines, *self.notes])

    def __repr__(self) -> str:
        return str(self)


def sweep(
    what: object,
    over: Mapping[str, Iterable[object]],
    bars: object = None,
    settings: Settings | None = None,
    *,
    params: Mapping[str, object] | None = None,
    adjusted: bool = False,
    points: int | None = None,
    seed: int = 0,
    workers: int = 1,
    on: Place = "local",
    address: str = "",
    on_error: OnError = "raise",
    progress: Progress = lambda share: None,
    family: str = "",
) -> SweepResult:
    """Backtest a policy or a configuration at every point of a grid.

    `what` is a policy, with `bars`, or the path of a TOML file. `over` maps keys to their values: parameters of the
    policy ({"lookback": range(21, 253, 21)}), or dotted keys of the configuration. `points` of them are drawn at random
    with `seed`, without repetition; None runs all. `params` are the policy's other parameters, `settings` replace keys.
    `adjusted` states that prices are adjusted for splits. `workers` points run at once, in processes or with `on="ray"`
    in a Ray cluster at `address`; a function of the caller is sent there by cloudpickle. An interrupted sweep continues
    when it is called again. Each point counts as a trial, for its own market and for the `family` that is named.

    The first decision that a policy fails to take raises an Error; with `on_error="hold"` the agent holds as in the
    daemon, and the point is marked as failed. Raises Misused for a policy without
    bars, and ConfigError or another Error.
    """
    stop, over = on_error == "raise", {key: tuple(values) for key, values in over.items()}
    all_settings = with_adjusted(settings, adjusted=adjusted)
    call = "quantd.sweep(policy, over, bars=frame)"
    grid = GridStudy.of(what, bars, grid_of(what, over, points, seed), params, all_settings, call)
    how = How(True, workers, on, address, progress, family)
    study = swept(grid, how, stop=stop)[0]
    return SweepResult(
        study.keys, study.points, study.known, Swept(what, over, bars, settings, params, adjusted, points, seed),
        grid.notes, grid=study.grid,
    )  # fmt: skip


def swept(study: GridStudy, how: How, folder: Path | None = None, *, stop: bool = False) -> tuple[Sweep, Path]:
    """Run the points of a grid, and return the sweep with its folder: `folder`, or one in the state folder."""
    identity = identity_of(study.base, study.grid, study.market)
    place = folder or folder_of(study.state, identity)

    def swept_by(base: Base, where: Executor, run: Run) -> Sweep:
        return run_sweep(
            base, study.grid, identity, place, study.state, where, how.progress, run, stop=stop, family=how.family
        )

    return study.run(place, how, swept_by, stop=stop), place
