"""Links the contributions of single intervals into contributions to the compounded return of a period.

What can go wrong: returns compound, so contributions of intervals do not add up to the period's return. A logarithmic
factor for each interval makes them add up. Source: D. Carino, Combining attribution effects over time, Journal of
Performance Measurement (1999).

An interval that loses everything has no logarithm and is refused. The logarithm is that of 1 plus a relative
difference, which keeps its digits where two returns are nearly equal.
"""

import numpy as np

from quantd.research.attribution.book_history import BookHistory
from quantd.trading.market import Floats


def period_return(returns: Floats) -> float:
    """Return the compounded return of float64[T] simple returns; 0 for an empty period."""
    return float(np.prod(1.0 + returns) - 1.0)


def link_factors(returns: Floats) -> Floats:
    """Return float64[T], Carino's factor of each interval.

    With k(r) = ln(1 + r) / r, and 1 for r = 0, the factor is k(r_t) / k(R). The factors times the returns add up to R.
    Raises ValueError where an interval loses everything, because its logarithm does not exist.
    """
    return _factors(returns, np.zeros_like(returns))


def active_link_factors(returns: Floats, benchmark: Floats) -> Floats:
    """Return float64[T], Carino's factor of each interval for returns relative to a benchmark.

    With k(r, b) = (ln(1 + r) - ln(1 + b)) / (r - b), and 1 / (1 + r) for r = b, the factor is k(r_t, b_t) / k(R, B).
    The factors times r_t - b_t add up to R - B. Raises ValueError where an interval loses everything.
    """
    return _factors(returns, benchmark)


def _factors(returns: Floats, benchmark: Floats) -> Floats:
    if not bool(np.all(returns > -1.0) and np.all(benchmark > -1.0)):
        raise ValueError("logarithmic linking needs returns above -100 % in every interval")
    total_slope = _mean_slope(np.array([period_return(returns)]), np.array([period_return(benchmark)]))
    return _mean_slope(returns, benchmark) / total_slope


def _mean_slope(one: Floats, other: Floats) -> Floats:
    """Mean slope of ln(1 + x) between two returns: log1p of the relative difference, over the difference."""
    base = 1.0 + other
    ratio = (one - other) / base
    slope = np.ones_like(ratio)
    np.divide(np.log1p(ratio), ratio, out=slope, where=ratio != 0.0)
    return slope / base


def profit_factors(history: BookHistory) -> Floats:
    """Return float64[T] factors that turn profit into contributions to the period's time-weighted return.

    A factor is Carino's, divided by the equity at the interval's beginning. It is 0 where that equity is not positive,
    because the return of such an interval is 0 by definition. Raises ValueError as `link_factors` does.
    """
    before = history.equity[:-1]
    factors = np.zeros_like(before)
    np.divide(link_factors(history.returns()), before, out=factors, where=before > 0.0)
    return factors
