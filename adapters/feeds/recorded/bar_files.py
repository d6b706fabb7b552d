"""Reads bars and corporate actions from parquet and CSV files, or from a frame, as flat columns without checks."""

import csv
import io
import os
import subprocess
import sys
from contextlib import suppress
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from quantd import bundled
from quantd.adapters.feeds.bars.rows import BARS, NO_STAMP, ORDER, PRICES, ActionRow, Rows, exact_nano, joined
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.actions import ACTIONS, listed_actions, ratio_of
from quantd.adapters.feeds.table_files.file_symbol import require_spelling
from quantd.adapters.feeds.table_files.large_text import EXACT_LENGTH, large_table
from quantd.adapters.feeds.table_files.moments import zoned
from quantd.adapters.feeds.table_files.plain import is_plain
from quantd.adapters.feeds.table_files.reader import ReadOptions, Table, files_of, read_tables
from quantd.adapters.feeds.table_files.roles import word
from quantd.adapters.feeds.table_files.statement import Statement
from quantd.regular_file import create_empty, remove
from quantd.trading.display_text import mended, session_date, some
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import Bools, Floats, Ints

MOST_CELLS: Final = 100_000_000
"""Maximum rows times columns of one parquet file (5 GB in memory); a file of 1 MB can declare far more."""

MOST_KNOWN: Final = 1_000
"""Maximum number of marker files, an empty file for each parquet file that was probed; the oldest are deleted."""

PROBE_S: Final = 120.0
"""Maximum time for a child process to read an unknown parquet file."""

_BUNDLED: Final = (bundled.FOLDER / "data").resolve()
"""Files bundled with quantd need no probe."""

_PROBE: Final = """
import sys, polars
frame = polars.scan_parquet(sys.argv[1])
cells = frame.select(polars.len()).collect().item() * len(frame.collect_schema())
if cells <= int(sys.argv[2]):
    frame.collect()
print(cells)
"""


class BarFrame(NamedTuple):
    """Bars in memory with the columns of a file of bars; `name` replaces the file name in messages.

    `actions` has the splits and dividends of the original table, as text in the columns ts, symbol, kind, ratio and
    cash. `statements` says how each column of the original table was interpreted. `lines` has the line of each bar in
    its file; None if it is not known.
    """

    frame: pl.DataFrame
    name: str = "bars"
    actions: pl.DataFrame | None = None
    statements: tuple[Statement, ...] = ()
    lines: pl.Series | None = None


BarSource = Path | BarFrame
"""Bars in a file, a folder or an archive, in columns that quantd.adapters.feeds.table_files can read; or in memory."""


def read_bars(sources: tuple[BarSource, ...], universe: Universe, zone: str = "") -> Rows:
    """Read all bars of the universe in `sources`, one after another. `zone` is the clock of stamps without an offset.

    Raises FeedError for an unreadable source and for a symbol without a bar.
    """
    tables = [_table(source, BARS, universe.symbols) for source in sources]
    return _rows_of_all(sources, universe, tables, "bar", zone)


def statements_of(sources: tuple[BarSource, ...], symbols: tuple[str, ...]) -> tuple[Statement, ...]:
    """Return the statements about the tables of `sources`; none for files in the columns of quantd.

    Raises FeedError for an unreadable table.

    A statement says how the columns of one table are interpreted.
    """
    statements: list[Statement] = []
    for source in sources:
        if isinstance(source, BarFrame):
            statements += source.statements
        elif not is_plain(source):
            statements += _feed_table(source, symbols).statements
    return tuple(statements)


