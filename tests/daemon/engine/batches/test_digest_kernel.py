"""The kernel writes the bytes of MessagePack."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.engine.batches.digest_kernel import put_equity, put_int, put_order

EDGES = [
    edge + k
    for edge in (-(2**31), -(2**15), -128, -32, 0, 128, 256, 2**16, 2**31, 2**32, 2**62)
    for k in (-1, 0, 1)
]  # fmt: skip


def written(value: int) -> bytes:
    buffer = np.zeros(16, dtype=np.uint8)
    return buffer[: put_int(buffer.data, 0, value)].tobytes()


@pytest.mark.parametrize("value", [*EDGES, -(2**63), 2**63 - 1])
def test_an_integer_has_its_shortest_form(value):
    assert written(value) == msgspec.msgpack.encode(value)


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_integer_has_its_shortest_form(value):
    assert written(value) == msgspec.msgpack.encode(value)


@pytest.mark.parametrize("kind", [0, 2])
@pytest.mark.parametrize("lots", [7, 1, -1, -300])
def test_a_row_of_an_order_is_an_array(kind, lots):
    names, buffer = np.array([*msgspec.msgpack.encode("SPY")], dtype=np.uint8), np.zeros(99, dtype=np.uint8)
    end = put_order(buffer.data, 3, names.data, 0, len(names), kind, 10**18, 10**18 - 5, 2, lots, 10**11, 250)
    row = [kind, 10**18, 10**18 - 5, "SPY", 2, 1 if lots > 0 else -1, abs(lots), 10**11, *([250] if kind == 0 else [])]
    assert buffer[3:end].tobytes() == msgspec.msgpack.encode(row)


@pytest.mark.parametrize("books", [2, 15, 16, 40, 700])
def test_a_row_of_equity_has_the_books_in_the_given_order(books):
    names = [f"agent {k}" for k in range(books)]
    encoded = [msgspec.msgpack.encode(name) for name in names]
    places, order, micro = np.cumsum([0, *map(len, encoded)]), range(books)[::-1], [1000 * k - 5 for k in range(books)]
    ints = np.array([*places, *order, 77, *micro])
    buffer = np.zeros(40 * books, dtype=np.uint8)
    data = np.array([*b"".join(encoded)], dtype=np.uint8)
    end = put_equity(buffer.data, 0, data.data, ints.data, books, 0, books + 1, 2 * books + 1, 5)
    row = [1, 5, 77, [[name, micro[k]] for name, k in zip(names, order, strict=True)]]
    assert buffer[:end].tobytes() == msgspec.msgpack.encode(row)
