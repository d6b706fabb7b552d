"""Check the bars of a file, or of every table of a folder, as a run does."""

import time
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from quantd.daemon.cli.command import DEFAULTS, Json, RunOptions, unused
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, print_json, records, say
from quantd.daemon.cli.setup.bar_report import (
    QUESTIONS,
    Reading,
    fitting,
    print_report,
    report_of,
    universe_in,
)
from quantd.daemon.cli.setup.data_fetch import Cache, Calendar, print_cached
from quantd.daemon.cli.setup.table_options import NO_TABLE_OPTIONS, TableOptions, source_of
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, DONE, USAGE


def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Any table of bars, packed or not; or a folder of them.")
    ] = None,
    actions: Annotated[
        Path | None, typer.Option("--actions", metavar="F.csv", help="Splits and dividends; FILE.actions.csv if there.")
    ] = None,
    exceptions: Annotated[
        Path | None,
        typer.Option("--exceptions", metavar="F.csv", help="Answers; exceptions.csv beside FILE, if there."),
    ] = None,
    stamps: Annotated[
        Literal["session", "open", "close"] | None, typer.Option("--stamps", help="Meaning of the bars' timestamps.")
    ] = None,
    interval: Annotated[str | None, typer.Option("--interval", "-i", help="1m to 12h, or 1d.")] = None,
    calendar: Calendar = None,
    options: TableOptions = NO_TABLE_OPTIONS,
    cache: Cache = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="REASON", help="Accept prices of a run that continues; without FILE."),
    ] = None,
    chosen: RunOptions = DEFAULTS,
    as_json: Json = False,
) -> int:
    """Check every bar of a file as a run does, or of every file of a folder. Without FILE: list the downloads.

    Of a table in other columns than those of quantd it prints what they were taken for, as `quantd data import` does.
    Such a table, and each file of a folder, is read with the interval and the calendar that fit its stamps. Rejected
    bars are listed by kind with count and first bar. Exit code 1 with what stops a backtest: jumps, actions that the
    prices do not show, suspicious bars without an answer, holes, and bars that are not what they are read as. A folder
    gives a table of files and findings, and one line where several files have the same bars.
    """
    of_file: dict[str, object] = {
        "FILE": file, "--actions": actions, "--exceptions": exceptions, "--stamps": stamps, "--interval": interval,
        "--calendar": calendar,
    }  # fmt: skip
    if accept is not None:
        unused("--accept", {**of_file, "--cache": cache})
        return _accept(chosen, accept, as_json=as_json)
    if file is None:
        unused("the list of downloads", of_file)
        return print_cached(cache, as_json=as_json)
    unused("FILE", {"--cache": cache})
    if not file.exists():
        raise Failure(f"{file}: there is no such file; name a file or a folder of bars", CONFIG)
    asked = options.asked()
    reading = Reading(actions, exceptions, stamps, interval, calendar, options.zone, asked)
    if file.is_dir():
        return _check_folder(file, reading, as_json=as_json)
    source = source_of(file, asked)
    report = report_of(file, source, reading) if isinstance(source, Path) else fitting(file, source, reading)[0]
    if as_json:
        print_json(report)
    else:
        print_report(report)
    return CHECK_FAILED if any(report[kind] for kind in QUESTIONS) else DONE


def _accept(chosen: RunOptions, reason: str, *, as_json: bool) -> int:
    """Accept prices of a continued run that would stop a new one; its CRITICAL alert ends.

    Raises Failure where the prices have no fault that was not accepted.
    """
    import getpass
    import socket

    from quantd.daemon.assembly.parts import Assembly, parts_of
    from quantd.daemon.recovery import price_acceptance

    if not reason.strip():
        raise Failure("the acceptance has no reason, which is recorded with your name", USAGE)
    settings = chosen.read()
    folder = settings.state_folder(chosen.state)
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


