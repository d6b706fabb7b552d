"""A random market with steady volumes, and what a doubt prints of a run on it."""

import datetime as dt

import numpy as np
import polars as pl

from quantd.adapters.calendars import sessions

CALENDAR = sessions("XNYS", dt.date(2009, 1, 1), dt.date(2021, 12, 31))
FIRST = dt.date(2015, 1, 2)


def days(count: int, first: dt.date = FIRST) -> list[dt.date]:
    dates = [day for day in pl.from_epoch(pl.Series(CALENDAR.days), "ns").dt.date().to_list() if day >= first]
    return dates[:count]


def market(
    symbols: tuple[str, ...] = ("SPY", "TLT"), count: int = 300, *, drift: float = 0.0004, first: dt.date = FIRST,
    volatility: float = 0.01, seed: int = 3,
) -> pl.DataFrame:  # fmt: skip
    """Random daily bars with steady volumes. The moves are those of the seed, whatever the drift is."""
    draw, parts = np.random.default_rng(seed), []
    for symbol in symbols:
        moves = draw.normal(0.0, volatility, count)
        close = 50.0 * np.exp(np.cumsum(moves - moves.mean() + drift))
        parts.append(pl.DataFrame({
            "ts": days(count, first), "symbol": symbol, "open": close * np.exp(draw.normal(0, 0.001, count)),
            "close": close, "volume": draw.uniform(1e6, 2e6, count),
        }))  # fmt: skip
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    return pl.concat(parts).with_columns(high=top * 1.001, low=bottom * 0.999)


def changed(frame: pl.DataFrame, symbol: str, day: dt.date, **columns: float) -> pl.DataFrame:
    """Multiply columns of one bar."""
    there = (pl.col("symbol") == symbol) & (pl.col("ts") == day)
    return frame.with_columns(
        pl.when(there).then(pl.col(name) * by).otherwise(pl.col(name)).alias(name) for name, by in columns.items()
    )


def even(view):
    return np.full(view.prices.shape, 1.0 / len(view.prices))


def first_line(result: object) -> str:
    return str(result).split("\n")[0]
