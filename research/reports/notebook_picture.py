"""The picture of a backtest in a notebook: equity, drawdown and the verdict's figures."""

from typing import Final

from quantd.daemon.views.report.drawing import chart
from quantd.daemon.views.report.rendering import html
from quantd.daemon.views.report.section_parts import Note, Part, Row, Table
from quantd.research.doubts import doubt_lines
from quantd.research.runs.run_record import Record
from quantd.research.verdict import Verdict, blocks_text, headline, table_of
from quantd.trading.display_text import instant_text
from quantd.trading.statistics import drawdowns

COLORS: Final = "--line:#2f6fde;--fall:#c2483d;--dim:#667085"
"""The variables of style that the drawings read."""


def picture(record: Record, verdict: Verdict) -> str:
    """Return equity, drawdown and figures as an HTML fragment for a notebook."""
    verdict_html = html(map(Note, (*(failure.text for failure in verdict.failures), headline(verdict))))
    if len(record.ts) < 2:
        return verdict_html
    equity = record.wealth_micro() / 1e6  # from millionths of the currency
    days = [instant_text(ts)[:10] for ts in record.ts]
    return (
        f'<div style="max-width:60rem;{COLORS}">{verdict_html}{chart(equity, days, "var(--line)")}'
        f"{chart(-100.0 * drawdowns(equity), days, 'var(--fall)')}{html(_figures(verdict))}</div>"
    )


def _figures(verdict: Verdict) -> list[Part]:
    """Return the table of figures, with equal weight where it was run, and the notes below it."""
    compared = verdict.equal_weight is not None
    head = ("", "this run", *(["equal weight"] if compared else []))
    rows = [Row(name, [value, other] if compared else [value]) for name, value, other in table_of(verdict)]
    notes = [f"{verdict.sharpe_definition}; {verdict.turnover_definition}."]
    if verdict.difference is not None and verdict.difference.low is not None:
        difference = verdict.difference
        notes.append(
            f"Difference of the Sharpe ratios {difference.sharpe:+.2f} [{difference.low:.2f}, {difference.high:.2f}]."
        )
    if verdict.bootstrap is not None:
        bootstrap = verdict.bootstrap
        notes.append(
            f"Intervals: {bootstrap.confidence:.0%} of {bootstrap.resamples:,} resamples, {bootstrap.method}, "
            f"blocks of {blocks_text(bootstrap)} ({bootstrap.block_rule}), seed {bootstrap.seed}."
        )
    if compared:
        notes.append("Equal weight decides at each sample, on the same bars, dates, costs, capital and house limits.")
    notes += (*doubt_lines(verdict.doubts), *verdict.notes)
    return [Table(head, rows), *map(Note, notes)]
