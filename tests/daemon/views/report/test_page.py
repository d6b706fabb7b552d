"""The sections of the page: found in their folder, in the order of their places, absent where their part is empty."""

import re
from dataclasses import replace

import pytest
from msgspec import structs

from quantd.daemon.views.report.contents import Header, House, Report
from quantd.daemon.views.report.page import SECTIONS, page
from quantd.daemon.views.report.section_parts import Section, in_order

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


def test_the_sections_stand_in_the_order_of_their_places() -> None:
    places = [section.place for section in SECTIONS]
    assert places == sorted(set(places))
    assert SECTIONS[0].name == "header"


SOME = Section("some", 1, "Some", lambda report: [])


@pytest.mark.parametrize(
    ("other", "wrong"),
    [
        (replace(SOME, place=2), "two sections of a risk report have the name some"),
        (replace(SOME, name="other"), "two sections of a risk report have the place 1"),
        (replace(SOME, name="other", place=2, needs="agnets"), "the section other needs agnets, which is no part"),
    ],
)
def test_records_that_contradict_each_other_are_refused(other: Section, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        in_order([SOME, other], Report, "a risk report")
