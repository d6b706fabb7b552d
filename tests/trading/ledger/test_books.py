"""The ledger against an oracle of rational numbers, and how agents share and cross."""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.trading.execution import RATE_ONE
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ledger.books import FrozenBook, FrozenLedger, Ledger, cells_of
from quantd.trading.ledger.errors import LedgerBroken, LedgerFull
from quantd.trading.ledger.shares import fee_parts, net, share
from tests.support.examples import examples

LOTS = (10**9, 10**9, 10, 123_456_789)
UNIVERSE = Universe(tuple(Instrument(f"S{k}", lot_nano=size) for k, size in enumerate(LOTS)))
AGENTS = ["ann", "bob", "cy"]
BOOKS = len(AGENTS) + 1
MICRO = 10**12

Op = tuple[str, tuple]  # type: ignore[type-arg]


class Oracle:
    """The same account in fractions of a micro, written without looking at the ledger's arithmetic."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.cash = Fraction(0)
        self.rounded = 0
        self.fees = self.flows = 0
        self.lots = [[0] * len(LOTS) for _ in range(BOOKS)]
        self.books = [Fraction(0)] * BOOKS
        self.slack = 0

    def value(self, column: int, lots: int | Fraction, price_nano: int) -> Fraction:
        return Fraction(lots) * LOTS[column] * price_nano / MICRO

    def house(self, column: int) -> int:
        return sum(book[column] for book in self.lots)

    def post(self, exact: Fraction) -> None:
        self.cash += exact
        self.rounded += round(exact)

    def charge(self, micro: int) -> None:
        self.cash += micro
        self.rounded += micro

    def apply(self, op: Op) -> None:
        kind, args = op
        getattr(self, kind)(*args)

    def posted(self, kind: str, *args: object) -> int:
        """Make a payment; the parts that the ledger names are what its books have got."""
        before = [book.cash_micro for book in self.ledger.books]
        amount, parts = getattr(self.ledger, kind)(*args)
        got = [book.cash_micro - cash for book, cash in zip(self.ledger.books, before, strict=True)]
        for number, part in parts:
            got[number] -= part
        assert not any(got)
        assert sum(part for _, part in parts) == amount
        return amount

    def deposit(self, amount: int, book: int) -> None:
        self.ledger.deposit(amount, book)
        self.charge(amount)
        self.flows += amount
        self.books[book] += amount

    def allocate(self, book: int, amount: int) -> None:
        self.ledger.allocate(book, amount)
        self.books[book] += amount
        self.books[-1] -= amount

    def fills(self, rows: list[tuple[int, int, int, list[tuple[int, int]]]]) -> None:
        self.ledger.fills(
            [column for column, _, _, _ in rows],
            [sum(lots for _, lots in parts) for _, _, _, parts in rows],
            [price for _, price, _, _ in rows],
            [fee for _, _, fee, _ in rows],
            [parts for _, _, _, parts in rows],
        )
        for column, price, fee, parts in rows:
            total = sum(lots for _, lots in parts)
            self.post(-self.value(column, total, price))
            self.charge(-fee)
            self.fees += fee
            for book, lots in parts:
                self.lots[book][column] += lots
                self.books[book] -= self.value(column, lots, price) + Fraction(fee * lots, total)
        self.slack += 2 * BOOKS * len(rows)

    def cross(self, column: int, price: int, parts: list[tuple[int, int]]) -> None:
        before = cells_of(self.ledger.house).tolist()
        self.ledger.cross(column, price, parts)
        assert cells_of(self.ledger.house).tolist() == before
        for book, lots in parts:
            self.lots[book][column] += lots
            self.books[book] -= self.value(column, lots, price)
        self.slack += BOOKS

    def dividend(self, column: int, cash: int) -> None:
        exact = self.value(column, self.house(column), cash)
        assert self.posted("dividend", column, cash) == round(exact)
        self.post(exact)
        for book in range(BOOKS):
            self.books[book] += self.value(column, self.lots[book][column], cash)
        self.slack += BOOKS

    def delist(self, column: int, cash: int) -> None:
        paid = round(self.value(column, self.house(column), cash))
        assert self.posted("delist", column, cash) == paid
        self.charge(paid)
        for book in range(BOOKS):
            self.books[book] += self.value(column, self.lots[book][column], cash)
            self.lots[book][column] = 0
        assert not any(book.lots[column] or book.cost_micro[column] for book in (self.ledger.house, *self.ledger.books))
        self.slack += BOOKS

    def split(self, column: int, up: int, down: int, price: int) -> None:
        ratio = Fraction(up, down)
        quota = self.house(column) * ratio
        total = int(quota)  # towards zero
        lieu = round(self.value(column, quota - total, price))
        assert self.posted("split", column, up, down, price) == lieu
        self.charge(lieu)
        new = [book.lots[column] for book in self.ledger.books]
        assert sum(new) == total
        for book, lots in enumerate(new):
            claim = self.lots[book][column] * ratio
            assert abs(lots - claim) < 1
            assert lots * claim >= 0
            self.books[book] += self.value(column, claim - lots, price)
            self.lots[book][column] = lots
        self.slack += BOOKS

    def borrow(self, prices: list[int], bp: float, days: int) -> None:
        charged = 0
        for column, price in enumerate(prices):
            held = self.house(column)
            if held < 0:
                fee = round(self.value(column, -held, price) * Fraction(str(bp)) / 10_000 * days / 365)
                charged += fee
                short = sum(min(book[column], 0) for book in self.lots)
                for book in range(BOOKS):
                    self.books[book] -= Fraction(fee * min(self.lots[book][column], 0), short)
        assert self.posted("borrow", prices, bp, days) == -charged
        self.charge(-charged)
        self.slack += BOOKS * len(prices)

    def interest(self, rate: int, days: int) -> None:
        balances = [book.cash_micro for book in self.ledger.books]
        paid = round(Fraction(sum(balances) * rate * days, RATE_ONE * 365))
        assert self.posted("interest", balances, rate, days) == paid
        self.charge(paid)
        for book, cash in enumerate(balances):
            self.books[book] += Fraction(cash * rate * days, RATE_ONE * 365)
        self.slack += BOOKS

    def compare(self, prices: list[int]) -> None:
        ledger, house = self.ledger, self.ledger.house
        ledger.check()
        assert house.cash_micro == self.rounded
        assert house.cash_micro + Fraction(house.residue_atto, MICRO) == self.cash
        assert (house.fees_micro, house.flows_micro) == (self.fees, self.flows)
        assert [book.lots for book in ledger.books] == self.lots
        assert house.lots == [self.house(column) for column in range(len(LOTS))]
        assert sum(book.cash_micro for book in ledger.books) == house.cash_micro
        assert sum(book.fees_micro for book in ledger.books) == house.fees_micro
        for book, exact in zip(ledger.books, self.books, strict=True):
            assert abs(book.cash_micro - exact) <= self.slack
        total, books = ledger.equity(prices)
        marks = [sum(self.value(c, lots[c], p) for c, p in enumerate(prices)) for lots in self.lots]
        assert total == round(house.cash_micro + sum(marks))
        assert sum(books) == total
        for equity, book, mark in zip(books[:-1], ledger.books, marks, strict=False):
            assert equity == round(book.cash_micro + mark)


def signed_parts(draw: Callable[[int, int], int]) -> list[tuple[int, int]]:
    """One to all books, on one side."""
    sign = 1 if draw(0, 1) else -1
    start, count = draw(0, BOOKS - 1), draw(1, BOOKS)
    books = sorted((start + k) % BOOKS for k in range(count))
    return [(book, sign * draw(1, 10**6)) for book in books]


def crossing_parts(draw: Callable[[int, int], int]) -> list[tuple[int, int]]:
    parts = [(book, draw(-(10**5), 10**5)) for book in range(BOOKS - 1)]
    return [*parts, (BOOKS - 1, -sum(lots for _, lots in parts))]


def operation(draw: Callable[[int, int], int]) -> Op:
    """Any one operation, from a source of ints; prices are raw nano so that most notionals leave a residue."""
    column, price = draw(0, len(LOTS) - 1), draw(1, 10**13)
    match draw(0, 11):
        case 0:
            return "deposit", (draw(-(10**12), 10**13), draw(0, BOOKS - 1))
        case 1:
            return "allocate", (draw(0, BOOKS - 2), draw(-(10**12), 10**12))
        case 2:
            return "cross", (column, price, crossing_parts(draw))
        case 3:
            return "dividend", (column, draw(0, 10**11))
        case 4:
            return "split", (column, draw(1, 20), draw(1, 20), price)
        case 5:
            return "borrow", ([draw(1, 10**13) for _ in LOTS], draw(0, 100_000) / 100, draw(0, 5))
        case 6:
            return "delist", (column, draw(0, 10**12))
        case 7:
            return "interest", (draw(-(RATE_ONE // 20), RATE_ONE // 2), draw(0, 5))
        case _:
            rows = [
                (draw(0, len(LOTS) - 1), draw(1, 10**13), draw(0, 10**7) * draw(0, 1), signed_parts(draw))
                for _ in range(draw(1, 4))
            ]
            return "fills", (rows,)


@st.composite
def operations(draw: st.DrawFn) -> list[Op]:
    source = lambda low, high: draw(st.integers(low, high))  # noqa: E731
    return [operation(source) for _ in range(draw(st.integers(1, 12)))]


@pytest.mark.long
@pytest.mark.requirement("R-167")
@settings(max_examples=examples(150), deadline=None)
@given(operations())
def test_cash_flows_fees_and_residue_are_conserved_to_the_unit(ops: list[Op]) -> None:
    oracle = Oracle(Ledger(UNIVERSE, AGENTS))
    for op in ops:
        oracle.apply(op)
        oracle.compare([10**11 + 7] * len(LOTS))


def seeded(seed: int, count: int) -> Iterator[tuple[int, Op]]:
    source = random.Random(seed)
    for k in range(count):
        yield k, operation(source.randint)


@pytest.mark.parametrize(
    "count",
    [
        2_000,
        pytest.param(20_000, marks=pytest.mark.long),
        pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_a_long_life_of_random_operations_matches_the_rational_oracle(count: int) -> None:
    oracle, full = Oracle(Ledger(UNIVERSE, AGENTS)), 0
    for k, op in seeded(7, count):
        before = oracle.ledger.cells().tobytes()
        try:
            oracle.apply(op)
        except LedgerFull:  # interest on interest: nothing was booked, and another account begins
            assert oracle.ledger.cells().tobytes() == before
            oracle, full = Oracle(Ledger(UNIVERSE, AGENTS)), full + 1
            continue
        if k % 20 == 0 or k == count - 1:
            oracle.compare([10**11 + 7 * k] * len(LOTS))
        if k % 500 == 0:  # keep positions in the range of an account, so that prices stay the hard part
            for column in range(len(LOTS)):
                flat = [(b, -book[column]) for b, book in enumerate(oracle.lots) if book[column]]
                if sum(lots for _, lots in flat):
                    oracle.fills([(column, 10**10 + k, 0, flat)])
    assert full <= count // 5_000


@given(st.integers(1, 10**12), st.lists(st.integers(0, 10**12), min_size=1, max_size=6))
def test_shares_add_up_are_proportional_to_a_lot_and_within_what_remained(lots: int, remainders: list[int]) -> None:
    total = sum(remainders)
    lots = min(lots, total)
    remaining = list(enumerate(remainders))
    if not lots:
        return
    parts = dict(share(lots, remaining))
    assert sum(parts.values()) == lots
    assert 0 not in parts.values()
    for agent, remainder in remaining:
        part = parts.get(agent, 0)
        assert abs(part - Fraction(lots * remainder, total)) < 1
        assert part <= remainder


def test_leftover_lots_go_to_the_largest_fraction_then_to_the_first_named() -> None:
    assert share(10, [(2, 1), (0, 1), (1, 1)]) == [(2, 4), (0, 3), (1, 3)]
    assert share(5, [(0, 3), (1, 5), (2, 2)]) == [(0, 2), (1, 2), (2, 1)]
    assert share(5, [(0, 30), (1, 34), (2, 36)]) == [(0, 1), (1, 2), (2, 2)]


def test_a_lone_agent_gets_all_and_an_empty_fill_nobody() -> None:
    assert share(7, [(3, 9)]) == [(3, 7)]
    assert share(0, [(3, 9)]) == []


wants = st.integers(1, 5).flatmap(
    lambda a: st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(-20, 20) | st.integers(-(10**17), 10**17) | st.just(0), min_size=n, max_size=n),
            min_size=a,
            max_size=a,
        )
    )
)


@pytest.mark.requirement("R-163")
@given(wants)
def test_crossing_leaves_one_side_and_shares_it_as_fills_are_shared(rows: list[list[int]]) -> None:
    wanted = np.array(rows, dtype=np.int64)
    crossed, surviving = net(wanted)
    assert np.array_equal(crossed + surviving, wanted)
    assert not crossed.sum(axis=0).any()
    assert np.all(crossed * np.sign(wanted) >= 0)
    assert np.all(np.abs(crossed) <= np.abs(wanted))
    for column in range(wanted.shape[1]):
        lots = wanted[:, column].tolist()
        total = sum(lots)
        side = [(a, abs(w)) for a, w in enumerate(lots) if w * total > 0]
        expected = dict(share(abs(total), side)) if total else {}
        sign = 1 if total > 0 else -1
        assert surviving[:, column].tolist() == [sign * expected.get(a, 0) for a in range(len(lots))]


def broken(tamper: Callable[[Ledger], None]) -> str:
    ledger = Ledger(UNIVERSE, AGENTS)
    ledger.deposit(10**9)
    ledger.allocate(0, 10**8)
    ledger.fills([0], [3], [10**9], [5], [[(0, 3)]])
    ledger.check()
    tamper(ledger)
    with pytest.raises(LedgerBroken) as caught:
        ledger.check()
    return str(caught.value)


def test_a_ledger_that_does_not_add_up_names_the_account_and_the_difference() -> None:
    def lots(ledger: Ledger) -> None:
        ledger.books[1].held[2] += 4

    def cash(ledger: Ledger) -> None:
        ledger.house.cash_micro -= 3

    def fees(ledger: Ledger) -> None:
        ledger.books[0].fees_micro += 2

    def profit(ledger: Ledger) -> None:
        ledger.books[0].realised_micro += 9

    assert "column 2" in broken(lots)
    assert "by 4" in broken(lots)
    assert "cash_micro" in broken(cash)
    assert "by 3" in broken(cash)
    assert "fees_micro" in broken(fees)
    assert "ann" in broken(profit)
    assert "-9" in broken(profit)


def test_a_frozen_ledger_survives_msgpack_and_goes_on_the_same() -> None:
    first, second = Oracle(Ledger(UNIVERSE, AGENTS)), Oracle(Ledger(UNIVERSE, AGENTS))
    ops = [op for _, op in seeded(3, 300)]
    for op in ops[:200]:
        first.apply(op)
    plain = first.ledger.freeze()
    second.ledger.thaw(msgspec.msgpack.decode(msgspec.msgpack.encode(plain)))
    assert second.ledger.freeze() == plain
    second.lots = [list(row) for row in first.lots]
    for op in ops[200:]:
        first.apply(op)
        second.apply(op)
    assert first.ledger.freeze() == second.ledger.freeze()


def test_a_ledger_written_before_the_accounts_were_an_array_is_read() -> None:
    ledger, again = Ledger(UNIVERSE, AGENTS), Ledger(UNIVERSE, AGENTS)
    ledger.deposit(10**12)
    ledger.fills([0, 2], [3, -5], [10**9 + 1, 7], [5, 6], [[(0, 3)], [(0, -2), (2, -3)]])
    accounts = msgspec.to_builtins([FrozenBook.of(row) for row in ledger.cells()])
    before = {"names": ledger.names, "house": accounts[0], "books": accounts[1:]}
    again.thaw(msgspec.msgpack.decode(msgspec.msgpack.encode(before)))
    assert again.freeze() == ledger.freeze()
    assert FrozenLedger(**ledger.freeze()).accounts() == msgspec.convert(before, FrozenLedger).accounts()


def test_a_snapshot_of_other_books_is_refused() -> None:
    with pytest.raises(ValueError, match="zoe"):
        Ledger(UNIVERSE, AGENTS).thaw(Ledger(UNIVERSE, ["zoe"]).freeze())


def test_marks_must_cover_every_column() -> None:
    with pytest.raises(ValueError, match="3 mark prices for 4"):
        Ledger(UNIVERSE, AGENTS).equity([1, 2, 3])


def test_a_reverse_split_to_less_than_a_lot_realises_the_cost() -> None:
    ledger = Ledger(UNIVERSE, ["ann"])
    ledger.deposit(10**9)
    ledger.fills([0], [3], [100 * 10**9], [0], [[(0, 3)]])
    assert ledger.split(0, 1, 10, 900 * 10**9) == (270_000_000, [(0, 270_000_000)])
    book = ledger.books[0]
    assert (book.lots[0], book.cost_micro[0], book.realised_micro) == (0, 0, -30_000_000)
    ledger.check()


@given(
    st.integers(0, 10**9),
    st.lists(st.integers(1, 10_000), min_size=1, max_size=3),
    st.sampled_from([1, -1]),
)
def test_parts_of_a_fee_are_those_the_ledger_books(fee: int, parts: list[int], side: int) -> None:
    universe = Universe((Instrument("A"),))
    ledger = Ledger(universe, [f"a{k}" for k in range(len(parts))])
    shares = [(k, side * part) for k, part in enumerate(parts)]
    lots = sum(part for _, part in shares)
    ledger.fills([0], [lots], [100 * 10**9], [fee], [shares])
    assert fee_parts(fee, lots, shares) == [book.fees_micro for book in ledger.books[: len(parts)]]
    assert sum(fee_parts(fee, lots, shares)) == fee
