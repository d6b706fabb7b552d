"""The page of a sweep: a heat map of the Sharpe ratio for each pair of keys, a line for a single one, and the best
points."""

from html import escape
from itertools import combinations
from typing import Final

import numpy as np

from quantd.daemon.views.report import rendering
from quantd.daemon.views.report.drawing import chart
from quantd.daemon.views.report.section_parts import Cell, Heading, Note, Part, Row, Section, Svg, Table
from quantd.research.studies.sweep import Sweep
from quantd.research.studies.sweep_points import METRICS
from quantd.trading.market import Floats

LISTED: Final = 50
"""Number of best points on the page."""

SPAN: Final = 0.5
"""The colours span at least this share of the largest value, and at least 0.5: a smaller difference of Sharpe ratios is
within their error."""


def heat_map(sweep: Sweep, across: str, down: str, metric: str = "sharpe") -> tuple[list[str], list[str], Floats]:
    """Return (values of the key `across`, values of the key `down`, cells): `cells` float64[down, across] is the mean
    of a metric over the values of all other keys.

    A cell without a result is NaN. Raises ValueError for an unknown key or metric.
    """
    for key in (across, down):
        if key not in sweep.keys:
            raise ValueError(f"{key} is no key of this sweep; choose one of {', '.join(sweep.keys)}")
    if metric not in METRICS:
        raise ValueError(f"{metric} is no metric of a sweep; choose one of {', '.join(METRICS)}")
    across_index, down_index = sweep.keys.index(across), sweep.keys.index(down)
    across_values, down_values = sweep.values(across_index), sweep.values(down_index)
    total, count = np.zeros((len(down_values), len(across_values))), np.zeros((len(down_values), len(across_values)))
    for point in sweep.points:
        if (value := point.metrics.get(metric)) is not None:
            cell = down_values.index(point.values[down_index]), across_values.index(point.values[across_index])
            total[cell] += value
            count[cell] += 1
    with np.errstate(invalid="ignore"):
        return across_values, down_values, np.where(count > 0, total / count, np.nan)


def heat_map_table(sweep: Sweep, across: str, down: str, metric: str = "sharpe") -> Table:
    """Return a heat map as a table; a green cell is high, a red one low. Small differences have similar colours
    (`SPAN`)."""
    across_values, down_values, cells = heat_map(sweep, across, down, metric)
    finite_cells = cells[np.isfinite(cells)]
    lowest, highest = (float(finite_cells.min()), float(finite_cells.max())) if len(finite_cells) else (0.0, 0.0)
    rows = [
        Row(value, [_cell(cell, lowest, highest) for cell in row])
        for value, row in zip(down_values, cells.tolist(), strict=True)
    ]
    other_keys = [key for key in sweep.keys if key not in (across, down)]
    mean = f", mean over {', '.join(other_keys)}" if other_keys else ""
    title = f"{metric} by {down} (down) and {across} (across){mean}"
    return Table(("", *across_values), rows, title, "heat", numbers=False)


def maps(sweep: Sweep, metric: str = "sharpe") -> list[Part]:
    """Return a heat map of a metric for each pair of keys, or a line where the sweep has one key.

    The list is empty where the sweep has one key and no point has the metric.
    """
    if len(sweep.keys) > 1:
        return [heat_map_table(sweep, across, down, metric) for down, across in combinations(sweep.keys, 2)]
    pairs = [(point.values[0], value) for point in sweep.points if (value := point.metrics.get(metric)) is not None]
    if not pairs:
        return []
    heights: Floats = np.array([value for _, value in pairs])
    line = chart(heights, [escape(label) for label, _ in pairs], "var(--line)")
    return [Heading(f"{metric} by {sweep.keys[0]}"), Svg(line)]


def _cell(value: float, low: float, top: float) -> Cell | str:
    """Return a cell, coloured from red at `low`, the lowest value of the map, to green at `top`."""
    if not np.isfinite(value):
        return ""
    middle, span = (low + top) / 2.0, max(top - low, SPAN * max(1.0, abs(low), abs(top)))
    hue = 10.0 + 130.0 * (0.5 + (value - middle) / span)
    return Cell("", value, "ratio", "", style=f"background:hsl({hue:.0f} 55% 50% / .45)")


def _points(sweep: Sweep) -> tuple[Table]:
    # a sweep of costs names no best point (the lowest cost always wins): its points stay in the order of the grid
    ranked = sweep.ran if sweep.costs else sorted(sweep.ran, key=lambda point: -(point.metrics["sharpe"] or 0.0))
    metrics = [name for name in sweep.table.columns if name not in sweep.keys and name != "fault"]
    rows = [
        Row(point.values[0], [*point.values[1:], *(Cell("", point.metrics[name], "fine") for name in metrics)])
        for point in ranked[:LISTED]
    ]
    return (Table((*sweep.keys, *metrics), rows),)


SECTIONS: Final[tuple[Section[Sweep], ...]] = (
    Section("maps", 1, "Maps", maps),
    Section("points", 2, lambda sweep: "Points" if sweep.costs else "Best points", _points),
)


def sweep_page(sweep: Sweep, name: str) -> str:
    """Return the page of a sweep as HTML, which opens without a network."""
    notes = [
        *(Note(text, "verdict") for text in (*sweep.failure_lines, sweep.verdict())),
        *map(Note, sweep.doubt_lines()),
    ]
    if sweep.overfitting is not None:
        cscv = sweep.overfitting
        notes.append(Note(
            f"Probability of overfitting {cscv.probability:.2f}, by combinatorially symmetric cross-validation of "
            f"{cscv.blocks} blocks; the choice loses out of sample in {cscv.loss:.0%} of the divisions."
        ))  # fmt: skip
    return rendering.page(f"Sweep of {name}, {len(sweep.points):,} points", notes, SECTIONS, sweep)
