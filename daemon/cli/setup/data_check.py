"""Check the bars of a file, or of every table of a folder, as a run does."""

import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import typer

from quantd.daemon.cli.command import Json
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import iso, print_json, say, table
from quantd.daemon.cli.setup.data_fetch import Calendar
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE
from quantd.trading.instruments import Instrument, Universe, calendar_of
from quantd.trading.sessions import DAY_NS, Sessions

if TYPE_CHECKING:
    from quantd.adapters.feeds.bars.answers import Settled
    from quantd.adapters.feeds.bars.checks import Reasons
    from quantd.adapters.feeds.bars.rows import Rows
    from quantd.trading.events import Action
    from quantd.trading.market import Ints


QUESTIONS: Final = ("jumps", "actions", "suspicious", "holes", "misfits")
"""The parts of a report that stop a backtest."""

TABLES: Final = (".parquet", ".csv", ".txt")
"""Names of files of a folder that may hold bars end so."""


MOST_READINGS: Final = 3
"""Readings of one file of a folder: as it says, with the interval that fits, with the calendar that fits."""


class Reading(NamedTuple):
    """How a file of bars is read: as options say, or as the file says where they are None."""

    actions: Path | None
    exceptions: Path | None
    stamps: Literal["session", "open", "close"] | None
    interval: str | None
    calendar: str | None
    zone: str


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Bars, as parquet or CSV; or a folder of such files.")],
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
    as_json: Json = False,
) -> int:
    """Check every bar of a file as a run does, or of every file of a folder.

    Exit code 1 with faults, which are listed by kind with count and first bar, and with what stops a backtest: jumps,
    actions that the prices do not show, suspicious bars without an answer, holes, and bars that are not what they are
    read as. A folder gives a table of files and findings. Its files are read with the interval and the calendar that
    fit their stamps.
    """
    reading = Reading(actions, exceptions, stamps, interval, calendar, _zone(zone))
    if file.is_dir():
        return _check_folder(file, reading, as_json=as_json)
    report = _report(file, reading)
    if as_json:
        print_json(report)
    else:
        _print(report)
    return CHECK_FAILED if report["faults"] or any(report[kind] for kind in QUESTIONS) else DONE


def _check_folder(folder: Path, reading: Reading, *, as_json: bool) -> int:
    """Check each table of a folder, and print what each of them has."""
    from quantd.adapters.feeds.errors import FeedError

    reports: dict[str, dict[str, Any]] = {}
    unread: dict[str, str] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLES and path.is_file()):
        try:
            reports[file.name] = _report_of_table(file, reading)
        except (FeedError, Failure) as error:
            unread[file.name] = str(error).splitlines()[0]
    if not reports and not unread:
        raise Failure(f"{folder}: it has no file that ends in {', '.join(TABLES)}", USAGE)
    counts = {name: _findings(report) for name, report in reports.items()}
    total = sum(sum(findings.values()) for findings in counts.values())
    if as_json:
        files = [{**report, "findings": counts[name]} for name, report in reports.items()]
        print_json({"folder": str(folder), "files": files, "unread": unread, "findings": total})
        return CHECK_FAILED if total else DONE
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
    faulty = sum(bool(findings) for findings in counts.values())
    say(
        f"{total:,} findings in {faulty} of {len(reports)} files; `quantd data check FILE` shows those of one"
        if total
        else f"no fault in {len(reports)} files"
    )
    return CHECK_FAILED if total else DONE


def _report_of_table(file: Path, reading: Reading) -> dict[str, Any]:
    """Return the report of a file of a folder, read with the interval and the calendar that its stamps name.

    Its actions may also be named as those of the bundled data, us_actions.csv for us_daily.parquet.
    """
    of_stem = file.with_name(f"{file.stem.removesuffix('_daily')}_actions.csv")
    if reading.actions is None and of_stem != file and of_stem.is_file():
        reading = reading._replace(actions=of_stem)
    report = _report(file, reading)
    for _ in range(MOST_READINGS - 1):
        named = _named(report, reading)
        if named == reading:
            break
        reading, report = named, _report(file, named)
    return report


def _named(report: dict[str, Any], reading: Reading) -> Reading:
    """Return the reading with the one interval and the one calendar that a report names, where none is given."""
    remedies = " ".join(remedy for misfit in report["misfits"] for remedy in misfit["remedies"])
    intervals = set(re.findall(r'\[feed\] interval = "(\w+)"', remedies))
    calendars = set(re.findall(r'\[universe\] calendar = "([^"]+)"', remedies))
    if reading.interval is None and len(intervals) == 1:
        interval = intervals.pop()
        stamps = reading.stamps or ("session" if interval == "1d" else "open")
        reading = reading._replace(interval=interval, stamps=stamps)
    if reading.calendar is None and len(calendars) == 1:
        reading = reading._replace(calendar=calendars.pop())
    return reading


