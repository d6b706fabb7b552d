"""Historical risk and return of an allocation, over past samples only."""

from math import sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.trading.market import Bools, Floats
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.trading.view import View

LEAST_SAMPLES: Final = 20
"""Minimum number of samples for any expectation."""


class Allocation(Struct, frozen=True):
    """One allocation of one book.

    Weights are fractions of the book by symbol, nonzero ones only; `trades` are target less current. `rebalance` is
    true if a trade exceeds the threshold. `expected_return` and `expected_risk` (standard deviation) are annual, of the
    target weights held through the last `samples` samples. `probability_positive` is the probability that their mean is
    above 0, for a normal with the sample's standard error. These three figures are None where a position's history is
    shorter than `LEAST_SAMPLES` samples. The figures describe the past and are no forecast.
    """

    strategy: str
    method: str
    target: dict[str, float]
    current: dict[str, float]
    rebalance: bool
    trades: dict[str, float]
    expected_return: float | None
    expected_risk: float | None
    probability_positive: float | None
    samples: int
    time: int


def allocation(
    view: View, weights: Floats, *, strategy: str, method: str, lookback: int, threshold: float = 0.0
) -> Allocation:
    """Return the allocation that target `weights` float64[N] represent for the book of `view`.

    The annual figures are computed from past returns over `lookback` samples; they are None for too few samples.
    `rebalance` of the result is True if a weight changes by more than `threshold`. `strategy` and `method` are names
    for the record.
    """
    change = weights - view.weights
    # from the first sample with every position; instruments with weight 0 are ignored
    returns = view.synchronous(lookback)[:, weights != 0.0]
    complete: Bools = np.logical_and.reduce(np.isfinite(returns), axis=1)
    first_complete = len(complete) if not complete.any() else int(complete.argmax())
    portfolio_returns = returns[first_complete:].dot(weights[weights != 0.0])
    count = len(portfolio_returns)
    mean = risk = probability_positive = None
    if count >= LEAST_SAMPLES and np.isfinite(portfolio_returns).all() and weights.any():
        average, deviation = float(portfolio_returns.mean()), float(portfolio_returns.std(ddof=1))
        mean, risk = average * PERIODS_PER_YEAR, deviation * sqrt(PERIODS_PER_YEAR)
        if deviation > 1e-15:  # constant returns have no deviation but rounding
            probability_positive = NormalDist().cdf(average / deviation * sqrt(count))
    return Allocation(
        strategy=strategy,
        method=method,
        target=_nonzero_by_symbol(view, weights),
        current=_nonzero_by_symbol(view, view.weights),
        rebalance=bool((np.abs(change) > threshold).any()),
        trades=_nonzero_by_symbol(view, change),
        expected_return=mean,
        expected_risk=risk,
        probability_positive=probability_positive,
        samples=count,
        time=view.time,
    )


def _nonzero_by_symbol(view: View, values: Floats) -> dict[str, float]:
    symbols = view.universe.symbols
    return {symbols[k]: float(values[k]) for k in np.flatnonzero(values).tolist()}
