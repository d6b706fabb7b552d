"""The record of a section: its place on the page, the part of a report that it needs, and its HTML."""

from collections.abc import Callable
from dataclasses import dataclass

from quantd.daemon.views.report.contents import Report


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page. A module of this package with a record `SECTION` adds it.

    `place` sets the order. `content` returns the HTML with its heading. `needs` names the part of the report that the
    section shows: a report in which that part is empty has no such section.
    """

    name: str
    place: int
    content: Callable[[Report], str]
    needs: str = ""

    def html(self, report: Report) -> str:
        """The section, or "" where the report has nothing for it."""
        return "" if self.needs and not getattr(report, self.needs) else self.content(report)
