"""Check the bars of a file, or of every table of a folder, as a run does."""

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import typer

from quantd.daemon.cli.command import CONFIG_FILE, ConfigFile, Json, Sets, State
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, iso, print_json, say, table
from quantd.daemon.cli.setup.data_fetch import Cache, Calendar, print_cached
from quantd.daemon.cli.setup.table_options import (
    Columns,
    Dates,
    Decimal,
    Overlap,
    Prices,
    Scale,
    Symbol,
    Unit,
    asked_of,
    checked_zone,
    source_of,
)
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE
from quantd.trading.instruments import Instrument, Universe, calendar_of, house_calendar
from quantd.trading.sessions import DAY_NS, Sessions

if TYPE_CHECKING:
    from quantd.adapters.feeds.bars.answers import Settled
    from quantd.adapters.feeds.bars.checks import Reasons
    from quantd.adapters.feeds.bars.rows import Rows
    from quantd.adapters.feeds.recorded.bar_files import BarSource
    from quantd.adapters.feeds.recorded.evidence import Reading as Placement
    from quantd.adapters.feeds.table_files.reader import ReadOptions
    from quantd.trading.events import Action
    from quantd.trading.market import Ints


QUESTIONS: Final = ("jumps", "actions", "suspicious", "holes", "misfits")
"""The parts of a report that stop a backtest."""

CURRENCIES: Final = frozenset((
    "AUD", "CAD", "CHF", "CNH", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "JPY", "MXN", "NOK", "NZD", "PLN", "SEK",
    "SGD", "TRY", "USD", "XAG", "XAU", "ZAR",
))  # fmt: skip
"""Codes of currencies and metals whose pairs trade around the clock from Monday to Friday."""

MOST_READINGS: Final = 5
"""Most readings of one table: first as it says, then once each with the fitting interval, calendar, clock, stamps."""


