"""Sections of a report's page, each from one part of the report."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from quantd.research.metrics.calendar_tables import PeriodReturn
from quantd.research.metrics.round_trips import RoundTrip
from quantd.research.reports.page_parts import (
    Chart,
    figure,
    formatted,
    paragraph,
    placed,
    row,
    section,
    table,
    text_cell,
)
from quantd.research.reports.report_contents import Account, BacktestReport, ReportHeader, Versus
from quantd.research.verdict import headline
from quantd.trading.display_text import instant_text

SUMMARY: Final = (
    "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar", "worst_month", "win_rate",
    "turnover", "cost_drag", "average_gross",
)  # fmt: skip
"""Metrics of the first table."""

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

FULL_COLOR: Final = {"month": 0.10, "year": 0.30}
"""Returns with the strongest colour of the heat map."""

CONTENTS: Final = {
    "summary": "Results", "goals": "Goals", "equity": "Equity", "drawdowns": "Drawdowns", "rolling": "Rolling",
    "months": "Months", "exposures": "Exposures", "trades": "Trades", "risk": "Risk", "costs": "Costs",
    "statistics": "Statistics", "attribution": "Attribution", "metrics": "All metrics", "provenance": "Provenance",
}  # fmt: skip


def top(report: BacktestReport) -> str:
    """Title, verdict and links to the sections."""
    h = report.header
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in CONTENTS.items())
    costs = cost_settings(h)
    return (
        f"<h1>Backtest of {escape(h.name)}, {h.first} to {h.last}</h1>"
        f"{''.join(paragraph(text, 'verdict no') for text in report.verdict.faults)}"
        f"{paragraph(headline(report.verdict), 'verdict')}"
        f"{paragraph(f'{counted(h.symbols)}. Costs: {costs}.')}<nav>{links}</nav>"
    )


def cost_settings(header: ReportHeader) -> str:
    """The settings of the costs that are not zero, in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in header.costs.items() if value) or "none"


def counted(symbols: Sequence[str]) -> str:
    """The number of symbols and their names."""
    return f"{len(symbols)} symbol{'' if len(symbols) == 1 else 's'}: {shortened(symbols)}"


