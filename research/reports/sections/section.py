"""The record of a report's section: its position and heading, the field it needs, its HTML and Markdown tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from quantd.research.reports.page_parts import Chart, paragraph, section
from quantd.research.reports.report_contents import BacktestReport

Charts = Mapping[str, Chart]
"""The charts of the page by name."""


class Table(NamedTuple):
    """A table in the Markdown text of a report."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def no_tables(_: BacktestReport) -> tuple[Table, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a report. A module of this package with a record `SECTION` adds it to every report.

    `name` is the anchor on the page, and `link` the text of the link to it. The section with the lowest `place` comes
    first. `content` returns the HTML below the heading, and `tables` the tables of the Markdown text. `heading` is a
    text, or a function where it depends on the report; without a heading, the text of the link is used. `needs` names
    the field of BacktestReport that the section shows; where this field is empty, the section shows the text `missing`
    instead. `about` describes the section in docs/research/reports.md.
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
        """Return the section of the page, with its anchor and heading."""
        heading = self.heading if isinstance(self.heading, str) else self.heading(report, charts)
        absent = self.needs and not getattr(report, self.needs)
        content = paragraph(self.missing) if absent else self.content(report, charts)
        return section(self.name, heading or self.link, content)
