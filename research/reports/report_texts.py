"""A report as Markdown, as CSV with one figure a line, and as CSV of its series."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from quantd.daemon.views.report import rendering
from quantd.daemon.views.report.section_parts import Note
from quantd.research.reports.page_sections import SECTIONS, about, title
from quantd.research.reports.report_contents import BacktestReport, Figure
from quantd.research.verdict import headline
from quantd.trading.display_text import csv_cell, instant_text

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
    text_file = io.StringIO()
    writer = csv.writer(text_file, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    writer.writerows(
        ("failed decisions", _cell(failure.agent), _cell(failure.text)) for failure in report.verdict.failures
    )
    writer.writerows([("nothing traded", "", _cell(nothing.text))] if (nothing := report.verdict.untraded) else [])
    writer.writerows(("doubt", _cell(doubt.kind), _cell(doubt.text)) for doubt in report.verdict.doubts)
    for metric in report.metrics:
        for account, value in zip(report.accounts, metric.values, strict=True):
            writer.writerow((f"metrics.{metric.name}", _cell(account.name), _cell(value)))
    document = msgspec.to_builtins(report)
    del document["metrics"]
    figures = ((path, value) for path, value in leaves(document) if not path.startswith(SERIES_PATHS))
    writer.writerows((path, "", _cell(value)) for path, value in figures)
    return text_file.getvalue()


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
    text_file = io.StringIO()
    writer = csv.writer(text_file, lineterminator="\n")
    writer.writerow(("time", *map(_cell, columns)))
    writer.writerows((instant_text(ts), *(_cell(column.get(ts)) for column in columns.values())) for ts in curves.ts)
    return text_file.getvalue()


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of each value in nested dicts, lists and tuples. A path is "costs.0.total"."""
    if isinstance(value, dict | list | tuple):
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for name, child in children:
            yield from leaves(child, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def _cell(value: Any) -> str:
    """Return a value as a cell of a CSV file; empty for None."""
    return "" if value is None else csv_cell(value)
