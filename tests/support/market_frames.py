"""Small frames of daily bars, whose opens are given by symbol."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl


def sessions(count: int, first: date = date(2024, 1, 2)) -> list[date]:
    """Weekdays from `first` on, without the holidays of New York in the first half of 2024."""
    closed = {date(2024, 1, 15), date(2024, 2, 19), date(2024, 3, 29), date(2024, 5, 27), date(2024, 6, 19)}
    found, day = [], first
    while len(found) < count:
        if day.weekday() < 5 and day not in closed:
            found.append(day)
        day += timedelta(days=1)
    return found


def frame_of(opens: Mapping[str, Sequence[float | None]]) -> pl.DataFrame:
    """Bars with these opens from 2024-01-02 on, closed where they opened; None is no bar."""
    rows = [
        (day, symbol, price, price, price, price, 1e6)
        for symbol, prices in opens.items()
        for day, price in zip(sessions(len(prices)), prices, strict=True)
        if price is not None
    ]
    names = ["ts", "symbol", "open", "high", "low", "close", "volume"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("ts").cast(pl.Datetime("us")))


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
    names = ["ts", "symbol", "open", "high", "low", "close", "volume"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("ts").cast(pl.Datetime("us")))
