"""Download bars, check them, list the cached downloads, generate bars, or score headlines."""

import time
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Reason, Sets, State, day
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import answer, iso, print_json, say, table, write_whole
from quantd.daemon.cli.setup.data_fetch import Cache, Calendar, fetch
from quantd.trading.display_text import session_date, toml_value
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE
from quantd.trading.instruments import Instrument, Universe, calendar_of, synthetic_note
from quantd.trading.sessions import DAY_NS, Sessions

if TYPE_CHECKING:
    from quantd.adapters.feeds.bars.rows import Rows
    from quantd.trading.market import Ints


EXCEPTIONS: Final = "exceptions.csv"
"""Name of a file of exceptions beside bars."""

QUESTIONS: Final = ("jumps", "actions", "suspicious", "holes", "misfits")
"""The parts of a report that stop a backtest."""


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Bars, as parquet or CSV.")],
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
    """Check every bar of a file as a run does.

    Exit code 1 with faults, which are listed by kind with count and first bar, and with what stops a backtest: jumps,
    actions that the prices do not show, suspicious bars without an answer, holes, and bars that are not what they are
    read as.
    """
    import numpy as np

    from quantd.adapters.feeds.bars.answers import Answers, settle
    from quantd.adapters.feeds.bars.checks import REASON_TEXT, Reason, judge
    from quantd.adapters.feeds.bars.merge import place_all, timed
    from quantd.adapters.feeds.bars.rows import NO_STAMP
    from quantd.adapters.feeds.recorded.bar_files import mostly_without_offset, read_actions, read_bars, span
    from quantd.adapters.feeds.recorded.evidence import Reading, misfits
    from quantd.adapters.feeds.recorded.exception_files import read_exceptions
    from quantd.adapters.feeds.recorded.origin import origin_of
    from quantd.adapters.feeds.recorded.price_questions import Questions
    from quantd.adapters.feeds.recorded.replay import questions_of
    from quantd.adapters.feeds.recorded.soundness import gaps_between, hole_texts, often_rejected
    from quantd.daemon.cli.setup.bar_files import LONGER, beside, is_text, length_of
    from quantd.research.runs.sound_bars import calendars_of

    known = origin_of(file)
    stamps = stamps or (known.stamps if known else "session")
    interval = interval or (known.interval if known else "1d")
    if interval in LONGER:
        raise Failure(f"{file.name}: bars of {interval} are for study: a run needs days or shorter bars", USAGE)
    if (length := length_of(interval)) < DAY_NS and stamps == "session":
        raise Failure(f'--stamps "session" cannot date bars of {interval}; write "open" or "close"', USAGE)
    actions = actions or (beside(file) if beside(file).is_file() else None)
    exceptions = exceptions or (file.with_name(EXCEPTIONS) if file.with_name(EXCEPTIONS).is_file() else None)
    universe = _universe_in(file, calendar)
    rows = read_bars((file,), universe, _zone(zone))
    first, last = span((file,))
    calendars = calendars_of(universe, first, last)
    placed = place_all(rows, universe, calendars, stamps, length)
    readings = misfits(
        Reading(rows, placed, universe, calendars, stamps, length, zone, lambda: mostly_without_offset((file,)))
    )
    number = np.arange(len(rows))[~placed.extended]
    kept, within = rows.take(~placed.extended), placed.take(~placed.extended)
    listed = read_actions(actions, universe) if actions is not None else []
    announced = timed(listed, universe, calendars)
    checked = judge(kept, within, length, announced, time.time_ns())
    answers = Answers("stop", bool(known and known.adjusted), read_exceptions(exceptions, universe))
    settled = settle(checked, kept, within, answers)
    reason, good = settled.reason, settled.good
    questions = Questions(questions_of(kept, within, settled, universe), universe, calendars)
    bad = ~good & (reason != Reason.SPIKE)
    holes = hole_texts(
        gaps_between(kept.column[good], within.ts_event[good], universe, calendars, announced),
        often_rejected(kept.column[bad], kept.ts[bad], np.bincount(kept.column, minlength=universe.size)),
        universe,
    )
    faults: list[dict[str, Any]] = []
    for why in Reason:
        at = np.flatnonzero(reason == why)
        if why is not Reason.GOOD and len(at):
            row = int(at[0])
            faults.append({
                "fault": why.name.lower(), "bars": len(at), "first_symbol": universe.symbols[int(kept.column[row])],
                "first_stamp": iso(int(kept.ts[row])) if why is not Reason.STAMP else None,
                "first_row": int(number[row]) + (2 if is_text(file) else 0), "means": REASON_TEXT[why],
            })  # fmt: skip
    inside = within.inside
    gaps = _gaps(kept.take(inside), within.day[inside], universe, calendars) if length == DAY_NS else {}
    report = {
        "file": str(file), "bars": len(rows), "symbols": len(universe.symbols), "interval": interval, "stamps": stamps,
        "from": iso(int(rows.ts[rows.ts != NO_STAMP].min())), "to": iso(int(rows.ts.max())),
        "outside_hours": int(placed.extended.sum()),
        "missing_sessions": gaps, "bad": int(np.sum(~good)), "faults": faults, **questions.report(), "holes": holes,
        "misfits": [{"kind": each.kind, "text": each.text, "remedies": each.remedies} for each in readings],
    }  # fmt: skip
    if as_json:
        print_json(report)
    else:
        _print(report, actions)
    return CHECK_FAILED if faults or any(report[kind] for kind in QUESTIONS) else DONE


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
        raise Failure('accept needs a reason (--reason "…"), which is recorded with your name', USAGE)
    settings = read(config, sets)
    folder = settings.state_folder(state)
    if not folder.is_dir():
        raise Failure(f"{folder}: there is no state folder; --state names another one", CHECK_FAILED)
    parts = parts_of(settings, time.time_ns(), cache=folder / "cache")
    table_ = parts.unsound if isinstance(parts, Assembly) else ""
    if not table_:
        raise Failure("the prices of this configuration have no fault, so there is nothing to accept", CHECK_FAILED)
    who = f"{getpass.getuser()}@{socket.gethostname()}"[:64]
    made = price_acceptance.accept(folder, table_, who, " ".join(reason.split())[:500], time.time_ns())
    document = {"prices": made.prices, "at": made.at, "who": made.who, "reason": made.reason, "table": made.table}
    path = folder / price_acceptance.FILE
    answer(as_json, document, *table_.splitlines()[:-1], f"accepted by {made.who}; recorded in {path}")
    return DONE


