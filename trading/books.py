"""The exact ledger: a house account and one virtual book per agent.

The books always add up to the house account. Agents share fills of common orders and cross trades with each other.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.execution import (
    borrow_micro,
    divide_half_even,
    interest_micro,
    rate_of_bp,
    ratio,
    round_micro,
    truncate,
    with_remainder,
)
from quantd.trading.instruments import ATTO_PER_MICRO
from quantd.trading.jit import inner
from quantd.trading.kernel import SINGLE, Account, FrozenAccount, Postings, Share

Row = NDArray[np.int64] | list[int]
"""int64[A], or Python integers, which have no bound."""


class LedgerBroken(Exception):
    """The books do not add up to the house account, or an account's cash is unexplained. This is a bug."""


class FrozenLedger(Struct, frozen=True):
    """A ledger as plain serialisable values. `cells` are the accounts of `quantd.trading.kernel.ROW`, little-endian.
    A ledger written before that has `house` and `books` in its place."""

    names: list[str]
    house: FrozenAccount | None = None
    books: list[FrozenAccount] = []
    cells: bytes = b""

    def accounts(self) -> list[FrozenAccount]:
        """The house's account, the agents' in order, the unallocated one."""
        if self.house is not None:
            return [self.house, *self.books]
        rows = np.frombuffer(self.cells, dtype=np.int64).reshape(len(self.names) + 1, -1)
        return [Account((rows.shape[1] - SINGLE) // 2, row).freeze() for row in rows]


class Ledger(Postings):
    """The house account, one book per agent in order, then the unallocated book.

    Lots, cash and fees of the books always add up exactly to those of the house. Cost and profit belong to each account
    separately. A cash amount is rounded once, for the house. Each book's part is rounded too, and the last affected
    book takes the remainder. Commissions, borrow fees, interest and cash in lieu are whole micro by definition.
    Notionals and dividends are exact in atto; `house.residue_atto` accumulates their rounding differences.
    """

    def deposit(self, amount_micro: int, book: int = -1) -> None:
        """Deposit outside cash into a book; a negative amount is a withdrawal."""
        self.admit(amount_micro)
        self.house.flow(amount_micro)
        self.books[book].flow(amount_micro)

    def allocate(self, book: int, amount_micro: int) -> None:
        """Move cash from the unallocated book to an agent's book; a negative amount moves it back."""
        self.admit(amount_micro)
        self.books[-1].flow(-amount_micro)
        self.books[book].flow(amount_micro)

    def transfer(self, amounts_micro: Sequence[int]) -> None:
        """Move cash between books; `amounts_micro` is indexed by book and adds up to 0. The house account does not
        change. Each amount is a flow of its book, not profit. Raises ValueError when the sum is not 0."""
        if sum(amounts_micro):
            raise ValueError(f"a transfer between books adds up to {sum(amounts_micro)} micro, not to 0")
        self.admit(*amounts_micro)
        for book, amount in zip(self.books, amounts_micro, strict=False):
            book.flow(amount)

    def hand_over(self, source: int, target: int, cash_micro: int, lots: Sequence[tuple[int, int, int]]) -> None:
        """Move cash, and lots (column, signed lots, value in micro) in kind, from one book to another. The house
        account does not change. Each book books a flow of the value and a trade at it."""
        self.admit(cash_micro, *(2 * value for _, _, value in lots), *(own for _, own, _ in lots))
        giver, taker = self.books[source], self.books[target]
        for column, own, value in lots:
            giver.flow(-value)
            giver.trade([(column, -own, value)])
            taker.flow(value)
            taker.trade([(column, own, -value)])
        giver.flow(-cash_micro)
        taker.flow(cash_micro)

    def cross(self, symbol: int, price_nano: int, shares: Sequence[Share]) -> None:
        """Trade lots between books at one price without a fee; the (book, signed lots) add up to 0. The house account
        does not change."""
        unit = self._lot_nano[symbol] * price_nano
        amounts = with_remainder(0, [round_micro(-lots * unit)[0] for _, lots in shares[:-1]])
        self.admit(*amounts, *(lots for _, lots in shares))
        for (book, lots), amount in zip(shares, amounts, strict=True):
            self.books[book].trade([(symbol, lots, amount)])

    def dividend(self, symbol: int, cash_nano: int) -> int:
        """Pay `cash_nano` per unit to long holders and charge it to short holders. Returns the change of house cash in
        micro."""
        amount, residue, parts = self._per_unit(symbol, cash_nano)
        self.house.receive(amount)
        self.house.residue_atto += residue
        for book, own in parts:
            book.receive(own)
        return amount

    def _per_unit(self, symbol: int, cash_nano: int) -> tuple[int, int, list[tuple[Account, int]]]:
        """Return (house cash in micro, its rounding residue in atto, (book, cash) of each holder) for cash per unit."""
        unit = self._lot_nano[symbol] * cash_nano
        amount, residue = round_micro(self.house.held(symbol) * unit)
        holders = [book for book in self.books if book.held(symbol)]
        parts = with_remainder(amount, [round_micro(book.held(symbol) * unit)[0] for book in holders[:-1]])
        self.admit(amount, *parts)
        return amount, residue, list(zip(holders, parts, strict=False))

    def income(self, amount_micro: int, parts: Sequence[Share]) -> None:
        """Share a venue payment (negative: a charge) among (book, weight) in proportion, rounded down. The last book
        takes the remainder. Without parts, or with weights that add up to 0, the unallocated book takes the whole
        amount."""
        total = sum(weight for _, weight in parts)
        if not total:
            parts = ()
        amounts = with_remainder(amount_micro, [amount_micro * weight // total for _, weight in parts[:-1]])
        self.admit(amount_micro, *amounts)
        self.house.receive(amount_micro)
        for (book, _), own in zip(parts or [(-1, 0)], amounts, strict=True):
            self.books[book].receive(own)

    def in_kind(self, symbol: int, lots: int, value_micro: int, book: int) -> None:
        """Book lots that arrived (or left, negative) without a trade, as a flow of their value and a trade at it."""
        self.admit(2 * value_micro, lots)
        for account in (self.house, self.books[book]):
            account.flow(value_micro)
            account.trade([(symbol, lots, -value_micro)])

    def split(self, symbol: int, numerator: int, denominator: int, price_nano: int) -> int:
        """Replace `denominator` old shares by `numerator` new ones. Returns the change of house cash in micro.

        Fractions of a lot become cash at `price_nano`, the price after the split. The lots of the house and of each
        book are truncated towards zero. Lots missing from the books' sum go to the books with the largest fractions,
        which pay for them. Average cost keeps the whole cost.
        """
        before = self.house.held(symbol)
        after = truncate(before, numerator, denominator)
        unit = self._lot_nano[symbol] * price_nano
        scale = denominator * ATTO_PER_MICRO
        holders = [book for book in self.books if book.held(symbol)]
        new = [truncate(book.held(symbol), numerator, denominator) for book in holders]
        missing = after - sum(new)
        if missing:
            sign = 1 if missing > 0 else -1
            # Fractions in units of 1 / denominator; those on the side of the missing lots come first.
            fraction = [book.held(symbol) * numerator - n * denominator for book, n in zip(holders, new, strict=True)]
            for k in sorted(range(len(new)), key=lambda k: -sign * fraction[k])[: abs(missing)]:
                new[k] += sign
        amount = divide_half_even((before * numerator - after * denominator) * unit, scale)
        parts = [
            divide_half_even((book.held(symbol) * numerator - lots * denominator) * unit, scale)
            for book, lots in zip(holders[:-1], new, strict=False)
        ]
        self.admit(after, *new, amount, *parts)
        self.house.rescale(symbol, after, amount)
        for book, lots, own in zip(holders, new, with_remainder(amount, parts), strict=False):
            book.rescale(symbol, lots, own)
        return amount

    def delist(self, symbol: int, cash_nano: int) -> int:
        """Convert every unit into `cash_nano` of cash, paid by short holders. Returns the change of house cash.
        Rounding follows cash in lieu: once for the house, and the last book takes the remainder."""
        amount, _, parts = self._per_unit(symbol, cash_nano)
        for account, own in ((self.house, amount), *parts):
            account.rescale(symbol, 0, own)
        return amount

    def borrow(self, values_nano: Sequence[int], bp_annual: float, days: int) -> int:
        """Charge a borrow fee on the house's short lots. Returns the change of house cash in micro, 0 or less.

        `bp_annual` is the yearly rate, `values_nano` the prices by column, `days` the calendar days. The rate is exact
        as its decimal text (see `rate_of_bp`). The fee is rounded once per column. Books with short lots share it in
        proportion to those lots, rounded down; the last takes the remainder.
        """
        rate = rate_of_bp(bp_annual)
        charged = 0
        charges: list[tuple[Account, int]] = []
        for column, held in enumerate(self.house.lots):
            if held >= 0:
                continue
            fee = borrow_micro(held * self._lot_nano[column] * values_nano[column], rate, days)
            short = [book for book in self.books if book.held(column) < 0]
            total = sum(book.held(column) for book in short)
            parts = with_remainder(fee, [fee * book.held(column) // total for book in short[:-1]])
            charges += zip(short, parts, strict=True)
            charged += fee
        self.admit(charged)
        for book, own in charges:
            book.receive(-own)
        self.house.receive(-charged)
        return -charged

    def interest(self, balances_micro: Sequence[int], rate_annual: int, days: int) -> int:
        """Pay interest on each book's cash for `days` calendar days. Returns the change of house cash in micro.

        `rate_annual` is an integer with RATE_ONE as 100 %. Negative cash is charged the same rate. Interest is rounded
        once for the house, then for each book with cash; the last takes the remainder.
        """
        paid = interest_micro(sum(balances_micro), rate_annual, days)
        holders = [(book, cash) for book, cash in zip(self.books, balances_micro, strict=True) if cash]
        parts = with_remainder(paid, [interest_micro(cash, rate_annual, days) for _, cash in holders[:-1]])
        self.admit(paid, *parts)
        for (book, _), own in zip(holders, parts, strict=False):
            book.receive(own)
        self.house.receive(paid)
        return paid

    def check(self) -> None:
        """Verify that the books add up to the house. Raises LedgerBroken with the differing field and the
        difference."""
        house, books = self.house, self.books
        for what in ("cash_micro", "fees_micro", "flows_micro", "income_micro"):
            difference = sum(getattr(book, what) for book in books) - getattr(house, what)
            if difference:
                raise LedgerBroken(f"{what} of the books differ from the house's by {difference}")
        for column, held in enumerate(house.lots):
            difference = sum(book.held(column) for book in books) - held
            if difference:
                raise LedgerBroken(f"lots of column {column} in the books differ from the house's by {difference}")
        for name, account in zip(("house", *self.names), (house, *books), strict=True):
            difference = account.unexplained_micro()
            if difference:
                raise LedgerBroken(f"cash of {name} differs from what its entries explain by {difference} micro")

    def freeze(self) -> dict[str, object]:
        """Return the whole ledger as plain text and bytes."""
        plain: dict[str, object] = msgspec.to_builtins(
            FrozenLedger(self.names, cells=self.cells.tobytes()), builtin_types=(bytes,)
        )
        return plain

    def thaw(self, plain: dict[str, object]) -> None:
        """Restore a ledger written by `freeze`. Raises ValueError when its books or columns differ from this
        ledger's, and LedgerFull."""
        frozen = msgspec.convert(plain, FrozenLedger)
        if frozen.names != self.names:
            raise ValueError(f"the snapshot has the books {frozen.names}, this ledger {self.names}")
        accounts = frozen.accounts()
        if len(accounts[0].lots) != len(self.house.lots):
            raise ValueError(f"the snapshot has {len(accounts[0].lots)} columns, this ledger {len(self.house.lots)}")
        for own, account in zip((self.house, *self.books), accounts, strict=True):
            own.thaw(account)
        self.admit()


@inner
def share_lots(lots: int, weights: Row, parts: Row) -> None:
    """Split unsigned `lots` in proportion to unsigned `weights`, which do not add up to 0; writes `parts`.

    Leftover lots go to the largest fractions, ties in order. The fractions replace the weights.
    """
    whole, over = 0, lots
    for weight in weights:
        whole += weight
    for k in range(len(weights)):
        parts[k], weights[k] = ratio(lots, weights[k], 1, whole)
        over -= parts[k]
    for _ in range(over):
        first = 0
        for k in range(1, len(weights)):
            if weights[k] > weights[first]:
                first = k
        parts[first] += 1
        weights[first] = -1


@inner
def cross_lots(wanted: Row, weights: Row, surviving: Row) -> int:
    """Cross the lots that agents want in one symbol; writes those that survive, and returns their sum.

    Survivors are all on one side. They share the net lots in proportion to the wanted lots of that side. `weights` is
    scratch.
    """
    bought = sold = 0
    for k in range(len(wanted)):
        surviving[k] = wanted[k]
        if wanted[k] > 0:
            bought += wanted[k]
        else:
            sold -= wanted[k]
    if bought > 0 and sold > 0:
        side = 1 if bought >= sold else -1
        for k in range(len(wanted)):
            weights[k] = max(side * wanted[k], 0)
        share_lots(abs(bought - sold), weights, surviving)
        for k in range(len(wanted)):
            surviving[k] *= side
    return bought - sold


def share(lots: int, remaining: Sequence[Share]) -> list[Share]:
    """Split unsigned `lots` among agents in proportion to their unsigned remaining lots, as `share_lots` does.

    `remaining` lists (agent, remaining lots). Agents with a share of zero are omitted. No share exceeds its remaining
    lots unless `lots` exceeds their sum.
    """
    if len(remaining) == 1:
        return [(remaining[0][0], lots)] if lots else []
    parts = [0] * len(remaining)
    share_lots(lots, [left for _, left in remaining], parts)
    return [(agent, part) for (agent, _), part in zip(remaining, parts, strict=True) if part]


def fee_parts(fee_micro: int, lots: int, shares: Sequence[Share]) -> list[int]:
    """Return each share's part of a fill's fee, as `Ledger.fills` books it. Parts are proportional and rounded down;
    the last share takes the remainder. `lots` and the shares have the same sign."""
    return with_remainder(fee_micro, [fee_micro * part // lots for _, part in shares[:-1]])


def net(wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cross the agents' requested trades: int64[A, N] signed lots -> (crossed, surviving), same shape.

    crossed + surviving = wanted, and crossed adds up to 0 in each column, as `cross_lots` does. Where nothing crosses,
    `surviving` is `wanted` itself.
    """
    both = np.flatnonzero((wanted > 0).any(axis=0) & (wanted < 0).any(axis=0))
    if not both.size:
        return np.zeros_like(wanted), wanted
    surviving = wanted.copy()
    for k in both.tolist():
        own = [0] * len(wanted)
        cross_lots(wanted[:, k].tolist(), [0] * len(wanted), own)
        surviving[:, k] = own
    return wanted - surviving, surviving