def shortened(names: Sequence[str], most: int = 30) -> str:
    """Join names; the rest of a long list is a number."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def names_of(report: BacktestReport) -> tuple[str, ...]:
    """Heads of the columns by account."""
    return tuple(
        each.name if each.kind == "house" else f"{'agent' if each.kind == 'agent' else 'benchmark'} {each.name}"
        for each in report.accounts
    )


def _metric_rows(report: BacktestReport, names: Sequence[str] | None = None) -> list[str]:
    return [
        row(
            each.title,
            *(
                figure(f"metrics.{k}.values.{n}", value, each.unit, "n" if n else "n own")
                for n, value in enumerate(each.values)
            ),
            title=f"{each.name}: {each.formula} ({each.source})",
        )
        for k, each in enumerate(report.metrics)
        if names is None or each.name in names
    ]


def summary(report: BacktestReport) -> str:
    h, named = report.header, [_benchmark(each) for each in report.accounts if each.kind == "benchmark"]
    same = (
        "Each benchmark traded the same bars on the same dates, with the same costs and capital, through the same "
        f"engine. Benchmarks: {', '.join(named)}."
    )
    return section(
        "summary", CONTENTS["summary"], table(("", *names_of(report)), _metric_rows(report, SUMMARY)),
        paragraph(f"All figures are after costs. {same if named else ''}"),
        paragraph(f"{h.sharpe_definition}. {_capital(h.turnover_definition)}."),
    )  # fmt: skip


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _benchmark(account: Account) -> str:
    mix = f" = {account.policy}" if account.policy not in (account.name, f"{account.name} 1") else ""
    return f"{account.name}{mix} ({account.limits})"


def goals(report: BacktestReport) -> str:
    rows = [
        row(
            each.name,
            figure(f"goals.{k}.goal", each.goal, each.unit, "n goal"),
            figure(f"goals.{k}.measured", each.measured, each.unit, "n own"),
            figure(f"goals.{k}.met", each.met, "text", "n" if each.met else "n no"),
        )
        for k, each in enumerate(report.goals)
    ]
    if not rows:
        return section("goals", CONTENTS["goals"], paragraph("The configuration has no [study.goals]."))
    text = "A goal is a number from the configuration, not a result. Measured figures are those of the house."
    return section("goals", CONTENTS["goals"], table(("", "goal", "measured", "reached"), rows), paragraph(text))


def equity(report: BacktestReport, charts: Mapping[str, Chart]) -> str:
    scale = ", logarithmic scale" if charts["equity"].log else ""
    books = "<h3>Agents' books, growth of 1</h3>" + placed("books") if "books" in charts else ""
    return section("equity", f"Equity against benchmarks, growth of 1{scale}", placed("equity"), books)


def drawdowns(report: BacktestReport) -> str:
    rows = [
        row(
            str(k + 1),
            *(figure(f"drawdowns.{k}.{name}", getattr(each, name), unit) for name, unit in (
                ("depth", "fraction"), ("high", "text"), ("trough", "text"), ("recovered", "text"),
                ("samples_down", "count"), ("samples_up", "count"),
            )),
        )
        for k, each in enumerate(report.drawdowns)
    ]  # fmt: skip
    head = ("", "depth", "high", "trough", "recovered", "samples down", "samples up")
    return section("drawdowns", "Drawdown, and the deepest ones", placed("drawdown"), table(head, rows))


def rolling(report: BacktestReport, charts: Mapping[str, Chart]) -> str:
    titles = {
        "rolling_sharpe": "Sharpe ratio", "rolling_volatility": "Volatility, annual",
        "rolling_drawdown": "Maximum drawdown in the window",
        "rolling_beta": f"Beta of the house to {_first_benchmark(report)}",
    }  # fmt: skip
    boxes = [f"<div><h3>{escape(text)}</h3>{placed(name)}</div>" for name, text in titles.items() if name in charts]
    content = f'<div class="grid charts">{"".join(boxes)}</div>'
    few = f"The run has fewer than {report.rolling.window:,} returns."
    return section(
        "rolling", f"Rolling figures of the newest {report.rolling.window:,} samples",
        content if boxes else paragraph(few),
    )  # fmt: skip


def _first_benchmark(report: BacktestReport) -> str:
    return next((each.name for each in report.accounts if each.kind == "benchmark"), "a benchmark")


def months(report: BacktestReport) -> str:
    """The heat map of monthly returns, with the years and the first benchmark's years."""
    places = {(each.year, each.month): k for k, each in enumerate(report.months)}
    rows = []
    for k, year in enumerate(report.years):
        cells = [
            _heat(f"months.{places[year.year, month]}", report.months[places[year.year, month]], FULL_COLOR["month"])
            if (year.year, month) in places else "<td></td>"
            for month in range(1, 13)
        ]  # fmt: skip
        cells.append(_heat(f"years.{k}", year, FULL_COLOR["year"]))
        if year.benchmark is not None:
            cells.append(figure(f"years.{k}.benchmark", year.benchmark, "fraction", ""))
        rows.append(row(str(year.year), *cells))
    named = any(each.benchmark is not None for each in report.years)
    head = ("", *MONTHS, "year", *([_first_benchmark(report)] if named else []))
    text = "Returns of calendar months and years after costs. The first and the last one may be partial."
    return section("months", "Monthly and annual returns, %", table(head, rows, "heat", numbers=False), paragraph(text))


def _heat(path: str, period: PeriodReturn, full: float) -> str:
    value = period.total_return
    depth = min(abs(value) / full, 1.0) * 0.75
    color = "47,111,222" if value >= 0.0 else "194,72,61"
    cell = figure(f"{path}.total_return", value, "fraction", "")
    shown = cell.replace(formatted(value, "fraction"), f"{100.0 * value:+.1f}")
    return shown.replace("<td ", f'<td style="background:rgba({color},{depth:.2f})" ', 1)


def exposures(report: BacktestReport) -> str:
    rows = [
        row(each.symbol, *(figure(f"exposures.weights.{k}.{name}", getattr(each, name), "fraction")
                           for name in ("end", "average", "largest")))
        for k, each in enumerate(report.exposures.weights)
    ]  # fmt: skip
    weights = table(("symbol", "at the end", "average", "largest"), rows) if rows else paragraph("Weights are unknown.")
    return section("exposures", "Exposure over equity, and weights", placed("exposure"), weights)


