"""Books in exact integers: what the whole account and each agent hold, the fills that are posted to them,
and their value.

What can go wrong: money that appears or vanishes by rounding, and a number that overflows. Floats would drift with the
number of trades. Amounts are therefore integers in micro-currency, lots are integers, and `Book.residue_atto` counts
what rounding loses.

- The house's amount is rounded once. The books share it, and the last book takes the remainder, so that they add up.
- `fills` and `post` compute all amounts before they book the first one. A refusal leaves all books unchanged.
- `room` is how much every amount may still grow, so that a posting need not check each book for an overflow.
- `ratio` computes products beyond 64 bits with Python integers; the compiled module uses C integers for smaller ones.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quantd.trading.execution import MOST
from quantd.trading.instruments import ATTO_PER_MICRO
from quantd.trading.integers import half_even, portion, ratio
from quantd.trading.ledger.errors import LedgerFull
from quantd.trading.number_types import Ints, ReadInts, Whole, int_zeros

_TOO_LARGE: Final = 2.0**62
"""The first number beyond MOST."""


class Book:
    """Lots and money of the whole account or of an agent.

    This identity always holds exactly: cash = flows + income + realised - sum(cost) - fees. The residue is what
    rounding to whole micro has lost: `residue_micro` plus `residue_rest`, 0 to 1e12 - 1 atto.
    """

    size: int
    held: Ints
    """Signed lots by column."""
    cost: Ints
    """Cost of the held lots in micro, at their average price, by column; negative for a short (its proceeds)."""
    cash_micro: int
    fees_micro: int
    """Commissions paid."""
    flows_micro: int
    """Deposits less withdrawals."""
    income_micro: int
    """Dividends and interest less borrow fees."""
    realised_micro: int
    """Profit on closed lots before fees."""
    residue_micro: int
    residue_rest: int

    def __init__(self, size: int) -> None:
        self.size, self.held, self.cost = size, int_zeros(size), int_zeros(size)
        self.cash_micro = self.fees_micro = self.flows_micro = self.income_micro = self.realised_micro = 0
        self.residue_micro = self.residue_rest = 0

    def holds_what(self, other: "Book") -> bool:
        """Whether this book has the same lots in every column as another book."""
        held: Ints = self.held
        other_held: Ints = other.held
        equal: bool = len(held) == len(other_held)
        for k in range(len(held)):
            equal = equal and held[k] == other_held[k]
        return equal

    @property
    def lots(self) -> list[int]:
        """The signed lots by column, as a new list."""
        lots: list[int] = np.asarray(self.held).tolist()
        return lots

    @property
    def cost_micro(self) -> list[int]:
        """The costs in micro by column, as a new list."""
        cost: list[int] = np.asarray(self.cost).tolist()
        return cost

    @property
    def residue_atto(self) -> Whole:
        micro: Whole = self.residue_micro
        return micro * ATTO_PER_MICRO + self.residue_rest

    def lose(self, atto: int) -> None:
        """Add to the residue an amount, in atto-currency (1e-18) and of either sign, that rounding lost."""
        residue_atto: int = self.residue_rest + atto
        self.residue_micro += residue_atto // ATTO_PER_MICRO
        self.residue_rest = residue_atto % ATTO_PER_MICRO

    def trade(self, k: int, change: int, amount: int) -> None:
        """Book signed lots of column `k`; `amount` is the change of cash in micro, negative for a purchase.

        A reduction removes the average cost of the closed lots, floored to a micro, and realises the difference to the
        amount. A trade through zero is a close and an open: the close has its share of the amount, floored, and the
        open the remainder.
        """
        held: int = self.held[k]
        new_held: int = held + change
        cost: int = self.cost[k]
        if held == 0 or change == 0 or (held > 0) == (change > 0):
            # a position is opened or enlarged
            cost -= amount
        elif new_held != 0 and (new_held > 0) == (held > 0):
            # a position is reduced, and stays on its side
            removed_cost: int = portion(cost, change, held)
            cost += removed_cost
            self.realised_micro += amount + removed_cost
        else:
            # a position is closed, and what exceeds it opens one on the other side
            closing_amount: int = portion(amount, held, -change)
            self.realised_micro += closing_amount - cost
            cost = closing_amount - amount
        self.held[k] = new_held
        self.cost[k] = cost
        self.cash_micro += amount

    def rescale(self, k: int, lots: int, lieu_micro: int) -> None:
        """Set the lots of column `k` after a split, and book `lieu_micro`, the cash for a fraction of a lot.

        The cost of the position does not change; if no lots remain, the cost is realised.
        """
        self.held[k] = lots
        self.cash_micro += lieu_micro
        self.realised_micro += lieu_micro
        if lots == 0:
            self.realised_micro -= self.cost[k]
            self.cost[k] = 0

    def receive(self, amount_micro: int) -> None:
        """Book a dividend or interest received; a dividend paid on a short position, or a borrow fee, is negative."""
        self.cash_micro += amount_micro
        self.income_micro += amount_micro

    def pay(self, fee_micro: int) -> None:
        self.cash_micro -= fee_micro
        self.fees_micro += fee_micro

    def flow(self, amount_micro: int) -> None:
        """Book a deposit into this book, or a withdrawal (negative)."""
        self.cash_micro += amount_micro
        self.flows_micro += amount_micro

    def unexplained_micro(self) -> Whole:
        """Return the cash that no flow, income, profit, cost or fee explains: always 0."""
        flows: Whole = self.flows_micro
        return self.cash_micro - (
            flows + self.income_micro + self.realised_micro - sum(self.cost_micro) - self.fees_micro
        )

    def largest(self) -> Whole:
        """Return the largest absolute amount or number of lots of this book, as if all costs were realised."""
        cost: Whole = sum(map(abs, self.cost_micro))
        amounts: list[Whole] = [self.cash_micro, self.fees_micro, self.flows_micro, self.income_micro]
        return max(*map(abs, amounts), abs(self.realised_micro) + cost, *map(abs, self.lots))


class Postings:
    """The house's book (the whole account), and the books that add up to it: the agents' books in order, then the
    unallocated book."""

    house: Book
    books: list[Book]
    numerator: Ints
    """By column: lots x price_nano x numerator / denominator is a value in micro."""
    denominator: Ints
    room: int
    """How much amounts may still grow before `measure` has to check for an overflow again."""
    amounts: Ints
    """The change of the house's cash by each row of the fills that are posted, in micro."""
    lost_atto: int
    """What the rounding of `amounts` lost, in atto."""
    rows: Ints
    """Scratch memory of `fills`."""
    valued_micro: int
    valued_atto: int
    """The value of the positions that were valued last, without cash: valued_micro plus valued_atto."""

    def __init__(self, ratios: Sequence[tuple[int, int]], books: int) -> None:
        size: int = len(ratios)
        self.house, self.books = Book(size), [Book(size) for _ in range(books)]
        self.numerator, self.denominator = int_zeros(size), int_zeros(size)
        for k in range(size):
            self.numerator[k], self.denominator[k] = ratios[k]
        self.amounts, self.rows = int_zeros(64), int_zeros(512)
        self.room = self.lost_atto = self.valued_micro = self.valued_atto = 0

    def book(self, index: int) -> Book:
        """Return the book with this index: an agent's number, or -1 for the last book, the unallocated one."""
        book: Book = self.books[index if index >= 0 else len(self.books) + index]
        return book

    def fills(
        self,
        sym: Sequence[int],
        lots: Sequence[int],
        price_nano: Sequence[int],
        fee_micro: Sequence[int],
        shares: Sequence[Sequence[tuple[int, int]]],
    ) -> None:
        """Post fills row by row. `shares` lists for each row (book, signed lots), which add up to the row's lots.

        Raises LedgerFull, with nothing booked, for amounts beyond MOST, and ValueError for a row without shares.
        """
        rows: int = len(sym)
        try:
            self._write(sym, lots, price_nano, fee_micro, shares)
            # -1: each row is shared by several books
            grown: int = self._measured(self.rows, rows, -1)
        except OverflowError:
            most, price = max(map(abs, lots)), max(price_nano)
            raise LedgerFull(f"fills of {most} lots at {price} nano: the ledger holds {MOST} at most") from None
        self.settle(self.rows, rows, -1, grown)

    def _write(
        self,
        sym: Sequence[int],
        lots: Sequence[int],
        price_nano: Sequence[int],
        fee_micro: Sequence[int],
        shares: Sequence[Sequence[tuple[int, int]]],
    ) -> None:
        """Write fills to `rows` for `post`: five columns with a number for each fill, then all pairs (book, signed
        lots). Raises OverflowError for a number beyond 62 bits.
        """
        rows: int = len(sym)
        # five columns of `rows` cells come first, then the pairs (book, signed lots)
        position: int = 5 * rows
        for row in range(rows):
            position += 2 * len(shares[row])
        if position > len(self.rows):
            self.rows = int_zeros(2 * position)
        cells: Ints = self.rows
        position = 5 * rows
        for row in range(rows):
            size: int = lots[row]
            price: int = price_nano[row]
            fee: int = fee_micro[row]
            if max(abs(float(size)), abs(float(price)), abs(float(fee))) >= _TOO_LARGE:
                raise OverflowError("an integer of a fill is too large for 64 bits")
            cells[row], cells[rows + row], cells[2 * rows + row], cells[3 * rows + row] = sym[row], size, price, fee
            parts: int = len(shares[row])
            cells[4 * rows + row] = parts
            for pair in range(parts):
                book_number: int
                book_lots: int
                book_number, book_lots = shares[row][pair]
                cells[position], cells[position + 1] = book_number, book_lots
                position += 2

    def post(self, fills: Ints, rows: int, only: int) -> None:
        """Post `rows` fills from one array, column after column: symbols' columns, signed lots, prices, fees.

        All fills belong to the book `only`. If `only` is -1, a fifth column has the number of books that share each
        row, and the pairs (book, signed lots) of all rows follow.

        The amount of the whole account is rounded half-even to a micro. Each book's part is rounded to the
        nearest micro, and the row's last book takes the remainder. A fee is shared in proportion to lots, rounded down;
        the row's last book takes the remainder. Raises LedgerFull and OverflowError, with nothing booked, for amounts
        beyond MOST, and ValueError for a row without shares.
        """
        self.settle(fills, rows, only, self._measured(fills, rows, only))

    def settle(self, fills: Ints, rows: int, only: int, grown: int) -> None:
        """Book `rows` fills right after a call of `growth` for the same fills, which computes their amounts.

        `fills` and `only` are as in `post`. `grown`, returned by `growth`, is by how much any amount may grow. Raises
        LedgerFull, with nothing booked, for amounts beyond MOST.
        """
        # first, because it raises LedgerFull for amounts that are too large, and no book may have changed by then
        self.reserve(grown)
        fees: int = 0
        house: Book = self.house
        first_pair: int = 5 * rows
        for row in range(rows):
            k: int = fills[row]
            size: int = fills[rows + row]
            fee: int = fills[3 * rows + row]
            house.trade(k, size, self.amounts[row])
            fees += fee
            if only >= 0:  # the one book of all fills
                book: Book = self.books[only]
                book.trade(k, size, self.amounts[row])
                book.pay(fee)
            else:
                pair_count: int = fills[4 * rows + row]
                self._share(fills, first_pair, pair_count, k, size, fills[2 * rows + row], fee, self.amounts[row])
                first_pair += 2 * pair_count
        house.pay(fees)
        house.lose(self.lost_atto)  # what rounding the amounts lost

    def growth(self, fills: Ints, rows: int, only: int) -> int:
        """Return by how much any amount of a book may grow if `post` books these fills.

        Raises OverflowError for an amount beyond MOST, and ValueError for a row without shares."""
        return self._measured(fills, rows, only)

    def _measured(self, fills: Ints, rows: int, only: int) -> int:
        """Compute the change of cash by each fill (`amounts`) and what its rounding loses (`lost_atto`). Returns by how
        much any amount of a book may grow.

        Raises OverflowError for an amount beyond MOST, and ValueError for a row without shares.
        """
        if rows > len(self.amounts):
            self.amounts = int_zeros(2 * rows)
        grown: int = 0
        self.lost_atto = 0
        for row in range(rows):
            k: int = fills[row]
            size: int = fills[rows + row]
            fee: int = fills[3 * rows + row]
            # `only` is the one book of all fills, -1 where each row has its own pairs of book and lots
            pair_count: int = 1 if only >= 0 else fills[4 * rows + row]
            if pair_count == 0:
                raise ValueError(f"row {row} of the fills belongs to no book")
            amount: int = self.amount(k, size, fills[2 * rows + row])
            self.amounts[row] = amount
            grown += abs(size) + abs(amount) + abs(fee) + pair_count
        return grown

    def amount(self, k: int, lots: int, price: int) -> int:
        """Return the change of cash by a trade, in micro, rounded half-even. What rounding loses is added to
        `lost_atto`. `lots` are signed, `price` is in nano-currency. Raises OverflowError beyond MOST."""
        divisor: int = self.denominator[k]
        quotient: int
        remainder: int
        quotient, remainder = ratio(abs(lots), abs(price), self.numerator[k], divisor)
        rounded: int = half_even(quotient, remainder, divisor)
        lost: int = (remainder if rounded == quotient else remainder - divisor) * (ATTO_PER_MICRO // divisor)
        is_payment: bool = (lots > 0) == (price > 0)
        self.lost_atto += -lost if is_payment else lost
        return -rounded if is_payment else rounded

    def _share(self, fills: Ints, first: int, parts: int, k: int, size: int, price: int, fee: int, amount: int) -> None:
        """Book a row of fills in the books that share it; its `parts` pairs begin at index `first` of `fills`.

        The last book takes the rest of the amount and of the fee, after the rounded parts of the other books.
        """
        unbooked: int = amount
        unpaid: int = fee
        for pair in range(parts):
            part_lots: int = fills[first + 2 * pair + 1]
            part_amount: int = unbooked
            charged: int = unpaid
            if pair < parts - 1:
                part_amount = self._nearest(k, part_lots, price)
                charged = portion(fee, part_lots, size) if fee != 0 else 0
            unbooked -= part_amount
            unpaid -= charged
            book: Book = self.book(fills[first + 2 * pair])
            book.trade(k, part_lots, part_amount)
            book.pay(charged)

    def _nearest(self, k: int, lots: int, price: int) -> int:
        """Return the change of cash by a book's part of a trade, rounded to the nearest micro, ties upwards."""
        divisor: int = self.denominator[k]
        quotient: int
        remainder: int
        quotient, remainder = ratio(abs(lots), abs(price), self.numerator[k], divisor)
        if (lots > 0) == (price > 0):
            return -quotient - (1 if remainder > divisor // 2 else 0)
        return quotient + 1 if divisor // 2 + remainder >= divisor else quotient

    def value(self, book: Book, marks: ReadInts) -> int:
        """Return the equity of a book in micro-currency: cash plus the exact value of its lots, rounded half-even.

        `marks` are the prices in nano-currency by column. Raises OverflowError where an amount, or the sum of the
        positions' absolute values, is beyond 62 bits.
        """
        self._value_positions(book, marks)
        return self._equity(book)

    def _equity(self, book: Book) -> int:
        """Return the equity of a book in micro-currency. The last call of `_value_positions` must be for this book."""
        micro: int = self.valued_micro + book.cash_micro + self.valued_atto // ATTO_PER_MICRO
        return half_even(micro, self.valued_atto % ATTO_PER_MICRO, ATTO_PER_MICRO)

    def _value_positions(self, book: Book, marks: ReadInts) -> None:
        """Write the value of a book's positions to `valued_micro` and `valued_atto`. Raises OverflowError for a
        value beyond 62 bits.

        `marks` are prices in nano-currency by column. The value is exact: whole micro, and the remainder in atto."""
        micro: int = 0
        atto: int = 0
        gross: float = 0.0
        for k in range(book.size):
            lots: int = book.held[k]
            if lots != 0:
                price: int = marks[k]
                divisor: int = self.denominator[k]
                value_micro: int
                remainder: int
                value_micro, remainder = ratio(abs(lots), abs(price), self.numerator[k], divisor)
                gross += float(value_micro)
                if gross >= _TOO_LARGE:
                    raise OverflowError("the value of a book is too large for 64 bits")
                remainder *= ATTO_PER_MICRO // divisor
                # a price may be negative: the value is positive where both have the same sign
                if (lots > 0) == (price > 0):
                    micro += value_micro
                    atto += remainder
                else:
                    micro -= value_micro
                    atto -= remainder
        self.valued_micro, self.valued_atto = micro, atto

    def values(self, marks: ReadInts) -> list[int]:
        """Return the equity of the whole account, then of each book, in micro-currency; the last book takes
        the remainder, so that the books add up to the house.

        Raises OverflowError for amounts beyond 62 bits.
        """
        equities: Ints = int_zeros(len(self.books) + 1)
        self.write_values(marks, equities)
        return [equities[k] for k in range(len(equities))]

    def write_values(self, marks: ReadInts, out: Ints) -> None:
        """Write the equities that `values` returns to `out`: the whole account, then each book, in micro.

        `marks` are prices in nano-currency by column. Raises OverflowError for amounts beyond 62 bits."""
        # the house first: the book of a single agent with the same lots then need not be valued again
        remainder: int = self.value(self.house, marks)
        out[0] = remainder
        books: int = len(self.books)
        for index in range(books - 1):
            book: Book = self.books[index]
            if books > 2 or not book.holds_what(self.house):
                self._value_positions(book, marks)
            equity: int = self._equity(book)
            out[index + 1] = equity
            remainder -= equity
        out[books] = remainder

    def reserve(self, grown: Whole) -> None:
        """Subtract `grown`, the growth by a posting, from `room`, by which amounts may still grow. Raises LedgerFull if
        an amount could exceed MOST.
        """
        if grown > self.room:
            self.measure()
            if grown > self.room:
                raise LedgerFull(f"{grown} on top of what the ledger has: it holds {MOST} micro or lots at most")
        self.room -= grown

    def measure(self) -> None:
        """Compute from the largest amount of all books how much amounts may still grow (`room`). Raises LedgerFull
        if that amount exceeds MOST."""
        largest: Whole = self.house.largest()
        for book_object in self.books:
            book: Book = book_object
            largest = max(largest, book.largest())
        if largest > MOST:
            raise LedgerFull(f"the ledger has {largest}: it holds {MOST} micro or lots at most")
        self.room = MOST - largest
