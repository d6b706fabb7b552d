"""`quantd data import`: bars of one's own, in whatever table they are, into a file of bars that a run reads.

The written file is read back and checked, so that the printed lines of config.toml work without a change.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from msgspec import structs

from quantd.daemon.cli.command import Json
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import answer, print_json, say, write_whole
from quantd.daemon.cli.setup.bar_report import (
    QUESTIONS,
    Reading,
    counted_symbols,
    fitting,
    print_report,
    report_of,
    universe_of,
)
from quantd.daemon.cli.setup.config_lines import BarLines
from quantd.daemon.cli.setup.data_fetch import Calendar
from quantd.daemon.cli.setup.table_options import NO_TABLE_OPTIONS, TableOptions
from quantd.trading.display_text import session_date
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE
from quantd.trading.instruments import kind_of

if TYPE_CHECKING:
    import polars as pl

    from quantd.adapters.feeds.table_files.reader import Table
    from quantd.trading.instruments import Universe

IMPORT: Final = "import of "
"""Beginning of the origin that an imported file records; the name of its source follows."""

UNNAMED: Final = "times of a clock that it does not name"
"""Part of the reader's statement about times without an offset from UTC."""


class Imported(NamedTuple):
    """The result of one import: the report on the file of bars, and the keys of config.toml with which a run reads it.

    `read_as` says how the columns of the table were interpreted.
    """

    report: dict[str, Any]
    read_as: list[str]
    lines: BarLines


class Stored(NamedTuple):
    """The files of one import, and how the bars are read back. `evidence` is what contradicted earlier readings.

    `left_out` counts the rows of the tables that are no bars.
    """

    lines: BarLines
    read_back: Reading
    evidence: list[str]
    read_as: list[str]
    left_out: int


# Long because the signature is the options of the command.
def import_bars(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE", help="Tables of bars: CSV, JSON, parquet, feather, zip, gzip, or folders of them."
        ),
    ] = None,
    calendar: Calendar = None,
    interval: Annotated[
        str | None, typer.Option("--interval", "-i", help="1m to 12h, or 1d; as found without it.")
    ] = None,
    stamps: Annotated[
        str | None, typer.Option("--stamps", metavar="open|close|session", help="Meaning of the stamps; as found.")
    ] = None,
    options: TableOptions = NO_TABLE_OPTIONS,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="F.parquet", help="The file; named by the symbol without it.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="config.toml", help="Write the lines there; comments stay. Made where absent."),
    ] = None,
    sentiment: Annotated[
        Path | None,
        typer.Option(
            "--sentiment",
            metavar="MODEL",
            help="FILE has headlines (ts, symbol, headline): score them by the FinBERT-class model of this folder.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the model of headlines.")] = 1,
    as_json: Json = False,
) -> int:
    """Turn tables of bars of any origin into a file that a run reads, and print what was taken for what.

    The interval, the calendar and the clock follow from the stamps where no option gives them. What has two readings is
    refused, with both of them and the option that chooses. Exit code 1 where the prices would stop a backtest.
    """
    if stamps not in (None, "open", "close", "session"):
        raise Failure(f"--stamps {stamps}: write open, close or session", USAGE)
    asked = options.asked()
    # no file of actions and none of exceptions
    reading = Reading(None, None, stamps, interval, calendar, options.zone, asked)  # type: ignore[arg-type]
    if sentiment is not None:
        if files is None or len(files) != 1 or out is None:
            raise Failure("--sentiment MODEL takes one file of headlines, and needs --out F.parquet", USAGE)
        return _score(files[0], sentiment, out, calendar or "XNYS", threads, as_json=as_json)
    if not files:
        raise Failure("name a file of bars, or a folder of them", USAGE)
    from quantd.adapters.feeds.recorded.bar_files import foreign_table, forget_tables
    from quantd.adapters.feeds.table_files.file_symbol import symbol_of
    from quantd.adapters.feeds.table_files.reader import joined

    named = {path: symbol_of(path.stem)[0] for path in files if asked.symbol and len(files) > 1}
    if other := [path for path, its_symbol in named.items() if its_symbol not in ("", asked.symbol)]:
        raise Failure(
            f"{other[0]}: its name says {named[other[0]]}, and --symbol {asked.symbol} is of all files", USAGE
        )
    table = joined([foreign_table(path, asked) for path in files], asked.overlap)
    kept = stored(table, target_of(out, table, files), files[0].name, reading)
    del table  # half of the memory, where the table has millions of bars
    forget_tables()
    done = reported(kept)
    _finish(done, into, as_json=as_json)
    return CHECK_FAILED if any(done.report[kind] for kind in QUESTIONS) else DONE


