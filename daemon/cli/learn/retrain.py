"""`quantd retrain`: a policy trained again on newer data, and whether it is worth a try as a challenger."""

from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from quantd import bundled
from quantd.daemon.cli.command import Command, Json, day
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import print_json, progress, say, table
from quantd.trading.exit_codes import CONFIG, DONE

if TYPE_CHECKING:
    from quantd.models.retraining.challenge import Figures
    from quantd.models.retraining.refit import Decision


NEEDED = ("torch", "onnx", "safetensors")


def retrain(
    source: Annotated[Path, typer.Argument(metavar="ARTIFACT|PLAN.toml", help="What is to be trained again.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of versions to write into.")],
    bars: Annotated[Path, typer.Option(help="Daily raw bars.")] = Path("data/us_daily.parquet"),
    actions: Annotated[str, typer.Option(help='Splits and dividends; "" for none.')] = "data/us_actions.csv",
    until: Annotated[
        date | None, typer.Option(parser=day, metavar="DATE", help="Nothing later is read; else where the bars end.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="The artifact in use; else what the folder stands for.")] = None,
    expanding: Annotated[bool, typer.Option("--expanding", help="The training part begins where it did.")] = False,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the plan.")] = None,
    measure: Annotated[Literal["sharpe", "mean"], typer.Option(help="What has to be better.")] = "sharpe",
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="One-sided, of the comparison.")] = 0.8,
    min_gain: Annotated[float, typer.Option(min=0.0, max=10.0, help="A year, in the measure.")] = 0.0,
    max_drawdown_ratio: Annotated[
        float, typer.Option(min=0.1, max=100.0, help="Of the new one's to the other's.")
    ] = 1.5,
    as_json: Json = False,
) -> int:
    """Train a policy again on newer data, as a new version, and say whether it is worth a try as a challenger."""
    import msgspec

    from quantd.daemon.cli.learn.artifact_files import market_files
    from quantd.daemon.policies.loading import artifact_folder

    rule = {
        "measure": measure,
        "confidence": confidence,
        "min_gain": min_gain,
        "max_drawdown_ratio": max_drawdown_ratio,
    }
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Failure(f"training needs {', '.join(missing)}: install quantd with its extra `train`", CONFIG)
    bars, listed = market_files(bars, Path(actions) if actions else None)
    from quantd.models.artifacts.manifest import ArtifactError
    from quantd.models.retraining import refit
    from quantd.models.retraining.challenge import Rule

    found = bundled.find(source) if source.suffix == ".toml" else artifact_folder(str(source), Path())
    try:
        asked = refit.Asked(
            found, out, bars, listed or Path(), until,
            against=None if against is None else artifact_folder(str(against), Path()),
            expanding=expanding, changes=tuple(sets or ()), rule=msgspec.convert(rule, Rule),
        )  # fmt: skip
        with progress(f"training {out.name} again", shown=not as_json) as bar:
            steps = 0

            def note(line: str) -> None:
                nonlocal steps
                steps += 1
                bar(1.0 - 0.98**steps)  # how many lines come is the plan's business: on and on, never back

            decision = refit.retrain(asked, note)
    except ArtifactError:
        raise
    except (ValueError, OSError) as error:
        raise Failure(f"quantd retrain: {error}") from error
    if as_json:
        print_json({"folder": str(out / decision.version), **msgspec.to_builtins(decision)})
    else:
        _told(decision, out)
    return DONE


def _told(decision: "Decision", out: Path) -> None:
    verdict = decision.verdict
    parts = ", ".join(f"{name} {first} to {last}" for name, (first, last) in decision.parts.items())
    say(f"{out / decision.version}: {parts}")
    say(
        f"{verdict.window.first} to {verdict.window.last}, {verdict.sessions} decisions that neither fitting nor "
        f"choosing of the new one "
        f"saw; costs {decision.costs_bp:g} bp, whole lots"
    )
    rows: list[tuple[str, Figures]] = [("new", verdict.challenger), ("equal weight", verdict.equal_weight)]
    if verdict.current is not None:
        rows.insert(1, ("in use", verdict.current))
    columns = ("", "Sharpe", "total", "drawdown", "turnover a year")
    table(
        columns,
        [
            (
                name, f"{each.performance.sharpe:.2f}", f"{each.performance.total_return:.1%}",
                f"{each.performance.max_drawdown:.1%}", f"{each.turnover_annual:.1f}",
            )
            for name, each in rows
        ],
        right=columns[1:],
    )  # fmt: skip
    if verdict.gain is not None and verdict.p is not None:
        say(
            f"{decision.rule.measure} better by {verdict.gain:.2f} a year, one-sided p = {verdict.p:.3g} of the "
            f"paired block bootstrap; "
            f"held against {decision.current}"
        )
    if verdict.seen_by_current:
        say(f"The one in use was fitted on {verdict.seen_by_current} of these sessions: there it has an advantage.")
    if decision.promoted:
        say(f"{decision.reason[0].upper()}{decision.reason[1:]}. {out} stands for it from the next start on.")
    else:
        say(f"Not worth a try as a challenger: {decision.reason}. {_stands(out)}")


def _stands(out: Path) -> str:
    from quantd.models.artifacts.versions import resolved

    found = resolved(out)
    if found != out:
        return f"{out} stands for {found.name}, as before."
    return f"{out} stands for no version yet; `quantd models use {out} VERSION` chooses one."


COMMAND: Final = Command(retrain, "Set up", order=60)
