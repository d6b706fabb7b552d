"""The section of a report with the heat map of monthly returns, and the returns of years."""

from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.metrics.calendar_tables import PeriodReturn
from quantd.research.reports.page_parts import figure, formatted, paragraph, table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import first_benchmark
from quantd.research.reports.sections.section import Charts, Section, Table

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

FULL_COLOR: Final = {"month": 0.10, "year": 0.30}
"""Absolute returns of a month and of a year from which on the colour of the heat map is strongest."""


def months(report: BacktestReport, _: Charts) -> str:
    """Return the heat map: a row for each year with its months, the year's return, and the first benchmark's return.

    A gain or loss of FULL_COLOR or more has the strongest colour. The helper `figure` makes a cell from the number's
    path in the report's JSON, the number and its unit.
    """
    index = {(month.year, month.month): k for k, month in enumerate(report.months)}
    rows = []
    for k, year in enumerate(report.years):
        cells = [
            _heat_cell(f"months.{index[year.year, month]}", report.months[index[year.year, month]], FULL_COLOR["month"])
            if (year.year, month) in index else "<td></td>"
            for month in range(1, 13)
        ]  # fmt: skip
        cells.append(_heat_cell(f"years.{k}", year, FULL_COLOR["year"]))
        if year.benchmark is not None:
            cells.append(figure(f"years.{k}.benchmark", year.benchmark, "fraction", ""))
        rows.append(row(str(year.year), *cells))
    has_benchmark = any(year.benchmark is not None for year in report.years)
    head = ("", *MONTHS, "year", *([first_benchmark(report)] if has_benchmark else []))
    text = "Returns of calendar months and years after costs. The first and the last one may be partial."
    return table(head, rows, "heat", numbers=False) + paragraph(text)


def _heat_cell(path: str, period: PeriodReturn, full: float) -> str:
    """Return the cell of a period's return in percent, blue for a gain and red for a loss, strongest from `full` on.

    The cell shows rounded text such as "+1.2", and carries the exact value and its `path` in the report's JSON.
    """
    value = period.total_return
    opacity = min(abs(value) / full, 1.0) * 0.75
    color = "47,111,222" if value >= 0.0 else "194,72,61"
    cell = figure(f"{path}.total_return", value, "fraction", "")
    shown = cell.replace(formatted(value, "fraction"), f"{100.0 * value:+.1f}")
    return shown.replace("<td ", f'<td style="background:rgba({color},{opacity:.2f})" ', 1)


def tables(report: BacktestReport) -> tuple[Table, ...]:
    """Return the tables of annual and of monthly returns for Markdown."""
    years = [
        (str(year.year), formatted(year.total_return, "signed"), formatted(year.benchmark, "signed"))
        for year in report.years
    ]
    months_of_house = [
        (f"{month.year}-{month.month:02d}", formatted(month.total_return, "signed")) for month in report.months
    ]
    return (
        Table("Annual returns", ("year", "house", "first benchmark"), years),
        Table("Monthly returns", ("month", "house"), months_of_house),
    )


SECTION: Final = Section(
    "months",
    60,
    "Months",
    months,
    tables,
    heading="Monthly and annual returns, %",
    about="a heat map of monthly returns, and the years",
)
