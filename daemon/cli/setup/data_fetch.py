"""`quantd data fetch`: downloads bars into a file. A failed download writes nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import typer

from quantd.adapters.feeds.sources import kinds
from quantd.daemon.cli.command import FIRST_DAY, USUAL, Json, Url, day
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import Bar, answer, iso, print_json, progress, records, say, write_whole
from quantd.daemon.jobs.tasks.command_process import NOTHING_WRITTEN
from quantd.trading.display_text import toml_value
from quantd.trading.exit_codes import CHECK_FAILED, DONE, TRY_LATER, USAGE
from quantd.trading.instruments import NANO, Universe, kind_of, synthetic_note
from quantd.trading.sessions import DAY_NS, Sessions

if TYPE_CHECKING:
    import polars as pl

    from quantd.adapters.feeds.bars.checks import BadBar
    from quantd.adapters.feeds.bars.rows import ActionRow, Rows
    from quantd.adapters.feeds.bars.stamps import Stamps
    from quantd.adapters.feeds.recorded.price_questions import Questions
    from quantd.adapters.feeds.recorded.synthetic import SyntheticPlan
    from quantd.daemon.cli.setup.config_lines import BarLines
    from quantd.daemon.cli.setup.vendors import Vendors


PIECES: Final = 24
"""Most requests for a range of bars. Pieces show progress, and finished ones remain cached when a later one fails."""

SHORTEST_PIECE_NS: Final = 30 * DAY_NS
SHORTEST_PIECE_BARS: Final = 500
"""A piece is not shorter than this time, nor than this number of bars."""

Calendar = Annotated[
    str | None,
    typer.Option("--calendar", help="Calendar of all symbols; that of each symbol's suffix without it, else XNYS."),
]
Cache = Annotated[Path | None, typer.Option("--cache", metavar="DIR", help="Folder of the downloads.")]


# Long because of its options, which `quantd data fetch --help` lists in this order.
def fetch(
    start: Annotated[date, FIRST_DAY],
    symbols: Annotated[list[str] | None, typer.Argument(help="SPY QQQ BTC-USD")] = None,
    end: Annotated[
        date | None, typer.Option("--to", parser=day, metavar="DATE", help="Last day; today without it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="F.parquet",
            help="The file; without it named by symbols and interval, in data/ if there.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source", "-s", metavar="KIND", help=f"{', '.join(kinds())}; {USUAL} without it. Repeat for a fallback."
        ),
    ] = None,
    interval: Annotated[
        str, typer.Option("--interval", "-i", help="1m to 12h, 1d; 1wk and 1mo with --adjusted.")
    ] = "1d",
    adjusted: Annotated[
        bool, typer.Option("--adjusted", help="Adjusted for splits and dividends, by yfinance.")
    ] = False,
    feed: Annotated[str, typer.Option("--feed", help="Feed of alpaca: iex is free, sip is the whole market.")] = "iex",
    exchange: Annotated[str, typer.Option("--exchange", help="Exchange of ccxt: kraken, coinbase, ...")] = "",
    mapping: Annotated[
        Path | None, typer.Option("--mapping", metavar="F.toml", help="Mapping of http: docs/operate/feeds.md.")
    ] = None,
    actions: Annotated[
        Path | None, typer.Option("--actions", metavar="F.csv", help="Splits and dividends, of which ibkr lists none.")
    ] = None,
    url: Url = "",
    calendar: Calendar = None,
    currency: Annotated[
        str, typer.Option("--currency", metavar="CODE", help="Currency of the prices; that of the exchange without it.")
    ] = "",
    cache: Cache = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Download everything, cache nothing.")] = False,
    synthetic: Annotated[
        int,
        typer.Option(min=0, max=10_000, metavar="N", help="Generate daily bars of N symbols SYNTHETIC-, for trials."),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Generated bars: the same seed gives the same bars.")] = 1,
    drift: Annotated[float, typer.Option(min=-1, max=1, help="Generated bars: drift a year.")] = 0.06,
    volatility: Annotated[
        float, typer.Option(min=0.001, max=2, help="Generated bars: volatility a year while calm.")
    ] = 0.20,
    correlation: Annotated[float, typer.Option(min=0, max=1, help="Generated bars: correlation of two symbols.")] = 0.4,
    as_json: Json = False,
) -> int:
    """Download bars into a file, with splits and dividends beside it. Exit code 1 where its prices stop a backtest."""
    of_downloads = {
        "--source": source, "--interval": interval != "1d", "--adjusted": adjusted, "--feed": feed != "iex",
        "--exchange": exchange, "--mapping": mapping, "--actions": actions, "--url": url, "--currency": currency,
        "--cache": cache, "--no-cache": no_cache,
    }  # fmt: skip
    of_generated = {
        "--seed": seed != 1, "--drift": drift != 0.06, "--volatility": volatility != 0.2,
        "--correlation": correlation != 0.4,
    }  # fmt: skip
    if idle := [name for name, value in (of_downloads if synthetic else of_generated).items() if value]:
        raise Failure(f"{idle[0]} has no effect {'beside' if synthetic else 'without'} --synthetic N; omit it", USAGE)
    if synthetic:
        if symbols or end is None or out is None:
            raise Failure("--synthetic N takes no symbols, and needs --to DATE and --out F.parquet", USAGE)
        from quantd.adapters.feeds.recorded.synthetic import SyntheticPlan

        plan = SyntheticPlan(synthetic, seed, drift, volatility, correlation)
        return _generate(plan, out, start, end, calendar or "XNYS", as_json=as_json)
    asked = {"url": url, "plan": feed, "venue": exchange, "mapping": mapping, "actions": actions}
    order = Order(
        symbols or [],
        start,
        end,
        out,
        None,
        source or [USUAL],
        interval,
        adjusted,
        calendar,
        currency,
        asked,
        cache,
        not no_cache,
    )
    done = fetched(order)
    if as_json:
        print_json(done.report)
    else:
        print_fetched(done)
    return CHECK_FAILED if done.report["questions"] else DONE


def _generate(plan: "SyntheticPlan", out: Path, start: date, end: date, calendar: str, *, as_json: bool) -> int:
    """Write generated daily bars, to try programs with; their symbols begin with SYNTHETIC-."""
    import polars as pl

    from quantd.adapters.calendars import sessions as calendar_sessions
    from quantd.adapters.feeds.recorded.origin import Origin
    from quantd.adapters.feeds.recorded.synthetic import synthetic_bars
    from quantd.daemon.cli.setup.bar_files import write_bars

    if end < start:
        raise Failure(f"--to {end} is before --from {start}", USAGE)
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


def print_cached(cache: Path | None, *, as_json: bool) -> int:
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
        rows = [download | {"kB": f"{download['bytes'] / 1000:.1f}"} for download in downloads]
        columns = ("source", "series", "symbol", "bars", "from", "until", "actions", "kB")
        records(rows, columns, ("bars", "actions", "kB"))
        say(f"{len(downloads)} series in {root}; remove a folder to download it again")
    return DONE


class Order(NamedTuple):
    """A download: symbols, period, sources and file; `asked` are further fields of the sources' `Request`.

    Without `out` the file is in `folder`, named by symbols and interval. A source that does not answer is asked again
    for `patience_s` seconds. With `cached` downloads are cached in the folder `cache`.
    """

    symbols: list[str]
    start: date
    end: date | None = None
    out: Path | None = None
    folder: Path | None = None
    sources: Sequence[str] = (USUAL,)
    interval: str = "1d"
    adjusted: bool = False
    calendar: str | None = None
    currency: str = ""
    asked: Mapping[str, Any] = {}
    cache: Path | None = None
    cached: bool = True
    patience_s: float | None = None


class Fetched(NamedTuple):
    """The result of a download: its report, the rejected bars, and the keys of config.toml with which a run reads it.

    `lines` is None for a download of indices only, and for bars of weeks or months.
    """

    report: dict[str, Any]
    bad: "Sequence[BadBar]"
    lines: "BarLines | None"


def fetched(order: Order) -> Fetched:
    """Carry out the download `order`, and write the files. Nothing is written if it raises Failure.

    Bars of weeks and months (LONGER) are made from daily ones.
    """
    from quantd.adapters.feeds.bars.merge import place_all
    from quantd.adapters.feeds.recorded.evidence import misfits
    from quantd.adapters.feeds.recorded.reading import Reading
    from quantd.adapters.feeds.recorded.sound_bars import calendars_of
    from quantd.daemon.cli.setup.bar_files import LONGER, frame, length_of, longer
    from quantd.daemon.cli.setup.vendors import universe_of
    from quantd.trading.display_text import some

    interval, start = order.interval, order.start
    universe = universe_of(order.symbols, order.calendar, order.currency)
    last = order.end or datetime.now(UTC).date()
    _require_possible(start, last, order.out, interval, adjusted=order.adjusted)
    length = length_of("1d" if interval in LONGER else interval)
    calendars = calendars_of(universe, start, last)
    download = _downloaded(order, universe, _bounds(calendars[universe.calendar], start, last, length), length)
    rows, actions, vendors = download.rows, download.actions, download.vendors
    source = vendors.source
    if absent := [symbol for column, symbol in enumerate(universe.symbols) if not (rows.column == column).any()]:
        text = f"{source.name}: no bar of {some(absent)} between {start} and {last}"
        raise Failure(
            f"{text}. Check the range, and how the source spells the symbols.\n{NOTHING_WRITTEN}", CHECK_FAILED
        )
    market = Market(universe, calendars, source.stamps, length, adjusted=source.adjusted)
    # adjusted prices contain their splits and dividends already
    good, bad, questions = _usable_bars(rows, [] if source.adjusted else actions, market)
    placed = place_all(rows, universe, calendars, source.stamps, length)
    file_misfits = misfits(Reading(rows, placed, universe, calendars, source.stamps, length))
    if not len(good):
        why = Counter(bar.reason for bar in bad).most_common(1)[0][0] if bad else "outside trading hours"
        misfit_lines = "".join(f"\n{misfit.text}" for misfit in file_misfits)
        raise Failure(
            f"{source.name}: none of {len(rows)} bars is usable (mostly: {why}).{misfit_lines}\n{NOTHING_WRITTEN}"
        )
    bars = frame(good, universe, vendors.names)
    if interval in LONGER:
        bars = longer(bars, LONGER[interval])
    if order.folder is not None:
        order.folder.mkdir(parents=True, exist_ok=True)
    lines, written = _write_files(download, bars, universe, interval, order.calendar)
    report = (
        _report(download, bars, interval)
        | written
        | {
            "put_aside": dict(Counter(bar.reason for bar in bad)),
            "jumps": [questions.jump_text(jump) for jump in questions.questions.jumps],
            "questions": questions.lines(),
            "misfits": [
                {"kind": misfit.kind, "text": misfit.text, "remedies": misfit.remedies} for misfit in file_misfits
            ],
        }
    )
    return Fetched(report, bad, lines)


def _report(download: "_Download", bars: "pl.DataFrame", interval: str) -> dict[str, Any]:
    """Return the first fields of a report: file, source, interval, and bars by symbol."""
    vendors, source = download.vendors, download.vendors.source
    return {
        "file": str(download.file), "replaced": download.replaced, "source": source.name, "interval": interval,
        "stamps": source.stamps, "adjusted": source.adjusted, "bars": bars.height, "actions": len(download.actions),
        "symbols": _rows_by_symbol(bars),
        "from_cache": bool(vendors.caches) and not any(cache.downloads for cache in vendors.caches),
        "damaged_cache_files": [str(path) for cache in vendors.caches for path in cache.put_aside],
    }  # fmt: skip


class _Download(NamedTuple):
    """The answer of the sources, and the file for it; `replaced` describes the bars in it that will be replaced."""

    rows: "Rows"
    actions: "list[ActionRow]"
    vendors: "Vendors"
    file: Path
    replaced: str


def _downloaded(order: Order, universe: Universe, bounds: tuple[int, int], bar_ns: int) -> _Download:
    """Download bars and actions between the two instants `bounds`, in ns. Raises Failure if the sources fail."""
    from quantd.adapters.feeds.recorded.sound_bars import cache_folder
    from quantd.adapters.feeds.source import SourceError
    from quantd.adapters.feeds.vendor import Request
    from quantd.daemon.cli.setup.bar_files import LONGER, default_file
    from quantd.daemon.cli.setup.vendors import RETRY_FOR_S, source_of
    from quantd.trading.display_text import some

    requested_interval = "1d" if order.interval in LONGER else order.interval
    patience_s = RETRY_FOR_S if order.patience_s is None else order.patience_s

    async def download(vendors: "Vendors", report_progress: Bar) -> "tuple[Rows, list[ActionRow]]":
        source = vendors.source
        try:
            return await _bars_in_pieces(vendors, bar_ns, *bounds, report_progress), await source.actions(*bounds)
        finally:
            await source.close()

    try:
        with progress(f"fetching {some(universe.symbols)} from {'+'.join(order.sources)}") as report_progress:
            request = Request(
                universe, requested_interval, adjusted=order.adjusted, cookies=cache_folder().parent / "yfinance",
                progress=report_progress, **order.asked,
            )  # fmt: skip
            cache = order.cache or cache_folder() if order.cached else None
            vendors = source_of(order.sources, request, cache, patience_s)
            file, replaced = order.out or Path(), ""
            if order.out is None:
                file, replaced = default_file(vendors.source, universe, order.interval, order.folder)
            rows, actions = asyncio.run(download(vendors, report_progress))
            return _Download(rows, actions, vendors, file, replaced)
    except SourceError as error:
        raise Failure(f"{error}\n{NOTHING_WRITTEN}", TRY_LATER if error.again else CHECK_FAILED) from None


def _require_possible(start: date, last: date, out: Path | None, interval: str, *, adjusted: bool) -> None:
    """Raise Failure for options that contradict each other."""
    from quantd.daemon.cli.setup.bar_files import LONGER

    if last < start:
        raise Failure(f"--to {last} is before --from {start}", USAGE)
    if out is not None and out.suffix != ".parquet":
        raise Failure(f"{out}: bars are written as parquet; name it {out.with_suffix('.parquet')}", USAGE)
    if interval in LONGER and not adjusted:
        remedy = "a split inside a week would mix two scales; use --adjusted, or 1d"
        raise Failure(f"bars of {interval} are made of adjusted daily bars only: {remedy}", USAGE)


def _write_files(
    taken: _Download, bars: "pl.DataFrame", universe: Universe, interval: str, calendar: str | None
) -> "tuple[BarLines | None, dict[str, Any]]":
    """Write bars and actions. Return (keys of config.toml, further fields of the report).

    The further fields are the file of actions, sentences about symbols with a restricted use, and the lines of
    config.toml.
    """
    from quantd.adapters.feeds.recorded.origin import Origin
    from quantd.daemon.cli.setup.bar_files import LONGER, actions_csv, beside, without_volume, write_bars
    from quantd.daemon.cli.setup.config_lines import BarLines
    from quantd.daemon.cli.setup.download_lines import config_texts, use_lines

    file, actions, source = taken.file, taken.actions, taken.vendors.source
    write_bars(file, bars, Origin(source.name, interval, source.stamps, source.adjusted))
    beside_it = beside(file)
    if actions:
        write_whole(beside_it, actions_csv(actions, universe).encode())
    first, last = (iso(int(ns))[:10] for ns in (bars["ts"].to_physical().min(), bars["ts"].to_physical().max()))  # type: ignore[arg-type]
    silent = without_volume(bars)
    lines = BarLines(
        universe, file, beside_it if actions else None, source.stamps, interval, first, last, adjusted=source.adjusted,
        silent=any(kind_of(symbol) != "index" for symbol in silent),
    ).with_benchmark()  # fmt: skip
    uses = list(use_lines(universe, silent, calendar or ""))
    if not actions and beside_it.exists():
        uses.append(f"{beside_it} is of an earlier download, and this one has no action: remove it")
    return None if lines.only_indices or interval in LONGER else lines, {
        "actions_file": str(beside_it) if actions else None,
        "uses": uses,
        "config": [{"use": use, "lines": text} for use, text in config_texts(lines)],
    }


class Market(NamedTuple):
    """How the bars of a download are placed in sessions; `length` is the time that a bar covers, in ns."""

    universe: Universe
    calendars: Mapping[str, Sessions]
    stamps: "Stamps"
    length: int
    adjusted: bool


def _usable_bars(rows: "Rows", actions: "list[ActionRow]", market: Market) -> "tuple[Rows, list[BadBar], Questions]":
    """Return (bars to write, rejected bars, questions on which a backtest of the file will stop).

    A suspicious bar is written: it may be a real crash, and the user of the file decides.
    """
    import numpy as np

    from quantd.adapters.feeds.bars.answers import Answers, settle
    from quantd.adapters.feeds.bars.checks import Reason
    from quantd.adapters.feeds.bars.merge import bad_bars, checked_bars
    from quantd.adapters.feeds.recorded.price_questions import Questions
    from quantd.adapters.feeds.recorded.replay import questions_of

    universe, calendars = market.universe, market.calendars
    rows, placed, checked = checked_bars(
        rows, actions, universe, calendars, market.stamps, market.length, time.time_ns()
    )
    # "stop": a suspicious bar becomes a question, on which a backtest stops; jumps of adjusted prices are real
    settled = settle(checked, rows, placed, Answers("stop", market.adjusted))
    reasons = np.where(checked.reason == Reason.SPIKE, Reason.GOOD, checked.reason).astype(np.int8)
    questions = Questions(questions_of(rows, placed, settled, universe), universe, calendars)
    return rows.take(reasons == Reason.GOOD), bad_bars(rows, placed, reasons, universe), questions


async def _bars_in_pieces(vendors: "Vendors", bar_ns: int, begin_ns: int, end_ns: int, report_progress: Bar) -> "Rows":
    """Return all bars of a period, requested in at most PIECES pieces and sorted by symbol.

    A piece may lack a symbol that was not traded yet, so that only the whole period is checked, by the caller.
    """
    import numpy as np

    from quantd.adapters.feeds.bars.rows import joined
    from quantd.adapters.feeds.source import PartialAnswer

    # the first term is rounded up
    step = max(-(-(end_ns - begin_ns) // PIECES), SHORTEST_PIECE_NS, SHORTEST_PIECE_BARS * bar_ns)
    if vendors.whole:  # a vendor sends all bars up to now at each request
        step = end_ns - begin_ns
    pieces = []
    for begin in range(begin_ns, end_ns, step):
        until = min(begin + step, end_ns)
        try:
            pieces.append(await vendors.source.bars(begin, until))
        except PartialAnswer as error:
            if until - begin == end_ns - begin_ns:  # the only piece: a symbol is missing in the whole range
                raise
            pieces.append(error.rows)
        report_progress((until - begin_ns) / (end_ns - begin_ns))
    rows = joined(pieces)
    return rows.take(np.argsort(rows.column, kind="stable"))


def _bounds(calendar: Sessions, first: date, last: date, length: int) -> tuple[int, int]:
    """Return (beginning of the date `first`, end of the date `last`) in ns UTC; the end is at most a day after now.

    The dates are UTC for daily bars, and of the exchange's clock for shorter bars.
    """
    from quantd.adapters.feeds.bars.stamps import UNITS_NS

    zone = ZoneInfo("UTC" if length == DAY_NS else calendar.zone)
    begin, end = (datetime(day.year, day.month, day.day, tzinfo=zone) for day in (first, last + timedelta(days=1)))
    return int(begin.timestamp()) * NANO, min(int(end.timestamp()) * NANO, time.time_ns() + UNITS_NS["d"])


def _rows_by_symbol(frame: "pl.DataFrame") -> list[dict[str, Any]]:
    """Return one row for each symbol of a file: number of bars, first and last stamp, and sources."""
    import polars as pl

    grouped = frame.group_by("symbol", maintain_order=True).agg(
        pl.len().alias("bars"), pl.col("ts").first().alias("from"), pl.col("ts").last().alias("to"),
        pl.col("source").unique().sort(),
    )  # fmt: skip
    return [
        {
            "symbol": symbol, "bars": bars, "from": first.isoformat().replace("+00:00", "Z"),
            "to": last.isoformat().replace("+00:00", "Z"), "source": "+".join(sources),
        }
        for symbol, bars, first, last, sources in grouped.iter_rows()
    ]  # fmt: skip


def print_fetched(done: Fetched, *, lines: bool = True) -> None:
    """Print the report of a download, with the lines of config.toml unless `lines` is False."""
    from quantd.adapters.feeds.bars.checks import REASON_TEXT, Reason

    report, bad = done.report, done.bad
    records(report["symbols"], ("symbol", "bars", "from", "to", "source"), ("bars",))
    for reason, count in report["put_aside"].items():
        first = next(bar for bar in bad if bar.reason == reason)
        means = REASON_TEXT[Reason[reason.upper()]]
        say(f"quarantined: {count} x {reason} ({means}); first {first.symbol} {iso(first.ts)}")
    for entry in report["misfits"]:
        say(f"{entry['kind']}: {entry['text']}; a backtest stops there and names the remedies")
    for path in report["damaged_cache_files"]:
        say(f"a damaged cache file was moved aside and downloaded again: {path}")
    kind = "adjusted" if report["adjusted"] else "raw"
    say(f"{report['file']}: {report['bars']} {kind} bars" + (", from the cache" if report["from_cache"] else ""))
    if report["replaced"]:
        say(f"it replaces {report['replaced']}")
    if report["actions_file"]:
        say(f"{report['actions_file']}: {report['actions']} splits and dividends")
    for line in report["uses"]:
        say(line)
    for entry in report["config"] if lines else ():
        say(f"in config.toml{entry['use'] and ', '}{entry['use']}:\n\n{entry['lines']}\n")
    if report["questions"]:
        say("the file is written; a backtest of it stops until this is answered:")
        for line in report["questions"]:
            say(line)
