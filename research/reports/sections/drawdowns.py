"""The section of a report on drawdowns: the drawdown over time, and the deepest drawdowns."""

from typing import Final

from quantd.daemon.views.report.section_parts import Plot, Row, Section, Table, cells
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import chart

COLUMNS: Final = {
    "depth": "fraction", "high": "text", "trough": "text", "recovered": "text", "samples_down": "count",
    "samples_up": "count",
}  # fmt: skip


def drawdowns(report: BacktestReport) -> tuple[Plot, Table]:
    """Return the chart of drawdown, which is drawn downwards, and the table of the deepest ones."""
    curves = report.curves
    rows = [Row(f"{k + 1}", cells(f"drawdowns.{k}", one, **COLUMNS)) for k, one in enumerate(report.drawdowns)]
    head = ("", "depth", "high", "trough", "recovered", "samples down", "samples up")
    return Plot("drawdown", chart(report, curves.ts, curves.drawdown, "percent", scale=-1.0)), Table(head, rows)


SECTION: Final = Section(
    "drawdowns",
    40,
    "Drawdown, and the deepest ones",
    drawdowns,
    link="Drawdowns",
    about="the drawdown over time; the five deepest ones with their dates",
)
