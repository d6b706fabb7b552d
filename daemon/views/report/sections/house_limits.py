"""The limits of the whole account: value, bound, use, and the worst record of the span."""

from collections.abc import Sequence
from html import escape
from typing import Final

from quantd.daemon.views.report.contents import LimitLine, Report
from quantd.daemon.views.report.markup import row
from quantd.daemon.views.report.page_parts import COUNT, FORMS, figure, section, table, use_cell
from quantd.daemon.views.report.sections.section import Section


def limits(report: Report) -> str:
    rows = [_limit(f"limits.{k}", line) for k, line in enumerate(report.limits)]
    note = "Use is value / bound, for a lower bound bound / value. Worst is the worst record in this span."
    head = ("limit", "now", "bound", "use", "worst", "worst use", "when", "records", "use over time")
    return section("House limits", table(head, rows), f"<p>{note}</p>")


def _limit(at: str, line: LimitLine) -> str:
    """The row of one limit: its present value, its worst value in the span, and a chart of its use.

    `at` is the limit's path in the JSON of the report; use is the value as a fraction of the bound.
    """
    form = FORMS.get(line.unit, "{:,.2f}")
    return row(
        line.words,
        figure(f"{at}.value", line.value, form),
        figure(f"{at}.bound", line.bound, ("at least " if line.floor else "") + form),
        use_cell(f"{at}.use", line.use),
        figure(f"{at}.worst", line.worst, form) if line.worst_use is not None else "<td></td>",
        use_cell(f"{at}.worst_use", line.worst_use),
        f"<td>{escape(line.worst_time[:10])}</td>",
        figure(f"{at}.records", line.records, COUNT),
        f"<td>{_spark(line.history)}</td>",
    )


def _spark(points: Sequence[tuple[int, float]]) -> str:
    """A small chart of the use of a limit over time, as inline SVG of 160 by 26 units.

    `points` are (instant, use); the straight line is a use of 1, the bound.
    """
    if len(points) < 2:
        return ""
    first, last = points[0][0], points[-1][0]
    top = max(1.0, *(use for _, use in points))
    xy = " ".join(f"{160 * (ts - first) / max(last - first, 1):.1f},{25 - 24 * use / top:.1f}" for ts, use in points)
    bound_y = 25 - 24 / top
    return (
        '<svg class="s" viewBox="0 0 160 26" preserveAspectRatio="none" role="img">'
        f'<line x1="0" x2="160" y1="{bound_y:.1f}" y2="{bound_y:.1f}" stroke="var(--fall)" stroke-width=".7"/>'
        f'<polyline points="{xy}" fill="none" stroke="var(--line)" stroke-width="1.2"/></svg>'
    )


SECTION: Final = Section("limits", 30, limits)
