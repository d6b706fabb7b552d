"""Computes F features of N instruments over a history of T rows, float64[T, N, F], or for the newest rows only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.strategies.features.cross_section import across
from quantd.strategies.features.families import SERIES
from quantd.strategies.features.inputs import Inputs, book_fields, carried, given_by, periods, progress, refuse_missing
from quantd.strategies.features.specs import Feature, FeatureSpec
from quantd.strategies.indicators.batch import bars_present, by_bars, cleaned, evaluate
from quantd.strategies.indicators.nodes import Node
from quantd.trading.bars import FIELDS
from quantd.trading.market import Bools, Floats


@dataclass(frozen=True, slots=True)
class TimelineFeatures:
    """The features of one timeline, with their positions in the feature set."""

    positions: list[int]
    features: list[Feature]

    @property
    def nodes(self) -> list[Node]:
        """The nodes (computed columns) of the features, in their order."""
        return [f.node() for f in self.features]


OF_ROWS: Final = ("portfolio", SERIES)
"""Groups with a value for each instrument in every row, also in rows without a bar."""


def timelines(spec: FeatureSpec) -> dict[str, TimelineFeatures]:
    """Group the features by timeline, which tells at which rows (samples) they advance.

    "day", "week" and "month" advance with the bars of each instrument. "own" (a number for each instrument) and
    "shared" (one number for all) advance in every row. Each timeline has its features and their positions in `spec`.
    """
    by_line: dict[str, TimelineFeatures] = {}
    for position, feature in enumerate(spec.features):
        line = "shared" if feature.about.shared else "own" if feature.about.group in OF_ROWS else feature.every
        group = by_line.setdefault(line, TimelineFeatures([], []))
        group.positions.append(position)
        group.features.append(feature)
    return by_line


def compute(spec: FeatureSpec, inputs: Inputs, *, rows: int | None = None) -> Floats:
    """Return float64[rows, N, F]: the newest `rows` (None: all) of F features of N instruments, NaN without a value.

    Row t depends on rows up to t only. Raises ValueError when `inputs` lacks an input that the feature set needs.
    """
    refuse_missing(spec, given_by(inputs))
    total, size = inputs.bars["close"].shape
    count = total if rows is None else rows
    all_values = np.full((count, size, len(spec.features)), np.nan)
    bars = {name: inputs.bars[name] for name in FIELDS}
    present = bars_present(bars)
    benchmark_close = _benchmark(inputs, present)
    for line, group in timelines(spec).items():
        if line == "shared":
            fields = _shared_fields(inputs, benchmark_close)
            values = _computed_by_row(group, fields, count)
        elif line == "own":
            values = _computed_by_row(group, inputs.by_symbol, count)
        else:
            fields = (
                bars
                if benchmark_close is None
                else {**bars, "benchmark": np.repeat(benchmark_close[:, None], size, axis=1)}
            )
            if line == "day":
                values = by_bars(group.nodes, fields, present, count)
            else:
                values = _computed_by_period(group, fields, present, periods(inputs.session, line), count)
        for position, feature, node in zip(group.positions, group.features, group.nodes, strict=True):
            value = values[node.key]
            if feature.across:
                value = np.array([across(row, feature.across) for row in value])
            all_values[:, :, position] = value
    return all_values


def _benchmark(inputs: Inputs, present: Bools) -> Floats | None:
    """Return float64[T], the benchmark's last known close at each row; None without a benchmark."""
    if inputs.benchmark is None:
        return None
    column = inputs.benchmark
    return carried(np.where(present[:, column], inputs.bars["close"][:, column], np.nan))


def _shared_fields(inputs: Inputs, benchmark: Floats | None) -> dict[str, Floats]:
    """Return the fields of shared features, float64[T, 1] by name."""
    fields = {name: carried(column) for name, column in inputs.shared.items()}
    fields |= book_fields(inputs.by_symbol.get("weight"))
    fields |= progress(inputs.session)
    if benchmark is not None:
        fields["benchmark"] = benchmark
    return {name: column[:, None] for name, column in fields.items()}


def _computed_by_row(group: TimelineFeatures, fields: Mapping[str, Floats], rows: int) -> dict[str, Floats]:
    total, size = next(iter(fields.values())).shape
    number = np.broadcast_to(np.arange(total, dtype=np.float64)[:, None], (total, size))
    return evaluate(group.nodes, fields, number, rows)


def _computed_by_period(
    group: TimelineFeatures, fields: Mapping[str, Floats], present: Bools, period: NDArray[np.int64], rows: int
) -> dict[str, Floats]:
    """Return node key -> float64[rows, N]: features of N instruments on bars of completed weeks or months.

    `period` int64[T] numbers the week or month of each row. A row has the value of the previous, completed period, and
    NaN in the first period.
    """
    size = present.shape[1]
    starts = np.flatnonzero(np.r_[True, period[1:] != period[:-1]])
    if len(starts) < 2:
        return {node.key: np.full((rows, size), np.nan) for node in group.nodes}
    period_bars, has_bar = _bars_of_periods(fields, present, starts)
    completed = {name: column[:-1] for name, column in period_bars.items()}
    # for one row the last completed period suffices
    values = by_bars(group.nodes, completed, has_bar[:-1], 1 if rows == 1 else len(starts) - 1)
    if rows == 1:
        return values
    # row t belongs to period number p and uses period p - 1, which is -1 (none) in the first period
    completed_index = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(period)])) - 1
    by_key = {}
    for key, value in values.items():
        by_row = np.where((completed_index >= 0)[:, None], value[np.maximum(completed_index, 0)], np.nan)
        by_key[key] = by_row[len(period) - rows :] if rows <= len(period) else by_row
    return by_key


def _bars_of_periods(
    fields: Mapping[str, Floats], present: Bools, starts: NDArray[np.int64]
) -> tuple[dict[str, Floats], Bools]:
    """Return bars of the P weeks or months that begin at the rows `starts`, float64[P, N] by field.

    Also returns bool[P, N], True where a period has a bar of an instrument.
    """
    rows = np.arange(len(present))[:, None]
    has_bar = np.logical_or.reduceat(present, starts, axis=0)
    first_rows = np.minimum.reduceat(np.where(present, rows, len(present)), starts, axis=0)
    last_rows = np.maximum.reduceat(np.where(present, rows, -1), starts, axis=0)
    # valid indices also for a period without a bar, whose values become NaN below
    first_rows, last_rows = np.minimum(first_rows, len(present) - 1), np.maximum(last_rows, 0)
    clean = cleaned(fields, present)
    bars = {
        "open": np.take_along_axis(clean["open"], first_rows, axis=0),
        "high": np.maximum.reduceat(np.where(present, clean["high"], -np.inf), starts, axis=0),
        "low": np.minimum.reduceat(np.where(present, clean["low"], np.inf), starts, axis=0),
        "close": np.take_along_axis(clean["close"], last_rows, axis=0),
        "volume": np.add.reduceat(np.where(present, clean["volume"], 0.0), starts, axis=0),
    }
    bars = {name: np.where(has_bar, column, np.nan) for name, column in bars.items()}
    if "benchmark" in fields:
        bars["benchmark"] = fields["benchmark"][np.r_[starts[1:], len(present)] - 1]
    return bars, has_bar
