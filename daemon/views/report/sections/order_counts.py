"""Orders by outcome, and trades that limits refused or cut."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Note, Section, Table
from quantd.daemon.views.report.shared_rows import count_rows


def orders(report: Report) -> list[Table | Note]:
    tables = [
        Table((title, ""), count_rows(name, getattr(report, name)))
        for name, title in (("orders", "orders"), ("refused", "trades refused by"), ("cut", "trades cut by"))
        if getattr(report, name)
    ]
    return [*([] if report.orders else [Note("no orders")]), *tables]


SECTION: Final = Section("orders", 80, "Orders and refusals", orders)
