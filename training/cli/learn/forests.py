"""Commands of `quantd models` on forests: train-risk, train-correlation, train-allocation, evaluate."""

import itertools
import shlex
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from quantd.daemon.cli.command import Folder, Json, day
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import print_json, progress, say, table
from quantd.trading.exit_codes import CONFIG, DONE
from quantd.training.cli.learn.artifact_files import (
    ACTIONS_FILE,
    BARS_FILE,
    Actions,
    Bars,
    Seed,
    Symbols,
    failing,
    market_files,
    place_of,
    symbols_in,
)

if TYPE_CHECKING:
    from quantd.models.artifacts.manifest import ForestKind


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the artifact to write.")]
First = Annotated[date, typer.Option("--from", parser=day, metavar="DATE", help="First day read.")]
Until = Annotated[date, typer.Option("--to", parser=day, metavar="DATE", help="Last day read.")]
Horizon = Annotated[int, typer.Option(min=1, max=63, help="Samples ahead of the prediction.")]
Stride = Annotated[int, typer.Option(min=1, max=1_000, help="Sessions between two rows.")]
Folds = Annotated[int, typer.Option(min=1, max=100, help="Steps of the walk-forward test.")]
Embargo = Annotated[
    int, typer.Option(min=0, max=1_000, help="Sessions between a fitted outcome and a tested decision.")
]
Leaves = Annotated[int, typer.Option(min=2, max=4_096, help="Maximum leaves of a tree.")]


# Long because it makes a command: 13 options, which its help lists in this order, and what is printed of the forest.
def training_of(predicts: "ForestKind", what: str) -> Callable[..., int]:
    """The CLI command that trains a forest for the quantity `predicts`; `what` names this quantity in the help of the
    command."""

    def train_forest(
        out: Out,
        bars: Bars = BARS_FILE,
        actions: Actions = ACTIONS_FILE,
        symbols: Symbols = "AAPL,BAC,IWM,QQQ,SPY",
        first: First = "1998-01-02",  # type: ignore[assignment]  # typer parses it
        last: Until = "2018-12-31",  # type: ignore[assignment]
        horizon: Horizon = 21,
        stride: Stride = 5,
        folds: Folds = 5,
        embargo: Embargo = 5,
        leaves: Leaves = 64,
        seed: Seed = 1,
        as_json: Json = False,
    ) -> int:
        # `predicts` is the quantity of this command; the help is the docstring that `training_of` sets
        from quantd.models.artifacts.card import forest_verdict
        from quantd.models.artifacts.folder import kind_of
        from quantd.models.artifacts.manifest import MANIFEST, MEANING, PLAIN, ForestManifest
        from quantd.models.forests.prediction import load_forest
        from quantd.training.forests import fit

        names = symbols_in(symbols)
        needs("training", "sklearn", "onnx", "polars")
        files = market_files(bars, actions)
        if (out / MANIFEST).is_file() and kind_of(out) != "forest":
            raise Failure(f"{out} holds another kind of artifact; write to a new folder (--out)", CONFIG)
        with failing(f"models train-{predicts}"):
            plan = fit.Plan(
                predicts, first=first, last=last, horizon=horizon, stride=stride, folds=folds, embargo=embargo,
                leaves=leaves, seed=seed,
            )  # fmt: skip
            command = _command(plan, out, bars, actions, names)
            with progress(f"training {predicts}", shown=not as_json) as advance:
                steps = itertools.count(1)
                manifest = fit.train(*files, names, plan, out, command, lambda line: advance(next(steps) / (folds + 1)))
        seconds = load_forest(out).artifact.seconds
        if as_json:
            print_json({"folder": str(out), "training_seconds": seconds, **msgspec.to_builtins(manifest)})
            return DONE
        say(f"{out}: {MEANING[predicts]}, of the next {horizon} samples")
        say(f"plain estimate: {PLAIN[predicts]}")
        rows = [*((fold, "") for fold in manifest.folds), (manifest.together, "all ")]
        columns = ("held out", "rows", "R²", "plain R²", "MSE", "plain MSE")
        table(
            columns,
            [
                (
                    f"{label}{span.first} to {span.last}", str(span.rows),
                    f"{span.model.r2:.3f}", f"{span.plain.r2:.3f}", f"{span.model.mse:.4f}", f"{span.plain.mse:.4f}",
                )
                for span, label in rows
            ],
            right=columns[1:],
        )  # fmt: skip
        say(forest_verdict(manifest))
        size = sum((out / name).stat().st_size for name in ForestManifest.FILES)
        say(f"{manifest.training.rows} rows, {seconds:.1f} s, {size / 1024:.0f} KiB")
        return DONE

    train_forest.__doc__ = f"Train the forest that predicts {what}, test it walk-forward, and write it as an artifact."
    return train_forest


def evaluate_forest(
    folder: Folder,
    first: Annotated[date, typer.Option("--from", parser=day, metavar="DATE", help="First decision.")],
    last: Until,
    bars: Bars = BARS_FILE,
    actions: Actions = ACTIONS_FILE,
    symbols: Symbols = "AAPL,BAC,IWM,QQQ,SPY",
    as_json: Json = False,
) -> int:
    """Evaluate a forest beside its plain estimate on another market or other dates."""
    from quantd.training.forests import fit

    names = symbols_in(symbols)
    files = market_files(bars, actions)

    place = place_of(folder)
    with failing("models evaluate"):
        result, sessions_in_training = fit.evaluate(place, *files, names, first, last)
    if as_json:
        print_json({"folder": str(place), "sessions_in_training": sessions_in_training, **msgspec.to_builtins(result)})
        return DONE
    say(f"{place}, {result.first} to {result.last}, {result.rows} rows; fitted until {result.fitted_until}")
    table(
        ("", "R²", "MSE"),
        [(name, f"{s.r2:.3f}", f"{s.mse:.4f}") for name, s in (("forest", result.model), ("plain", result.plain))],
        right=("R²", "MSE"),
    )
    if sessions_in_training:
        say(f"{sessions_in_training} of these sessions lie in its training window, where the figures prove nothing.")
    return DONE


def _command(plan: Any, out: Path, bars: Path, actions: str, symbols: list[str]) -> str:
    """The command line with every setting, for the model card."""
    words = ["quantd", "models", f"train-{plan.predicts}", "--out", str(out), "--bars", str(bars)]
    words += ["--actions", actions, "--symbols", ",".join(symbols)]
    words += ["--from", str(plan.first), "--to", str(plan.last)]
    for name in ("horizon", "stride", "folds", "embargo", "leaves", "seed"):
        words += [f"--{name}", str(getattr(plan, name))]
    return shlex.join(words)


COMMANDS: Final[dict[str, Callable[..., int]]] = {
    "train-risk": training_of("risk", "the volatility of each asset"),
    "train-correlation": training_of("correlation", "the correlation of each pair"),
    "train-allocation": training_of("allocation", "the risk-adjusted return of each asset, relative to the mean"),
    "evaluate": evaluate_forest,
}
"""Commands of `quantd models` by name."""