def _findings(report: dict[str, Any]) -> dict[str, int]:
    """Return the number of findings of each kind in a report: of bars for their faults, else of questions."""
    counts = Counter({fault["fault"]: int(fault["bars"]) for fault in report["faults"]})
    counts.pop("spike", None)  # each suspicious bar is a question, or its answer is listed
    for kind in QUESTIONS[:-1]:
        counts[kind] += len(report[kind])
    counts.update(misfit["kind"] for misfit in report["misfits"])
    return {kind: count for kind, count in counts.items() if count}


def _report(file: Path, reading: Reading) -> dict[str, Any]:
    """Return what the bars of a file are, and every fault and question about them. Raises Failure and FeedError."""
    import numpy as np

    from quantd.adapters.feeds.bars.answers import Answers, settle
    from quantd.adapters.feeds.bars.checks import judge
    from quantd.adapters.feeds.bars.merge import place_all, timed
    from quantd.adapters.feeds.bars.rows import NO_STAMP
    from quantd.adapters.feeds.recorded.bar_files import mostly_without_offset, read_actions, read_bars, span
    from quantd.adapters.feeds.recorded.evidence import Reading as Placement
    from quantd.adapters.feeds.recorded.evidence import misfits
    from quantd.adapters.feeds.recorded.exception_files import read_exceptions
    from quantd.adapters.feeds.recorded.origin import origin_of
    from quantd.adapters.feeds.recorded.price_questions import Questions
    from quantd.adapters.feeds.recorded.replay import questions_of
    from quantd.adapters.feeds.recorded.sound_bars import EXCEPTIONS, calendars_of
    from quantd.daemon.cli.setup.bar_files import LONGER, beside, length_of

    origin = origin_of(file)
    stamps = reading.stamps or (origin.stamps if origin else "session")
    interval = reading.interval or (origin.interval if origin else "1d")
    if interval in LONGER:
        raise Failure(f"{file.name}: bars of {interval} are for study: a run needs days or shorter bars", USAGE)
    if (length := length_of(interval)) < DAY_NS and stamps == "session":
        raise Failure(f'--stamps "session" cannot date bars of {interval}; write "open" or "close"', USAGE)
    actions = reading.actions or (beside(file) if beside(file).is_file() else None)
    answered = file.with_name(EXCEPTIONS)
    exceptions = reading.exceptions or (answered if answered.is_file() else None)
    universe = _universe_in(file, reading.calendar)
    rows = read_bars((file,), universe, reading.zone)
    calendars = calendars_of(universe, *span((file,)))
    placed = place_all(rows, universe, calendars, stamps, length)
    evidence = Placement(
        rows, placed, universe, calendars, stamps, length, reading.zone, lambda: mostly_without_offset((file,))
    )
    number = np.arange(len(rows))[~placed.extended]
    kept, within = rows.take(~placed.extended), placed.take(~placed.extended)
    announced = timed(read_actions(actions, universe) if actions is not None else [], universe, calendars)
    checked = judge(kept, within, length, announced, time.time_ns())
    answers = Answers("stop", bool(origin and origin.adjusted), read_exceptions(exceptions, universe))
    settled = settle(checked, kept, within, answers)
    questions = Questions(questions_of(kept, within, settled, universe), universe, calendars)
    inside = within.inside
    readable = rows.ts[rows.ts != NO_STAMP]
    return {
        "file": str(file), "bars": len(rows), "symbols": len(universe.symbols), "interval": interval, "stamps": stamps,
        "calendars": sorted(calendars),
        "from": iso(int(readable.min())), "to": iso(int(rows.ts.max())), "actions_file": actions and str(actions),
        "outside_hours": int(placed.extended.sum()),
        "missing_sessions": (
            _gaps(kept.take(inside), within.day[inside], universe, calendars) if length == DAY_NS else {}
        ),
        "bad": int(np.sum(~settled.good)), "faults": _faults(file, kept, number, settled.reason, universe),
        **questions.report(), "holes": _holes(kept, within.ts_event, settled, universe, calendars, announced),
        "misfits": [
            {"kind": misfit.kind, "text": misfit.text, "remedies": misfit.remedies}
            for misfit in misfits(evidence)
        ],
    }  # fmt: skip


