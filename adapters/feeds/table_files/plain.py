"""Decides whether a file has bars in the columns of quantd, which need no conversion.

A file in these columns is read directly, so that its digest and its digits stay as in earlier versions. The beginning
of the file decides: the names of the columns, times in ISO 8601, plain numbers, and the oldest bar first. A file with a
column of splits or dividends is not read directly, because its actions would be lost.
"""

import csv
import re
from pathlib import Path
from typing import Final

import polars as pl

from quantd.adapters.feeds.bars.rows import BARS
from quantd.adapters.feeds.table_files.actions import action_columns
from quantd.adapters.feeds.table_files.containers import kind_of
from quantd.adapters.feeds.table_files.moments import is_stamp
from quantd.adapters.feeds.table_files.spelled_numbers import is_number

_TRADES: Final = ("ts", "symbol", "price", "size")
_HEAD: Final = 1 << 14
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan|NaN|")


def is_plain(path: Path) -> bool:
    """Return whether a file is CSV or parquet in the columns of quantd.

    True also for a missing or damaged file: the direct reader then reports the fault.
    """
    if path.is_dir():
        return False
    if not path.is_file():
        return True  # the direct reader names the fault
    with path.open("rb") as file:
        head = file.read(_HEAD)
        size = file.seek(0, 2)
        file.seek(max(size - _HEAD, 0))
        tail = file.read()
    kind = kind_of(head)
    if kind == "parquet":
        return _is_plain_parquet(path)
    if kind != "text":
        return False
    if b"\0" in head or head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return False
    lines = head.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    if path.suffix.lower() not in (".csv", ".txt") or not _are_plain(lines[: -1 if size > _HEAD else None]):
        return False
    names = [name.strip('"') for name in lines[0].split(",")]
    last_lines = tail.decode("utf-8", "replace").split("\n")[1:]  # the header, or a part of a line
    return "symbol" not in names or _have_symbols(last_lines, names.index("symbol"))


def _have_symbols(lines: list[str], symbol: int) -> bool:
    """Return whether each line up to the last one with text has a symbol in field `symbol`; a blank line has none."""
    while lines and not lines[-1].strip():
        lines.pop()
    rows = csv.reader(lines)
    return all(map(str.strip, lines)) and all(len(row) > symbol and row[symbol].strip() for row in rows)


def _are_plain(lines: list[str]) -> bool:
    """Return whether the lines of a CSV file have the columns of quantd, in plain numbers and ISO times.

    Lines with the newest bar first are not plain: the general reader reverses their order. Nor are blank lines,
    remarks and bars without a symbol, which it counts or names.

    `forward` and `backward` count the bars that are later and earlier than the previous bar of their symbol.
    """
    names = [name.strip('"') for name in lines[0].split(",")] if lines else []
    if set(_TRADES) <= set(names):
        return True
    if not set(BARS) <= set(names) or action_columns(names):
        return False
    if "\r" in "".join(lines):
        return False
    if not _have_symbols(lines[1:], names.index("symbol")):
        return False
    rows = list(csv.reader(line for line in lines[1:] if line.strip()))
    column_index = {name: names.index(name) for name in BARS}
    newest: dict[str, str] = {}
    forward = backward = 0
    for row in rows:
        if len(row) < len(names):
            continue
        ts, symbol = row[column_index["ts"]].strip(), row[column_index["symbol"]].strip()
        if not _ISO.fullmatch(ts) and is_stamp(ts):
            return False
        fields = [row[column_index[name]].strip() for name in BARS[2:]]
        if any(not _NUMBER.fullmatch(field) and is_number(field) for field in fields):
            return False  # $1,500: a number in another spelling; a word is a bar without a price
        if symbol in newest:
            forward += ts >= newest[symbol]
            backward += ts < newest[symbol]
        newest[symbol] = ts
    return forward > 0 or backward == 0


def _is_plain_parquet(path: Path) -> bool:
    """Return whether a parquet file has the columns of quantd in usual types; True for a damaged file."""
    try:
        schema = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return True
    if set(_TRADES) <= set(schema):
        return True
    if not set(BARS) <= set(schema) or action_columns(list(schema)):
        return False
    plain_prices = all(schema[name].is_numeric() or schema[name] == pl.String for name in BARS[2:])
    ts = schema["ts"]
    return plain_prices and (ts == pl.Date or ts == pl.String or isinstance(ts, pl.Datetime))
