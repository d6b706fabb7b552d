"""Catalogue of metrics: every metric once, with its formula, unit and source, and the function that measures them."""

import re
from collections.abc import Sequence
from math import isfinite
from types import MappingProxyType
from typing import Final

import numpy as np

from quantd.research.metrics import (
    benchmark_measures,
    book_measures,
    dispersion,
    drawdown_measures,
    excess_ratios,
    growth,
    trade_measures,
)
from quantd.research.metrics.metric import Metric
from quantd.research.metrics.track_record import TrackRecord

__all__ = ["METRICS", "METRIC_OF", "SYMBOLS", "Measures", "Metric", "is_annual", "measure"]

SYMBOLS: Final = (
    "W wealth, r simple returns, T their number, p samples a year, f risk-free rate of a sample (annual rate / p), "
    "e = r - f, b benchmark returns, x = b - f, D drawdown of wealth, g profits of trips after fees, "
    "sd standard deviation (n - 1)"
)
"""Meaning of the letters in formulas."""

METRICS: Final[tuple[Metric, ...]] = (
    *growth.METRICS,
    *dispersion.METRICS,
    *excess_ratios.METRICS,
    *drawdown_measures.METRICS,
    *benchmark_measures.METRICS,
    *trade_measures.METRICS,
    *book_measures.METRICS,
)

METRIC_OF: Final = MappingProxyType({each.name: each for each in METRICS})


_ANNUAL: Final = re.compile(r"\bp\b|CAGR|alpha|Sharpe ratio")
"""What the formula of an annualised metric names: the samples a year, or a figure that has them."""


class Measures(dict[str, float | None]):
    """The value of each metric by name, None where it is undefined. `str()` has a line for each.

    `annualised` marks annual figures of less than a year, "annualised from 4 months"; it is empty for a year or more.
    """

    def __init__(self, record: TrackRecord) -> None:
        super().__init__(measure(record))
        self.samples, self.periods, self.annualised = record.samples, record.periods, record.annualised

    def __str__(self) -> str:
        mark = f", {self.annualised}" if self.annualised else ""
        width = max(map(len, self))
        rows = [
            f"{name.ljust(width)}  {'undefined' if value is None else f'{value:.6g}'}"
            + (mark if value is not None and is_annual(METRIC_OF[name]) else "")
            for name, value in self.items()
        ]
        return "\n".join([f"{self.samples:,} samples, {self.periods:g} a year{mark}", *rows])

    def __repr__(self) -> str:
        return str(self)


def is_annual(metric: Metric) -> bool:
    """Report whether a metric is annualised, by its formula."""
    return _ANNUAL.search(metric.formula) is not None


def measure(record: TrackRecord, names: Sequence[str] | None = None) -> dict[str, float | None]:
    """Return the value of each metric by name, or of the metrics in `names`.

    None stands for a metric that is undefined for this record, or whose input the record lacks. Raises KeyError for
    an unknown name.
    """
    chosen = METRICS if names is None else [METRIC_OF[name] for name in names]
    with np.errstate(all="ignore"):
        return {each.name: _value(each, record) for each in chosen}


def _value(metric: Metric, record: TrackRecord) -> float | None:
    if not _has_input(metric, record):
        return None
    try:
        value = float(metric.compute(record))
    except ArithmeticError:  # beyond the range of floating point
        return None
    return value if isfinite(value) else None


def _has_input(metric: Metric, record: TrackRecord) -> bool:
    if metric.needs == "trips":
        return record.trips is not None
    return record.samples > 0 and (metric.needs != "benchmark" or record.benchmark is not None)
