"""Books: average cost and realised profit, fills against rational numbers, and what they cannot hold."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantd.trading.execution import MOST
from quantd.trading.instruments import ATTO_PER_MICRO, Instrument, Universe
from quantd.trading.ledger import books
from quantd.trading.ledger.book import Book
from quantd.trading.ledger.books import FrozenBook, Ledger, cells_of, restore
from quantd.trading.ledger.errors import LedgerFull
from tests.support.examples import examples

trades = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-1000, 1000).filter(bool), st.integers(1, 10**9)), max_size=40
)


def played(rows: list[tuple[int, int, int]]) -> Book:
    book = Book(3)
    for column, lots, price in rows:
        book.trade(column, lots, -lots * price)
    return book


@given(trades)
def test_profit_is_within_a_micro_a_trade_of_the_rational_average(rows: list[tuple[int, int, int]]) -> None:
    account = played(rows)
    lots, cost, realised = [0] * 3, [Fraction(0)] * 3, Fraction(0)
    for column, change, price in rows:
        held = lots[column]
        closing = -max(-abs(held), -abs(change)) * (1 if change > 0 else -1) if held * change < 0 else 0
        if closing:
            part = cost[column] * closing / held
            realised += -closing * price + part
            cost[column] += part
        cost[column] += (change - closing) * price
        lots[column] = held + change
    assert account.lots == lots
    assert abs(account.realised_micro - realised) <= len(rows)
    assert account.unexplained_micro() == 0
    assert all(not cost for cost, held in zip(account.cost_micro, lots, strict=True) if not held)


@given(trades, st.integers(-(10**18), 10**18))
def test_a_book_of_cells_comes_back_whole(rows: list[tuple[int, int, int]], residue: int) -> None:
    book = played(rows)
    book.lose(residue)
    book.pay(7)
    book.receive(-3)
    book.flow(11)
    other = Book(3)
    other.trade(0, 5, 99)
    restore(other, cells_of(book))
    assert cells_of(other).tolist() == cells_of(book).tolist()
    assert other.residue_atto == residue
    assert FrozenBook.of(cells_of(book)).cells() == cells_of(book).tolist()


def test_cells_of_another_number_of_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="the snapshot of a book has 9 numbers, which do not fit 3 columns"):
        restore(Book(3), cells_of(Book(1)))


def test_unexplained_cash_is_measured() -> None:
    account = played([(0, 10, 100)])
    account.cash_micro += 5
    assert account.unexplained_micro() == 5


SMALL = [lots for lots in range(-6, 7) if lots]


@pytest.mark.parametrize("held", SMALL)
@pytest.mark.parametrize("change", SMALL)
def test_every_trade_of_a_few_lots_keeps_its_part_of_the_cost_to_the_last_lot(held: int, change: int) -> None:
    """100 each were paid and 7 more in all; a trade is at 113 each."""
    before = 100 * held + 7
    book = Book(1)
    book.trade(0, held, -before)
    book.trade(0, change, -113 * change)
    after = held + change
    if held * change > 0:
        cost, realised = before + 113 * change, 0
    elif after * held > 0:
        # what is closed takes its share, which is rounded down as an amount of cash
        part = before * change // held
        cost, realised = before + part, -113 * change + part
    else:
        cost, realised = 113 * after, 113 * held - before
    assert (book.lots, book.cost_micro, book.realised_micro) == ([after], [cost], realised)


LOTS = (10**9, 10, 123_456_789, 10**12, 10**9)
UNIVERSE = Universe(tuple(Instrument(f"S{k}", lot_nano=size) for k, size in enumerate(LOTS)))
TIES = Universe(tuple(Instrument(f"S{k}", lot_nano=10**9) for k in LOTS))


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[int], ...]:
    """Fills of lots from one to nearly the bound, at prices from a nano to 4e9."""
    count = draw(st.integers(1, 6))
    lots = [draw(st.integers(1, 10 ** draw(st.integers(1, 18)))) * draw(st.sampled_from((-1, 1))) for _ in range(count)]
    price = [draw(st.integers(1, 10 ** draw(st.integers(1, 18)))) for _ in range(count)]
    if draw(st.booleans()):  # half a micro, to be rounded to even
        price = [500 * multiple for multiple in range(1, count + 1)]
    columns = [draw(st.integers(0, len(LOTS) - 1)) for _ in range(count)]
    return columns, lots, price, [draw(st.integers(-(10**6), 10 ** draw(st.integers(1, 15)))) for _ in range(count)]


def shared(lots: list[int], shares: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    """The rows' lots divided among books by weights; the last takes the remainder."""
    division = []
    for total in lots:
        sign = 1 if total > 0 else -1
        parts = [abs(total) * weight // sum(shares) for weight in shares[:-1]]
        division.append([(k, sign * part) for k, part in enumerate([*parts, abs(total) - sum(parts)])])
    return division


def posted(universe: Universe, cells: list[list[int]], fills: tuple[list[int], ...], shares: Any) -> list[list[int]]:
    """The cells of a ledger after fills, by fractions and Python's integers."""
    after, size = [list(row) for row in cells], universe.size
    lost = Fraction(0)

    def trade(row: list[int], k: int, change: int, amount: int) -> None:
        held, cost = row[k], row[size + k]
        opened, realised = change, 0
        if held * change < 0:
            closed = -held if abs(change) > abs(held) else change
            opened = change - closed
            part = amount if not opened else amount * closed // change
            freed = cost * closed // held if not opened and held + change else -cost
            realised, amount = part + freed, amount - part
            row[size + k] += freed
        if opened:
            row[size + k] -= amount
        row[k] += change
        row[2 * size + 4] += realised

    for k, lots, price, fee, parts in zip(*fills, shares, strict=True):
        exact = Fraction(-lots * price * universe.lot_nano[k], ATTO_PER_MICRO)
        amount = round(exact)
        lost += exact - amount
        remainder, unpaid = amount, fee
        for at, (number, part) in enumerate(parts):
            portion, paid = remainder, unpaid
            if at < len(parts) - 1:
                nearest = Fraction(-part * price * universe.lot_nano[k], ATTO_PER_MICRO) + Fraction(1, 2)
                portion, paid = nearest.numerator // nearest.denominator, fee * part // lots
            remainder, unpaid = remainder - portion, unpaid - paid
            for row, cash, charged, change in ((after[number + 1], portion, paid, part),):
                trade(row, k, change, cash)
                row[2 * size] += cash - charged
                row[2 * size + 1] += charged
        trade(after[0], k, lots, amount)
        after[0][2 * size] += amount - fee
        after[0][2 * size + 1] += fee
    atto = after[0][2 * size + 5] * ATTO_PER_MICRO + after[0][2 * size + 6] + lost * ATTO_PER_MICRO
    assert atto.denominator == 1
    after[0][2 * size + 5 :] = divmod(int(atto), ATTO_PER_MICRO)
    return after


@pytest.mark.long
@given(st.lists(rows(), min_size=1, max_size=5), st.sampled_from([(1,), (1, 2), (3, 1, 5), (0, 1, 1)]), st.booleans())
@settings(max_examples=examples(300), deadline=None)
@example([([3], [-(2**62) // 3000], [1], [0]), ([0], [-1], [3000], [0])], (1,), False)
def test_fills_are_posted_and_valued_as_unbounded_integers_do_or_change_nothing(
    baskets: list[tuple[list[int], ...]], weights: tuple[int, ...], ties: bool
) -> None:
    universe = TIES if ties else UNIVERSE
    ledger = Ledger(universe, ["ann", "bob", "cy"])
    ledger.deposit(10**12)
    for basket in baskets:
        shares, before = shared(basket[1], weights), ledger.cells().tolist()
        try:
            ledger.fills(*basket, shares)
        except LedgerFull:
            assert ledger.cells().tolist() == before
            return
        assert ledger.cells().tolist() == posted(universe, before, basket, shares)
        ledger.check()
        marks = [basket[2][-1]] * universe.size
        unit = [Fraction(price * lot, ATTO_PER_MICRO) for price, lot in zip(marks, universe.lot_nano, strict=True)]
        exact = [
            round(book.cash_micro + sum(lots * price for lots, price in zip(book.lots, unit, strict=True)))
            for book in (ledger.house, *ledger.books[:-1])
        ]
        if abs(exact[0]) > MOST:
            with pytest.raises(LedgerFull):
                ledger.equity(marks)
            return
        values = [*exact, exact[0] - sum(exact[1:])]
        assert ledger.equity(np.array(marks)) == (values[0], values[1:])
        try:
            assert ledger.values(np.array(marks).data) == values
        except OverflowError:
            held = [abs(lots) for book in (ledger.house, *ledger.books) for lots in book.lots]
            assert max(held) * marks[0] > 2**50


@pytest.mark.parametrize("compiled", [True, False])
def test_values_are_the_same_by_64_bits_and_by_integers_of_any_size(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two are together beyond 62 bits, and cancel."""
    monkeypatch.setattr(books, "_COMPILED", compiled)
    ledger = Ledger(TIES, ["ann"])
    ledger.fills([0, 1], [10**9, -(10**9)], [10**12] * 2, [0, 0], [[(0, 10**9)], [(0, -(10**9))]])
    ledger.fills([2], [7], [1_500], [0], [[(0, 7)]])
    marks = [3 * 10**12, 3 * 10**12 - 1, 2_500, 0, 0]
    assert ledger.equity(marks) == ledger.equity(np.array(marks)) == (1_000_008, [1_000_008, 0])
    with pytest.raises(OverflowError, match="the value of a book"):
        ledger.values(np.array(marks).data)
    frozen = np.array(marks)
    frozen.flags.writeable = False
    assert ledger.equity(frozen)[0] == 1_000_008
    marks[:2] = 5 * 10**18, 0
    with pytest.raises(LedgerFull, match="an equity of"):
        ledger.equity(marks)


def test_what_the_ledger_cannot_hold_is_refused_before_anything_is_booked() -> None:
    ledger = Ledger(UNIVERSE, ["ann"])
    ledger.deposit(MOST)
    before = ledger.cells().tolist()
    tried = (
        lambda: ledger.deposit(1),
        lambda: ledger.fills([0], [10**12], [10**18], [0], [[(0, 10**12)]]),
        lambda: ledger.fills([0], [1 - 2**63], [1], [0], [[(0, 1 - 2**63)]]),
        lambda: ledger.fills([0], [2**70], [1], [0], [[(0, 2**70)]]),
        lambda: ledger.fills([0, 0], [1, 1], [1, 1], [-(2**61), -(2**61)], [[(0, 1)], [(0, 1)]]),
        lambda: ledger.fills([0], [1], [10**9], [0], [[(0, 1)]]),
        lambda: ledger.cross(0, 10**18, [(0, 10**12), (1, -(10**12))]),
        lambda: ledger.in_kind(0, 1, 10**6, 0),
        lambda: ledger.income(1, []),
    )
    for booking in tried:
        with pytest.raises(LedgerFull):
            booking()
        assert ledger.cells().tolist() == before
    ledger = Ledger(UNIVERSE, ["ann"])
    ledger.fills([0], [10**9], [10**12], [0], [[(0, 10**9)]])
    before = ledger.cells().tolist()
    with pytest.raises(LedgerFull):
        ledger.split(0, 10**18, 1, 1)
    with pytest.raises(LedgerFull):
        ledger.equity([5 * 10**18] * len(LOTS))
    assert ledger.cells().tolist() == before
    ledger.check()


def test_a_row_of_nobody_is_refused_before_anything_is_booked() -> None:
    ledger = Ledger(UNIVERSE, ["ann"])
    with pytest.raises(ValueError, match="row 1 of the fills belongs to no book"):
        ledger.fills([0, 1], [5, 3], [10**9] * 2, [0, 0], [[(0, 5)], []])
    assert not ledger.cells().any()


def test_a_refusal_of_fills_names_the_most_lots_and_the_highest_price() -> None:
    ledger = Ledger(UNIVERSE, ["ann"])
    with pytest.raises(LedgerFull, match=r"^fills of 2000000000000 lots at 1000000000000000000 nano"):
        ledger.fills(
            [0, 1, 0], [1, -2 * 10**12, 3], [5, 10**18, 7], [9, 2 * 10**18, 9], [[(0, 1)], [(0, -2 * 10**12)], [(0, 3)]]
        )


def test_room_is_what_amounts_may_grow_by_and_is_measured_again_when_it_ends() -> None:
    """4 lots at 25 micro with a fee of 10, in one part: 100 + 4 + 10 + 1."""
    ledger = Ledger(Universe((Instrument("A"),)), ["ann"])
    ledger.measure()
    assert ledger.room == MOST
    ledger.fills([0], [4], [25_000], [10], [[(0, 4)]])
    assert ledger.room == MOST - 115
    ledger.room = 114
    ledger.fills([0], [-4], [25_000], [10], [[(0, -4)]])
    assert ledger.room == MOST - 110 - 115  # 110 of cash after the first fill
    ledger.house.fees_micro = MOST
    with pytest.raises(LedgerFull, match="it holds"):
        ledger.reserve(ledger.room + 1)


def test_room_is_used_up_to_its_end_and_a_ledger_beyond_it_is_full() -> None:
    ledger = Ledger(Universe((Instrument("A"),)), ["ann"])
    ledger.room = 50
    ledger.reserve(10)
    assert ledger.room == 40
    ledger.reserve(40)
    assert ledger.room == 0
    ledger.books[0].realised_micro = MOST
    ledger.measure()
    assert ledger.room == 0
    ledger.books[0].cost[0] = -1
    with pytest.raises(LedgerFull, match="it holds"):
        ledger.measure()


def test_more_fills_than_before_need_more_scratch() -> None:
    ledger, count = Ledger(Universe((Instrument("A"),)), ["ann"]), 200
    ledger.fills([0] * count, [1] * count, [10**9] * count, [0] * count, [[(0, 1)]] * count)
    assert ledger.house.lots == ledger.books[0].lots == [count]
    ledger.check()
