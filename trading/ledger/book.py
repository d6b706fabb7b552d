"""Books in exact integers: what the house and each agent hold, the fills that are posted to them, and their value.

What can go wrong: money that appears or vanishes by rounding, and a number that overflows. Floats would drift with the
number of trades. So amounts are whole micro, lots are whole, and `Book.residue_atto` counts what rounding loses.

- The house's amount is rounded once. The books share it, and the last book takes the remainder: they always add up.
- `fills` and `post` compute every amount before the first is booked. A refusal leaves all books as they were.
- `room` bounds the growth of all amounts together, so that a posting does not measure each book for an overflow.
- `ratio` divides products beyond 64 bits by integers of Python; the compiled module has C integers for the others.
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
    """Lots and money of the house or of an agent.

    This identity always holds exactly: cash = flows + income + realised - sum(cost) - fees. The residue is what
    rounding to whole micro lost: `residue_micro`, and a remainder of 0 to 1e12 - 1 atto.
    """

    size: int
    held: Ints
    """Signed lots by column."""
    cost: Ints
    """Their cost in micro at the average price by column, negative for a short (its proceeds)."""
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
        """Whether the lots are those of another book."""
        held: Ints = self.held
        other_held: Ints = other.held
        same: bool = len(held) == len(other_held)
        for k in range(len(held)):
            same = same and held[k] == other_held[k]
        return same

    @property
    def lots(self) -> list[int]:
        """A copy of `held`."""
        lots: list[int] = np.asarray(self.held).tolist()
        return lots

    @property
    def cost_micro(self) -> list[int]:
        """A copy of `cost`."""
        cost: list[int] = np.asarray(self.cost).tolist()
        return cost

    @property
    def residue_atto(self) -> Whole:
        """The whole residue."""
        micro: Whole = self.residue_micro
        return micro * ATTO_PER_MICRO + self.residue_rest

    def lose(self, atto: int) -> None:
        """Add what rounding lost to the residue."""
        residue_atto: int = self.residue_rest + atto
        self.residue_micro += residue_atto // ATTO_PER_MICRO
        self.residue_rest = residue_atto % ATTO_PER_MICRO

    def trade(self, k: int, change: int, amount: int) -> None:
        """Book signed lots of column `k`; `amount` is the change of cash in micro, negative for a purchase.

        A reduction removes its part of the average cost, floored to a micro, and realises the difference. A trade
        through zero closes with its part of the amount, floored, and opens with the remainder.
        """
        held: int = self.held[k]
        after: int = held + change
        cost: int = self.cost[k]
        if held == 0 or change == 0 or (held > 0) == (change > 0):
            cost -= amount
        elif after != 0 and (after > 0) == (held > 0):
            part: int = portion(cost, change, held)
            cost += part
            self.realised_micro += amount + part
        else:
            closing: int = portion(amount, held, -change)
            self.realised_micro += closing - cost
            cost = closing - amount
        self.held[k] = after
        self.cost[k] = cost
        self.cash_micro += amount

    def rescale(self, k: int, lots: int, lieu_micro: int) -> None:
        """Set `lots` after a split and add `lieu_micro` of cash for the fraction. The cost does not change; it is
        realised when no lots remain."""
        self.held[k] = lots
        self.cash_micro += lieu_micro
        self.realised_micro += lieu_micro
        if lots == 0:
            self.realised_micro -= self.cost[k]
            self.cost[k] = 0

    def receive(self, amount_micro: int) -> None:
        """Book a dividend or interest; a payment or a borrow fee is negative."""
        self.cash_micro += amount_micro
        self.income_micro += amount_micro

    def pay(self, fee_micro: int) -> None:
        """Book a commission."""
        self.cash_micro -= fee_micro
        self.fees_micro += fee_micro

    def flow(self, amount_micro: int) -> None:
        """Book a deposit, or a withdrawal (negative)."""
        self.cash_micro += amount_micro
        self.flows_micro += amount_micro

    def unexplained_micro(self) -> Whole:
        """Return the cash that no flow, income, profit, cost or fee explains: always 0."""
        flows: Whole = self.flows_micro
        return self.cash_micro - (
            flows + self.income_micro + self.realised_micro - sum(self.cost_micro) - self.fees_micro
        )

    def largest(self) -> Whole:
        """The largest size that an amount of this book has, or may have after its cost is realised."""
        cost: Whole = sum(map(abs, self.cost_micro))
        amounts: list[Whole] = [self.cash_micro, self.fees_micro, self.flows_micro, self.income_micro]
        return max(*map(abs, amounts), abs(self.realised_micro) + cost, *map(abs, self.lots))


class Postings:
    """The house's book and those that add up to it: the agents' in order, then the unallocated one."""

    house: Book
    books: list[Book]
    numerator: Ints
    """lots x price_nano x numerator / denominator is a value in micro, by column."""
    denominator: Ints
    room: int
    """What amounts may grow by before they are measured again."""
    amounts: Ints
    """The changes of the house's cash by the rows that are posted."""
    lost_atto: int
    """What their rounding lost."""
    rows: Ints
    """Scratch of `fills`."""
    valued_micro: int
    valued_atto: int
    """The positions that were valued last, without cash: their sum is the value."""

    def __init__(self, ratios: Sequence[tuple[int, int]], books: int) -> None:
        size: int = len(ratios)
        self.house, self.books = Book(size), [Book(size) for _ in range(books)]
        self.numerator, self.denominator = int_zeros(size), int_zeros(size)
        for k in range(size):
            self.numerator[k], self.denominator[k] = ratios[k]
        self.amounts, self.rows = int_zeros(64), int_zeros(512)
        self.room = self.lost_atto = self.valued_micro = self.valued_atto = 0

    def book(self, number: int) -> Book:
        """The book of an agent; those from the end have negative numbers."""
        book: Book = self.books[number if number >= 0 else len(self.books) + number]
        return book

    def fills(
        self,
        sym: Sequence[int],
        lots: Sequence[int],
        price_nano: Sequence[int],
        fee_micro: Sequence[int],
        shares: Sequence[Sequence[tuple[int, int]]],
    ) -> None:
        """Post fills row by row. `shares` lists for each row the (book, lots) of its sign that add up to its signed
        lots.

        Raises LedgerFull, with nothing booked, for what the ledger cannot hold, and ValueError for a row without
        shares.
        """
        rows: int = len(sym)
        try:
            self._write(sym, lots, price_nano, fee_micro, shares)
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
        """Write fills as `post` reads them. Raises OverflowError."""
        rows: int = len(sym)
        at: int = 5 * rows
        for row in range(rows):
            at += 2 * len(shares[row])
        if at > len(self.rows):
            self.rows = int_zeros(2 * at)
        out: Ints = self.rows
        at = 5 * rows
        for row in range(rows):
            size: int = lots[row]
            price: int = price_nano[row]
            fee: int = fee_micro[row]
            if max(abs(float(size)), abs(float(price)), abs(float(fee))) >= _TOO_LARGE:
                raise OverflowError("an integer of a fill is too large for 64 bits")
            out[row], out[rows + row], out[2 * rows + row], out[3 * rows + row] = sym[row], size, price, fee
            parts: int = len(shares[row])
            out[4 * rows + row] = parts
            for place in range(parts):
                number: int
                part: int
                number, part = shares[row][place]
                out[at], out[at + 1] = number, part
                at += 2

    def post(self, fills: Ints, rows: int, only: int) -> None:
        """Post so many fills, in columns of integers: the symbols' columns, signed lots, prices, fees. All belong to
        the book `only`, or, where it is -1, a column of numbers of pairs follows, then each row's pairs (book, signed
        lots).

        An amount is rounded half-even to a micro for the house. Each part is rounded to the nearest micro, and the
        row's last takes the remainder. A fee is shared in proportion, rounded down; the row's last book takes the
        remainder. Raises LedgerFull and OverflowError, with nothing booked, for what the ledger cannot hold, and
        ValueError for a row without shares.
        """
        self.settle(fills, rows, only, self._measured(fills, rows, only))

    def settle(self, fills: Ints, rows: int, only: int, grown: int) -> None:
        """Book fills whose amounts are computed."""
        # raises before the first book changes
        self.reserve(grown)
        fees: int = 0
        house: Book = self.house
        at: int = 5 * rows
        for row in range(rows):
            k: int = fills[row]
            size: int = fills[rows + row]
            fee: int = fills[3 * rows + row]
            house.trade(k, size, self.amounts[row])
            fees += fee
            if only >= 0:
                book: Book = self.books[only]
                book.trade(k, size, self.amounts[row])
                book.pay(fee)
            else:
                parts: int = fills[4 * rows + row]
                self._share(fills, at, parts, k, size, fills[2 * rows + row], fee, self.amounts[row])
                at += 2 * parts
        house.pay(fees)
        house.lose(self.lost_atto)

    def growth(self, fills: Ints, rows: int, only: int) -> int:
        """What any amount may grow by where `post` books these fills. Raises as it does."""
        return self._measured(fills, rows, only)

    def _measured(self, fills: Ints, rows: int, only: int) -> int:
        """Compute the house's amounts of fills; returns what any amount may grow by. Raises OverflowError."""
        if rows > len(self.amounts):
            self.amounts = int_zeros(2 * rows)
        grown: int = 0
        self.lost_atto = 0
        for row in range(rows):
            k: int = fills[row]
            size: int = fills[rows + row]
            fee: int = fills[3 * rows + row]
            parts: int = 1 if only >= 0 else fills[4 * rows + row]
            if parts == 0:
                raise ValueError(f"row {row} of the fills belongs to no book")
            amount: int = self.amount(k, size, fills[2 * rows + row])
            self.amounts[row] = amount
            grown += abs(size) + abs(amount) + abs(fee) + parts
        return grown

    def amount(self, k: int, lots: int, price: int) -> int:
        """The change of cash by a trade in micro, rounded half-even; `lost_atto` grows by what that loses. Raises
        OverflowError."""
        divisor: int = self.denominator[k]
        quotient: int
        remainder: int
        quotient, remainder = ratio(abs(lots), abs(price), self.numerator[k], divisor)
        rounded: int = half_even(quotient, remainder, divisor)
        lost: int = (remainder if rounded == quotient else remainder - divisor) * (ATTO_PER_MICRO // divisor)
        paid: bool = (lots > 0) == (price > 0)
        self.lost_atto += -lost if paid else lost
        return -rounded if paid else rounded

    def _share(self, fills: Ints, first: int, parts: int, k: int, size: int, price: int, fee: int, amount: int) -> None:
        """Book a row with those who have a part of it; their pairs begin at `first`."""
        unbooked: int = amount
        unpaid: int = fee
        for place in range(parts):
            part: int = fills[first + 2 * place + 1]
            part_amount: int = unbooked
            charged: int = unpaid
            if place < parts - 1:
                part_amount = self._nearest(k, part, price)
                charged = portion(fee, part, size) if fee != 0 else 0
            unbooked -= part_amount
            unpaid -= charged
            book: Book = self.book(fills[first + 2 * place])
            book.trade(k, part, part_amount)
            book.pay(charged)

    def _nearest(self, k: int, lots: int, price: int) -> int:
        """The change of cash of a part, to the nearest micro, ties upwards."""
        divisor: int = self.denominator[k]
        quotient: int
        remainder: int
        quotient, remainder = ratio(abs(lots), abs(price), self.numerator[k], divisor)
        if (lots > 0) == (price > 0):
            return -quotient - (1 if remainder > divisor // 2 else 0)
        return quotient + 1 if divisor // 2 + remainder >= divisor else quotient

    def value(self, book: Book, marks: ReadInts) -> int:
        """Return the equity of a book in micro at marks in nano by column: cash plus exact value, rounded half-even.
        Raises OverflowError where an amount, or the value of all positions without sign, is beyond 62 bits."""
        self._value_positions(book, marks)
        return self._equity(book)

    def _equity(self, book: Book) -> int:
        """The equity of a book whose positions were valued last."""
        micro: int = self.valued_micro + book.cash_micro + self.valued_atto // ATTO_PER_MICRO
        return half_even(micro, self.valued_atto % ATTO_PER_MICRO, ATTO_PER_MICRO)

    def _value_positions(self, book: Book, marks: ReadInts) -> None:
        """Value the positions of a book. Raises OverflowError as `value` does."""
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
                if (lots > 0) == (price > 0):
                    micro += value_micro
                    atto += remainder
                else:
                    micro -= value_micro
                    atto -= remainder
        self.valued_micro, self.valued_atto = micro, atto

    def values(self, marks: ReadInts) -> list[int]:
        """Return the equity of the house, then of each book; the last one takes the remainder, so that the books add
        up to the house. Raises OverflowError as `value` does."""
        equities: Ints = int_zeros(len(self.books) + 1)
        self.write_values(marks, equities)
        return [equities[k] for k in range(len(equities))]

    def write_values(self, marks: ReadInts, out: Ints) -> None:
        """Write `values`. Raises OverflowError as `value` does."""
        # the house comes first: a lone agent that holds the same lots has the positions valued last
        remainder: int = self.value(self.house, marks)
        out[0] = remainder
        books: int = len(self.books)
        for number in range(books - 1):
            book: Book = self.books[number]
            if books > 2 or not book.holds_what(self.house):
                self._value_positions(book, marks)
            equity: int = self._equity(book)
            out[number + 1] = equity
            remainder -= equity
        out[books] = remainder

    def reserve(self, grown: Whole) -> None:
        """Make room for amounts that grow by `grown` at most. Raises LedgerFull where one could be beyond MOST."""
        if grown > self.room:
            self.measure()
            if grown > self.room:
                raise LedgerFull(f"{grown} on top of what the ledger has: it holds {MOST} micro or lots at most")
        self.room -= grown

    def measure(self) -> None:
        """Measure the room that is left. Raises LedgerFull where there is none."""
        largest: Whole = self.house.largest()
        for book_object in self.books:
            book: Book = book_object
            largest = max(largest, book.largest())
        if largest > MOST:
            raise LedgerFull(f"the ledger has {largest}: it holds {MOST} micro or lots at most")
        self.room = MOST - largest
