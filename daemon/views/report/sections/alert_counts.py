"""Alerts by level, agent and kind, and the newest ones."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Note, Part, Row, Section, Table
from quantd.daemon.views.report.shared_rows import count_rows


def alerts(report: Report) -> list[Part]:
    """The numbers of alerts by level, agent and kind, and the last ones."""
    last = [
        Row(alert.time, [alert.level, alert.kind, alert.agent or alert.symbol, alert.text])
        for alert in report.last_alerts
    ]
    if not last:
        return [Note("none")]
    return [
        Table((), count_rows("alerts_by_level", report.alerts_by_level)),
        Table((), count_rows("alerts_by_agent", report.alerts_by_agent)),
        Table((), count_rows("alerts_by_kind", report.alerts_by_kind)),
        Table(("time", "level", "kind", "about", "text"), last, f"The last {len(last)}", numbers=False),
    ]


SECTION: Final = Section("alerts", 60, "Alerts", alerts)
