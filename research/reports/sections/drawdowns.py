"""The section of a report on drawdowns: the drawdown over time, and the deepest drawdowns."""

from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.reports.page_parts import figure, formatted, placed, table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.section import Charts, Section, Table


def drawdowns(report: BacktestReport, _: Charts) -> str:
    """Return the chart of drawdown and the table of the deepest ones, as HTML.

    The helper `figure` makes a cell from the number's path in the report's JSON, the number and its unit.
    """
    rows = [
        row(
            str(k + 1),
            *(figure(f"drawdowns.{k}.{name}", getattr(period, name), unit) for name, unit in (
                ("depth", "fraction"), ("high", "text"), ("trough", "text"), ("recovered", "text"),
                ("samples_down", "count"), ("samples_up", "count"),
            )),
        )
        for k, period in enumerate(report.drawdowns)
    ]  # fmt: skip
    head = ("", "depth", "high", "trough", "recovered", "samples down", "samples up")
    return placed("drawdown") + table(head, rows)


def tables(report: BacktestReport) -> tuple[Table, ...]:
    rows = [
        (formatted(period.depth, "fraction"), period.high, period.trough, period.recovered or "not yet")
        for period in report.drawdowns
    ]
    return (Table("Deepest drawdowns", ("depth", "high", "trough", "recovered"), rows),)


SECTION: Final = Section(
    "drawdowns",
    40,
    "Drawdowns",
    drawdowns,
    tables,
    heading="Drawdown, and the deepest ones",
    about="the drawdown over time; the five deepest ones with their dates",
)
