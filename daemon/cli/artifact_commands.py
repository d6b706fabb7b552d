"""The words of `quantd models` for artifacts; what they do is in `quantd.daemon.cli.learn.artifacts`."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="An artifact, such as models/shipped/scorer.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="A new folder.")]


class By(StrEnum):
    """How members' weights become one."""

    mean = "mean"
    vote = "vote"
    performance = "performance"


def add(app: typer.Typer) -> None:
    """The commands, to `quantd models`."""
    for name, command in _COMMANDS.items():
        app.command(name)(command)


def _list(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Yours, beside those that came with quantd.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List artifacts: kind, algorithm, until when they were trained, test Sharpe, and whether they would be traded."""
    from quantd.daemon.cli.learn import artifacts

    raise typer.Exit(artifacts.show(folder, as_json=as_json))


def _export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="A new folder; with --graph a new file.")],
    graph: Annotated[bool, typer.Option("--graph", help="Only the ONNX graph.")] = False,
    as_json: Json = False,
) -> None:
    """Copy an artifact after every check, or its graph alone."""
    from quantd.daemon.cli.learn import artifacts

    raise typer.Exit(artifacts.export(folder, out, graph_only=graph, as_json=as_json))


def _quantize(
    folder: Folder,
    out: Out,
    int8: Annotated[bool, typer.Option("--int8", help="Linear layers in eight bits.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Numbers kept in half precision.")] = False,
    as_json: Json = False,
) -> None:
    """Make a smaller copy of a policy and measure size, speed and agreement; exit code 1 when it answers too differently."""
    from quantd.daemon.cli.learn import artifacts

    if int8 == fp16:
        raise typer.BadParameter("one of --int8 and --fp16 is expected")
    raise typer.Exit(artifacts.quantize(folder, out, "int8" if int8 else "float16", as_json=as_json))


def _distil(
    folder: Folder,
    out: Out,
    hidden: Annotated[str, typer.Option(metavar="64,32", help="Widths of the pupil's layers.")] = "64,32",
    bars: Annotated[Path, typer.Option(help="Daily raw bars, those of the teacher's training.")] = Path(
        "data/us_daily.parquet"
    ),
    actions: Annotated[str, typer.Option(help='Splits and dividends; "" for none.')] = "data/us_actions.csv",
    steps: Annotated[
        int, typer.Option(min=10, max=100_000, help="Sessions that 16 accounts of the teacher trade.")
    ] = 500,
    epochs: Annotated[int, typer.Option(min=1, max=10_000, help="Times that each answer is taught.")] = 60,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 1,
    as_json: Json = False,
) -> None:
    """Teach a smaller network to answer as a policy does, on that policy's training window."""
    from quantd.daemon.cli.learn import artifacts

    widths = [int(word) for word in hidden.split(",") if word.strip().isdigit()]
    if not widths or len(widths) != len(hidden.split(",")) or not all(0 < width <= 4096 for width in widths):
        raise typer.BadParameter(f"--hidden {hidden!r}: widths from 1 to 4096, joined by commas")
    code = artifacts.distil(
        folder, out, hidden=widths, bars=bars, actions=Path(actions) if actions else None, steps=steps, epochs=epochs,
        seed=seed, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)


def _key(
    private: Annotated[Path, typer.Option(metavar="FILE", help="The key to sign with: keep it to yourself.")],
    public: Annotated[Path, typer.Option(metavar="FILE", help="The key to check with.")],
) -> None:
    """Make a pair of Ed25519 keys."""
    from quantd.daemon.cli.learn import artifacts

    raise typer.Exit(artifacts.make_key(private, public))


def _sign(
    folder: Folder,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Your private key.")],
    as_json: Json = False,
) -> None:
    """Sign an artifact: a file beside it that says who made it."""
    from quantd.daemon.cli.learn import artifacts

    raise typer.Exit(artifacts.sign(folder, key, as_json=as_json))


def _combine(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Two artifacts or more.")],
    by: Annotated[By, typer.Option("--by", help="All alike, the median of each symbol, or fixed shares.")] = By.mean,
    share: Annotated[
        list[float] | None,
        typer.Option("--share", help="Of each member in order, by performance; else by validation Sharpe."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make one policy of several: an artifact of artifacts."""
    from quantd.daemon.cli.learn import artifacts

    raise typer.Exit(artifacts.combine(out, folders, by.value, share, as_json=as_json))


def _use(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="A folder of versions, each an artifact.")],
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Without: what the name means now.")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="Written into the history.")] = "",
    as_json: Json = False,
) -> None:
    """Choose, or roll back to, the version that a name means."""
    from quantd.daemon.cli.learn import artifacts

    raise typer.Exit(artifacts.use(name, version, why, as_json=as_json))


_COMMANDS: dict[str, Callable[..., None]] = {
    "list": _list, "export": _export, "quantize": _quantize, "distil": _distil, "key": _key, "sign": _sign, "combine": _combine,
    "use": _use,
}  # fmt: skip
