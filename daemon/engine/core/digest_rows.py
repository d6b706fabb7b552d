"""The rows of a run's digest (a hash of its trading): fills, orders, valuations in MessagePack, and their hash chain.

Rows of an instant are hashed once no earlier row can follow, which is an interval later: the fills of a bar are of its
open, and are known at its close. Rows that come late within the interval are sorted in by their time and kind.
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
"""With more waiting parts than this, the parts of ended instants are hashed."""

END: Final = 9223372036854775807
"""Later than each instant."""

TS: Final = 0
KIND: Final = 1
ROWS: Final = 2
FIRST: Final = 3
BEHIND: Final = 4
"""Columns of `Chain.parts`: instant, kind, number of rows, and the indices in the buffer of the first byte of the rows
and of the byte after the last."""

ROOM: Final = 37
"""Bytes that are reserved in the buffer before an instant: 32 for the previous hash, 5 for the longest array head."""


class Chain:
    """The parts of instants that may not have ended, and the chained hash of all earlier instants.

    A part is the encoded rows of one instant and one kind, in the order of their symbols. The parts are in one buffer.
    The parts of an instant have no gap between them, and `ROOM` bytes before the first: the previous hash and the array
    head are written there, so that the instant is hashed without a copy. Parts that came out of order are joined first.
    Hashed parts are dropped when many parts wait; the waiting ones then move to the front of the buffer.

    `link` is the last hash. `interval` is the longest time in ns by which a row may be earlier than the last one.
    `merge` puts the rows of several parts of one kind in order.
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
        """Make room for a part (rows of one instant) of at most `most` bytes; returns the index of its first byte."""
        last: int = self.count - 1
        at: int = self.size
        if last < 0 or self.parts[last, TS] != ts:
            at += ROOM
        if at + most > len(self.buffer):
            self.widen(2 * (at + most))
        return at

    def widen(self, size: int) -> None:
        """Move the chain's waiting parts to a buffer of `size` bytes."""
        raw: Any = memoryview(bytearray(size))
        raw[: self.size] = self.raw[: self.size]
        self.raw = raw
        self.buffer = raw

    def add(self, ts: int, kind: int, rows: int, at: int, behind: int) -> None:
        """Add a part (rows of one instant and kind) of `rows` rows, which were written to the buffer from the index
        `at` up to `behind` (exclusive)."""
        index: int = self.count
        if index == len(self.parts):  # full: twice the room
            doubled: IntRows = int_zero_rows(2 * index, 5)
            for k in range(index):
                for column in range(5):
                    doubled[k, column] = self.parts[k, column]
            self.parts = doubled
        parts: IntRows = self.parts
        parts[index, TS], parts[index, KIND], parts[index, ROWS] = ts, kind, rows
        parts[index, FIRST], parts[index, BEHIND] = at, behind
        self.count = index + 1
        self.size = behind

    def put(self, ts: int, kind: int, rows: int, data: bytes) -> None:
        """Add a part (rows of one instant and kind), given as the bytes of its rows."""
        at: int = self.begin(ts, len(data))
        self.raw[at : at + len(data)] = data
        self.add(ts, kind, rows, at, at + len(data))

    def data(self, place: int) -> bytes:
        """Return the bytes of the rows of the chain's part with the index `place`."""
        return bytes(self.raw[self.parts[place, FIRST] : self.parts[place, BEHIND]])

    def waiting(self) -> list[Any]:
        """Return the parts that wait to be hashed, as (instant, kind, number of rows, bytes of the rows)."""
        return self.behind(0)

    def behind(self, first: int) -> list[Any]:
        """Return the chain's parts from the index `first` on, as (instant, kind, number of rows, bytes of the rows)."""
        parts: IntRows = self.parts
        return [(parts[k, TS], parts[k, KIND], parts[k, ROWS], self.data(k)) for k in range(first, self.count)]

    def settle(self, now: int) -> None:
        """Where many parts wait, hash the instants that have ended.

        An instant has ended more than an interval before `now`: a bar known after `now` opened at most an interval
        earlier.
        """
        if self.count > WAITING:
            self.close(now - self.interval)

    def close(self, before: int) -> None:
        """Hash all waiting instants earlier than `before` (ns)."""
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
        """Forget the chain's parts with an index below `first`."""
        waiting_parts: list[Any] = self.behind(first)
        self.count = self.size = 0
        for ts, kind, rows, data in waiting_parts:
            self.put(ts, kind, rows, data)

    def sort(self) -> None:
        """Sort the parts by time and kind, by insertion, as most are in order already. Equal parts keep their order."""
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
        """Set `link` to the hash of the last hash and the parts of one instant: those from `first` to before `end`.

        `put_heads` writes the last hash and the array head before the first part. `merge` orders the rows of two parts
        of one kind.
        """
        parts: IntRows = self.parts
        rows: int = 0
        same_kind_twice: bool = False
        contiguous: bool = True
        for k in range(first, end):
            rows += parts[k, ROWS]
            if k > first:
                same_kind_twice = same_kind_twice or parts[k, KIND] == parts[k - 1, KIND]
                contiguous = contiguous and parts[k, FIRST] == parts[k - 1, BEHIND]
        # the parts lie in one piece of the buffer: it is hashed without a copy of the rows
        if contiguous and not same_kind_twice:
            at: int = self.put_heads(parts[first, FIRST], rows)
            self.link = blake2b(self.raw[at : parts[end - 1, BEHIND]], digest_size=32).digest()
            return
        data: bytes = b"".join([self.data(k) for k in range(first, end)])
        if same_kind_twice:
            data = self.merge(head_of(rows) + data)
        self.link = blake2b(self.link + head_of(rows) + data, digest_size=32).digest()

    def put_heads(self, at: int, rows: int) -> int:
        """Write the last hash and the head of an array of `rows` rows directly before the index `at`; returns the index
        of their first byte."""
        head: bytes = head_of(rows)
        link: bytes = self.link
        begin: int = at - len(head) - len(link)
        for c in range(len(link)):
            self.buffer[begin + c] = link[c]
        for c in range(len(head)):
            self.buffer[begin + len(link) + c] = head[c]
        return begin


