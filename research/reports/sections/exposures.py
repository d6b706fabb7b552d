"""The section of a report on gross and net exposure over time, and weights by symbol."""

from typing import Final

from quantd.daemon.views.report.section_parts import Chart, Note, Part, Plot, Row, Section, Series, Table, cells
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import rounded, seconds


def exposures(report: BacktestReport) -> tuple[Part, ...]:
    exposure = report.exposures
    lines = [Series("gross", rounded(exposure.gross), "--c0", wide=True)]
    if exposure.net:
        lines.append(Series("net", rounded(exposure.net), "--c1", wide=True, dash=True))
    rows = [
        Row(one.symbol, cells(f"exposures.weights.{k}", one, end="fraction", average="fraction", largest="fraction"))
        for k, one in enumerate(exposure.weights)
    ]
    weights = Table(("symbol", "at the end", "average", "largest"), rows) if rows else Note("Weights are unknown.")
    return Plot("exposure", Chart(seconds(exposure.ts), tuple(lines), "percent")), weights


SECTION: Final = Section(
    "exposures",
    70,
    "Exposure over equity, and weights",
    exposures,
    link="Exposures",
    about="gross and net exposure over time; weights at the end, on average, and the largest",
)
