"""The headings of a report's columns by account, and the rows of metrics, which several sections show."""

from collections.abc import Sequence

from quantd.daemon.views.report.markup import row
from quantd.research.reports.page_parts import figure, formatted
from quantd.research.reports.report_contents import BacktestReport


def names_of(report: BacktestReport) -> tuple[str, ...]:
    """Return the heading of each account's column, such as "house" or "benchmark SPY"."""
    return tuple(
        account.name if account.kind == "house" else f"{account.kind} {account.name}" for account in report.accounts
    )


def first_benchmark(report: BacktestReport) -> str:
    """Return the name of the first benchmark with figures, for a sentence; "a benchmark" where there is none."""
    benchmarks = [account for account in report.accounts if account.kind == "benchmark" and not account.missing]
    return benchmarks[0].name if benchmarks else "a benchmark"


def metric_rows(report: BacktestReport, names: Sequence[str] | None = None) -> list[str]:
    """Return the HTML rows of the metrics in `names`, of all where it is None. The tooltip has formula and source.

    The helper `figure` makes a cell from the number's path in the report's JSON, the number, its unit and a CSS class.
    """
    return [
        row(
            metric.title,
            *(
                # the first account is the house, whose column stands out
                figure(f"metrics.{k}.values.{n}", value, metric.unit, "n" if n else "n own")
                for n, value in enumerate(metric.values)
            ),
            title=f"{metric.name}: {metric.formula} ({metric.source})",
        )
        for k, metric in enumerate(report.metrics)
        if names is None or metric.name in names
    ]


def metric_texts(report: BacktestReport, names: Sequence[str] | None = None) -> list[tuple[str, ...]]:
    """Return the rows (title, a text for each account) of the metrics in `names`, of all where it is None."""
    return [
        (metric.title, *(formatted(value, metric.unit) for value in metric.values))
        for metric in report.metrics
        if names is None or metric.name in names
    ]
