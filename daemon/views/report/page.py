"""A risk report as one page, which opens without a network and shows the figures of the JSON beside it."""

from typing import Final

from quantd.daemon.views.report import rendering
from quantd.daemon.views.report import sections as package
from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Section, in_order
from quantd.records import every

TITLES: Final = {"daily_report": "Daily risk report", "risk_report": "Weekly risk report", "hand": "Risk report"}

SECTIONS: Final[tuple[Section[Report], ...]] = in_order(
    (section for _, section in every((package.__name__,), Section)), Report, "a risk report"
)
"""The sections of every page, in their order."""


def page(report: Report) -> str:
    h = report.header
    title = f"{TITLES.get(h.kind, TITLES['hand'])} of {h.name}, {h.first[:10]} to {h.last[:10]}"
    return rendering.page(title, (), SECTIONS, report)
