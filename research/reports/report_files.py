"""Report files: the format follows from the suffix, and a JSON file is read back."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from quantd.regular_file import write_whole
from quantd.research.reports.report_contents import FORMAT, BacktestReport
from quantd.research.reports.report_page import page
from quantd.research.reports.report_texts import csv_text, markdown, series_text
from quantd.trading.exit_codes import CHECK_FAILED, USAGE, ExplainedError


class NoReport(ExplainedError, ValueError):
    """A file that is no report of a backtest, or a name whose suffix is no format. The text names the remedy."""

    exit_code = CHECK_FAILED


class UnknownSuffix(ExplainedError, ValueError):
    """A file name whose suffix is none of the formats."""

    exit_code = USAGE


def json_text(report: BacktestReport) -> str:
    """Return the whole report as JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


WRITERS: Final[Mapping[str, Callable[[BacktestReport], str]]] = {
    ".html": page, ".json": json_text, ".md": markdown, ".csv": csv_text,
}  # fmt: skip
"""Suffix -> function that makes the text."""


def check_suffix(path: Path) -> None:
    """Raise UnknownSuffix unless the suffix is a format."""
    if path.suffix.lower() not in WRITERS:
        raise UnknownSuffix(f"{path}: a report is {', '.join(WRITERS)}; name a file with one of these suffixes")


def write_backtest_report(path: Path, report: BacktestReport) -> None:
    """Write the report in one step, in the format of the suffix. Raises UnknownSuffix or OSError.

    A CSV file of figures has the series beside it, in NAME.series.csv.
    """
    check_suffix(path)
    if path.suffix.lower() == ".csv":
        write_whole(path.with_suffix(".series.csv"), series_text(report).encode())
    write_whole(path, WRITERS[path.suffix.lower()](report).encode())


def read_backtest_report(path: Path) -> BacktestReport:
    """Read a report's JSON. Raises NoReport for a missing file, one of another content, and one of another format."""
    remedy = "write one with quantd backtest --report NAME.json"
    try:
        report = msgspec.json.decode(path.read_bytes(), type=BacktestReport)
    except OSError as why:
        raise NoReport(f"{path}: {(why.strerror or 'cannot be read').lower()}; {remedy}") from None
    except msgspec.DecodeError as why:
        raise NoReport(f"{path} is no report of a backtest ({why}); {remedy}") from None
    if report.format != FORMAT:
        raise NoReport(f"{path} has format {report.format}, and this version reads {FORMAT}; {remedy}")
    return report
