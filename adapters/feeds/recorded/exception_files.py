"""Reads the file of [feed] exceptions: for a date and a symbol, whether suspicious prices are real."""

import csv
from datetime import date
from pathlib import Path
from typing import Final

from quantd.adapters.calendars import day_ns
from quantd.adapters.feeds.bars.answers import Answer
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.trading.instruments import Universe

COLUMNS: Final = ("date", "symbol", "answer")

ANSWERS: Final[dict[str, Answer]] = {"real": "real", "reject": "reject"}

MOST_BYTES: Final = 10_000_000
"""Largest file of exceptions: a person wrote it."""


def read_exceptions(path: Path | None, universe: Universe) -> dict[tuple[int, int], Answer]:
    """Return the answer by (column, session day in ns) of a CSV file with the columns date, symbol and answer.

    Ignored are further columns (such as the source of an answer), empty lines, lines that begin with #, and symbols
    outside the universe. Without a path there is no answer. Raises FeedError with the line of a fault.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise FeedError(str(path), "there is no such file", "Check [feed] exceptions in config.toml")
    if path.stat().st_size > MOST_BYTES:
        raise FeedError(path.name, f"it has more than {MOST_BYTES // 1_000_000} MB", "Name a file of exceptions")
    answers: dict[tuple[int, int], Answer] = {}
    lines: dict[tuple[int, int], int] = {}
    header: list[str] = []
    for number, line_text in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line_text.strip() or line_text.lstrip().startswith("#"):
            continue
        fields = [text_of_field.strip() for text_of_field in next(csv.reader([line_text]))]
        where = f"{path.name}:{number}"
        if not header:
            header = fields
            if missing := [name for name in COLUMNS if name not in header]:
                raise FeedError(where, f"column {missing[0]} is missing", f"Name the columns {', '.join(COLUMNS)}")
            continue
        if len(fields) > len(header):
            raise FeedError(where, f"{len(fields)} fields under a header of {len(header)}", "Quote a text with commas")
        if len(fields) < len(COLUMNS):
            raise FeedError(
                where, f"{len(fields)} fields under a header of {len(header)}", "Write date, symbol, answer"
            )
        row = dict(zip(header, fields, strict=False))
        date_and_symbol, answer = _row(where, row, universe)
        if date_and_symbol is None:
            continue
        if answers.get(date_and_symbol, answer) != answer:
            line_text = f"{row['symbol']} on {row['date']} has another answer in line {lines[date_and_symbol]}"
            raise FeedError(where, line_text, "Keep one of the two lines")
        answers[date_and_symbol], lines[date_and_symbol] = answer, number
    if not header:
        raise FeedError(path.name, "it has no header", f"Name the columns {', '.join(COLUMNS)}")
    return answers


def _row(where: str, row: dict[str, str], universe: Universe) -> tuple[tuple[int, int] | None, Answer]:
    """Return (column, session day in ns) and the answer of a line; None for a symbol outside the universe."""
    if row.get("answer") not in ANSWERS:
        raise FeedError(where, f'answer "{row.get("answer", "")}" is not known', "Write real or reject")
    try:
        day = day_ns(date.fromisoformat(row["date"]))
    except ValueError:
        raise FeedError(where, f'date "{row["date"]}" cannot be read', "Write it as 2020-08-31") from None
    column = universe.index.get(row["symbol"])
    return None if column is None else (column, day), ANSWERS[row["answer"]]
