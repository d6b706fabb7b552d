"""Train a plan again without each of its parts; the drop of the Sharpe ratio, paired by seed and date."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.bundled import placed
from quantd.daemon.cli.command import Command, Json
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import answer, check_output, progress, say, table, write_csv, write_whole
from quantd.trading.exit_codes import DONE, USAGE
from quantd.training.cli.learn import plan_options

if TYPE_CHECKING:
    from quantd.research.studies.ablation.ablation_study import Ablation, Variant
    from quantd.training.plans.plan import Plan


def ablate_plan(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A training plan, as of `quantd train`.")],
    names: Annotated[
        list[str] | None, typer.Option("--without", metavar="NAME", help="One variant, repeatable; all without it.")
    ] = None,
    sets: plan_options.Sets = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write CSV, or a page (.html).")
    ] = None,
    features: Annotated[
        bool, typer.Option("--features", help="Leave out each feature of returns from a linear ranker instead.")
    ] = False,
    as_json: Json = False,
) -> int:
    if features and (names or out is not None):
        raise Failure("--features names the five most useful features of returns: omit --without and --out", USAGE)
    if out is not None:
        check_output(out, ".csv", ".html")
    needs("an ablation", "torch", "onnx")
    # None and "": the plan keeps its learner, profile, bars, actions and symbols
    training_plan = plan_options.plan_of(plan, None, "", sets, None, None, None)
    if features:
        return _rank_features(training_plan, as_json=as_json)
    from quantd.research.python_api.plan_trades import traded
    from quantd.research.studies.ablation.ablation_study import ablate
    from quantd.research.studies.ablation.ablation_variants import names_of

    variants = names_of(training_plan)
    if unknown := [name for name in names or () if name not in variants]:
        raise Failure(f"--without {unknown[0]!r} is no variant of this plan; there are: {'; '.join(variants)}", USAGE)
    folder = placed("RESULTS_DIR", "state") / "ablation"
    # `traded` runs a trained policy through the engine, with or without limits
    with progress("ablation") as advance:
        try:
            result = ablate(
                training_plan, tuple(names or variants), folder, advance, partial(traded, cache=folder / "cache")
            )
        except ValueError as why:
            raise Failure(f"{plan}: {why}", USAGE) from None
    if out is not None:
        _write(out, result)
    answer(as_json, result, lambda: _print(result))
    return DONE


CSV_COLUMNS: Final = (
    "name", "width", "drop", "low", "high", "p", "p_holm", "p_seeds", "share", "spread", "tier", "missing", "note",
)  # fmt: skip
"""Columns of the CSV: fields of `Variant`."""

NO_DATA: Final = "no data"
"""The reason for missing figures (`Variant.missing`) that is short enough for a cell of the table."""

HEADS: Final = ("without", "state", "drop", "95 %", "p", "p Holm", "of the ratio", "spread", "tier")
"""Columns of the table. All but the first and the last are numbers, which are aligned to the right."""


def _write(out: Path, result: "Ablation") -> None:
    """Write the variants as CSV, or as a page with a picture where the suffix is .html.

    The note of the first row of the CSV, `power`, is the sentence on statistical power.
    """
    if out.suffix.lower() == ".html":
        from quantd.research.studies.ablation.ablation_picture import ablation_page

        write_whole(out, ablation_page(result).encode())
        return
    # the name is the first column and the note the last: all columns between them stay empty
    power = ["power", *[""] * (len(CSV_COLUMNS) - 2), result.power]
    write_csv(out, CSV_COLUMNS, [power, *([getattr(row, name) for name in CSV_COLUMNS] for row in result.variants)])


def _print(result: "Ablation") -> None:
    """Print the statistical power, the table of variants, the reasons for missing figures, and the definitions."""
    from quantd.research.studies.ablation.ablation_study import tiers

    say(f"power: {result.power}")
    sharpes = ", ".join("none" if ratio is None else f"{ratio:.2f}" for ratio in result.sharpes)
    say(
        f"{result.plan}: test part {result.test[0]} to {result.test[1]}, state of {result.width} numbers, "
        f"Sharpe by seed {sharpes}"
    )
    table(HEADS, map(_cells, result.variants), HEADS[1:8])
    for row in result.variants:
        if row.missing and row.missing != NO_DATA:  # NO_DATA is short enough for its cell of the table
            say(f"{row.name}: {row.missing}")
        elif row.note:
            say(f"without {row.name}: {row.note}, so that the figures of this row are no result")
    say(
        f"drop: Sharpe of the plan less the Sharpe without the part, after costs, mean of {len(result.seeds)} seeds, "
        "paired by seed",
        "95 %, p: over the dates of the test part, of the mean over the seeds",
        "of the ratio: the drop as a share of the plan's ratio; spread: standard deviation of the share over seeds",
        "tier: high above 15 % of the ratio, medium from 5 %, low below; none where the plan has no positive ratio",
        "tiers: " + ", ".join(f"{count} {name}" for name, count in tiers(result.variants).items()),
        f"{result.test_evaluations:,} evaluations on the test part; "
        "a choice by this table is a choice on the test part",
    )


def _cells(row: "Variant") -> tuple[str, ...]:
    """Return the cells of one variant under HEADS; a variant without figures has the reason NO_DATA or "-"."""
    if row.drop is None:
        return (row.name, str(row.width or ""), row.missing if row.missing == NO_DATA else "-", *[""] * 6)
    bounds = "" if row.low is None or row.high is None else f"[{row.low:+.2f}, {row.high:+.2f}]"
    p_values = ["" if p is None else f"{p:.3f}" for p in (row.p, row.p_holm)]
    shares = ["" if share is None else f"{share:+.1%}" for share in (row.share, row.spread)]
    return (row.name, str(row.width or ""), f"{row.drop:+.3f}", bounds, *p_values, *shares, row.tier)


def _rank_features(plan: "Plan", *, as_json: bool) -> int:
    """Name the five most useful features of returns: a linear ranker leaves out one at a time on the training part."""
    from quantd.research.studies.ablation.feature_ablation import feature_ablation, lite_features
    from quantd.training.seeds.markets import markets_of

    markets = markets_of(plan)
    rows = feature_ablation(markets.panel, range(markets.train.first, markets.train.last + 1))
    best_features = lite_features(rows)
    part = plan.splits.train
    answer(
        as_json, {"features": best_features, "variants": rows}, lambda: table(HEADS, map(_cells, rows), HEADS[1:8]),
        f"training part {part.first} to {part.last}: the ranker is fitted on the first half and trades the second; "
        "the test part is not read",
        f"the features with the largest drops, to keep: {', '.join(best_features)}",
    )  # fmt: skip
    return DONE


COMMAND: Final = Command("Trade", 45, ablate_plan)
