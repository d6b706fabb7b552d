"""Bars in JSON: lists of objects or arrays, arrays by name, objects by time, below any keys of an answer.

A vendor's answer nests its bars below keys: below "results", below a key for each symbol, or both. The longest list is
read as the bars, whatever its key; other lists with as many columns are read as the bars of other symbols. The texts
around a list may name its symbol and time zone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import polars as pl

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.moments import is_stamp
from quantd.adapters.feeds.table_files.roles import word

DEEPEST: Final = 12
_SYMBOL_KEYS: Final = ("symbol", "ticker", "pair", "instrument", "market", "2 symbol")
_ZONE_KEYS: Final = ("time zone", "timezone", "exchange timezone", "exchange timezone name")


_CLOSES: Final = ("prices", "price", "close", "closes")
"""Keys of lists of pairs: a time, and the price then."""


class NestedTable(NamedTuple):
    """A table of bars in JSON. `symbol` and `zone` are read from the keys around the table, empty if none has them.

    `columned` is True if the columns have names.
    """

    frame: pl.DataFrame
    symbol: str
    zone: str
    columned: bool


def nested_tables(data: bytes, where: str) -> list[NestedTable]:
    """Return the tables of a JSON file, one for each symbol. Raises FeedError for a file without JSON or bars."""
    try:
        document = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError):
        document = _json_lines(data, where)
    tables = list(_tables(document, {}, 0, ""))  # the top has no texts around it, and no key
    if not tables:
        raise FeedError(where, "this JSON has no list of bars", "Save the answer with its bars")
    longest = max(len(table.frame) for table in tables)
    if not longest:
        raise FeedError(where, "its list of bars is empty", "Ask for a range in which the symbol was traded")
    columns = max(tables, key=lambda table: len(table.frame)).frame.width
    return [table for table in tables if len(table.frame) and table.frame.width == columns]


def _json_lines(data: bytes, where: str) -> list[Any]:
    """Return the objects of a file with a JSON object in each line. Raises FeedError with the line that is no JSON."""
    objects = []
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                objects.append(msgspec.json.decode(line))
            except (msgspec.DecodeError, RecursionError) as error:
                place = f"{where}:{number}" if objects else where
                raise FeedError(place, f"it is no whole JSON ({str(error)[:80]})", "Download it again") from None
    return objects


def _tables(node: Any, outer_texts: Mapping[str, Any], depth: int, key: str) -> Iterator[NestedTable]:
    """Yield the tables of bars in the JSON value `node` and below it.

    `outer_texts` are the text values of the objects around it, by name in lower case without signs. `key` is the
    nearest key above it.

    A list of objects or of arrays is a table, and so are objects by time and an object of equally long arrays. The True
    in a NestedTable means that its columns have names.
    """
    if depth > DEEPEST:
        return
    if isinstance(node, list):
        if node and all(isinstance(row, dict) for row in node) and _is_bar(flat := _flattened(node[0])):
            yield _table_of_objects(
                [_flattened(row) for row in node] if len(flat) > len(node[0]) - 1 else node, outer_texts, key
            )
        elif node and all(isinstance(row, list) for row in node) and len(node[0]) >= 5:  # a time and four prices
            yield _table_of_arrays(node, outer_texts, key)
        elif node and word(key) in _CLOSES and all(_is_pair(row) for row in node):
            yield NestedTable(_frame(["time", "close"], node), *_symbol_and_zone(outer_texts, ""), True)
        else:
            for item in node:
                yield from _tables(item, outer_texts, depth + 1, key)
        return
    if not isinstance(node, dict):
        return
    outer_texts = {**outer_texts, **_nearby_texts(node)}
    rows = [value for value in node.values() if isinstance(value, dict)]
    if rows and len(rows) == len(node) and all(is_stamp(str(name)) for name in node) and _is_bar(rows[0], timed=True):
        yield _table_of_objects([{"time": name, **value} for name, value in node.items()], outer_texts, key)
        return
    if (table := _of_pandas(node, rows)) is not None:
        yield NestedTable(table, *_symbol_and_zone(outer_texts, key), True)
        return
    arrays = _arrays(node)
    # a time and four prices
    if len(arrays) >= 5:
        lengths = {len(values) for values in arrays.values()}
        if len(lengths) == 1:
            yield NestedTable(
                _frame(list(arrays), list(zip(*arrays.values(), strict=True))),
                *_symbol_and_zone(outer_texts, key),
                True,
            )
            return
    for name, value in node.items():
        yield from _tables(value, outer_texts, depth + 1, str(name))


def _of_pandas(node: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame | None:
    """Return the table of an object of columns, each an object by time or row number, or of columns, index and data;
    None for another object. `rows` are its values that are objects."""
    if node.keys() == {"columns", "index", "data"}:
        return _frame(
            ["time", *node["columns"]], [(at, *row) for at, row in zip(node["index"], node["data"], strict=True)]
        )
    keys = list(rows[0]) if rows and len(rows) == len(node) else []
    numbered = keys == [str(k) for k in range(len(keys))]
    if len(keys) < 2 or not (numbered or all(map(is_stamp, keys))) or any(list(row) != keys for row in rows):
        return None
    columns = [[] if numbered else keys, *(row.values() for row in rows)]
    return _frame([*([] if numbered else ["time"]), *node], list(zip(*columns[numbered:], strict=True)))


def _is_pair(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 2 and is_stamp(str(row[0])) and isinstance(row[1], int | float | None)


def _is_bar(row: Mapping[str, Any], *, timed: bool = False) -> bool:
    """Whether a JSON object can be a bar: it has at least four scalars.

    `timed` means that the key of the object is its time, which then is no field of it.
    """
    scalars = [value for value in row.values() if not isinstance(value, dict | list)]
    return len(scalars) >= 4 + (not timed) - 1


def _flattened(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a bar with the prices of a nested object as its own fields: of "mid", or else of the only such object.

    If several nested objects have prices (bid and ask), their fields are prefixed with the names of the objects.
    """
    price_objects = {name: value for name, value in row.items() if isinstance(value, dict) and len(value) >= 4}
    if "mid" not in price_objects and len(price_objects) != 1:
        prefixed = {f"{name} {part}": price for name, value in price_objects.items() for part, price in value.items()}
        return {**row, **prefixed}
    prices = price_objects.get("mid") or next(iter(price_objects.values()))
    return {**{name: value for name, value in row.items() if name not in price_objects}, **prices}


