"""Ratios of excess return to risk, per unit of deviation or of shortfall."""

from typing import Final

import numpy as np

from quantd.research.metrics.dispersion import autocorrelation, shape
from quantd.research.metrics.metric import metric, over
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.significance.deflated_sharpe import probabilistic_sharpe as probability
from quantd.trading import statistics

PLACE: Final = 30
"""Position of these metrics in tables."""


def annual_sharpe(record: TrackRecord) -> float:
    """Return the annual Sharpe ratio of the returns less the risk-free rate (Sharpe 1994)."""
    return statistics.sharpe(record.returns, record.periods, record.risk_free_annual)


def sample_sharpe(record: TrackRecord) -> float:
    """Return the Sharpe ratio per sample, not annualised."""
    return annual_sharpe(record) / float(np.sqrt(record.periods))


@metric("Sharpe ratio", "ratio", "sqrt(p) mean(e) / sd(e)", "Sharpe 1994", "high")
def sharpe(record: TrackRecord) -> float:
    return annual_sharpe(record)


@metric("Sharpe ratio, serial correlation", "ratio",
        "s p / sqrt(p + 2 sum over k from 1 to p - 1 of (p - k) a^k), s = mean(e) / sd(e), a serial correlation of e",
        "Lo 2002", "high")  # fmt: skip
def serial_sharpe(record: TrackRecord) -> float:
    a, p = autocorrelation(record.excess), record.periods
    # closed form of twice the sum over k in the formula
    doubled_sum = 2.0 * a / (1.0 - a) * (p - (1.0 - np.sign(a) ** int(p) * abs(a) ** p) / (1.0 - a))
    return sample_sharpe(record) * p / float(np.sqrt(p + doubled_sum))


@metric("Sharpe ratio, probability above 0", "fraction",
        "N(s sqrt(T - 1) / sqrt(1 - S s + (K + 2) s^2 / 4)), N normal law, s = mean(e) / sd(e), S skewness and K "
        "excess kurtosis of e",
        "Bailey & López de Prado 2012", "high")  # fmt: skip
def probabilistic_sharpe(record: TrackRecord) -> float:
    return probability(sample_sharpe(record), 0.0, record.samples, *shape(record.excess))


@metric("Sortino ratio", "ratio", "sqrt(p) mean(e) / sqrt(mean(min(e, 0)^2))", "Sortino & Price 1994", "high")
def sortino(record: TrackRecord) -> float:
    return statistics.sortino(record.returns, record.periods, record.risk_free_annual)


@metric("Omega ratio", "ratio", "sum(max(e, 0)) / sum(max(-e, 0))", "Keating & Shadwick 2002", "high")
def omega(record: TrackRecord) -> float:
    return over(float(np.maximum(record.excess, 0.0).sum()), float(np.maximum(-record.excess, 0.0).sum()))


@metric("Gain-to-pain ratio", "ratio", "sum(r) / sum(max(-r, 0))", "Schwager 2012", "high")
def gain_to_pain(record: TrackRecord) -> float:
    return over(float(record.returns.sum()), float(np.maximum(-record.returns, 0.0).sum()))
