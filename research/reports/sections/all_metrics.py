"""The section of a report with every metric of the catalogue, by account."""

from typing import Final

from quantd.research.reports.page_parts import paragraph, table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import first_benchmark, metric_rows, metric_texts, names_of
from quantd.research.reports.sections.section import Charts, Section, Table

MISSING_NOTE: Final = (
    "A dash is a figure without a value. Costs and round trips of one agent's book need the history of its positions."
)


def metrics(report: BacktestReport, _: Charts) -> str:
    text = f"Metrics relative to a benchmark use {first_benchmark(report)}. {MISSING_NOTE}"
    return table(("", *names_of(report)), metric_rows(report)) + paragraph(text)


def tables(report: BacktestReport) -> tuple[Table, ...]:
    return (Table("All metrics", ("", *names_of(report)), metric_texts(report)),)


SECTION: Final = Section(
    "metrics",
    130,
    "All metrics",
    metrics,
    tables,
    about="the whole catalogue ([metrics](metrics.md))",
)
