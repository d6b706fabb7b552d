"""A part for each agent and shadow (agent on paper)."""

from typing import Final

from quantd.daemon.views.overview import LimitNow
from quantd.daemon.views.report.contents import AgentPart, Report
from quantd.daemon.views.report.section_parts import Heading, Note, Part, Row, Section, Table, cells, curve
from quantd.daemon.views.report.shared_rows import SPAN_HEAD, UNITS, count_rows, moves, span_row, use_cell


def agents(report: Report) -> list[Part]:
    return [part for k, agent in enumerate(report.agents) for part in _agent(f"agents.{k}", agent)]


def _agent(at: str, agent: AgentPart) -> list[Part]:
    """The part of the agent with the path `at`: equity, performance, risk, limits, alerts and its switch."""
    parts: list[Part] = [
        Heading(f"{'Shadow' if agent.shadow else 'Agent'} {agent.name}"),
        Note(f"{agent.policy}{f', profile {agent.profile}' if agent.profile else ''}"),
        Table((), [Row("equity", cells(at, agent, equity="text"))]),
        *curve(at, agent.curve, "ratio"),
        Table(SPAN_HEAD, [span_row(f"{at}.span", agent.span)]),
    ]
    if agent.metrics is not None:
        figures = cells(
            f"{at}.metrics", agent.metrics, var="fraction", cvar="fraction", volatility="fraction", sharpe="ratio",
            beta="ratio",
        )  # fmt: skip
        parts.append(Table(("", "VaR", "CVaR", "volatility", "Sharpe", "beta"), [Row("positions", figures)]))
    if agent.limits:
        limits = [_standing(f"{at}.limits.{k}", line) for k, line in enumerate(agent.limits)]
        parts.append(Table(("limit, after the last round", "value", "bound", "use"), limits))
    if agent.alerts:
        parts.append(Table(("alerts", ""), count_rows(f"{at}.alerts", agent.alerts)))
    if agent.switches:
        parts.append(moves(f"{at}.switches", agent.switches, "Its switch"))
    return parts


def _standing(at: str, line: LimitNow) -> Row:
    unit = UNITS.get(line.unit, "money")
    figures = [*cells(at, line, value=unit, bound=unit), use_cell(f"{at}.use", line.use)]
    return Row(line.words or line.limit.replace("_", " "), figures)


SECTION: Final = Section("agents", 110, "Agents", agents)
