"""The first table: the metrics that a reader wants first, by account."""

from typing import Final

from quantd.research.reports.page_parts import paragraph, table
from quantd.research.reports.report_contents import Account, BacktestReport
from quantd.research.reports.sections.account_columns import metric_rows, metric_texts, names_of
from quantd.research.reports.sections.section import Charts, Section, Table
from quantd.research.runs.benchmark_runs import UNTRADED

SUMMARY: Final = (
    "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar", "worst_month", "win_rate",
    "turnover", "cost_drag", "average_gross",
)  # fmt: skip
"""Metrics of the first table."""


def results(report: BacktestReport, _: Charts) -> str:
    h, accounts = report.header, [account for account in report.accounts if account.kind == "benchmark"]
    benchmarks = [_benchmark(account) for account in accounts if account.limits != UNTRADED]
    outside = [
        f"{account.name} is not traded: its figures are of its prices, with dividends and without costs."
        for account in accounts
        if account.limits == UNTRADED
    ]
    same = (
        "Each benchmark traded the same bars on the same dates, with the same costs and capital, through the same "
        f"engine. Benchmarks: {', '.join(benchmarks)}."
    )
    return "".join(
        (
            table(("", *names_of(report)), metric_rows(report, SUMMARY)),
            paragraph(f"All figures are after costs. {' '.join([*([same] if benchmarks else []), *outside])}"),
            paragraph(f"{h.sharpe_definition}. {_capital(h.turnover_definition)}."),
        )
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _benchmark(account: Account) -> str:
    mix = f" = {account.policy}" if account.policy not in (account.name, f"{account.name} 1") else ""
    return f"{account.name}{mix} ({account.limits})"


def tables(report: BacktestReport) -> tuple[Table, ...]:
    return (Table("Results", ("", *names_of(report)), metric_texts(report, SUMMARY)),)


SECTION: Final = Section(
    "summary",
    10,
    "Results",
    results,
    tables,
    about="the most used metrics of the house, of each benchmark and of each agent's book",
)
