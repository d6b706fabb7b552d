"""Changes of kill switches, with who made them and why."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Note, Section, Table
from quantd.daemon.views.report.shared_rows import moves


def switches(report: Report) -> list[Table | Note]:
    return [moves("switches", report.switches)]


SECTION: Final = Section("switches", 70, "Switches", switches)
