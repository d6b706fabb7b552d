"""A report as Markdown, as CSV with one figure a line, and as CSV of its series."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from quantd.daemon.views.report import rendering
from quantd.daemon.views.report.section_parts import Note
from quantd.research.reports.page_sections import SECTIONS, about, title
from quantd.research.reports.report_contents import BacktestReport, Figure
from quantd.research.verdict import headline
from quantd.trading.display_text import csv_table, instant_text

CSV_HEAD: Final = ("figure", "account", "value")
"""Columns of the CSV of figures."""

SERIES: Final = ("curves", "rolling", "samples", "exposures.ts", "exposures.gross", "exposures.net")
"""Fields of a report that are series. The CSV of figures leaves them out; `series_text` and the JSON have them."""

SERIES_PATHS: Final = tuple(f"{name}." for name in SERIES)


def markdown(report: BacktestReport) -> str:
    """Return the report as Markdown: the page without its charts."""
    definitions = (report.header.sharpe_definition, report.header.turnover_definition)
    notes = (*report.verdict.faults, headline(report.verdict), about(report), *definitions)
    return rendering.text(title(report), [Note(text) for text in notes], SECTIONS, report)


def csv_text(report: BacktestReport) -> str:
    """Return the figures as CSV with the columns of CSV_HEAD: the path in the JSON, the account, and the value.

    The first lines are failed decisions, "nothing traded" and doubts. A metric has one line for each account. Series
    are left out.
    """
    nothing, document = report.verdict.untraded, msgspec.to_builtins(report)
    del document["metrics"]
    return csv_table((
        CSV_HEAD,
        *(("failed decisions", failure.agent, failure.text) for failure in report.verdict.failures),
        *([("nothing traded", "", nothing.text)] if nothing else []),
        *(("doubt", doubt.kind, doubt.text) for doubt in report.verdict.doubts),
        *(
            (f"metrics.{metric.name}", account.name, value)
            for metric in report.metrics
            for account, value in zip(report.accounts, metric.values, strict=True)
        ),
        *((path, "", value) for path, value in leaves(document) if not path.startswith(SERIES_PATHS)),
    ))  # fmt: skip


def series_text(report: BacktestReport) -> str:
    """Return the series as CSV: a row for each sample, and a column for each series and account.

    A cell is empty where the series has no value, such as a rolling figure before its first window.
    """
    curves, rolling, exposures = report.curves, report.rolling, report.exposures
    equity = dict(zip(report.samples.ts, report.samples.equity, strict=True))
    columns: dict[str, Mapping[int, Figure]] = {"equity": equity}
    window = f"of {rolling.window}"
    for name, stamps, rows in (
        ("wealth", curves.ts, curves.wealth), ("drawdown", curves.ts, curves.drawdown),
        (f"sharpe {window}", rolling.ts, rolling.sharpe), (f"volatility {window}", rolling.ts, rolling.volatility),
        (f"drawdown {window}", rolling.ts, rolling.drawdown),
    ):  # fmt: skip
        for account, row in zip(report.accounts, rows, strict=True):
            columns[f"{name} {account.name}"] = dict(zip(stamps, row, strict=True))
    for name, stamps, row in (
        (f"beta {window}", rolling.ts, rolling.beta), ("gross exposure", exposures.ts, exposures.gross),
        ("net exposure", exposures.ts, exposures.net),
    ):  # fmt: skip
        if row:
            columns[name] = dict(zip(stamps, row, strict=True))
    samples = ((instant_text(ts), *(column.get(ts) for column in columns.values())) for ts in curves.ts)
    return csv_table((("time", *columns), *samples))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of each value in nested dicts, lists and tuples. A path is "costs.0.total"."""
    if isinstance(value, dict | list | tuple):
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for name, child in children:
            yield from leaves(child, f"{path}.{name}" if path else str(name))
    else:
        yield path, value
