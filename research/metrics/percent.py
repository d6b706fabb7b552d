"""Recognises returns that are written in percent (1 % as 1) where fractions (0.01) are expected."""

from math import log, sqrt
from typing import Final

import numpy as np

from quantd.trading.market import Floats

FEW: Final = 10
"""Fewer returns than this are judged only by how many of them are larger than 1."""

LARGEST_ANNUAL: Final = 3.0
"""Returns with a larger median |return| times sqrt(samples a year) are no fractions: 3.0 is 450 % volatility a year."""

LARGEST_LOG_GROWTH: Final = 3.0
"""Returns with a larger annual log growth are no fractions: 3.0 is growth to 20 times the capital."""

PERCENT: Final = "looks like percent: divide by 100 (1 % is 0.01)"
"""Second half of a sentence about a value."""


def percent_shape(returns: Floats, periods: float) -> str:
    """Return why `returns` float64[T] must be percent, not fractions, as text; empty where they may be fractions.

    `periods` is the number of returns a year.
    """
    returns = returns[np.isfinite(returns)]
    sizes = np.abs(returns)
    above_one = int((sizes > 1.0).sum())
    if above_one and 4 * above_one >= len(sizes):  # a quarter of all returns, or more
        return f"{above_one} of {len(sizes)} returns are beyond -1 and 1, that is 100 %"
    if len(sizes) < FEW:
        return ""
    annual = float(np.median(sizes)) * sqrt(periods)
    if annual > LARGEST_ANNUAL:
        # the median of |x| of a normal law is 0.67 standard deviations
        return f"the median return, {float(np.median(sizes)):.3g} in size, is {annual / 0.67:.0%} annual volatility"
    growth = float(np.log(np.maximum(1.0 + returns, 1e-9)).mean()) * periods
    if growth > LARGEST_LOG_GROWTH:
        times = f"{np.exp(growth):,.0f}" if growth < log(1e6) else "over a million"
        return f"the mean return, {float(returns.mean()):.3g}, is {times} times the capital in a year"
    return ""


def is_wealth(values: Floats) -> bool:
    """Return whether `values` float64[T] are a series of wealth or prices: positive, with small changes."""
    return len(values) > 1 and bool(np.all(values > 0.0)) and bool(np.median(np.abs(np.diff(np.log(values)))) < 0.1)
