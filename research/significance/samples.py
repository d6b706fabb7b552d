"""Validates the return series that significance tests take."""

from typing import Final

import numpy as np

from quantd.trading.market import Floats

SMALLEST_DEVIATION: Final = 1e-15
"""A standard deviation up to this is rounding: the series counts as constant."""


def require_returns(returns: Floats, least: int) -> None:
    """Check one series float64[T]. Raises ValueError for fewer than `least` samples or a value that is not finite."""
    if returns.ndim != 1:
        raise ValueError(f"a return series must have one dimension, not {returns.ndim}")
    if len(returns) < least:
        raise ValueError(f"the test needs at least {least} returns, not {len(returns)}")
    if not bool(np.isfinite(returns).all()):
        raise ValueError("a return is not finite (NaN or infinite); remove it")


def require_pair(returns: Floats, other: Floats, least: int) -> None:
    """Check two series float64[T] of the same samples.

    Raises ValueError for unequal lengths, fewer than `least` samples, or a value that is not finite.
    """
    if len(returns) != len(other):
        raise ValueError(f"paired series must have the same length, not {len(returns)} and {len(other)}")
    require_returns(returns, least)
    require_returns(other, least)


def require_trials(returns: Floats, least: int, fewest: int) -> None:
    """Check the returns float64[T, K] of K trials, a column each. Raises ValueError for fewer than `least` samples,
    fewer than `fewest` trials, or a value that is not finite."""
    if returns.ndim != 2:
        raise ValueError(f"the returns of trials must have two dimensions, not {returns.ndim}")
    samples, trials = returns.shape
    if samples < least:
        raise ValueError(f"the test needs at least {least} returns, not {samples}")
    if trials < fewest:
        raise ValueError(f"the test needs at least {fewest} trials, not {trials}")
    if not bool(np.isfinite(returns).all()):
        raise ValueError("a return is not finite (NaN or infinite); remove it")


def is_constant(series: Floats) -> bool:
    """Return whether a series varies by no more than rounding."""
    scale = max(1.0, float(np.abs(series).max()))
    return float(np.std(series)) <= SMALLEST_DEVIATION * scale
