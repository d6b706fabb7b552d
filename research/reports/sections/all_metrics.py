"""The section of a report with every metric of the catalogue, by account."""

from typing import Final

from quantd.daemon.views.report.section_parts import Note, Section, Table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import first_benchmark, metric_rows, names_of

MISSING_NOTE: Final = (
    "A dash is a figure without a value. Costs and round trips of one agent's book need the history of its positions."
)


def metrics(report: BacktestReport) -> tuple[Table, Note]:
    text = f"Metrics relative to a benchmark use {first_benchmark(report)}. {MISSING_NOTE}"
    return Table(("", *names_of(report)), metric_rows(report)), Note(text)


SECTION: Final = Section(
    "metrics",
    130,
    "All metrics",
    metrics,
    about="the whole catalogue ([metrics](metrics.md))",
)
