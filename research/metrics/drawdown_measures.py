"""Drawdowns of wealth: depth, length, recovery, and ratios of growth to drawdown."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.research.metrics.metric import NONE, mean, metric, over, squares
from quantd.research.metrics.track_record import TrackRecord
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


@metric("Maximum drawdown", "fraction", "max(D)", "Magdon-Ismail & Atiya 2004", "low")
def max_drawdown(record: TrackRecord) -> float:
    return float(record.drawdowns.max())


@metric("Average drawdown", "fraction", "mean over episodes below the high of max(D)", "Bacon 2008", "low")
def average_drawdown(record: TrackRecord) -> float:
    return mean(episodes(record)[1])


@metric("Current drawdown", "fraction", "D_T", "Chekhlov, Uryasev & Zabarankin 2005", "low")
def current_drawdown(record: TrackRecord) -> float:
    return float(record.drawdowns[-1])


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


@metric("Ulcer index", "fraction", "sqrt(mean(D_t^2)), t = 1..T", "Martin & McCann 1989", "low")
def ulcer_index(record: TrackRecord) -> float:
    return ulcer(record)


@metric("Calmar ratio", "ratio", "CAGR / max(D)", "Young 1991", "high")
def calmar(record: TrackRecord) -> float:
    return statistics.calmar(record.wealth, record.periods)


@metric("Martin ratio", "ratio", "(CAGR - mean annual f) / ulcer index", "Martin & McCann 1989", "high")
def martin_ratio(record: TrackRecord) -> float:
    growth = statistics.annual_return(record.wealth, record.periods) - record.mean_risk_free
    return over(growth, ulcer(record))
