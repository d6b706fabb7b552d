"""Run a grid of values over the recorded market, and measure how far the best of them may be luck."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import to_builtins

from quantd.daemon.cli.command import Command, Family, From, Json, RayAddress, Sets, State, To
from quantd.daemon.cli.output import answer, check_output, progress, say, table, write_whole
from quantd.research.cli.trade import shared_options
from quantd.trading.exit_codes import CHECK_FAILED, DONE

if TYPE_CHECKING:
    from quantd.research.studies.sweep import Sweep

LISTED: Final = 10
"""Most lines of points that are printed: the best, the failed, and the ones without a result."""

SHOWN: Final = ("sharpe", "cagr", "volatility", "max_drawdown", "turnover")
"""Metrics of a point that are printed."""


def sweep(
    over: Annotated[list[str], shared_options.OVER],
    config: Annotated[Path, typer.Argument(envvar="QUANTD_CONFIG", help="The configuration.")] = Path("config.toml"),
    start: From = None,
    end: To = None,
    state: State = None,
    sets: Sets = None,
    points: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Draw N points of the grid.", show_default="all")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of --points.")] = 0,
    workers: shared_options.Workers = None,
    on: shared_options.On = "local",
    address: RayAddress = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder.", show_default="state/sweeps/ID")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="OUT.html", help="Write a page with heat maps.")
    ] = None,
    family: Family = "",
    as_json: Json = False,
) -> int:
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.config.overrides import between
    from quantd.research.python_api.grid_studies import GridStudy, How
    from quantd.research.python_api.sweeps import swept
    from quantd.research.studies.grid import Grid, axes_of
    from quantd.research.studies.heat_map import sweep_page

    if report is not None:
        check_output(report, ".html")
    overrides = between(sets, start, end)
    grid = Grid(axes_of(over, overrides), points, seed)
    configuration = read(config, overrides)
    folder = configuration.state_folder(state)
    study = GridStudy(configuration, config.read_text(encoding="utf-8"), overrides, grid, folder)
    of_grid = "" if len(grid) == grid.size else f" of {grid.size:,}"
    count = shared_options.workers_of(workers, on, len(grid) // shared_options.POINTS_EACH)
    at_once = shared_options.workers_text(count)
    with progress(f"sweep of {len(grid):,}{of_grid} points, {at_once}") as advance:
        result, sweep_folder = swept(study, How(True, count, on, address, advance, family), out)
    if report is not None:
        write_whole(report, sweep_page(result, configuration.quantd.name).encode())
    fields = document(result, sweep_folder) | {"notes": study.notes}
    answer(as_json, fields, lambda: _say(result, study.notes, sweep_folder, report))
    return DONE if result.ran and not result.faults and not result.failure_lines else CHECK_FAILED


def document(result: "Sweep", folder: Path) -> dict[str, object]:
    """Return a sweep as a JSON document; `best` has the values of the best point by key, None without a result."""
    overfitting = result.overfitting
    return {
        "failures": result.failure_lines,
        "points": result.table.to_dicts(),
        "best": None if result.best is None else dict(zip(result.keys, result.best.values, strict=True)),
        "deflated_sharpe": result.deflated,
        **result.known.document,
        "overfitting": None if overfitting is None else overfitting.probability,
        "verdict": result.verdict(),
        "doubts": to_builtins(result.doubts),
        "folder": str(folder),
    }


def _say(result: "Sweep", notes: Sequence[str], folder: Path, report: Path | None) -> None:
    """Print failures, the verdict, the best points by Sharpe ratio, and the points without a result."""
    failed = result.failure_lines
    say(*failed[:LISTED])
    if len(failed) > LISTED:
        say(f"and {len(failed) - LISTED:,} more failed")
    say(result.verdict())
    # a sweep of costs names no best point (the lowest cost always wins): its points stay in the order of the grid
    ranked = result.ran if result.costs else sorted(result.ran, key=lambda point: -(point.metrics["sharpe"] or 0.0))
    heads = (*result.keys, *SHOWN)
    figures = [[point.metrics[name] for name in SHOWN] for point in ranked[:LISTED]]
    cells = [["" if value is None else f"{value:.4f}" for value in row] for row in figures]
    table(heads, [[*point.values, *row] for point, row in zip(ranked, cells, strict=False)], heads)
    if len(ranked) > LISTED:
        say(f"  and {len(ranked) - LISTED:,} more points")
    # a point whose policy failed was printed at the top: here are the points that could not run or be measured
    faulty = result.fault_lines
    say(*faulty[:LISTED])
    if len(faulty) > LISTED:
        say(f"  and {len(faulty) - LISTED:,} more without a result")
    say(*(f"  {line}" for line in (*result.doubt_lines(), *notes)))
    say(f"  {folder}: sweep.parquet has every point, returns.parquet their returns")
    if report is not None:
        say(f"  report {report}")
    if count := len(result.faults):
        say(f"{count:,} of {len(result.points):,} points {'has' if count == 1 else 'have'} no result")


COMMAND: Final = Command("Trade", 35, sweep)
