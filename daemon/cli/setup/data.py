"""Import bars of any table, download bars, check them, list the cached downloads, generate bars, or score headlines."""

import time
from datetime import date, timedelta
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Final

import typer

from quantd.daemon.cli.command import CONFIG_FILE, FIRST_DAY, LAST_DAY, Command, ConfigFile, Json, Reason, Sets, State
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import answer, iso, print_json, say, table
from quantd.daemon.cli.setup.data_check import check
from quantd.daemon.cli.setup.data_fetch import Cache, fetch
from quantd.daemon.cli.setup.data_import import import_bars
from quantd.trading.display_text import session_date, toml_value
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE
from quantd.trading.instruments import synthetic_note

OutFile = Annotated[Path, typer.Option("--out", "-o", metavar="F.parquet", help="The file.")]
CalendarName = Annotated[str, typer.Option("--calendar", help="Calendar of the sessions.")]


def accept(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    as_json: Json = False,
) -> int:
    """Accept prices of a continued run that would stop a new one; its CRITICAL alert ends.

    Exit code 1 where the prices have no fault that was not accepted.
    """
    import getpass
    import socket

    from quantd.daemon.assembly.parts import Assembly, parts_of
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.recovery import price_acceptance

    if not reason.strip():
        raise Failure('the acceptance has no reason, which is recorded with your name; add --reason "…"', USAGE)
    settings = read(config, sets)
    folder = settings.state_folder(state)
    if not folder.is_dir():
        raise Failure(f"{folder}: there is no state folder; --state names another one", CHECK_FAILED)
    parts = parts_of(settings, time.time_ns(), cache=folder / "cache")
    faults_table = parts.unsound if isinstance(parts, Assembly) else ""
    if not faults_table:
        raise Failure("the prices of this configuration have no fault, so there is nothing to accept", CHECK_FAILED)
    who = f"{getpass.getuser()}@{socket.gethostname()}"[:64]
    acceptance = price_acceptance.accept(folder, faults_table, who, " ".join(reason.split())[:500], time.time_ns())
    document = {
        "prices": acceptance.prices,
        "at": acceptance.at,
        "who": acceptance.who,
        "reason": acceptance.reason,
        "table": acceptance.table,
    }
    path = folder / price_acceptance.FILE
    # the last line of the table says that nothing was run
    answer(as_json, document, *faults_table.splitlines()[:-1], f"accepted by {acceptance.who}; recorded in {path}")
    return DONE


def cached(cache: Cache = None, as_json: Json = False) -> int:
    """List the cached downloads."""
    from quantd.adapters.feeds.recorded.sound_bars import cache_folder
    from quantd.adapters.feeds.wrappers.cache_files import Shelf

    root = cache or cache_folder()
    downloads: list[dict[str, Any]] = []
    for folder in sorted(path for path in root.glob("*/*") if path.is_dir()):
        for note in Shelf(folder).notes():
            size = (folder / note.file).stat().st_size if note.file and (folder / note.file).exists() else 0
            begin, end = (note.covered[0][0], note.covered[-1][1]) if note.covered else (0, 0)
            downloads.append(
                {
                    "source": folder.parent.name, "series": folder.name, "symbol": note.symbol, "bars": note.rows,
                    "from": iso(begin), "until": iso(end), "pieces": len(note.covered), "actions": len(note.actions),
                    "bytes": size,
                }
            )  # fmt: skip
    if as_json:
        print_json({"cache": str(root), "series": downloads})
    elif not downloads:
        say(f"{root}: no download yet; `quantd data fetch` caches its downloads")
    else:
        columns = ("source", "series", "symbol", "bars", "from", "until", "actions", "kB")
        rows = [
            [*(str(download[c]) for c in columns[:-1]), f"{download['bytes'] / 1000:.1f}"] for download in downloads
        ]
        table(columns, rows, right=("bars", "actions", "kB"))
        say(f"{len(downloads)} series in {root}; remove a folder to download it again")
    return DONE


def synthetic(
    out: OutFile,
    start: Annotated[date, FIRST_DAY],
    end: Annotated[date, LAST_DAY],
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Number of symbols.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same seed gives the same bars.")] = 1,
    drift: Annotated[float, typer.Option(min=-1, max=1, help="Drift a year.")] = 0.06,
    volatility: Annotated[float, typer.Option(min=0.001, max=2, help="Volatility a year while calm.")] = 0.20,
    correlation: Annotated[float, typer.Option(min=0, max=1, help="Correlation of two symbols.")] = 0.4,
    calendar: CalendarName = "XNYS",
    as_json: Json = False,
) -> int:
    """Write generated daily bars, to try programs with; their symbols begin with SYNTHETIC-."""
    import polars as pl

    from quantd.adapters.calendars import sessions as calendar_sessions
    from quantd.adapters.feeds.recorded.origin import Origin
    from quantd.adapters.feeds.recorded.synthetic import SyntheticPlan, synthetic_bars
    from quantd.daemon.cli.setup.bar_files import write_bars

    if end < start:
        raise Failure(f"--to {end} is before --from {start}", USAGE)
    plan = SyntheticPlan(count, seed, drift, volatility, correlation)
    bars = synthetic_bars(plan, calendar_sessions(calendar, start, end))
    if bars.is_empty():
        raise Failure(f"{calendar} has no session from {start} to {end}", USAGE)
    names = bars["symbol"].unique(maintain_order=True).to_list()
    origin = Origin(f"synthetic, {plan}", "1d", "session")
    write_bars(out, bars.with_columns(pl.lit("synthetic").alias("source")), origin)
    symbols_line = fill(f"symbols = {toml_value(names)}", 100, subsequent_indent="    ", break_on_hyphens=False)
    path_line = f"path = {toml_value(str(out))}"
    lines = "\n".join(("[universe]", symbols_line, "[feed]", path_line, 'stamps = "session"'))
    answer(
        as_json, {"file": str(out), "bars": len(bars), "symbols": names, "config": lines},
        f"{out}: {len(bars):,} generated bars. {synthetic_note(names)} Lines for config.toml:", lines,
    )  # fmt: skip
    return DONE


def sentiment(
    file: Annotated[
        Path, typer.Argument(metavar="HEADLINES", help="Columns ts, symbol and headline, as parquet or CSV.")
    ],
    model: Annotated[
        Path, typer.Option("--model", metavar="FOLDER", help="model.onnx, tokenizer.json and config.json.")
    ],
    out: OutFile,
    calendar: CalendarName = "XNYS",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the model.")] = 1,
    as_json: Json = False,
) -> int:
    """Score headlines by a local FinBERT-class model: one value for each symbol and session."""
    import numpy as np

    from quantd.adapters.calendars import sessions as calendar_sessions
    from quantd.adapters.feeds.recorded.headlines import by_session, read_headlines, session_days
    from quantd.daemon.cli.setup.bar_files import ScoresOrigin, write_bars

    needs("the score of headlines", "tokenizers", extra="sentiment")
    # imported only here: the import is slow, and no other command of `quantd data` needs the classifier
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
        f"{out}: {len(values):,} values of {report['symbols']} symbols, {report['from']} to {report['to']}, from "
        f"{len(headlines.ts):,} headlines", f"model {classifier.digest}",
    )  # fmt: skip
    return DONE


COMMAND: Final = Command(
    "Set up",
    70,
    {
        "import": import_bars,
        "fetch": fetch,
        "check": check,
        "accept": accept,
        "list": cached,
        "synthetic": synthetic,
        "sentiment": sentiment,
    },
)
