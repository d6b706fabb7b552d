"""Charts of a report's page: equity, drawdown, rolling figures and exposure."""

from typing import Final

from quantd.research.reports.page_parts import Chart, Series
from quantd.research.reports.report_contents import BacktestReport, Row

COLORS: Final = 8
"""Number of colours, the variables `--c0` to `--c7` of the page's style."""

DIGITS: Final = 6
"""Decimals of a chart's values. The report's JSON does not round them."""

WIDE_RANGE: Final = 4.0
"""The scale of a chart is logarithmic where the highest wealth is more than this multiple of the lowest."""


def charts_of(report: BacktestReport) -> dict[str, Chart]:
    """Return the charts of the page by name. With two or more agents, their books have a chart, "books"."""
    curves, windows = report.curves, report.rolling
    kinds = [account.kind for account in report.accounts]
    house_and_benchmarks = [k for k, kind in enumerate(kinds) if kind != "agent"]
    house_and_books = [k for k, kind in enumerate(kinds) if kind != "benchmark"]
    x, rolling_x = _seconds(curves.ts), _seconds(windows.ts)
    charts = {
        # `_is_wide` chooses a logarithmic axis, `high` a taller chart
        "equity": Chart(
            x,
            _lines(report, curves.wealth, house_and_benchmarks),
            "ratio",
            _is_wide(curves.wealth, house_and_benchmarks),
            high=True,
        ),
        # -1: a drawdown is drawn downwards
        "drawdown": Chart(x, _lines(report, curves.drawdown, house_and_benchmarks, -1.0), "percent"),
    }
    if len(house_and_books) > 2:  # the book of a single agent would repeat the house
        charts["books"] = Chart(
            x, _lines(report, curves.wealth, house_and_books), "ratio", _is_wide(curves.wealth, house_and_books)
        )
    if rolling_x:
        charts["rolling_sharpe"] = Chart(rolling_x, _lines(report, windows.sharpe, house_and_benchmarks), "ratio")
        charts["rolling_volatility"] = Chart(
            rolling_x, _lines(report, windows.volatility, house_and_benchmarks), "percent"
        )
        charts["rolling_drawdown"] = Chart(
            rolling_x, _lines(report, windows.drawdown, house_and_benchmarks, -1.0), "percent"
        )
        if windows.beta:
            charts["rolling_beta"] = Chart(rolling_x, (_line("beta", windows.beta, 0),), "ratio")
    exposure = report.exposures
    # 0 and 1 are the colours of the lines
    lines = [
        _line("gross", exposure.gross, 0),
        *([_line("net", exposure.net, 1, dash=True)] if exposure.net else []),
    ]
    charts["exposure"] = Chart(_seconds(exposure.ts), tuple(lines), "percent")
    return charts


def _seconds(ts: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(time_ns / 1e9 for time_ns in ts)


def _lines(report: BacktestReport, rows: tuple[Row, ...], columns: list[int], scale: float = 1.0) -> tuple[Series, ...]:
    """Return a line for each account of `columns`, which are indices of `report.accounts` and of `rows`.

    The house (the whole account, index 0) has a wide line. From the ninth line on colours repeat, and lines are dashed.
    """
    accounts = report.accounts
    return tuple(
        Series(accounts[k].name, _rounded(rows[k], scale), f"--c{n % COLORS}", wide=k == 0, dash=n > COLORS - 1)
        for n, k in enumerate(columns)
        if not accounts[k].missing
    )


def _line(name: str, values: Row, color: int, dash: bool = False) -> Series:
    return Series(name, _rounded(values), f"--c{color}", wide=True, dash=dash)


def _rounded(values: Row, scale: float = 1.0) -> Row:
    """Multiply the values by `scale`, and round the products. Adding 0.0 turns -0.0 into 0.0."""
    return tuple(None if value is None else round(scale * value, DIGITS) + 0.0 for value in values)


def _is_wide(rows: tuple[Row, ...], columns: list[int]) -> bool:
    """Return True where the wealth of the accounts `columns` needs a logarithmic scale."""
    values = [value for k in columns for value in rows[k] if value is not None]
    return bool(values) and min(values) > 0.0 and max(values) / min(values) > WIDE_RANGE
