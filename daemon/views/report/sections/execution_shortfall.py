"""Cost of execution against a trade at the decision price."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Note, Row, Section, Table, cells

PARTS: Final = {
    "delay": "delay", "impact": "impact and spread", "fees": "fees", "opportunity": "opportunity", "total": "total",
}  # fmt: skip
"""Field of a cost -> heading; the next column has it in basis points."""


def shortfall(report: Report) -> tuple[Table, Note]:
    """The implementation shortfall, with a row for all orders and one for each symbol."""
    units = {"value": "text"} | {name: unit for part in PARTS for name, unit in ((part, "text"), (f"{part}_bp", "bp"))}
    rows = [Row(cost.what, cells(f"shortfall.{k}", cost, **units)) for k, cost in enumerate(report.shortfall)]
    head = ("", "value", *(name for title in PARTS.values() for name in (title, "bp")))
    note = (
        "Cost against a trade of the whole size at the decision price; positive is worse. Delay lasts until the "
        "order's market opens, impact from then on (docs/trade/execution.md)."
    )
    return Table(head, rows), Note(note)


SECTION: Final = Section("shortfall", 90, "Implementation shortfall", shortfall, needs="shortfall")
