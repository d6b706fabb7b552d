"""Reports on the bars of a table or file: facts, the reading that fits the stamps, rejected bars and open questions.

A table with more than MOST_AT_ONCE bars is read and judged by groups of symbols, because the columns of a check take
several times the memory of the bars. No check compares two symbols, so that the groups change no finding.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import iso, say
from quantd.trading.exit_codes import USAGE
from quantd.trading.instruments import Instrument, Universe, calendar_of, house_calendar
from quantd.trading.sessions import DAY_NS, Sessions

if TYPE_CHECKING:
    from quantd.adapters.feeds.bars.answers import Settled
    from quantd.adapters.feeds.bars.checks import Reasons
    from quantd.adapters.feeds.bars.rows import Rows
    from quantd.adapters.feeds.recorded.bar_files import BarSource
    from quantd.adapters.feeds.recorded.misfit import Named
    from quantd.adapters.feeds.recorded.reading import Reading as Placement
    from quantd.adapters.feeds.table_files.reader import ReadOptions
    from quantd.trading.events import Action
    from quantd.trading.market import Ints


MOST_AT_ONCE: Final = 500_000
"""Most bars that are judged at once; a symbol with more is judged alone."""

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


def fitting(
    file: Path, source: "BarSource", reading: Reading, *, checked: bool = True
) -> tuple[dict[str, Any], Reading]:
    """Return (report of a table, the reading that fits its stamps). Without `checked`, the report has no faults.

    The report's `evidence` says what contradicted the earlier readings. Raises Failure and FeedError.
    """
    (report, piece), evidence = _read(file, source, reading), []
    for _ in range(MOST_READINGS - 1):
        next_reading = _reading_by_remedies(report, reading)
        if next_reading == reading:
            break
        evidence += [misfit["text"] for misfit in report["misfits"]]
        reading = next_reading
        report, piece = _read(file, source, reading)
    report["evidence"] = list(dict.fromkeys(evidence))
    return report | (_all_checks(file, source, piece, reading, report["actions_file"]) if checked else {}), reading


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


def report_of(file: Path, source: "BarSource", reading: Reading) -> dict[str, Any]:
    """Return the report on a file's bars, which are read from `source`: facts, faults and questions, by name.

    The report's `misfits` are signs that bars are read with a wrong interval, calendar, clock or meaning of stamps.
    Raises Failure and FeedError.
    """
    report, piece = _read(file, source, reading)
    return report | _all_checks(file, source, piece, reading, report["actions_file"])


class Piece(NamedTuple):
    """The bars of some symbols of a source: how they are read, their places in sessions, and the clock of the file."""

    source: "BarSource"
    placement: "Placement"


def _pieces(file: Path, source: "BarSource", reading: Reading, interval: str, stamps: Any) -> Iterator[Piece]:
    """Yield the bars of a source with their places in sessions: all at once, or by groups of symbols."""
    from quantd.adapters.feeds.bars.merge import place_all
    from quantd.adapters.feeds.recorded.bar_files import mostly_without_offset, read_bars, span
    from quantd.adapters.feeds.recorded.reading import Reading as Placement
    from quantd.adapters.feeds.recorded.sound_bars import calendars_of
    from quantd.daemon.cli.setup.bar_files import length_of

    for part in _parts(file, source):
        universe = universe_in(file, part, reading)
        rows = read_bars((part,), universe, reading.zone)
        calendars = calendars_of(universe, *span((part,)))
        placed = place_all(rows, universe, calendars, stamps, length_of(interval))
        without_offset = partial(mostly_without_offset, (part,))
        length = length_of(interval)
        yield Piece(
            part, Placement(rows, placed, universe, calendars, stamps, length, reading.zone, without_offset)
        )  # fmt: skip


def _parts(file: Path, source: "BarSource") -> "Iterator[BarSource]":
    """Yield the bars of a source by groups of symbols with at most MOST_AT_ONCE bars; the source itself if it has no
    more."""
    import polars as pl

    from quantd.adapters.feeds.recorded.bar_files import BarFrame

    if not isinstance(source, BarFrame) and file.suffix != ".parquet":
        yield source
        return
    bars = source.frame.lazy() if isinstance(source, BarFrame) else pl.scan_parquet(file)
    try:
        counts = bars.group_by("symbol").len().sort(pl.col("symbol").cast(pl.String)).collect()
    except pl.exceptions.PolarsError:
        yield source  # its reader names the fault
        return
    if int(counts["len"].sum()) <= MOST_AT_ONCE:
        yield source
        return
    group = counts.with_columns(group=(pl.col("len").cum_sum() - 1) // MOST_AT_ONCE)
    for (_,), of_group in group.group_by("group", maintain_order=True):
        wanted = pl.col("symbol").is_in(of_group["symbol"].implode())
        if isinstance(source, BarFrame):
            mask = source.frame.select(wanted.fill_null(value=False)).to_series()
            lines = None if source.lines is None else source.lines.filter(mask)
            yield source._replace(frame=source.frame.filter(mask), lines=lines)
        else:
            frame = bars.with_row_index("line").filter(wanted).collect()
            yield BarFrame(frame.drop("line"), file.name, lines=frame["line"])


def _read(file: Path, source: "BarSource", reading: Reading) -> tuple[dict[str, Any], Piece | None]:
    """Return the facts and misfits of a report; and the bars with their places if all are read at once."""
    from quantd.adapters.feeds.bars.rows import NO_STAMP
    from quantd.adapters.feeds.recorded.bar_files import BarFrame
    from quantd.adapters.feeds.recorded.evidence import symbol_misfits
    from quantd.adapters.feeds.recorded.misfit import grouped
    from quantd.adapters.feeds.table_files.statement import stated
    from quantd.daemon.cli.setup.bar_files import beside

    interval, stamps = _how_read(file, reading)
    actions = reading.actions or (beside(file) if beside(file).is_file() else None)
    statements = source.statements if isinstance(source, BarFrame) else ()
    pieces = bars = 0
    calendars, first, last, named = set[str](), list[int](), list[int](), list["Named"]()
    symbols: list[str] = []
    for piece in _pieces(file, source, reading, interval, stamps):
        rows = piece.placement.rows
        readable = rows.ts[rows.ts != NO_STAMP]
        first += [int(readable.min())] if len(readable) else []
        last.append(int(rows.ts.max()))
        pieces, bars = pieces + 1, bars + len(rows)
        calendars |= set(piece.placement.actual)
        symbols += piece.placement.universe.symbols
        named += symbol_misfits(piece.placement)
    universe = universe_of(symbols, reading)
    report = {
        "file": str(file), "read_as": stated(statements),
        "left_out": sum(statement.left_out for statement in statements),
        "bars": bars, "symbols": len(symbols), "interval": interval, "stamps": stamps, "zone": reading.zone,
        "calendars": sorted(calendars), "from": iso(min(first)), "to": iso(max(last)),
        "actions_file": actions and str(actions),
        "misfits": [
            {"kind": misfit.kind, "symbols": misfit.symbols, "text": misfit.text, "remedies": misfit.remedies,
             "decided": misfit.decided}
            for misfit in grouped(named, universe)
        ],
    }  # fmt: skip
    return report, piece if pieces == 1 else None


def _how_read(file: Path, reading: Reading) -> tuple[str, Any]:
    """Return the interval and the meaning of the stamps of a file. Raises Failure for bars that no run can read."""
    from quantd.adapters.feeds.recorded.origin import origin_of
    from quantd.daemon.cli.setup.bar_files import LONGER, length_of

    origin = origin_of(file)
    stamps = reading.stamps or (origin.stamps if origin else "session")
    interval = reading.interval or (origin.interval if origin else "1d")
    if interval in LONGER:
        raise Failure(f"{file.name}: bars of {interval} are for study: a run needs days or shorter bars", USAGE)
    if length_of(interval) < DAY_NS and stamps == "session":
        raise Failure(f'--stamps "session" cannot date bars of {interval}; write "open" or "close"', USAGE)
    return interval, stamps


def _all_checks(
    file: Path, source: "BarSource", piece: Piece | None, reading: Reading, actions_file: str | None
) -> dict[str, Any]:
    """Return the checks of all bars of a source; `piece` has them if they are read at once."""
    pieces = _pieces(file, source, reading, *_how_read(file, reading)) if piece is None else iter((piece,))
    parts = [_checks(file, part.source, part.placement, reading, actions_file) for part in pieces]
    checks = parts[0]
    for part in parts[1:]:
        for name, value in part.items():
            if name == "missing_sessions":
                checks[name] |= value
            elif name != "faults":  # counts, and lists of questions
                checks[name] += value
    faults: dict[str, dict[str, Any]] = {}
    for fault in (fault for part in parts for fault in part["faults"]):
        other = faults.get(fault["fault"])
        earlier = fault if other is None or fault["first_row"] < other["first_row"] else other
        faults[fault["fault"]] = earlier | {"bars": fault["bars"] + (other["bars"] if other else 0)}
    checks["faults"] = list(faults.values())
    return checks


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
    from quantd.adapters.feeds.bars.rows import repeats
    from quantd.adapters.feeds.recorded.bar_files import actions_within_bars, read_actions
    from quantd.adapters.feeds.recorded.exception_files import read_exceptions
    from quantd.adapters.feeds.recorded.origin import origin_of
    from quantd.adapters.feeds.recorded.price_questions import Questions
    from quantd.adapters.feeds.recorded.replay import questions_of
    from quantd.adapters.feeds.recorded.sound_bars import EXCEPTIONS
    from quantd.daemon.cli.setup.bar_files import missing_sessions_of

    # `actual` has the sessions of each calendar
    universe, calendars, bar_ns = evidence.universe, evidence.actual, evidence.length
    origin, actions = origin_of(file), Path(actions_file) if actions_file else None
    usual_exceptions = file.with_name(EXCEPTIONS)
    exceptions = reading.exceptions or (usual_exceptions if usual_exceptions.is_file() else None)
    is_outside_hours, repeated = evidence.placed.extended, repeats(evidence.rows)
    omitted = is_outside_hours | repeated
    file_rows = np.arange(len(evidence.rows))[~omitted]
    session_rows, session_places = evidence.rows, evidence.placed
    if omitted.any():  # a copy of all bars
        session_rows, session_places = evidence.rows.take(~omitted), evidence.placed.take(~omitted)
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
        "bad": int(np.sum(~settlement.good)), "repeats": int(repeated.sum()),
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
            often_rejected(
                rows.column[bad], rows.ts[bad], settled.reason[bad], np.bincount(rows.column, minlength=universe.size)
            ),
            universe,
        ),
        *worthless_texts(good_bars, (rows.column[zero], ts_event[zero]), universe, announced),
    ]


def universe_in(file: Path, source: "BarSource", reading: Reading) -> Universe:
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


def counted_symbols(count: int) -> str:
    return f"{count} symbol{'s' * (count != 1)}"


def print_report(report: dict[str, Any]) -> None:
    """Print the report of `quantd data check`: facts, then faults, jumps, suspicious bars and holes with remedies."""
    actions = report["actions_file"]
    for line in (*report["read_as"], *(f"tried and corrected: {text}" for text in report.get("evidence", ()))):
        say(line)
    say(
        f"{report['file']}: {report['bars']} bars of {counted_symbols(report['symbols'])}, {report['interval']}, "
        f"stamps {report['stamps']}, {report['from']} to {report['to']}" + (f", actions {actions}" if actions else "")
    )
    if report["outside_hours"]:
        say(f"  {report['outside_hours']} bars lie outside trading hours: a run ignores them")
    if report["repeats"]:
        say(f"  {report['repeats']} rows repeat an earlier one, and each bar counts once")
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
