"""Measures against a benchmark of the same samples: regression, active return, and up and down markets."""

from typing import Final, NamedTuple

import numpy as np

from quantd.research.metrics.metric import NONE, mean, metric, over, squares, varies
from quantd.research.metrics.track_record import TrackRecord
from quantd.risk.measures import portfolio
from quantd.trading import statistics
from quantd.trading.market import Floats

PLACE: Final = 50
"""Position of these metrics in tables."""

NO_RETURNS: Final[Floats] = np.zeros(0)
"""Returns of a missing benchmark."""


def market(record: TrackRecord) -> Floats:
    """Return float64[T], the benchmark's returns; empty without a benchmark."""
    return record.benchmark_returns if record.benchmark_returns is not None else NO_RETURNS


def excess_market(record: TrackRecord) -> Floats:
    """Return float64[T], the benchmark's returns less the risk-free rate; empty without a benchmark."""
    return record.benchmark_excess if record.benchmark_excess is not None else NO_RETURNS


def active(record: TrackRecord) -> Floats:
    """Return float64[T], the returns less the benchmark's returns."""
    return record.returns - market(record)


class Line(NamedTuple):
    """Regression of excess returns on the benchmark's excess returns: slope, intercept, and in `noise` the standard
    error of the residuals. All are per sample."""

    beta: float
    alpha: float
    noise: float


def slope(returns: Floats, benchmark: Floats) -> float:
    """Return the covariance of two series float64[T] divided by the variance of `benchmark`; NaN where the benchmark
    does not vary."""
    return portfolio.beta(returns, benchmark) if varies(benchmark) else NONE


def line(record: TrackRecord) -> Line:
    """Return the least-squares line of excess returns on the benchmark's excess returns, per sample.

    `noise`, the standard error of the T residuals, has T - 2 degrees of freedom; NaN for T of 2 or less.
    """
    excess, benchmark_excess = record.excess, excess_market(record)
    beta = slope(excess, benchmark_excess)
    alpha = mean(excess) - beta * mean(benchmark_excess)
    degrees = record.samples - 2
    noise = float(np.sqrt(squares(excess - alpha - beta * benchmark_excess) / degrees)) if degrees > 0 else NONE
    return Line(beta, alpha, noise)


@metric("Beta", "ratio", "cov(e, x) / var(x)", "Sharpe 1964", "", "benchmark")
def beta(record: TrackRecord) -> float:
    return line(record).beta


@metric("Alpha, annual", "fraction", "p (mean(e) - beta mean(x))", "Jensen 1968", "high", "benchmark")
def alpha(record: TrackRecord) -> float:
    return record.periods * line(record).alpha


@metric("Correlation", "ratio", "cov(e, x) / (sd(e) sd(x))", "Pearson 1896", "", "benchmark")
def correlation(record: TrackRecord) -> float:
    excess, benchmark_excess = record.excess, excess_market(record)
    return portfolio.correlation_with(excess, benchmark_excess) if varies(excess) and varies(benchmark_excess) else NONE


@metric("Specific risk, annual", "fraction", "sqrt(p sum(u^2) / (T - 2)), u = e - mean(e) - beta (x - mean(x))",
        "Sharpe 1963", "low", "benchmark")  # fmt: skip
def specific_risk(record: TrackRecord) -> float:
    return line(record).noise * float(np.sqrt(record.periods))


@metric("Treynor ratio", "ratio", "p mean(e) / beta", "Treynor 1965", "high", "benchmark")
def treynor(record: TrackRecord) -> float:
    return over(record.periods * mean(record.excess), line(record).beta)


@metric("Active return, annual", "fraction", "p mean(r - b)", "Grinold & Kahn 2000", "high", "benchmark")
def active_return_annual(record: TrackRecord) -> float:
    return record.periods * mean(active(record))


@metric("Tracking error, annual", "fraction", "sd(r - b) sqrt(p)", "Roll 1992", "low", "benchmark")
def tracking_error(record: TrackRecord) -> float:
    return statistics.volatility(active(record), record.periods) if record.samples > 1 else NONE


@metric("Information ratio", "ratio", "sqrt(p) mean(r - b) / sd(r - b)", "Goodwin 1998", "high", "benchmark")
def information_ratio(record: TrackRecord) -> float:
    return statistics.sharpe(active(record), record.periods, 0.0)


@metric("Batting average", "fraction", "share of samples with r > b", "Bacon 2008", "high", "benchmark")
def batting_average(record: TrackRecord) -> float:
    return float(np.mean(record.returns > market(record)))


def capture(record: TrackRecord, *, up: bool) -> float:
    """Return the mean return divided by the benchmark's mean return, over the samples in which the benchmark rose
    (`up`) or fell."""
    selected = market(record) > 0.0 if up else market(record) < 0.0
    return over(mean(record.returns[selected]), mean(market(record)[selected]))


@metric("Up capture", "ratio", "mean(r | b > 0) / mean(b | b > 0)", "Bacon 2008", "high", "benchmark")
def up_capture(record: TrackRecord) -> float:
    return capture(record, up=True)


@metric("Down capture", "ratio", "mean(r | b < 0) / mean(b | b < 0)", "Bacon 2008", "low", "benchmark")
def down_capture(record: TrackRecord) -> float:
    return capture(record, up=False)
