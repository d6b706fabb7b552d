"""Equity and drawdown over time, and performance by span."""

from html import escape
from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.markup import row
from quantd.daemon.views.report.page_parts import SPAN_HEAD, figure, line, section, span_row, table
from quantd.daemon.views.report.sections.section import Section


def equity(report: Report) -> str:
    """The section of the account's equity, its drawdown, its performance by span, and its income."""
    rows = [span_row(f"spans.{k}", span) for k, span in enumerate(report.spans)]
    return section(
        f"Equity, {report.header.currency}",
        line(report.equity, "var(--line)"),
        "<h2>Drawdown, %</h2>",
        line(report.drawdown, "var(--fall)", -100.0),  # a fraction lost, drawn downwards in percent
        table(SPAN_HEAD, rows),
        f"<p>{escape(report.header.sharpe_definition)}.</p>",
        table(("income", ""), (row(kind, figure(f"income.{kind}", amount)) for kind, amount in report.income.items()))
        if report.income
        else "",
    )


SECTION: Final = Section("equity", 20, equity)
