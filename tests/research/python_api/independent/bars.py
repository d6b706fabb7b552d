"""Frames of daily bars for the comparison with an independent engine: the bundled ones, and generated ones."""

from datetime import date
from typing import Final

import numpy as np
import polars as pl

from quantd import example_bars

SYMBOLS: Final = tuple(f"S{k:02d}" for k in range(20))
SESSIONS: Final = 1_500
SEED: Final = 7_301


def bundled() -> pl.DataFrame:
    """Return the bars of `quantd.example_bars`: four symbols, 2012 to 2021."""
    return example_bars()


def generated(sessions: int = SESSIONS, seed: int = SEED) -> pl.DataFrame:
    """Return random bars of 20 symbols on true sessions of New York.

    Opens gap by up to 18 % in either direction, beyond the usual collars. About one bar in 60 is missing, alone or up
    to four in a row, never all of a session. Some volumes are zero, and some so thin that orders fill in part. Two
    symbols are listed late and one ends early. No bar looks like an error to the checks of the feed.
    """
    days: list[date] = example_bars()["ts"].dt.date().unique().sort().to_list()[:sessions]
    rng = np.random.default_rng(seed)
    frames = [_one(rng, k, days) for k in range(len(SYMBOLS))]
    return pl.concat(frames).sort("ts", "symbol")


def _one(rng: np.random.Generator, k: int, days: list[date]) -> pl.DataFrame:
    """Return the bars of symbol number `k`."""
    size = len(days)
    daily = rng.uniform(0.006, 0.02)
    gaps = rng.normal(0.0, 0.4 * daily, size)
    rare = rng.random(size) < 0.01
    gaps[rare] = rng.uniform(0.06, 0.18, int(rare.sum())) * rng.choice([-1.0, 1.0], int(rare.sum()))
    gaps[0] = 0.0
    inside = rng.normal(0.0003, daily, size)
    close = rng.uniform(8.0, 400.0) * np.cumprod((1.0 + gaps) * (1.0 + inside))
    close = np.round(np.maximum(close, 1.0), 4)
    before = np.concatenate((close[:1], close[:-1]))
    open_ = np.round(before * (1.0 + gaps), 4)
    spread = 1.0 + np.abs(rng.normal(0.0, 0.3 * daily, (2, size)))
    high = np.round(np.maximum(open_, close) * spread[0], 4)
    low = np.round(np.minimum(open_, close) / spread[1], 4)
    usual = 10.0 ** rng.uniform(2.2, 6.5)
    volume = np.round(usual * np.exp(rng.normal(0.0, 0.5, size)))
    volume[rng.random(size) < 0.01] = 0.0
    frame = pl.DataFrame({
        "ts": days, "symbol": [SYMBOLS[k]] * size, "open": open_, "high": high, "low": low, "close": close,
        "volume": volume,
    })  # fmt: skip
    return frame.filter(pl.Series(_present(rng, k, size)))


def _present(rng: np.random.Generator, k: int, size: int) -> np.ndarray:
    """Return bool[size]: the sessions with a bar. The first symbol has all."""
    present = np.ones(size, dtype=np.bool_)
    if k == 0:
        return present
    for start in np.flatnonzero(rng.random(size) < 0.01).tolist():
        present[start : start + int(rng.integers(1, 5)) * int(rng.random() < 0.4) + 1] = False
    if k in (3, 11):
        present[: size // 5 * (1 + k // 10)] = False
    if k == 7:
        present[-size // 4 :] = False
    return present
