"""The section of a report on the equity of the whole account, of benchmarks, and of the agents' books."""

from typing import Final

from quantd.research.reports.page_parts import placed
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.section import Charts, Section


def equity(_: BacktestReport, charts: Charts) -> str:
    books = "<h3>Agents' books, growth of 1</h3>" + placed("books") if "books" in charts else ""
    return placed("equity") + books


def heading(_: BacktestReport, charts: Charts) -> str:
    scale = ", logarithmic scale" if charts["equity"].log else ""
    return f"Equity against benchmarks, growth of 1{scale}"


SECTION: Final = Section(
    "equity",
    30,
    "Equity",
    equity,
    heading=heading,
    about="growth of 1 against the benchmarks, and of the agents' books",
)
