"""The section of a report on gross and net exposure over time, and weights by symbol."""

from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.reports.page_parts import figure, formatted, paragraph, placed, table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.section import Charts, Section, Table


def exposures(report: BacktestReport, _: Charts) -> str:
    rows = [
        row(holding.symbol, *(figure(f"exposures.weights.{k}.{name}", getattr(holding, name), "fraction")
                           for name in ("end", "average", "largest")))
        for k, holding in enumerate(report.exposures.weights)
    ]  # fmt: skip
    weights = table(("symbol", "at the end", "average", "largest"), rows) if rows else paragraph("Weights are unknown.")
    return placed("exposure") + weights


def tables(report: BacktestReport) -> tuple[Table, ...]:
    rows = [
        (holding.symbol, *(formatted(value, "fraction") for value in (holding.end, holding.average, holding.largest)))
        for holding in report.exposures.weights
    ]
    return (Table("Weights", ("symbol", "at the end", "average", "largest"), rows),)


SECTION: Final = Section(
    "exposures",
    70,
    "Exposures",
    exposures,
    tables,
    heading="Exposure over equity, and weights",
    about="gross and net exposure over time; weights at the end, on average, and the largest",
)
