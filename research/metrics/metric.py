"""A metric: one figure of a track record, with its formula, unit and source beside the function that computes it.

A module of this package that defines a metric adds it to `quantd.research.metrics.catalogue`. `PLACE` of the module is
the position of its metrics in tables.
"""

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.research.metrics.track_record import TrackRecord
from quantd.trading.market import Floats

Unit = Literal["fraction", "ratio", "samples", "money", "count", "bp"]
Better = Literal["high", "low", ""]
Needs = Literal["equity", "benchmark", "book", "trips"]
Function = Callable[[TrackRecord], float]

ROUNDING: Final = 1e-15
"""Standard deviations and denominators up to this size are rounding error, as in `quantd.trading.statistics`."""

NONE: Final = float("nan")
"""Returned by a function where the metric is undefined."""


class Metric(Struct, frozen=True):
    """A metric of a track record, with its formula, unit and source.

    `better` is the preferred direction, "high" or "low", and empty if there is none. `needs` names the part of the
    record that the metric reads. In the unit "fraction", 0.01 is 1 %. `compute` returns NaN where the metric is
    undefined.
    """

    name: str
    title: str
    unit: Unit
    formula: str
    source: str
    better: Better
    needs: Needs
    compute: Function


def metric(
    title: str, unit: Unit, formula: str, source: str, better: Better = "", needs: Needs = "equity"
) -> Callable[[Function], Metric]:
    """Return a decorator that turns a function of a track record into a Metric with the function's name."""
    return lambda function: Metric(function.__name__, title, unit, formula, source, better, needs, function)


def over(numerator: float, denominator: float) -> float:
    """Return `numerator` divided by `denominator`; NaN where the denominator is 0 up to rounding error."""
    return numerator / denominator if abs(denominator) > ROUNDING else NONE


def mean(values: Floats) -> float:
    """Return the mean of `values` float64[N]; NaN where N is 0."""
    return float(values.mean()) if len(values) else NONE


def varies(values: Floats) -> bool:
    """Report whether `values` float64[N] have a standard deviation above rounding error."""
    return len(values) > 1 and float(values.std(ddof=1)) > ROUNDING


def squares(values: Floats) -> float:
    """Return the sum of the squares of `values` float64[N]."""
    return float(np.dot(values, values))