def trades(report: BacktestReport) -> str:
    t = report.trading
    counts = [
        row(name, figure(f"trading.{key}", getattr(t, key), unit))
        for name, key, unit in (
            ("orders", "orders", "count"), ("fills", "fills", "count"), ("orders that the gate cut", "cut", "count"),
            ("orders that the gate refused", "refused", "count"), ("trips of the switch", "switch_trips", "count"),
            ("round trips", "round_trips", "count"), ("round trips with a profit", "wins", "count"),
            ("hit rate", "hit_rate", "fraction"), ("profit of round trips", "profit", "money"),
        )
    ]  # fmt: skip
    by_symbol = [
        row(each.symbol, *(figure(f"trading.by_symbol.{k}.{name}", getattr(each, name), unit) for name, unit in (
            ("trips", "count"), ("wins", "count"), ("hit_rate", "fraction"), ("profit", "money"))))
        for k, each in enumerate(t.by_symbol)
    ]  # fmt: skip
    by_table = table(("symbol", "round trips", "wins", "hit rate", "profit"), by_symbol) if by_symbol else ""
    lists = [
        f"<div><h3>{title}</h3>{_trips(f'trading.{name}', found)}</div>"
        for title, name, found in (
            ("Largest winners", "winners", t.winners), ("Largest losers", "losers", t.losers),
        ) if found
    ]  # fmt: skip
    text = "A round trip is a quantity that was bought and sold again, or sold and bought back: first in, first out."
    return section(
        "trades", CONTENTS["trades"],
        f'<div class="grid"><div>{table((), counts)}</div><div>{by_table}</div></div>',
        f'<div class="grid">{"".join(lists)}</div>', paragraph(text),
    )  # fmt: skip


def _trips(path: str, trips: Sequence[RoundTrip]) -> str:
    rows = [
        row(
            trip.symbol, text_cell(trip.side), text_cell(instant_text(trip.entry_ts)[:10]),
            text_cell(instant_text(trip.exit_ts)[:10]), figure(f"{path}.{k}.samples", trip.samples, "count"),
            figure(f"{path}.{k}.profit", trip.profit, "money"),
        )
        for k, trip in enumerate(trips)
    ]  # fmt: skip
    return table(("symbol", "side", "entry", "exit", "samples", "profit"), rows)


def risk(report: BacktestReport) -> str:
    tails = table(
        ("", *names_of(report)), _metric_rows(report, ("var_95", "cvar_95", "var_99", "cvar_99", "max_drawdown"))
    )
    parts = []
    for basis, title in (("last", "at the last weights"), ("average", "at the average weights")):
        found = getattr(report.risk, basis)
        if found is None:
            continue
        columns = ("weights", "volatility_by_asset", "var_by_asset", "cvar_by_asset")
        rows = [
            row(symbol, *(figure(f"risk.{basis}.{name}.{symbol}", getattr(found, name)[symbol], "fraction")
                          for name in columns))
            for symbol in sorted(found.weights)
        ]  # fmt: skip
        totals = [figure(f"risk.{basis}.{name}", getattr(found, name), "fraction", "n own") for name in
                  ("volatility", "var", "cvar")]  # fmt: skip
        rows.append(row("whole", "<td></td>", *totals))
        head = ("symbol", "weight", "volatility", "VaR 95 %", "CVaR 95 %")
        parts.append(f"<div><h3>Contributions {title}</h3>{table(head, rows)}</div>")
    return section("risk", CONTENTS["risk"], tails, f'<div class="grid">{"".join(parts)}</div>')


def costs(report: BacktestReport) -> str:
    columns = ("orders", "traded", "commission", "slippage_paid", "borrow", "total", "interest")
    rows = [
        row(
            each.account,
            *(figure(f"costs.{k}.{name}", getattr(each, name), "count" if name == "orders" else "money")
              for name in columns),
            figure(f"costs.{k}.drag_annual", each.drag_annual, "fraction"),
        )
        for k, each in enumerate(report.costs)
    ]  # fmt: skip
    head = (
        "", "orders filled", "value traded", "commission", "slippage paid", "borrow fees", "costs", "interest",
        "drag a year",
    )  # fmt: skip
    text = f"Amounts in {report.header.currency}. The drag is the costs of a year over average equity. An order of "
    text += "several agents counts for each of them."
    return section("costs", CONTENTS["costs"], table(head, rows), paragraph(text))


TESTS: Final = {
    "paired_t": "paired t", "wilcoxon": "Wilcoxon", "kolmogorov_smirnov": "Kolmogorov-Smirnov",
    "ledoit_wolf": "Ledoit-Wolf",
}  # fmt: skip


