"""Orders by outcome, and trades that limits refused or cut."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.page_parts import count_rows, section, table
from quantd.daemon.views.report.sections.section import Section


def orders(report: Report) -> str:
    return section(
        "Orders and refusals",
        table(("orders", ""), count_rows("orders", report.orders)) if report.orders else "<p>no orders</p>",
        table(("trades refused by", ""), count_rows("refused", report.refused)) if report.refused else "",
        table(("trades cut by", ""), count_rows("cut", report.cut)) if report.cut else "",
    )


SECTION: Final = Section("orders", 80, orders)