def _score(file: Path, model: Path, out: Path, calendar: str, threads: int, *, as_json: bool) -> int:
    """Score headlines by a local FinBERT-class model: one value for each symbol and session."""
    import numpy as np

    from quantd.adapters.calendars import sessions as calendar_sessions
    from quantd.adapters.feeds.recorded.headlines import by_session, read_headlines, session_days
    from quantd.daemon.cli.setup.bar_files import ScoresOrigin, write_bars

    needs("the score of headlines", "tokenizers", extra="sentiment")
    # imported only here: the import is slow, and no other work of `quantd data` needs the classifier
    from quantd.models.artifacts.text_classifier import TextClassifier

    headlines = read_headlines(file)
    first, last = session_date(int(headlines.ts.min())), session_date(int(headlines.ts.max()))
    # a headline after the last close belongs to the next session, which holidays may put off
    sessions = calendar_sessions(calendar, first, last + timedelta(days=16))
    days = session_days(headlines, sessions)
    classifier = TextClassifier(model, threads)
    unique = headlines.texts.unique(maintain_order=True)
    score_of = dict(zip(unique.to_list(), classifier.scores(unique.to_list()).tolist(), strict=True))
    scores = np.array([score_of[text] for text in headlines.texts.to_list()])
    values = by_session(headlines, days, scores)
    origin = ScoresOrigin(f"headlines of {file.name}", classifier.digest, calendar)
    write_bars(out, values, origin)
    report = {
        "file": str(out), "headlines": len(headlines.ts), "values": len(values), "symbols": values["symbol"].n_unique(),
        "from": values["ts"].min(), "to": values["ts"].max(), "calendar": calendar, "model": classifier.digest,
    }  # fmt: skip
    answer(
        as_json, report,
        f"{out}: {len(values):,} values of {counted_symbols(values['symbol'].n_unique())}, {report['from']} to "
        f"{report['to']}, from {len(headlines.ts):,} headlines", f"model {classifier.digest}",
    )  # fmt: skip
    return DONE


def _finish(done: Imported, into: Path | None, *, as_json: bool) -> None:
    """Print the report of an import, and write or print its lines of config.toml.

    Raises Failure if the file `into` cannot be changed.
    """
    file = done.lines.path
    if not as_json:
        for line in done.read_as:
            say(line)
        print_report(done.report)
    change = None if into is None else done.lines.into(into)
    if as_json:
        document = {
            "file": str(file), "actions_file": done.lines.actions and str(done.lines.actions),
            "read_as": done.read_as, "config": done.lines.text(), "report": done.report,
            "into": change and {"file": str(change.config), "set": change.set, "removed": change.removed},
        }  # fmt: skip
        print_json(document)
    elif change is not None:
        say(change.text())
        option = "" if change.config == Path("config.toml") else f" -c {change.config}"
        say(f"Next: quantd backtest{option}, quantd run{option}, or quantd train --bars {file} --into {change.config}")
    else:
        say("Lines for config.toml, in place of its [universe] and [feed]; --into config.toml writes them there:")
        say(done.lines.text())


def target_of(out: Path | None, table: "Table", files: Sequence[Path], folder: Path | None = None) -> Path:
    """Return the file to write: `out`, else a file in `folder` that is named by the symbol.

    Raises Failure for an existing file that is no earlier import of the same source.
    """
    names = table.frame["symbol"].unique().to_list()
    target = out or (folder or Path()) / f"{_file_name(names[0]) if len(names) == 1 else 'bars'}.parquet"
    _require_own(target, _origin_name(files[0].name))
    return target


def _require_own(target: Path, source: str) -> None:
    """Raise Failure for a file that is no parquet, or that has bars whose origin does not begin with `source`."""
    from quantd.adapters.feeds.recorded.origin import origin_of

    if target.suffix != ".parquet":
        raise Failure(f"{target}: bars are written as parquet; name it {target.with_suffix('.parquet')}", USAGE)
    if target.exists():
        origin = origin_of(target)
        if origin is None or not origin.source.startswith(source):
            raise Failure(f"{target} holds bars of another origin; name another file with --out", USAGE)


def _file_name(symbol: str) -> str:
    """Return a symbol as the name of a file, with - for signs that a name should not have."""
    return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in symbol)


def _origin_name(name: str) -> str:
    return f"{IMPORT}{name}"


def written(table: "Table", target: Path, name: str, reading: Reading) -> Imported:
    """Write the bars of a table in the form that a run reads, read the file back, and report on it.

    `name` is the name of the table's file. Raises Failure and FeedError.
    """
    return reported(stored(table, target, name, reading))


