"""The section of a report with the hashes of the run's inputs, and the notes."""

from typing import Final

from quantd.daemon.views.report.section_parts import Cell, Note, Part, Row, Section, Table
from quantd.research.reports.report_contents import BacktestReport

ROWS: Final = {
    "config": ("configuration", "text", "hash"), "market": ("market data", "text", "hash"),
    "digest": ("effects of the run", "text", "hash"), "version": ("code", "text", "hash"),
    "commit": ("commit", "text", "hash"), "source": ("source of the bars", "text", "hash"),
    "seed": ("seed of the costs", "text", ""), "capital": ("capital", "money", ""), "samples": ("samples", "count", ""),
    "risk_free_annual": ("risk-free rate, annual", "fraction", ""),
}  # fmt: skip
"""Field of the header -> name, unit and CSS class."""


def provenance(report: BacktestReport) -> list[Part]:
    """Return what the result was computed from (digests, code, capital), and the notes."""
    rows = [
        Row(name, [Cell(f"header.{field}", getattr(report.header, field), unit, kind)])
        for field, (name, unit, kind) in ROWS.items()
    ]
    return [Table((), rows), *map(Note, report.notes)]


SECTION: Final = Section(
    "provenance",
    140,
    "Provenance and notes",
    provenance,
    link="Provenance",
    about="hashes of configuration, bars and effects; version of the code; notes",
)
