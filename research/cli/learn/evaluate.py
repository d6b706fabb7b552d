"""Run a learned policy over a window, after costs, beside equal weight; or a forest beside its plain estimate."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import to_builtins
from msgspec.structs import replace

from quantd.bundled import find
from quantd.daemon.cli.command import Command, Family, Json, day
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import answer, say, table
from quantd.trading.exit_codes import CONFIG, USAGE
from quantd.training.cli.learn.artifact_files import (
    FOREST_SYMBOLS,
    actions_option,
    bars_option,
    failing,
    market_files,
    place_of,
    symbols_in,
    symbols_option,
)

if TYPE_CHECKING:
    from quantd.training.runs.evaluation import Evaluated

USUAL: Final = "test part of its training"
"""The default of --from and --to in the help text."""

First = Annotated[
    date | None, typer.Option("--from", parser=day, metavar="DATE", help="First day.", show_default=USUAL)
]
Until = Annotated[date | None, typer.Option("--to", parser=day, metavar="DATE", help="Last day.", show_default=USUAL)]


def evaluate(
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", envvar="MODEL_PATH", help="A folder that `quantd train` wrote.")
    ],
    first: First = None,
    until: Until = None,
    bars: Annotated[Path | None, bars_option("as trained")] = None,
    actions: Annotated[str | None, actions_option("as trained")] = None,
    symbols: Annotated[str | None, symbols_option("as trained")] = None,
    state: Annotated[Path, typer.Option("--state", help="The state folder with the ledger of looks.")] = Path("state"),
    family: Family = "",
    as_json: Json = False,
) -> int:
    from quantd.adapters.feeds.recorded.sound_bars import require_sound_bars
    from quantd.daemon.cli.setup.bar_files import probed
    from quantd.models.artifacts.card import RATIOS_DEFINITION
    from quantd.models.artifacts.folder import kind_of
    from quantd.research.runs.evaluation_look import noted

    if bars is not None:
        probed(find(bars))  # a damaged parquet file could crash this process: a child process reads it first
    folder = place_of(artifact)
    if kind_of(folder) == "forest":
        return _evaluate_forest(folder, first, until, bars, actions, symbols, as_json=as_json)
    needs("evaluation", "torch")
    from quantd.training.runs import evaluation

    try:
        days = evaluation.window_of(artifact, first, until)
        figures = evaluation.evaluate(artifact, *days, bars, actions, symbols_in(symbols), require_sound_bars)
    except ValueError as error:
        raise Failure(str(error), CONFIG) from None
    # the evaluation becomes an entry of the ledger of looks, which counts the trials on its market
    known_trials = noted(state, artifact.name, figures, family)
    # `series` has fingerprints of the input series, which are no figures
    document = to_builtins(replace(figures, series={}))
    del document["series"]
    answer(
        as_json, {**document, **known_trials.document},
        lambda: _print_terms(artifact, figures), lambda: _print_figures(figures),
        f"{figures.sharpe_definition}.", f"{RATIOS_DEFINITION}.", known_trials.text,
    )  # fmt: skip
    return 0


def _evaluate_forest(
    folder: Path, first: date | None, until: date | None, bars: Path | None, actions: str | None, symbols: str | None,
    *, as_json: bool,
) -> int:  # fmt: skip
    """Evaluate a forest beside its plain estimate, and print both. A forest has no test part: both dates are needed."""
    from quantd.training.forests import fit

    if first is None or until is None:
        raise Failure(f"{folder}: a forest has no test part; name the dates with --from and --to", USAGE)
    files = market_files(bars, actions)
    with failing("evaluate"):
        result, known = fit.evaluate(folder, *files, symbols_in(symbols) or FOREST_SYMBOLS, first, until)
    rows = [(name, f"{s.r2:.3f}", f"{s.mse:.4f}") for name, s in (("forest", result.model), ("plain", result.plain))]
    text = f"{known} of these sessions lie in its training window, where the figures prove nothing."
    answer(
        as_json, {"folder": str(folder), "sessions_in_training": known, **to_builtins(result)},
        f"{folder}, {result.first} to {result.last}, {result.rows} rows; fitted until {result.fitted_until}",
        lambda: table(("", "R²", "MSE"), rows, right=("R²", "MSE")), *([text] if known else []),
    )  # fmt: skip
    return 0


def _print_figures(figures: "Evaluated") -> None:
    """Print the policy beside equal weight, and how many sessions lie outside its training window."""
    from quantd.models.artifacts.card import ratio_text

    rows = (
        ("policy", figures.policy, figures.turnover_annual),
        ("equal weight", figures.equal_weight, figures.equal_weight_turnover_annual),
    )
    heads = ("", "total", "a year", "volatility", "Sharpe", "Sortino", "Calmar", "drawdown", "turnover a year")
    table(
        heads,
        [
            (
                name, f"{window.total_return:.1%}", f"{window.annual_return:.1%}", f"{window.volatility_annual:.1%}",
                *map(ratio_text, (window.sharpe, window.sortino, window.calmar)), f"{window.max_drawdown:.1%}",
                f"{turnover:.1f}",
            )
            for name, window, turnover in rows
        ],
        right=heads[1:],
    )  # fmt: skip
    if figures.inside:
        outside = figures.sessions - figures.inside
        evidence = f"only the {outside} sessions outside are evidence" if outside else "the figures prove nothing"
        say(f"{figures.inside} of {figures.sessions} sessions lie inside the policy's training window: {evidence}.")
    else:
        say(f"None of the {figures.sessions} sessions lies inside the policy's training window.")
    if not figures.same_data:
        say("The bars are not the file of bars that the policy was trained on.")


def _print_terms(artifact: Path, figures: "Evaluated") -> None:
    """Print the window and the account of the evaluation, and the statement of statistical power, if it is recorded."""
    from quantd.models.artifacts.card import lots_text

    account, costs = figures.account, figures.account.costs
    say(
        f"{artifact} · {figures.first} to {figures.last}, {figures.sessions} sessions · {account.capital:,.0f}, "
        f"{lots_text(figures.lots)}, commission {costs.commission_bp:g} bp, slippage {costs.slippage_bp:g} bp"
    )
    if figures.power:
        say(f"power: {figures.power}")


COMMAND: Final = Command("Learn", 20, evaluate)
