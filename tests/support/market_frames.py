"""Small frames of daily bars, whose opens are given by symbol."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from quantd.adapters.calendars import sessions as calendar_sessions
from tests.support.checkout import DATA


def sessions(count: int, first: date = date(2024, 1, 2)) -> list[date]:
    """Weekdays from `first` on, without the holidays of New York in the first half of 2024."""
    closed = {date(2024, 1, 15), date(2024, 2, 19), date(2024, 3, 29), date(2024, 5, 27), date(2024, 6, 19)}
    days, day = [], first
    while len(days) < count:
        if day.weekday() < 5 and day not in closed:
            days.append(day)
        day += timedelta(days=1)
    return days


def bars_of(rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    """Bars of rows with date, symbol, open, high, low, close and volume."""
    names = ["ts", "symbol", "open", "high", "low", "close", "volume"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("ts").cast(pl.Datetime("us")))


def frame_of(opens: Mapping[str, Sequence[float | None]]) -> pl.DataFrame:
    """Bars with these opens from 2024-01-02 on, closed where they opened; None is no bar."""
    rows = [
        (day, symbol, price, price, price, price, 1e6)
        for symbol, prices in opens.items()
        for day, price in zip(sessions(len(prices)), prices, strict=True)
        if price is not None
    ]
    return bars_of(rows)


def crashed_fund(seed: int, count: int = 4061) -> pl.DataFrame:
    """Adjusted bars of a generated leveraged fund that in the middle really falls from 8.38 to 5.79 at the open, and to
    5.15 at the close.

    The first three bars are flat, so that an order at the first close fills at that price.
    """
    days = np.array(calendar_sessions("XNYS", date(2005, 1, 1), date(2022, 12, 31)).day_ns[:count])
    draw, middle = np.random.default_rng(seed), count // 2
    move, gap = draw.normal(0.0002, 0.035, count), draw.normal(0, 0.008, count)
    move[:3] = gap[:3] = 0
    move[middle] = np.log(5.15 / 8.38)
    close = np.exp(np.cumsum(move))
    close = (close * 8.38 / close[middle - 1]).round(6)
    opened = np.r_[close[:1], close[:-1] * np.exp(gap[1:])].round(6)
    opened[middle] = 5.79
    high, low = np.maximum(opened, close) * 1.003, np.minimum(opened, close) * 0.997
    volume = draw.integers(100_000_000, 200_000_000, count).astype(float)
    prices = {"open": opened, "high": high.round(6), "low": low.round(6), "close": close}
    return pl.DataFrame({"ts": pl.from_epoch(pl.Series(days), "ns"), "symbol": "FUND", **prices, "volume": volume})


def random_frame(seed: int, symbols: int, count: int) -> pl.DataFrame:
    """Bars of a random walk that opens where it closed before, moved by a little."""
    draw = np.random.default_rng(seed)
    days = sessions(count)
    rows = []
    for number in range(symbols):
        close = 50.0 * np.cumprod(1.0 + 0.01 * draw.normal(size=count))
        opened = np.r_[50.0, close[:-1]] * (1.0 + 0.002 * draw.normal(size=count))
        high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
        rows += [
            (day, f"S{number:02}", *(round(float(x[k]), 6) for x in (opened, high, low, close)), 1e6)
            for k, day in enumerate(days)
        ]
    return bars_of(rows)


def price_files(folder: Path, symbols: Sequence[str], year: int) -> Path:
    """The folder with a file of daily bars from this year on for each symbol, in the columns of a page."""
    bars = pl.read_parquet(DATA / "us_daily.parquet").filter(pl.col("ts").dt.year() >= year)
    columns = [pl.col(name).alias(name.title()) for name in ("open", "high", "low", "close", "volume")]
    for symbol in symbols:
        of = bars.filter(pl.col("symbol") == symbol).with_columns(pl.col("ts").dt.date().alias("Date"))
        of.select("Date", *columns).write_csv(folder / f"{symbol}.csv")
    return folder
