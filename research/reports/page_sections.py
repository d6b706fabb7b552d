"""The sections of a report, loaded from their folder, and its page: title, verdict, links and sections."""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.views.report import rendering
from quantd.daemon.views.report.section_parts import Note, Section, in_order
from quantd.records import every
from quantd.research.reports import sections as package
from quantd.research.reports.report_contents import BacktestReport, ReportHeader
from quantd.research.verdict import headline
from quantd.trading.display_text import some

SECTIONS: Final[tuple[Section[BacktestReport], ...]] = in_order(
    (section for _, section in every((package.__name__,), Section)), BacktestReport, "a report"
)
"""The sections of every report, in their order."""


def title(report: BacktestReport) -> str:
    """The title of a report."""
    return f"Backtest of {report.header.name}, {report.header.first} to {report.header.last}"


def page(report: BacktestReport) -> str:
    """Return the page of a report: title, failed decisions, verdict, symbols, costs, links to sections, sections."""
    notes = [*(Note(text, "verdict no") for text in report.verdict.faults), Note(headline(report.verdict), "verdict")]
    notes.append(Note(about(report)))
    return rendering.page(title(report), notes, SECTIONS, report, linked=True)


def about(report: BacktestReport) -> str:
    """The symbols and the costs of a report, as sentences."""
    return f"{counted(report.header.symbols)}. Costs: {cost_settings(report.header)}."


def cost_settings(header: ReportHeader) -> str:
    """Return the cost settings that are not zero, in one line, such as "commission bp 1, spread bp 2"; else "none"."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in header.costs.items() if value) or "none"


def counted(symbols: Sequence[str]) -> str:
    """Return the number of symbols and their names, such as "2 symbols: QQQ, SPY"."""
    return f"{len(symbols)} symbol{'' if len(symbols) == 1 else 's'}: {some(symbols, 30)}"
