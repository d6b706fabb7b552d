"""The sections of the page: found in their folder, in the order of their places, absent where their part is empty."""

import re

from msgspec import structs

from quantd.daemon.views.report.contents import Header, House, Report
from quantd.daemon.views.report.page import page

HEADER = Header(
    "hand", "demo", "r1", "paper", "2019-01-02", "2019-01-03", 2, "abc", ("SPY",), "USD", "", {}, 0, {}, "c", "f", "v",
    "",
)  # fmt: skip
EMPTY = Report(
    HEADER, [], [], [], [], None, None, {}, {}, {}, {}, {}, [], [], {}, {}, {}, [], None, [], {}, House(None, [], []),
)  # fmt: skip


def headings(report: Report) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page(report))


BARE = ("Equity, USD", "House limits", "Alerts", "Switches", "Orders and refusals", "Comparison of agents")
"""Sections that every report has."""


def test_a_report_of_nothing_has_the_sections_that_need_nothing() -> None:
    assert tuple(heading for heading in headings(EMPTY) if heading in BARE) == BARE
    assert {"Exposures", "Risk by position", "Implementation shortfall"}.isdisjoint(headings(EMPTY))


def test_a_section_appears_in_its_place_with_the_part_that_it_needs() -> None:
    order = headings(structs.replace(EMPTY, symbols={"SPY": 0.5}))
    assert order.index("House limits") < order.index("Exposures") < order.index("Alerts")
