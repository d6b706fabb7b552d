"""A report as Markdown, as CSV with one figure a line, and as CSV of its series."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from quantd.research.reports.page_parts import formatted
from quantd.research.reports.page_sections import SUMMARY, TESTS, cost_settings, counted, names_of
from quantd.research.reports.report_contents import BacktestReport, Figure
from quantd.research.verdict import headline
from quantd.trading.display_text import csv_cell, instant_text

CSV_HEAD: Final = ("figure", "account", "value")

SERIES: Final = ("curves", "rolling", "samples", "exposures.ts", "exposures.gross", "exposures.net")
"""Parts of a report that are series. The CSV of figures leaves them out; `series_text` and the JSON have them."""

SERIES_PATHS: Final = tuple(f"{name}." for name in SERIES)


def markdown(report: BacktestReport) -> str:
    """Return the report as Markdown: the tables of the page without its curves."""
    h = report.header
    failed = [part for text in report.verdict.faults for part in (text, "")]
    lines = [
        f"# Backtest of {h.name}, {h.first} to {h.last}", "", *failed, headline(report.verdict), "",
        f"{counted(h.symbols)}. Costs: {cost_settings(h)}.",
    ]  # fmt: skip
    for title, head, rows in _tables(report):
        lines += ["", f"## {title}", ""]
        lines += table_lines(head, rows) if rows else ["None."]
    lines += ["", "## Provenance and notes", ""]
    lines += [f"- {name}: `{value}`" for name, value in (
        ("configuration", h.config), ("market data", h.market), ("effects of the run", h.digest),
        ("code", h.version), ("commit", h.commit or "none, no checkout"), ("source of the bars", h.source),
        ("seed", h.seed),
    )]  # fmt: skip
    lines += [f"- {text}" for text in (h.sharpe_definition, h.turnover_definition, *report.notes)]
    return "\n".join(lines) + "\n"


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Format a table of Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), f"|{'---|' * len(head)}", *map(line, rows)]


Rows = list[tuple[str, ...]]


def _tables(report: BacktestReport) -> Iterator[tuple[str, tuple[str, ...], Rows]]:
    """Yield (title, head, rows) of each table."""
    accounts = names_of(report)

    def measured(names: Sequence[str] | None) -> Rows:
        return [
            (each.title, *(formatted(value, each.unit) for value in each.values))
            for each in report.metrics
            if names is None or each.name in names
        ]

    yield "Results", ("", *accounts), measured(SUMMARY)
    yield (
        "Goals (no results)",
        ("goal", "goal's number", "measured", "reached"),
        [
            (
                each.name,
                formatted(each.goal, each.unit),
                formatted(each.measured, each.unit),
                formatted(each.met, "text"),
            )
            for each in report.goals
        ],
    )
    yield (
        "Deepest drawdowns",
        ("depth", "high", "trough", "recovered"),
        [
            (formatted(each.depth, "fraction"), each.high, each.trough, each.recovered or "not yet")
            for each in report.drawdowns
        ],
    )
    yield (
        "Annual returns",
        ("year", "house", "first benchmark"),
        [
            (str(each.year), formatted(each.total_return, "signed"), formatted(each.benchmark, "signed"))
            for each in report.years
        ],
    )
    yield (
        "Monthly returns",
        ("month", "house"),
        [(f"{each.year}-{each.month:02d}", formatted(each.total_return, "signed")) for each in report.months],
    )
    yield (
        "Weights",
        ("symbol", "at the end", "average", "largest"),
        [
            (each.symbol, *(formatted(value, "fraction") for value in (each.end, each.average, each.largest)))
            for each in report.exposures.weights
        ],
    )
    t = report.trading
    yield (
        "Trades",
        ("", "count"),
        [
            (name.replace("_", " "), formatted(getattr(t, name), "count"))
            for name in ("orders", "fills", "cut", "refused", "switch_trips", "round_trips", "wins")
        ],
    )
    yield (
        "Round trips by symbol",
        ("symbol", "round trips", "hit rate", "profit"),
        [
            (each.symbol, str(each.trips), formatted(each.hit_rate, "fraction"), formatted(each.profit, "money"))
            for each in t.by_symbol
        ],
    )
    if report.risk.last is not None:
        r = report.risk.last
        yield "Risk at the last weights", ("symbol", "weight", "volatility", "VaR 95 %", "CVaR 95 %"), [
            (symbol, *(formatted(column[symbol], "fraction") for column in (
                r.weights, r.volatility_by_asset, r.var_by_asset, r.cvar_by_asset)))
            for symbol in sorted(r.weights)
        ]  # fmt: skip
    columns = ("traded", "commission", "slippage_paid", "borrow", "total")
    yield f"Costs, {report.header.currency}", ("", "orders filled", *columns, "drag a year"), [
        (each.account, formatted(each.orders, "count"), *(formatted(getattr(each, name), "money") for name in columns),
         formatted(each.drag_annual, "fraction"))
        for each in report.costs
    ]  # fmt: skip
    yield "The house less each benchmark", ("against", "Sharpe", "low", "high", *(f"{each}, p (Holm)" for each in
                                                                           TESTS.values())), [
        (each.benchmark, *(formatted(value, "ratio") for value in (each.sharpe_difference, each.low, each.high)),
         *(f"{formatted(test.p, 'p')} ({formatted(test.holm, 'p')})" for test in (getattr(each, name) for name in
                                                                              TESTS)))
        for each in report.statistics.versus
    ]  # fmt: skip
    if report.attribution is not None:
        for name in ("by_asset", "by_agent", "by_kind"):
            parts: dict[str, float] = getattr(report.attribution, name)
            yield (
                f"Contributions {name.replace('_', ' ')}",
                ("", "contribution"),
                [(part, formatted(parts[part], "signed")) for part in sorted(parts)],
            )
    yield "All metrics", ("", *accounts), measured(None)


def csv_text(report: BacktestReport) -> str:
    """Return the figures as CSV with the columns of CSV_HEAD: the path in the JSON, the account, and the value.

    An agent whose policy failed has the first lines, and a metric one line for each account. Series are not figures.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    writer.writerows(("failed decisions", _cell(own.agent), _cell(own.text)) for own in report.verdict.failures)
    writer.writerows([("nothing traded", "", _cell(nothing.text))] if (nothing := report.verdict.untraded) else [])
    writer.writerows(("doubt", _cell(own.kind), _cell(own.text)) for own in report.verdict.doubts)
    for each in report.metrics:
        for account, value in zip(report.accounts, each.values, strict=True):
            writer.writerow((f"metrics.{each.name}", _cell(account.name), _cell(value)))
    rest = msgspec.to_builtins(report)
    del rest["metrics"]
    figures = ((path, value) for path, value in leaves(rest) if not path.startswith(SERIES_PATHS))
    writer.writerows((path, "", _cell(value)) for path, value in figures)
    return out.getvalue()


