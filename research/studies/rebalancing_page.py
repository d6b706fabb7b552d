"""The picture of a rebalancing study: net Sharpe ratio and costs of each rule, a bar for each cost scenario."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from quantd.daemon.views.report.drawing import WIDTH
from quantd.daemon.views.report.rendering import document
from quantd.research.studies.rebalancing_study import Row

LEFT: Final = 130
"""Width of the column of rule names, in units of the SVG."""

BAR: Final = 13
"""Height of a bar with the space below it."""

GAP: Final = 10
"""Height of the space between two rules."""

COLOURS: Final = ("#2f6fde", "#2a9d5c", "#d98a1f", "#c2483d", "#7a55c7", "#667085")


def page(agent: str, rows: Sequence[Row], definition: str) -> str:
    """Return the page of a rebalancing study as HTML, which opens without a network.

    The best rule at each cost has a star.
    """
    costs = list(dict.fromkeys(row.cost_bp for row in rows))
    legend = " ".join(f'<span style="color:{_colour(costs, cost)}">&#9632;</span> {cost:g} bp' for cost in costs)
    failures = [f"{row.rule} at {row.cost_bp:g} bp: {row.failed}" for row in rows if row.failed]
    failed = "".join(f"<p>{escape(text)}</p>" for text in failures)
    charts = "".join(
        f"<h2>{title}</h2>{_bars(rows, costs, value, text)}"
        for title, value, text in (
            ("Net Sharpe ratio", lambda row: row.sharpe, "{:.2f}"),
            ("Costs a year, of average equity", lambda row: row.cost_drag_annual, "{:.2%}"),
            ("Turnover a year", lambda row: row.turnover_annual, "{:.2f}"),
            ("Maximum drawdown", lambda row: row.max_drawdown, "{:.1%}"),
        )
    )
    body = f"""<h1>Rebalancing of {escape(agent)}</h1>
<p>{legend}. &#9733; is the best Sharpe ratio of its cost. Each cost is charged
once, as commission.</p>{failed}{charts}<p>{escape(definition)}</p>"""
    return document(f"Rebalancing of {agent}", body)


def _bars(rows: Sequence[Row], costs: Sequence[float], value: Callable[[Row], float], text: str) -> str:
    """Return horizontal bars as inline SVG, grouped by rule; `text` formats a value.

    Rows (a rule at a cost) that failed have no bar.
    """
    finished = [row for row in rows if not row.failed]
    rules = list(dict.fromkeys(row.rule for row in finished))
    low, high = min([0.0, *map(value, finished)]), max([0.0, *map(value, finished)])
    scale = (WIDTH - LEFT - 110) / ((high - low) or 1.0)  # 110: room for the text beside the longest bar
    zero, group_height = LEFT - low * scale, len(costs) * BAR + GAP
    elements = []
    for k, rule in enumerate(rules):
        top = k * group_height
        elements.append(
            f'<text x="0" y="{top + group_height / 2:.0f}" font-size="13" fill="var(--dim)">{escape(rule)}</text>'
        )
        for n, row in enumerate(candidate for candidate in finished if candidate.rule == rule):
            width, y = value(row) * scale, top + n * BAR
            x = zero + min(0.0, width)
            star = " &#9733;" if row.best else ""
            elements.append(
                f'<rect x="{x:.1f}" y="{y}" width="{abs(width):.1f}" height="{BAR - 2}" '
                f'fill="{_colour(costs, row.cost_bp)}"/><text x="{zero + max(0.0, width) + 4:.1f}" y="{y + 10}" '
                f'font-size="11" fill="var(--ink)">{text.format(value(row))}{star}</text>'
            )
    return f'<svg viewBox="0 0 {WIDTH} {max(1, len(rules)) * group_height}" role="img">{"".join(elements)}</svg>'


def _colour(costs: Sequence[float], cost: float) -> str:
    return COLOURS[list(costs).index(cost) % len(COLOURS)]
