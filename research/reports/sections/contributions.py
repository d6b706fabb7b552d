"""The section of a report on the contributions of symbols, sectors, agents and kinds to the return."""

from typing import Final

from quantd.daemon.views.report.section_parts import Cell, Grid, Note, Part, Row, Section, Table, cells
from quantd.research.reports.report_contents import BacktestReport


def attribution(report: BacktestReport) -> tuple[Part, ...]:
    """Return tables of contributions by symbol, sector, agent and kind, and of decisions and execution."""
    breakdown = report.attribution
    assert breakdown is not None  # SECTION needs the attribution: a report without it never comes here
    total = Row("total return", [Cell("attribution.total", breakdown.total, "signed", "n own")])
    boxes = []
    for by, title in (
        ("by_asset", "by symbol"), ("by_sector", "by sector"), ("by_agent", "by agent"), ("by_kind", "by kind"),
    ):  # fmt: skip
        parts: dict[str, float] = getattr(breakdown, by)
        rows = [Row(name, [Cell(f"attribution.{by}.{name}", parts[name], "signed")]) for name in sorted(parts)]
        boxes.append([Table((), [*rows, total], f"Contribution {title}")])
    decided = [Row(name, cells("attribution", breakdown, **{name: "signed"})) for name in ("decision", "execution")]
    text = "Contributions add up to the total return (linked after Carino 1999); see docs/research/reports.md."
    return Grid(boxes), Table((), decided, "Decisions and their execution"), Note(text)


SECTION: Final = Section(
    "attribution",
    120,
    "Attribution",
    attribution,
    needs="attribution",
    missing="Attribution is missing; see the notes.",
    about="contribution of symbols, sectors, agents and kinds of profit ([attribution](#attribution))",
)
