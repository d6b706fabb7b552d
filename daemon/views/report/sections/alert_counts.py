"""Alerts by level, agent and kind, and the newest ones."""

from html import escape
from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.page_parts import count_rows, section, table
from quantd.daemon.views.report.sections.section import Section


def alerts(report: Report) -> str:
    """The section of the alerts: their numbers by level, agent and kind, and the last ones."""
    cells = [
        (alert.time, alert.level, alert.kind, alert.agent or alert.symbol, alert.text) for alert in report.last_alerts
    ]
    last = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells]
    if not last:
        return section("Alerts", "<p>none</p>")
    return section(
        "Alerts",
        table((), count_rows("alerts_by_level", report.alerts_by_level)),
        table((), count_rows("alerts_by_agent", report.alerts_by_agent)),
        table((), count_rows("alerts_by_kind", report.alerts_by_kind)),
        f"<h2>The last {len(last)}</h2>",
        table(("time", "level", "kind", "about", "text"), last),
    )


SECTION: Final = Section("alerts", 60, alerts)
