"""Macro series, series per symbol and cash rates from files.

Each value is dated by its publication, not by the day that it describes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import digest, nanoseconds, table_of
from quantd.adapters.feeds.table_files.file_symbol import require_spelling
from quantd.trading.cash_rate import CashRate, CashRateError, constant, parsed
from quantd.trading.display_text import session_date, some
from quantd.trading.macro import (
    Available,
    DatedValues,
    RepeatedDate,
    dated_values,
    first_session,
    on_sessions,
    series_columns,
)
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS, Sessions


class MacroFile:
    """One series in a file with the columns `ts` (the date that a value describes) and `close` or `value`.

    A value is known from the open of the first session after its date, on the house calendar (the account's). If
    `available` is "close", the value is known from the close of the first session on or after its date. The constructor
    and `refresh` raise FeedError.
    """

    def __init__(self, name: str, path: Path, available: Available, house: Sessions) -> None:
        self.name: Final = name
        self.path: Final = path
        self.available: Final = available
        self.columns: Final = (name,)
        self.selection: Final = f"{name} {available}"
        """Its settings as text; part of the market's digest."""
        self._house: Final = house
        self._read()

    def _read(self) -> None:
        self._seen = _file_state(self.path)
        days, self._values = read_series(self.path)
        self._known_ns = known_from(days, self.available, self._house)
        self._values = self._values[: len(self._known_ns)]

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if _file_state(self.path) != self._seen:
            self._read()

    def at(self, ts: int) -> float:
        """Return the newest value known at `ts` (ns UTC); NaN before the first."""
        newest = int(np.searchsorted(self._known_ns, ts, side="right")) - 1
        return float(self._values[newest]) if newest >= 0 else np.nan

    def known(self, ts: int) -> tuple[float, ...]:
        """Return the newest value known at `ts` (ns UTC), as a tuple of one; NaN before the first."""
        return (self.at(ts),)


class SymbolSeries:
    """A series with a value for each symbol, from a file with the columns `ts`, `symbol` and a column of values.

    A value is known from the open of the first session after its date; if `available` is "close", from the close of the
    first session on or after it. With `valid_days` above 0 it expires at the open of the first session that is more
    than `valid_days` calendar days later. The constructor and `refresh` raise FeedError.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        symbols: tuple[str, ...],
        house: Sessions,
        available: Available = "next_open",
        *,
        column: str = "value",
        valid_days: int = 0,
    ) -> None:
        """Read the file. `house` is the account's calendar. `available` says at which open or close the value of a date
        is known. `column` is the file's column of values.

        With `valid_days` above 0 a value expires at the open of the first session that is more than so many calendar
        days later; 0 means never. `_instants` (ns UTC) are the closes or opens at which values become known.
        """
        self.name: Final = name
        self.path: Final = path
        self.columns: Final = series_columns(name, symbols)
        self.selection: Final = f"series {name} {available} {column} {valid_days}"
        """Its settings as text; part of the market's digest."""
        self._symbols: Final = symbols
        self._house: Final = house
        self._available: Final[Available] = available
        self._column: Final = column
        self._valid_days: Final = valid_days
        self._instants: Final = house.closes if available == "close" else house.opens
        self._read()

    def _read(self) -> None:
        self._seen = _file_state(self.path)
        dated = read_symbol_series(self.path, self._symbols, self._column)
        self._on = on_sessions(dated, len(self._symbols), self._house.days, self._available, self._valid_days)

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if _file_state(self.path) != self._seen:
            self._read()

    def known(self, ts: int) -> tuple[float, ...]:
        """Return the newest valid value of each symbol at `ts` (ns UTC); NaN for none."""
        known_session = int(np.searchsorted(self._instants, ts, side="right")) - 1
        if known_session < 0:
            return (np.nan,) * len(self.columns)
        # a session that closes when the next one opens still has its own values at its close
        open_session = int(np.searchsorted(self._house.opens, ts)) - 1
        return tuple(self._on.at(known_session, open_session).tolist())


Series = MacroFile | SymbolSeries


class RateFile:
    """The interest rate on cash: a number, or a file of rates by date that may be updated.

    The constructor and `refresh` raise FeedError, also when `first_ns`, the date of the first session, has no rate.
    """

    name: Final = "cash_rate"

    def __init__(self, given: float | str, folder: Path, first_ns: int) -> None:
        self.path: Final = folder / given if isinstance(given, str) else None
        self._first_ns: Final = first_ns
        self._seen = (0, 0)
        self.rate = self._read() if isinstance(given, str) else constant(given)

    def _read(self) -> CashRate:
        """Read the file of rates, and note its state for `refresh`. Raises FeedError for an unreadable file.

        `_first_ns` is the date of the first session (ns), which needs a rate.
        """
        assert self.path is not None
        self._seen = _file_state(self.path)
        try:
            rate = parsed(self.path.read_text(encoding="utf-8"), self.path.name)
            rate.begins(self._first_ns)
        except CashRateError as error:
            raise FeedError(*error.args) from None
        except (OSError, UnicodeDecodeError) as error:
            raise FeedError(str(self.path), f"it cannot be read ({error})", "Name a text file of date,rate") from None
        return rate

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self.path is not None and _file_state(self.path) != self._seen:
            self.rate = self._read()


def _file_state(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def read_series(path: Path) -> tuple[Ints, Floats]:
    """Return (dates as ns at 00:00 UTC, ascending; values) of the rows with a numeric value.

    Raises FeedError for missing columns, several symbols, no row with a number, and a date with two values.
    """
    frame = table_of(path)
    column = next((name for name in ("value", "close") if name in frame.columns), None)
    if column is None or "ts" not in frame.columns:
        raise FeedError(path.name, f"it has the columns {', '.join(frame.columns)}", "Name two of them ts and value")
    if "symbol" in frame.columns and frame["symbol"].n_unique() > 1:
        raise FeedError(path.name, "it has more than one symbol", "Put each series in a file of its own")
    stamps = _dates(path, frame["ts"])
    values = frame[column].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    by_date = np.argsort(stamps, kind="stable")
    by_date = by_date[np.isfinite(values[by_date])]
    days, values = stamps[by_date], values[by_date].astype(np.float64)
    if not len(days):
        raise FeedError(path.name, "no row has a date and a number", "Check its columns ts and value")
    repeated = np.flatnonzero(days[1:] == days[:-1])
    if len(repeated):
        day = session_date(int(days[repeated[0]]))
        raise FeedError(path.name, f"{day} has two values", "Keep the one that was published first")
    return days, values


def read_symbol_series(path: Path, symbols: tuple[str, ...], column: str = "value") -> DatedValues:
    """Return the values of a file with the columns `ts`, `symbol` and `column`, by the symbol's index in `symbols`.

    Rows of other symbols and rows without a value are omitted. A column `available` has the dates of publication;
    without it, the values are dated by `ts`. Raises FeedError with the line of a fault.
    """
    frame = table_of(path)
    column_names = ("ts", "symbol", column)
    if missing := [name for name in column_names if name not in frame.columns]:
        text = f"column {some(missing)} is missing (it has {', '.join(frame.columns)})"
        raise FeedError(path.name, text, f"Name the columns {', '.join(column_names)}")
    row_symbols = frame["symbol"].cast(pl.String).str.strip_chars()
    require_spelling(row_symbols, symbols, path.name)
    index_of = {symbol: k for k, symbol in enumerate(symbols)}
    columns = row_symbols.replace_strict(index_of, default=-1, return_dtype=pl.Int64).to_numpy()
    own_rows = np.flatnonzero(columns >= 0)
    if not len(own_rows):
        raise FeedError(path.name, "no row is of a symbol of the universe", "Write the symbols of [universe] symbols")
    frame, columns = frame[own_rows], columns[own_rows]
    ts = _dates(path, frame["ts"], "ts", own_rows)
    published = _dates(path, frame["available"], "available", own_rows) if "available" in frame.columns else None
    values = _numbers(path, frame[column], own_rows)
    if not np.isfinite(values).any():
        raise FeedError(path.name, "no row of a symbol of the universe has a value", f"Check its column {column}")
    try:
        return dated_values(columns, ts, values, published)
    except RepeatedDate as error:
        row = error.row
        what = f"{symbols[int(columns[row])]} has two values of {session_date(int(ts[row]))}"
        raise FeedError(_line(path, own_rows[row]), what, "Keep the one that was published then") from None


def _numbers(path: Path, column: pl.Series, lines: Ints) -> Floats:
    """Return float64 with NaN for an empty value. Raises FeedError for text that is no number, and for infinity.

    `lines` are the rows of the values in the file, counted from 0 after the header.
    """
    if column.dtype == pl.Categorical or isinstance(column.dtype, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        column = pl.select(pl.when(column != "").then(column)).to_series()  # an empty text becomes null
    elif not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise FeedError(path.name, f"column {column.name} holds {column.dtype}, not numbers", "Write numbers")
    values: Floats = column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    # a NaN counts as empty in a column of numbers only: as text it is a fault
    empty = column.is_null().to_numpy() | (values != values) & column.dtype.is_numeric()
    faulty_rows = np.flatnonzero(~(np.isfinite(values) | empty))
    if len(faulty_rows):
        what = f'{column.name} = "{column[int(faulty_rows[0])]}" is not a number'
        raise FeedError(
            _line(path, lines[faulty_rows[0]]), what, "Write numbers; give each category a number of its own"
        )
    return values


def _dates(path: Path, column: pl.Series, name: str = "ts", lines: Ints | None = None) -> Ints:
    """Return the dates of a column as int64 ns at 00:00 UTC. `lines` are the rows of the file, by default all.

    Raises FeedError with the line for a date that cannot be read or has a time of day.
    """
    stamps, date_name = nanoseconds(column), "the date" if name == "ts" else f"the date in column {name}"
    for faulty, fault, remedy in (
        (stamps == NO_STAMP, f"{date_name} cannot be read", "Write it as 2020-08-31"),
        (stamps % DAY_NS != 0, f"{name} has an hour", "Write the date that the value is about, 2020-08-31"),
    ):
        if faulty.any():
            row = int(np.argmax(faulty))
            raise FeedError(_line(path, row if lines is None else lines[row]), fault, remedy)
    return stamps


def _line(path: Path, row: int | np.int64) -> str:
    """Return "file:line" of a row, counted from 0; the first line of a CSV file has the names of columns."""
    return f"{path.name}:{int(row) + 2}"


def known_from(days: Ints, available: Available, house: Sessions) -> Ints:
    """Return int64, ascending: the instant from which the value of each of `days` (ascending) is known.

    The instants are closes or opens (`available`) of `house`, the account's calendar; days beyond its end are omitted.
    """
    first = first_session(days, available, house.days)
    first = first[first < len(house.days)]
    return (house.closes if available == "close" else house.opens)[first]


def series_digest(feed: str, files: Sequence[Series], rate: RateFile | None = None) -> str:
    """Return hex BLAKE2b over `feed`, the digest of a recorded market, and its series; `feed` if there are no files."""
    named = [series.selection for series in files]
    paths = [series.path for series in files]
    if rate is not None and rate.path is not None:
        named, paths = [*named, rate.name], [*paths, rate.path]
    return digest(tuple(paths), f"{feed}|{'|'.join(named)}") if paths else feed