def actions_within_bars(sources: tuple[BarSource, ...], universe: Universe) -> list[ActionRow]:
    """Return the actions in the columns of splits and dividends of the tables of bars, sorted by date, column and kind.

    Raises FeedError for an unreadable table or action.
    """
    rows: list[ActionRow] = []
    for source in sources:
        actions: pl.DataFrame | None
        if isinstance(source, BarFrame):
            actions, name = source.actions, source.name
        else:
            actions = None if is_plain(source) else _feed_table(source, universe.symbols).actions
            name = source.name
        if actions is not None and len(actions):
            rows += _action_rows(actions, name, universe)
    return sorted(rows, key=lambda row: (row.day_ns, row.column, ORDER[row.kind]))


def read_trades(sources: tuple[BarSource, ...], universe: Universe, zone: str = "") -> Rows:
    """Read all trades of the universe in sources with the columns ts, symbol, price and size.

    Each trade becomes a bar of one price with its size as volume. Raises FeedError for an unreadable file or row.
    """
    frames = [
        _table(source, ("ts", "symbol", "price", "size")).select(
            "ts", "symbol", *(pl.col("price").alias(name) for name in PRICES), pl.col("size").alias("volume")
        )
        for source in sources
    ]
    return _rows_of_all(sources, universe, frames, "trade", zone)


def _rows_of_all(
    sources: tuple[BarSource, ...], universe: Universe, frames: list[pl.DataFrame], what: str, zone: str
) -> Rows:
    """Join the rows of all sources. Raises FeedError for a symbol without any row. `what` is "bar" or "trade"."""
    pairs = zip(sources, frames, strict=True)
    rows = joined([_rows(source.name, frame, universe, k, zone) for k, (source, frame) in enumerate(pairs)])
    counts = np.bincount(rows.column, minlength=universe.size).tolist()
    absent = [symbol for symbol, count in zip(universe.symbols, counts, strict=True) if not count]
    if absent:
        remedy = "Name the file of these symbols in [feed] path"
        if len(rows):
            remedy = "Take them out of [universe] symbols or name another file"
        raise FeedError(", ".join(source.name for source in sources), f"no {what} of {some(absent)}", remedy)
    return rows


def span(sources: tuple[BarSource, ...], symbols: tuple[str, ...] = ()) -> tuple[date, date]:
    """Return the first and the last date in the sources, the range that calendars must cover.

    Stamps without an offset are read as UTC here: a time zone moves a date by at most a day, and calendars are read
    with a larger margin. Raises FeedError for a source without a readable stamp.
    """
    extremes: list[int] = []
    for source in sources:
        stamps = nanoseconds(_table(source, ("ts",), symbols)["ts"])
        stamps = stamps[stamps != NO_STAMP]
        if not len(stamps):
            remedy = "Write stamps as 2024-07-03 or 2024-07-03T17:00:00Z"
            raise FeedError(source.name, "no readable stamp in column ts", remedy)
        extremes += [int(stamps.min()), int(stamps.max())]
    return session_date(min(extremes)), session_date(max(extremes))


_USUAL: Final = {
    "date": "ts", "ex date": "ts", "ticker": "symbol", "type": "kind", "action": "kind", "amount": "cash",
}  # fmt: skip
"""Usual names of the columns of actions, as plain words, and their names here."""


def read_actions(path: Path, universe: Universe) -> list[ActionRow]:
    """Return the splits, dividends and delistings of the universe's symbols, sorted by date; dividends precede splits.

    A dividend precedes a split of the same day because it is paid on the shares before the split. The columns of a file
    without a header are those of ACTIONS. Raises FeedError with the line of a faulty action.
    """
    listed, first_line = listed_actions(path, universe.symbols), 2
    if listed is None:
        listed = table_of(path)
        names = listed.columns
        if len(names) == len(ACTIONS) and names[2].strip() in ORDER:
            row = pl.DataFrame(
                [["" if name.startswith("_duplicated_") else name for name in names]], ACTIONS, orient="row"
            )
            listed, first_line = pl.concat([row, listed.rename(dict(zip(names, ACTIONS, strict=True)))]), 1
        usual = {name: _USUAL.get(word(name), word(name)) for name in names}
        listed = listed.rename({name: role for name, role in usual.items() if role in ACTIONS and role not in names})
        missing = {"cash", "ratio"} - set(listed.columns)
        if len(missing) == 1:
            listed = listed.with_columns(pl.lit(None, pl.String).alias(*missing))
    rows = _action_rows(_table(BarFrame(listed, path.name), ACTIONS), path.name, universe, first_line)
    return sorted(rows, key=lambda row: (row.day_ns, row.column, ORDER[row.kind]))


