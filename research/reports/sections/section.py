"""The record of a section: its place and heading, what it needs of a report, its part of the page and its tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from quantd.research.reports.page_parts import Chart, paragraph, section
from quantd.research.reports.report_contents import BacktestReport

Charts = Mapping[str, Chart]
"""The charts of the page by name."""


class Table(NamedTuple):
    """A table of the Markdown text."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def no_tables(_: BacktestReport) -> tuple[Table, ...]:
    """Return no table, for a section that has none."""
    return ()


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a report. A module of this package with a record `SECTION` adds it.

    `name` is the anchor on the page, and `link` the text of the link to it. `place` sets the order. `content` returns
    the HTML below the heading, and `tables` the tables of the Markdown text. `heading` is a text, or a function where
    it depends on the report; without one it is the text of the link. `needs` names the part of the report that the
    section shows. Where that part is empty, the section has the text `missing`. `about` is its row in
    docs/research/reports.md.
    """

    name: str
    place: int
    link: str
    content: Callable[[BacktestReport, Charts], str]
    tables: Callable[[BacktestReport], Iterable[Table]] = no_tables
    heading: str | Callable[[BacktestReport, Charts], str] = ""
    needs: str = ""
    missing: str = ""
    about: str = ""

    def html(self, report: BacktestReport, charts: Charts) -> str:
        """The section of the page."""
        heading = self.heading if isinstance(self.heading, str) else self.heading(report, charts)
        absent = self.needs and not getattr(report, self.needs)
        content = paragraph(self.missing) if absent else self.content(report, charts)
        return section(self.name, heading or self.link, content)
