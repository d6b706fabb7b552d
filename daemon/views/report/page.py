"""A report as one page, which opens without a network and shows the figures of the JSON beside it."""

from collections.abc import Iterable
from html import escape
from typing import Final

from quantd.daemon.views.report import section_order
from quantd.daemon.views.report import sections as package
from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.drawing import STYLE
from quantd.daemon.views.report.markup import document
from quantd.daemon.views.report.sections.section import Section
from quantd.records import every

TITLES: Final = {"daily_report": "Daily risk report", "risk_report": "Weekly risk report", "hand": "Risk report"}
MORE_STYLE: Final = (
    ".n{text-align:right}.full{color:var(--fall);font-weight:600}.near{color:var(--fall)}.wide{overflow-x:auto}"
    ".head .n{text-align:left}svg.s{width:10rem;height:1.6rem;display:block}section{margin:0 0 1rem}"
    "td,th{vertical-align:top}"
)


def in_order(records: Iterable[Section]) -> tuple[Section, ...]:
    """Sections sorted by `place`, their position on the page.

    Raises ValueError for two sections with the same name or place, and for one that needs an unknown field.
    """
    return section_order.in_order(records, Report, "a risk report")


SECTIONS: Final = in_order(section for _, section in every((package.__name__,), Section))
"""The sections of every page, in their order."""


def page(report: Report) -> str:
    h = report.header
    title = f"{TITLES.get(h.kind, TITLES['hand'])} of {h.name}, {h.first[:10]} to {h.last[:10]}"
    parts = (f"<h1>{escape(title)}</h1>", *(section.html(report) for section in SECTIONS))
    return document(title, "\n".join(part for part in parts if part), STYLE + MORE_STYLE)
