"""Sections of a report, found in their folder, and what stands above them."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from quantd.daemon.views.report import section_order
from quantd.research.reports import sections as package
from quantd.research.reports.page_parts import paragraph
from quantd.research.reports.report_contents import BacktestReport, ReportHeader
from quantd.research.reports.sections.section import Section
from quantd.research.verdict import headline


def in_order(records: Iterable[Section]) -> tuple[Section, ...]:
    """Sections by their place. Raises ValueError for two with one name or place, and for a need that no report has."""
    return section_order.in_order(records, BacktestReport, "a report")


SECTIONS: Final = in_order(section_order.sections_in(package.__name__, Section))
"""The sections of every report, in their order."""


def top(report: BacktestReport) -> str:
    """Title, verdict and links to the sections."""
    h = report.header
    links = "".join(f'<a href="#{section.name}">{escape(section.link)}</a>' for section in SECTIONS)
    costs = cost_settings(h)
    return (
        f"<h1>Backtest of {escape(h.name)}, {h.first} to {h.last}</h1>"
        f"{''.join(paragraph(text, 'verdict no') for text in report.verdict.faults)}"
        f"{paragraph(headline(report.verdict), 'verdict')}"
        f"{paragraph(f'{counted(h.symbols)}. Costs: {costs}.')}<nav>{links}</nav>"
    )


def cost_settings(header: ReportHeader) -> str:
    """The settings of the costs that are not zero, in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in header.costs.items() if value) or "none"


def counted(symbols: Sequence[str]) -> str:
    """The number of symbols and their names."""
    return f"{len(symbols)} symbol{'' if len(symbols) == 1 else 's'}: {shortened(symbols)}"


def shortened(names: Sequence[str], most: int = 30) -> str:
    """Join names; the rest of a long list is a number."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
