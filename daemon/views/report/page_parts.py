"""Parts of the page that several sections share: cells, rows and tables, and the lines of curves.

Each figure's cell has its path in the JSON (`data-figure`) and its value there; a test compares both.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.adapters.store.read_models import SwitchMove
from quantd.daemon.views.report.contents import Span
from quantd.daemon.views.report.drawing import chart
from quantd.daemon.views.report.markup import figure_cell, row
from quantd.trading.display_text import instant_text

PERCENT: Final = "{:.2%}"
NUMBER: Final = "{:.2f}"
COUNT: Final = "{:,}"
FORMS: Final = {"share": PERCENT, "number": NUMBER, "money": "{:,.2f}"}
"""Unit of a limit -> format of its value."""


def figure(path: str, value: float | str | None, form: str = "{}") -> str:
    """A table cell with a figure; `path` is its path in the JSON."""
    return figure_cell(path, value, "unknown" if value is None else form.format(value))


def cells(at: str, one: Struct, **forms: str) -> list[str]:
    """Table cells of the fields of `one` in `forms` (name of the field -> format). `at` is the JSON path of `one`."""
    return [figure(f"{at}.{name}", getattr(one, name), form) for name, form in forms.items()]


def table(head: Sequence[str], rows: Iterable[str]) -> str:
    """A table as HTML that scrolls sideways. The names in `head` are escaped; `rows` are HTML of `row`."""
    columns = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="wide"><table><tr>{columns}</tr>{"".join(rows)}</table></div>'


def section(title: str, *content: str) -> str:
    """A section of the page as HTML with an escaped title; `content` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def line(points: Sequence[tuple[int, float]], color: str, scale: float = 1.0) -> str:
    """A curve of (ns UTC, value) as inline SVG, its values multiplied by `scale`.

    For fewer than two points the result is a sentence instead.
    """
    if len(points) < 2:
        return "<p>too few samples to draw</p>"
    days = [instant_text(ts)[:10] for ts, _ in points]
    return chart(np.array([scale * value for _, value in points]), days, color)


SPAN_HEAD: Final = (
    "", "samples", "return", "a year", "volatility", "Sharpe", "worst drawdown", "INFO", "WARNING", "CRITICAL",
)  # fmt: skip  # fmt: skip


def span_row(at: str, span: Span) -> str:
    """The table row of one span, with the columns of SPAN_HEAD. `at` is the span's path in the JSON."""
    levels = [
        figure(f"{at}.alerts.{name}", span.alerts[name]) if name in span.alerts else '<td class="n">0</td>'
        for name in ("INFO", "WARNING", "CRITICAL")
    ]
    return row(
        span.name,
        *cells(at, span, samples=COUNT, total="{:+.2%}", annual="{:+.2%}", volatility=PERCENT, sharpe=NUMBER),
        *cells(at, span, max_drawdown=PERCENT),
        *levels,
    )


def use_cell(at: str, use: float | None) -> str:
    """The cell of `use`, the used fraction of a bound: marked "near" from 80 %, "full" from 100 %; empty for None."""
    cell = figure(at, use, "{:.0%}") if use is not None else "<td></td>"
    kind = "full" if use is not None and use >= 1.0 else "near" if use is not None and use >= 0.8 else ""
    return cell.replace('class="n"', f'class="n {kind}"') if kind else cell


def count_rows(at: str, counts: Mapping[str, int]) -> list[str]:
    """A table row for each count by name. `at` is the path of the counts in the JSON."""
    return [row(name.replace("_", " "), figure(f"{at}.{name}", count, COUNT)) for name, count in counts.items()]


def moves(title: str, at: str, moves: Sequence[SwitchMove]) -> str:
    """The section of the changes of kill switches: time, switch, change and reason. `at` is their path in the JSON."""
    if not moves:
        return section(title, "<p>no changes</p>")
    rows = [
        f"<tr><td>{escape(move.time)}</td><td>{escape(move.who)}</td><td>{move.before} to {move.after}</td>"
        f"{figure(f'{at}.{k}.reason', move.reason)}</tr>"
        for k, move in enumerate(moves)
    ]
    return section(title, table(("time", "switch of", "change", "reason"), rows))
