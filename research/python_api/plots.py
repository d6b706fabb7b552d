"""Pictures of results: those of the reports, for a notebook or a page."""

from pathlib import Path

from quantd.daemon.views.report.rendering import document, html
from quantd.regular_file import write_whole
from quantd.research.studies.heat_map import maps
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


def sweep_picture(sweep: Sweep, metric: str) -> Picture:
    """Return the picture of a metric: a line over the values of one key, else heat maps over pairs of keys.

    Raises NoFigure for an unknown metric, and where no point has a value of it.
    """
    if metric not in METRICS:
        raise NoFigure(f"{metric!r} is no metric of a sweep; choose one of {', '.join(METRICS)}")
    if not (drawn := maps(sweep, metric)):
        raise NoFigure(
            f"no point of the sweep has a value of {metric}; the reasons are in the column fault of its table"
        )
    return Picture(html(drawn))
