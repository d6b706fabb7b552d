"""Figures of results: plotly figures where plotly is installed, else the pictures of the reports."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from quantd.daemon.views.report.rendering import document, html
from quantd.regular_file import write_whole
from quantd.research.studies.heat_map import heat_map, maps
from quantd.research.studies.sweep import Sweep
from quantd.research.studies.sweep_points import METRICS
from quantd.trading.exit_codes import USAGE, ExplainedError


class NoFigure(ExplainedError, ValueError):
    """There is nothing to draw, or the metric is unknown. The text names the metrics that exist."""

    exit_code = USAGE


class Picture:
    """A picture of a report, which a notebook shows."""

    def __init__(self, html: str) -> None:
        self.html = html

    def write_html(self, path: str | Path) -> None:
        """Write one page that opens without a network."""
        write_whole(Path(path), document("Picture of a result", self.html).encode(), durable=False)

    def _repr_html_(self) -> str:
        return self.html


def account_plot(lines: Mapping[str, pl.DataFrame], picture: Callable[[], str]) -> Any:
    """Return a figure of equity above drawdown for each frame of `lines` (ts, equity, drawdown).

    Without plotly, the result shows the HTML that `picture` returns.
    """
    if find_spec("plotly") is None:
        return Picture(picture())
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3])
    for name, frame in lines.items():
        ts = frame["ts"].dt.replace_time_zone(None).to_list()
        figure.add_scatter(x=ts, y=frame["equity"].to_list(), name=name, row=1, col=1)
        drawdown_percent = (-100.0 * frame["drawdown"]).to_list()
        figure.add_scatter(x=ts, y=drawdown_percent, name=f"{name}, drawdown", row=2, col=1)
    figure.update_yaxes(title_text="equity", row=1, col=1)
    figure.update_yaxes(title_text="drawdown, %", row=2, col=1)
    return figure


def sweep_plot(sweep: Sweep, metric: str) -> Any:
    """Return a figure of a metric: a line over the values of one key, else heat maps over pairs of keys.

    Plotly draws the first two keys. Without plotly, every pair is drawn. Raises NoFigure for an unknown metric.
    """
    if metric not in METRICS:
        raise NoFigure(f"{metric!r} is no metric of a sweep; choose one of {', '.join(METRICS)}")
    if find_spec("plotly") is None:
        if not (drawn := maps(sweep, metric)):
            raise NoFigure(
                f"no point of the sweep has a value of {metric}; the reasons are in the column fault of its table"
            )
        return Picture(html(drawn))
    from plotly.graph_objects import Figure

    figure = Figure()
    if len(sweep.keys) > 1:
        x_labels, y_labels, cells = heat_map(sweep, sweep.keys[1], sweep.keys[0], metric)
        figure.add_heatmap(x=x_labels, y=y_labels, z=cells.tolist(), colorbar={"title": metric})
        figure.update_layout(xaxis={"title": sweep.keys[1], "type": "category"},
                             yaxis={"title": sweep.keys[0], "type": "category"})  # fmt: skip
        return figure
    labels = [point.values[0] for point in sweep.points]
    values = [point.metrics.get(metric) for point in sweep.points]
    figure.add_scatter(x=labels, y=values, mode="lines+markers")
    figure.update_layout(xaxis={"title": sweep.keys[0], "type": "category"}, yaxis={"title": metric})
    return figure
