"""The record of a section: its place on the page, the part of a report that it needs, and its HTML."""

from collections.abc import Callable
from dataclasses import dataclass

from quantd.daemon.views.report.contents import Report


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page. A module of this package with a record `SECTION` adds it.

    Sections with a lower `place` come first. `content` returns the HTML with its heading. `needs` names the field of
    the report that the section shows: where the field is empty, the section is left out.
    """

    name: str
    place: int
    content: Callable[[Report], str]
    needs: str = ""

    def html(self, report: Report) -> str:
        """The section as HTML, or "" where the report has nothing for it."""
        return "" if self.needs and not getattr(report, self.needs) else self.content(report)
