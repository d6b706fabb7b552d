"""Computes a feature set over a whole history: float64[T, N, F], or only the newest rows."""

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
class Placed:
    """Features of one timeline with their positions in the set."""

    places: list[int]
    features: list[Feature]

    @property
    def nodes(self) -> list[Node]:
        """The nodes of the features, in their order."""
        return [f.node() for f in self.features]


OF_ROWS: Final = ("portfolio", SERIES)
"""Groups with a value for each instrument in every row, also in rows without a bar."""


def timelines(spec: FeatureSpec) -> dict[str, Placed]:
    """Group the features by timeline: day, week, month (an instrument's bars), own and shared (all rows)."""
    by_line: dict[str, Placed] = {}
    for place, feature in enumerate(spec.features):
        line = "shared" if feature.about.shared else "own" if feature.about.group in OF_ROWS else feature.every
        placed = by_line.setdefault(line, Placed([], []))
        placed.places.append(place)
        placed.features.append(feature)
    return by_line


def compute(spec: FeatureSpec, inputs: Inputs, *, rows: int | None = None) -> Floats:
    """Return float64[rows, N, F]: the newest `rows` (by default all) of every feature, NaN without a value. Row t
    depends on rows up to t only. Raises ValueError when `inputs` lacks something that the set needs."""
    refuse_missing(spec, given_by(inputs))
    total, size = inputs.bars["close"].shape
    count = total if rows is None else rows
    out = np.full((count, size, len(spec.features)), np.nan)
    bars = {name: inputs.bars[name] for name in FIELDS}
    present = bars_present(bars)
    close = _benchmark(inputs, present)
    for line, placed in timelines(spec).items():
        if line == "shared":
            fields = _shared_fields(inputs, close)
            values = _along_rows(placed, fields, count)
        elif line == "own":
            values = _along_rows(placed, inputs.by_symbol, count)
        else:
            fields = bars if close is None else {**bars, "benchmark": np.repeat(close[:, None], size, axis=1)}
            if line == "day":
                values = by_bars(placed.nodes, fields, present, count)
            else:
                values = _along_periods(placed, fields, present, periods(inputs.session, line), count)
        for place, feature, node in zip(placed.places, placed.features, placed.nodes, strict=True):
            value = values[node.key]
            if feature.across:
                value = np.array([across(row, feature.across) for row in value])
            out[:, :, place] = value
    return out


def _benchmark(inputs: Inputs, present: Bools) -> Floats | None:
    """Return float64[T], the benchmark's last known close."""
    if inputs.benchmark is None:
        return None
    column = inputs.benchmark
    return carried(np.where(present[:, column], inputs.bars["close"][:, column], np.nan))


def _shared_fields(inputs: Inputs, benchmark: Floats | None) -> dict[str, Floats]:
    given = {name: carried(column) for name, column in inputs.shared.items()}
    given |= book_fields(inputs.by_symbol.get("weight"))
    given |= progress(inputs.session)
    if benchmark is not None:
        given["benchmark"] = benchmark
    return {name: column[:, None] for name, column in given.items()}


def _along_rows(placed: Placed, fields: Mapping[str, Floats], rows: int) -> dict[str, Floats]:
    total, size = next(iter(fields.values())).shape
    number = np.broadcast_to(np.arange(total, dtype=np.float64)[:, None], (total, size))
    return evaluate(placed.nodes, fields, number, rows)


def _along_periods(
    placed: Placed, fields: Mapping[str, Floats], present: Bools, period: NDArray[np.int64], rows: int
) -> dict[str, Floats]:
    """Compute features on completed bars of weeks or months; each row has the newest of these."""
    size = present.shape[1]
    starts = np.flatnonzero(np.r_[True, period[1:] != period[:-1]])
    if len(starts) < 2:
        return {node.key: np.full((rows, size), np.nan) for node in placed.nodes}
    period_bars, has = _aggregated(fields, present, starts)
    over = {name: column[:-1] for name, column in period_bars.items()}
    values = by_bars(placed.nodes, over, has[:-1], 1 if rows == 1 else len(starts) - 1)
    if rows == 1:
        return values
    # row t belongs to period number p and uses period p - 1
    seen = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(period)])) - 1
    out = {}
    for key, value in values.items():
        spread = np.where((seen >= 0)[:, None], value[np.maximum(seen, 0)], np.nan)
        out[key] = spread[len(period) - rows :] if rows <= len(period) else spread
    return out


def _aggregated(
    fields: Mapping[str, Floats], present: Bools, starts: NDArray[np.int64]
) -> tuple[dict[str, Floats], Bools]:
    """Aggregate bars into periods that begin at rows `starts`."""
    rows = np.arange(len(present))[:, None]
    has = np.logical_or.reduceat(present, starts, axis=0)
    first = np.minimum.reduceat(np.where(present, rows, len(present)), starts, axis=0)
    last = np.maximum.reduceat(np.where(present, rows, -1), starts, axis=0)
    first, last = np.minimum(first, len(present) - 1), np.maximum(last, 0)
    clean = cleaned(fields, present)
    bars = {
        "open": np.take_along_axis(clean["open"], first, axis=0),
        "high": np.maximum.reduceat(np.where(present, clean["high"], -np.inf), starts, axis=0),
        "low": np.minimum.reduceat(np.where(present, clean["low"], np.inf), starts, axis=0),
        "close": np.take_along_axis(clean["close"], last, axis=0),
        "volume": np.add.reduceat(np.where(present, clean["volume"], 0.0), starts, axis=0),
    }
    bars = {name: np.where(has, column, np.nan) for name, column in bars.items()}
    if "benchmark" in fields:
        bars["benchmark"] = fields["benchmark"][np.r_[starts[1:], len(present)] - 1]
    return bars, has
