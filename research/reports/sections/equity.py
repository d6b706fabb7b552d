"""The section of a report on the equity of the whole account, of benchmarks, and of the agents' books."""

from typing import Final

from quantd.daemon.views.report.section_parts import Plot, Section
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import chart

WIDE_RANGE: Final = 4.0
"""The scale of a chart is logarithmic where the highest wealth is more than this multiple of the lowest."""

BENCHMARKS: Final = "house benchmark"
BOOKS: Final = "house agent"


def equity(report: BacktestReport) -> list[Plot]:
    """Return the chart of the account and its benchmarks. With two or more agents, their books have a chart too."""
    curves = report.curves
    plots = []
    for name, kinds, title in (("equity", BENCHMARKS, ""), ("books", BOOKS, "Agents' books, growth of 1")):
        # the book of a single agent would repeat the house
        if kinds == BENCHMARKS or sum(account.kind in kinds for account in report.accounts) > 2:
            wide, high = _is_wide(report, kinds), kinds == BENCHMARKS
            lines = chart(report, curves.ts, curves.wealth, "ratio", kinds=kinds, log=wide, high=high)
            plots.append(Plot(name, lines, title))
    return plots


def _is_wide(report: BacktestReport, kinds: str) -> bool:
    """Return True where the wealth of the accounts of these kinds needs a logarithmic scale."""
    rows = zip(report.curves.wealth, report.accounts, strict=True)
    values = [value for row, account in rows if account.kind in kinds for value in row if value is not None]
    return bool(values) and min(values) > 0.0 and max(values) / min(values) > WIDE_RANGE


def heading(report: BacktestReport) -> str:
    scale = ", logarithmic scale" if _is_wide(report, BENCHMARKS) else ""
    return f"Equity against benchmarks, growth of 1{scale}"


SECTION: Final = Section(
    "equity",
    30,
    heading,
    equity,
    link="Equity",
    about="growth of 1 against the benchmarks, and of the agents' books",
)
