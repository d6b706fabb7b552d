"""Dispersion of returns: deviations, moments, serial correlation and value at risk."""

from typing import Final

import numpy as np

from quantd.research.metrics.metric import NONE, metric, squares, varies
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.significance.deflated_sharpe import moments
from quantd.risk.measures.portfolio import historical_cvar, historical_var
from quantd.trading import statistics
from quantd.trading.market import Floats

PLACE: Final = 20
"""Position of these metrics in tables."""

TAIL: Final = 0.95
"""Confidence of the tails: one sample in twenty lies beyond."""

FAR_TAIL: Final = 0.99
"""Confidence of the far tails: one sample in a hundred lies beyond."""


@metric("Volatility, annual", "fraction", "sd(r) sqrt(p)", "Markowitz 1952", "low")
def volatility(record: TrackRecord) -> float:
    return statistics.volatility(record.returns, record.periods) if record.samples > 1 else NONE


@metric("Downside deviation, annual", "fraction", "sqrt(p mean(min(e, 0)^2))", "Sortino & van der Meer 1991", "low")
def downside_deviation(record: TrackRecord) -> float:
    per_sample = statistics.downside_deviation(record.returns, record.periods, record.risk_free_annual)
    return per_sample * float(np.sqrt(record.periods))


def shape(returns: Floats) -> tuple[float, float]:
    """Return (skewness, kurtosis) of returns; a normal distribution has kurtosis 3.

    Both are NaN for fewer than three returns, and for constant returns.
    """
    return moments(returns) if len(returns) > 2 and varies(returns) else (NONE, NONE)


@metric("Skewness", "ratio", "mean((r - mean(r))^3) / s^3, s^2 = mean((r - mean(r))^2)", "Fisher 1930", "high")
def skewness(record: TrackRecord) -> float:
    return shape(record.returns)[0]


@metric("Excess kurtosis", "ratio", "mean((r - mean(r))^4) / s^4 - 3, s as in skewness", "Fisher 1930", "low")
def excess_kurtosis(record: TrackRecord) -> float:
    return shape(record.returns)[1] - 3.0


def autocorrelation(returns: Floats) -> float:
    """Return the autocorrelation of returns float64[T] at lag 1; NaN for fewer than three, and for constant returns."""
    if len(returns) < 3 or not varies(returns):
        return NONE
    centred = returns - returns.mean()
    return float(centred[1:].dot(centred[:-1])) / squares(centred)


@metric(
    "Serial correlation", "ratio", "sum((r_t - mean(r)) (r_t-1 - mean(r))) / sum((r - mean(r))^2)", "Box & Jenkins 1970"
)
def serial_correlation(record: TrackRecord) -> float:
    return autocorrelation(record.returns)


@metric("VaR 95 %", "fraction", "k-th largest -r, k = T - ceil(0.95 (T - 1))", "Jorion 2006", "low")
def var_95(record: TrackRecord) -> float:
    return historical_var(-record.returns, TAIL)


@metric("CVaR 95 %", "fraction", "mean of the k largest -r, k = T - ceil(0.95 (T - 1))", "Acerbi & Tasche 2002", "low")
def cvar_95(record: TrackRecord) -> float:
    return historical_cvar(-record.returns, TAIL)


@metric("VaR 99 %", "fraction", "k-th largest -r, k = T - ceil(0.99 (T - 1))", "Jorion 2006", "low")
def var_99(record: TrackRecord) -> float:
    return historical_var(-record.returns, FAR_TAIL)


@metric("CVaR 99 %", "fraction", "mean of the k largest -r, k = T - ceil(0.99 (T - 1))", "Acerbi & Tasche 2002", "low")
def cvar_99(record: TrackRecord) -> float:
    return historical_cvar(-record.returns, FAR_TAIL)
