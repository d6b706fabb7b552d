"""The command `quantd study ablation`: the loss of ratio without each group of features, as a table, JSON or CSV."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.daemon.cli.command import Json
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.learn import plan_options
from quantd.daemon.cli.output import check_folder, print_json, progress, say, table
from quantd.trading.display_text import csv_cell
from quantd.trading.exit_codes import DONE, USAGE

if TYPE_CHECKING:
    from quantd.research.studies.ablation import Ablation, Variant


def study_ablation(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A training plan, as of `quantd train`.")],
    groups: Annotated[
        list[str] | None, typer.Option("--group", help="One group by name, repeatable; all without it.")
    ] = None,
    sets: plan_options.Sets = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="F.csv", help="Also write CSV.")] = None,
    as_json: Json = False,
) -> int:
    """Train a plan again without each group of its features; the drop of the Sharpe ratio, paired by seed."""
    if out is not None:
        check_folder(out)
    needs("an ablation", "torch")
    made = plan_options.plan_of(plan, None, "", sets, None, None, None)
    from quantd.research.studies import ablation

    if unknown := [name for name in groups or () if name not in ablation.GROUPS]:
        raise Failure(f"--group {unknown[0]!r} is no group; there are: {'; '.join(ablation.GROUPS)}", USAGE)
    with progress("ablation", shown=not as_json) as bar:
        try:
            result = ablation.ablate(made, tuple(groups or ablation.GROUPS), bar)
        except ValueError as why:
            raise Failure(f"{plan}: {why}", USAGE) from None
    if out is not None:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(CSV)
            writer.writerows([csv_cell(getattr(row, name)) for name in CSV] for row in result.variants)
    if as_json:
        print_json(result)
        return DONE
    _print(result)
    return DONE


CSV: Final = ("group", "width", "drop", "low", "high", "p", "p_holm", "share", "spread", "tier", "missing")

HEADS: Final = ("without", "state", "drop", "95 %", "p", "p Holm", "of the ratio", "spread", "tier")


def _print(result: "Ablation") -> None:
    full = ", ".join(f"{each:.2f}" for each in result.sharpes)
    say(
        f"{result.plan}: test part {result.test[0]} to {result.test[1]}, state of {result.width}, Sharpe by seed {full}"
    )
    table(HEADS, map(_cells, result.variants), HEADS[1:8])
    seeds = len(result.seeds)
    say(f"drop: Sharpe of the plan less that without the group, after costs, mean of {seeds} seeds, paired by seed")
    say("95 %: Student's t over the seeds; spread: deviation over the seeds; both leave out the luck of one history")
    say("tier: high above 15 % of the ratio, medium from 5 %, low below; none where the plan has no positive ratio")
    say(
        f"{result.test_evaluations:,} evaluations on the test part; a choice by this table is a choice on the test part"
    )


def _cells(row: "Variant") -> tuple[str, ...]:
    if row.drop is None or row.low is None or row.high is None:
        return (row.group, str(row.width or ""), row.missing, "", "", "", "", "", "")
    shown = ["" if each is None else f"{each:.3f}" for each in (row.p, row.p_holm)]
    shares = ["" if each is None else f"{each:+.1%}" for each in (row.share, row.spread)]
    return (
        row.group, str(row.width), f"{row.drop:+.3f}", f"[{row.low:+.2f}, {row.high:+.2f}]", *shown, *shares, row.tier,
    )  # fmt: skip
