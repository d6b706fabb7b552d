"""The ledger: a house account and one virtual book per agent, which always add up to it.

What can go wrong: books that no longer add up to the account at the broker, and a posting that stops half-way. If an
amount of the account were the sum of rounded parts, it would differ from the broker's. The account's amount is
therefore rounded once, and the last book takes the remainder. `check` compares the house with the sum of the books, and
reports a field that differs.

Each posting computes all its amounts, then calls `admit`, which checks their size, then changes books. LedgerFull
therefore leaves the ledger unchanged. `Ledger.equity` computes with 64-bit integers where the module is compiled, and
again with Python integers if these overflow; the result is the same.
"""

from collections.abc import Sequence
from operator import mul
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.execution import (
    MOST,
    borrow_micro,
    divide_half_even,
    interest_micro,
    lowest,
    rate_of_bp,
    round_micro,
    truncate,
    with_remainder,
)
from quantd.trading.instruments import ATTO_PER_MICRO, Universe
from quantd.trading.ledger import book as book_module
from quantd.trading.ledger.book import Book, Postings
from quantd.trading.ledger.errors import LedgerBroken, LedgerFull
from quantd.trading.ledger.shares import Share

Ints = NDArray[np.int64]

Posted = tuple[int, list[Share]]
"""The change of the account's cash by a payment, in micro-currency, and (number, cash) of each book with a part of it:
an agent's number, or -1 for the unallocated book."""

UNALLOCATED: Final = "unallocated"

AMOUNTS: Final = (
    "cash_micro", "fees_micro", "flows_micro", "income_micro", "realised_micro", "residue_micro", "residue_rest",
)  # fmt: skip
"""The single amounts of a book. In a snapshot a book is its lots by column, its costs by column, then these."""

_COMPILED: Final = not str(book_module.__file__).endswith(".py")


class FrozenBook(Struct, frozen=True):
    """A book as plain values. The rounding residue is stored in two parts, so that each fits 64 bits."""

    lots: list[int]
    cost_micro: list[int]
    cash_micro: int
    residue: tuple[int, int]
    fees_micro: int
    flows_micro: int
    income_micro: int
    realised_micro: int

    @classmethod
    def of(cls, cells: Ints) -> "FrozenBook":
        """Return the book whose values are `cells`, int64[2 N + 7]: N lots, N costs, and the fields named in
        AMOUNTS."""
        size = (len(cells) - len(AMOUNTS)) // 2
        lots, cost, amounts = cells[:size].tolist(), cells[size : 2 * size].tolist(), cells[2 * size :].tolist()
        by_name = dict(zip(AMOUNTS, amounts, strict=True))
        residue = by_name.pop("residue_micro"), by_name.pop("residue_rest")
        return cls(lots=lots, cost_micro=cost, residue=residue, **by_name)

    def cells(self) -> list[int]:
        """Return the book's values as one list: its lots by column, its costs by column, then the fields named in
        AMOUNTS."""
        amounts = (getattr(self, name) for name in AMOUNTS[:5])
        return [*self.lots, *self.cost_micro, *amounts, *self.residue]


def cells_of(book: Book) -> Ints:
    """Return a book's values as int64[2 N + 7] (cells): N lots, N costs, and the fields named in AMOUNTS."""
    size, amounts = book.size, [getattr(book, name) for name in AMOUNTS]
    cells = np.empty(2 * size + len(AMOUNTS), dtype=np.int64)
    cells[:size], cells[size : 2 * size], cells[2 * size :] = book.held, book.cost, amounts
    return cells


def restore(book: Book, cells: Ints) -> None:
    """Set a book to `cells`: N lots, N costs, and the fields named in AMOUNTS. Raises ValueError for another N."""
    size = book.size
    if len(cells) != 2 * size + len(AMOUNTS):
        raise ValueError(f"the snapshot of a book has {len(cells)} numbers, which do not fit {size} columns")
    np.asarray(book.held)[:], np.asarray(book.cost)[:] = cells[:size], cells[size : 2 * size]
    for name, amount in zip(AMOUNTS, cells[2 * size :].tolist(), strict=True):
        setattr(book, name, amount)


