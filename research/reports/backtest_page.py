"""The page of `quantd backtest --report`. It opens without a network."""

from html import escape

import numpy as np

from quantd.daemon.config import Config
from quantd.daemon.runtime.version import code_version
from quantd.daemon.views.report.drawing import STYLE, chart
from quantd.daemon.views.run_summary import Summary
from quantd.research.runs.run_record import Record
from quantd.research.verdict import Verdict, headline, table_of
from quantd.trading.display_text import instant_text
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.statistics import drawdowns


class TooShort(ExplainedError, ValueError):
    """A run with too few samples for a report."""


def backtest_page(result: Summary, record: Record, verdict: Verdict, config: Config) -> str:
    """Return the page as HTML. Raises TooShort for fewer than two samples."""
    if len(record.ts) < 2:
        raise TooShort("a report needs at least two samples; the backtest had fewer")
    equity = np.array(record.equity_micro, dtype=np.float64) / 1e6
    days = [instant_text(ts)[:10] for ts in record.ts]
    agents = "".join(_row(a.name, f"{a.policy}, {a.capital:.0%} of the capital") for a in config.agents)
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<title>quantd backtest {escape(result.run)}</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>Backtest of {escape(config.quantd.name)}, {days[0]} to {days[-1]}</h1>
<p>{len(config.universe.symbols)} symbols: {escape(", ".join(config.universe.symbols))}. After costs: commission \
{config.broker.commission_bp:g} bp, spread {config.broker.spread_bp:g} bp, slippage {config.broker.slippage_bp:g} bp. \
Decisions on a close fill at the next open.</p>
<h2>Equity, {escape(config.universe.currency)}</h2>{chart(equity, days, "var(--line)")}
<h2>Drawdown, %</h2>{chart(-100.0 * drawdowns(equity), days, "var(--fall)")}
<h2>Performance</h2><p class="verdict">{escape(headline(verdict))}</p>{_figures(verdict)}
<h2>Trading</h2><table>{_row("orders", f"{result.orders:,}")}{_row("fills", f"{result.fills:,}")}\
{_row("orders that the gate cut, refused", f"{result.clipped:,}, {result.refused:,}")}\
{_row("trips of the switch", str(result.trips))}{_row("equity at the end", result.equity)}\
{_row("cash at the end", result.cash)}</table>
<h2>Agents</h2><table>{agents}</table>
<p>One history is one history. quantd {escape(code_version())}, \
digest {escape(result.digest)}.</p></body></html>
"""


def picture(record: Record, verdict: Verdict) -> str:
    """Return equity, drawdown and figures as an HTML fragment for a notebook."""
    if len(record.ts) < 2:
        return f"<p>{escape(headline(verdict))}</p>"
    equity = np.array(record.equity_micro, dtype=np.float64) / 1e6
    days = [instant_text(ts)[:10] for ts in record.ts]
    colors = "--line:#2f6fde;--fall:#c2483d;--dim:#667085"
    return (
        f'<div style="max-width:60rem;{colors}"><p>{escape(headline(verdict))}</p>{chart(equity, days, "var(--line)")}'
        f"{chart(-100.0 * drawdowns(equity), days, 'var(--fall)')}{_figures(verdict)}</div>"
    )


def _row(name: str, value: str) -> str:
    return f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"


def _figures(verdict: Verdict) -> str:
    compared = verdict.equal_weight is not None
    head = "<tr><th></th><th>this run</th>" + ("<th>equal weight</th>" if compared else "") + "</tr>"
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td>{f'<td>{escape(other)}</td>' if compared else ''}</tr>"
        for name, value, other in table_of(verdict)
    )
    notes = [f"{verdict.sharpe_definition}; {verdict.turnover_definition}."]
    if verdict.difference is not None and verdict.difference.low is not None:
        d = verdict.difference
        notes.append(f"Difference of the Sharpe ratios {d.sharpe:+.2f} [{d.low:.2f}, {d.high:.2f}].")
    if verdict.bootstrap is not None:
        b = verdict.bootstrap
        notes.append(
            f"Intervals: {b.confidence:.0%} of {b.resamples:,} resamples, {b.method}, blocks of {b.block} samples "
            f"({b.block_rule}), seed {b.seed}."
        )
    if compared:
        notes.append("Equal weight decides at each sample, on the same bars, dates, costs, capital and house limits.")
    notes += verdict.notes
    return f"<table>{head}{rows}</table>" + "".join(f"<p>{escape(text)}</p>" for text in notes)
