"""Report files: the format follows from the suffix, and a JSON file is read back."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from quantd.regular_file import write_whole
from quantd.research.reports.page_sections import page
from quantd.research.reports.report_contents import FORMAT, BacktestReport
from quantd.research.reports.report_texts import csv_text, markdown, series_text
from quantd.trading.exit_codes import CHECK_FAILED, USAGE, ExplainedError


class NoReport(ExplainedError, ValueError):
    """A file that is no readable report of a backtest. The text names the remedy."""

    exit_code = CHECK_FAILED


class UnknownSuffix(ExplainedError, ValueError):
    """A file name whose suffix is not one of the formats of a report."""

    exit_code = USAGE


def json_text(report: object) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


WRITERS: Final[Mapping[str, Callable[[BacktestReport], str]]] = {
    ".html": page, ".json": json_text, ".md": markdown, ".csv": csv_text,
}  # fmt: skip
"""Suffix of a report's file -> function that returns the text of the file."""


def check_suffix(path: Path) -> None:
    """Raise UnknownSuffix unless the suffix of `path` is a format of a report."""
    if path.suffix.lower() not in WRITERS:
        raise UnknownSuffix(
            f"{path}: the suffix is no format of a report; name a file that ends in {', '.join(WRITERS)}"
        )


def write_backtest_report(path: Path, report: BacktestReport) -> None:
    """Write the report in the format of the suffix, as a whole file or not at all.

    For NAME.csv, the series are written beside the figures, in NAME.series.csv. Raises UnknownSuffix for a suffix
    without a format, OSError where the file cannot be written.
    """
    check_suffix(path)
    if path.suffix.lower() == ".csv":
        write_whole(path.with_suffix(".series.csv"), series_text(report).encode())
    write_whole(path, WRITERS[path.suffix.lower()](report).encode())


def read_backtest_report(path: Path) -> BacktestReport:
    """Read a report from its JSON file.

    Raises NoReport for a file that is missing, that is no report, or whose `format` this version does not read.
    """
    remedy = "write one with quantd backtest --report NAME.json"
    try:
        report = msgspec.json.decode(path.read_bytes(), type=BacktestReport)
    except OSError as why:
        raise NoReport(f"{path}: {(why.strerror or 'cannot be read').lower()}; {remedy}") from None
    except msgspec.DecodeError as why:
        raise NoReport(f"{path} is no report of a backtest ({why}); {remedy}") from None
    if report.format != FORMAT:
        raise NoReport(f"{path} is a report of format {report.format}, but this version reads {FORMAT}; {remedy}")
    return report
