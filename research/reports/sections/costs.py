"""The section of a report on trading costs, by account."""

from typing import Final

from quantd.daemon.views.report.section_parts import Note, Row, Section, Table, cells
from quantd.research.reports.report_contents import BacktestReport

COLUMNS: Final = {
    "orders": "count", "traded": "money", "commission": "money", "slippage_paid": "money", "borrow": "money",
    "total": "money", "interest": "money", "drag_annual": "fraction",
}  # fmt: skip


def costs(report: BacktestReport) -> tuple[Table, Note]:
    """Return the table of costs, a row for each account."""
    rows = [Row(cost.account, cells(f"costs.{k}", cost, **COLUMNS)) for k, cost in enumerate(report.costs)]
    head = (
        "", "orders filled", "value traded", "commission", "slippage paid", "borrow fees", "costs", "interest",
        "drag a year",
    )  # fmt: skip
    text = f"Amounts in {report.header.currency}. The drag is the costs of a year over average equity. An order of "
    return Table(head, rows), Note(text + "several agents counts for each of them.")


SECTION: Final = Section(
    "costs",
    100,
    "Costs",
    costs,
    about="orders with fills, commission, slippage paid and borrow fees, and their drag a year, of the account, of "
    "benchmarks and of agents",
)
