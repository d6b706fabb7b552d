"""The accounts of the ledger as an array, and the kernels that post fills to them and value them, in exact integers.

All accounts are one int64 array: the house, the agents' books in order, the unallocated book. `ROW` documents the cells
of an account of N columns.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import mul
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.execution import MOST, Ints, lowest, portion, ratio, round_micro
from quantd.trading.instruments import ATTO_PER_MICRO, Universe
from quantd.trading.jit import Entry, inner

UNALLOCATED: Final = "unallocated"

Share = tuple[int, int]
"""(book, lots)."""


AMOUNTS: Final = ("cash_micro", "fees_micro", "flows_micro", "income_micro", "realised_micro")

ROW: Final = (
    ("lots", "N", "signed lots by column"),
    ("cost_micro", "N", "their cost at the average price by column, negative for a short (its proceeds)"),
    ("cash_micro", "1", "cash"),
    ("fees_micro", "1", "commissions paid"),
    ("flows_micro", "1", "deposits less withdrawals"),
    ("income_micro", "1", "dividends and interest less borrow fees"),
    ("realised_micro", "1", "profit on closed lots before fees"),
    ("residue_micro", "1", "rounding differences, in whole micro"),
    ("residue_atto", "1", "their remainder, 0 to 1e12 - 1"),
)
"""(name, number, meaning) of the int64 cells of an account, in order. A snapshot has the same cells."""

CASH: Final = 0
FEES: Final = 1
REALISED: Final = 4
RESIDUE: Final = 5
SINGLE: Final = 7
"""Places of amounts after the two columns, and their number."""

_LARGEST: Final = float(MOST)


@inner
def trade(accounts: Ints, start: int, size: int, column: int, change: int, amount: int) -> None:
    """Book a trade (signed lots, cash change in micro) of the account that begins at `start`, of `size` columns.

    A reduction removes its part of the average cost, floored to a micro, and realises the difference. A trade through
    zero closes with its part of the amount, floored, and opens with the remainder.
    """
    at = start + column
    held = accounts[at]
    after = held + change
    cost = accounts[at + size]
    realised = 0
    if held == 0 or change == 0 or (held > 0) == (change > 0):
        cost -= amount
    elif after != 0 and (after > 0) == (held > 0):
        part = portion(cost, change, held)
        cost += part
        realised = amount + part
    else:
        closing = portion(amount, held, -change)
        realised = closing - cost
        cost = closing - amount
    accounts[at], accounts[at + size] = after, cost
    accounts[start + 2 * size + CASH] += amount
    accounts[start + 2 * size + REALISED] += realised


@inner
def pay(account: Ints, amounts: int, fee_micro: int) -> None:
    """Book a commission; `amounts` is the place of the account's first amount."""
    account[amounts + CASH] -= fee_micro
    account[amounts + FEES] += fee_micro


