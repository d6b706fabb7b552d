"""The rows of the digest, MessagePack of fills, orders and valuations, and the chain of their hashes.

Rows of an instant are hashed once no earlier row can follow, which is an interval later: the fills of a bar are of its
open, and are known at its close. What comes late within the interval is put in its place by its time and kind.
"""

from hashlib import blake2b
from typing import Any, Final

from quantd.daemon.engine.core.order_columns import Orders
from quantd.trading.number_types import Bytes, IntRows, Ints, int_zero_rows

FILL = 0
EQUITY = 1
ORDER = 2
"""Kinds of rows, as in `quantd.daemon.runtime.digest`."""


WAITING: Final = 512
"""Parts that wait, above which those of ended instants are hashed."""

END: Final = 9223372036854775807
"""Later than each instant."""

TS: Final = 0
KIND: Final = 1
ROWS: Final = 2
FIRST: Final = 3
BEHIND: Final = 4
"""Columns of the parts of a chain: instant, kind, number of rows, and where these begin and end in the buffer."""

ROOM: Final = 37
"""Bytes before an instant: the hash before it and the longest head of an array."""


class Chain:
    """The parts of instants that may not have ended, and the hash of all before, each instant chained to the last.

    A part is `count` encoded rows of one instant and one kind, in the order of their symbols, one behind the other. The
    parts lie in one buffer, those of an instant without a gap and with `ROOM` before the first: the hash of the instant
    before and the head of the array are written there, and the instant is hashed as it lies. Parts that came out of
    order are joined first. What is hashed is dropped when many parts wait, and the rest moves to the front.

    `interval` is the longest time in ns by which a row may be earlier than the last one. `merge` puts the rows of
    several parts of one kind in order.
    """

    link: bytes
    interval: int
    merge: Any
    count: int
    """The number of parts that wait."""
    size: int
    """The bytes of the buffer that are in use."""
    parts: IntRows
    raw: Any
    """A memoryview of the buffer."""
    buffer: Bytes

    def __init__(self, interval: int, merge: Any) -> None:
        self.link, self.interval, self.merge = b"", interval, merge
        self.count = self.size = 0
        self.parts = int_zero_rows(8, 5)
        self.raw = memoryview(bytearray(1024))
        self.buffer = self.raw

    def begin(self, ts: int, most: int) -> int:
        """Make room for a part of at most `most` bytes; returns where it begins."""
        last: int = self.count - 1
        at: int = self.size
        if last < 0 or self.parts[last, TS] != ts:
            at += ROOM
        if at + most > len(self.buffer):
            self.widen(2 * (at + most))
        return at

    def widen(self, size: int) -> None:
        """Move to a buffer of `size` bytes."""
        raw: Any = memoryview(bytearray(size))
        raw[: self.size] = self.raw[: self.size]
        self.raw = raw
        self.buffer = raw

    def add(self, ts: int, kind: int, rows: int, at: int, behind: int) -> None:
        """Add a part whose rows were written to the buffer from where it begins."""
        place: int = self.count
        if place == len(self.parts):
            wider: IntRows = int_zero_rows(2 * place, 5)
            for k in range(place):
                for column in range(5):
                    wider[k, column] = self.parts[k, column]
            self.parts = wider
        parts: IntRows = self.parts
        parts[place, TS], parts[place, KIND], parts[place, ROWS] = ts, kind, rows
        parts[place, FIRST], parts[place, BEHIND] = at, behind
        self.count = place + 1
        self.size = behind

    def put(self, ts: int, kind: int, rows: int, data: bytes) -> None:
        """Add a part with the bytes of its rows."""
        at: int = self.begin(ts, len(data))
        self.raw[at : at + len(data)] = data
        self.add(ts, kind, rows, at, at + len(data))

    def data(self, place: int) -> bytes:
        """The bytes of the rows of a part."""
        return bytes(self.raw[self.parts[place, FIRST] : self.parts[place, BEHIND]])

    def waiting(self) -> list[Any]:
        """The parts that wait: instant, kind, number of rows and their bytes."""
        return self.behind(0)

    def behind(self, first: int) -> list[Any]:
        """The parts from `first` on, as `waiting` has them."""
        parts: IntRows = self.parts
        return [(parts[k, TS], parts[k, KIND], parts[k, ROWS], self.data(k)) for k in range(first, self.count)]

    def settle(self, now: int) -> None:
        """Hash the instants that have ended, where many parts wait: a bar known after `now` opened at most an interval
        before it."""
        if self.count > WAITING:
            self.close(now - self.interval)

    def close(self, before: int) -> None:
        """Hash the instants before `before`."""
        parts: IntRows = self.parts
        first: int = 0
        self.sort()
        while first < self.count:
            ts: int = parts[first, TS]
            if ts >= before:
                break
            end: int = first + 1
            while end < self.count and parts[end, TS] == ts:
                end += 1
            self.hash(first, end)
            first = end
        self.drop(first)

    def drop(self, first: int) -> None:
        """Forget the parts before `first`."""
        kept: list[Any] = self.behind(first)
        self.count = self.size = 0
        for ts, kind, rows, data in kept:
            self.put(ts, kind, rows, data)

    def sort(self) -> None:
        """Order the parts by time and kind; most are, and those of one time and kind stay as they are."""
        parts: IntRows = self.parts
        for k in range(1, self.count):
            at: int = k
            while at > 0:
                if parts[at - 1, TS] < parts[at, TS]:
                    break
                if parts[at - 1, TS] == parts[at, TS] and parts[at - 1, KIND] <= parts[at, KIND]:
                    break
                for column in range(5):
                    value: int = parts[at, column]
                    parts[at, column] = parts[at - 1, column]
                    parts[at - 1, column] = value
                at -= 1

    def hash(self, first: int, end: int) -> None:
        """Chain the parts of one instant."""
        parts: IntRows = self.parts
        rows: int = 0
        several: bool = False
        joined: bool = True
        for k in range(first, end):
            rows += parts[k, ROWS]
            if k > first:
                several = several or parts[k, KIND] == parts[k - 1, KIND]
                joined = joined and parts[k, FIRST] == parts[k - 1, BEHIND]
        if joined and not several:
            at: int = self.put_heads(parts[first, FIRST], rows)
            self.link = blake2b(self.raw[at : parts[end - 1, BEHIND]], digest_size=32).digest()
            return
        data: bytes = b"".join([self.data(k) for k in range(first, end)])
        if several:
            data = self.merge(head_of(rows) + data)
        self.link = blake2b(self.link + head_of(rows) + data, digest_size=32).digest()

    def put_heads(self, at: int, rows: int) -> int:
        """Write the last hash and the head of an array of so many rows before a place; returns where they begin."""
        head: bytes = head_of(rows)
        link: bytes = self.link
        begin: int = at - len(head) - len(link)
        for c in range(len(link)):
            self.buffer[begin + c] = link[c]
        for c in range(len(head)):
            self.buffer[begin + len(link) + c] = head[c]
        return begin


