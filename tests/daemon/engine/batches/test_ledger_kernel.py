"""The kernels of batches that post fills to accounts and value them, against the ledger."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.batches import ledger_kernel as kernel
from quantd.trading.execution import MOST
from quantd.trading.ledger.book import Book
from quantd.trading.ledger.books import Ledger, cells_of
from quantd.trading.ledger.errors import LedgerFull
from tests.support.examples import examples
from tests.trading.ledger.test_book import LOTS, SMALL, TIES, UNIVERSE, rows, shared


@given(st.lists(rows(), min_size=1, max_size=5), st.sampled_from([(1,), (1, 2), (3, 1, 5), (0, 1, 1)]), st.booleans())
@settings(max_examples=examples(100), deadline=None)
def test_the_kernels_post_and_value_as_the_ledger_does(
    baskets: list[tuple[list[int], ...]], weights: tuple[int, ...], ties: bool
) -> None:
    ledger = Ledger(TIES if ties else UNIVERSE, ["ann", "bob", "cy"])
    ledger.deposit(10**12)
    cells, units = ledger.cells().reshape(-1), np.array([*ledger.numerator, *ledger.denominator])
    for columns, lots, price, fee in baskets:
        shares = shared(lots, weights)
        only = shares[0][0][0] if all(len(row) == 1 for row in shares) else -1
        pairs = [] if only >= 0 else [*map(len, shares), *(each for row in shares for part in row for each in part)]
        fills = np.array([*columns, *lots, *price, *fee, *pairs])
        scratch = np.zeros(2 * len(fills), np.int64)
        try:
            if kernel.post(cells.data, units.data, fills.data, len(lots), only, scratch.data, float(MOST)) < 0.0:
                return
        except OverflowError:
            return
        try:
            ledger.fills(columns, lots, price, fee, shares)
        except LedgerFull:
            return
        assert (cells == ledger.cells().reshape(-1)).all()
        marks, out = np.array([price[-1]] * len(LOTS)), np.zeros(5, np.int64)
        if kernel.equity(cells.data, units.data, marks.data, out.data):
            assert (out[0], out[1:].tolist()) == ledger.equity(marks)


@pytest.mark.parametrize("held", SMALL)
@pytest.mark.parametrize("change", SMALL)
def test_a_trade_of_the_kernel_is_that_of_a_book(held: int, change: int) -> None:
    book, by_kernel = Book(1), np.zeros(2 + kernel.SINGLE, dtype=np.int64)
    for lots, amount in ((held, -100 * held - 7), (change, -113 * change)):
        book.trade(0, lots, amount)
        kernel.trade(by_kernel.data, 0, 1, 0, lots, amount)
    assert by_kernel.tolist() == cells_of(book).tolist()


def test_a_posting_grows_by_all_amounts_of_its_rows_and_parts_and_none_is_booked_without_room() -> None:
    """4 lots at 25 micro with a fee of 10: 3 lots and 7 of the fee for one book, the rest for the other."""
    units, fills = np.array([1, 1000]), np.array([0, 4, 25_000, 10, 2, 0, 3, 1, 1])
    grown = (100 + 4 + 10) + (75 + 7 + 3) + (25 + 3 + 1)
    for room, found in ((grown + 1.0, float(grown)), (float(grown), -1.0), (grown - 4.0, -1.0), (50.0, -1.0)):
        cells, scratch = np.zeros(3 * (2 + kernel.SINGLE), dtype=np.int64), np.zeros(2 * len(fills), dtype=np.int64)
        assert kernel.post(cells.data, units.data, fills.data, 1, -1, scratch.data, room) == found
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
        assert kernel.equity(cells.data, units.data, prices.data, out.data) is fits
        assert not fits or out.tolist() == [house, agent, house - agent]
    for lots, fits in ((MOST // 2, True), (-MOST // 2, True), (MOST, False), (-MOST, False)):
        cells, out = np.zeros(2 * width, dtype=np.int64), np.zeros(2, dtype=np.int64)
        cells[0] = lots
        assert kernel.equity(cells.data, units.data, np.array([1000]).data, out.data) is fits
        assert not fits or out.tolist() == [lots, lots]