@inner
def post(
    accounts: Ints,
    units: Ints,
    fills: Ints,
    rows: int,
    only: int,
    scratch: Ints,
    room: float,
) -> float:
    """Post fills to the house and to the books. Returns the turnover, an upper bound of what any amount grew by; -1.0,
    without any change, where that is not below `room`.

    `units` are the numerators, then the denominators of lots x price_nano in micro, by column. `fills` are columns of
    `rows` integers: the symbols' columns, signed lots, prices, fees. All rows belong to the book `only`, or, where it
    is -1, a column of numbers of pairs follows, then each row's pairs (book, signed lots). An amount is rounded
    half-even to a micro for the house. Each part is rounded to the nearest micro, and the row's last takes the
    remainder. A fee is shared in proportion, rounded down; the row's last book takes the remainder. `scratch` has twice
    the cells of `fills`.
    """
    size, pairs = len(units) // 2, 5 * rows
    turnover, residue, fees, at = 0.0, 0, 0, 0
    for k in range(rows):
        column, change, price, fee = fills[k], fills[rows + k], fills[2 * rows + k], fills[3 * rows + k]
        numerator, denominator = units[column], units[size + column]
        paid = (change > 0) == (price > 0)
        amount, rest = ratio(abs(change), abs(price), numerator, denominator)
        if rest:
            if 2 * rest > denominator or (2 * rest == denominator and amount & 1):
                amount += 1
                rest -= denominator
            rest *= ATTO_PER_MICRO // denominator
            residue += -rest if paid else rest
        turnover += amount + abs(float(change)) + abs(float(fee))
        if turnover >= room:
            return -1.0
        fees += fee
        left = scratch[k] = -amount if paid else amount
        if only >= 0:
            continue
        whole_fee, half, last = fee, denominator // 2, at + 2 * fills[4 * rows + k] - 2
        while at <= last:
            part, own, charged = fills[pairs + at + 1], left, fee
            if at < last:
                own, rest = ratio(abs(part), abs(price), numerator, denominator)
                if (part > 0) == (price > 0):
                    own = -own - (1 if rest > half else 0)
                elif half + rest >= denominator:
                    own += 1
                charged = portion(whole_fee, part, change) if whole_fee else 0
            turnover += abs(float(own)) + abs(float(charged)) + abs(float(part))
            if turnover >= room:
                return -1.0
            left -= own
            fee -= charged
            scratch[rows + 2 * at], scratch[rows + 2 * at + 1] = column, part
            scratch[rows + 2 * at + 2], scratch[rows + 2 * at + 3] = own, charged
            at += 2
    width, amounts = 2 * size + SINGLE, 2 * size
    if residue:
        residue += accounts[amounts + RESIDUE + 1]
        accounts[amounts + RESIDUE] += residue // ATTO_PER_MICRO
        accounts[amounts + RESIDUE + 1] = residue % ATTO_PER_MICRO
    if only >= 0:
        start = (only + 1) * width
        for k in range(rows):
            trade(accounts, start, size, fills[k], fills[rows + k], scratch[k])
        pay(accounts, start + amounts, fees)
    for k in range(rows):
        trade(accounts, 0, size, fills[k], fills[rows + k], scratch[k])
    pay(accounts, amounts, fees)
    for k in range(0, at, 2):
        start, own = (fills[pairs + k] + 1) * width, rows + 2 * k
        trade(accounts, start, size, scratch[own], scratch[own + 1], scratch[own + 2])
        pay(accounts, start + amounts, scratch[own + 3])
    return turnover


@inner
def equity(accounts: Ints, units: Ints, price_nano: Ints, out: Ints) -> bool:
    """Write the equity of every account in micro, at marks in nano by column: cash plus exact value, rounded half-even.
    The last book takes the remainder, so that the books add up to the house. The residue is not counted.

    False, with any `out`, where an amount, or the value of an account's positions without sign, is beyond MOST.
    """
    size = len(units) // 2
    width, left = 2 * size + SINGLE, 0
    for k in range(len(out) - 1):
        start, micro, atto, gross = k * width, 0, 0, 0.0
        for column in range(size):
            lots = accounts[start + column]
            if lots == 0:
                continue
            price, denominator = price_nano[column], units[size + column]
            value, rest = ratio(abs(lots), abs(price), units[column], denominator)
            gross += value
            if gross >= _LARGEST:
                return False
            rest *= ATTO_PER_MICRO // denominator
            if (lots > 0) == (price > 0):
                micro += value
                atto += rest
            else:
                micro -= value
                atto -= rest
        micro += accounts[start + 2 * size + CASH] + atto // ATTO_PER_MICRO
        atto = 2 * (atto % ATTO_PER_MICRO)
        if atto > ATTO_PER_MICRO or (atto == ATTO_PER_MICRO and micro & 1):
            micro += 1
        if abs(float(micro)) >= _LARGEST or abs(float(left) - float(micro)) >= _LARGEST:
            return False
        out[k] = micro
        left = micro if k == 0 else left - micro
    out[len(out) - 1] = left
    return True


POST: Final = Entry(post)
EQUITY: Final = Entry(equity)


class LedgerFull(Exception):
    """A booking that could make an amount, or a number of lots, larger than what the ledger holds: `MOST`."""


class FrozenAccount(Struct, frozen=True):
    """An account as plain values. The residue has two parts, so that each fits 64 bits."""

    lots: list[int]
    cost_micro: list[int]
    cash_micro: int
    residue: tuple[int, int]
    fees_micro: int
    flows_micro: int
    income_micro: int
    realised_micro: int


