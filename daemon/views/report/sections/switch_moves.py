"""Changes of kill switches, with who made them and why."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.page_parts import moves
from quantd.daemon.views.report.sections.section import Section


def switches(report: Report) -> str:
    return moves("Switches", "switches", report.switches)


SECTION: Final = Section("switches", 70, switches)