def head_of(count: int) -> bytes:
    """The head of a MessagePack array of `count` rows."""
    head: bytes = HEADS[count] if count < 16 else long_head(count)
    return head


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
    """Writes rows into the buffer of the chain of the digest.

    `rank` has the symbols in order of their names, `place` by symbol the row of a basket. `book` has by row of a
    valuation the number of its book.
    """

    chain: Chain
    hashed: bool
    """Whether the run has a digest."""
    most: int
    """The most bytes of the rows of one instant and kind."""
    buffer: Bytes
    """That of the chain."""
    symbols: Names
    books: Names
    book: Ints
    rank: Ints
    place: Ints

    def __init__(self, most: int, symbols: Names, books: Names, book: Ints, rank: Ints, place: Ints) -> None:
        self.most, self.symbols, self.books, self.book, self.rank, self.place = most, symbols, books, book, rank, place
        self.hashed = False

    def begin(self, ts: int) -> int:
        """Turn to the buffer of the chain, for rows of an instant; returns where they begin."""
        chain: Chain = self.chain
        at: int = chain.begin(ts, self.most)
        self.buffer = chain.buffer
        return at

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
        first: int = self.begin(ts)
        rows: int = orders.rows
        buffer: Bytes = self.buffer
        place: Ints = self.place
        rank: Ints = self.rank
        symbols: Ints = orders.symbol
        prices: Ints = orders.price if kind == FILL else orders.worst_nano
        at: int = first
        for k in range(len(place)):
            place[k] = -1
        for k in range(rows):
            place[symbols[k]] = k
        # each row begins alike
        buffer[at], buffer[at + 1] = 0x99 if kind == FILL else 0x98, kind
        alike: int = self.put_int(self.put_int(at + 2, ts), orders.sample) - first
        for k in range(len(rank)):
            symbol: int = rank[k]
            row: int = place[symbol]
            if row < 0:
                continue
            lots: int = orders.lots[row]
            for c in range(alike if at > first else 0):
                buffer[at + c] = buffer[first + c]
            at += alike
            at = self.put_name(at, self.symbols, symbol)
            at = self.put_int(at, orders.n)
            at = self.put_int(at, 1 if lots > 0 else -1)
            at = self.put_int(at, lots if lots > 0 else -lots)
            at = self.put_int(at, prices[row])
            if kind == FILL:
                at = self.put_int(at, orders.fee[row])
        self.chain.add(ts, kind, rows, first, at)

    def put_equity(self, ts: int, values: Ints) -> None:
        """Add the row of a valuation: int64[B + 1] equities of the house, of the agents, and what no agent has."""
        first: int = self.begin(ts)
        books: int = len(self.book)
        buffer: Bytes = self.buffer
        buffer[first], buffer[first + 1] = 0x94, EQUITY
        at: int = self.put_int(first + 2, ts)
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
        self.chain.add(ts, EQUITY, 1, first, at)