def _action_rows(frame: pl.DataFrame, name: str, universe: Universe, first_line: int = 2) -> list[ActionRow]:
    """Return the actions of the universe's symbols in a table, whose first row is line `first_line` of its file.

    Raises FeedError with the line of a faulty action.
    """
    frame = frame.with_columns(
        pl.Series("ts", nanoseconds(frame["ts"])),
        *(pl.col(c).cast(pl.String).str.strip_chars() for c in ("symbol", "ratio", "cash")),
        pl.col("kind").cast(pl.String).str.strip_chars().str.to_lowercase(),
    ).with_row_index("line", offset=first_line)
    require_spelling(frame["symbol"], universe.symbols, name)
    rows: list[ActionRow] = []
    for line, ts, symbol, kind, ratio, cash in frame.filter(pl.col("symbol").is_in(universe.symbols)).iter_rows():
        where = f"{name}:{line}"
        if ts == NO_STAMP:
            raise FeedError(where, "the ex date cannot be read", "Write it as 2020-08-31")
        column, day = universe.index[symbol], ts - ts % (86_400 * NANO)
        # an action that is no split has the ratio 1:1, one without cash the amount 0
        if kind == "split":
            numerator, denominator = _ratio(where, ratio)
            rows.append(ActionRow(day, column, "split", numerator, denominator, 0))
        elif kind == "dividend":
            rows.append(ActionRow(day, column, "dividend", 1, 1, _cash(where, cash)))
        elif kind == "delisting":
            rows.append(ActionRow(day, column, "delisting", 1, 1, 0 if cash in ("0", "0.0") else _cash(where, cash)))
        else:
            raise FeedError(where, f'kind "{kind}" is not known', "Write split, dividend or delisting")
    return rows


_SLICE: Final = 100_000


def digest(sources: tuple[BarSource, ...], selection: str) -> str:
    """Return hex BLAKE2b of the sources' bytes and of `selection`, the text of the settings that read them.

    An end mark follows each source, so that bytes that move from one file to the next change the digest.
    """
    hasher = blake2b(selection.encode(), digest_size=32)
    for source in sources:
        if isinstance(source, BarFrame):
            for part in _table(source, BARS).iter_slices(_SLICE):
                bars = part.with_columns(pl.Series("ts", nanoseconds(part["ts"])))
                hasher.update(bars.write_csv(include_header=False).encode())
            hasher.update(b"\0end")
            if source.actions is not None and len(source.actions):
                hasher.update(source.actions.write_csv(include_header=False).encode() + b"\0end")
            continue
        for path in files_of(source):
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    hasher.update(chunk)
            hasher.update(b"\0end")
    return hasher.hexdigest()


def probe(path: Path) -> None:
    """Read a parquet file in a child process first, because a damaged or huge file can terminate the reading process.

    Files that were probed before and files bundled with quantd are exempt. Raises FeedError for a file that takes more
    than PROBE_S seconds, is not parquet, or has more than MOST_CELLS cells.

    A marker file, whose name is a digest of the file's identity, records a successful probe.
    """
    mark = _mark_of(path)
    if mark is None or mark.exists():
        return
    file = path.resolve()
    command = [sys.executable, "-I", "-c", _PROBE, str(file), str(MOST_CELLS)]
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise FeedError(path.name, f"it was not read within {PROBE_S:g} s", "Split the file") from None
    if process.returncode:
        error_lines = [line.strip() for line in process.stderr.splitlines() if line.strip()]
        reason = (
            f"signal {-process.returncode}"
            if process.returncode < 0
            else error_lines[-1][:120]
            if error_lines
            else "no reason given"
        )
        raise FeedError(path.name, f"it cannot be read as parquet ({reason})", "Write the file again")
    cells = int(process.stdout)
    if cells > MOST_CELLS:
        raise FeedError(
            path.name, f"{cells:,} cells are more than {MOST_CELLS:,}", "Split the file by symbol or by year"
        )
    _create_mark(mark)


