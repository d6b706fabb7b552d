"""Catalogue of metrics: every metric once, with its formula, unit and source, and the function that measures them.

A metric is found where it is defined: in a module of this package, or in an installed package that names its metrics by
an entry point of the group `quantd.metrics`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from math import isfinite
from types import MappingProxyType, ModuleType
from typing import Final

import numpy as np

from quantd.adapters.plugins import declaring, loaded
from quantd.entry_points import entry_points
from quantd.research import metrics as package
from quantd.research.metrics.metric import Metric
from quantd.research.metrics.track_record import TrackRecord

__all__ = [
    "METRICS", "METRIC_OF", "SYMBOLS", "Measures", "Metric", "by_name", "is_annual", "measure", "metrics_in",
]  # fmt: skip

GROUP: Final = "quantd.metrics"
"""The entry-point group of installed packages with metrics; each names a tuple of them."""

DECLARES: Final = re.compile(r"^@metric\(", re.MULTILINE)
"""Start of the line that defines a metric."""

LAST: Final = 1000
"""Place of the metrics of a module without `PLACE`, and of installed packages: after all others."""

SYMBOLS: Final = (
    "W wealth, r simple returns, T their number, p samples a year, f risk-free rate of a sample (annual rate / p), "
    "e = r - f, b benchmark returns, x = b - f, D drawdown of wealth, g profits of trips after fees, "
    "sd standard deviation (n - 1)"
)
"""Meaning of the letters in formulas."""


def metrics_in(module: ModuleType) -> tuple[Metric, ...]:
    """Return the metrics that a module defines, in the order of its source; imported ones belong to their module."""
    defined = (value for value in vars(module).values() if isinstance(value, Metric))
    return tuple(metric for metric in defined if metric.compute.__module__ == module.__name__)


def _every_metric() -> Iterator[Metric]:
    # the other modules are not imported: one of them imports the daemon, whose configuration reads this catalogue
    modules = [import_module(name) for name in sorted(declaring(package.__name__, DECLARES))]
    for module in sorted(modules, key=lambda module: getattr(module, "PLACE", LAST)):
        yield from metrics_in(module)
    for entry in entry_points(GROUP):
        yield from loaded(entry, tuple)


def by_name(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """Metrics by name, in their order. Raises ValueError for two with one name or one title."""
    named: dict[str, Metric] = {}
    titles: dict[str, str] = {}
    for metric in metrics:
        other = metric.name if metric.name in named else titles.get(metric.title)
        if other is not None:
            places = f"{named[other].compute.__module__} and {metric.compute.__module__}"
            raise ValueError(f"two metrics are called {metric.name} or {metric.title!r}, in {places}: rename one")
        named[metric.name], titles[metric.title] = metric, metric.name
    return named


METRIC_OF: Final = MappingProxyType(by_name(_every_metric()))
"""Name -> metric, in the order of tables."""

METRICS: Final[tuple[Metric, ...]] = tuple(METRIC_OF.values())

_ANNUAL: Final = re.compile(r"\bp\b|CAGR|alpha|Sharpe ratio")
"""Matches the formula of an annualised metric, which has the samples a year or an annualised figure."""


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
        return {metric.name: _value(metric, record) for metric in chosen}


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
