"""Figures that are missing, with the reason of each."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Row, Section, Table


def unknown(report: Report) -> list[Table]:
    reasons = report.unknown | (report.assessment.missing if report.assessment is not None else {})
    return [Table((), [Row(name, [why]) for name, why in sorted(reasons.items())])] if reasons else []


SECTION: Final = Section("unknown", 120, "Missing figures and reasons", unknown)
