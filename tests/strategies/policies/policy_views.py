"""A random market, and the view that a policy has of it."""

import numpy as np
from numpy.typing import NDArray

from quantd.trading.bars import BarRing
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.view import View

LOOKBACK = 30


def view_of(prices: NDArray[np.float64], symbols: str, weights: NDArray[np.float64] | None = None) -> View:
    ring, bars = Ring(prices.shape[1], LOOKBACK), BarRing(prices.shape[1], 8 * LOOKBACK)
    for number, row in enumerate(prices):
        ring.append(row)
        bars.forming[:] = [row, row * 1.01, row * 0.99, row, np.where(np.isfinite(row), 1e6, np.nan)]
        bars.sample(number, row, [])
    return View(
        universe=Universe(tuple(Instrument(s) for s in symbols)),
        ring=ring,
        prices=prices[-1] if len(prices) else np.full(prices.shape[1], np.nan),
        weights=np.zeros(prices.shape[1]) if weights is None else weights,
        cash=1.0,
        equity=1e5,
        time=len(prices),
        sample_time=len(prices),
        bars=bars,
    )


def market(seed: int, size: int, rows: int = LOOKBACK + 20) -> NDArray[np.float64]:
    draw = np.random.default_rng(seed)
    moves = draw.normal(0.0, 0.01, (rows, 1)) + draw.normal(0.0, draw.uniform(0.002, 0.03, size), (rows, size))
    return 100.0 * np.cumprod(1.0 + moves, axis=0)