def statistics(report: BacktestReport) -> str:
    s = report.statistics
    own = [
        row(name, figure(f"statistics.{key}", getattr(s, key), unit))
        for name, key, unit in (
            ("Sharpe ratio", "sharpe", "ratio"), ("95 % interval, low", "low", "ratio"),
            ("95 % interval, high", "high", "ratio"),
            ("probability that it is above 0", "probabilistic_sharpe", "fraction"),
            ("deflated by the known trials", "deflated_sharpe", "fraction"),
            ("the same, without the withdrawals", "deflated_without_withdrawals", "fraction"),
            ("known trials", "trials", "count"), ("of these withdrawn", "withdrawn", "count"),
            ("shortest track record above 0 at 95 %, samples", "minimum_samples", "samples"),
            ("the same, years", "minimum_years", "ratio"),
        )
        if s.withdrawn or key != "withdrawn"
        if s.deflated_without_withdrawals is not None or key != "deflated_without_withdrawals"
    ]  # fmt: skip
    rows = [_versus(f"statistics.versus.{k}", each) for k, each in enumerate(s.versus)]
    head = ("against", "Sharpe difference", "low", "high", *(f"{name}{part}" for name in TESTS.values()
                                                           for part in (", p", ", Holm")))  # fmt: skip
    relative = [
        row(metric.title, *(figure(f"statistics.versus.{k}.relative.{metric.name}", each.relative[metric.name],
                                   metric.unit) for k, each in enumerate(s.versus)))
        for metric in report.metrics if metric.needs == "benchmark"
    ]  # fmt: skip
    text = (
        "Intervals: circular block bootstrap, 95 %. Paired t and Wilcoxon compare returns, Kolmogorov-Smirnov their "
        "distributions, Ledoit-Wolf the Sharpe ratios. Holm: p adjusted for all benchmarks of this table."
    )
    if not rows:
        return section("statistics", CONTENTS["statistics"], table((), own))
    return section(
        "statistics", CONTENTS["statistics"], table((), own), "<h3>The house less each benchmark</h3>",
        table(head, rows), paragraph(text), "<h3>The house relative to each benchmark</h3>",
        table(("", *(each.benchmark for each in s.versus)), relative),
    )  # fmt: skip


def _versus(path: str, each: Versus) -> str:
    cells = [figure(f"{path}.{name}", getattr(each, name), "ratio") for name in ("sharpe_difference", "low", "high")]
    for name in TESTS:
        value = getattr(each, name)
        cells += [figure(f"{path}.{name}.{part}", getattr(value, part), "p") for part in ("p", "holm")]
    return row(each.benchmark, *cells)


def attribution(report: BacktestReport) -> str:
    found = report.attribution
    if found is None:
        return section("attribution", CONTENTS["attribution"], paragraph("Attribution is missing; see the notes."))
    boxes = []
    for name, title in (
        ("by_asset", "by symbol"), ("by_sector", "by sector"), ("by_agent", "by agent"), ("by_kind", "by kind"),
    ):  # fmt: skip
        parts: dict[str, float] = getattr(found, name)
        rows = [row(part, figure(f"attribution.{name}.{part}", parts[part], "signed")) for part in sorted(parts)]
        rows.append(row("total return", figure("attribution.total", found.total, "signed", "n own")))
        boxes.append(f"<div><h3>Contribution {title}</h3>{table((), rows)}</div>")
    split = [row(name, figure(f"attribution.{name}", getattr(found, name), "signed")) for name in
             ("decision", "execution")]  # fmt: skip
    text = "Contributions add up to the total return (linked after Carino 1999); see docs/research/attribution.md."
    return section(
        "attribution", CONTENTS["attribution"], f'<div class="grid">{"".join(boxes)}</div>',
        "<h3>Decisions and their execution</h3>", table((), split), paragraph(text),
    )  # fmt: skip


def metrics(report: BacktestReport) -> str:
    text = f"Metrics relative to a benchmark use {_first_benchmark(report)}. {UNKNOWN}"
    return section(
        "metrics", CONTENTS["metrics"], table(("", *names_of(report)), _metric_rows(report)), paragraph(text)
    )


UNKNOWN: Final = (
    "A dash is a figure without a value. Slippage paid and borrow fees of a single agent's book are not recorded."
)


def provenance(report: BacktestReport) -> str:
    h = report.header
    rows = [
        row("configuration", figure("header.config", h.config, "text", "hash")),
        row("market data", figure("header.market", h.market, "text", "hash")),
        row("effects of the run", figure("header.digest", h.digest, "text", "hash")),
        row("code", figure("header.version", h.version, "text", "hash")),
        row("commit", figure("header.commit", h.commit, "text", "hash")),
        row("source of the bars", figure("header.source", h.source, "text", "hash")),
        row("seed of the costs", figure("header.seed", h.seed, "text", "")),
        row("capital", figure("header.capital", h.capital, "money", "")),
        row("samples", figure("header.samples", h.samples, "count", "")),
        row("risk-free rate, annual", figure("header.risk_free_annual", h.risk_free_annual, "fraction", "")),
    ]
    return section("provenance", "Provenance and notes", table((), rows), *map(paragraph, report.notes))
