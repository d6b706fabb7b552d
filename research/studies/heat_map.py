"""The page of a sweep: a heat map of the Sharpe ratio for each pair of keys, a line for a single one, and the best
points."""

from collections.abc import Sequence
from html import escape
from itertools import combinations
from typing import Final

import numpy as np

from quantd.daemon.views.report.drawing import chart
from quantd.daemon.views.report.rendering import document
from quantd.research.studies.sweep import Sweep
from quantd.research.studies.sweep_points import METRICS
from quantd.trading.market import Floats

LISTED: Final = 50
"""Number of best points on the page."""

SPAN: Final = 0.5
"""The colours span at least this share of the largest value, and at least 0.5: a smaller difference of Sharpe ratios is
within their error."""

MAP_STYLE: Final = (
    ".wide{overflow-x:auto}.map td{padding:.2rem .5rem;text-align:right;border:0}.map th{padding:.2rem .5rem}"
    "td.n,th.n{text-align:right}"
)


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
    across_values = list(dict.fromkeys(point.values[across_index] for point in sweep.points))
    down_values = list(dict.fromkeys(point.values[down_index] for point in sweep.points))
    total, count = np.zeros((len(down_values), len(across_values))), np.zeros((len(down_values), len(across_values)))
    for point in sweep.points:
        if (value := point.metrics.get(metric)) is not None:
            cell = down_values.index(point.values[down_index]), across_values.index(point.values[across_index])
            total[cell] += value
            count[cell] += 1
    with np.errstate(invalid="ignore"):
        return across_values, down_values, np.where(count > 0, total / count, np.nan)


def heat_map_table(sweep: Sweep, across: str, down: str, metric: str = "sharpe") -> str:
    """Return a heat map as an HTML table; a green cell is high, a red one low. Small differences have similar colours
    (`SPAN`)."""
    across_values, down_values, cells = heat_map(sweep, across, down, metric)
    finite_cells = cells[np.isfinite(cells)]
    lowest, highest = (float(finite_cells.min()), float(finite_cells.max())) if len(finite_cells) else (0.0, 0.0)
    head = "".join(f'<th class="n">{escape(value)}</th>' for value in across_values)
    rows = "".join(
        f"<tr><th>{escape(value)}</th>{''.join(_cell(float(cell), lowest, highest) for cell in row)}</tr>"
        for value, row in zip(down_values, cells, strict=True)
    )
    other_keys = [key for key in sweep.keys if key not in (across, down)]
    mean = f", mean over {escape(', '.join(other_keys))}" if other_keys else ""
    return (
        f"<h2>{escape(metric)} by {escape(down)} (down) and {escape(across)} (across){mean}</h2>"
        f'<div class="wide"><table class="map"><tr><th></th>{head}</tr>{rows}</table></div>'
    )


def line_of_key(sweep: Sweep, metric: str = "sharpe") -> str:
    """Return a title and an SVG of a metric by the values of the sweep's only key; empty where no point has the
    metric."""
    label_values = [
        (point.values[0], value) for point in sweep.points if (value := point.metrics.get(metric)) is not None
    ]
    if not label_values:
        return ""
    heights: Floats = np.array([value for _, value in label_values])
    title = f"<h2>{escape(metric)} by {escape(sweep.keys[0])}</h2>"
    return title + chart(heights, [escape(label) for label, _ in label_values], "var(--line)")


def _cell(value: float, low: float, top: float) -> str:
    """Return the HTML of a cell, coloured from red at `low`, the lowest value of the map, to green at `top`."""
    if not np.isfinite(value):
        return "<td></td>"
    middle, span = (low + top) / 2.0, max(top - low, SPAN * max(1.0, abs(low), abs(top)))
    share = 0.5 + (value - middle) / span
    hue = 10.0 + 130.0 * share
    return f'<td style="background:hsl({hue:.0f} 55% 50% / .45)" data-value="{value:.6g}">{value:.2f}</td>'


def sweep_page(sweep: Sweep, name: str) -> str:
    """Return the page of a sweep as HTML, which opens without a network."""
    maps = "".join(heat_map_table(sweep, across, down) for down, across in combinations(sweep.keys, 2))
    if len(sweep.keys) == 1:
        maps = line_of_key(sweep)
    # a sweep of costs names no best point (the lowest cost always wins): its points stay in the order of the grid
    ranked = sweep.ran if sweep.costs else sorted(sweep.ran, key=lambda point: -(point.metrics["sharpe"] or 0.0))
    metrics = [name for name in sweep.table.columns if name not in sweep.keys and name != "fault"]
    rows = "".join(
        _row([*point.values, *("" if (value := point.metrics[key]) is None else f"{value:,.4f}" for key in metrics)])
        for point in ranked[:LISTED]
    )
    doubts = "".join(f"<p>{escape(line)}</p>" for line in sweep.doubt_lines())
    failed = "".join(f'<p class="verdict">{escape(line)}</p>' for line in sweep.failure_lines)
    title = "Points" if sweep.costs else "Best points"
    overfitting = sweep.overfitting
    overfit = (
        f"<p>Probability of overfitting {overfitting.probability:.2f}, by combinatorially symmetric "
        f"cross-validation of {overfitting.blocks} blocks; the choice loses out of sample in {overfitting.loss:.0%} of "
        "the divisions.</p>"
        if overfitting is not None
        else ""
    )
    body = f"""<h1>Sweep of {escape(name)}, {len(sweep.points):,} points</h1>
{failed}<p class="verdict">{escape(sweep.verdict())}</p>{doubts}{overfit}
{maps}<h2>{title}</h2><div class="wide"><table>{_row([*sweep.keys, *metrics], "th")}{rows}</table></div>"""
    return document(f"Sweep of {name}", body, style=MAP_STYLE)


def _row(cells: Sequence[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f'<{tag} class="n">{escape(cell)}</{tag}>' for cell in cells) + "</tr>"
