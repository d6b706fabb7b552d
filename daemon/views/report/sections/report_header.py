"""The run, its data, configuration, code and costs."""

from html import escape
from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.markup import row
from quantd.daemon.views.report.page_parts import COUNT, figure, table
from quantd.daemon.views.report.sections.section import Section
from quantd.trading.instruments import synthetic_note


def header(report: Report) -> str:
    """The head of the report: run, data, symbols, agents, costs, and the digests of configuration and market."""
    h = report.header
    costs = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in h.costs.items()) or "none"
    rows = table(
        (),
        (
            row("run", figure("header.run", h.run), f"<td>{escape(h.mode)}</td>"),
            row("data", figure("header.first", h.first), figure("header.last", h.last)),
            row("samples", figure("header.samples", h.samples, COUNT)),
            row("market", figure("header.market", h.market), f"<td>digest {escape(h.feed)}</td>"),
            row("symbols", f"<td colspan=2>{escape(', '.join(h.symbols))} ({escape(h.currency)})</td>"),
            row("note", f"<td colspan=2>{escape(note)}</td>") if (note := synthetic_note(h.symbols)) else "",
            row("agents", f"<td colspan=2>{escape(', '.join(f'{k}: {v}' for k, v in h.agents.items()))}</td>"),
            row("costs", f"<td>{escape(costs)}</td>", figure("header.seed", h.seed, "seed {}")),
            row("configuration", figure("header.config", h.config)),
            row("code", figure("header.version", h.version)),
            row("present figures at", figure("header.standing", h.standing)) if h.standing else "",
            row("returns", figure("header.returns", h.returns)) if h.returns else "",
        ),
    )
    return f'<div class="head">{rows}</div>'


SECTION: Final = Section("header", 10, header)
