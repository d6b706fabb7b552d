"""The command `quantd study ship`: the walk-forward by year of a plan, and the rule by which its policy may ship."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.bundled import placed
from quantd.daemon.cli.command import Json
from quantd.daemon.cli.failures import Failure, needs, note
from quantd.daemon.cli.output import check_folder, print_json, say, table
from quantd.research.cli.trade import shared_options
from quantd.trading.exit_codes import DONE, USAGE
from quantd.training.cli.learn import plan_options

if TYPE_CHECKING:
    from quantd.research.power.walk_records import AccountRow, Walked, WalkedYear

HEADS: Final = (
    "account", "seeds", "years", "log growth", "above equal weight", "years above", "untrained", "turnover a year",
    "CPU s",
)  # fmt: skip


def study_ship(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="A training plan, as in examples/train.")],
    first: Annotated[int, typer.Option("--first", metavar="YEAR", help="First test year.")],
    last: Annotated[int, typer.Option("--last", metavar="YEAR", help="Last test year.")],
    seeds: Annotated[int, typer.Option(min=0, max=100, help="Number of seeds; 0 trades the rules alone.")] = 5,
    cost: Annotated[
        float | None,
        typer.Option(min=0.0, max=1_000.0, help="Cost of one side in bp.", show_default="the plan's costs"),
    ] = None,
    sets: plan_options.Sets = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File that years are appended to, JSON lines.",
                                  show_default="shipping/walks.jsonl in the results folder"),
    ] = None,
    resume: shared_options.Resume = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Train a plan again for each year, and judge whether its policy may ship as better than equal weight."""
    if last < first:
        raise Failure(f"--last {last} is before --first {first}: name a last year that is not earlier", USAGE)
    if out is not None:
        check_folder(out)
    path = out or placed("RESULTS_DIR", "state") / "shipping" / "walks.jsonl"
    needs("a walk-forward by year", "torch", "onnx", "safetensors")
    from quantd.research.power.walk_records import looks_of, read_walks
    from quantd.research.power.yearly_walk import YearlyWalk, run
    from quantd.training.power.findings import append

    # None and "": the plan keeps its learner, profile, bars, actions and symbols
    training_plan = plan_options.plan_of(plan, None, "", sets, None, None, None)
    recorded = read_walks(path)
    if recorded and not resume:
        raise Failure(f"{path} has records already: add to them with --resume, or name another file with --out", USAGE)
    walk = YearlyWalk(training_plan, cost)
    done = {
        (record.walk, record.account, record.year, record.seed)
        for recorded_walk in recorded
        for record in recorded_walk.records
    }

    def add(year: "WalkedYear") -> None:
        append(path, year)
        seed = f", seed {year.seed}" if year.seed else ""
        note(f"{year.account}{seed}, {year.year}: {year.cpu_s:.0f} s")

    run(walk, range(first, last + 1), range(1, seeds + 1), done, add)
    walks = read_walks(path)
    # read again, not collected: of a resumed walk the file has years of earlier commands, too
    this_walk = next(walked for walked in walks if walked.first.walk == walk.digest)
    return _print_walk(this_walk, looks_of(walks), as_json=as_json)


def _print_walk(walk: "Walked", looks: int, *, as_json: bool) -> int:
    """Print the accounts of a walk-forward, and the verdict where a learner was trained.

    `looks` is the number of walk-forwards (tests) in the file of results. Returns the exit code.
    """
    verdict = walk.verdict(looks) if walk.learned else None
    if as_json:
        print_json({"walk": walk.first.walk, "ships": bool(verdict and verdict.ships), "verdict": verdict,
                    "accounts": walk.rows()})  # fmt: skip
        return DONE
    table(HEADS, [_cells(row) for row in walk.rows()], HEADS[1:])
    say("Log growth a year after costs, mean of the years and seeds; each year begins with cash. CPU s: of one year.")
    if verdict is not None:
        for line in verdict.lines():
            say(line)
    return DONE


def _cells(row: "AccountRow") -> tuple[str, ...]:
    is_equal_weight = row.account == "equal_weight"
    compared = ("", "") if is_equal_weight else (f"{row.excess:+.3f}", f"{row.above} of {row.years}")
    seeds_and_untrained = (f"{row.seeds}", f"{row.untrained:.0%}") if row.seeds else ("", "")
    return (row.account, seeds_and_untrained[0], f"{row.years}", f"{row.growth:+.3f}", *compared,
            seeds_and_untrained[1], f"{row.turnover_annual:.1f}", f"{row.cpu_s:.0f}")  # fmt: skip
