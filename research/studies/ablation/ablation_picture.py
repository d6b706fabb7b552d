"""The page of an ablation: the loss of Sharpe ratio of each variant as a bar, its spread over seeds and its tier."""

from typing import Final

from quantd.daemon.views.report import rendering
from quantd.daemon.views.report.section_parts import Cell, Note, Row, Section, Svg, Table, bar
from quantd.research.studies.ablation.ablation_study import HIGH, MEDIUM, Ablation, tiers

COLORS: Final = {"high": "var(--fall)", "medium": "var(--c6)"}
"""Colour of a tier's bars; others have the colour of a line."""


def _variants(result: Ablation) -> tuple[Table]:
    ends = [MEDIUM, HIGH, *(row.share for row in result.variants if row.share is not None)]
    rows = []
    for k, row in enumerate(result.variants):
        at, cells = f"variants.{k}", list[Cell | Svg | str]([row.missing])
        if row.drop is not None:
            style = "" if row.share is None else bar(row.share, ends, COLORS.get(row.tier, "var(--line)"))
            cells = [
                Cell(f"{at}.drop", row.drop, shown=f"{row.drop:+.3f}"),
                Cell(f"{at}.share", row.share, "signed", "n bar", style=style),
                Cell(f"{at}.spread", row.spread, "fraction"),
                Cell(f"{at}.p_holm", row.p_holm, "p"),
                row.tier,
            ]
        rows.append(Row(f"{row.name} ({row.note})" if row.note else row.name, cells))
    return (Table(("without", "drop", "share", "spread", "p Holm", "tier"), rows),)


SECTIONS: Final = (Section("variants", 1, "Variants", _variants),)


def ablation_page(result: Ablation) -> str:
    """Return the page of an ablation as HTML, which opens without a network."""
    counts = ", ".join(f"{count} {name}" for name, count in tiers(result.variants).items())
    notes = (
        f"Power. {result.power}",
        f"Test part {result.test[0]} to {result.test[1]}, {len(result.seeds)} seeds. A bar is the drop of the Sharpe "
        f"ratio as a share of the plan's, the spread one deviation over the seeds. Tiers: {counts}.",
        f"{result.test_evaluations:,} evaluations on the test part. A choice by this page is a choice on that part.",
    )
    return rendering.page(f"Ablation of {result.plan}", map(Note, notes), SECTIONS, result)
