"""Links the contributions of single intervals into contributions to the compounded return of a period.

What can go wrong: returns compound, so contributions of intervals do not add up to the period's return. A logarithmic
factor for each interval makes them add up. Source: D. Carino, Combining attribution effects over time, Journal of
Performance Measurement (1999).

An interval with a return of -100 % has no logarithm and is refused. Differences of logarithms are computed as log1p of
a relative difference, which stays precise where two returns are nearly equal.
"""

import numpy as np

from quantd.research.attribution.book_history import BookHistory
from quantd.trading.market import Floats


def period_return(returns: Floats) -> float:
    """Return the compounded return of float64[T] simple returns; 0 for an empty period."""
    return float(np.prod(1.0 + returns) - 1.0)


def link_factors(returns: Floats, benchmark: Floats | float = 0.0) -> Floats:
    """Return float64[T], Carino's factor of each interval for returns relative to a benchmark.

    With k(r, b) = (ln(1 + r) - ln(1 + b)) / (r - b), and 1 / (1 + r) for r = b, the factor of the returns r_t and b_t
    (of the benchmark) is k(r_t, b_t) / k(R, B), where R and B are their compounded returns over all intervals. The
    factors times r_t - b_t add up to R - B. Raises ValueError where an interval loses everything, because its logarithm
    does not exist.
    """
    benchmark = np.broadcast_to(benchmark, returns.shape)
    if not bool(np.all(returns > -1.0) and np.all(benchmark > -1.0)):
        raise ValueError("logarithmic linking needs returns above -100 % in every interval")
    total_slope = _mean_slope(np.array([period_return(returns)]), np.array([period_return(benchmark)]))
    return _mean_slope(returns, benchmark) / total_slope


def _mean_slope(returns: Floats, benchmark: Floats) -> Floats:
    """Return the mean slope of ln(1 + x) from `benchmark` to `returns`, as log1p of their relative difference."""
    base = 1.0 + benchmark
    ratio = (returns - benchmark) / base
    slope = np.ones_like(ratio)
    np.divide(np.log1p(ratio), ratio, out=slope, where=ratio != 0.0)
    return slope / base


def profit_factors(history: BookHistory) -> Floats:
    """Return float64[T] factors that turn profit into contributions to the period's time-weighted return.

    A factor is Carino's linking factor, divided by the equity at the interval's beginning. The factor is 0 where that
    equity is not positive, because the return of such an interval is 0 by definition. Raises ValueError where an
    interval loses everything.
    """
    start_equity = history.equity[:-1]
    factors = np.zeros_like(start_equity)
    np.divide(link_factors(history.returns()), start_equity, out=factors, where=start_equity > 0.0)
    return factors
