"""The rows of the digest are the bytes of MessagePack."""

from hashlib import blake2b

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.engine.core.digest_rows import END, Chain, Names, Rows, head_of
from quantd.trading.number_types import int_zeros


def names_of(*texts: str) -> Names:
    parts = [msgspec.msgpack.encode(text) for text in texts]
    at = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return Names(np.frombuffer(b"".join(parts), dtype=np.uint8).copy().data, at.data)


def rows_of(symbols: list[str], books: list[str], order: list[int]) -> Rows:
    """Rows of symbols, and of books whose numbers are in `order`."""
    rank = np.array(sorted(range(len(symbols)), key=symbols.__getitem__), dtype=np.int64)
    names = names_of(*symbols), names_of(*books)
    rows = Rows(
        99 * len(symbols) + 40 * len(books), *names, np.array(order, dtype=np.int64).data, rank.data,
        int_zeros(len(symbols)),
    )  # fmt: skip
    rows.chain = Chain(0, None)
    return rows


def written(value: int) -> bytes:
    rows = rows_of(["A"], ["b"], [0])
    first = rows.begin(0)
    return bytes(rows.buffer[first : rows.put_int(first, value)])


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_integer_has_its_shortest_form(value):
    assert written(value) == msgspec.msgpack.encode(value)


@pytest.mark.parametrize("books", [2, 15, 16, 40, 700])
def test_a_row_of_equity_has_the_books_in_the_given_order(books: int) -> None:
    names = [f"agent {k}" for k in range(books)]
    order, micro = list(range(books))[::-1], [1000 * k - 5 for k in range(books)]
    rows = rows_of(["A"], names, order)
    rows.put_equity(5, np.array([77, *micro], dtype=np.int64).data)
    row = [1, 5, 77, [[name, micro[k]] for name, k in zip(names, order, strict=True)]]
    assert rows.chain.waiting() == [(5, 1, 1, msgspec.msgpack.encode(row))]


PARTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 2), st.sampled_from([0, 1, 2, 15, 16, 17])), min_size=1, max_size=30
)


@given(PARTS, st.integers(0, 7))
def test_the_hash_of_parts_in_any_order_is_that_of_their_sorted_rows(
    parts: list[tuple[int, int, int]], at: int
) -> None:
    """Of each instant the hash before it, the head of an array and its rows by kind; those of one kind are merged."""
    chain = Chain(0, lambda rows: b"merged" + rows)
    instants: dict[int, list[tuple[int, int, bytes]]] = {}
    for number, (ts, kind, rows) in enumerate(parts):
        data = bytes([number]) * rows * 40
        chain.put(ts, kind, rows, data)
        instants.setdefault(ts, []).append((kind, rows, data))
        if number == len(parts) // 2:
            chain.drop(0)  # moves what waits to the front
    chain.close(at)
    assert sorted(ts for ts, *_ in chain.waiting()) == sorted(ts for ts, *_ in parts if ts >= at)
    chain.close(END)
    link = b""
    for _, entries in sorted(instants.items()):
        entries.sort(key=lambda part: part[0])
        kinds = [kind for kind, *_ in entries]
        data, head = b"".join(part[2] for part in entries), head_of(sum(part[1] for part in entries))
        if len(set(kinds)) < len(kinds):
            data = b"merged" + head + data
        link = blake2b(link + head + data, digest_size=32).digest()
    assert (chain.link, chain.waiting()) == (link, [])
