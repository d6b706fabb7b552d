"""The section of a report on trading costs, by account."""

from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.reports.page_parts import figure, formatted, paragraph, table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.section import Charts, Section, Table


def costs(report: BacktestReport, _: Charts) -> str:
    """Return the table of costs, a row for each account, as HTML.

    The helper `figure` makes a cell from the number's path in the report's JSON, the number and its unit.
    """
    columns = ("orders", "traded", "commission", "slippage_paid", "borrow", "total", "interest")
    rows = [
        row(
            cost.account,
            *(figure(f"costs.{k}.{name}", getattr(cost, name), "count" if name == "orders" else "money")
              for name in columns),
            figure(f"costs.{k}.drag_annual", cost.drag_annual, "fraction"),
        )
        for k, cost in enumerate(report.costs)
    ]  # fmt: skip
    head = (
        "", "orders filled", "value traded", "commission", "slippage paid", "borrow fees", "costs", "interest",
        "drag a year",
    )  # fmt: skip
    text = f"Amounts in {report.header.currency}. The drag is the costs of a year over average equity. An order of "
    text += "several agents counts for each of them."
    return table(head, rows) + paragraph(text)


def tables(report: BacktestReport) -> tuple[Table, ...]:
    """Return the table of costs for Markdown, without interest."""
    columns = ("traded", "commission", "slippage_paid", "borrow", "total")
    rows = [
        (
            cost.account,
            formatted(cost.orders, "count"),
            *(formatted(getattr(cost, name), "money") for name in columns),
            formatted(cost.drag_annual, "fraction"),
        )
        for cost in report.costs
    ]
    head = ("", "orders filled", *columns, "drag a year")
    return (Table(f"Costs, {report.header.currency}", head, rows),)


SECTION: Final = Section(
    "costs",
    100,
    "Costs",
    costs,
    tables,
    about="orders with fills, commission, slippage paid and borrow fees, and their drag a year, of the account, of "
    "benchmarks and of agents",
)
