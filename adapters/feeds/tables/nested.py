"""Bars in JSON: lists of objects or arrays, arrays by name, objects by time, below any keys of an answer.

An answer wraps its bars: in a key "results", in one for each symbol, in two. The bars are the longest list, so that no
key's name matters; its siblings with the same shape are those of other symbols. What stands around it may name the
symbol and the zone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import polars as pl

from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.tables.moments import is_stamp
from quantd.adapters.feeds.tables.roles import word

DEEPEST: Final = 12
_SYMBOL_KEYS: Final = ("symbol", "ticker", "pair", "instrument", "market", "2 symbol")
_ZONE_KEYS: Final = ("time zone", "timezone", "exchange timezone", "exchange timezone name")


class NestedTable(NamedTuple):
    """A table of JSON. `symbol` and `zone` are those of the keys around it, empty without any.

    `columned` is True where the columns have names.
    """

    frame: pl.DataFrame
    symbol: str
    zone: str
    columned: bool


def nested_tables(data: bytes, where: str) -> list[NestedTable]:
    """Return the tables of a JSON file, one for each symbol. Raises FeedError for no JSON, or one without bars."""
    try:
        document = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError):
        document = _of_lines(data, where)
    tables = list(_tables(document, {}, 0, ""))
    if not tables:
        raise FeedError(where, "this JSON has no list of bars", "Save the answer with its bars")
    longest = max(len(table.frame) for table in tables)
    if not longest:
        raise FeedError(where, "its list of bars is empty", "Ask for a range in which the symbol was traded")
    columns = max(tables, key=lambda table: len(table.frame)).frame.width
    return [table for table in tables if len(table.frame) and table.frame.width == columns]


def _of_lines(data: bytes, where: str) -> list[Any]:
    """Return the objects of a file that has one in each line. Raises FeedError with the line that is no JSON."""
    rows = []
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                rows.append(msgspec.json.decode(line))
            except (msgspec.DecodeError, RecursionError) as error:
                at = f"{where}:{number}" if rows else where
                raise FeedError(at, f"it is no whole JSON ({str(error)[:80]})", "Download it again") from None
    return rows


def _tables(node: Any, around: Mapping[str, Any], depth: int, key: str) -> Iterator[NestedTable]:
    """Yield the tables of a part of a document; `around` are the scalars above it, `key` is the nearest name."""
    if depth > DEEPEST:
        return
    if isinstance(node, list):
        if node and all(isinstance(row, dict) for row in node) and _is_bar(flat := _flat(node[0])):
            yield _of_objects([_flat(row) for row in node] if len(flat) > len(node[0]) - 1 else node, around, key)
        elif node and all(isinstance(row, list) for row in node) and len(node[0]) >= 5:
            yield _of_arrays(node, around, key)
        else:
            for item in node:
                yield from _tables(item, around, depth + 1, key)
        return
    if not isinstance(node, dict):
        return
    around = {**around, **_scalars(node)}
    rows = [value for value in node.values() if isinstance(value, dict)]
    if rows and len(rows) == len(node) and all(is_stamp(str(name)) for name in node) and _is_bar(rows[0], timed=True):
        yield _of_objects([{"time": name, **value} for name, value in node.items()], around, key)
        return
    arrays = _arrays(node)
    if len(arrays) >= 5:
        lengths = {len(values) for values in arrays.values()}
        if len(lengths) == 1:
            yield NestedTable(
                _frame(list(arrays), list(zip(*arrays.values(), strict=True))), *_around(around, key), True
            )
            return
    for name, value in node.items():
        yield from _tables(value, around, depth + 1, str(name))


def _is_bar(row: Mapping[str, Any], *, timed: bool = False) -> bool:
    """Whether an object has the fields of a bar: four scalars, at least."""
    scalars = [value for value in row.values() if not isinstance(value, dict | list)]
    return len(scalars) >= 4 + (not timed) - 1


def _flat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object with the prices of an object in it as its own: those of "mid", or of the only one there is."""
    inner = {name: value for name, value in row.items() if isinstance(value, dict) and len(value) >= 4}
    if "mid" not in inner and len(inner) != 1:
        outside = {f"{name} {part}": price for name, value in inner.items() for part, price in value.items()}
        return {**row, **outside}
    prices = inner.get("mid") or next(iter(inner.values()))
    return {**{name: value for name, value in row.items() if name not in inner}, **prices}


def _scalars(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the texts of an object and of those directly below it that have nothing else, by word."""
    out: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, str):
            out[word(name)] = value
        elif isinstance(value, dict) and not any(isinstance(part, dict | list) for part in value.values()):
            out |= {word(inner): text for inner, text in value.items() if isinstance(text, str)}
    return out


def _arrays(node: Any, depth: int = 0) -> dict[str, list[Any]]:
    """Return the arrays of scalars of an object and of what it wraps, by name."""
    out: dict[str, list[Any]] = {}
    items = node.items() if isinstance(node, dict) else [("", value) for value in node]
    for name, value in items:
        if isinstance(value, list) and value and not any(isinstance(part, dict | list) for part in value):
            out[str(name)] = value
        elif isinstance(value, dict | list) and depth < 4:
            out |= {inner: array for inner, array in _arrays(value, depth + 1).items() if inner and inner not in out}
    return out


def _around(around: Mapping[str, Any], key: str) -> tuple[str, str]:
    symbol = next((str(around[name]) for name in _SYMBOL_KEYS if around.get(name)), "")
    zone = next((str(around[name]) for name in _ZONE_KEYS if around.get(name)), "")
    plain = word(key)
    generic = plain in (
        "", "bars", "results", "result", "data", "values", "candles", "historical", "list", "prices", "chart", "quotes",
        "items", "rows", "records", "ohlc", "ohlcv", "series", "eod", "history", "timeseries", "time series",
    ) or plain.startswith("time series")  # fmt: skip
    return symbol or ("" if generic else key), zone


def _of_objects(rows: Sequence[Mapping[str, Any]], around: Mapping[str, Any], key: str) -> NestedTable:
    names = list(dict.fromkeys(name for row in rows for name in row if not isinstance(row[name], dict | list)))
    cells = [tuple(row.get(name) for name in names) for row in rows]
    return NestedTable(_frame(names, cells), *_around(around, key), True)


def _of_arrays(rows: Sequence[Sequence[Any]], around: Mapping[str, Any], key: str) -> NestedTable:
    width = max(map(len, rows))
    cells = [tuple(row) + (None,) * (width - len(row)) for row in rows]
    return NestedTable(_frame([f"column_{k + 1}" for k in range(width)], cells), *_around(around, key), False)


def _frame(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Return columns of numbers where all fields are, else of text."""
    columns = []
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        kinds = {type(value) for value in values if value is not None}
        if kinds <= {int} and kinds:
            columns.append(pl.Series(name, values, dtype=pl.Int64, strict=False))
        elif kinds <= {int, float} and kinds:
            columns.append(pl.Series(name, values, dtype=pl.Float64, strict=False))
        else:
            columns.append(
                pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
            )
    return pl.DataFrame(columns)
