"""The first table of a report: the most important metrics, by account."""

from typing import Final

from quantd.daemon.views.report.section_parts import Note, Section, Table
from quantd.research.reports.report_contents import Account, BacktestReport
from quantd.research.reports.sections.account_columns import metric_rows, names_of
from quantd.research.runs.benchmark_runs import UNTRADED

SUMMARY: Final = (
    "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar", "worst_month", "win_rate",
    "turnover", "cost_drag", "average_gross",
)  # fmt: skip
"""Names of the metrics of the first table, in its order."""


def results(report: BacktestReport) -> tuple[Table, Note, Note]:
    """Return the summary of metrics for each account, and how the benchmarks were run."""
    header, accounts = report.header, [account for account in report.accounts if account.kind == "benchmark"]
    traded = [_benchmark_text(account) for account in accounts if account.limits != UNTRADED]
    notes = ["All figures are after costs."]
    if traded:
        notes.append(
            "Each benchmark traded the same bars on the same dates, with the same costs and capital, through the same "
            f"engine. Benchmarks: {', '.join(traded)}."
        )
    notes += [
        f"{account.name} is not traded: its figures are of its prices, with dividends and without costs."
        for account in accounts
        if account.limits == UNTRADED
    ]
    return (
        Table(("", *names_of(report)), metric_rows(report, SUMMARY)),
        Note(" ".join(notes)),
        Note(f"{header.sharpe_definition}. {_capitalized(header.turnover_definition)}."),
    )


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _benchmark_text(account: Account) -> str:
    """Return a benchmark's name, its policy where the name does not say it, and its limits, as text.

    The policy of a single-symbol benchmark is left out: "SPY 1", the symbol with its weight, would repeat "SPY".
    """
    mix = f" = {account.policy}" if account.policy not in (account.name, f"{account.name} 1") else ""
    return f"{account.name}{mix} ({account.limits})"


SECTION: Final = Section(
    "summary",
    10,
    "Results",
    results,
    about="the most used metrics of the account, of each benchmark and of each agent",
)