class Reading(NamedTuple):
    """How a file of bars is read. Where a field is None, the file itself decides.

    `asked` has the options about a table with other columns than quantd's. `calendars` maps symbols whose calendar is
    not `calendar` to their own one.
    """

    actions: Path | None
    exceptions: Path | None
    stamps: Literal["session", "open", "close"] | None
    interval: str | None
    calendar: str | None
    zone: str
    asked: "ReadOptions"
    calendars: Mapping[str, str] = {}


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
    zone: Annotated[
        str, typer.Option("--zone", metavar="ZONE", help="Clock of stamps without an offset; UTC without it.")
    ] = "",
    symbol: Symbol = "",
    dates: Dates = "",
    unit: Unit = "",
    scale: Scale = "",
    decimal: Decimal = "",
    prices: Prices = "",
    overlap: Overlap = "",
    column: Columns = None,
    cache: Cache = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="REASON", help="Accept prices of a run that continues; without FILE."),
    ] = None,
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Check every bar of a file as a run does, or of every file of a folder. Without FILE: list the downloads.

    Of a table in other columns than those of quantd it prints what they were taken for, as `quantd data import` does.
    Such a table, and each file of a folder, is read with the interval and the calendar that fit its stamps. Rejected
    bars are listed by kind with count and first bar. Exit code 1 with what stops a backtest: jumps, actions that the
    prices do not show, suspicious bars without an answer, holes, and bars that are not what they are read as. A folder
    gives a table of files and findings, and one line where several files have the same bars.
    """
    if accept is not None:
        return _accept(config, state, sets, accept, as_json=as_json)
    if file is None:
        return print_cached(cache, as_json=as_json)
    asked = asked_of(symbol, checked_zone(zone), dates, unit, scale, decimal, column, prices, overlap)
    reading = Reading(actions, exceptions, stamps, interval, calendar, zone, asked)
    if file.is_dir():
        return _check_folder(file, reading, as_json=as_json)
    source = source_of(file, asked)
    report = report_of(file, source, reading) if isinstance(source, Path) else fitting(file, source, reading)[0]
    if as_json:
        print_json(report)
    else:
        print_report(report)
    return CHECK_FAILED if any(report[kind] for kind in QUESTIONS) else DONE


def _accept(config: Path, state: Path | None, sets: Sets, reason: str, *, as_json: bool) -> int:
    """Accept prices of a continued run that would stop a new one; its CRITICAL alert ends.

    Raises Failure where the prices have no fault that was not accepted.
    """
    import getpass
    import socket

    from quantd.daemon.assembly.parts import Assembly, parts_of
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.recovery import price_acceptance

    if not reason.strip():
        raise Failure("the acceptance has no reason, which is recorded with your name", USAGE)
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
    rows = [
        [
            name,
            f"{report['bars']:,}",
            str(report["symbols"]),
            report["interval"],
            " ".join(report["calendars"]),
            kind,
            f"{count:,}" if count else "",
        ]
        for name, report in reports.items()
        for kind, count in (counts[name] or {"no fault": 0}).items()
    ]
    table(
        ("file", "bars", "symbols", "interval", "calendar", "finding", "count"),
        rows,
        right=("bars", "symbols", "count"),
    )
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
    return fitting(file, source, reading)[0], set(_universe_in(file, source, reading).symbols)


def fitting(
    file: Path, source: "BarSource", reading: Reading, *, checked: bool = True
) -> tuple[dict[str, Any], Reading]:
    """Return (report of a table, the reading that fits its stamps). Without `checked`, the report has no faults.

    The report's `evidence` says what contradicted the earlier readings. Raises Failure and FeedError.
    """
    (report, placement), evidence = _read(file, source, reading), []
    for _ in range(MOST_READINGS - 1):
        next_reading = _reading_by_remedies(report, reading)
        if next_reading == reading:
            break
        evidence += [misfit["text"] for misfit in report["misfits"]]
        reading = next_reading
        report, placement = _read(file, source, reading)
    report["evidence"] = list(dict.fromkeys(evidence))
    return report | (_checks(file, source, placement, reading, report["actions_file"]) if checked else {}), reading


def _reading_by_remedies(report: dict[str, Any], reading: Reading) -> Reading:
    """Return the reading changed as the remedies of a report say.

    A value is adopted only if no option sets it, the bars decide for it, and all remedies suggest the same value. The
    interval comes first, since the other findings may follow from a wrong interval; then calendar, clock, and the
    meaning of the stamps.
    """
    misfits = [misfit for misfit in report["misfits"] if misfit["decided"]]
    remedies = " ".join(remedy for misfit in misfits for remedy in misfit["remedies"])
    intervals = set(re.findall(r'\[feed\] interval = "(\w+)"', remedies))
    calendars = set(re.findall(r'\[universe\] calendar = "([^"]+)"', remedies))
    zones = set(re.findall(r'\[feed\] zone = "([^"]+)"', remedies))
    stamps = set(re.findall(r'\[feed\] stamps = "(\w+)"', remedies))
    if reading.interval is None and len(intervals) == 1:
        interval = intervals.pop()
        meaning: Literal["session", "open"] = "session" if interval == "1d" else "open"
        return reading._replace(interval=interval, stamps=reading.stamps or meaning)
    if reading.calendar is None and len(calendars) == 1:
        reading = reading._replace(calendar=calendars.pop())
    if not reading.zone and len(zones) == 1 and "carry a wrong offset" not in remedies:
        reading = reading._replace(zone=zones.pop())
    is_daily = reading.interval in (None, "1d")
    # a wrong calendar or clock also makes the stamps look wrong
    if len(stamps) == 1 and not (calendars or zones) and not (is_daily and reading.stamps):
        reading = reading._replace(stamps=stamps.pop())
    if reading.calendar is None and not reading.calendars:
        symbol_calendars = {
            name: calendar
            for misfit in misfits if misfit["kind"] == "calendar"
            for calendar in re.findall(r'calendar = "([^"]+)"', " ".join(misfit["remedies"]))[:1]
            for name in misfit["symbols"]
        }  # fmt: skip
        reading = reading._replace(calendars=symbol_calendars) if symbol_calendars else reading
    return reading


def _findings(report: dict[str, Any]) -> dict[str, int]:
    """Return the counts of a report by kind of finding: the bars of a fault, or the questions of any other kind."""
    counts = Counter({fault["fault"]: int(fault["bars"]) for fault in report["faults"]})
    counts.pop("spike", None)  # each suspicious bar is a question, or its answer is listed
    for kind in QUESTIONS[:-1]:
        counts[kind] += len(report[kind])
    counts.update(misfit["kind"] for misfit in report["misfits"])
    return {kind: count for kind, count in counts.items() if count}


def report_of(file: Path, source: "BarSource", reading: Reading) -> dict[str, Any]:
    """Return the report on a file's bars, which are read from `source`: facts, faults and questions, by name.

    The report's `misfits` are signs that bars are read with a wrong interval, calendar, clock or meaning of stamps.
    Raises Failure and FeedError.
    """
    report, placement = _read(file, source, reading)
    return report | _checks(file, source, placement, reading, report["actions_file"])


def _read(file: Path, source: "BarSource", reading: Reading) -> tuple[dict[str, Any], "Placement"]:
    """Return the facts and misfits of a report, and the bars with their places in sessions."""
    from quantd.adapters.feeds.bars.merge import place_all
    from quantd.adapters.feeds.bars.rows import NO_STAMP
    from quantd.adapters.feeds.recorded.bar_files import BarFrame, mostly_without_offset, read_bars, span
    from quantd.adapters.feeds.recorded.evidence import Reading as Placement
    from quantd.adapters.feeds.recorded.evidence import misfits
    from quantd.adapters.feeds.recorded.origin import origin_of
    from quantd.adapters.feeds.recorded.sound_bars import calendars_of
    from quantd.adapters.feeds.table_files.statement import stated
    from quantd.daemon.cli.setup.bar_files import LONGER, beside, length_of

    origin = origin_of(file)
    stamps = reading.stamps or (origin.stamps if origin else "session")
    interval = reading.interval or (origin.interval if origin else "1d")
    if interval in LONGER:
        raise Failure(f"{file.name}: bars of {interval} are for study: a run needs days or shorter bars", USAGE)
    if (length := length_of(interval)) < DAY_NS and stamps == "session":
        raise Failure(f'--stamps "session" cannot date bars of {interval}; write "open" or "close"', USAGE)
    universe = _universe_in(file, source, reading)
    rows = read_bars((source,), universe, reading.zone)
    calendars = calendars_of(universe, *span((source,)))
    placed = place_all(rows, universe, calendars, stamps, length)
    without_offset = partial(mostly_without_offset, (source,))
    evidence = Placement(rows, placed, universe, calendars, stamps, length, reading.zone, without_offset)
    actions = reading.actions or (beside(file) if beside(file).is_file() else None)
    readable = rows.ts[rows.ts != NO_STAMP]
    report = {
        "file": str(file), "read_as": stated(source.statements) if isinstance(source, BarFrame) else [],
        "left_out": sum(statement.left_out for statement in source.statements) if isinstance(source, BarFrame) else 0,
        "bars": len(rows), "symbols": len(universe.symbols), "interval": interval, "stamps": stamps,
        "zone": reading.zone, "calendars": sorted(calendars),
        "from": iso(int(readable.min())), "to": iso(int(rows.ts.max())), "actions_file": actions and str(actions),
        "misfits": [
            {"kind": misfit.kind, "symbols": misfit.symbols, "text": misfit.text, "remedies": misfit.remedies,
             "decided": misfit.decided}
            for misfit in misfits(evidence)
        ],
    }  # fmt: skip
    return report, evidence


def _checks(
    file: Path,
    source: "BarSource",
    evidence: "Placement",
    reading: Reading,
    actions_file: str | None,
) -> dict[str, Any]:
    """Return the counts of bad bars, holes and faults, and the questions that a person has to answer.

    Raises FeedError for actions or exceptions that cannot be read.
    """
    import numpy as np

    from quantd.adapters.feeds.bars.answers import Answers, settle
    from quantd.adapters.feeds.bars.checks import judge
    from quantd.adapters.feeds.bars.merge import timed
    from quantd.adapters.feeds.recorded.bar_files import actions_within_bars, read_actions
    from quantd.adapters.feeds.recorded.exception_files import read_exceptions
    from quantd.adapters.feeds.recorded.origin import origin_of
    from quantd.adapters.feeds.recorded.price_questions import Questions
    from quantd.adapters.feeds.recorded.replay import questions_of
    from quantd.adapters.feeds.recorded.sound_bars import EXCEPTIONS
    from quantd.daemon.cli.setup.bar_files import missing_sessions_of

    # `actual` has the sessions of each calendar
    universe, calendars, bar_ns = evidence.universe, evidence.actual, evidence.length
    origin = origin_of(file)
    actions = Path(actions_file) if actions_file else None
    usual_exceptions = file.with_name(EXCEPTIONS)
    exceptions = reading.exceptions or (usual_exceptions if usual_exceptions.is_file() else None)
    is_outside_hours = evidence.placed.extended
    file_rows = np.arange(len(evidence.rows))[~is_outside_hours]
    session_rows, session_places = evidence.rows, evidence.placed
    if is_outside_hours.any():  # a copy of all bars
        session_rows, session_places = evidence.rows.take(~is_outside_hours), evidence.placed.take(~is_outside_hours)
    listed_actions = actions_within_bars((source,), universe) if actions is None else read_actions(actions, universe)
    timed_actions = timed(listed_actions, universe, calendars)
    verdicts = judge(session_rows, session_places, bar_ns, timed_actions, time.time_ns())
    # "stop": a suspicious bar becomes a question unless the file of exceptions answers it; `adjusted`: jumps are real
    settlement = settle(
        verdicts,
        session_rows,
        session_places,
        Answers("stop", bool(origin and origin.adjusted), read_exceptions(exceptions, universe)),
    )
    questions = Questions(questions_of(session_rows, session_places, settlement, universe), universe, calendars)
    missing_sessions = (
        missing_sessions_of(
            session_rows.take(session_places.inside), session_places.day[session_places.inside], universe, calendars
        )
        if bar_ns == DAY_NS
        else {}
    )
    return {
        "outside_hours": int(is_outside_hours.sum()), "missing_sessions": missing_sessions,
        "bad": int(np.sum(~settlement.good)),
        "faults": _faults(file, source, session_rows, file_rows, settlement.reason, universe), **questions.report(),
        "holes": _holes(session_rows, session_places.ts_event, settlement, universe, calendars, timed_actions),
    }  # fmt: skip


def _faults(
    file: Path, source: "BarSource", rows: "Rows", file_rows: "Ints", reason: "Reasons", universe: Universe
) -> list[dict[str, Any]]:
    """Return the faults of rejected bars, each with its count and first bar: the line of a text, else the row.

    `file_rows` int64[bars] has the index of each bar in the file, and `reason` the fault of each.
    """
    import numpy as np

    from quantd.adapters.feeds.bars.checks import REASON_TEXT, Reason
    from quantd.adapters.feeds.recorded.bar_files import BarFrame
    from quantd.daemon.cli.setup.bar_files import is_text

    lines = source.lines if isinstance(source, BarFrame) else None
    # a line of a CSV counts from 1 and follows the header
    offset = 2 if is_text(file) else 0
    faults: list[dict[str, Any]] = []
    for kind in Reason:
        faulty = np.flatnonzero(reason == kind)
        if kind is not Reason.GOOD and len(faulty):
            row = int(faulty[0])
            faults.append({
                "fault": kind.name.lower(), "bars": len(faulty),
                "first_symbol": universe.symbols[int(rows.column[row])],
                "first_stamp": iso(int(rows.ts[row])) if kind is not Reason.STAMP else None,
                "first_row": int(file_rows[row]) + offset if lines is None else int(lines[int(file_rows[row])]),
                "means": REASON_TEXT[kind],
            })  # fmt: skip
    return faults


def _holes(
    rows: "Rows",
    ts_event: "Ints",
    settled: "Settled",
    universe: Universe,
    calendars: Mapping[str, Sessions],
    announced: "list[Action]",
) -> list[str]:
    """Return a text for each long gap, and for each symbol with many rejected bars.

    `rows` are the bars and `ts_event` int64[bars] their times in ns; `settled` has the verdict on each bar. `announced`
    are the announced splits and dividends.
    """
    import numpy as np

    from quantd.adapters.feeds.bars.checks import Reason
    from quantd.adapters.feeds.recorded.soundness import (
        gaps_between,
        hole_texts,
        often_rejected,
        trailing,
        worthless_texts,
    )

    good = settled.good
    good_bars = rows.column[good], ts_event[good]
    zero = (settled.reason == Reason.NON_POSITIVE) & (rows.open == 0.0) & (rows.close == 0.0)
    zero[zero] = trailing(good_bars, (rows.column[zero], ts_event[zero]), universe.size)
    # a suspicious bar (a spike) and a last price of 0 are asked about by themselves
    bad = ~good & (settled.reason != Reason.SPIKE) & ~zero
    return [
        *hole_texts(
            gaps_between(*good_bars, universe, calendars, announced),
            often_rejected(rows.column[bad], rows.ts[bad], np.bincount(rows.column, minlength=universe.size)),
            universe,
        ),
        *worthless_texts(good_bars, (rows.column[zero], ts_event[zero]), universe, announced),
    ]


def _universe_in(file: Path, source: "BarSource", reading: Reading) -> Universe:
    """Return the universe of the symbols in a file. Raises FeedError for a file without a symbol."""
    import polars as pl

    from quantd.adapters.feeds.feed_errors import FeedError
    from quantd.adapters.feeds.recorded.bar_files import BarFrame, read_bars, table_of

    if isinstance(source, BarFrame):
        return universe_of(source.frame["symbol"].unique().sort().to_list(), reading)
    symbols = table_of(file, ("symbol",))["symbol"].unique().cast(pl.String).str.strip_chars()
    names = symbols.unique().drop_nulls().sort().to_list()
    if not names:
        read_bars((file,), Universe((Instrument("SPY"),)))  # raises with the fault of the file
        raise FeedError(file.name, "it names no symbol", "Write a column symbol")
    return universe_of(names, reading)


def universe_of(names: Sequence[str], reading: Reading) -> Universe:
    """Return the universe of these symbols, each with its calendar; the universe has the most frequent that closes."""
    instruments = tuple(
        Instrument(name, calendar=reading.calendar or reading.calendars.get(name) or _usual_calendar(name))
        for name in names
    )
    return Universe(instruments, calendar=house_calendar([instrument.calendar for instrument in instruments]))


def _usual_calendar(symbol: str) -> str:
    """Return the calendar that a symbol's name suggests: 24/5 for a pair of currencies or metals."""
    pair = re.sub("[/_.-]", "", symbol.removesuffix("=X"))
    return "24/5" if len(pair) == 6 and {pair[:3], pair[3:]} <= CURRENCIES else calendar_of(symbol)


