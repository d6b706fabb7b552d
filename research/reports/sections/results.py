"""The first table of a report: the most important metrics, by account."""

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
"""Names of the metrics of the first table, in its order."""


def results(report: BacktestReport, _: Charts) -> str:
    """Return the summary of metrics for each account, and how the benchmarks were run, as HTML."""
    header, accounts = report.header, [account for account in report.accounts if account.kind == "benchmark"]
    traded = [_benchmark_text(account) for account in accounts if account.limits != UNTRADED]
    untraded_notes = [
        f"{account.name} is not traded: its figures are of its prices, with dividends and without costs."
        for account in accounts
        if account.limits == UNTRADED
    ]
    traded_note = (
        "Each benchmark traded the same bars on the same dates, with the same costs and capital, through the same "
        f"engine. Benchmarks: {', '.join(traded)}."
    )
    return "".join(
        (
            table(("", *names_of(report)), metric_rows(report, SUMMARY)),
            paragraph(
                f"All figures are after costs. {' '.join([*([traded_note] if traded else []), *untraded_notes])}"
            ),
            paragraph(f"{header.sharpe_definition}. {_capitalized(header.turnover_definition)}."),
        )
    )


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _benchmark_text(account: Account) -> str:
    """Return a benchmark's name, its policy where the name does not say it, and its limits, as text.

    The policy of a single-symbol benchmark is left out: "SPY 1", the symbol with its weight, would repeat "SPY".
    """
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
