"""The exact ledger: a house account, a virtual book for each agent that adds up to it, and how agents share
fills and cross with each other."""

from collections.abc import Sequence
from math import gcd
from operator import mul
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.execution import borrow_micro, divide_half_even, interest_micro, rate_of_bp, round_micro, truncate
from quantd.trading.instruments import ATTO_PER_MICRO, Universe
from quantd.trading.portfolio import Account, FrozenAccount

UNALLOCATED: Final = "unallocated"

Share = tuple[int, int]
"""(book, lots)."""

_INT64_SAFE: Final = 2**31
"""Products of lots below this fit int64; above it netting counts in Python ints."""


class LedgerBroken(Exception):
    """The books do not add up to the house, or an account's cash is not explained: a bug."""


class FrozenLedger(Struct, frozen=True):
    """A ledger as plain values."""

    names: list[str]
    house: FrozenAccount
    books: list[FrozenAccount]


def share(lots: int, remaining: Sequence[Share]) -> list[Share]:
    """Split `lots` (unsigned) among (agent, remaining lots, unsigned) in proportion to what remains.

    Leftover lots go to the largest fractions, ties in the order given; nobody with nothing is listed. No share
    is above what remained unless `lots` is above their sum.
    """
    if len(remaining) == 1:
        return [(remaining[0][0], lots)] if lots else []
    total = sum(left for _, left in remaining)
    whole, fraction = [], []
    for _, left in remaining:
        quotient, rest = divmod(lots * left, total)
        whole.append(quotient)
        fraction.append(rest)
    over = lots - sum(whole)
    if over:
        for k in sorted(range(len(whole)), key=lambda k: -fraction[k])[:over]:
            whole[k] += 1
    return [(agent, part) for (agent, _), part in zip(remaining, whole, strict=True) if part]


