"""Growth: total, compound and mean returns, and the best and worst sample, month and year."""

from typing import Final

import numpy as np

from quantd.research.metrics.calendar_tables import returns_by
from quantd.research.metrics.metric import NONE, mean, metric, squares, varies
from quantd.research.metrics.track_record import TrackRecord
from quantd.trading import statistics

PLACE: Final = 10
"""Position of these metrics in tables."""


@metric("Total return", "fraction", "W_T / W_0 - 1", "Bacon 2008", "high")
def total_return(record: TrackRecord) -> float:
    return statistics.total_return(record.wealth)


@metric("Compound annual growth", "fraction", "(W_T / W_0)^(p / T) - 1", "Bacon 2008", "high")
def cagr(record: TrackRecord) -> float:
    return statistics.annual_return(record.wealth, record.periods)


@metric("Mean return", "fraction", "mean(r)", "Bacon 2008", "high")
def mean_return(record: TrackRecord) -> float:
    return mean(record.returns)


@metric("Best sample", "fraction", "max(r)", "Bacon 2008", "high")
def best_sample(record: TrackRecord) -> float:
    return float(record.returns.max())


@metric("Worst sample", "fraction", "min(r)", "Bacon 2008", "high")
def worst_sample(record: TrackRecord) -> float:
    return float(record.returns.min())


@metric("Positive samples", "fraction", "share of samples with r > 0", "Bacon 2008", "high")
def positive_samples(record: TrackRecord) -> float:
    return float(np.mean(record.returns > 0.0))


@metric("Average gain", "fraction", "mean(r | r > 0)", "Bacon 2008", "high")
def average_gain(record: TrackRecord) -> float:
    return mean(record.returns[record.returns > 0.0])


@metric("Average loss", "fraction", "mean(-r | r < 0)", "Bacon 2008", "low")
def average_loss(record: TrackRecord) -> float:
    return -mean(record.returns[record.returns < 0.0])


@metric("Best month", "fraction", "max of monthly compound returns", "Schwager 1996", "high")
def best_month(record: TrackRecord) -> float:
    return float(returns_by(record, "M").max())


@metric("Worst month", "fraction", "min of monthly compound returns", "Schwager 1996", "high")
def worst_month(record: TrackRecord) -> float:
    return float(returns_by(record, "M").min())


@metric("Positive months", "fraction", "share of months with a return > 0", "Schwager 1996", "high")
def positive_months(record: TrackRecord) -> float:
    return float(np.mean(returns_by(record, "M") > 0.0))


@metric("Best year", "fraction", "max of calendar-year compound returns", "Schwager 1996", "high")
def best_year(record: TrackRecord) -> float:
    return float(returns_by(record, "Y").max())


@metric("Worst year", "fraction", "min of calendar-year compound returns", "Schwager 1996", "high")
def worst_year(record: TrackRecord) -> float:
    return float(returns_by(record, "Y").min())


@metric("Stability", "fraction", "R2 of ln W on the sample number 0..T", "Quantopian 2016", "high")
def stability(record: TrackRecord) -> float:
    logs = np.log(record.wealth)
    if len(logs) < 3 or not varies(logs):
        return NONE
    time = np.arange(len(logs), dtype=np.float64)
    time, logs = time - time.mean(), logs - logs.mean()
    return float(time.dot(logs)) ** 2 / (squares(time) * squares(logs))
