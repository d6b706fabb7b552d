"""Exposure by sector and by symbol."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.markup import row
from quantd.daemon.views.report.page_parts import PERCENT, figure, section, table
from quantd.daemon.views.report.sections.section import Section


def exposures(report: Report) -> str:
    sectors = [row(name, figure(f"sectors.{name}", weight, PERCENT)) for name, weight in report.sectors.items()]
    symbols = [row(name, figure(f"symbols.{name}", weight, PERCENT)) for name, weight in report.symbols.items()]
    return section("Exposures", table((), sectors), table((), symbols))


SECTION: Final = Section("exposures", 50, exposures, needs="symbols")
