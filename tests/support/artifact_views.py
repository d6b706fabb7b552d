"""Drawn returns, and the view that a trained policy has of them."""

import numpy as np

from quantd.models.observation.return_features import LOOKBACK
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.view import View


def moves(seed: int, size: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(0.0, draw.uniform(0.003, 0.03, size), (LOOKBACK, size))


def view_of(
    returns: np.ndarray, symbols: tuple[str, ...], weights: np.ndarray | None = None, missing: int | None = None
) -> View:
    held = np.zeros(len(symbols)) if weights is None else weights
    ring = Ring(len(symbols), LOOKBACK)
    prices = 100.0 * np.vstack([np.ones(len(symbols)), np.cumprod(1.0 + returns, axis=0)])
    if missing is not None:
        prices[:, missing] = np.nan
    for row in prices:
        ring.append(row)
    return View(
        universe=Universe(tuple(Instrument(s) for s in symbols)), ring=ring, prices=prices[-1],
        weights=held, cash=1.0 - float(held.sum()), equity=1.0, time=0, sample_time=0,
    )  # fmt: skip


HELD = np.array([0.2, 0.3, 0.1])