class _Amount:
    """An amount of an account, as an attribute."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __get__(self, account: "Account", owner: type) -> int:
        return account.amounts[self._number]

    def __set__(self, account: "Account", micro: int) -> None:
        account.amounts[self._number] = micro


class Account:
    """Lots and money of one owner: a view of `cells`, an int64 row of `ROW`.

    This identity always holds exactly:

        cash = flows + income + realised - sum(cost) - fees

    The residue accumulates rounding differences: notionals and dividends are exact in atto, cash is rounded to micro.
    `lots` and `cost_micro` are copies, as Python integers; `held` reads one column.
    """

    __slots__ = ("amounts", "cells", "size", "views")

    cash_micro, fees_micro, flows_micro, income_micro, realised_micro = map(_Amount, range(5))

    def __init__(self, size: int, cells: NDArray[np.int64] | None = None) -> None:
        self.size = size
        self.cells = np.zeros(2 * size + SINGLE, dtype=np.int64) if cells is None else cells
        self.amounts = self.cells[2 * size :].data
        self.views = self.cells[:size].data, self.cells[size : 2 * size].data

    @property
    def lots(self) -> list[int]:
        return self.views[0].tolist()

    @property
    def cost_micro(self) -> list[int]:
        return self.views[1].tolist()

    @property
    def residue_atto(self) -> int:
        return self.amounts[RESIDUE] * ATTO_PER_MICRO + self.amounts[RESIDUE + 1]

    @residue_atto.setter
    def residue_atto(self, atto: int) -> None:
        self.amounts[RESIDUE], self.amounts[RESIDUE + 1] = divmod(atto, ATTO_PER_MICRO)

    def held(self, column: int) -> int:
        """Signed lots of a column."""
        return self.views[0][column]

    def trade(self, rows: Iterable[tuple[int, int, int]]) -> tuple[int, int]:
        """Book trades (column, signed lots, cash change in micro: negative for a purchase) in order, as the kernel
        `trade` does. Returns the change of cash and the profit, in micro."""
        lots, cost = self.views
        cash = realised = 0
        for column, change, amount in rows:
            cash += amount
            held = lots[column]
            after = lots[column] = held + change
            if held * change >= 0:
                cost[column] -= amount
            elif after * held > 0:
                before = cost[column]
                part = before * change // held
                cost[column] = before + part
                realised += amount + part
            else:
                closing = amount * held // -change
                realised += closing - cost[column]
                cost[column] = closing - amount
        self.amounts[CASH] += cash
        self.amounts[REALISED] += realised
        return cash, realised

    def rescale(self, column: int, lots: int, lieu_micro: int) -> None:
        """Set `lots` after a split and add `lieu_micro` of cash for the fraction. The cost does not change; it is
        realised when no lots remain."""
        self.cells[column] = lots
        self.cash_micro += lieu_micro
        self.realised_micro += lieu_micro
        if not lots:
            self.realised_micro -= self.cells.item(self.size + column)
            self.cells[self.size + column] = 0

    def receive(self, amount_micro: int) -> None:
        """Book a dividend or interest; a payment or a borrow fee is negative."""
        self.cash_micro += amount_micro
        self.income_micro += amount_micro

    def pay(self, fee_micro: int) -> None:
        """Book a commission."""
        self.amounts[CASH] -= fee_micro
        self.amounts[FEES] += fee_micro

    def flow(self, amount_micro: int) -> None:
        """Book a deposit, or a withdrawal (negative)."""
        self.cash_micro += amount_micro
        self.flows_micro += amount_micro

    def unexplained_micro(self) -> int:
        """Return the cash that no flow, income, profit, cost or fee explains: always 0."""
        known = self.flows_micro + self.income_micro + self.realised_micro - sum(self.cost_micro) - self.fees_micro
        return self.cash_micro - known

    def largest(self) -> int:
        """The largest size that an amount of this account has, or may have after its cost is realised."""
        cost = sum(map(abs, self.cost_micro))
        return max(
            *(abs(amount) for amount in self.amounts[:REALISED]),
            abs(self.realised_micro) + cost,
            *map(abs, self.lots),
            0,
        )

    def freeze(self) -> FrozenAccount:
        return FrozenAccount(
            lots=self.lots,
            cost_micro=self.cost_micro,
            residue=(self.amounts[RESIDUE], self.amounts[RESIDUE + 1]),
            **{name: getattr(self, name) for name in AMOUNTS},
        )

    def thaw(self, frozen: FrozenAccount) -> None:
        """Restore a frozen account."""
        self.cells[:] = [
            *frozen.lots, *frozen.cost_micro, *(getattr(frozen, name) for name in AMOUNTS), *frozen.residue,
        ]  # fmt: skip


def _micro_ratio(lot_nano: int) -> tuple[int, int, int]:
    """Reduce the conversion from lots x price_nano to micro: (numerator, denominator, atto per unit of the remainder).

    The result equals a conversion through atto, with smaller integers: whole shares at whole cents leave no remainder.
    """
    numerator, denominator = lowest(lot_nano, ATTO_PER_MICRO)
    return numerator, denominator, ATTO_PER_MICRO // denominator


def _only_book(shares: Sequence[Sequence[Share]]) -> int | None:
    """Return the book that owns all rows entirely, or None."""
    only = shares[0][0][0] if shares else -1
    for row in shares:
        if len(row) > 1 or row[0][0] != only:
            return None
    return only


class Postings:
    """The accounts of a ledger in `cells` [1 + books, cells of `ROW`]: the house, the agents in order, the unallocated
    book."""

    def __init__(self, universe: Universe, agents: Sequence[str]) -> None:
        self.names = [*agents, UNALLOCATED]
        size = universe.size
        self.cells = np.zeros((len(self.names) + 1, 2 * size + SINGLE), dtype=np.int64)
        self.house, *self.books = [Account(size, row) for row in self.cells]
        self._lot_nano = universe.lot_nano
        self._ratios = [_micro_ratio(lot_nano) for lot_nano in universe.lot_nano]
        self.units = np.array([each[k] for k in (0, 1) for each in self._ratios], dtype=np.int64)
        sizes = set(universe.lot_nano)
        self._same = sizes.pop() if len(sizes) == 1 else 0
        self.flat = self.cells.reshape(-1)
        """The same cells in one dimension, for kernels."""
        self._scratch = np.zeros(64, dtype=np.int64)
        self._equity = np.zeros(len(self.names) + 1, dtype=np.int64)
        self.room = 0

    def fills(
        self,
        sym: Sequence[int],
        lots: Sequence[int],
        price_nano: Sequence[int],
        fee_micro: Sequence[int],
        shares: Sequence[Sequence[Share]],
    ) -> None:
        """Post fills row by row. `shares` lists for each row the (book, lots) of its sign that add up to its signed
        lots. A fee is shared in proportion and rounded down; the row's last book takes the remainder. Raises
        LedgerFull, with nothing booked, for what the ledger cannot hold."""
        book = _only_book(shares)
        if POST.arrays:
            columns = [*sym, *lots, *price_nano, *fee_micro]
            if book is None:
                columns += map(len, shares)
                columns += chain.from_iterable(chain.from_iterable(shares))
            only = -1 if book is None else book % len(self.books)
            self.post(np.array(columns, dtype=np.int64), len(sym), only)
            return
        amounts: list[int] = []
        residue = 0
        for column, size, price in zip(sym, lots, price_nano, strict=True):
            numerator, denominator, atto = self._ratios[column]
            amount, rest = divmod(-size * price * numerator, denominator)
            if rest:
                if 2 * rest > denominator or (2 * rest == denominator and amount & 1):
                    amount += 1
                    rest -= denominator
                residue += rest * atto
            amounts.append(amount)
        house, fees, trades = self.house, sum(fee_micro), list(zip(sym, lots, amounts, strict=True))
        self.admit(*lots, *amounts, *fee_micro, sum(map(len, shares)))
        if book is None:
            house.trade(trades)
            parts, own_fees = self._parts(sym, lots, price_nano, fee_micro, amounts, shares)
            for account, own_trades, paid in zip(self.books, parts, own_fees, strict=True):
                account.trade(own_trades)
                account.pay(paid)
        else:
            own = self.books[book]
            alike = own.views == house.views
            cash, realised = house.trade(trades)
            if alike:
                # a lone agent: the same positions before, so the same after
                own.views[0][:], own.views[1][:] = house.views
                own.amounts[CASH] += cash
                own.amounts[REALISED] += realised
            else:
                own.trade(trades)
            own.pay(fees)
        if residue:
            house.residue_atto += residue
        house.pay(fees)

    def _parts(
        self,
        sym: Sequence[int],
        lots: Sequence[int],
        price_nano: Sequence[int],
        fee_micro: Sequence[int],
        amounts_micro: Sequence[int],
        shares: Sequence[Sequence[Share]],
    ) -> tuple[list[list[tuple[int, int, int]]], list[int]]:
        """Return the books' (column, lots, amount) of fills with known house amounts, and their fees. Each part is
        rounded to the nearest micro; the last takes the remainder."""
        ratios = self._ratios
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
        return parts, fees

    def post(self, fills: Ints, rows: int, only: int = -1) -> None:
        """Post fills in columns, as the kernel `post`. Raises LedgerFull, with nothing booked, for what the ledger
        cannot hold."""
        if 2 * len(fills) > len(self._scratch):
            self._scratch = np.zeros(4 * len(fills), dtype=np.int64)
        turnover = POST.run(self.flat, self.units, fills, rows, only, self._scratch, float(self.room))
        if turnover < 0.0:
            self.admit()
            turnover = POST.run(self.flat, self.units, fills, rows, only, self._scratch, float(self.room))
        if turnover < 0.0:
            lots, price = max(map(abs, fills[rows : 2 * rows].tolist())), fills[2 * rows : 3 * rows].max()
            raise LedgerFull(f"fills of {lots} lots at {price} nano: the ledger holds {MOST} at most")
        self.room -= int(turnover) + 1

    def equity(self, price_nano: Sequence[int] | Ints) -> tuple[int, list[int]]:
        """Return (house equity, book equities) in micro, at marks in nano by column.

        Books are the agents in order, then the unallocated book. House equity is cash plus exact value, rounded
        half-even once. The unallocated book takes the remainder, so the books always add up. The rounding residue is
        not counted. Raises ValueError unless every column has a mark.
        """
        if len(price_nano) != len(self._lot_nano):
            raise ValueError(f"{len(price_nano)} marks for {len(self._lot_nano)} columns")
        if EQUITY.arrays and EQUITY.run(self.flat, self.units, np.asarray(price_nano), self._equity):
            total, *books = self._equity.tolist()
            return total, books
        prices = price_nano.tolist() if isinstance(price_nano, np.ndarray) else price_nano
        unit, scale = (prices, self._same) if self._same else (list(map(mul, prices, self._lot_nano)), 1)
        house = self.house
        lots = house.views[0]
        held = sum(map(mul, lots.tolist(), unit)) * scale
        total = left = round_micro(house.amounts[CASH] * ATTO_PER_MICRO + held)[0]
        books = []
        for book in self.books[:-1]:
            # A single agent holds the same lots as the house.
            atto = held if book.views[0] == lots else sum(map(mul, book.views[0].tolist(), unit)) * scale
            own = round_micro(book.amounts[CASH] * ATTO_PER_MICRO + atto)[0]
            books.append(own)
            left -= own
        books.append(left)
        if abs(total) > MOST:
            raise LedgerFull(f"an equity of {total} micro at these marks: the ledger holds {MOST} at most")
        return total, books

    def admit(self, *sizes: int) -> None:
        """Raise LedgerFull where an amount that grows by all of these could be beyond MOST. Without sizes, measure the
        room that is left."""
        grown = sum(map(abs, sizes))
        if grown > self.room or not sizes:
            self.room = MOST - max(account.largest() for account in (self.house, *self.books))
            if grown > self.room:
                raise LedgerFull(f"{grown} on top of what the ledger has: it holds {MOST} micro or lots at most")
        self.room -= grown
