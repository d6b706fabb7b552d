"""Percent: recognises returns that cannot be fractions, since 1 % is written as 1 instead of 0.01."""

from math import log, sqrt
from typing import Final

import numpy as np

from quantd.trading.market import Floats

FEW: Final = 10
"""Below this number of returns only their count above 1 shows that they are in percent."""

LARGEST_ANNUAL: Final = 3.0
"""Median |r| times sqrt(p) beyond this is no fraction: it is a volatility of 450 % a year."""

LARGEST_LOG_GROWTH: Final = 3.0
"""Log growth a year beyond this is no fraction: it is 20 times the capital."""

PERCENT: Final = "looks like percent: divide by 100 (1 % is 0.01)"


def percent_shape(returns: Floats, periods: float) -> str:
    """Return why float64[T] returns cannot be fractions, as text; empty where they can be."""
    returns = returns[np.isfinite(returns)]
    sizes = np.abs(returns)
    beyond = int((sizes > 1.0).sum())
    if beyond and 4 * beyond >= len(sizes):
        return f"{beyond} of {len(sizes)} returns are beyond -1 and 1, that is 100 %"
    if len(sizes) < FEW:
        return ""
    typical = float(np.median(sizes)) * sqrt(periods)
    if typical > LARGEST_ANNUAL:
        return f"the median return, {float(np.median(sizes)):.3g} in size, is {typical / 0.67:.0%} volatility a year"
    growth = float(np.log(np.maximum(1.0 + returns, 1e-9)).mean()) * periods
    if growth > LARGEST_LOG_GROWTH:
        times = f"{np.exp(growth):,.0f}" if growth < log(1e6) else "over a million"
        return f"the mean return, {float(returns.mean()):.3g}, is {times} times the capital in a year"
    return ""
