"""Cost of execution against a trade at the decision price."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.markup import row
from quantd.daemon.views.report.page_parts import NUMBER, figure, section, table
from quantd.daemon.views.report.sections.section import Section


def shortfall(report: Report) -> str:
    """The section of the implementation shortfall, with a row for all orders and one for each symbol."""
    rows = []
    for k, cost in enumerate(report.shortfall):
        json_path = f"shortfall.{k}"
        rows.append(
            row(
                cost.what,
                figure(f"{json_path}.value", cost.value),
                *(
                    figure(f"{json_path}.{name}", getattr(cost, name), form)
                    for part in ("delay", "impact", "fees", "opportunity", "total")
                    for name, form in ((part, "{}"), (f"{part}_bp", NUMBER))
                ),
            )
        )
    head = ["", "value"]
    for part in ("delay", "impact and spread", "fees", "opportunity", "total"):
        head += [part, "bp"]
    note = (
        "Cost against a trade of the whole size at the decision price; positive is worse. Delay lasts until the "
        "order's market opens, impact from then on (docs/trade/execution.md)."
    )
    return section("Implementation shortfall", table(head, rows), f"<p>{note}</p>")


SECTION: Final = Section("shortfall", 90, shortfall, needs="shortfall")