def cached(cache: Cache = None, as_json: Json = False) -> int:
    """List the cached downloads."""
    from quantd.adapters.feeds.wrappers.cache_files import Shelf
    from quantd.research.runs.sound_bars import cache_folder

    root = cache or cache_folder()
    found: list[dict[str, Any]] = []
    for folder in sorted(path for path in root.glob("*/*") if path.is_dir()):
        for note in Shelf(folder).notes():
            size = (folder / note.file).stat().st_size if note.file and (folder / note.file).exists() else 0
            begin, end = (note.covered[0][0], note.covered[-1][1]) if note.covered else (0, 0)
            found.append(
                {
                    "source": folder.parent.name, "series": folder.name, "symbol": note.symbol, "bars": note.rows,
                    "from": iso(begin), "until": iso(end), "pieces": len(note.covered), "actions": len(note.actions),
                    "bytes": size,
                }
            )  # fmt: skip
    if as_json:
        print_json({"cache": str(root), "series": found})
    elif not found:
        say(f"{root}: no download yet; `quantd data fetch` caches its downloads")
    else:
        columns = ("source", "series", "symbol", "bars", "from", "until", "actions", "kB")
        rows = [[*(str(each[c]) for c in columns[:-1]), f"{each['bytes'] / 1000:.1f}"] for each in found]
        table(columns, rows, right=("bars", "actions", "kB"))
        say(f"{len(found)} series in {root}; remove a folder to download it again")
    return DONE


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
    made = tuple(Instrument(name, calendar=calendar or calendar_of(name)) for name in names)
    return Universe(made, calendar=made[0].calendar)


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


def _print(report: dict[str, Any], actions: Path | None) -> None:
    say(
        f"{report['file']}: {report['bars']} bars of {report['symbols']} symbols, {report['interval']}, "
        f"stamps {report['stamps']}, {report['from']} to {report['to']}" + (f", actions {actions}" if actions else "")
    )
    if report["outside_hours"]:
        say(f"  {report['outside_hours']} bars lie outside trading hours: a run ignores them")
    for symbol, (count, first) in report["missing_sessions"].items():
        say(f"  {symbol}: {count} sessions without a bar, the first on {first}")
    for each in report["faults"]:
        where = f"{each['first_symbol']} {each['first_stamp'] or ''}".strip()
        say(f"  {each['fault']}: {each['bars']} bars, first {where} (row {each['first_row']}): {each['means']}")
    for each in report["jumps"]:
        say(f"  jump: {each['text']}; if it was a split, the actions lack {each['action']}")
    for each in report["actions"]:
        say(f"  action: {each['text']}; {'; or '.join(each['remedies'])}")
    for each in report["suspicious"]:
        say(f"  suspicious: {each['text']}; answer it in a file of exceptions: {each['exception']} (or reject)")
    for hole in report["holes"]:
        say(f"  hole: {hole}")
    for each in report["misfits"]:
        say(f"  {each['kind']}: {each['text']}; the remedy: {'; '.join(each['remedies'])}")
    if any(report[kind] for kind in QUESTIONS):
        say("a backtest over all of these bars stops; it names the remedies")
    if report["faults"]:
        say(f"{report['bad']} bars would be quarantined in a run")
    elif not report["misfits"]:
        say("no fault")