def series_text(report: BacktestReport) -> str:
    """Return the series as CSV: a line for each sample of the curves, and a column for each series and account.

    A cell is empty where the series has no value, such as a rolling figure before its first window.
    """
    curves, moving, exposures = report.curves, report.rolling, report.exposures
    equity = dict(zip(report.samples.ts, report.samples.equity, strict=True))
    columns: dict[str, Mapping[int, Figure]] = {"equity": equity}
    window = f"of {moving.window}"
    for name, stamps, rows in (
        ("wealth", curves.ts, curves.wealth), ("drawdown", curves.ts, curves.drawdown),
        (f"sharpe {window}", moving.ts, moving.sharpe), (f"volatility {window}", moving.ts, moving.volatility),
        (f"drawdown {window}", moving.ts, moving.drawdown),
    ):  # fmt: skip
        for account, row in zip(report.accounts, rows, strict=True):
            columns[f"{name} {account.name}"] = dict(zip(stamps, row, strict=True))
    for name, stamps, row in (
        (f"beta {window}", moving.ts, moving.beta), ("gross exposure", exposures.ts, exposures.gross),
        ("net exposure", exposures.ts, exposures.net),
    ):  # fmt: skip
        if row:
            columns[name] = dict(zip(stamps, row, strict=True))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("time", *map(_cell, columns)))
    writer.writerows((instant_text(ts), *(_cell(column.get(ts)) for column in columns.values())) for ts in curves.ts)
    return out.getvalue()


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of each plain value of a document."""
    if isinstance(value, dict | list | tuple):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for name, each in inner:
            yield from leaves(each, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def _cell(value: Any) -> str:
    """A value as a cell of a CSV file; empty for None."""
    return "" if value is None else csv_cell(value)
