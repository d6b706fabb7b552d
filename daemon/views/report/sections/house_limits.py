"""The limits of the whole account: value, bound, use, and the worst record of the span."""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.views.report.contents import LimitLine, Report
from quantd.daemon.views.report.rendering import formatted
from quantd.daemon.views.report.section_parts import Cell, Note, Row, Section, Svg, Table, cells
from quantd.daemon.views.report.shared_rows import UNITS, use_cell


def limits(report: Report) -> tuple[Table, Note]:
    rows = [_limit(f"limits.{k}", line) for k, line in enumerate(report.limits)]
    note = "Use is value / bound, for a lower bound bound / value. Worst is the worst record in this span."
    head = ("limit", "now", "bound", "use", "worst", "worst use", "when", "records", "use over time")
    return Table(head, rows), Note(note)


def _limit(at: str, line: LimitLine) -> Row:
    """The row of one limit: its present value, its worst value in the span, and a chart of its use.

    `at` is the limit's path in the JSON of the report; use is the value as a fraction of the bound.
    """
    unit = UNITS.get(line.unit, "money")
    least = f"at least {formatted(line.bound, unit)}" if line.floor and line.bound is not None else ""
    return Row(
        line.words,
        [
            *cells(at, line, value=unit), Cell(f"{at}.bound", line.bound, unit, shown=least),
            use_cell(f"{at}.use", line.use),
            Cell(f"{at}.worst", line.worst, unit) if line.worst_use is not None else "",
            use_cell(f"{at}.worst_use", line.worst_use), line.worst_time[:10],
            *cells(at, line, records="count"), Svg(_spark(line.history)),
        ],
    )  # fmt: skip


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


SECTION: Final = Section("limits", 30, "House limits", limits)