def _nearby_texts(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the texts of an object, and of the objects directly in it that have scalars only, by name (lower case, no
    signs)."""
    texts: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, str):
            texts[word(name)] = value
        elif isinstance(value, dict) and not any(isinstance(part, dict | list) for part in value.values()):
            texts |= {word(inner): text for inner, text in value.items() if isinstance(text, str)}
    return texts


def _arrays(node: Any, depth: int = 0) -> dict[str, list[Any]]:
    """Return the arrays of scalars in an object and in the objects and lists below it, by name.

    At most four levels below the first are read, and the outermost array of a name is taken.
    """
    arrays: dict[str, list[Any]] = {}
    items = node.items() if isinstance(node, dict) else [("", value) for value in node]
    for name, value in items:
        if isinstance(value, list) and value and not any(isinstance(part, dict | list) for part in value):
            arrays[str(name)] = value
        elif isinstance(value, dict | list) and depth < 4:
            arrays |= {
                inner: array for inner, array in _arrays(value, depth + 1).items() if inner and inner not in arrays
            }
    return arrays


def _symbol_and_zone(outer_texts: Mapping[str, Any], key: str) -> tuple[str, str]:
    symbol = next((str(outer_texts[name]) for name in _SYMBOL_KEYS if outer_texts.get(name)), "")
    zone = next((str(outer_texts[name]) for name in _ZONE_KEYS if outer_texts.get(name)), "")
    key_word = word(key)
    generic = key_word in (
        "", "bars", "results", "result", "data", "values", "candles", "historical", "list", "prices", "chart", "quotes",
        "items", "rows", "records", "ohlc", "ohlcv", "series", "eod", "history", "timeseries", "time series",
    ) or key_word.startswith("time series")  # fmt: skip
    return symbol or ("" if generic else key), zone


def _table_of_objects(rows: Sequence[Mapping[str, Any]], outer_texts: Mapping[str, Any], key: str) -> NestedTable:
    names = list(dict.fromkeys(name for row in rows for name in row if not isinstance(row[name], dict | list)))
    cells = [tuple(row.get(name) for name in names) for row in rows]
    return NestedTable(_frame(names, cells), *_symbol_and_zone(outer_texts, key), True)


def _table_of_arrays(rows: Sequence[Sequence[Any]], outer_texts: Mapping[str, Any], key: str) -> NestedTable:
    width = max(map(len, rows))
    cells = [tuple(row) + (None,) * (width - len(row)) for row in rows]
    return NestedTable(
        _frame([f"column_{k + 1}" for k in range(width)], cells), *_symbol_and_zone(outer_texts, key), False
    )


def _frame(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Return a frame; a column is numeric if all its values are numbers, else text."""
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
