"""The sections of a report, loaded from their folder, and the top of the page: title, verdict and links."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from quantd.daemon.views.report import section_order
from quantd.records import every
from quantd.research.reports import sections as package
from quantd.research.reports.page_parts import paragraph
from quantd.research.reports.report_contents import BacktestReport, ReportHeader
from quantd.research.reports.sections.section import Section
from quantd.research.verdict import headline


def in_order(records: Iterable[Section]) -> tuple[Section, ...]:
    """Return the sections sorted by `place`, their position on the page.

    Raises ValueError for two sections with the same name or place, and for a section whose `needs` is no field of
    BacktestReport.
    """
    return section_order.in_order(records, BacktestReport, "a report")


SECTIONS: Final = in_order(section for _, section in every((package.__name__,), Section))
"""The sections of every report, in their order."""


def top(report: BacktestReport) -> str:
    """Return the top of the page as HTML: title, failed decisions, verdict, symbols, costs, and links to sections."""
    header = report.header
    links = "".join(f'<a href="#{section.name}">{escape(section.link)}</a>' for section in SECTIONS)
    costs = cost_settings(header)
    return (
        f"<h1>Backtest of {escape(header.name)}, {header.first} to {header.last}</h1>"
        f"{''.join(paragraph(text, 'verdict no') for text in report.verdict.faults)}"
        f"{paragraph(headline(report.verdict), 'verdict')}"
        f"{paragraph(f'{counted(header.symbols)}. Costs: {costs}.')}<nav>{links}</nav>"
    )


def cost_settings(header: ReportHeader) -> str:
    """Return the cost settings that are not zero, in one line, such as "commission bp 1, spread bp 2"; else "none"."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in header.costs.items() if value) or "none"


def counted(symbols: Sequence[str]) -> str:
    """Return the number of symbols and their names, such as "2 symbols: QQQ, SPY"."""
    return f"{len(symbols)} symbol{'' if len(symbols) == 1 else 's'}: {shortened(symbols)}"


def shortened(names: Sequence[str], most: int = 30) -> str:
    """Join the first `most` names with commas. Further names are only counted: "A, B and 3 more"."""
    further = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + further
