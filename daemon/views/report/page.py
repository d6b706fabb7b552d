"""A report as one page, which opens without a network and shows the figures of the JSON beside it.

Each figure's cell has its path in the JSON (`data-figure`) and its value there; a test compares both.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.adapters.store.read_models import SwitchMove
from quantd.daemon.views.overview import LimitNow
from quantd.daemon.views.report.contents import AgentPart, LimitLine, Report, Span
from quantd.daemon.views.report.drawing import STYLE, chart
from quantd.risk.assessment import METHODS
from quantd.trading.display_text import instant_text
from quantd.trading.instruments import synthetic_note

TITLES: Final = {"daily_report": "Daily risk report", "risk_report": "Weekly risk report", "hand": "Risk report"}
MORE: Final = (
    ".n{text-align:right}.full{color:var(--fall);font-weight:600}.near{color:var(--fall)}.wide{overflow-x:auto}"
    ".head .n{text-align:left}svg.s{width:10rem;height:1.6rem;display:block}section{margin:0 0 1rem}"
    "td,th{vertical-align:top}"
)
PERCENT: Final = "{:.2%}"
NUMBER: Final = "{:.2f}"
COUNT: Final = "{:,}"
FORMS: Final = {"share": PERCENT, "number": NUMBER, "money": "{:,.2f}"}
"""Unit of a limit -> format of its value."""


def page(report: Report) -> str:
    """The HTML document."""
    h = report.header
    title = f"{TITLES.get(h.kind, TITLES['hand'])} of {h.name}, {h.first[:10]} to {h.last[:10]}"
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{MORE}</style></head><body>',
        f"<h1>{escape(title)}</h1>",
        _header(report),
        _equity(report),
        _limits(report),
        _tails(report),
        _exposures(report),
        _alerts(report),
        _moves("Switches", "switches", report.switches),
        _trading(report),
        _shortfall(report),
        _house(report),
        *(_agent(k, part) for k, part in enumerate(report.agents)),
        _unknown(report),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def figure(path: str, value: float | str | None, form: str = "{}") -> str:
    """A table cell with a figure of the JSON."""
    if value is None:
        return f'<td class="n" data-figure="{escape(path)}" data-value="null">unknown</td>'
    data = escape(msgspec.json.encode(value).decode())
    return f'<td class="n" data-figure="{escape(path)}" data-value="{data}">{escape(form.format(value))}</td>'


def _cells(at: str, one: Struct, **forms: str) -> list[str]:
    """Table cells of fields of a struct: name of the field -> format."""
    return [figure(f"{at}.{name}", getattr(one, name), form) for name, form in forms.items()]


def _table(head: Sequence[str], rows: Iterable[str]) -> str:
    columns = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="wide"><table><tr>{columns}</tr>{"".join(rows)}</table></div>'


def _row(name: str, *cells: str) -> str:
    return f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>"


def _section(title: str, *content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def _header(report: Report) -> str:
    h = report.header
    costs = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in h.costs.items()) or "none"
    table = _table(
        (),
        (
            _row("run", figure("header.run", h.run), f"<td>{escape(h.mode)}</td>"),
            _row("data", figure("header.first", h.first), figure("header.last", h.last)),
            _row("samples", figure("header.samples", h.samples, COUNT)),
            _row("market", figure("header.market", h.market), f"<td>digest {escape(h.feed)}</td>"),
            _row("symbols", f"<td colspan=2>{escape(', '.join(h.symbols))} ({escape(h.currency)})</td>"),
            _row("note", f"<td colspan=2>{escape(note)}</td>") if (note := synthetic_note(h.symbols)) else "",
            _row("agents", f"<td colspan=2>{escape(', '.join(f'{k}: {v}' for k, v in h.agents.items()))}</td>"),
            _row("costs", f"<td>{escape(costs)}</td>", figure("header.seed", h.seed, "seed {}")),
            _row("configuration", figure("header.config", h.config)),
            _row("code", figure("header.version", h.version)),
            _row("present figures at", figure("header.standing", h.standing)) if h.standing else "",
            _row("returns", figure("header.returns", h.returns)) if h.returns else "",
        ),
    )
    return f'<div class="head">{table}</div>'


def _line(points: Sequence[tuple[int, float]], color: str, scale: float = 1.0) -> str:
    if len(points) < 2:
        return "<p>too few samples to draw</p>"
    days = [instant_text(ts)[:10] for ts, _ in points]
    return chart(np.array([scale * value for _, value in points]), days, color)


def _equity(report: Report) -> str:
    rows = [_span(f"spans.{k}", span) for k, span in enumerate(report.spans)]
    return _section(
        f"Equity, {report.header.currency}",
        _line(report.equity, "var(--line)"),
        "<h2>Drawdown, %</h2>",
        _line(report.drawdown, "var(--fall)", -100.0),
        _table(SPAN_HEAD, rows),
        f"<p>{escape(report.header.sharpe_definition)}.</p>",
        _table(("income", ""), (_row(kind, figure(f"income.{kind}", amount)) for kind, amount in report.income.items()))
        if report.income
        else "",
    )


SPAN_HEAD: Final = (
    "", "samples", "return", "a year", "volatility", "Sharpe", "worst drawdown", "INFO", "WARNING", "CRITICAL",
)  # fmt: skip


def _span(at: str, span: Span) -> str:
    levels = [
        figure(f"{at}.alerts.{name}", span.alerts[name]) if name in span.alerts else '<td class="n">0</td>'
        for name in ("INFO", "WARNING", "CRITICAL")
    ]
    return _row(
        span.name,
        *_cells(at, span, samples=COUNT, total="{:+.2%}", annual="{:+.2%}", volatility=PERCENT, sharpe=NUMBER),
        *_cells(at, span, max_drawdown=PERCENT),
        *levels,
    )


def _limits(report: Report) -> str:
    rows = [_limit(f"limits.{k}", line) for k, line in enumerate(report.limits)]
    said = "Use is value / bound, for a lower bound bound / value. Worst is the worst record in this span."
    head = ("limit", "now", "bound", "use", "worst", "worst use", "when", "records", "use over time")
    return _section("House limits", _table(head, rows), f"<p>{said}</p>")


def _limit(at: str, line: LimitLine) -> str:
    form = FORMS.get(line.unit, "{:,.2f}")
    return _row(
        line.words,
        figure(f"{at}.value", line.value, form),
        figure(f"{at}.bound", line.bound, ("at least " if line.floor else "") + form),
        _use(f"{at}.use", line.use),
        figure(f"{at}.worst", line.worst, form) if line.worst_use is not None else "<td></td>",
        _use(f"{at}.worst_use", line.worst_use),
        f"<td>{escape(line.worst_time[:10])}</td>",
        figure(f"{at}.records", line.records, COUNT),
        f"<td>{_spark(line.history)}</td>",
    )


def _use(at: str, use: float | None) -> str:
    cell = figure(at, use, "{:.0%}") if use is not None else "<td></td>"
    kind = "full" if use is not None and use >= 1.0 else "near" if use is not None and use >= 0.8 else ""
    return cell.replace('class="n"', f'class="n {kind}"') if kind else cell


def _spark(points: Sequence[tuple[int, float]]) -> str:
    """Chart of use over time, from 0 to the larger of 1 and the maximum; the line at 1 is the limit."""
    if len(points) < 2:
        return ""
    first, last = points[0][0], points[-1][0]
    top = max(1.0, *(use for _, use in points))
    xy = " ".join(f"{160 * (ts - first) / max(last - first, 1):.1f},{25 - 24 * use / top:.1f}" for ts, use in points)
    full = 25 - 24 / top
    return (
        '<svg class="s" viewBox="0 0 160 26" preserveAspectRatio="none" role="img">'
        f'<line x1="0" x2="160" y1="{full:.1f}" y2="{full:.1f}" stroke="var(--fall)" stroke-width=".7"/>'
        f'<polyline points="{xy}" fill="none" stroke="var(--line)" stroke-width="1.2"/></svg>'
    )


RATIOS: Final = (
    "volatility", "max_drawdown", "sharpe", "sortino", "calmar", "beta", "correlation", "diversification",
)  # fmt: skip
FRACTIONS: Final = ("volatility", "max_drawdown")
POSITION: Final = {
    "weight": PERCENT, "component_var": PERCENT, "component_volatility": PERCENT, "marginal_var": "{:.4f}",
    "incremental_var": PERCENT,
}  # fmt: skip


def _tails(report: Report) -> str:
    found = report.assessment
    if found is None:
        return ""
    rows = []
    for method in METHODS:
        tail = getattr(found, method)
        known = (
            _cells(f"assessment.{method}", tail, var=PERCENT, cvar=PERCENT) if tail else ["<td>unknown</td><td></td>"]
        )
        rows.append(_row(method.replace("_", "-"), *known))
    parts = [
        _row(
            symbol,
            *_cells(f"assessment.positions.{symbol}", part, **POSITION),
            figure(f"assessment.unwind_days.{symbol}", found.unwind_days.get(symbol), NUMBER),
        )
        for symbol, part in sorted((found.positions or {}).items(), key=lambda each: -abs(each[1].weight))
    ]
    m = report.metrics
    ratios = [] if m is None else [
        _row(name.replace("_", " "), *_cells("metrics", m, **{name: PERCENT if name in FRACTIONS else NUMBER}))
        for name in RATIOS
    ]  # fmt: skip
    stress = [
        _row(name, figure(f"assessment.stress.{name}", loss, PERCENT)) for name, loss in sorted(found.stress.items())
    ]
    days = [_row(f"{share} of the book", figure(f"assessment.book_days.{share}", day, NUMBER)) for share, day in
            (found.book_days or {}).items()]  # fmt: skip
    return "".join(
        (
            _section(
                f"VaR and CVaR at {found.confidence:.0%}, {found.horizon} sample ahead",
                _table(("method", "VaR", "CVaR"), rows),
                f"<p>Of {found.samples} samples, as a share of equity.</p>",
            ),
            _section(
                "Risk by position",
                _table(
                    ("symbol", "weight", "component VaR", "component volatility", "marginal VaR", "incremental VaR",
                     "days to unwind"),
                    parts,
                ),
            ) if parts else "",
            _section("Ratios", _table((), ratios),
                     "<p>Over the last year of samples; beta and correlation to the benchmark.</p>"),
            _section("Stress: loss of equity", _table((), stress)) if stress else "",
            _section("Days to unwind", _table((), days)) if days else "",
            _backtest(report),
        )
    )  # fmt: skip


def _backtest(report: Report) -> str:
    b = report.var_backtest
    if b is None:
        return ""
    rows = (
        _row("samples", figure("var_backtest.samples", b.samples, COUNT)),
        _row("exceeded", figure("var_backtest.exceedances", b.exceedances), "<td>times</td>"),
        _row("expected", figure("var_backtest.expected", b.expected, NUMBER), "<td>times</td>"),
        _row("coverage (Kupiec)", figure("var_backtest.p_coverage", b.p_coverage, "p = {:.3f}")),
        _row("independence (Christoffersen)", figure("var_backtest.p_independence", b.p_independence, "p = {:.3f}")),
        _row("both", figure("var_backtest.p_conditional", b.p_conditional, "p = {:.3f}")),
        _row("traffic light", figure("var_backtest.zone", b.zone)),
    )
    said = "The VaR recorded at each sample against the return that followed. p below 0.05 rejects the VaR model."
    return _section("VaR backtest", _table((), rows), f"<p>{said}</p>")


def _exposures(report: Report) -> str:
    if not report.symbols:
        return ""
    sectors = [_row(name, figure(f"sectors.{name}", weight, PERCENT)) for name, weight in report.sectors.items()]
    symbols = [_row(name, figure(f"symbols.{name}", weight, PERCENT)) for name, weight in report.symbols.items()]
    return _section("Exposures", _table((), sectors), _table((), symbols))


def _counts(at: str, counts: Mapping[str, int]) -> list[str]:
    return [_row(name.replace("_", " "), figure(f"{at}.{name}", count, COUNT)) for name, count in counts.items()]


def _alerts(report: Report) -> str:
    cells = [(a.time, a.level, a.kind, a.agent or a.symbol, a.text) for a in report.last_alerts]
    last = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells]
    if not last:
        return _section("Alerts", "<p>none</p>")
    return _section(
        "Alerts",
        _table((), _counts("alerts_by_level", report.alerts_by_level)),
        _table((), _counts("alerts_by_agent", report.alerts_by_agent)),
        _table((), _counts("alerts_by_kind", report.alerts_by_kind)),
        f"<h2>The last {len(last)}</h2>",
        _table(("time", "level", "kind", "about", "text"), last),
    )


def _moves(title: str, at: str, moves: Sequence[SwitchMove]) -> str:
    if not moves:
        return _section(title, "<p>no changes</p>")
    rows = [
        f"<tr><td>{escape(m.time)}</td><td>{escape(m.who)}</td><td>{m.before} to {m.after}</td>"
        f"{figure(f'{at}.{k}.reason', m.reason)}</tr>"
        for k, m in enumerate(moves)
    ]
    return _section(title, _table(("time", "switch of", "change", "reason"), rows))


def _trading(report: Report) -> str:
    return _section(
        "Orders and refusals",
        _table(("orders", ""), _counts("orders", report.orders)) if report.orders else "<p>no orders</p>",
        _table(("trades refused by", ""), _counts("refused", report.refused)) if report.refused else "",
        _table(("trades cut by", ""), _counts("cut", report.cut)) if report.cut else "",
    )


def _shortfall(report: Report) -> str:
    if not report.shortfall:
        return ""
    rows = []
    for k, cost in enumerate(report.shortfall):
        at = f"shortfall.{k}"
        rows.append(
            _row(
                cost.what,
                figure(f"{at}.value", cost.value),
                *(
                    figure(f"{at}.{name}", getattr(cost, name), form)
                    for part in ("delay", "impact", "fees", "opportunity", "total")
                    for name, form in ((part, "{}"), (f"{part}_bp", NUMBER))
                ),
            )
        )
    head = ["", "value"]
    for part in ("delay", "impact and spread", "fees", "opportunity", "total"):
        head += [part, "bp"]
    said = (
        "Cost against a trade of the whole size at the decision price; positive is worse. Delay lasts until the "
        "order's market opens, impact from then on (docs/trade/execution.md)."
    )
    return _section("Implementation shortfall", _table(head, rows), f"<p>{said}</p>")


def _house(report: Report) -> str:
    """The section that compares the agents."""
    house = report.house
    alike = _row("mean absolute correlation of returns", figure("house.diversity", house.diversity, NUMBER))
    trials = [
        _row(
            f"{trial.challenger} against {trial.champion}, {trial.time[:10]}",
            f"<td>{'promoted' if trial.promoted else escape(trial.why)}</td>",
            *_cells(f"house.trials.{k}", trial, gain=NUMBER, p="{:.4f}", alpha="{:.4f}", look="{}"),
        )
        for k, trial in enumerate(house.trials)
    ]
    names = list(house.capital[0].target) if house.capital else []
    moves = [
        _row(
            f"{move.time[:10]}, {move.method}",
            *(figure(f"house.capital.{k}.target.{name}", move.target.get(name), PERCENT) for name in names),
            f"<td>{escape(move.why)}</td>",
        )
        for k, move in enumerate(house.capital)
    ][-LAST_MOVES:]
    return _section(
        "Comparison of agents",
        _table((), [alike]),
        _table(("challenger", "", "gain a year", "p", "required p", "test"), trials) if trials else "",
        _table(("capital shares from then on", *names, "reason"), moves) if moves else "",
    )


LAST_MOVES: Final = 24
"""Newest capital reallocations on the page; the JSON has all."""


def _agent(k: int, part: AgentPart) -> str:
    at = f"agents.{k}"
    limits = [_standing(f"{at}.limits.{n}", line) for n, line in enumerate(part.limits)]
    metrics = part.metrics
    risk = "" if metrics is None else _table(
        ("", "VaR", "CVaR", "volatility", "Sharpe", "beta"),
        [
            _row(
                "positions",
                *_cells(f"{at}.metrics", metrics, var=PERCENT, cvar=PERCENT, volatility=PERCENT, sharpe=NUMBER),
                *_cells(f"{at}.metrics", metrics, beta=NUMBER),
            )
        ],
    )  # fmt: skip
    return _section(
        f"{'Shadow' if part.shadow else 'Agent'} {part.name}",
        f"<p>{escape(part.policy)}{f', profile {escape(part.profile)}' if part.profile else ''}</p>",
        _table((), [_row("equity", figure(f"{at}.equity", part.equity))]),
        _line(part.curve, "var(--line)"),
        _table(SPAN_HEAD, [_span(f"{at}.span", part.span)]),
        risk,
        _table(("limit, after the last round", "value", "bound", "use"), limits) if limits else "",
        _table(("alerts", ""), _counts(f"{at}.alerts", part.alerts)) if part.alerts else "",
        _moves("Its switch", f"{at}.switches", part.switches) if part.switches else "",
    )


def _standing(at: str, line: LimitNow) -> str:
    form = FORMS.get(line.unit, "{:,.2f}")
    return _row(
        line.words or line.limit.replace("_", " "),
        *_cells(at, line, value=form, bound=form),
        _use(f"{at}.use", line.use),
    )


def _unknown(report: Report) -> str:
    reasons = dict(report.unknown)
    if report.assessment is not None:
        reasons |= report.assessment.missing
    if not reasons:
        return ""
    rows = [f"<tr><th>{escape(name)}</th><td>{escape(why)}</td></tr>" for name, why in sorted(reasons.items())]
    return _section("Missing figures and reasons", f"<table>{''.join(rows)}</table>")
