"""Charts of a report's page: equity, drawdown, rolling figures and exposure."""

from typing import Final

from quantd.research.reports.page_parts import Chart, Series
from quantd.research.reports.report_contents import BacktestReport, Row

COLORS: Final = 8
"""Number of colours of lines in the style."""

DIGITS: Final = 6
"""Decimals of a chart's values; the JSON has all."""

WIDE_RANGE: Final = 4.0
"""Ratio of the highest to the lowest wealth from which the scale is logarithmic."""


def charts_of(report: BacktestReport) -> dict[str, Chart]:
    """Return the charts of the page by name. Agents' books have a chart of their own."""
    curves, windows = report.curves, report.rolling
    kinds = [account.kind for account in report.accounts]
    accounts = [k for k, kind in enumerate(kinds) if kind != "agent"]
    books = [k for k, kind in enumerate(kinds) if kind != "benchmark"]
    x, late = _seconds(curves.ts), _seconds(windows.ts)
    charts = {
        "equity": Chart(
            x, _lines(report, curves.wealth, accounts), "ratio", _is_wide(curves.wealth, accounts), high=True
        ),
        "drawdown": Chart(x, _lines(report, curves.drawdown, accounts, -1.0), "percent"),
    }
    if len(books) > 2:
        charts["books"] = Chart(x, _lines(report, curves.wealth, books), "ratio", _is_wide(curves.wealth, books))
    if late:
        charts["rolling_sharpe"] = Chart(late, _lines(report, windows.sharpe, accounts), "ratio")
        charts["rolling_volatility"] = Chart(late, _lines(report, windows.volatility, accounts), "percent")
        charts["rolling_drawdown"] = Chart(late, _lines(report, windows.drawdown, accounts, -1.0), "percent")
        if windows.beta:
            charts["rolling_beta"] = Chart(late, (_line("beta", windows.beta, 0),), "ratio")
    held = report.exposures
    exposure = [_line("gross", held.gross, 0), *([_line("net", held.net, 1, dash=True)] if held.net else [])]
    charts["exposure"] = Chart(_seconds(held.ts), tuple(exposure), "percent")
    return charts


def _seconds(ts: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(time_ns / 1e9 for time_ns in ts)


def _lines(report: BacktestReport, rows: tuple[Row, ...], chosen: list[int], scale: float = 1.0) -> tuple[Series, ...]:
    accounts = report.accounts
    return tuple(
        Series(accounts[k].name, _rounded(rows[k], scale), f"--c{n % COLORS}", wide=k == 0, dash=n > COLORS - 1)
        for n, k in enumerate(chosen)
        if not accounts[k].missing
    )


def _line(name: str, values: Row, color: int, dash: bool = False) -> Series:
    return Series(name, _rounded(values), f"--c{color}", wide=True, dash=dash)


def _rounded(values: Row, scale: float = 1.0) -> Row:
    """Round the values; zero has no sign."""
    return tuple(None if value is None else round(scale * value, DIGITS) + 0.0 for value in values)


def _is_wide(rows: tuple[Row, ...], chosen: list[int]) -> bool:
    values = [value for k in chosen for value in rows[k] if value is not None]
    return bool(values) and min(values) > 0.0 and max(values) / min(values) > WIDE_RANGE
