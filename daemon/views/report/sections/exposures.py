"""Exposure by sector and by symbol."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Cell, Row, Section, Table


def exposures(report: Report) -> list[Table]:
    return [
        Table((), [Row(name, [Cell(f"{at}.{name}", weight, "fraction")]) for name, weight in weights.items()])
        for at, weights in (("sectors", report.sectors), ("symbols", report.symbols))
    ]


SECTION: Final = Section("exposures", 50, "Exposures", exposures, needs="symbols")
