"""The kernels of batches that post fills to accounts and value them, against the ledger.

The kernels run here on arrays of numpy, whose integers of 64 bits raise an error where they overflow.
"""

from collections.abc import Iterator
from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantd.daemon.engine.batches.integers_kernel import portion, ratio
from quantd.trading.jit import LOOPS

from quantd.daemon.engine.batches import integers_kernel
from quantd.daemon.engine.batches import ledger_kernel as kernel
from quantd.trading.execution import MOST
from quantd.trading.ledger.book import Book
from quantd.trading.ledger.books import Ledger, cells_of
from quantd.trading.ledger.errors import LedgerFull
from tests.support.examples import examples
from tests.trading.ledger.test_book import LOTS, SMALL, TIES, UNIVERSE, rows, shared

sizes = st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 62).map(lambda k: 2**k), st.integers(0, 10**6))
divisors = sizes.filter(bool)


@pytest.fixture
def int64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernels as they are compiled, on integers that cannot wrap."""
    for module, name in ((integers_kernel, "ratio"), (kernel, "ratio"), (kernel, "portion")):
        monkeypatch.setattr(module, name, LOOPS[getattr(module, name)])
    with np.errstate(over="raise"):
        yield


@given(sizes, sizes, st.one_of(st.just(1), sizes), divisors)
@settings(max_examples=examples(1000), deadline=None)
def test_a_quotient_in_64_bits_equals_that_of_unbounded_integers(a: int, b: int, up: int, down: int) -> None:
    with np.errstate(over="raise"):
        found = LOOPS[ratio](*map(np.int64, (a, b, up, down)))
    whole, rest = divmod(a * b * up, down)
    assert found == ratio(a, b, up, down) == ((whole, rest) if whole <= MOST else (MOST + 1, 0))


def test_quotients_at_the_widths_of_their_digits_are_those_of_unbounded_integers() -> None:
    """Sums that equal the divisor, and numbers of one digit, of several and of all bits."""
    edges = [1, 3, 2**20 + 1, 2**31, 2**44 - 1, 2**45, 2**51, 2**57 + 1, 2**59, 2**60 - 1, 2**60, 2**62 - 1, 2**62]
    with np.errstate(over="raise"):
        for a, b, down in product(edges, edges, edges):
            whole, rest = divmod(a * b, down)
            found = LOOPS[ratio](*map(np.int64, (a, b, 1, down)))
            assert found == ((whole, rest) if whole <= MOST else (MOST + 1, 0)), (a, b, down)
    assert (portion(MOST, -1, 1), portion(-MOST, 1, 1), portion(MOST, 1, 1)) == (-MOST, -MOST, MOST)


@given(sizes, sizes, divisors, st.tuples(*[st.booleans()] * 3))
@settings(max_examples=examples(500), deadline=None)
def test_a_portion_in_64_bits_is_floored_for_every_sign(a: int, b: int, down: int, minus: tuple[bool, ...]) -> None:
    amount, part, whole = (-size if below else size for size, below in zip((a, b, down), minus, strict=True))
    with np.errstate(over="raise"), patch.object(integers_kernel, "ratio", LOOPS[ratio]):
        found = LOOPS[portion](*map(np.int64, (amount, part, whole)))
    exact = amount * part // whole
    assert found == portion(amount, part, whole)
    assert found == exact or (abs(exact) > MOST and found == (MOST + 1) * (1 if exact > 0 else -1))


@given(st.lists(rows(), min_size=1, max_size=5), st.sampled_from([(1,), (1, 2), (3, 1, 5), (0, 1, 1)]), st.booleans())
@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_kernels_post_and_value_as_the_ledger_does(
    int64: None, baskets: list[tuple[list[int], ...]], weights: tuple[int, ...], ties: bool
) -> None:
    ledger = Ledger(TIES if ties else UNIVERSE, ["ann", "bob", "cy"])
    ledger.deposit(10**12)
    cells, units = ledger.cells().reshape(-1), np.array([*ledger.numerator, *ledger.denominator])
    for columns, lots, price, fee in baskets:
        shares = shared(lots, weights)
        only = shares[0][0][0] if all(len(row) == 1 for row in shares) else -1
        pairs = [] if only >= 0 else [*map(len, shares), *(each for row in shares for part in row for each in part)]
        fills = np.array([*columns, *lots, *price, *fee, *pairs])
        if kernel.post(cells, units, fills, len(lots), only, np.zeros(2 * len(fills), np.int64), float(MOST)) < 0.0:
            return
        try:
            ledger.fills(columns, lots, price, fee, shares)
        except LedgerFull:
            return
        assert (cells == ledger.cells().reshape(-1)).all()
        marks, out = np.array([price[-1]] * len(LOTS)), np.zeros(5, np.int64)
        if kernel.equity(cells, units, marks, out):
            assert (out[0], out[1:].tolist()) == ledger.equity(marks)


@pytest.mark.parametrize("held", SMALL)
@pytest.mark.parametrize("change", SMALL)
def test_a_trade_of_the_kernel_is_that_of_a_book(held: int, change: int) -> None:
    book, by_kernel = Book(1), np.zeros(2 + kernel.SINGLE, dtype=np.int64)
    for lots, amount in ((held, -100 * held - 7), (change, -113 * change)):
        book.trade(0, lots, amount)
        kernel.trade(by_kernel, 0, 1, 0, lots, amount)
    assert by_kernel.tolist() == cells_of(book).tolist()


def test_a_posting_grows_by_all_amounts_of_its_rows_and_parts_and_none_is_booked_without_room() -> None:
    """4 lots at 25 micro with a fee of 10: 3 lots and 7 of the fee for one book, the rest for the other."""
    units, fills = np.array([1, 1000]), np.array([0, 4, 25_000, 10, 2, 0, 3, 1, 1])
    grown = (100 + 4 + 10) + (75 + 7 + 3) + (25 + 3 + 1)
    for room, found in ((grown + 1.0, float(grown)), (float(grown), -1.0), (grown - 4.0, -1.0), (50.0, -1.0)):
        cells, scratch = np.zeros(3 * (2 + kernel.SINGLE), dtype=np.int64), np.zeros(2 * len(fills), dtype=np.int64)
        assert kernel.post(cells, units, fills, 1, -1, scratch, room) == found
        assert cells.any() == (found > 0.0)


def test_the_value_of_every_account_and_their_differences_stay_within_the_bound() -> None:
    """Cash alone: of the house, of the only agent, and so of what belongs to none."""
    units, prices, width, half, near = np.array([1, 1000]), np.array([1]), 2 + kernel.SINGLE, MOST // 2, 10_000
    for house, agent, fits in (
        (half, near - half, True), (half, half, True), (near + half, -half, False), (-near - half, half, False),
        (MOST + near, near, False), (-MOST - near, -near, False), ((MOST + 1) // 2, -(MOST + 1) // 2, False),
    ):  # fmt: skip
        cells, out = np.zeros(3 * width, dtype=np.int64), np.zeros(3, dtype=np.int64)
        cells[2], cells[width + 2] = house, agent
        assert kernel.equity(cells, units, prices, out) is fits
        assert not fits or out.tolist() == [house, agent, house - agent]
    for lots, fits in ((MOST // 2, True), (-MOST // 2, True), (MOST, False), (-MOST, False)):
        cells, out = np.zeros(2 * width, dtype=np.int64), np.zeros(2, dtype=np.int64)
        cells[0] = lots
        assert kernel.equity(cells.data, units.data, np.array([1000]).data, out.data) is fits
        assert not fits or out.tolist() == [lots, lots]
