"""Tables with several symbols side by side, as one table for each symbol.

Blocks of prices have their symbol in the names of the columns, as pairs (price, symbol), or in a line above them. A
table of closes has one column for each symbol. Where the columns may be the prices of one bar instead, the table stays
as it is, and the reader asks for the names.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.roles import (
    Roles,
    are_names,
    code_of_currency,
    columns_of_symbols,
    is_ticker,
    is_time,
    is_unnamed,
    may_be_class,
    price_and_symbol,
    without_currency,
    word,
)
from quantd.adapters.feeds.table_files.statement import LeftOut


class RawTable(NamedTuple):
    """A table whose columns have no roles (time, price, volume) yet. `name` is its name in messages, `lines` the line
    number of each row in the file.

    `stem` is the file's name without its ending, from which a symbol may be read. `named` is True if the columns have
    names. `left_out` are the rows that are no bars.
    """

    name: str
    stem: str
    frame: pl.DataFrame
    lines: pl.Series
    named: bool = True
    symbol: str = ""
    zone: str = ""
    separator: str = ""
    notes: tuple[str, ...] = ()
    in_memory: bool = False
    unused: tuple[str, ...] = ()
    roles: Roles | None = None
    left_out: tuple[LeftOut, ...] = ()


RETURNS: Final = "Give prices: 100 * (1 + returns).cumprod()"
"""The remedy for a table of returns."""

_PAIR: Final = re.compile(r"\('([^']*)', '([^']*)'\)")


def unpaired(raw: RawTable) -> list[RawTable]:
    """Split a table whose column names are pairs of price and symbol, in either order, into one table per symbol, and
    a table of closes with a column for each symbol too.

    Another table is returned as it is.
    """
    pairs = [match.groups() if (match := _PAIR.fullmatch(name)) else ("", "") for name in raw.frame.columns]
    full_pairs = [pair for pair in pairs if all(pair)]
    if len(full_pairs) < 5:
        joined = [("", "") if is_time(name) else price_and_symbol(name) for name in raw.frame.columns]
        further = [name for name, pair in zip(raw.frame.columns, joined, strict=True) if not any(pair)]
        names = {symbol for _, symbol in joined if symbol}
        in_one_currency = len(names) == 1 and code_of_currency(*names)  # "Close_EUR" names no symbol
        if (
            further
            and len(further) < len(joined)
            and not in_one_currency
            and all(is_time(name) or is_unnamed(name) for name in further)
        ):
            return by_symbol(*_without_numbers(raw, joined))
        return of_closes(raw)
    if not are_names([price for price, _ in full_pairs]):
        pairs = [(price, symbol) for symbol, price in pairs]
    return by_symbol(raw, [(str(price), str(symbol)) for price, symbol in pairs])


def _in_percent(fields: pl.Series) -> bool:
    return fields.drop_nulls().str.ends_with("%").any()


def of_closes(raw: RawTable) -> list[RawTable]:
    """Split a table of closes with a column for each symbol into one table per symbol; another table stays.

    Raises FeedError for a table of returns.
    """
    symbols = columns_of_symbols(raw.frame.columns)
    kinds = [raw.frame[name].dtype for name in symbols]
    if not symbols or not all(kind.is_numeric() or kind == pl.String for kind in kinds):
        return [raw]
    signed = next((n for n in symbols if kinds[symbols.index(n)] == pl.String and _in_percent(raw.frame[n])), "")
    if signed:
        fault = f"column {signed} has numbers in per cent, so that it is of returns and not of closes"
        raise FeedError(raw.name, fault, RETURNS)
    values = raw.frame.select(pl.col(symbols).cast(pl.Float64, strict=False))
    first = values.select(pl.nth(range(min(len(symbols), 4)))).to_numpy()
    least, most = first.min(axis=1), first.max(axis=1)
    near = most - least < 0.2 * least
    # four columns of nearly one price are the prices of a bar under other names
    if len(symbols) >= 4 and near.mean() > 0.9:
        return [raw]
    below = [name for name in symbols if (values[name] < 0.0).any()]
    if below:
        fault = f"column {below[0]} has numbers below 0, so that it is of returns and not of closes"
        raise FeedError(raw.name, fault, RETURNS)
    parts = [without_currency(name) if name in symbols else ("", "") for name in raw.frame.columns]
    pairs = [(f"Close{currency}" if symbol else "", symbol) for symbol, currency in parts]
    return by_symbol(*_without_numbers(raw, pairs))


def _without_numbers(raw: RawTable, pairs: list[tuple[str, str]]) -> tuple[RawTable, list[tuple[str, str]]]:
    """Return a table and its pairs without a first column of row numbers, which has no name, beside the times."""
    columns = raw.frame.columns
    if is_unnamed(columns[0]) and is_time(columns[1]) and not pairs[1][1]:
        return raw._replace(frame=raw.frame.drop(columns[0])), pairs[1:]
    return raw, pairs


def has_symbols(row: Sequence[str], blocks: int) -> bool:
    """Whether a line of a header has the symbol of each column, or one above each of several `blocks` of prices.

    A line above one block has one symbol: other lines have units, or further words for the columns.
    """
    words = set(filter(None, row))
    if blocks == 1:
        symbols = set(filter(None, row[1:]))
        symbol = next(iter(symbols), "")
        is_currency = code_of_currency(symbol) and may_be_class(row[0])
        return sum(map(bool, row)) > 3 and len(symbols) == 1 and is_ticker(symbol) and not is_currency
    return sum(map(bool, row)) > 3 or blocks == len(words) > 1


def by_symbol(raw: RawTable, pairs: Sequence[tuple[str, str]]) -> list[RawTable]:
    """Return one table for each symbol in `pairs`, the (price, symbol) of each column.

    A column without a symbol belongs to every table.
    """
    columns = raw.frame.columns
    shared = [name for name, (_, symbol) in zip(columns, pairs, strict=True) if not symbol]
    shared = shared or columns[:1]
    tables = []
    for symbol in dict.fromkeys(symbol for _, symbol in pairs if symbol):
        own_columns = {
            name: price
            for name, (price, its_symbol) in zip(columns, pairs, strict=True)
            if its_symbol == symbol and name not in shared and price
        }
        own_time = next((price for price in own_columns.values() if is_time(price)), "")  # a block with its own dates
        of_all = [] if own_time else shared
        frame = raw.frame.select(*of_all, *(pl.col(name).alias(price) for name, price in own_columns.items()))
        time = own_time or next(
            (name for name in shared if word(name) in ("date", "datetime", "ts", "index")), shared[0]
        )
        frame = frame.rename({time: "Date"}) if "Date" not in frame.columns else frame
        prices = [name for name in frame.columns if name in own_columns.values()]
        filled = ~frame.select(pl.all_horizontal(pl.col(prices).is_null())).to_series()
        tables.append(raw._replace(frame=frame.filter(filled), lines=raw.lines.filter(filled), symbol=symbol))
        raw = raw._replace(left_out=())  # counted once
    return tables
