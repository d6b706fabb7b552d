"""The page of an ablation: the loss of Sharpe ratio of each variant, its spread over seeds and its tier, as SVG."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from quantd.daemon.views.report.drawing import WIDTH
from quantd.daemon.views.report.rendering import document
from quantd.research.studies.ablation.ablation_study import HIGH, MEDIUM, Ablation, Variant, tiers

ROW: Final = 26
"""Height of a row in units of the SVG, as the widths below."""

LABELS: Final = 230
"""Width of the column of names."""

TIERS: Final = 90
"""Width of the column of tiers."""

COLORS: Final = {"high": "var(--fall)", "medium": "#c98a1b", "low": "var(--line)"}


def picture(rows: Sequence[Variant]) -> str:
    """Return an SVG: a bar for each variant's drop of the Sharpe ratio, as a share of the plan's ratio, with a line of
    one standard deviation over the seeds on both sides.

    The text is empty where no variant has a share.
    """
    shown = [row for row in rows if row.share is not None and row.spread is not None]
    if not shown:
        return ""
    ends = [0.0, MEDIUM, HIGH]
    for row in shown:
        assert row.share is not None and row.spread is not None  # noqa: PT018
        ends += [row.share - row.spread, row.share + row.spread]
    low, high = min(ends), max(ends)
    height = ROW * (len(shown) + 1) + 8

    def x(value: float) -> float:
        return LABELS + (WIDTH - LABELS - TIERS) * (value - low) / (high - low)

    lines = [
        f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="0" y2="{ROW * len(shown)}" stroke="var(--rule)"/>'
        f'<text x="{x(value):.1f}" y="{height - 8}" font-size="12" text-anchor="middle" fill="var(--dim)">{value:.0%}'
        "</text>"
        for value in (0.0, MEDIUM, HIGH)
    ]
    bars = [_bar(row, ROW * index, x(0.0), x) for index, row in enumerate(shown)]
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join(lines)}{"".join(bars)}</svg>'


def _bar(row: Variant, top: int, zero: float, x: Callable[[float], float]) -> str:
    """Return the SVG of a variant's bar.

    `top` is the y coordinate of the variant's row, `zero` the x coordinate of a share of 0, and `x` maps a share to its
    x coordinate.
    """
    assert row.share is not None and row.spread is not None  # noqa: PT018
    end, middle = x(row.share), top + ROW / 2
    line_start, line_end = x(row.share - row.spread), x(row.share + row.spread)
    color = COLORS.get(row.tier, "var(--dim)")
    style = f'y="{middle + 4:.1f}" font-size="13" fill="var(--ink)"'
    return (
        f'<g data-variant="{escape(row.name)}" data-tier="{row.tier}"><text x="2" {style}>{escape(row.name)}</text>'
        f'<rect x="{min(zero, end):.1f}" y="{top + 6}" width="{abs(end - zero):.1f}" height="{ROW - 12}" '
        f'fill="{color}" fill-opacity=".6"/>'
        f'<line x1="{line_start:.1f}" x2="{line_end:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="var(--ink)"/>'
        f'<text x="{WIDTH - 2}" text-anchor="end" {style}>{row.tier}</text></g>'
    )


def ablation_page(result: Ablation) -> str:
    """Return the page of an ablation as HTML, which opens without a network."""
    counts = ", ".join(f"{count} {name}" for name, count in tiers(result.variants).items())
    cells = "".join(_cells(row) for row in result.variants)
    body = f"""<h1>Ablation of {escape(result.plan)}</h1>
<p><b>Power.</b> {escape(result.power)}</p>
<p>Test part {result.test[0]} to {result.test[1]}, {len(result.seeds)} seeds. A bar is the drop of the Sharpe ratio
as a share of the plan's, a line one deviation over the seeds on both sides. Tiers: {counts}.</p>
{picture(result.variants)}
<table><tr><th>without</th><th>drop</th><th>share</th><th>spread</th><th>p Holm</th><th>tier</th></tr>{cells}</table>
<p>{result.test_evaluations:,} evaluations on the test part; a choice by this page is a choice on the test part.</p>"""
    return document(f"Ablation of {result.plan}", body)


def _cells(row: Variant) -> str:
    if row.drop is None:
        return f"<tr><td>{escape(row.name)}</td><td colspan=5>{escape(row.missing)}</td></tr>"
    shares = ("" if share is None else f"{share:+.1%}" for share in (row.share, row.spread))
    p = "" if row.p_holm is None else f"{row.p_holm:.3f}"
    note = f" ({escape(row.note)})" if row.note else ""
    cells = "".join(f"<td>{cell}</td>" for cell in (f"{row.drop:+.3f}", *shares, p, row.tier))
    return f"<tr><td>{escape(row.name)}{note}</td>{cells}</tr>"