def _faults(file: Path, rows: "Rows", number: "Ints", reason: "Reasons", universe: Universe) -> list[dict[str, Any]]:
    """Return the rejected bars by their fault, with the first of each; `number` is their row in the file."""
    import numpy as np

    from quantd.adapters.feeds.bars.checks import REASON_TEXT, Reason
    from quantd.daemon.cli.setup.bar_files import is_text

    faults: list[dict[str, Any]] = []
    for why in Reason:
        at = np.flatnonzero(reason == why)
        if why is not Reason.GOOD and len(at):
            row = int(at[0])
            faults.append({
                "fault": why.name.lower(), "bars": len(at), "first_symbol": universe.symbols[int(rows.column[row])],
                "first_stamp": iso(int(rows.ts[row])) if why is not Reason.STAMP else None,
                "first_row": int(number[row]) + (2 if is_text(file) else 0), "means": REASON_TEXT[why],
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
    """Return gaps and symbols with many rejected bars, in words."""
    import numpy as np

    from quantd.adapters.feeds.bars.checks import Reason
    from quantd.adapters.feeds.recorded.soundness import gaps_between, hole_texts, often_rejected

    good = settled.good
    bad = ~good & (settled.reason != Reason.SPIKE)
    return hole_texts(
        gaps_between(rows.column[good], ts_event[good], universe, calendars, announced),
        often_rejected(rows.column[bad], rows.ts[bad], np.bincount(rows.column, minlength=universe.size)),
        universe,
    )


def _zone(name: str) -> str:
    """The name of a time zone. Raises Failure."""
    try:
        ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        from quantd.daemon.config.mistakes import nearest

        near = nearest(name, sorted(available_timezones()))
        hint = f"Did you mean {near}?" if near else "Write a name like America/New_York"
        raise Failure(f"--zone {name} is not a time zone. {hint}", USAGE) from None
    return name


def _universe_in(file: Path, calendar: str | None) -> Universe:
    import polars as pl

    from quantd.adapters.feeds.errors import FeedError
    from quantd.adapters.feeds.recorded.bar_files import read_bars
    from quantd.daemon.cli.setup.bar_files import is_text, probed

    probed(file)
    try:
        lazy = pl.scan_csv(file, infer_schema=False) if is_text(file) else pl.scan_parquet(file)
        symbols = lazy.select(pl.col("symbol").cast(pl.String).str.strip_chars().unique()).collect().to_series()
        names = symbols.drop_nulls().sort().to_list()
    except (pl.exceptions.PolarsError, OSError):
        names = []
    if not names:
        read_bars((file,), Universe((Instrument("SPY"),)))  # raises with the fault of the file
        raise FeedError(file.name, "it names no symbol", "Write a column symbol")
    instruments = tuple(Instrument(name, calendar=calendar or calendar_of(name)) for name in names)
    return Universe(instruments, calendar=instruments[0].calendar)


def _gaps(
    rows: "Rows", day: "Ints", universe: Universe, calendars: Mapping[str, Sessions]
) -> dict[str, tuple[int, str]]:
    """Symbol -> number of sessions without a bar between its first and last bar, and the first of them."""
    import numpy as np

    out = {}
    for column, instrument in enumerate(universe.instruments):
        mine = day[rows.column == column]
        if not len(mine):
            continue
        days = calendars[instrument.calendar].days
        expected = days[(days >= mine.min()) & (days <= mine.max())]
        missing = np.setdiff1d(expected, mine)
        if len(missing):
            out[instrument.symbol] = (len(missing), iso(int(missing[0]))[:10])
    return out


def _print(report: dict[str, Any]) -> None:
    actions = report["actions_file"]
    say(
        f"{report['file']}: {report['bars']} bars of {report['symbols']} symbols, {report['interval']}, "
        f"stamps {report['stamps']}, {report['from']} to {report['to']}" + (f", actions {actions}" if actions else "")
    )
    if report["outside_hours"]:
        say(f"  {report['outside_hours']} bars lie outside trading hours: a run ignores them")
    for symbol, (count, first) in report["missing_sessions"].items():
        say(f"  {symbol}: {count} sessions without a bar, the first on {first}")
    for fault in report["faults"]:
        where = f"{fault['first_symbol']} {fault['first_stamp'] or ''}".strip()
        say(f"  {fault['fault']}: {fault['bars']} bars, first {where} (row {fault['first_row']}): {fault['means']}")
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
    if any(report[kind] for kind in QUESTIONS):
        say("a backtest over all of these bars stops; it names the remedies")
    if report["faults"]:
        say(f"{report['bad']} bars would be quarantined in a run")
    elif not report["misfits"]:
        say("no fault")
