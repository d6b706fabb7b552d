"""Bars of a user's frame, polars or pandas, as the columns that the engine reads."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from quantd import bundled
from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import BarFrame, nanoseconds
from quantd.adapters.feeds.tables.reader import Asked, Table, joined, read_frame, read_tables
from quantd.adapters.feeds.tables.roles import is_time
from quantd.research.metrics.percent import PERCENT, percent_shape
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import PERIODS_PER_YEAR

BY_PATH: Final = 'give the path of the file itself, bars="FILE", which is read with its header lines'
"""The remedy for a frame that lost what its file says."""

ALONE: Final = "ASSET"
"""Symbol of a frame that has one instrument and no column of symbols."""


def bar_frame(frame: object) -> BarFrame:
    """Return the bars of a polars or pandas frame, of frames by symbol, or of a file that any tool wrote.

    A row is one bar, in columns of any order and usual names: time, open, high, low, close, volume, and the symbol
    where there are several. In pandas the index may hold the times, and the columns may be pairs (price, symbol), as
    yfinance makes them. Columns of splits and dividends become actions. Raises FeedError for another shape.
    """
    return frame if isinstance(frame, BarFrame) else read_bars(frame)


def read_bars(
    bars: object,
    *,
    symbol: str = "",
    zone: str = "",
    dates: str = "",
    unit: str = "",
    scale: str = "",
    decimal: str = "",
    columns: Mapping[str, str] | None = None,
) -> BarFrame:
    """Read bars of any table, as `bars=` does, with what the table does not say.

    `symbol` is that of a table without one, `zone` the clock of times without an offset. `dates` is "day-first" or
    "month-first"; `unit` is that of integer stamps ("s", "ms", "us", "ns") and `scale` that of integer prices ("1",
    "1e-4", "1e-9", "1e-16"). `decimal` is "point" or "comma". `columns` names columns by role: {"close": "Last"}. The
    result has `frame`, `actions` and `statements`, what each column was taken for. Raises FeedError.
    """
    asked = Asked(symbol, zone, dates, unit, scale, decimal, columns or {})
    try:
        if isinstance(bars, str | os.PathLike):
            return _of_table(read_tables(Path(bars), asked), Path(bars).name)
        if not isinstance(bars, Mapping):
            return _of_table(_table_of(bars, asked, symbol or ALONE), "bars")
        tables = []
        for name, part in bars.items():
            if not isinstance(name, str):
                raise FeedError("bars", f"the key {name!r} is no symbol", "Give frames by symbol: {'SPY': frame}")
            tables.append(_table_of(part, asked, name))
        if not tables:
            raise FeedError("bars", "it has no frame", "Give frames by symbol: {'SPY': frame}")
        return _of_table(joined(tables), "bars")
    except FeedError as error:
        raise FeedError(error.source, error.what, _in_python(error.remedy)) from None


def _in_python(remedy: str) -> str:
    """Return a remedy with the arguments of `read_bars` for the options of a command."""
    plain = re.sub(r"--column (\w+)=(\S+)", r'quantd.read_bars(bars, columns={"\1": "\2"})', remedy)
    return re.sub(
        r"--(symbol|zone|dates|unit|scale|decimal) ([\w./+-]+)",
        lambda match: f'quantd.read_bars(bars, {match[1]}="{match[2]}")' if match[2] != "with" else
        f"{match[1]} in quantd.read_bars(bars, {match[1]}=...) with", plain,
    )  # fmt: skip


def _table_of(frame: object, asked: Asked, alone: str) -> Table:
    """Return the table of one frame; `alone` is its symbol without a column of symbols. Raises FeedError."""
    long = of_pandas(frame) if is_pandas(frame) else frame
    if isinstance(long, pl.LazyFrame):
        long = long.collect()
    if not isinstance(long, pl.DataFrame):
        text = f"{type(frame).__name__} is not a frame of bars"
        raise FeedError("bars", text, "Give a polars or pandas DataFrame with one row per bar, or the path of a file")
    try:
        return read_frame(long, asked, alone=alone)
    except FeedError as error:
        by_path = f"; or {BY_PATH}" if "no column is named" in error.what else ""
        raise FeedError(error.source, error.what, f"{error.remedy}{by_path}") from None


def _of_table(table: Table, name: str) -> BarFrame:
    """Return bars by symbol and time; those of several rows for one symbol and time are refused later, each."""
    bars = table.frame.with_columns(pl.col("symbol").cast(pl.String)).sort("symbol", "ts", maintain_order=True)
    return BarFrame(bars, name, table.actions if len(table.actions) else None, table.statements)


def is_pandas(frame: object) -> bool:
    """Return whether an object is a frame of pandas, which is not imported for it."""
    pandas = sys.modules.get("pandas")  # a frame of pandas exists only where pandas is loaded
    return pandas is not None and isinstance(frame, pandas.DataFrame)


def of_pandas(frame: Any) -> pl.DataFrame:
    """Return a pandas frame in long form: the index as a column, pairs of columns as rows.

    Raises FeedError where the index and a column have one name.
    """
    if frame.columns.nlevels == 2:
        level = next((k for k in (0, 1) if {"open", "close"} <= {str(n).lower() for n in frame.columns.levels[k]}), 0)
        frame = frame.stack(1 - level).rename_axis(["ts", "symbol"])
        frame = frame.dropna(how="all")
    pandas = sys.modules["pandas"]
    counted = isinstance(frame.index, pandas.RangeIndex) and frame.index.name is None
    timed = any(is_time(str(name)) for name in frame.columns)
    if not counted and (not timed or any(name is not None for name in frame.index.names)):
        names = [name or "ts" for name in frame.index.names]
        if len({*names, *map(str, frame.columns)}) < len(names) + len(frame.columns):
            text = f"its index has columns of their own names ({', '.join(map(str, names))})"
            raise FeedError("bars", text, BY_PATH[0].upper() + BY_PATH[1:])
        frame = frame.rename_axis(names).reset_index()
    return pl.DataFrame([_column(str(name), frame[name]) for name in frame.columns])


def _column(name: str, column: Any) -> pl.Series:
    """Return a column of pandas, without pyarrow: instants with a zone in UTC, text as text."""
    import pandas

    if isinstance(column.dtype, pandas.PeriodDtype):
        column = column.dt.to_timestamp()
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return pl.Series(name, column.to_numpy().astype("datetime64[ns]")).dt.replace_time_zone("UTC")
    if column.dtype.kind == "M":
        # polars does not read whole seconds, which pandas makes of dates
        return pl.Series(name, column.to_numpy().astype("datetime64[ns]"))
    if column.dtype.kind in "fiu":
        return pl.Series(name, column.to_numpy())
    # pandas has its own values for what is missing
    return pl.Series(name, column.astype(object).where(column.notna(), None).tolist())


def factor_columns(frame: object) -> dict[str, dict[int, float]]:
    """Return the factors of a frame: name -> return by date (ns at 00:00 UTC). Raises FeedError without dates."""
    long = of_pandas(frame) if is_pandas(frame) else frame
    if not isinstance(long, pl.DataFrame):
        text = f"{type(frame).__name__} is not a frame of factor returns"
        raise FeedError("factors", text, "Give a polars or pandas DataFrame with dates and a column per factor")
    dated = next(filter(is_time, long.columns), None)
    if dated is None:
        text = f"there is no column of dates (it has {', '.join(long.columns)})"
        raise FeedError("factors", text, "Name it ts or date")
    days = (nanoseconds(long[dated]) // DAY_NS * DAY_NS).tolist()
    if (repeated := len(days) - len(set(days))) > 0:
        raise FeedError("factors", f"{repeated} dates are there twice", "Give one row for each date")
    names = [name for name in long.columns if name != dated]
    for name in names:
        # a factor in percent has a beta that is a hundred times too small
        if shape := percent_shape(long[name].cast(pl.Float64).drop_nulls().to_numpy(), PERIODS_PER_YEAR):
            raise FeedError("factors", f"{name}: {shape}", f"It {PERCENT}")
    return {name: dict(zip(days, long[name].cast(pl.Float64).to_list(), strict=True)) for name in names}


EXAMPLE: Final = ("BAC", "IWM", "QQQ", "SPY")
"""Symbols of the bundled bars without a split since EXAMPLE_YEAR."""

EXAMPLE_YEAR: Final = 2012


def example_bars() -> pl.DataFrame:
    """Return bundled daily bars of four US symbols, 2012 to 2021, to try things with.

    They are raw: without a split in these years, and without dividends.
    """
    frame = pl.read_parquet(bundled.FOLDER / "data" / "us_daily.parquet")
    return frame.filter(pl.col("symbol").is_in(EXAMPLE) & (pl.col("ts").dt.year() >= EXAMPLE_YEAR))