def print_report(report: dict[str, Any]) -> None:
    """Print the report of `quantd data check`: facts, then faults, jumps, suspicious bars and holes with remedies."""
    actions = report["actions_file"]
    for line in (*report["read_as"], *report.get("evidence", ())):
        say(line)
    say(
        f"{report['file']}: {report['bars']} bars of {report['symbols']} symbols, {report['interval']}, "
        f"stamps {report['stamps']}, {report['from']} to {report['to']}" + (f", actions {actions}" if actions else "")
    )
    if report["outside_hours"]:
        say(f"  {report['outside_hours']} bars lie outside trading hours: a run ignores them")
    for symbol, (count, first) in report["missing_sessions"].items():
        say(f"  {symbol}: {count} sessions without a bar, the first on {first}")
    place = "row" if report["file"].endswith(".parquet") else "line"
    for fault in report["faults"]:
        where = f"{fault['first_symbol']} {fault['first_stamp'] or ''}".strip()
        say(f"  {fault['fault']}: {fault['bars']} bars, first {where} ({place} {fault['first_row']}): {fault['means']}")
    for jump in report["jumps"]:
        say(f"  jump: {jump['text']}; if it was a split, the actions lack {jump['action']}")
    for action in report["actions"]:
        say(f"  action: {action['text']}; {'; or '.join(action['remedies'])}")
    for bar in report["suspicious"]:
        say(f"  suspicious: {bar['text']}; answer it in a file of exceptions: {bar['exception']} (or reject)")
    for hole in report["holes"]:
        say(f"  hole: {hole}")
    for misfit in report["misfits"]:
        say(f"  {misfit['kind']}: {misfit['text']}; the remedy: {'; '.join(misfit['remedies'])}")
    stops = any(report[kind] for kind in QUESTIONS)
    if stops:
        say("a backtest over all of these bars stops; it names the remedies")
    if report["faults"]:
        say(f"{report['bad']} bars would be quarantined in a run")
    elif not stops:
        say("no fault")
