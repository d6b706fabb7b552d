"""Figures that are missing, with the reason of each."""

from html import escape
from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.page_parts import section
from quantd.daemon.views.report.sections.section import Section


def unknown(report: Report) -> str:
    reasons = dict(report.unknown)
    if report.assessment is not None:
        reasons |= report.assessment.missing
    if not reasons:
        return ""
    rows = [f"<tr><th>{escape(name)}</th><td>{escape(why)}</td></tr>" for name, why in sorted(reasons.items())]
    return section("Missing figures and reasons", f"<table>{''.join(rows)}</table>")


SECTION: Final = Section("unknown", 120, unknown)