def synthetic(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="F.parquet", help="The file.")],
    start: Annotated[date, typer.Option("--from", parser=day, metavar="DATE", help="First day.")],
    end: Annotated[date, typer.Option("--to", parser=day, metavar="DATE", help="Last day.")],
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Number of symbols.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same seed gives the same bars.")] = 1,
    drift: Annotated[float, typer.Option(min=-1, max=1, help="Drift a year.")] = 0.06,
    volatility: Annotated[float, typer.Option(min=0.001, max=2, help="Volatility a year while calm.")] = 0.20,
    correlation: Annotated[float, typer.Option(min=0, max=1, help="Correlation of two symbols.")] = 0.4,
    calendar: Annotated[str, typer.Option("--calendar", help="Calendar of the sessions.")] = "XNYS",
    as_json: Json = False,
) -> int:
    """Write generated daily bars, to try programs with; their symbols begin with SYNTHETIC-."""
    import polars as pl

    from quantd.adapters.calendars import sessions as calendar_sessions
    from quantd.adapters.feeds.recorded.origin import Origin
    from quantd.adapters.feeds.recorded.synthetic import SyntheticPlan, synthetic_bars
    from quantd.daemon.cli.setup.bar_files import parquet

    if end < start:
        raise Failure(f"--to {end} is before --from {start}", USAGE)
    plan = SyntheticPlan(count, seed, drift, volatility, correlation)
    bars = synthetic_bars(plan, calendar_sessions(calendar, start, end))
    if bars.is_empty():
        raise Failure(f"{calendar} has no session from {start} to {end}", USAGE)
    names = bars["symbol"].unique(maintain_order=True).to_list()
    origin = Origin(f"synthetic, {plan}", "1d", "session")
    write_whole(out, parquet(bars.with_columns(pl.lit("synthetic").alias("source")), origin))
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
    out: Annotated[Path, typer.Option("--out", "-o", metavar="F.parquet", help="The file.")],
    calendar: Annotated[str, typer.Option("--calendar", help="Calendar of the sessions.")] = "XNYS",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the model.")] = 1,
    as_json: Json = False,
) -> int:
    """Score headlines by a local FinBERT-class model: one value for each symbol and session."""
    import numpy as np

    from quantd.adapters.calendars import sessions as calendar_sessions
    from quantd.adapters.feeds.recorded.headlines import by_session, read_headlines, session_days
    from quantd.daemon.cli.setup.bar_files import ScoresOrigin, parquet

    needs("the score of headlines", "tokenizers", extra="sentiment")
    # the runtime takes time to import, and no other command of `quantd data` needs it
    from quantd.models.artifacts.text_classifier import TextClassifier

    headlines = read_headlines(file)
    first, last = session_date(int(headlines.ts.min())), session_date(int(headlines.ts.max()))
    sessions = calendar_sessions(calendar, first, last + timedelta(days=16))
    days = session_days(headlines, sessions)
    classifier = TextClassifier(model, threads)
    unique = headlines.texts.unique(maintain_order=True)
    score_of = dict(zip(unique.to_list(), classifier.scores(unique.to_list()).tolist(), strict=True))
    scores = np.array([score_of[text] for text in headlines.texts.to_list()])
    found = by_session(headlines, days, scores)
    origin = ScoresOrigin(f"headlines of {file.name}", classifier.digest, calendar)
    write_whole(out, parquet(found, origin))
    report = {
        "file": str(out), "headlines": len(headlines.ts), "values": len(found), "symbols": found["symbol"].n_unique(),
        "from": found["ts"].min(), "to": found["ts"].max(), "calendar": calendar, "model": classifier.digest,
    }  # fmt: skip
    answer(
        as_json, report,
        f"{out}: {len(found):,} values of {report['symbols']} symbols, {report['from']} to {report['to']}, from "
        f"{len(headlines.ts):,} headlines", f"model {classifier.digest}",
    )  # fmt: skip
    return DONE


COMMAND: Final = Command(
    "Set up",
    70,
    {"fetch": fetch, "check": check, "accept": accept, "list": cached, "synthetic": synthetic, "sentiment": sentiment},
)
