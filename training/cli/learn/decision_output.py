"""The text of `quantd train --retrain`: the new version, its comparison, and the version in use."""

from pathlib import Path
from typing import TYPE_CHECKING

from quantd.daemon.cli.output import say, table

if TYPE_CHECKING:
    from quantd.training.retraining.challenge import Figures, Verdict
    from quantd.training.retraining.refit import Decision


def print_decision(decision: "Decision", out: Path) -> None:
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
