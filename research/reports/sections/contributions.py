"""The section of a report on the contributions of symbols, sectors, agents and kinds to the return."""

from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.reports.page_parts import figure, formatted, paragraph, table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.section import Charts, Section, Table


def attribution(report: BacktestReport, _: Charts) -> str:
    """Return tables of contributions by symbol, sector, agent and kind, and of decisions and execution, as HTML.

    The helper `figure` makes a cell from the number's path in the report's JSON, the number, its unit and a CSS class.
    """
    breakdown = report.attribution
    assert breakdown is not None  # SECTION needs the attribution: a report without it never comes here
    boxes = []
    for name, title in (
        ("by_asset", "by symbol"), ("by_sector", "by sector"), ("by_agent", "by agent"), ("by_kind", "by kind"),
    ):  # fmt: skip
        contributions: dict[str, float] = getattr(breakdown, name)
        rows = [
            row(part_name, figure(f"attribution.{name}.{part_name}", contributions[part_name], "signed"))
            for part_name in sorted(contributions)
        ]
        rows.append(row("total return", figure("attribution.total", breakdown.total, "signed", "n own")))
        boxes.append(f"<div><h3>Contribution {title}</h3>{table((), rows)}</div>")
    decision_rows = [row(name, figure(f"attribution.{name}", getattr(breakdown, name), "signed")) for name in
             ("decision", "execution")]  # fmt: skip
    text = "Contributions add up to the total return (linked after Carino 1999); see docs/research/attribution.md."
    return "".join(
        (
            f'<div class="grid">{"".join(boxes)}</div>',
            "<h3>Decisions and their execution</h3>",
            table((), decision_rows),
            paragraph(text),
        )
    )


def tables(report: BacktestReport) -> list[Table]:
    if report.attribution is None:
        return []
    contribution_tables = []
    for name in ("by_asset", "by_agent", "by_kind"):
        contributions: dict[str, float] = getattr(report.attribution, name)
        rows = [(part_name, formatted(contributions[part_name], "signed")) for part_name in sorted(contributions)]
        contribution_tables.append(Table(f"Contributions {name.replace('_', ' ')}", ("", "contribution"), rows))
    return contribution_tables


SECTION: Final = Section(
    "attribution",
    120,
    "Attribution",
    attribution,
    tables,
    needs="attribution",
    missing="Attribution is missing; see the notes.",
    about="contribution of symbols, sectors, agents and kinds of profit ([attribution](attribution.md))",
)