def stored(table: "Table", target: Path, name: str, reading: Reading) -> Stored:
    """Write the bars of a table in the form that a run reads, and its actions beside them.

    `name` is the name of the table's file. The table is first read in the way that fits its stamps. Raises Failure and
    FeedError.
    """
    import polars as pl

    from quantd.adapters.feeds.bars.rows import PRICES
    from quantd.adapters.feeds.recorded.bar_files import BarFrame, in_order, nanoseconds
    from quantd.adapters.feeds.recorded.origin import Origin
    from quantd.adapters.feeds.table_files.statement import stated
    from quantd.daemon.cli.setup.bar_files import beside, without_volume, write_bars
    from quantd.trading.display_text import some

    source = BarFrame(table.frame, name, table.actions if len(table.actions) else None, table.statements)
    # the faults are those of the file that is written, which is read back
    report, fitted = fitting(target, source, reading._replace(exceptions=None), checked=False)
    if not report["bars"]:
        raise Failure(f"{name} has no bar; name another file", CHECK_FAILED)
    misfits = [misfit for misfit in report["misfits"] if misfit["kind"] == "interval"]
    if misfits:
        raise Failure(f"{name}: {misfits[0]['text']}. {'; '.join(misfits[0]['remedies'])}", CHECK_FAILED)
    ts = pl.Series("ts", nanoseconds(table.frame["ts"], fitted.zone, table.frame["symbol"])).cast(
        pl.Datetime("ns", "UTC")
    )
    number_columns = [
        column if column.dtype == pl.Float64 else pl.Series(column.name, _floats(column))
        for column in (table.frame[field] for field in (*PRICES, "volume"))
    ]
    symbol = table.frame["symbol"]
    names = symbol.unique().cast(pl.String).sort()
    if symbol.dtype == pl.Categorical:  # an Enum has the order of the names
        symbol = symbol.cast(pl.Enum(names))
    frame = in_order(pl.DataFrame([ts, symbol, *number_columns]))
    zone = fitted.zone or ("UTC" if _lacks_zone(table) else "")
    origin = Origin(_origin_name(name), report["interval"], report["stamps"], zone=zone)
    text = frame.lazy().with_columns(pl.col("symbol").cast(pl.String), source=pl.lit(name))
    write_bars(target, text, origin, cells=frame.height * (frame.width + 1))
    actions_file = beside(target) if len(table.actions) or beside(target).is_file() else None
    if actions_file is not None and len(table.actions):
        write_whole(actions_file, _without_empty_text(table.actions).write_csv().encode())
    # the written file has UTC stamps: the clock of the table must not be applied again
    read_back = fitted._replace(actions=actions_file, zone="")
    read_as = [*stated(table.statements), *_clock_lines(table, fitted, reading)]
    silent = [name for name in without_volume(frame) if kind_of(name) != "index"]
    if silent:
        read_as.append(f"{some(silent)}: no bar has a volume, so that no fill is cut: [broker] participation = 0")
    universe = _stated_universe(names.to_list(), table, fitted, read_as)
    lines = BarLines(
        universe, target, actions_file, report["stamps"], report["interval"], report["from"][:10], report["to"][:10],
        silent=bool(silent),
    ).with_benchmark()  # fmt: skip
    return Stored(lines, read_back, report["evidence"], read_as, report["left_out"])


def _stated_universe(names: list[str], table: "Table", fitted: Reading, read_as: list[str]) -> "Universe":
    """Return the universe of the symbols, in the currency that the table names, or else that all of them are spelled
    in.

    Symbols of several currencies have the usual one. They, and indices beside symbols that trade, add a line to
    `read_as`.
    """
    from quantd.adapters.feeds.table_files.reader import ONE_CURRENCY
    from quantd.trading.display_text import some
    from quantd.trading.instruments import usual_currency

    indices = [name for name in names if kind_of(name) == "index"]
    if indices and len(indices) < len(names):
        read_as.append(f"{some(indices)}: an index cannot trade; {indices[0]} is the benchmark")
    universe = universe_of(names, fitted)
    currency = next((item.currency for item in table.statements if item.currency), "")
    usual = {code: name for name in names if (code := usual_currency(name))}
    if not currency and len(usual) > 1:
        spelled = ", ".join(f"{name} in {code}" for code, name in usual.items())
        read_as.append(f"{spelled}, as spelled: an account has one currency. {ONE_CURRENCY}")
    currency = currency or (next(iter(usual)) if len(usual) == 1 else "")
    if not currency:
        return universe
    items = tuple(structs.replace(item, currency=currency) for item in universe.instruments)
    return structs.replace(universe, instruments=items, currency=currency)


def reported(stored: Stored) -> Imported:
    """Read a stored file back, and report on it. Raises Failure and FeedError."""
    file = stored.lines.path
    report = report_of(file, file, stored.read_back) | {"evidence": stored.evidence, "left_out": stored.left_out}
    return Imported(report, stored.read_as, stored.lines)


def _clock_lines(table: "Table", fitted: Reading, given: Reading) -> list[str]:
    """Return a line about the clock by which times without an offset are read; nothing if no time lacks an offset, or
    if an option names the clock.

    `given` is the reading by the options, and `fitted` the one that fits the stamps. In a market without a pause the
    sessions do not show the clock, and UTC is assumed.
    """
    if fitted.zone or given.zone or not _lacks_zone(table):
        return [f"clock: {fitted.zone}, as the sessions show"] if fitted.zone and not given.zone else []
    return ["clock: UTC, because the sessions show no other; --zone names another one, such as --zone America/New_York"]


def _lacks_zone(table: "Table") -> bool:
    return any(UNNAMED in statement.time for statement in table.statements)


def _without_empty_text(actions: "pl.DataFrame") -> "pl.DataFrame":
    """Return actions with null in place of empty text, which a CSV file would write as two quotes."""
    import polars as pl

    return actions.with_columns(pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)).name.keep())


def _floats(column: "pl.Series") -> Any:
    import numpy as np
    import polars as pl

    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
