"""Catalogue of metrics: every metric once, with its formula, unit and source, and the function that measures them.

Metrics are collected from the modules of this package, and from installed packages that name their metrics by an entry
point of the group `quantd.metrics`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from math import isfinite
from types import MappingProxyType, ModuleType
from typing import Final

import numpy as np

from quantd.records import entry_points, loaded, modules
from quantd.research import metrics as package
from quantd.research.metrics.metric import Metric
from quantd.research.metrics.track_record import TrackRecord

__all__ = [
    "METRICS", "METRIC_OF", "SYMBOLS", "Measures", "Metric", "by_name", "is_annual", "measure", "metrics_in",
]  # fmt: skip

GROUP: Final = "quantd.metrics"
"""The entry-point group of installed packages with metrics; each names a tuple of them."""

LAST: Final = 1000
"""Position in tables of the metrics of a module without `PLACE`: after all other modules of this package."""

SYMBOLS: Final = {
    "W, r, b": "wealth, simple returns of a sample, returns of the benchmark",
    "T, p": "number of returns, samples a year",
    "f": "risk-free rate of a sample: the annual rate / p",
    "e, x": "excess returns: e = r - f, x = b - f",
    "D": "drawdown of wealth",
    "g": "profits of round trips after fees",
    "sd": "standard deviation with the divisor n - 1",
}
"""Meaning of the letters in formulas."""


def metrics_in(module: ModuleType) -> tuple[Metric, ...]:
    """Return the metrics that a module defines, in the order of its source, without imported metrics."""
    defined = (value for value in vars(module).values() if isinstance(value, Metric))
    return tuple(metric for metric in defined if metric.compute.__module__ == module.__name__)


def _every_metric() -> Iterator[Metric]:
    """Yield the metrics of this package, ordered by the `PLACE` of their module, then those of installed packages."""
    imported = map(import_module, modules(package.__name__).values())
    for module in sorted(imported, key=lambda module: getattr(module, "PLACE", LAST)):
        yield from metrics_in(module)
    for entry in entry_points(GROUP):
        yield from loaded(entry, tuple)


def by_name(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """Return the metrics by name, in their order. Raises ValueError where two have the same name or title."""
    metric_of: dict[str, Metric] = {}
    titles: dict[str, str] = {}
    for metric in metrics:
        duplicate = metric.name if metric.name in metric_of else titles.get(metric.title)
        if duplicate is not None:
            modules = f"{metric_of[duplicate].compute.__module__} and {metric.compute.__module__}"
            raise ValueError(f"two metrics are called {metric.name} or {metric.title!r}, in {modules}: rename one")
        metric_of[metric.name], titles[metric.title] = metric, metric.name
    return metric_of


METRIC_OF: Final = MappingProxyType(by_name(_every_metric()))
"""Name -> metric, in the order of tables."""

METRICS: Final[tuple[Metric, ...]] = tuple(METRIC_OF.values())
"""Every metric, in the order of tables."""

_ANNUAL: Final = re.compile(r"\bp\b|CAGR|alpha|Sharpe ratio")
"""Matches the formula of an annualised metric, which has the samples a year or an annualised figure."""


class Measures(dict[str, float | None]):
    """The value of each metric by name, None where it is undefined. `str()` returns one line for each metric.

    `annualised` is a note where annual figures come from less than a year, such as "annualised from 4 months"; else it
    is empty. `overlap` is a reason for doubt where the windows of the returns overlap; else empty.
    """

    def __init__(self, record: TrackRecord) -> None:
        super().__init__(measure(record))
        self.samples, self.periods, self.annualised = record.samples, record.periods, record.annualised
        self.overlap = record.overlap

    def __str__(self) -> str:
        annual_note = f", {self.annualised}" if self.annualised else ""
        width = max(map(len, self))
        rows = [
            f"{name.ljust(width)}  {'undefined' if value is None else f'{value:.6g}'}"
            + (annual_note if value is not None and is_annual(METRIC_OF[name]) else "")
            for name, value in self.items()
        ]
        head = [*filter(None, [self.overlap]), f"{self.samples:,} samples, {self.periods:g} a year{annual_note}"]
        return "\n".join([*head, *rows])

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
    selected = METRICS if names is None else [METRIC_OF[name] for name in names]
    with np.errstate(all="ignore"):
        return {metric.name: _value(metric, record) for metric in selected}


def _value(metric: Metric, record: TrackRecord) -> float | None:
    """Return a metric's value; None where it is undefined or its input is missing."""
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
