"""The rows of the digest: MessagePack of fills, orders and valuations, as `runtime.digest` hashes them."""

from typing import Any

from quantd.daemon.engine.core.order_columns import Orders
from quantd.trading.number_types import Bytes, Ints

FILL = 0
EQUITY = 1
ORDER = 2
"""Kinds of rows, as in `quantd.daemon.runtime.digest`."""


class Names:
    """Encoded names, one behind the other: that of `k` is `text[at[k] : at[k + 1]]`."""

    text: Bytes
    at: Ints

    def __init__(self, text: Bytes, at: Ints) -> None:
        self.text, self.at = text, at


class Rows:
    """Writes rows into a buffer, and hands them to the digest as (instant, kind, number, bytes).

    `rank` has the symbols in order of their names, `place` by symbol the row of a basket. `book` has by row of a
    valuation the number of its book.
    """

    opened: list[Any]
    """The rows that the digest has not hashed yet."""
    hashed: bool
    raw: Any
    buffer: Bytes
    symbols: Names
    books: Names
    book: Ints
    rank: Ints
    place: Ints

    def __init__(self, raw: Any, symbols: Names, books: Names, book: Ints, rank: Ints, place: Ints) -> None:
        self.raw, self.symbols, self.books, self.book, self.rank, self.place = raw, symbols, books, book, rank, place
        self.buffer, self.opened, self.hashed = memoryview(raw), [], False

    def put_int(self, at: int, value: int) -> int:
        """Write an integer in its shortest form; returns the place behind it."""
        buffer: Bytes = self.buffer
        bits: int
        if -32 <= value < 128:
            buffer[at] = value & 255
            return at + 1
        kind: int = 0xCC if value > 0 else 0xD0
        if -128 <= value < 256:
            bits = 8
        elif -32768 <= value < 65536:
            kind += 1
            bits = 16
        elif -2147483648 <= value < 4294967296:
            kind += 2
            bits = 32
        else:
            kind += 3
            bits = 64
        buffer[at] = kind
        at += 1
        if bits == 64:
            buffer[at], buffer[at + 1] = (value >> 56) & 255, (value >> 48) & 255
            buffer[at + 2], buffer[at + 3] = (value >> 40) & 255, (value >> 32) & 255
            at += 4
        if bits >= 32:
            buffer[at], buffer[at + 1] = (value >> 24) & 255, (value >> 16) & 255
            at += 2
        if bits >= 16:
            buffer[at] = (value >> 8) & 255
            at += 1
        buffer[at] = value & 255
        return at + 1

    def put_name(self, at: int, names: Names, k: int) -> int:
        """Copy the name of `k`; returns the place behind it."""
        buffer: Bytes = self.buffer
        text: Bytes = names.text
        start: int = names.at[k]
        size: int = names.at[k + 1] - start
        for c in range(size):
            buffer[at + c] = text[start + c]
        return at + size

    def put_orders(self, orders: Orders, kind: int, ts: int) -> None:
        """Add the rows of orders or of their fills, by symbol."""
        rows: int = orders.rows
        buffer: Bytes = self.buffer
        place: Ints = self.place
        rank: Ints = self.rank
        symbols: Ints = orders.symbol
        prices: Ints = orders.price if kind == FILL else orders.worst
        at: int = 0
        for k in range(len(place)):
            place[k] = -1
        for k in range(rows):
            place[symbols[k]] = k
        for k in range(len(rank)):
            symbol: int = rank[k]
            row: int = place[symbol]
            if row < 0:
                continue
            lots: int = orders.lots[row]
            buffer[at], buffer[at + 1] = 0x99 if kind == FILL else 0x98, kind
            at = self.put_int(at + 2, ts)
            at = self.put_int(at, orders.sample)
            at = self.put_name(at, self.symbols, symbol)
            at = self.put_int(at, orders.n)
            at = self.put_int(at, 1 if lots > 0 else -1)
            at = self.put_int(at, lots if lots > 0 else -lots)
            at = self.put_int(at, prices[row])
            if kind == FILL:
                at = self.put_int(at, orders.fee[row])
        self.opened.append((ts, kind, rows, bytes(self.raw[:at])))

    def put_equity(self, ts: int, values: Ints) -> None:
        """Add the row of a valuation: int64[B + 1] equities of the house, of the agents, and what no agent has."""
        books: int = len(self.book)
        buffer: Bytes = self.buffer
        buffer[0], buffer[1] = 0x94, EQUITY
        at: int = self.put_int(2, ts)
        at = self.put_int(at, values[0])
        if books < 16:
            buffer[at] = 0x90 + books
            at += 1
        else:
            buffer[at], buffer[at + 1], buffer[at + 2] = 0xDC, books >> 8, books & 255
            at += 3
        for k in range(books):
            buffer[at] = 0x92
            at = self.put_name(at + 1, self.books, k)
            at = self.put_int(at, values[1 + self.book[k]])
        self.opened.append((ts, EQUITY, 1, bytes(self.raw[:at])))