def trust(path: Path, cells: int) -> None:
    """Exempt a parquet file that this process has just written from probe(), unless it has more than MOST_CELLS cells.

    The file cannot harm its reader, and a child process takes a third of a second of CPU.
    """
    mark = _mark_of(path)
    if mark is not None and cells <= MOST_CELLS:
        _create_mark(mark)


def _mark_of(path: Path) -> Path | None:
    """Return the marker file of a parquet file as it is now; None for a file that is bundled with quantd."""
    file = path.resolve()
    if file.parent == _BUNDLED:
        return None
    stat = file.stat()
    identity = f"{file}|{stat.st_dev}|{stat.st_ino}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quantd" / "probed"
    return folder / blake2b(identity.encode(), digest_size=16).hexdigest()


def _create_mark(mark: Path) -> None:
    """Create a marker file, and delete the oldest of more than MOST_KNOWN."""
    folder = mark.parent
    with suppress(OSError):  # without a writable folder, each start probes again
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_empty(mark)
        for oldest_mark in sorted(folder.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)[:-MOST_KNOWN]:
            remove(oldest_mark)


_TABLES: Final[dict[tuple[object, ...], Table]] = {}
"""Cache of the newest tables: one run reads the times, the bars and the actions of the same table in turn."""

_MOST_TABLES: Final = 2


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Return bars by symbol and time: the same frame where they are in this order, because a copy of millions of bars
    takes as much memory again. Bars of one symbol and time keep their order."""
    later = pl.col("ts") >= pl.col("ts").shift(1)
    symbol, before = pl.col("symbol"), pl.col("symbol").shift(1)
    if isinstance(frame["symbol"].dtype, pl.Enum) and not frame["ts"].null_count():  # numbers in the order of the names
        code, ts = (frame[name].to_physical().to_numpy() for name in ("symbol", "ts"))
        same = code[1:] == code[:-1]
        if ((code[1:] > code[:-1]) | (same & (ts[1:] >= ts[:-1]))).all():
            return frame
    ordered = frame.select(((before < symbol) | ((before == symbol) & later)).slice(1).fill_null(value=False).all())
    return frame if ordered.item() else frame.sort("symbol", "ts", maintain_order=True)


def forget_tables() -> None:
    """Drop the tables that are kept for the next reader of the same file."""
    _TABLES.clear()


def _feed_table(path: Path, symbols: tuple[str, ...]) -> Table:
    """Read a table in other columns than quantd's for the symbols of a universe.

    Raises FeedError. If the error can be answered by an option, it names the command that has the option.
    """
    try:
        return foreign_table(path, ReadOptions(symbols=symbols))
    except FeedError as error:
        if "--" not in error.remedy:
            raise
        remedy = f"`quantd data import {path}` takes the answer and prints the lines of [feed]. {error.remedy}"
        raise FeedError(error.source, error.what, remedy) from None


def foreign_table(path: Path, asked: ReadOptions) -> Table:
    """Read a table in other columns than quantd's. The newest _MOST_TABLES tables are cached.

    Raises FeedError for an unreadable table.
    """
    stats = [file.stat() for file in files_of(path)]
    identity = (path.resolve(), *((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats), repr(asked))
    if identity not in _TABLES:
        for file in files_of(path):
            with file.open("rb") as opened:
                if opened.read(4) == b"PAR1":
                    probe(file)
        while len(_TABLES) >= _MOST_TABLES:
            del _TABLES[next(iter(_TABLES))]
        _TABLES[identity] = read_tables(path, asked)
    return _TABLES[identity]


def _table(source: BarSource, wanted: tuple[str, ...], symbols: tuple[str, ...] = ()) -> pl.DataFrame:
    """Read the `wanted` columns of a source; if these are columns of BARS, the table may have any layout.

    Raises FeedError for a missing column.
    """
    if isinstance(source, Path):
        if set(wanted) <= set(BARS) and not is_plain(source):
            return _feed_table(source, symbols).frame.select(wanted)
        if wanted == BARS and source.is_file() and (large := large_table(source, source.name, exact=True)):
            return large.frame.select(wanted)
        return table_of(source, wanted)
    present_columns = source.frame.columns
    if missing := [name for name in wanted if name not in present_columns]:
        fault = f"column {some(missing)} is missing (it has {', '.join(present_columns)})"
        raise FeedError(source.name, fault, f"Name the columns {', '.join(wanted)}")
    return source.frame.select(wanted)


def table_of(path: Path, wanted: tuple[str, ...] = ()) -> pl.DataFrame:
    """Read the `wanted` columns of a file, by default all; CSV columns are text.

    One of the columns `cash` and `ratio` may be missing; it is then null. Raises FeedError for a missing or unreadable
    file, and for any other missing column.
    """
    if not path.is_file():
        raise FeedError(str(path), "there is no such file", "Check the path in config.toml")
    is_csv = path.suffix.lower() in {".csv", ".txt"}
    if not is_csv:
        probe(path)
    try:
        scan = (
            pl.scan_csv(_even_text(path), infer_schema=False, truncate_ragged_lines=True, encoding="utf8-lossy")
            if is_csv
            else pl.scan_parquet(path)
        )
        present_columns = scan.collect_schema().names()
        wanted = wanted or tuple(present_columns)
        missing = [name for name in wanted if name not in present_columns]
        if missing and not (missing == ["cash"] or missing == ["ratio"]):
            adjusted_only = "adj_close" in present_columns and "close" in missing
            raise FeedError(
                path.name,
                f"column {some(missing)} is missing (it has {', '.join(present_columns)})",
                "Adjusted closes alone have no open to fill at; use a file with open, high, low, close"
                if adjusted_only
                else f"Name the columns {', '.join(wanted)}",
            )
        return scan.with_columns(pl.lit(None, pl.String).alias(name) for name in missing).select(wanted).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        kind = "CSV" if is_csv else "parquet"
        raise FeedError(path.name, f"it cannot be read as {kind} ({reason})", "Write the file again") from None


def _even_text(path: Path) -> Path | io.BytesIO:
    """Return a CSV file, or its text with proper quotes where a field has another quote, such as an inch mark.

    Raises FeedError if a line has more fields than the header, because polars would drop the surplus: a number with a
    comma for thousands and without quotes would lose its end, and 798,339 shares would be 798. A file without a quote
    whose lines have no more commas than the header is not parsed.
    """
    data = path.read_bytes()
    header, _, body = data.partition(b"\n")
    columns = len(next(csv.reader([header.decode("utf-8", "replace")]), ()))
    body_bytes = np.frombuffer(body, dtype=np.uint8)
    line_ends = np.append(np.flatnonzero(body_bytes == ord("\n")), len(body_bytes))
    commas_until = np.searchsorted(np.flatnonzero(body_bytes == ord(",")), line_ends)
    has_quotes = b'"' in data
    if not len(body_bytes) or (not has_quotes and np.diff(commas_until, prepend=0).max() < columns):
        return path
    text = mended(data, ",", columns) if has_quotes else data
    lines = csv.reader(io.StringIO(text.decode("utf-8", "replace"), newline=""))
    for fields in lines:
        if len(fields) > columns:
            raise FeedError(
                f"{path.name}:{lines.line_num}", f"{len(fields)} fields under a header of {columns}",
                'Write numbers without commas for thousands, or in quotes: 798339 or "798339"',
            )  # fmt: skip
    return path if text is data else io.BytesIO(text)


def _rows(name: str, frame: pl.DataFrame, universe: Universe, source: int, zone: str) -> Rows:
    """Convert a table to the rows of the universe's symbols; `source` is the index of the table.

    Opens and closes of text and decimals are exact to nine digits after the point, floats become the decimals that they
    represent. A field that is no number becomes NaN. Raises FeedError for a column that is neither text nor numbers,
    and for a row without a symbol.
    """
    symbols = frame["symbol"]
    spellings = symbols.unique().cast(pl.String)  # each is looked up once
    if (spellings.is_null() | (spellings.str.strip_chars() == "")).any():
        row = int((symbols.is_null() | (symbols.cast(pl.String).str.strip_chars() == "")).arg_max() or 0) + 1
        raise FeedError(name, f"row {row:,} has no symbol", "Write the symbol of each bar, or take the row out")
    column = (
        symbols.cast(pl.String)
        .replace_strict(
            spellings,
            spellings.str.strip_chars().replace_strict(dict(universe.index), default=-1, return_dtype=pl.Int64),
            default=-1,
            return_dtype=pl.Int64,
        )
        .to_numpy()
    )
    in_universe = column >= 0
    if not in_universe.all():
        frame, column = frame.filter(pl.Series(in_universe)), column[in_universe]
    floats: dict[str, Floats] = {}
    nanos: dict[str, Ints] = {}
    for column_name in (*PRICES, "volume"):
        series = frame[column_name]
        if series.dtype == pl.String or series.dtype.is_decimal():
            text = series.cast(pl.String).str.strip_chars()
            floats[column_name] = text.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
            # a text this short is exact as a float, which is faster
            if column_name in ("open", "close") and (text.str.len_bytes().max() or 0) <= EXACT_LENGTH:  # type: ignore[operator]
                nanos[column_name] = exact_nano(floats[column_name])
            elif column_name in ("open", "close"):
                # polars rounds the decimal text half-even at the ninth digit
                exact = text.cast(pl.Decimal(38, 9), strict=False).to_physical().cast(pl.Int64, strict=False)
                nanos[column_name] = exact.fill_null(0).to_numpy()
        else:
            if not series.dtype.is_numeric():
                raise FeedError(name, f"column {column_name} holds {series.dtype}, not numbers", "Write numbers")
            floats[column_name] = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
            if column_name in ("open", "close"):
                nanos[column_name] = exact_nano(floats[column_name])
    return Rows(
        ts=nanoseconds(frame["ts"], zone, frame["symbol"]),
        column=column,
        **floats,
        open_nano=nanos["open"],
        close_nano=nanos["close"],
        source=np.broadcast_to(np.int64(source), len(column)),  # one number in memory
    )


_TEXT_STAMPS: Final = ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M%:z")


def nanoseconds(stamps: pl.Series, zone: str = "", symbols: pl.Series | None = None) -> Ints:
    """Convert dates, datetimes or ISO 8601 text to int64 ns UTC, NO_STAMP where unreadable.

    A time without an offset is read by the clock of `zone`, or of UTC if `zone` is empty. A date alone is midnight UTC.
    With the `symbols` of the bars, the second one of a symbol at a time that the clock repeats is an hour later.
    """
    if stamps.dtype == pl.Categorical:
        categories = stamps.unique()
        category_ts = pl.Series(nanoseconds(categories.cast(pl.String), zone))
        return (
            stamps.to_physical().replace_strict(categories.to_physical(), category_ts, return_dtype=pl.Int64).to_numpy()
        )
    ts = _as_utc(stamps)
    if zone in ("", "UTC"):
        return ts
    lacks_offset = has_no_offset(stamps)
    clock_time = pl.Series(np.where(ts == NO_STAMP, 0, ts)).cast(pl.Datetime("ns"))
    if symbols is None:  # each time by itself
        instants = clock_time.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    else:
        instants = zoned(clock_time, zone, symbols)
    zoned_ts = instants.dt.epoch("ns").fill_null(NO_STAMP).to_numpy()
    return np.where(lacks_offset & (ts != NO_STAMP), zoned_ts, ts)


def has_no_offset(stamps: pl.Series) -> Bools:
    """Return bool[R], True for a stamp with a time of day and no offset from UTC; False for a date alone."""
    if stamps.dtype == pl.String:
        text = stamps.str.strip_chars().fill_null("")
        shows_time = text.str.contains(r"^\d{4}-\d\d-\d\d[T ]\d\d:")
        return (shows_time & ~text.str.contains(r"(Z|[+-]\d\d:?\d\d)$")).to_numpy()
    naive = isinstance(stamps.dtype, pl.Datetime) and stamps.dtype.time_zone is None
    return np.full(len(stamps), naive)


def mostly_without_offset(sources: tuple[BarSource, ...], symbols: tuple[str, ...] = ()) -> bool:
    """Return whether most stamps of the sources have a time without an offset. Raises FeedError for an unreadable
    source."""
    stamps = [_table(source, ("ts",), symbols)["ts"] for source in sources]
    return bool(np.mean(np.concatenate([has_no_offset(column) for column in stamps])) > 0.5)


def _as_utc(stamps: pl.Series) -> Ints:
    """Convert dates, datetimes or ISO 8601 text to int64 ns UTC; times without an offset are in UTC. Raises FeedError
    for another type."""
    if stamps.dtype == pl.String:
        text = stamps.str.strip_chars().str.replace("T", " ", literal=True)
        # every text becomes date, time and offset: Z is an offset, a date alone is midnight, and UTC is added to a time
        # without an offset
        text = text.str.replace(r"Z$", "+00:00").str.replace(r"^(\d{4}-\d\d-\d\d)$", "$1 00:00:00")
        text = text.str.replace(r"(:\d\d(?:\.\d+)?)$", "$1+00:00").str.replace(r"([+-]\d\d):?(\d\d)\+00:00$", "$1:$2")
        read = text.str.to_datetime(_TEXT_STAMPS[0], time_unit="ns", time_zone="UTC", strict=False)
        if read.null_count():
            alternative = text.str.to_datetime(_TEXT_STAMPS[1], time_unit="ns", time_zone="UTC", strict=False)
            read = read.fill_null(alternative) if alternative.null_count() < len(alternative) else read
        stamps = read
    elif stamps.dtype == pl.Date:
        stamps = stamps.cast(pl.Datetime("ns"))
    if not isinstance(stamps.dtype, pl.Datetime):
        raise FeedError("column ts", f"it holds {stamps.dtype}, not times", "Write UTC datetimes or ISO 8601 text")
    return stamps.dt.epoch("ns").fill_null(NO_STAMP).to_numpy().astype(np.int64, copy=False)


def _ratio(where: str, text: str | None) -> tuple[int, int]:
    ratio = ratio_of(text)
    if not ratio:
        raise FeedError(where, f'split ratio "{text}" cannot be read', 'Write new shares to old ones, as "4:1"')
    return ratio.numerator, ratio.denominator


def _cash(where: str, text: str | None) -> int:
    remedy = 'Write the amount per share, as "0.82"'
    integer, _, fraction = (text or "").partition(".")
    if not (integer.isdecimal() and (fraction.isdecimal() or not fraction) and len(fraction) <= 9):
        raise FeedError(where, f'dividend "{text}" cannot be read', remedy)
    cash = int(integer) * NANO + int(fraction.ljust(9, "0") or "0")
    if not cash:
        raise FeedError(where, "the dividend is 0", remedy)
    return cash
