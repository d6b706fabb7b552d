"""The rows of the digest, MessagePack of fills, orders and valuations, and the chain of their hashes.

Rows of an instant are hashed once no earlier row can follow, which is an interval later: the fills of a bar are of its
open, and are known at its close. What comes late within the interval is put in its place by its time and kind.
"""

from hashlib import blake2b
from typing import Any, Final

from quantd.daemon.engine.core.order_columns import Orders
from quantd.trading.number_types import Bytes, Ints

FILL = 0
EQUITY = 1
ORDER = 2
"""Kinds of rows, as in `quantd.daemon.runtime.digest`."""


WAITING: Final = 512
"""Parts that wait, above which those of ended instants are hashed."""

END: Final = 9223372036854775807
"""Later than each instant."""


class Part:
    """`count` encoded rows of one instant and one kind, in the order of their symbols, one behind the other."""

    ts: int
    kind: int
    count: int
    data: Any

    def __init__(self, ts: int, kind: int, count: int, data: Any) -> None:
        self.ts, self.kind, self.count, self.data = ts, kind, count, data

    def head(self) -> Any:
        """The head of a MessagePack array of so many rows."""
        return HEADS[self.count] if self.count < 16 else long_head(self.count)


class Chain:
    """The parts of instants that may not have ended, and the hash of all before, each instant chained to the last.

    `interval` is the longest time in ns by which a row may be earlier than the last one. `merge` puts the rows of
    several parts of one kind in order.
    """

    parts: list[Any]
    link: Any
    interval: int
    merge: Any

    def __init__(self, interval: int, merge: Any) -> None:
        self.parts, self.link, self.interval, self.merge = [], b"", interval, merge

    def settle(self, now: int) -> None:
        """Hash the instants that have ended, where many parts wait: a bar known after `now` opened at most an interval
        before it."""
        if len(self.parts) > WAITING:
            self.close(now - self.interval)

    def close(self, before: int) -> None:
        """Hash the instants before `before`."""
        parts: list[Any] = self.parts
        count: int = len(parts)
        first: int = 0
        self.sort()
        while first < count:
            part: Part = parts[first]
            ts: int = part.ts
            if ts >= before:
                break
            end: int = first + 1
            while end < count:
                part = parts[end]
                if part.ts != ts:
                    break
                end += 1
            self.hash(first, end)
            first = end
        self.parts = parts[first:]

    def sort(self) -> None:
        """Order the parts by time and kind; most are, and those of one time and kind stay as they are."""
        parts: list[Any] = self.parts
        for k in range(1, len(parts)):
            part: Part = parts[k]
            at: int = k
            while at > 0:
                other: Part = parts[at - 1]
                if other.ts < part.ts or (other.ts == part.ts and other.kind <= part.kind):
                    break
                parts[at] = other
                at -= 1
            parts[at] = part

    def hash(self, first: int, end: int) -> None:
        """Chain the parts of one instant."""
        parts: list[Any] = self.parts
        part: Part = parts[first]
        if end - first == 1:
            self.link = blake2b(self.link + part.head() + part.data, digest_size=32).digest()
            return
        rows: int = 0
        last: int = -1
        several: bool = False
        data: Any = b""
        for k in range(first, end):
            part = parts[k]
            rows += part.count
            data += part.data
            several = several or part.kind == last
            last = part.kind
        joined: Part = Part(part.ts, last, rows, data)
        if several:
            data = self.merge(joined.head() + data)
        self.link = blake2b(self.link + joined.head() + data, digest_size=32).digest()


def long_head(count: int) -> bytes:
    """The head of an array of 16 rows or more."""
    return b"\xdc" + count.to_bytes(2, "big") if count < 65536 else b"\xdd" + count.to_bytes(4, "big")


HEADS: Final[list[bytes]] = [bytes((0x90 + count,)) for count in range(16)]


class Names:
    """Encoded names, one behind the other: that of `k` is `text[at[k] : at[k + 1]]`."""

    text: Bytes
    at: Ints

    def __init__(self, text: Bytes, at: Ints) -> None:
        self.text, self.at = text, at


class Rows:
    """Writes rows into a buffer, and adds them to the chain of the digest.

    `rank` has the symbols in order of their names, `place` by symbol the row of a basket. `book` has by row of a
    valuation the number of its book.
    """

    chain: Chain
    hashed: bool
    """Whether the run has a digest."""
    raw: Any
    buffer: Bytes
    symbols: Names
    books: Names
    book: Ints
    rank: Ints
    place: Ints

    def __init__(self, raw: Any, symbols: Names, books: Names, book: Ints, rank: Ints, place: Ints) -> None:
        self.raw, self.symbols, self.books, self.book, self.rank, self.place = raw, symbols, books, book, rank, place
        self.buffer, self.hashed = memoryview(raw), False

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
        prices: Ints = orders.price if kind == FILL else orders.worst_nano
        at: int = 0
        for k in range(len(place)):
            place[k] = -1
        for k in range(rows):
            place[symbols[k]] = k
        # each row begins alike
        buffer[0], buffer[1] = 0x99 if kind == FILL else 0x98, kind
        begin: int = self.put_int(self.put_int(2, ts), orders.sample)
        for k in range(len(rank)):
            symbol: int = rank[k]
            row: int = place[symbol]
            if row < 0:
                continue
            lots: int = orders.lots[row]
            for c in range(begin if at > 0 else 0):
                buffer[at + c] = buffer[c]
            at += begin
            at = self.put_name(at, self.symbols, symbol)
            at = self.put_int(at, orders.n)
            at = self.put_int(at, 1 if lots > 0 else -1)
            at = self.put_int(at, lots if lots > 0 else -lots)
            at = self.put_int(at, prices[row])
            if kind == FILL:
                at = self.put_int(at, orders.fee[row])
        self.add(ts, kind, rows, at)

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
        self.add(ts, EQUITY, 1, at)

    def add(self, ts: int, kind: int, count: int, size: int) -> None:
        """Add the rows in the first `size` bytes of the buffer to the chain."""
        chain: Chain = self.chain
        chain.parts.append(Part(ts, kind, count, bytes(self.raw[:size])))