class FrozenLedger(Struct, frozen=True):
    """A ledger as serialisable values: `cells` has lots, costs and amounts of each book, int64, little-endian.

    A ledger written by an older version has `house` and `books` instead.
    """

    names: list[str]
    house: FrozenBook | None = None
    books: list[FrozenBook] = []
    cells: bytes = b""

    def rows(self) -> Ints:
        """Return int64[A + 2, 2 N + 7], one row of values per book: the whole account, the A agents in order,
        the unallocated book.
        """
        if self.house is not None:
            return np.array([book.cells() for book in (self.house, *self.books)], dtype=np.int64)
        return np.frombuffer(self.cells, dtype=np.int64).reshape(len(self.names) + 1, -1)

    def accounts(self) -> list[FrozenBook]:
        """Return the book of the whole account, the agents' books in order, and the unallocated book."""
        return [FrozenBook.of(row) for row in self.rows()]


def split_lots(lots: Sequence[int], numerator: int, denominator: int) -> list[int]:
    """Return the signed lots of each book after a split into `numerator` new shares for `denominator` old ones.

    The lots of the account and of each book are truncated towards zero. If the books then have fewer lots together
    than the account, the missing lots go to the books with the largest fractions.
    """
    new_lots = [truncate(held, numerator, denominator) for held in lots]
    # truncated by book: the books can have fewer lots together than the house, or more where some are short
    missing_lots = truncate(sum(lots), numerator, denominator) - sum(new_lots)
    if missing_lots:
        sign = 1 if missing_lots > 0 else -1
        # Fractions in units of 1 / denominator; those on the side of the missing lots come first.
        fraction = [held * numerator - new * denominator for held, new in zip(lots, new_lots, strict=True)]
        for k in sorted(range(len(new_lots)), key=lambda k: -sign * fraction[k])[: abs(missing_lots)]:
            new_lots[k] += sign
    return new_lots


def _micro_ratio(lot_nano: int) -> tuple[int, int]:
    """Return (numerator, denominator) that convert lots x price_nano to micro, in lowest terms.

    Smaller integers are faster, and whole shares at whole cents leave no remainder.
    """
    return lowest(lot_nano, ATTO_PER_MICRO)


