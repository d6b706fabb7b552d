"""Choose parameters anew at each refit, on the bars before it, and trade the next period with them."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from quantd.bundled import find
from quantd.daemon.cli.command import Command, Family, From, Json, RayAddress, Sets, State, To
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import answer, check_output, progress, records, say
from quantd.research.cli.trade import shared_options
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE
from quantd.training.cli.learn.plan_options import plan_of

if TYPE_CHECKING:
    from quantd.research.python_api.walks import WalkForward
    from quantd.training.plans.plan import Plan

LISTED: Final = 24
"""Number of the newest refits that are printed."""


def walk(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="A configuration, or a training plan.")],
    over: Annotated[list[str] | None, shared_options.OVER] = None,
    refit: Annotated[str, typer.Option(metavar="PERIOD", help="Time between refits: 3y, 6mo, 4w, 20d.")] = "3y",
    window: Annotated[str, typer.Option(metavar="PERIOD", help="expanding, or a moving window such as 8y.")] = (
        "expanding"
    ),
    embargo: Annotated[int, typer.Option(min=0, max=10_000, help="Sessions before a refit that are left out.")] = 5,
    first: Annotated[
        str, typer.Option(metavar="PERIOD", help="First window of an expanding walk.", show_default="3y or one refit")
    ] = "",
    combinatorial: Annotated[
        str, typer.Option(metavar="N,K", help="Also cross-validate: N groups, K held out in each split, such as 6,2.")
    ] = "",
    start: From = None,
    end: To = None,
    state: State = None,
    sets: Sets = None,
    no_compare: Annotated[bool, typer.Option("--no-compare", help="Skip equal weight.")] = False,
    workers: shared_options.Workers = None,
    on: shared_options.On = "local",
    address: RayAddress = "",
    report: shared_options.Report = None,
    family: Family = "",
    as_json: Json = False,
) -> int:
    from quantd.daemon.config.overrides import between
    from quantd.research.python_api.grid_studies import How
    from quantd.research.python_api.walks import ONE_PERIOD, is_plan, walk_file, walk_plan
    from quantd.research.reports.report_files import check_suffix
    from quantd.research.studies.combinatorial import Groups
    from quantd.research.studies.grid import Grid, axes_of
    from quantd.research.studies.walk_calendar import Steps

    if report is not None:
        check_suffix(report)
        check_output(report)
    steps = Steps(refit, window, embargo, first)
    groups = Groups.of(combinatorial) if combinatorial else None
    trains = is_plan(find(plan))
    # a worker that trains needs more memory than one that backtests: without an option there is one
    count = workers or 1 if trains else shared_options.workers_of(workers, on)
    with progress(f"walk, {shared_options.workers_text(count)}") as advance:
        how = How(not no_compare, count, on, address, advance, family)
        if trains:
            if groups is not None:
                raise Failure(f"{plan} is a training plan, which {ONE_PERIOD}; leave out --combinatorial", USAGE)
            walk_forward = walk_plan(_plan_of(plan, sets, over, start, end), steps, state, how)
        else:
            if not over:
                text = f"{plan} is a configuration, and nothing is fitted: name a grid with --over KEY=VALUES"
                raise Failure(f"{text}, or name a training plan in place of it", USAGE)
            grid = Grid(axes_of(over, sets or ()))
            walk_forward = walk_file(plan, grid, steps, between(sets, start, end), state, how, groups)
    if report is not None:
        walk_forward.report(report)
    report_lines = [] if report is None else [f"  report {report}"]
    answer(as_json, document(walk_forward), lambda: _say(walk_forward), *report_lines)
    return CHECK_FAILED if walk_forward.backtest.verdict.failures else DONE


def _plan_of(
    path: Path, sets: list[str] | None, over: list[str] | None, start: date | None, end: date | None
) -> "Plan":
    """Read a training plan. Raises Failure for options of a configuration, and without the packages of training."""
    needs("training", "torch", "onnx")
    if over or start is not None or end is not None:
        text = f"{path} is a training plan: --over, --from and --to belong to a configuration"
        raise Failure(f"{text}; change the dates of the plan with --set splits.train.first=DATE", USAGE)
    return plan_of(path, None, "", sets, None, None, None)


def document(walk_forward: "WalkForward") -> dict[str, Any]:
    """Return a walk-forward as a JSON document, its Sharpe ratios in sample (`_in`) and out of sample (`_out`)."""
    walk = walk_forward.walk
    return {
        "refits": msgspec.to_builtins(walk.table.to_dicts()),
        "sharpe_in": walk.sharpe_in,
        "sharpe_out": walk.sharpe,
        "efficiency": walk.efficiency,
        "stability": walk.stability,
        "combinatorial": None if walk_forward.combinatorial is None else walk_forward.combinatorial.document,
        **msgspec.to_builtins(walk_forward.backtest.verdict),
        "folder": str(walk_forward.folder),
    }


def _say(walk_forward: "WalkForward") -> None:
    """Print the failures and the headline, then the table of refits, then the remaining lines of the verdict."""
    walk = walk_forward.walk
    lines = str(walk_forward).split("\n")
    # the failures come first in the text, then the headline
    first_count = 1 + len(walk_forward.backtest.verdict.failures)
    say("\n".join(lines[:first_count]))
    if len(walk.periods) > LISTED:
        say(f"  the newest {LISTED} of {len(walk.periods):,} refits:")
    chosen = {key: lambda period, at=at: period.choice.shown[at] for at, key in enumerate(walk.keys)}
    records(
        walk.periods[-LISTED:],
        {"refit": "choice.refit.day", "fitted to": "choice.look.last", **chosen, "in sample": "choice.sharpe:.2f",
         "out": "sharpe:.2f", "return": "total_return:+.2%"},
        walk.keys,
    )  # fmt: skip
    say("  in sample: Sharpe ratio on the bars of the fit; out, return: of the period that follows")
    say("\n".join(lines[first_count:]))
    say(f"  {walk_forward.folder}: walk.parquet has every refit, returns.parquet the returns out of sample")
    if walk_forward.combinatorial is not None:
        say("  splits.parquet has the choice of every split, paths.parquet the returns of every path")


COMMAND: Final = Command("Trade", 36, walk)
