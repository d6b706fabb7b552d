"""Equity and drawdown over time, and performance by span."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Cell, Heading, Note, Part, Row, Section, Table, curve
from quantd.daemon.views.report.shared_rows import SPAN_HEAD, span_row


def equity(report: Report) -> list[Part]:
    """The account's equity, its drawdown, drawn downwards, its performance by span, and its income."""
    rows = [span_row(f"spans.{k}", span) for k, span in enumerate(report.spans)]
    parts: list[Part] = [
        *curve("equity", report.equity, "ratio"),
        Heading("Drawdown"),
        *curve("drawdown", report.drawdown, "percent", "--fall", -1.0),
        Table(SPAN_HEAD, rows),
        Note(f"{report.header.sharpe_definition}."),
    ]
    if report.income:
        income = [Row(kind, [Cell(f"income.{kind}", amount)]) for kind, amount in report.income.items()]
        parts.append(Table(("income", ""), income))
    return parts


SECTION: Final = Section("equity", 20, lambda report: f"Equity, {report.header.currency}", equity)