def fee_parts(fee_micro: int, lots: int, shares: Sequence[Share]) -> list[int]:
    """Each share's part of a fill's fee, as `Ledger.fills` books it: in proportion, rounded down, the last takes the
    rest. `lots` and the shares are signed alike."""
    parts = [fee_micro * part // lots for _, part in shares[:-1]]
    return [*parts, fee_micro - sum(parts)]


def net(wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cross what agents want against each other: int64[A, N] signed lots -> (crossed, surviving), same shape.

    crossed + surviving = wanted, crossed adds up to 0 in each column, and survivors of a column are all on one
    side, sharing what is left of their side in proportion to what they wanted (see `share`). Where nothing
    crosses, `surviving` is `wanted` itself.
    """
    if len(wanted) > 1:
        buys, sells = np.maximum(wanted, 0), np.maximum(-wanted, 0)
        bought, sold = buys.sum(axis=0), sells.sum(axis=0)
        both = np.flatnonzero(np.minimum(bought, sold))
        if both.size:
            return _crossed(wanted, both, buys, sells, bought, sold)
    return np.zeros_like(wanted), wanted


def _crossed(
    wanted: NDArray[np.int64],
    both: NDArray[np.intp],
    buys: NDArray[np.int64],
    sells: NDArray[np.int64],
    bought: NDArray[np.int64],
    sold: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    bought, sold = bought[both], sold[both]
    side = np.where(bought >= sold, buys[:, both], sells[:, both])
    total, left = np.maximum(bought, sold), np.abs(bought - sold)
    if total.max() < _INT64_SAFE:
        whole, fraction = np.divmod(side * left, total)
        over = left - whole.sum(axis=0)
        order = np.argsort(-fraction, axis=0, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(len(side))[:, None], axis=0)
        whole += rank < over
    else:
        whole = np.zeros_like(side)
        for k, (lots, column) in enumerate(zip(left.tolist(), side.T.tolist(), strict=True)):
            for agent, part in share(lots, list(enumerate(column))):
                whole[agent, k] = part
    surviving = wanted.copy()
    surviving[:, both] = np.where(bought >= sold, whole, -whole)
    return wanted - surviving, surviving


def _micro_ratio(lot_nano: int) -> tuple[int, int, int]:
    """Lots x price_nano to micro in lowest terms: (numerator, denominator, atto in a unit of the remainder).

    The same numbers as by atto, but small ones: whole shares at whole cents leave no remainder at all.
    """
    atto = gcd(lot_nano, ATTO_PER_MICRO)
    return lot_nano // atto, ATTO_PER_MICRO // atto, atto


def _only_book(shares: Sequence[Sequence[Share]]) -> int | None:
    """The book that all rows belong to whole, if there is one."""
    only = shares[0][0][0] if shares else -1
    for row in shares:
        if len(row) > 1 or row[0][0] != only:
            return None
    return only


class Ledger:
    """The house's account and one book for each agent, in order, then the unallocated book.

    Lots, cash and fees of the books add up to the house's to the unit, always; cost and profit are each
    account's own. A cash amount is rounded once, for the house; each book's part is rounded too and the last
    book concerned takes the rest. Commissions, borrow fees, interest and cash in lieu are whole micro by definition;
    notionals and dividends are exact in atto, and `house.residue_atto` keeps what their rounding left.
    """

    def __init__(self, universe: Universe, agents: Sequence[str]) -> None:
        self.names = [*agents, UNALLOCATED]
        self.house = Account(universe.size)
        self.books = [Account(universe.size) for _ in self.names]
        self._lot_nano = universe.lot_nano
        self._micro = [_micro_ratio(size) for size in universe.lot_nano]
        sizes = set(universe.lot_nano)
        self._one_size = sizes.pop() if len(sizes) == 1 else 0

    def deposit(self, amount_micro: int, book: int = -1) -> None:
        """Money from outside into a book; negative withdraws."""
        self.house.flow(amount_micro)
        self.books[book].flow(amount_micro)

    def allocate(self, book: int, amount_micro: int) -> None:
        """Move cash from the unallocated book to an agent's; negative moves it back."""
        self.books[-1].flow(-amount_micro)
        self.books[book].flow(amount_micro)

    def transfer(self, amounts_micro: Sequence[int]) -> None:
        """Move cash between books, by book: what leaves (negative) and what comes adds up to 0, and the house does not
        notice. A flow of each book: no profit. ValueError when it does not add up."""
        if sum(amounts_micro):
            raise ValueError(f"a transfer between books adds up to {sum(amounts_micro)} micro, not to 0")
        for book, amount in zip(self.books, amounts_micro, strict=False):
            book.flow(amount)

    def fills(
        self,
        sym: Sequence[int],
        lots: Sequence[int],
        price_nano: Sequence[int],
        fee_micro: Sequence[int],
        shares: Sequence[Sequence[Share]],
    ) -> None:
        """Post fills, row by row: signed lots and, for each row, the (book, signed lots) that add up to them.

        A fee is shared in proportion, rounded down; the last book of the row takes the rest.
        """
        ratios = self._micro
        amounts: list[int] = []
        residue = 0
        for column, size, price in zip(sym, lots, price_nano, strict=True):
            numerator, denominator, atto = ratios[column]
            amount, rest = divmod(-size * price * numerator, denominator)
            if rest:
                if 2 * rest > denominator or (2 * rest == denominator and amount & 1):
                    amount += 1
                    rest -= denominator
                residue += rest * atto
            amounts.append(amount)
        house = self.house
        house.trade(zip(sym, lots, amounts, strict=True))
        house.residue_atto += residue
        fees = sum(fee_micro)
        house.pay(fees)
        book = _only_book(shares)
        if book is None:
            self._shared_fills(sym, lots, price_nano, fee_micro, amounts, shares)
        else:
            self.books[book].trade(zip(sym, lots, amounts, strict=True))
            self.books[book].pay(fees)

    def _shared_fills(
        self,
        sym: Sequence[int],
        lots: Sequence[int],
        price_nano: Sequence[int],
        fee_micro: Sequence[int],
        amounts_micro: Sequence[int],
        shares: Sequence[Sequence[Share]],
    ) -> None:
        """The books' parts of fills whose house amounts are known: each to the nearest micro, the last the rest."""
        ratios = self._micro
        parts: list[list[tuple[int, int, int]]] = [[] for _ in self.books]
        fees = [0] * len(parts)
        for column, size, price, fee, left, row in zip(
            sym, lots, price_nano, fee_micro, amounts_micro, shares, strict=True
        ):
            numerator, denominator, _ = ratios[column]
            unit, half, whole_fee = price * numerator, denominator // 2, fee
            for book, change in row[:-1]:
                amount = (half - change * unit) // denominator
                left -= amount
                parts[book].append((column, change, amount))
                if whole_fee:
                    amount = whole_fee * change // size
                    fee -= amount
                    fees[book] += amount
            book, change = row[-1]
            parts[book].append((column, change, left))
            fees[book] += fee
        for account, trades, paid in zip(self.books, parts, fees, strict=True):
            account.trade(trades)
            account.pay(paid)

    def cross(self, symbol: int, price_nano: int, shares: Sequence[Share]) -> None:
        """Lots change hands between books at one price, without a fee; (book, signed lots) add up to 0. The
        house does not notice."""
        unit = self._lot_nano[symbol] * price_nano
        left = 0
        for book, lots in shares[:-1]:
            amount, _ = round_micro(-lots * unit)
            left -= amount
            self.books[book].trade([(symbol, lots, amount)])
        book, lots = shares[-1]
        self.books[book].trade([(symbol, lots, left)])

    def dividend(self, symbol: int, cash_nano: int) -> int:
        """Longs receive and shorts pay `cash_nano` for each unit held; gives the change of the house's cash."""
        unit = self._lot_nano[symbol] * cash_nano
        amount, residue = round_micro(self.house.lots[symbol] * unit)
        self.house.receive(amount)
        self.house.residue_atto += residue
        holders = [book for book in self.books if book.lots[symbol]]
        left = amount
        for book in holders[:-1]:
            own, _ = round_micro(book.lots[symbol] * unit)
            book.receive(own)
            left -= own
        for book in holders[-1:]:
            book.receive(left)
        return amount

    def income(self, amount_micro: int, parts: Sequence[Share]) -> None:
        """What a venue pays (or charges, negative), to (book, weight) in proportion, rounded down; the last takes the
        rest. Without parts it is the unallocated book's."""
        self.house.receive(amount_micro)
        total, left = sum(weight for _, weight in parts), amount_micro
        for book, weight in parts[:-1]:
            own = amount_micro * weight // total
            self.books[book].receive(own)
            left -= own
        self.books[parts[-1][0] if parts else -1].receive(left)

    def in_kind(self, symbol: int, lots: int, value_micro: int, book: int) -> None:
        """Lots that came (or went, negative) without a trade: a flow of their value, and a trade at it."""
        for account in (self.house, self.books[book]):
            account.flow(value_micro)
            account.trade([(symbol, lots, -value_micro)])

    def split(self, symbol: int, numerator: int, denominator: int, price_nano: int) -> int:
        """`numerator` new shares for `denominator` old; fractions of a lot become cash at `price_nano`, the price
        after the split. Gives the change of the house's cash.

        The house's lots are floored towards zero, each book's too; lots missing from their sum go to the books
        with the largest fractions, which pay for what they got. Average cost keeps the whole cost.
        """
        before = self.house.lots[symbol]
        after = truncate(before, numerator, denominator)
        unit = self._lot_nano[symbol] * price_nano
        scale = denominator * ATTO_PER_MICRO
        holders = [book for book in self.books if book.lots[symbol]]
        new = [truncate(book.lots[symbol], numerator, denominator) for book in holders]
        missing = after - sum(new)
        if missing:
            sign = 1 if missing > 0 else -1
            # fractions in units of 1 / denominator, those on the side of what is missing first
            fraction = [book.lots[symbol] * numerator - n * denominator for book, n in zip(holders, new, strict=True)]
            for k in sorted(range(len(new)), key=lambda k: -sign * fraction[k])[: abs(missing)]:
                new[k] += sign
        amount = left = divide_half_even((before * numerator - after * denominator) * unit, scale)
        self.house.rescale(symbol, after, amount)
        last = len(holders) - 1
        for k, (book, lots) in enumerate(zip(holders, new, strict=True)):
            own = left
            if k < last:
                own = divide_half_even((book.lots[symbol] * numerator - lots * denominator) * unit, scale)
            left -= own
            book.rescale(symbol, lots, own)
        return amount

    def delist(self, symbol: int, cash_nano: int) -> int:
        """Every unit becomes `cash_nano` in cash, paid by who is short; gives the change of the house's cash. Rounded as cash
        in lieu is: once for the house, the last book takes the rest."""
        unit = self._lot_nano[symbol] * cash_nano
        amount = left = divide_half_even(self.house.lots[symbol] * unit, ATTO_PER_MICRO)
        holders = [book for book in self.books if book.lots[symbol]]
        self.house.rescale(symbol, 0, amount)
        for book in holders[:-1]:
            own = divide_half_even(book.lots[symbol] * unit, ATTO_PER_MICRO)
            left -= own
            book.rescale(symbol, 0, own)
        for book in holders[-1:]:
            book.rescale(symbol, 0, left)
        return amount

    def borrow(self, values_nano: Sequence[int], bp_annual: float, days: int) -> int:
        """Charge `bp_annual` on the house's short lots at `values_nano` (prices by column) for `days` calendar days;
        gives the change of the house's cash, 0 or less.

        The rate is exact as its decimal text (see `rate_of_bp`). Rounded once for each column; books short there
        share it in proportion to their short lots, rounded down, the last takes the rest.
        """
        rate = rate_of_bp(bp_annual)
        charged = 0
        for column, held in enumerate(self.house.lots):
            if held >= 0:
                continue
            fee = borrow_micro(held * self._lot_nano[column] * values_nano[column], rate, days)
            short = [book for book in self.books if book.lots[column] < 0]
            total = sum(book.lots[column] for book in short)
            left = fee
            for book in short[:-1]:
                own = fee * book.lots[column] // total
                book.receive(-own)
                left -= own
            short[-1].receive(-left)
            charged += fee
        self.house.receive(-charged)
        return -charged

    def interest(self, balances_micro: Sequence[int], rate_annual: int, days: int) -> int:
        """Pay `rate_annual` (RATE_ONE to the unit) on the cash that each book had, for `days` calendar days; cash below
        0 is charged the same rate. Gives the change of the house's cash.

        Rounded once for the house, then for each book that had cash; the last of them takes the rest.
        """
        paid = left = interest_micro(sum(balances_micro), rate_annual, days)
        holders = [(book, cash) for book, cash in zip(self.books, balances_micro, strict=True) if cash]
        for book, cash in holders[:-1]:
            own = interest_micro(cash, rate_annual, days)
            book.receive(own)
            left -= own
        for book, _ in holders[-1:]:
            book.receive(left)
        self.house.receive(paid)
        return paid

    def equity(self, price_nano: Sequence[int]) -> tuple[int, list[int]]:
        """(house, books: agents in order, then unallocated) in micro at marks in nano, by column.

        The house's is cash and exact value, rounded half-even once; the unallocated book takes the rest, so the
        books always add up. The residue is not counted. ValueError unless there is a mark for each column.
        """
        if len(price_nano) != len(self._lot_nano):
            raise ValueError(f"{len(price_nano)} marks for {len(self._lot_nano)} columns")
        one = self._one_size
        unit = price_nano if one else [size * price for size, price in zip(self._lot_nano, price_nano, strict=True)]
        scale = one or 1
        books = []
        house = self.house
        held = sum(map(mul, house.lots, unit)) * scale
        total = left = round_micro(house.cash_micro * ATTO_PER_MICRO + held)[0]
        for book in self.books[:-1]:
            # a lone agent holds what the house holds
            atto = held if book.lots == house.lots else sum(map(mul, book.lots, unit)) * scale
            own = round_micro(book.cash_micro * ATTO_PER_MICRO + atto)[0]
            books.append(own)
            left -= own
        books.append(left)
        return total, books

    def check(self) -> None:
        """Raise LedgerBroken, naming what differs and by how much, unless the books add up to the house."""
        house, books = self.house, self.books
        for what in ("cash_micro", "fees_micro", "flows_micro", "income_micro"):
            difference = sum(getattr(book, what) for book in books) - getattr(house, what)
            if difference:
                raise LedgerBroken(f"{what} of the books differ from the house's by {difference}")
        for column, held in enumerate(house.lots):
            difference = sum(book.lots[column] for book in books) - held
            if difference:
                raise LedgerBroken(f"lots of column {column} in the books differ from the house's by {difference}")
        for name, account in zip(("house", *self.names), (house, *books), strict=True):
            difference = account.unexplained_micro()
            if difference:
                raise LedgerBroken(f"cash of {name} differs from what its entries explain by {difference} micro")

    def freeze(self) -> dict[str, object]:
        """The whole ledger as plain ints, lists and text; msgpack takes amounts below 2**63 micro (9.2e12)."""
        frozen = FrozenLedger(self.names, self.house.freeze(), [book.freeze() for book in self.books])
        plain: dict[str, object] = msgspec.to_builtins(frozen)
        return plain

    def thaw(self, plain: dict[str, object]) -> None:
        """Become the ledger that `freeze` wrote. ValueError when its books or columns are not ours."""
        frozen = msgspec.convert(plain, FrozenLedger)
        if frozen.names != self.names:
            raise ValueError(f"the snapshot has the books {frozen.names}, this ledger {self.names}")
        if len(frozen.house.lots) != len(self.house.lots):
            raise ValueError(f"the snapshot has {len(frozen.house.lots)} columns, this ledger {len(self.house.lots)}")
        self.house.thaw(frozen.house)
        for book, account in zip(self.books, frozen.books, strict=True):
            book.thaw(account)
