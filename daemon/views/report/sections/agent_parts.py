"""A part for each agent and shadow (agent on paper)."""

from html import escape
from typing import Final

from quantd.daemon.views.overview import LimitNow
from quantd.daemon.views.report.contents import AgentPart, Report
from quantd.daemon.views.report.markup import row
from quantd.daemon.views.report.page_parts import (
    FORMS,
    NUMBER,
    PERCENT,
    SPAN_HEAD,
    cells,
    count_rows,
    figure,
    line,
    moves,
    section,
    span_row,
    table,
    use_cell,
)
from quantd.daemon.views.report.sections.section import Section


def agents(report: Report) -> str:
    return "\n".join(_agent(k, part) for k, part in enumerate(report.agents))


def _agent(k: int, part: AgentPart) -> str:
    """The section of the agent with index `k`: equity, performance, risk, limits, alerts and its switch."""
    json_path = f"agents.{k}"
    limits = [_standing(f"{json_path}.limits.{row_index}", line) for row_index, line in enumerate(part.limits)]
    metrics = part.metrics
    risk = "" if metrics is None else table(
        ("", "VaR", "CVaR", "volatility", "Sharpe", "beta"),
        [
            row(
                "positions",
                *cells(f"{json_path}.metrics", metrics, var=PERCENT, cvar=PERCENT, volatility=PERCENT, sharpe=NUMBER),
                *cells(f"{json_path}.metrics", metrics, beta=NUMBER),
            )
        ],
    )  # fmt: skip
    return section(
        f"{'Shadow' if part.shadow else 'Agent'} {part.name}",
        f"<p>{escape(part.policy)}{f', profile {escape(part.profile)}' if part.profile else ''}</p>",
        table((), [row("equity", figure(f"{json_path}.equity", part.equity))]),
        line(part.curve, "var(--line)"),
        table(SPAN_HEAD, [span_row(f"{json_path}.span", part.span)]),
        risk,
        table(("limit, after the last round", "value", "bound", "use"), limits) if limits else "",
        table(("alerts", ""), count_rows(f"{json_path}.alerts", part.alerts)) if part.alerts else "",
        moves("Its switch", f"{json_path}.switches", part.switches) if part.switches else "",
    )


def _standing(at: str, line: LimitNow) -> str:
    form = FORMS.get(line.unit, "{:,.2f}")
    return row(
        line.words or line.limit.replace("_", " "),
        *cells(at, line, value=form, bound=form),
        use_cell(f"{at}.use", line.use),
    )


SECTION: Final = Section("agents", 110, agents)
