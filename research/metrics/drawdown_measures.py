"""Drawdowns of wealth: depth, length, recovery, and ratios of growth to drawdown."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.research.metrics.metric import NONE, mean, metric, over, squares
from quantd.research.metrics.track_record import TrackRecord
from quantd.risk.measures.portfolio import historical_cvar
from quantd.trading import statistics
from quantd.trading.market import Floats

PLACE: Final = 40
"""Position of these metrics in tables."""

LEVEL: Final = 1e-12
"""Drawdowns up to this fraction are rounding error of compounded returns."""


def under_water(record: TrackRecord) -> NDArray[np.bool_]:
    """Return bool[T+1], True where wealth is below its highest value so far."""
    return record.drawdowns > LEVEL


def episodes(record: TrackRecord) -> tuple[NDArray[np.int64], Floats]:
    """Return (length in samples, depth as a fraction) of each unbroken period below an earlier high, as two arrays."""
    edges = np.flatnonzero(np.diff(under_water(record), prepend=False, append=False))
    # edges alternate between the first sample below the high and the first sample at the high again
    starts, ends = edges[::2], edges[1::2]
    depths = np.maximum.reduceat(record.drawdowns, starts) if len(starts) else np.zeros(0)
    return ends - starts, depths


def excess_growth(record: TrackRecord) -> float:
    """Return the compound annual growth less the mean annual risk-free rate."""
    return statistics.annual_return(record.wealth, record.periods) - record.mean_risk_free


@metric("Maximum drawdown", "fraction", "max(D)", "Magdon-Ismail & Atiya 2004", "low")
def max_drawdown(record: TrackRecord) -> float:
    return float(record.drawdowns.max())


@metric("Average drawdown", "fraction", "mean over episodes below the high of max(D)", "Bacon 2008", "low")
def average_drawdown(record: TrackRecord) -> float:
    return mean(episodes(record)[1])


@metric("Current drawdown", "fraction", "D_T", "Chekhlov, Uryasev & Zabarankin 2005", "low")
def current_drawdown(record: TrackRecord) -> float:
    return float(record.drawdowns[-1])


@metric("Conditional drawdown 95 %", "fraction", "mean of the k largest of D_1..D_T, k as in VaR 95 %",
        "Chekhlov, Uryasev & Zabarankin 2005", "low")  # fmt: skip
def conditional_drawdown_95(record: TrackRecord) -> float:
    return historical_cvar(record.drawdowns[1:], 0.95)


@metric("Longest drawdown", "samples", "max over episodes of the samples with D > 0", "Bacon 2008", "low")
def longest_drawdown(record: TrackRecord) -> float:
    return float(episodes(record)[0].max(initial=0))


@metric("Recovery", "samples", "samples from max(D) to the next D = 0; none before it", "Bacon 2008", "low")
def recovery(record: TrackRecord) -> float:
    if not float(record.drawdowns.max()) > LEVEL:
        return NONE
    after = np.flatnonzero(~under_water(record)[int(np.argmax(record.drawdowns)) :])
    return float(after[0]) if len(after) else NONE


@metric("Time under water", "fraction", "share of D_1..D_T above 0", "Chekhlov, Uryasev & Zabarankin 2005", "low")
def time_under_water(record: TrackRecord) -> float:
    return float(np.mean(under_water(record)[1:]))


def ulcer(record: TrackRecord) -> float:
    """Return the root mean square of the drawdowns after the first sample, a fraction (Martin & McCann 1989)."""
    return float(np.sqrt(squares(record.drawdowns) / record.samples))


def pain(record: TrackRecord) -> float:
    """Return the mean of the drawdowns after the first sample, a fraction (Becker 2006)."""
    return float(record.drawdowns[1:].mean())


@metric("Ulcer index", "fraction", "sqrt(mean(D_t^2)), t = 1..T", "Martin & McCann 1989", "low")
def ulcer_index(record: TrackRecord) -> float:
    return ulcer(record)


@metric("Pain index", "fraction", "mean(D_t), t = 1..T", "Becker 2006", "low")
def pain_index(record: TrackRecord) -> float:
    return pain(record)


@metric("Calmar ratio", "ratio", "CAGR / max(D)", "Young 1991", "high")
def calmar(record: TrackRecord) -> float:
    return statistics.calmar(record.wealth, record.periods)


@metric("Martin ratio", "ratio", "(CAGR - mean annual f) / ulcer index", "Martin & McCann 1989", "high")
def martin_ratio(record: TrackRecord) -> float:
    return over(excess_growth(record), ulcer(record))


@metric("Pain ratio", "ratio", "(CAGR - mean annual f) / pain index", "Becker 2006", "high")
def pain_ratio(record: TrackRecord) -> float:
    return over(excess_growth(record), pain(record))


@metric("Burke ratio", "ratio", "(CAGR - mean annual f) / sqrt(sum over episodes of max(D)^2)", "Burke 1994", "high")
def burke_ratio(record: TrackRecord) -> float:
    return over(excess_growth(record), float(np.sqrt(squares(episodes(record)[1]))))