def _check_folder(folder: Path, reading: Reading, *, as_json: bool) -> int:
    """Check each table of a folder, print the findings of each, and return the exit code."""
    from quantd.adapters.feeds.feed_errors import FeedError
    from quantd.adapters.feeds.table_files.containers import table_files
    from quantd.adapters.feeds.table_files.text_layout import NoTable

    reports: dict[str, dict[str, Any]] = {}
    symbols: dict[str, set[str]] = {}  # of each file
    unread, broken = dict[str, str](), False  # file -> why it cannot be read
    try:
        files = table_files(folder)
    except FeedError as error:
        raise Failure(str(error), USAGE) from None
    for file in files:
        try:
            reports[file.name], symbols[file.name] = _report_of_table(file, reading)
        except (FeedError, Failure) as error:
            unread[file.name] = str(error).splitlines()[0]
            broken |= not isinstance(error, NoTable)  # a text without bars is left out of a run too
    counts = {name: _findings(report) for name, report in reports.items()}
    overlap, differs = _overlap(folder, reports, symbols, reading)
    total = sum(sum(findings.values()) for findings in counts.values()) + differs
    stops = differs or any(report[kind] for report in reports.values() for kind in QUESTIONS)
    code = CHECK_FAILED if stops or broken else DONE
    if as_json:
        documents = [{**report, "findings": counts[name]} for name, report in reports.items()]
        print_json({
            "folder": str(folder), "files": documents, "unread": unread, "overlap": overlap, "findings": total,
        })  # fmt: skip
        return code
    records(
        [{**report, "file": name, "finding": kind, "count": count or None} for name, report in reports.items()
         for kind, count in (counts[name] or {"no fault": 0}).items()],
        {"file": "file", "bars": "bars:,", "symbols": "symbols:", "interval": "interval",
         "calendar": lambda row: " ".join(row["calendars"]), "finding": "finding", "count": "count:,"},
    )  # fmt: skip
    for name, why in unread.items():
        say(f"not read: {name}: {why}")
    if overlap:
        say(f"overlap: {overlap}")
    faulty = sum(bool(findings) for findings in counts.values())
    say(
        f"{total:,} findings in {faulty} of {len(reports)} files; `quantd data check FILE` shows those of one"
        if total
        else f"no fault in {len(reports)} files"
    )
    return code


def _overlap(
    folder: Path, reports: Mapping[str, Mapping[str, Any]], symbols: Mapping[str, set[str]], reading: Reading
) -> tuple[str, bool]:
    """Return what is said about bars that several files of a folder have, and whether their values differ.

    A run of the folder stops where they differ, unless an option says which file counts. The folder is read as a whole
    only if two files share a symbol and a part of their span.
    """
    from quantd.adapters.feeds.feed_errors import FeedError
    from quantd.adapters.feeds.recorded.bar_files import foreign_table
    from quantd.adapters.feeds.table_files.overlap import OverlapError

    files = [(report["from"], report["to"], symbols[name]) for name, report in reports.items()]
    if not any(
        first[2] & other[2] and first[0] <= other[1] and other[0] <= first[1] for first, other in combinations(files, 2)
    ):
        return "", False
    try:
        statement = foreign_table(folder, reading.asked).statements[0]
    except OverlapError as error:
        return str(error), True
    except FeedError:
        return "", False  # the files are of different kinds, and are no folder of one run
    return next((note for note in statement.notes if "are in several files" in note), ""), False


def _report_of_table(file: Path, reading: Reading) -> tuple[dict[str, Any], set[str]]:
    """Return the report of a file of a folder, read with the interval and the calendar that fit its stamps, and its
    symbols.

    The file of corporate actions may also be named like one of the bundled data: us_actions.csv for us_daily.parquet.
    """
    bundled_style = file.with_name(f"{file.stem.removesuffix('_daily')}_actions.csv")
    if reading.actions is None and bundled_style != file and bundled_style.is_file():
        reading = reading._replace(actions=bundled_style)
    source = source_of(file, reading.asked)
    return fitting(file, source, reading)[0], set(universe_in(file, source, reading).symbols)


def _findings(report: dict[str, Any]) -> dict[str, int]:
    """Return the counts of a report by kind of finding: the bars of a fault, or the questions of any other kind."""
    counts = Counter({fault["fault"]: int(fault["bars"]) for fault in report["faults"]})
    counts.pop("spike", None)  # each suspicious bar is a question, or its answer is listed
    for kind in QUESTIONS[:-1]:
        counts[kind] += len(report[kind])
    counts.update(misfit["kind"] for misfit in report["misfits"])
    return {kind: count for kind, count in counts.items() if count}
