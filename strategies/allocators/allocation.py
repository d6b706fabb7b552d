"""What an allocation is expected to do, from the returns it was made on: every figure varies with the data."""

from math import sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.trading.market import Bools, Floats
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.trading.view import View

LEAST: Final = 20
"""Fewest samples from which anything is expected."""


class Allocation(Struct, frozen=True):
    """One allocation of one book. Weights are fractions of it by symbol, those that are not 0; `trades` target less
    current. `rebalance`: whether one of the trades is larger than the threshold it was made with.

    `expected_return` and `expected_risk` (standard deviation) are a year's, of the target weights held through the last
    `samples` samples; `confidence` is the probability that the mean behind them is above 0, of a normal with the standard
    error of the sample. None where a position's history is shorter than `LEAST` samples. No forecast: what was.
    """

    strategy: str
    method: str
    target: dict[str, float]
    current: dict[str, float]
    rebalance: bool
    trades: dict[str, float]
    expected_return: float | None
    expected_risk: float | None
    confidence: float | None
    samples: int
    time: int


def allocation(
    view: View,
    weights: Floats,
    *,
    strategy: str,
    method: str,
    lookback: int,
    threshold: float = 0.0,
    samples_a_year: float = PERIODS_PER_YEAR,
) -> Allocation:
    """The allocation that target `weights` float64[N] are for the book of `view`."""
    change = weights - view.weights
    # from the first sample on that every position has: an instrument of which nothing is held is no matter
    returns = view.synchronous(lookback)[:, weights != 0.0]
    known: Bools = np.logical_and.reduce(np.isfinite(returns), axis=1)
    first = len(known) if not known.any() else int(known.argmax())
    path = returns[first:].dot(weights[weights != 0.0])
    count = len(path)
    mean = risk = confidence = None
    if count >= LEAST and np.isfinite(path).all() and weights.any():
        average, deviation = float(path.mean()), float(path.std(ddof=1))
        mean, risk = average * samples_a_year, deviation * sqrt(samples_a_year)
        if deviation > 1e-15:
            confidence = NormalDist().cdf(average / deviation * sqrt(count))
    return Allocation(
        strategy=strategy,
        method=method,
        target=_named(view, weights),
        current=_named(view, view.weights),
        rebalance=bool((np.abs(change) > threshold).any()),
        trades=_named(view, change),
        expected_return=mean,
        expected_risk=risk,
        confidence=confidence,
        samples=count,
        time=view.time,
    )


def _named(view: View, values: Floats) -> dict[str, float]:
    symbols = view.universe.symbols
    return {symbols[k]: float(values[k]) for k in np.flatnonzero(values).tolist()}