class Ledger(Postings):
    """The books of an account: the whole account, one book per agent in order, then the unallocated book.

    Lots, cash and fees of the books always add up exactly to the lots, cash and fees of the house. Cost and profit need
    not add up: each account computes its own. A cash amount is rounded once, for the house. Each book's part is rounded
    too, and the last affected book takes the remainder. Commissions, borrow fees, interest and cash in lieu are whole
    micro by definition. Notionals and dividends are exact in atto-currency (1e-18); `house.residue_atto` accumulates
    what their rounding loses.
    """

    def __init__(self, universe: Universe, agents: Sequence[str]) -> None:
        self.names = [*agents, UNALLOCATED]
        self._numbers = (*range(len(agents)), -1)
        self._lot_nano = universe.lot_nano
        super().__init__([_micro_ratio(lot_nano) for lot_nano in universe.lot_nano], len(self.names))
        sizes = set(universe.lot_nano)
        self._same = sizes.pop() if len(sizes) == 1 else 0

    def admit(self, *sizes: int) -> None:
        """Raise LedgerFull if an amount that grows by the sum of all absolute `sizes` could exceed MOST."""
        self.reserve(sum(map(abs, sizes)))

    def equity(self, price_nano: Sequence[int] | Ints) -> tuple[int, list[int]]:
        """Return (equity of the whole account, equities of the books) in micro-currency, at mark prices in
        nano-currency by column.

        The books are the agents' in order, then the unallocated book. The account's equity is cash plus exact value,
        rounded half-even once. The unallocated book takes the remainder, so that the books add up. The residue of
        rounding is not counted. Raises ValueError unless every column has a price, and LedgerFull for an equity beyond
        MOST.
        """
        if len(price_nano) != len(self._lot_nano):
            raise ValueError(
                f"{len(price_nano)} mark prices for {len(self._lot_nano)} columns; give one for each column"
            )
        try:
            # the compiled ledger is faster, but has 64 bits only
            if _COMPILED:
                total, *books = self.values(np.asarray(price_nano, dtype=np.int64).data)
                return total, books
        except OverflowError:
            pass  # by integers of any size
        prices = price_nano.tolist() if isinstance(price_nano, np.ndarray) else price_nano
        # one lot size for all symbols is multiplied after the sum
        lot_values, scale = (prices, self._same) if self._same else (list(map(mul, prices, self._lot_nano)), 1)
        lots = self.house.lots
        house_atto = sum(map(mul, lots, lot_values)) * scale
        total = unallocated = round_micro(self.house.cash_micro * ATTO_PER_MICRO + house_atto)[0]
        books = []
        for book in self.books[:-1]:
            book_lots = book.lots
            atto = house_atto if book_lots == lots else sum(map(mul, book_lots, lot_values)) * scale
            books.append(round_micro(book.cash_micro * ATTO_PER_MICRO + atto)[0])
            unallocated -= books[-1]
        if abs(total) > MOST:
            raise LedgerFull(f"an equity of {total} micro at these marks: the ledger holds {MOST} at most")
        return total, [*books, unallocated]

    def deposit(self, amount_micro: int, book: int = -1) -> None:
        """Deposit cash from outside into a book (-1: the unallocated book); a negative amount is a withdrawal."""
        self.admit(amount_micro)
        self.house.flow(amount_micro)
        self.books[book].flow(amount_micro)

    def allocate(self, book: int, amount_micro: int) -> None:
        """Move cash from the unallocated book to an agent's book; a negative amount moves it back."""
        self.admit(amount_micro)
        self.books[-1].flow(-amount_micro)
        self.books[book].flow(amount_micro)

    def transfer(self, amounts_micro: Sequence[int]) -> None:
        """Move cash between books; `amounts_micro` is indexed by book and adds up to 0. The account as a whole does
        not change. Each amount counts as a flow of its book, not as profit. Raises ValueError when the sum is not 0."""
        if sum(amounts_micro):
            raise ValueError(f"a transfer between books adds up to {sum(amounts_micro)} micro, not to 0")
        self.admit(*amounts_micro)
        for book, amount in zip(self.books, amounts_micro, strict=False):
            book.flow(amount)

    def hand_over(self, source: int, target: int, cash_micro: int, lots: Sequence[tuple[int, int, int]]) -> None:
        """Move cash, and lots (column, signed lots, value in micro-currency) in kind, from book `source` to book
        `target`.

        The account as a whole does not change. Each of the two books records a flow of the value and a trade at that
        value.
        """
        # raises LedgerFull before anything is booked; a value counts twice, as a flow and as a trade
        self.admit(cash_micro, *(2 * value for _, _, value in lots), *(signed_lots for _, signed_lots, _ in lots))
        giver, taker = self.books[source], self.books[target]
        for column, signed_lots, value in lots:
            giver.flow(-value)
            giver.trade(column, -signed_lots, value)
            taker.flow(value)
            taker.trade(column, signed_lots, -value)
        giver.flow(-cash_micro)
        taker.flow(cash_micro)

    def cross(self, symbol: int, price_nano: int, shares: Sequence[Share]) -> None:
        """Trade lots between books at one price without a fee. `shares` are (book, signed lots), whose lots add up to
        0. The account as a whole does not change."""
        unit = self._lot_nano[symbol] * price_nano
        amounts = with_remainder(0, [round_micro(-lots * unit)[0] for _, lots in shares[:-1]])
        self.admit(*amounts, *(lots for _, lots in shares))
        for (book, lots), amount in zip(shares, amounts, strict=True):
            self.books[book].trade(symbol, lots, amount)

    def dividend(self, symbol: int, cash_nano: int) -> Posted:
        """Pay a dividend of `cash_nano` nano-currency per unit to holders of long positions, and charge it to holders
        of short ones."""
        amount, residue, parts = self._per_unit(symbol, cash_nano)
        self.house.receive(amount)
        self.house.lose(residue)  # what is below one micro, in atto-currency
        for book, part in parts:
            self.books[book].receive(part)
        return amount, parts

    def _per_unit(self, symbol: int, cash_nano: int) -> tuple[int, int, list[Share]]:
        """Return the parts of a payment of cash per unit: the account's cash in micro-currency, its rounding residue
        in atto-currency, and (book, cash) of each holder."""
        unit = self._lot_nano[symbol] * cash_nano
        amount, residue = round_micro(self.house.held[symbol] * unit)
        holders = self._holders(symbol)
        parts = with_remainder(amount, [round_micro(self.books[book].held[symbol] * unit)[0] for book in holders[:-1]])
        self.admit(amount, *parts)
        return amount, residue, list(zip(holders, parts, strict=False))

    def _holders(self, symbol: int) -> list[int]:
        return [number for number in self._numbers if self.books[number].held[symbol]]

    def income(self, amount_micro: int, parts: Sequence[Share]) -> list[Share]:
        """Share a payment of the venue (negative: a charge) among `parts`, (book, weight), in proportion to weight,
        rounded down; return (book, cash) of each. The last book takes the remainder. Without parts, or with weights
        that add up to 0, the unallocated book takes the whole amount, and the result is empty."""
        total = sum(weight for _, weight in parts)
        if not total:
            parts = ()
        amounts = with_remainder(amount_micro, [amount_micro * weight // total for _, weight in parts[:-1]])
        self.admit(amount_micro, *amounts)  # raises LedgerFull before anything is booked
        self.house.receive(amount_micro)
        # -1 is the unallocated book
        for (book, _), amount in zip(parts or [(-1, 0)], amounts, strict=True):
            self.books[book].receive(amount)
        return [(self._numbers[book], amount) for (book, _), amount in zip(parts, amounts, strict=False)]

    def in_kind(self, symbol: int, lots: int, value_micro: int, book: int) -> None:
        """Book signed lots that arrived without a trade (negative: left) in `book`: as a flow of their value and a
        trade at that value."""
        self.admit(2 * value_micro, lots)
        for account in (self.house, self.books[book]):
            account.flow(value_micro)
            account.trade(symbol, lots, -value_micro)

    def split(self, symbol: int, numerator: int, denominator: int, price_nano: int) -> Posted:
        """Replace `denominator` old shares by `numerator` new ones.

        Fractions of a lot become cash at `price_nano`, the price after the split. A book that takes a missing lot
        (`split_lots`) pays for it. The cost of the position does not change.
        """
        unit = self._lot_nano[symbol] * price_nano
        scale = denominator * ATTO_PER_MICRO
        holders = self._holders(symbol)
        old_lots = [self.books[book].held[symbol] for book in holders]
        new_lots = split_lots(old_lots, numerator, denominator)
        old_house_lots, new_house_lots = sum(old_lots), sum(new_lots)
        amount = divide_half_even((old_house_lots * numerator - new_house_lots * denominator) * unit, scale)
        # of all holders but the last, which takes the remainder
        book_amounts = [
            divide_half_even((old * numerator - new * denominator) * unit, scale)
            for old, new in zip(old_lots[:-1], new_lots, strict=False)
        ]
        self.admit(new_house_lots, *new_lots, amount, *book_amounts)  # raises LedgerFull before anything is booked
        self.house.rescale(symbol, new_house_lots, amount)
        parts = list(zip(holders, with_remainder(amount, book_amounts), strict=False))
        for (book, lieu_micro), lots in zip(parts, new_lots, strict=True):
            self.books[book].rescale(symbol, lots, lieu_micro)
        return amount, parts

    def delist(self, symbol: int, cash_nano: int) -> Posted:
        """Convert every unit into `cash_nano` of cash, which holders of short positions pay. The amount is rounded once
        for the account, then for each book; the last book takes the remainder.
        """
        amount, _, parts = self._per_unit(symbol, cash_nano)
        self.house.rescale(symbol, 0, amount)
        for book, cash_micro in parts:
            self.books[book].rescale(symbol, 0, cash_micro)
        return amount, parts

    def borrow(self, values_nano: Sequence[int], bp_annual: float, days: int) -> Posted:
        """Charge a borrow fee on the account's short lots; the amount is 0 or less.

        `bp_annual` is the yearly rate in basis points, `values_nano` the prices by column, `days` the calendar days.
        The rate is read as its decimal text, so that 0.1 is exactly one tenth. The fee is rounded once per column.
        Books with short lots share it in proportion to these lots, rounded down; the last book takes the remainder.
        """
        rate = rate_of_bp(bp_annual)
        charged = 0
        charges = dict.fromkeys(self._numbers, 0)
        for column, house_lots in enumerate(self.house.lots):
            if house_lots >= 0:
                continue
            fee = borrow_micro(house_lots * self._lot_nano[column] * values_nano[column], rate, days)
            short_books = [number for number in self._numbers if self.books[number].held[column] < 0]
            short_lots = [self.books[number].held[column] for number in short_books]
            total = sum(short_lots)
            book_fees = with_remainder(fee, [fee * lots // total for lots in short_lots[:-1]])
            for number, book_fee in zip(short_books, book_fees, strict=True):
                charges[number] += book_fee
            charged += fee
        self.admit(charged)  # raises LedgerFull before anything is booked
        parts = [(number, -charge) for number, charge in charges.items() if charge]
        for number, part in parts:
            self.books[number].receive(part)
        self.house.receive(-charged)
        return -charged, parts

    def interest(self, balances_micro: Sequence[int], rate_annual: int, days: int) -> Posted:
        """Pay interest on `balances_micro`, each book's cash, for `days` calendar days.

        `rate_annual` is an integer with RATE_ONE as 100 %. Negative cash is charged the same rate. Interest is rounded
        once for the account, then for each book with cash; the last book takes the remainder.
        """
        paid = interest_micro(sum(balances_micro), rate_annual, days)
        holders = [number for number in self._numbers if balances_micro[number]]
        book_interest = with_remainder(
            paid, [interest_micro(balances_micro[number], rate_annual, days) for number in holders[:-1]]
        )
        self.admit(paid, *book_interest)  # raises LedgerFull before anything is booked
        parts = list(zip(holders, book_interest, strict=False))
        for number, part in parts:
            self.books[number].receive(part)
        self.house.receive(paid)
        return paid, parts

    def check(self) -> None:
        """Verify that the books add up to the account. Raises LedgerBroken with the differing field and the
        difference."""
        house, books = self.house, self.books
        for what in ("cash_micro", "fees_micro", "flows_micro", "income_micro"):
            difference = sum(getattr(book, what) for book in books) - getattr(house, what)
            if difference:
                raise LedgerBroken(f"{what} of the books differ from the house's by {difference}")
        for column, house_lots in enumerate(house.lots):
            difference = sum(book.held[column] for book in books) - house_lots
            if difference:
                raise LedgerBroken(f"lots of column {column} in the books differ from the house's by {difference}")
        for name, account in zip(("house", *self.names), (house, *books), strict=True):
            difference = account.unexplained_micro()
            if difference:
                raise LedgerBroken(f"cash of {name} differs from what its entries explain by {difference} micro")

    def cells(self) -> Ints:
        """Return int64[1 + books, 2 N + 7]: N lots, N costs and 7 amounts of the whole account, then of each
        book.
        """
        return np.array([cells_of(book) for book in (self.house, *self.books)])

    def restore(self, cells: Ints) -> None:
        """Set all books to the values in `cells`; `room`, how much amounts may still grow, does not change.

        Raises ValueError for another number of columns.
        """
        for book, row in zip((self.house, *self.books), cells, strict=True):
            restore(book, row)

    def freeze(self) -> dict[str, object]:
        """Return the whole ledger as plain text and bytes."""
        plain: dict[str, object] = msgspec.to_builtins(
            FrozenLedger(self.names, cells=self.cells().tobytes()), builtin_types=(bytes,)
        )
        return plain

    def thaw(self, plain: dict[str, object]) -> None:
        """Restore a ledger written by `freeze`. Raises ValueError if its books or columns differ from this ledger's,
        and LedgerFull for amounts beyond MOST."""
        frozen = msgspec.convert(plain, FrozenLedger)
        if frozen.names != self.names:
            raise ValueError(f"the snapshot has the books {frozen.names}, this ledger {self.names}")
        rows, size = frozen.rows(), self.house.size
        # a row has a book's lots by column, its costs by column, then the single amounts
        if rows.shape[1] != 2 * size + len(AMOUNTS):
            columns = (rows.shape[1] - len(AMOUNTS)) // 2
            raise ValueError(f"the snapshot has {columns} columns, this ledger {size}")
        self.restore(rows)
        self.measure()
