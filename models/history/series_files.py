"""Series of a training, as known at each close of a panel; they become known by the rules of [feed] macro and [feed]
series."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from quantd.bundled import absent, find
from quantd.models.history.panel import MacroSource, SeriesSource
from quantd.trading.display_text import session_date
from quantd.trading.instruments import calendar_of
from quantd.trading.macro import Available, DatedValues, RepeatedDate, dated_values, on_sessions
from quantd.trading.market import Floats, Ints


class SeriesError(ValueError):
    """A file that is not a series of the declared form; the message names the file and the remedy."""


def macro_at(day_ns: NDArray[np.int64], source: MacroSource, symbols: Sequence[str]) -> Floats:
    """Return float64[T], the newest value known at the close of each session of `symbols`; NaN before the first.

    Raises SeriesError for an unreadable file, a missing column, and a date or value that cannot be read.
    """
    path = find(source.path)
    frame = _read(path)
    column = next((name for name in ("value", "close") if name in frame.columns), "value")
    values = _numbers(path, frame, column)
    # zeros: the values are of one column; None: the file has no dates of publication
    dated = _dated(path, np.zeros(len(values), dtype=np.int64), _days(path, frame, "ts"), values, None)
    by_session: Floats = on_sessions(dated, 1, day_ns, _available(source.available, symbols)).at_closes()[:, 0]
    return by_session


def series_at(day_ns: NDArray[np.int64], source: SeriesSource, symbols: Sequence[str]) -> Floats:
    """Return float64[T, N], the newest valid value of each symbol known at the close of each session; NaN for none.

    Raises SeriesError for an unreadable file, a missing column, and a date or value that cannot be read.
    """
    path = find(source.path)
    frame = _read(path)
    if missing := [name for name in ("symbol", source.column) if name not in frame.columns]:
        raise SeriesError(f"{path}: column {missing[0]} is missing (it has {', '.join(frame.columns)})")
    frame = frame.with_columns(pl.col("symbol").cast(pl.String).str.strip_chars())
    frame = frame.filter(pl.col("symbol").is_in(list(symbols)))
    numbers = {symbol: column for column, symbol in enumerate(symbols)}
    columns = frame["symbol"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
    published = _days(path, frame, "available") if "available" in frame.columns else None
    dated = _dated(path, columns, _days(path, frame, "ts"), _numbers(path, frame, source.column), published)
    available = _available(source.available, symbols)
    return on_sessions(dated, len(symbols), day_ns, available, source.valid_days).at_closes()


def _available(given: Available, symbols: Sequence[str]) -> Available:
    """Return when a value becomes known: `given`, or "close" where all markets are always open, because the next
    open is the close."""
    return "close" if all(calendar_of(symbol) == "24/7" for symbol in symbols) else given


def _dated(path: Path, columns: Ints, days: Ints, values: Floats, published: Ints | None) -> DatedValues:
    """Return the dated values of a file. Raises SeriesError for two values of one date, and for a file without a
    value."""
    try:
        dated = dated_values(columns, days, values, published)
    except RepeatedDate as error:
        raise SeriesError(f"{path}: {session_date(int(days[error.row]))} has two values; keep one") from None
    if not len(dated.values):
        raise SeriesError(f"{path}: no row has a date and a number; check its columns")
    return dated


def _read(path: Path) -> pl.DataFrame:
    """Read a CSV or parquet file with a column ts. Raises SeriesError if that is not possible."""
    if not path.is_file():
        raise SeriesError(f"{path}: {absent(path)}")
    is_text = path.suffix.lower() in {".csv", ".txt"}
    try:
        frame = pl.read_csv(path, infer_schema=False) if is_text else pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise SeriesError(f"{path}: it cannot be read: {str(error).splitlines()[0][:120]}") from None
    if "ts" not in frame.columns:
        raise SeriesError(f"{path}: it has the columns {', '.join(frame.columns)}; name one of them ts")
    return frame


def _days(path: Path, frame: pl.DataFrame, name: str) -> Ints:
    """Return the dates of a column as int64[rows], in ns at 00:00 UTC. Raises SeriesError for anything else."""
    column = frame[name]
    try:
        if column.dtype == pl.String:
            column = column.str.strip_chars().str.slice(0, 10).str.to_date("%Y-%m-%d")
        days = column.cast(pl.Date).cast(pl.Datetime("ns")).dt.epoch("ns")
    except pl.exceptions.PolarsError:
        raise SeriesError(f"{path}: column {name} has no dates; write them as 2020-08-31") from None
    if days.null_count():
        raise SeriesError(f"{path}: column {name} has an empty date; write it as 2020-08-31")
    return days.to_numpy()


def _numbers(path: Path, frame: pl.DataFrame, name: str) -> Floats:
    """Return the numbers of a column as float64[rows], NaN for an empty value. Raises SeriesError for a text."""
    if name not in frame.columns:
        raise SeriesError(f"{path}: it has the columns {', '.join(frame.columns)}; name one of them {name}")
    column = frame[name]
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
    values = column.cast(pl.Float64, strict=False)
    wrong = values.is_null() & column.is_not_null()
    if wrong.any():
        raise SeriesError(f'{path}: {name} = "{column.filter(wrong)[0]}" is not a number; write numbers')
    return values.fill_null(np.nan).to_numpy()
