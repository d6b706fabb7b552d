"""Train a policy again on newer data as a new version, and test whether it may become a challenger."""

import itertools
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import typer

from quantd import bundled
from quantd.daemon.cli.command import Command, Json, day
from quantd.daemon.cli.failures import needs
from quantd.daemon.cli.output import print_json, progress, say, table
from quantd.trading.exit_codes import DONE
from quantd.training.cli.learn.artifact_files import ACTIONS_FILE, BARS_FILE, Actions, Bars, failing, market_files

if TYPE_CHECKING:
    from quantd.training.retraining.challenge import Figures, Verdict
    from quantd.training.retraining.refit import Decision


def retrain(
    source: Annotated[Path, typer.Argument(metavar="ARTIFACT|PLAN.toml", help="The artifact or plan to train again.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the versions.")],
    bars: Bars = BARS_FILE,
    actions: Actions = ACTIONS_FILE,
    until: Annotated[
        date | None, typer.Option(parser=day, metavar="DATE", help="Last day read; the end of the bars without it.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="The artifact in use; the folder's current version without it.")
    ] = None,
    expanding: Annotated[bool, typer.Option("--expanding", help="Keep the start of the training part.")] = False,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the plan.")] = None,
    measure: Annotated[Literal["sharpe", "mean"], typer.Option(help="Measure of the comparison.")] = "sharpe",
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="One-sided confidence of the comparison.")
    ] = 0.8,
    min_gain: Annotated[float, typer.Option(min=0.0, max=10.0, help="Required gain a year, in the measure.")] = 0.0,
    max_drawdown_ratio: Annotated[
        float, typer.Option(min=0.1, max=100.0, help="Maximum drawdown, as a multiple of the other's.")
    ] = 1.5,
    as_json: Json = False,
) -> int:
    from quantd.daemon.policies.loading import artifact_folder

    rule = {
        "measure": measure, "confidence": confidence, "min_gain": min_gain, "max_drawdown_ratio": max_drawdown_ratio,
    }  # fmt: skip
    needs("training", "torch", "onnx", "safetensors", "sklearn")
    bars, actions_path = market_files(bars, actions)
    from quantd.adapters.feeds.recorded.sound_bars import require_sound_bars
    from quantd.training.retraining import refit
    from quantd.training.retraining.challenge import Rule

    source_path = bundled.find(source) if source.suffix == ".toml" else artifact_folder(str(source), Path())
    with failing("retrain"), progress(f"training {out.name} again", shown=not as_json) as advance:
        request = refit.RetrainingRequest(
            source_path, out, bars, actions_path or Path(), until,
            against=None if against is None else artifact_folder(str(against), Path()),
            expanding=expanding, changes=tuple(sets or ()), rule=msgspec.convert(rule, Rule),
        )  # fmt: skip
        steps = itertools.count(1)
        # the number of lines depends on the plan: the bar approaches its end
        decision = refit.retrain(request, lambda line: advance(1.0 - 0.98 ** next(steps)), require_sound_bars)
    if as_json:
        print_json({"folder": str(out / decision.version), **msgspec.to_builtins(decision)})
    else:
        _print(decision, out)
    return DONE


def _print(decision: "Decision", out: Path) -> None:
    """Print the dates of the new version's training, validation and test parts, its comparison with the version in use,
    and which version is in use now."""
    from quantd.models.artifacts.versions import resolved

    verdict = decision.verdict
    parts = ", ".join(f"{name} {first} to {last}" for name, (first, last) in decision.parts.items())
    say(f"{out / decision.version}: {parts}")
    if verdict is not None:
        _print_comparison(verdict, decision)
    current = resolved(out)
    if decision.promoted:
        say(f"{decision.reason[0].upper()}{decision.reason[1:]}. {out} is this version from the next start.")
    elif current != out:
        say(f"No challenger: {decision.reason}. {out} is still {current.name}.")
    else:
        remedy = f"`quantd models use {out} VERSION` chooses one"
        say(f"No challenger: {decision.reason}. {out} has no current version; {remedy}.")


def _print_comparison(verdict: "Verdict", decision: "Decision") -> None:
    """Print the results of the new version, of the version in use (if any) and of equal weight, and the test between
    the two versions."""
    say(
        f"{verdict.window.first} to {verdict.window.last}, {verdict.sessions} decisions outside the fitting and "
        f"selection of the new version; costs {decision.costs_bp:g} bp, whole lots"
    )
    rows: list[tuple[str, Figures]] = [("new", verdict.challenger), ("equal weight", verdict.equal_weight)]
    if verdict.current is not None:
        rows.insert(1, ("in use", verdict.current))
    columns = ("", "Sharpe", "total", "drawdown", "turnover a year")
    table(
        columns,
        [
            (
                name, f"{figures.performance.sharpe:.2f}", f"{figures.performance.total_return:.1%}",
                f"{figures.performance.max_drawdown:.1%}", f"{figures.turnover_annual:.1f}",
            )
            for name, figures in rows
        ],
        right=columns[1:],
    )  # fmt: skip
    if verdict.gain is not None and verdict.p is not None:
        say(
            f"{decision.rule.measure} better by {verdict.gain:.2f} a year, one-sided p = {verdict.p:.3g} of the "
            f"paired block bootstrap; compared with {decision.current}"
        )
    if verdict.seen_by_current:
        say(f"The version in use was fitted on {verdict.seen_by_current} of these sessions, an advantage for it.")


COMMAND: Final = Command("Set up", 60, retrain)
