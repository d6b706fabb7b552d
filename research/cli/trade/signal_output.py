"""The command `quantd study signal`: figures of factors, as tables, JSON or CSV."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Family, Json, RunOptions
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, check_output, progress, say, table, write_csv
from quantd.research.cli.trade import shared_options
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE

if TYPE_CHECKING:
    from quantd.research.studies import signal_study

HORIZONS: Final = "1,2,5,10,21,63"
"""The default horizons, in samples. `signal_study.HORIZONS` has the same: the help text must not import that module."""


def study_signal(
    factors: Annotated[
        list[str], typer.Argument(metavar="FACTOR...", help="Features (quantd features list), or FILE.py:signal.")
    ],
    chosen: RunOptions = DEFAULTS,
    horizons: Annotated[
        str | None,
        typer.Option(
            "--horizons", metavar="1,5,21", help="Horizons of the returns, in samples.", show_default=HORIZONS
        ),
    ] = None,
    quantiles: Annotated[int, typer.Option("--quantiles", min=2, max=100, help="Number of quantiles.")] = 5,
    cuts: shared_options.Cuts = 20,
    out: Annotated[Path | None, typer.Option("--out", metavar="F.csv", help="Also write CSV.")] = None,
    family: Family = "",
    as_json: Json = False,
) -> int:
    """Measure factors: information coefficient, decay, spread, turnover and cost; exit code 1 on look-ahead."""
    from quantd.daemon.assembly.parts import assemble
    from quantd.research.runs.comparison import unlimited
    from quantd.research.studies import signal_study
    from quantd.research.studies.factors import source_of

    if out is not None:
        check_output(out, ".csv")
    configuration = chosen.read()
    folder = configuration.state_folder(chosen.state)
    samples_ahead = signal_study.HORIZONS if horizons is None else _horizons(horizons)
    sources = [source_of(name, Path.cwd(), configuration.feed.inputs) for name in dict.fromkeys(factors)]
    # factors are measured without trading: one agent without limits stands in for the configured agents
    unlimited_config = unlimited(configuration, {}, name="studied", policy="equal_weight", params={})
    assembly = assemble(unlimited_config, cache=folder / "cache")
    with progress("factors") as advance:
        result = signal_study.study_signals(
            assembly, sources, horizons=samples_ahead, quantiles=quantiles, cuts=cuts, state=folder, progress=advance,
            family=family,
        )  # fmt: skip
    if out is not None:
        columns = signal_study.COLUMNS
        write_csv(out, columns, ([row[name] for name in columns] for row in signal_study.flat(result)))
    document = {"studies": result.studies, **result.known.document, "definition": signal_study.DEFINITION}
    answer(as_json, document, lambda: _print(result, quantiles))
    return CHECK_FAILED if result.refused else DONE


def _horizons(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise Failure(f"--horizons {text!r}: write whole numbers of samples, such as 1,5,21", USAGE) from None


def _print(result: "signal_study.SignalStudies", quantiles: int) -> None:
    """Print the tables of each factor, the ranking of several factors, and the notes.

    A factor that the look-ahead guard refused has its title only.
    """
    from quantd.research.studies import signal_study

    for study in result.studies:
        say(*signal_study.title(study))
        if study.refused:
            say("")
            continue
        table(signal_study.HEAD, signal_study.table(study), signal_study.HEAD)
        say("")
        table(signal_study.SPREAD_HEAD, signal_study.spread_table(study), signal_study.SPREAD_HEAD)
        fewest = " (the most that the symbols or the factor's values make)" if study.quantiles < quantiles else ""
        say("", f"mean return a year of each of {study.quantiles} quantiles{fewest}:")
        quantile_columns = signal_study.quantile_head(study)
        table(quantile_columns, signal_study.quantile_table(study), quantile_columns)
        say("")
    if len(result.studies) > 1:
        columns = ("rank", "factor", "best horizon", "IC", "t", "p adj", "net Sharpe")
        table(columns, signal_study.ranking(result), (columns[0], *columns[2:]))  # only the factor is text
        say("")
    if any(study.horizons for study in result.studies):
        say(*signal_study.footnotes(result))
