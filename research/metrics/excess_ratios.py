"""Ratios of excess return to risk, per unit of deviation, of shortfall or of loss in the tail."""

from typing import Final

import numpy as np

from quantd.research.metrics.dispersion import TAIL, autocorrelation, shape, tails
from quantd.research.metrics.metric import NONE, mean, metric, over, varies
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.significance.deflated_sharpe import probabilistic_sharpe as probability
from quantd.risk.measures.portfolio import historical_cvar, historical_var
from quantd.trading import statistics
from quantd.trading.market import Floats

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


@metric("Sharpe ratio, adjusted", "ratio", "sqrt(p) s (1 + S s / 6 - K s^2 / 24), s = mean(e) / sd(e), S skewness and "
        "K excess kurtosis of e", "Pezier & White 2006", "high")  # fmt: skip
def adjusted_sharpe(record: TrackRecord) -> float:
    ratio, (skew, kurtosis) = sample_sharpe(record), shape(record.excess)
    factor = 1.0 + skew / 6.0 * ratio - (kurtosis - 3.0) / 24.0 * ratio**2
    return ratio * factor * float(np.sqrt(record.periods))


@metric("Sharpe ratio, probability above 0", "fraction",
        "N(s sqrt(T - 1) / sqrt(1 - S s + (K + 2) s^2 / 4)), N normal law, s, S and K as in the adjusted ratio",
        "Bailey & López de Prado 2012", "high")  # fmt: skip
def probabilistic_sharpe(record: TrackRecord) -> float:
    return probability(sample_sharpe(record), 0.0, record.samples, *shape(record.excess))


@metric("Sortino ratio", "ratio", "sqrt(p) mean(e) / sqrt(mean(min(e, 0)^2))", "Sortino & Price 1994", "high")
def sortino(record: TrackRecord) -> float:
    return statistics.sortino(record.returns, record.periods, record.risk_free_annual)


def upper_over_lower(values: Floats) -> float:
    """Return the sum of positive values over the absolute sum of negative values; NaN without a negative value."""
    return over(float(np.maximum(values, 0.0).sum()), float(np.maximum(-values, 0.0).sum()))


@metric("Omega ratio", "ratio", "sum(max(e, 0)) / sum(max(-e, 0))", "Keating & Shadwick 2002", "high")
def omega(record: TrackRecord) -> float:
    return upper_over_lower(record.excess)


@metric("Gain-loss ratio", "ratio", "sum(max(r, 0)) / sum(max(-r, 0))", "Bernardo & Ledoit 2000", "high")
def gain_loss_ratio(record: TrackRecord) -> float:
    return upper_over_lower(record.returns)


@metric("Gain-to-pain ratio", "ratio", "sum(r) / sum(max(-r, 0))", "Schwager 2012", "high")
def gain_to_pain(record: TrackRecord) -> float:
    return over(float(record.returns.sum()), float(np.maximum(-record.returns, 0.0).sum()))


@metric("Common sense ratio", "ratio", "gain-loss ratio x tail ratio", "Bernut 2021", "high")
def common_sense_ratio(record: TrackRecord) -> float:
    return upper_over_lower(record.returns) * tails(record.returns)


@metric("Kappa 3", "ratio", "mean(e) / cbrt(mean(max(-e, 0)^3))", "Kaplan & Knowles 2004", "high")
def kappa_3(record: TrackRecord) -> float:
    downside = float(np.cbrt(np.mean(np.maximum(-record.excess, 0.0) ** 3)))
    return over(mean(record.excess), downside)


@metric("Upside potential ratio", "ratio", "mean(max(e, 0)) / sqrt(mean(min(e, 0)^2))",
        "Sortino, van der Meer & Plantinga 1999", "high")  # fmt: skip
def upside_potential(record: TrackRecord) -> float:
    below = statistics.downside_deviation(record.returns, record.periods, record.risk_free_annual)
    return over(float(np.maximum(record.excess, 0.0).mean()), below)


@metric("Reward to VaR", "ratio", "mean(e) / VaR 95 % of e", "Dowd 2000", "high")
def reward_to_var(record: TrackRecord) -> float:
    loss = historical_var(-record.excess, TAIL)
    return over(mean(record.excess), loss) if loss > 0.0 else NONE


@metric("STARR", "ratio", "mean(e) / CVaR 95 % of e", "Martin, Rachev & Siboulet 2003", "high")
def starr(record: TrackRecord) -> float:
    loss = historical_cvar(-record.excess, TAIL)
    return over(mean(record.excess), loss) if loss > 0.0 else NONE


@metric("Kelly leverage", "ratio", "mean(e) / sd(e)^2", "Thorp 2006")
def kelly_leverage(record: TrackRecord) -> float:
    return mean(record.excess) / float(record.excess.var(ddof=1)) if varies(record.excess) else NONE
