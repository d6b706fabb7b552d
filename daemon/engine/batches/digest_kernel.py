"""Rows of the digest as MessagePack, in the bytes that `quantd.daemon.runtime.digest` hashes."""

from quantd.trading.number_types import Bytes, Ints


def put_two(buffer: Bytes, at: int, value: int) -> None:
    """Write 16 bits, the highest first."""
    buffer[at], buffer[at + 1] = (value >> 8) & 255, value & 255


def put_four(buffer: Bytes, at: int, value: int) -> None:
    """Write 32 bits, the highest first."""
    put_two(buffer, at, value >> 16)
    put_two(buffer, at + 2, value)


def put_int(buffer: Bytes, at: int, value: int) -> int:
    """Write an integer in its shortest form; returns the place behind it."""
    if -32 <= value < 128:
        buffer[at] = value & 255
        return at + 1
    kind: int = 0xCC if value > 0 else 0xD0
    if -128 <= value < 256:
        buffer[at], buffer[at + 1] = kind, value & 255
        return at + 2
    if -32768 <= value < 65536:
        buffer[at] = kind + 1
        put_two(buffer, at + 1, value)
        return at + 3
    if -2147483648 <= value < 4294967296:
        buffer[at] = kind + 2
        put_four(buffer, at + 1, value)
        return at + 5
    buffer[at] = kind + 3
    put_four(buffer, at + 1, value >> 32)
    put_four(buffer, at + 5, value)
    return at + 9


def put_bytes(buffer: Bytes, at: int, names: Bytes, start: int, end: int) -> int:
    """Copy an encoded name; returns the place behind it."""
    for k in range(start, end):
        buffer[at + k - start] = names[k]
    return at + end - start


def put_order(
    buffer: Bytes,
    at: int,
    names: Bytes,
    start: int,
    end: int,
    kind: int,
    ts: int,
    sample: int,
    number: int,
    lots: int,
    price: int,
    fee: int,
) -> int:
    """Write the row of a fill (kind 0) or of an order (kind 2)."""
    buffer[at] = 0x99 if kind == 0 else 0x98
    buffer[at + 1] = kind
    at = put_int(buffer, put_int(buffer, at + 2, ts), sample)
    at = put_bytes(buffer, at, names, start, end)
    at = put_int(buffer, put_int(buffer, at, number), 1 if lots > 0 else -1)
    at = put_int(buffer, at, lots if lots > 0 else -lots)
    at = put_int(buffer, at, price)
    return put_int(buffer, at, fee) if kind == 0 else at


def put_equity(
    buffer: Bytes, at: int, names: Bytes, ints: Ints, books: int, places: int, numbers: int, equity: int, ts: int
) -> int:
    """Write the row of a valuation. `places` are those of the encoded names of `books`, `numbers` those of their
    numbers; the equity of the house at `equity` in `ints` precedes that of book 0."""
    buffer[at], buffer[at + 1] = 0x94, 1
    at = put_int(buffer, put_int(buffer, at + 2, ts), ints[equity])
    if books < 16:
        buffer[at] = 0x90 + books
        at += 1
    else:
        buffer[at], buffer[at + 1], buffer[at + 2] = 0xDC, books >> 8, books & 255
        at += 3
    for k in range(books):
        buffer[at] = 0x92
        at = put_bytes(buffer, at + 1, names, ints[places + k], ints[places + k + 1])
        at = put_int(buffer, at, ints[equity + 1 + ints[numbers + k]])
    return at
