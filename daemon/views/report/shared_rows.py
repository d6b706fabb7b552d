"""Rows that several sections of a risk report show: performance of a span, use of a limit, counts, switches."""

from collections.abc import Mapping, Sequence
from typing import Final

from quantd.adapters.store.read_models import SwitchMove
from quantd.daemon.views.report.contents import Span
from quantd.daemon.views.report.section_parts import Cell, Note, Row, Table, cells

UNITS: Final = {"share": "fraction", "number": "ratio", "money": "money"}
"""Unit of a limit -> unit of its figures."""

SPAN_HEAD: Final = (
    "", "samples", "return", "a year", "volatility", "Sharpe", "worst drawdown", "INFO", "WARNING", "CRITICAL",
)  # fmt: skip


def span_row(at: str, span: Span) -> Row:
    """The row of one span, with the columns of SPAN_HEAD. `at` is the span's path in the JSON."""
    figures = cells(
        at, span, samples="count", total="signed", annual="signed", volatility="fraction", sharpe="ratio",
        max_drawdown="fraction",
    )  # fmt: skip
    levels = [
        Cell(f"{at}.alerts.{name}" if name in span.alerts else "", span.alerts.get(name, 0))
        for name in ("INFO", "WARNING", "CRITICAL")
    ]
    return Row(span.name, [*figures, *levels])


def use_cell(at: str, use: float | None) -> Cell | str:
    """The cell of `use`, the used fraction of a bound: marked "near" from 80 %, "full" from 100 %; empty for None."""
    if use is None:
        return ""
    return Cell(at, use, "whole", "n full" if use >= 1.0 else "n near" if use >= 0.8 else "n")


def count_rows(at: str, counts: Mapping[str, int]) -> list[Row]:
    """A row for each count by name. `at` is the path of the counts in the JSON."""
    return [Row(name.replace("_", " "), [Cell(f"{at}.{name}", count, "count")]) for name, count in counts.items()]


def moves(at: str, moves: Sequence[SwitchMove], title: str = "") -> Table | Note:
    """The changes of kill switches: time, switch, change and reason. `at` is their path in the JSON."""
    if not moves:
        return Note("no changes")
    rows = [
        Row(move.time, [move.who, f"{move.before} to {move.after}", Cell(f"{at}.{k}.reason", move.reason, kind="")])
        for k, move in enumerate(moves)
    ]
    return Table(("time", "switch of", "change", "reason"), rows, title, numbers=False)
