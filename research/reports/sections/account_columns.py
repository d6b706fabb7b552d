"""The headings of a report's columns by account, the rows of metrics, and the lines of charts by account."""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.views.report.section_parts import Cell, Chart, Row, Series
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.report_contents import Row as Figures

COLORS: Final = 8
"""Number of colours, the variables `--c0` to `--c7` of the page's style."""

DIGITS: Final = 6
"""Decimals of a chart's values. The report's JSON does not round them."""


def names_of(report: BacktestReport) -> tuple[str, ...]:
    """Return the heading of each account's column, such as "house" or "benchmark SPY"."""
    return tuple(
        account.name if account.kind == "house" else f"{account.kind} {account.name}" for account in report.accounts
    )


def first_benchmark(report: BacktestReport) -> str:
    """Return the name of the first benchmark with figures, for a sentence; "a benchmark" where there is none."""
    benchmarks = [account for account in report.accounts if account.kind == "benchmark" and not account.missing]
    return benchmarks[0].name if benchmarks else "a benchmark"


def metric_rows(report: BacktestReport, names: Sequence[str] | None = None) -> list[Row]:
    """Return the rows of the metrics in `names`, of all where it is None. The tooltip has formula and source."""
    return [
        Row(
            metric.title,
            [
                # the first account is the house, whose column stands out
                Cell(f"metrics.{k}.values.{n}", value, metric.unit, "n" if n else "n own")
                for n, value in enumerate(metric.values)
            ],
            f"{metric.name}: {metric.formula} ({metric.source})",
        )
        for k, metric in enumerate(report.metrics)
        if names is None or metric.name in names
    ]


def chart(
    report: BacktestReport, ts: Sequence[int], rows: Sequence[Figures], unit: str, *, kinds: str = "house benchmark",
    scale: float = 1.0, log: bool = False, high: bool = False,
) -> Chart:  # fmt: skip
    """Return a chart with a line for each account of these kinds; `rows` has the values of each account at `ts`.

    The house (the whole account) has a wide line. From the ninth line on colours repeat, and lines are dashed.
    """
    chosen = [(row, account) for row, account in zip(rows, report.accounts, strict=True) if account.kind in kinds]
    lines = (
        Series(account.name, rounded(row, scale), f"--c{n % COLORS}", account.kind == "house", n > COLORS - 1)
        for n, (row, account) in enumerate(chosen)
        if not account.missing
    )
    return Chart(seconds(ts), tuple(lines), unit, log, high)


def seconds(ts: Sequence[int]) -> tuple[float, ...]:
    """Instants (ns) as seconds, for a chart."""
    return tuple(time_ns / 1e9 for time_ns in ts)


def rounded(values: Figures, scale: float = 1.0) -> Figures:
    """Multiply the values by `scale`, and round the products. Adding 0.0 turns -0.0 into 0.0."""
    return tuple(None if value is None else round(scale * value, DIGITS) + 0.0 for value in values)
