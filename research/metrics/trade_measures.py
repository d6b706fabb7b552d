"""Measures of round trips: how often and how much they win, and how long they last. Their order has no effect."""

from typing import Final

import numpy as np

from quantd.research.metrics.metric import NONE, mean, metric, over
from quantd.research.metrics.track_record import TrackRecord
from quantd.trading.market import Floats

PLACE: Final = 60
"""Position of these metrics in tables."""


def wins(record: TrackRecord) -> Floats:
    """Return float64[k], the profits of winning round trips in ascending order, account currency."""
    trip_profits = record.trip_profits
    return trip_profits[trip_profits > 0.0]


def losses(record: TrackRecord) -> Floats:
    """Return float64[k], the losses of losing round trips as positive numbers, in account currency."""
    trip_profits = record.trip_profits
    return -trip_profits[trip_profits < 0.0]


@metric("Round trips", "count", "n, the number of trips", "Pardo 2008", "", "trips")
def trips(record: TrackRecord) -> float:
    return float(len(record.trips or ()))


@metric("Win rate", "fraction", "share of trips with g > 0", "Pardo 2008", "high", "trips")
def win_rate(record: TrackRecord) -> float:
    return mean((record.trip_profits > 0.0).astype(np.float64))


@metric("Profit factor", "ratio", "sum(g | g > 0) / sum(-g | g < 0)", "Pardo 2008", "high", "trips")
def profit_factor(record: TrackRecord) -> float:
    return over(float(wins(record).sum()), float(losses(record).sum()))


@metric("Payoff ratio", "ratio", "mean(g | g > 0) / mean(-g | g < 0)", "Pardo 2008", "high", "trips")
def payoff_ratio(record: TrackRecord) -> float:
    return over(mean(wins(record)), mean(losses(record)))


@metric("Expectancy", "money", "mean(g)", "Tharp 1998", "high", "trips")
def expectancy(record: TrackRecord) -> float:
    return mean(record.trip_profits)


@metric("Average win", "money", "mean(g | g > 0)", "Pardo 2008", "high", "trips")
def average_win(record: TrackRecord) -> float:
    return mean(wins(record))


@metric("Average losing trip", "money", "mean(-g | g < 0)", "Pardo 2008", "low", "trips")
def average_losing_trip(record: TrackRecord) -> float:
    return mean(losses(record))


@metric("Largest losing trip", "money", "max(-g | g < 0)", "Pardo 2008", "low", "trips")
def largest_losing_trip(record: TrackRecord) -> float:
    trip_losses = losses(record)
    return float(trip_losses.max()) if len(trip_losses) else NONE


@metric("Average holding", "samples", "mean samples from entry to exit", "Pardo 2008", "", "trips")
def average_holding(record: TrackRecord) -> float:
    return mean(np.array([trip.samples for trip in record.trips or ()], dtype=np.float64))
