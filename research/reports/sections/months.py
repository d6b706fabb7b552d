"""The section of a report with the heat map of monthly returns, and the returns of years."""

from typing import Final

from quantd.daemon.views.report.section_parts import Cell, Note, Row, Section, Table
from quantd.research.metrics.calendar_tables import PeriodReturn
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import first_benchmark

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

FULL_COLOR: Final = {"month": 0.10, "year": 0.30}
"""Absolute returns of a month and of a year from which on the colour of the heat map is strongest."""


def months(report: BacktestReport) -> tuple[Table, Note]:
    """Return the heat map: a row for each year with its months, the year's return, and the first benchmark's return."""
    index = {(month.year, month.month): k for k, month in enumerate(report.months)}
    rows = []
    for k, year in enumerate(report.years):
        cells: list[Cell | str] = []
        for month in range(1, 13):
            at = index.get((year.year, month))
            cells.append("" if at is None else _heat(f"months.{at}", report.months[at], FULL_COLOR["month"]))
        cells.append(_heat(f"years.{k}", year, FULL_COLOR["year"]))
        if year.benchmark is not None:
            cells.append(Cell(f"years.{k}.benchmark", year.benchmark, "fraction", ""))
        rows.append(Row(str(year.year), cells))
    has_benchmark = any(year.benchmark is not None for year in report.years)
    head = ("", *MONTHS, "year", *([first_benchmark(report)] if has_benchmark else []))
    text = "Returns of calendar months and years after costs. The first and the last one may be partial."
    return Table(head, rows, kind="heat", numbers=False), Note(text)


def _heat(path: str, period: PeriodReturn, full: float) -> Cell:
    """Return the cell of a period's return in percent, blue for a gain and red for a loss, strongest from `full` on.

    The cell shows rounded text such as "+1.2", and carries the exact value and its `path` in the report's JSON.
    """
    value = period.total_return
    opacity = min(abs(value) / full, 1.0) * 0.75
    color = "47,111,222" if value >= 0.0 else "194,72,61"
    style = f"background:rgba({color},{opacity:.2f})"
    return Cell(f"{path}.total_return", value, "fraction", "", f"{100.0 * value:+.1f}", style)


SECTION: Final = Section(
    "months",
    60,
    "Monthly and annual returns, %",
    months,
    link="Months",
    about="a heat map of monthly returns, and the years",
)
