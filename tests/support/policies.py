"""A small market for policies: views of it, and a walk through it that keeps memory as the journal does."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.policies.loading import answer, load
from quantd.trading.codec import memory_of
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ports import Policy
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import Memory, View

Array = NDArray[np.float64]
FIRST_DAY = 18_262
"""2020-01-01, in days since 1970."""


def prices_of(returns: Array) -> Array:
    return 100.0 * np.vstack([np.ones((1, returns.shape[1])), np.cumprod(1.0 + returns, axis=0)])


def market(seed: int, size: int, rows: int) -> Array:
    """float64[rows, size] prices with one common factor."""
    draw = np.random.default_rng(seed)
    moves = draw.normal(0.0, 0.01, (rows - 1, 1)) + draw.normal(
        0.0003, draw.uniform(0.002, 0.03, size), (rows - 1, size)
    )
    return prices_of(moves)


def universe_of(size: int, order: list[int] | None = None) -> Universe:
    names = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:size]
    return Universe(tuple(Instrument(names[k]) for k in (order or range(size))))


def view_of(prices: Array, lookback: int, weights: Array | None = None, order: list[int] | None = None) -> View:
    """What a policy sees after the last row of `prices`; business days from 2020 on, closing at 21:00."""
    ring = Ring(prices.shape[1], lookback)
    for row in prices:
        ring.append(row)
    held = np.zeros(prices.shape[1]) if weights is None else weights
    ts = close_of(len(prices) - 1)
    return View(
        universe=universe_of(prices.shape[1], order), ring=ring, prices=prices[-1], weights=held,
        cash=1.0 - float(held.sum()), equity=1e5, time=ts, sample_time=ts,
    )  # fmt: skip


def close_of(row: int) -> int:
    day = int(np.busday_offset(np.datetime64(FIRST_DAY, "D"), row, roll="forward").astype(int))
    return day * DAY_NS + DAY_NS * 21 // 24


def made(name: str, params: Mapping[str, object], folder: Path = Path()) -> Policy:
    return load(name, params, folder)


def walk(
    policy: Policy,
    prices: Array,
    *,
    every: int = 1,
    memory: Memory | None = None,
    start: int = 1,
    book: Array | None = None,
) -> Iterator[tuple[int, Decided, Array]]:
    """(row, answer, the book's weights before it) for each ask, from row `start` on. The book takes what is answered at
    once and drifts with prices; memory goes through its packed form each time, as in the journal."""
    size = prices.shape[1]
    universe = universe_of(size)
    ring = Ring(size, policy.lookback)
    held = np.zeros(size) if book is None else book.copy()
    kept: Memory = {} if memory is None else memory
    for row, price in enumerate(prices):
        ring.append(price)
        if row and row >= start:
            growth = np.nan_to_num(price / prices[row - 1], nan=1.0)
            held = held * growth / (1.0 + float(held @ (growth - 1.0)))
        if row < start or (row - start) % every:
            continue
        ts = close_of(row)
        weights = held.copy()
        weights.flags.writeable = False
        view = View(
            universe=universe, ring=ring, prices=price, weights=weights, cash=1.0 - float(weights.sum()), equity=1e5,
            time=ts, sample_time=ts,
        )  # fmt: skip
        decision = answer(policy, Ask(0, 0, view, kept))
        if not decision.failed:
            kept = memory_of(decision) or kept
        yield row, decision, weights
        if decision.weights is not None:
            held = np.frombuffer(decision.weights).copy()


def weights_in(decision: Decided) -> Array:
    assert not decision.failed, decision.failed
    assert decision.weights is not None
    return np.frombuffer(decision.weights)