def head_of(count: int) -> bytes:
    """Return the header bytes of a MessagePack array of `count` rows."""
    head: bytes = HEADS[count] if count < 16 else long_head(count)
    return head


def long_head(count: int) -> bytes:
    """Return the header bytes of a MessagePack array of 16 rows or more."""
    return b"\xdc" + count.to_bytes(2, "big") if count < 65536 else b"\xdd" + count.to_bytes(4, "big")


HEADS: Final[list[bytes]] = [bytes((0x90 + count,)) for count in range(16)]


class Names:
    """Encoded names in one buffer: the name with the index `k` is `text[at[k] : at[k + 1]]`."""

    text: Bytes
    at: Ints

    def __init__(self, text: Bytes, at: Ints) -> None:
        self.text, self.at = text, at


class Rows:
    """Writes rows into the buffer of the chain of the digest.

    `rank` has the columns of the symbols in order of their names. `place` is a scratch array: by symbol, the row of
    its order in a basket, -1 for none. `book` has the index of the book for each row of a valuation.
    """

    chain: Chain
    hashed: bool
    """Whether the run has a digest."""
    most: int
    """The largest size in bytes of the rows of one instant and kind."""
    buffer: Bytes
    """The buffer of the chain."""
    symbols: Names
    books: Names
    book: Ints
    rank: Ints
    place: Ints

    def __init__(self, most: int, symbols: Names, books: Names, book: Ints, rank: Ints, place: Ints) -> None:
        self.most, self.symbols, self.books, self.book, self.rank, self.place = most, symbols, books, book, rank, place
        self.hashed = False

    def begin(self, ts: int) -> int:
        """Make room in the buffer of the chain for rows of an instant; returns the index of their first byte."""
        chain: Chain = self.chain
        at: int = chain.begin(ts, self.most)
        self.buffer = chain.buffer
        return at

    def put_int(self, at: int, value: int) -> int:
        """Write an integer in its shortest MessagePack form; returns the index after its last byte."""
        buffer: Bytes = self.buffer
        bits: int
        if -32 <= value < 128:
            buffer[at] = value & 255
            return at + 1
        # type bytes of MessagePack: uint8 or int8; the next ones are of 16, 32 and 64 bits
        type_byte: int = 0xCC if value > 0 else 0xD0
        if -128 <= value < 256:
            bits = 8
        elif -32768 <= value < 65536:
            type_byte += 1
            bits = 16
        elif -2147483648 <= value < 4294967296:
            type_byte += 2
            bits = 32
        else:
            type_byte += 3
            bits = 64
        buffer[at] = type_byte
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
        """Copy the name with the index `k`; returns the index after its last byte."""
        buffer: Bytes = self.buffer
        text: Bytes = names.text
        start: int = names.at[k]
        size: int = names.at[k + 1] - start
        for c in range(size):
            buffer[at + c] = text[start + c]
        return at + size

    def put_orders(self, orders: Orders, kind: int, ts: int) -> None:
        """Add the rows of orders or of their fills to the digest, sorted by symbol.

        `rank` lists all columns in the order of their symbols. `place` has the row of the order by column, -1 for none.
        """
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
        # every row begins with the same bytes (array head, kind, instant, sample): they are encoded once, then copied
        buffer[at], buffer[at + 1] = 0x99 if kind == FILL else 0x98, kind
        prefix_size: int = self.put_int(self.put_int(at + 2, ts), orders.sample) - first
        for k in range(len(rank)):
            symbol: int = rank[k]
            row: int = place[symbol]
            if row < 0:
                continue
            lots: int = orders.lots[row]
            for c in range(prefix_size if at > first else 0):
                buffer[at + c] = buffer[first + c]
            at += prefix_size
            at = self.put_name(at, self.symbols, symbol)
            at = self.put_int(at, orders.n)
            at = self.put_int(at, 1 if lots > 0 else -1)
            at = self.put_int(at, lots if lots > 0 else -lots)
            at = self.put_int(at, prices[row])
            if kind == FILL:
                at = self.put_int(at, orders.fee[row])
        self.chain.add(ts, kind, rows, first, at)

    def put_equity(self, ts: int, values: Ints) -> None:
        """Add the row of a valuation. `values` int64[B + 1] are equities: house, agents, and what no agent has."""
        first: int = self.begin(ts)
        books: int = len(self.book)
        buffer: Bytes = self.buffer
        # heads of MessagePack: 0x94 is an array of 4, 0x90 + books or 0xDC the array of the books, 0x92 a pair
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
