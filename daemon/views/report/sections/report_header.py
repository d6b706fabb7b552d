"""The run, its data, configuration, code and costs."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Cell, Row, Section, Table, cells
from quantd.trading.instruments import synthetic_note


def header(report: Report) -> list[Table]:
    """Run, data, symbols, agents, costs, and the digests of configuration and market."""
    h = report.header
    costs = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in h.costs.items()) or "none"
    rows = [
        Row("run", [*cells("header", h, run="text"), h.mode]),
        Row("data", cells("header", h, first="text", last="text")),
        Row("samples", cells("header", h, samples="count")),
        Row("market", [*cells("header", h, market="text"), f"digest {h.feed}"]),
        Row("symbols", [f"{', '.join(h.symbols)} ({h.currency})"]),
        Row("note", [synthetic_note(h.symbols)]),
        Row("agents", [", ".join(f"{name}: {policy}" for name, policy in h.agents.items())]),
        Row("costs", [costs, Cell("header.seed", h.seed, shown=f"seed {h.seed}")]),
        Row("configuration", cells("header", h, config="text")),
        Row("code", cells("header", h, version="text")),
        Row("present figures at", cells("header", h, standing="text") if h.standing else [""]),
        Row("returns", cells("header", h, returns="text") if h.returns else [""]),
    ]
    return [Table((), [row for row in rows if row.cells != [""]], kind="head")]


SECTION: Final = Section("header", 10, "Run", header)
