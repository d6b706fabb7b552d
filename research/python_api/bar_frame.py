"""Bars of a user's frame, polars or pandas, as the columns that the engine reads."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from quantd import bundled
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import BarFrame, in_order
from quantd.adapters.feeds.table_files.moments import moments
from quantd.adapters.feeds.table_files.reader import ReadOptions, Table, joined, read_frame, read_tables
from quantd.adapters.feeds.table_files.roles import is_time
from quantd.research.metrics.percent import PERCENT, percent_shape
from quantd.trading.display_text import some
from quantd.trading.statistics import PERIODS_PER_YEAR

BY_PATH: Final = 'give the path of the file itself, bars="FILE", which is read with its header lines'
"""Remedy for a frame without the names that the header lines of its file hold."""

DATES: Final = (
    'Write it as 2024-01-31, in polars str.to_date("%d/%m/%Y"), in pandas pd.to_datetime(dates, dayfirst=True)'
)
"""Remedy for dates that cannot be read, or have two readings."""

DEFAULT_SYMBOL: Final = "ASSET"
"""Symbol of the instrument of a frame without a column of symbols."""


def bar_frame(frame: object) -> BarFrame:
    """Return the bars of a polars or pandas frame, of frames by symbol, or of a file that any tool wrote.

    A row is one bar, in columns of any order and usual names: time, open, high, low, close, volume, and the symbol
    where there are several. In pandas the index may hold the times, and the columns may be pairs (price, symbol), as
    yfinance makes them. Columns of splits and dividends become actions. Raises FeedError for columns that it cannot
    interpret.
    """
    return frame if isinstance(frame, BarFrame) else read_bars(frame)


def read_bars(
    bars: object,
    *,
    symbol: str = "",
    zone: str = "",
    dates: Literal["", "day-first", "month-first"] = "",
    unit: Literal["", "s", "ms", "us", "ns"] = "",
    scale: Literal["", "1", "1e-4", "1e-9", "1e-16"] = "",
    decimal: Literal["", "point", "comma"] = "",
    prices: Literal["", "raw", "adjusted"] = "",
    overlap: Literal["", "first", "last"] = "",
    columns: Mapping[str, str] | None = None,
) -> BarFrame:
    """Read bars of any table as a backtest reads its `bars`. The arguments state facts that the table does not have.

    `symbol` names the instrument of a table without symbols, `zone` the time zone of times without an offset. `dates`
    is "day-first" or "month-first". `unit` is the unit of integer time stamps ("s", "ms", "us", "ns"), `scale` the unit
    of integer prices ("1", "1e-4", "1e-9", "1e-16"). `decimal` is "point" or "comma". `prices` is "adjusted" for prices
    that hold the splits and dividends of their table, else "raw". `overlap` is the file, "first" or "last", whose bars
    count where several files differ. `columns` names columns by role: {"close": "Last"}.
    The result has `frame`, `actions` and `statements`, which say how each column was read. Raises FeedError for a table
    that it cannot interpret.
    """
    asked = ReadOptions(symbol, zone, dates, unit, scale, decimal, columns or {}, prices=prices, overlap=overlap)
    try:
        if isinstance(bars, str | os.PathLike):
            return _of_table(read_tables(Path(bars), asked), Path(bars).name)
        if not isinstance(bars, Mapping):
            return _of_table(_table_of(bars, asked, symbol or DEFAULT_SYMBOL), "bars")
        tables = []
        for name, frame in bars.items():
            if not isinstance(name, str):
                raise FeedError("bars", f"the key {name!r} is no symbol", "Give frames by symbol: {'SPY': frame}")
            if symbol not in ("", name):
                fault = f"the key {name} is the symbol of its frame, and the argument symbol names {symbol}"
                raise FeedError("bars", fault, "Leave the argument out")
            tables.append(_table_of(frame, asked, name))
            if other_names := set(tables[-1].frame["symbol"].cast(pl.String).unique()) - {name}:
                fault = f"the key {name} names a frame with the symbol {some(sorted(other_names))}"
                raise FeedError("bars", fault, "Write its symbol as the key, or give one frame without a mapping")
        if not tables:
            raise FeedError("bars", "the mapping has no frame", "Give frames by symbol: {'SPY': frame}")
        return _of_table(joined(tables), "bars")
    except FeedError as error:
        raise FeedError(error.source, error.what, _in_python(error.remedy)) from None


def _in_python(remedy: str) -> str:
    """Return a remedy that names arguments of `read_bars` in place of options of a command."""
    remedy = remedy.replace("--symbol and the symbol, such as ", "")
    with_columns = re.sub(r"--column (\w+)=([^\s;]+)", r'quantd.read_bars(bars, columns={"\1": "\2"})', remedy)
    return re.sub(
        r"--(symbol|zone|dates|unit|scale|decimal|prices|overlap) ([\w./+-]+)",
        lambda match: f'quantd.read_bars(bars, {match[1]}="{match[2]}")' if match[2] != "with" else
        f"{match[1]} in quantd.read_bars(bars, {match[1]}=...) with", with_columns,
    )  # fmt: skip


def _table_of(frame: object, asked: ReadOptions, default_symbol: str) -> Table:
    """Return the table of one frame. `asked` are the caller's statements about its columns and units.

    `default_symbol` is for a frame without a column of symbols. Raises FeedError for an object that is no frame, and
    for columns that cannot be interpreted.
    """
    table = of_pandas(frame) if is_pandas(frame) else frame
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if not isinstance(table, pl.DataFrame):
        fault = f"{type(frame).__name__} is not a frame of bars"
        raise FeedError("bars", fault, "Give a polars or pandas DataFrame with one row per bar, or the path of a file")
    try:
        return read_frame(table, asked, alone=default_symbol)
    except FeedError as error:
        lost_header = "no column is named" in error.what or "blocks of prices" in error.what
        by_path = f"; or {BY_PATH}" if lost_header else ""
        raise FeedError(error.source, error.what, f"{error.remedy}{by_path}") from None


def _of_table(table: Table, name: str) -> BarFrame:
    """Return bars sorted by symbol and time. Repeated rows of one symbol and time stay: a later check refuses each."""
    symbols = table.frame["symbol"]
    kind: pl.String | pl.Enum = pl.String()
    if symbols.dtype == pl.Categorical:  # of millions of bars: numbers in the order of the names
        kind = pl.Enum(symbols.unique().cast(pl.String).drop_nulls().sort())
    bars = in_order(table.frame.with_columns(symbols.cast(kind)))
    return BarFrame(bars, name, table.actions if len(table.actions) else None, table.statements)


def is_pandas(frame: object) -> bool:
    """Return whether an object is a pandas frame, without importing pandas."""
    pandas = sys.modules.get("pandas")  # a frame of pandas exists only where pandas is loaded
    return pandas is not None and isinstance(frame, pandas.DataFrame)


def is_frame(value: object) -> bool:
    """Return whether an object is a frame of polars or pandas."""
    return isinstance(value, pl.DataFrame) or is_pandas(value)


def of_pandas(frame: Any) -> pl.DataFrame:
    """Return a pandas frame in long form: its index as a column, and columns named by pairs (price, symbol) as one row
    for each symbol.

    Raises FeedError where the index and a column have the same name.
    """
    if frame.columns.nlevels == 2:
        # `level` has the prices: pairs are (price, symbol) or (symbol, price)
        level = next((k for k in (0, 1) if {"open", "close"} <= {str(n).lower() for n in frame.columns.levels[k]}), 0)
        frame = frame.stack(1 - level).rename_axis(["ts", "symbol"])
        frame = frame.dropna(how="all")
    pandas = sys.modules["pandas"]
    has_default_index = isinstance(frame.index, pandas.RangeIndex) and frame.index.name is None
    has_time_column = any(is_time(str(name)) for name in frame.columns)
    # an index with names, or one that may have the only times, becomes columns
    if not has_default_index and (not has_time_column or any(name is not None for name in frame.index.names)):
        levels = getattr(frame.index, "levels", [frame.index])
        has_times = any(level.dtype.kind == "M" for level in levels)  # beside them, a level without a name has symbols
        names = [
            name or ("symbol" if has_times and level.dtype.kind != "M" else "ts")
            for name, level in zip(frame.index.names, levels, strict=True)
        ]
        if len({*names, *map(str, frame.columns)}) < len(names) + len(frame.columns):
            fault = f"a level of its index has the name of a column (levels {', '.join(map(str, names))})"
            raise FeedError("bars", fault, BY_PATH[0].upper() + BY_PATH[1:])
        frame = frame.rename_axis(names).reset_index()
    return pl.DataFrame([_column(str(name), frame[name]) for name in frame.columns])


def _column(name: str, column: Any) -> pl.Series:
    """Return a pandas column as a polars series, without pyarrow: instants with a time zone in UTC, text as text."""
    import pandas

    if isinstance(column.dtype, pandas.PeriodDtype):
        column = column.dt.to_timestamp()
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return pl.Series(name, column.to_numpy().astype("datetime64[ns]")).dt.replace_time_zone("UTC")
    if column.dtype.kind == "M":  # dates and times
        # polars does not read whole seconds, which pandas makes of dates
        return pl.Series(name, column.to_numpy().astype("datetime64[ns]"))
    # floats, and integers with and without a sign
    if column.dtype.kind in "fiu":
        return pl.Series(name, column.to_numpy())
    # pandas has its own values for what is missing
    return pl.Series(name, column.astype(object).where(column.notna(), None).tolist())


def dates_of(column: pl.Series, whose: str) -> pl.Series:
    """Return dates or times of any usual form as Datetime in ns. Raises FeedError for one that is none, or has two
    readings."""
    try:
        stamps = moments(column, whose).values
    except FeedError as error:
        raise FeedError(error.source, error.what, DATES) from None
    if len(unreadable := column.filter(stamps.is_null())):
        raise FeedError(whose, f'"{unreadable[0]}" is no date', DATES)
    return stamps.cast(pl.Datetime("ns", getattr(stamps.dtype, "time_zone", None)))


def factor_columns(frame: object) -> dict[str, dict[int, float]]:
    """Return the factors of a frame: name -> return by date (ns at 00:00 UTC). Raises FeedError without dates."""
    table = of_pandas(frame) if is_pandas(frame) else frame
    if not isinstance(table, pl.DataFrame):
        fault = f"{type(frame).__name__} is not a frame of factor returns"
        raise FeedError("factors", fault, "Give a polars or pandas DataFrame with dates and a column per factor")
    date_column = next(filter(is_time, table.columns), None)
    if date_column is None:
        fault = f"there is no column of dates (the columns are {', '.join(table.columns)})"
        raise FeedError("factors", fault, "Name it ts or date")
    stamps = dates_of(table[date_column], f"column {date_column} of the factors")
    dates_ns = stamps.dt.truncate("1d").dt.epoch("ns").to_list()
    if (repeated := len(dates_ns) - len(set(dates_ns))) > 0:
        raise FeedError("factors", f"{repeated} dates are repeated", "Give one row for each date")
    names = [name for name in table.columns if name != date_column]
    for name in names:
        if table[name].cast(pl.Float64, strict=False).null_count() > table[name].null_count():
            raise FeedError("factors", f"column {name} has text", "Leave it out, or write numbers")
        # returns in percent would give a beta that is a hundred times too small
        if shape := percent_shape(table[name].cast(pl.Float64).drop_nulls().to_numpy(), PERIODS_PER_YEAR):
            raise FeedError("factors", f"{name}: {shape}", f"It {PERCENT}")
    return {name: dict(zip(dates_ns, table[name].cast(pl.Float64).to_list(), strict=True)) for name in names}


EXAMPLE: Final = ("BAC", "IWM", "QQQ", "SPY")
"""Symbols of the bundled bars without a split since EXAMPLE_YEAR."""

EXAMPLE_YEAR: Final = 2012


def example_bars() -> pl.DataFrame:
    """Return bundled daily bars of four US symbols, 2012 to 2021, for examples.

    Prices are not adjusted: there was no split in these years, and dividends are not included.
    """
    frame = pl.read_parquet(bundled.FOLDER / "data" / "us_daily.parquet")
    return frame.filter(pl.col("symbol").is_in(EXAMPLE) & (pl.col("ts").dt.year() >= EXAMPLE_YEAR))
