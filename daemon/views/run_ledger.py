"""The ledger of a run, computed again from its journal: the lots that were closed, and the books at two samples.

What can go wrong: a gain or a closing that is not the ledger's. So the movements of the journal are posted to a
`Ledger`, the class of the engine, and each valuation in the journal is compared with it.

The oldest lots are closed first (first in, first out), which gives their dates and what was paid for these very lots.
The ledger has no cost by lot: its profit is that at the average cost of the position.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import msgspec
import numpy as np

from quantd.daemon.engine.agents.carry_over import Carry, carried_books
from quantd.daemon.views.movements import Movement, Movements
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Booked, Refused, Valued
from quantd.trading.events import Action, Carried, SliceRef, split_of
from quantd.trading.execution import with_remainder
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.instruments import Universe
from quantd.trading.ledger.book import Book
from quantd.trading.ledger.books import Ledger, split_lots
from quantd.trading.market import Ints, MarketSlice, PriceJumped
from quantd.trading.orders import money_text

HOUSE: Final = -2
"""The number of the whole account, in which trades between its books do not count; -1 is the unallocated book."""

COLUMN_OF: Final = {
    "flow": "deposits", "in_kind": "deposits", "moved": "moved", "transfer": "moved", "dividend": "dividends",
    "cash_in_lieu": "dividends", "delisting": "dividends", "interest": "interest", "borrow": "borrow", "fee": "fees",
}  # fmt: skip
"""The column of a closing for the flow or the payment of each kind of movement."""


SUMMED: Final = ("amount_micro", "lots", "flow_micro", "fee_micro")
"""The fields of the parts of a movement that add up to that of the whole account."""


class LedgerDiffers(ExplainedError):
    """The movements in the journal do not give the recorded valuation; the text names the difference."""


class ClosedLots(NamedTuple):
    """Lots that were opened at one instant and closed by one movement, in micro-currency; a dividend has 0 lots.

    `lots` are signed, negative for a short position. `opened` is 0 where the journal does not have the opening. `cost`
    is what was paid for the lots and `proceeds` what was received for them, both before the fees `buy_fee` and
    `sell_fee`; what the opening paid or received of these is the average of the position. `lot_micro` and `lot_fee` are
    the amount and the fee of the lots' own opening. `price_nano` is the price of the closing trade, 0 for none.
    """

    book: int
    symbol: int
    kind: str
    ts: int
    opened: int
    lots: int
    price_nano: int
    cost: int
    proceeds: int
    buy_fee: int
    sell_fee: int
    lot_micro: int
    lot_fee: int


class Opening(NamedTuple):
    """Lots, unsigned, that were opened at the instant `ts` and are held, with their cost (micro, negative for a short
    position) and the fee of their opening."""

    ts: int
    lots: int
    cost: int
    fee: int


class Standing(NamedTuple):
    """The books at a sample: equities (micro), the values of the books as of `Ledger.cells`, and the flows and payments
    since the start by (column, book).

    The agents are in order, and the unallocated book is last; `cells` begin with the whole account. `ts` is 0 for the
    start of a run that carries no account. `marks_nano` int64[N].
    """

    ts: int
    equities: list[int]
    cells: Ints
    sums: Counter[tuple[str, int]]
    marks_nano: Ints


class RunLedger:
    """Takes the entries of a run's journal, the oldest first.

    `closed` are the closed lots of all books. `first` and `last` are the books at the last samples up to the instants
    `since` and `until` (ns UTC); without `valued` no sample is valued, which needs no market, and only cash is compared
    with the journal. `slices` is as in `Movements`. `before` is the ledger of the run whose account this run carries,
    with all its entries: it gives the openings of the carried lots, and its `last` books become those of the carry-over
    if this is not after `until`.
    """

    def __init__(
        self, universe: Universe, agents: Sequence[str], slices: Callable[[int], MarketSlice] | None = None, *,
        valued: bool = True, since: int = 0, until: int = 0, before: "RunLedger | None" = None,
    ) -> None:  # fmt: skip
        self.closed: list[ClosedLots] = []
        self.first: Standing | None = None
        self.last: Standing | None = None
        self._universe, self._agents, self._slices = universe, agents, slices
        self._valued, self._since, self._until, self._before = valued, since, until, before
        self._movements, self.ledger = Movements(universe, slices), Ledger(universe, agents)
        self._accounts: Final[dict[int, Book]] = dict(
            zip((*range(len(agents)), -1, HOUSE), (*self.ledger.books, self.ledger.house), strict=True)
        )
        # by (book, symbol): the openings of the held lots, oldest first, and the fees of the position
        self._openings: defaultdict[tuple[int, int], list[Opening]] = defaultdict(list)
        self._fees: Counter[tuple[int, int]] = Counter()
        self._sums: Counter[tuple[str, int]] = Counter()
        self._begun, self._carried_until, self._fraction = False, -1, 0

    def add(self, event: object, effects: Sequence[object]) -> None:
        """Take one entry of the journal. Raises LedgerDiffers where a valuation differs."""
        if isinstance(event, Carried):
            self._carry(event)
        if isinstance(event, SliceRef) and self._valued and self._slices is None:
            raise LedgerDiffers("the recorded market of the run is missing or has changed; restore the files of [feed]")
        if isinstance(event, PriceJumped) and event.ts <= self._carried_until:
            return  # the carried account has the hold, or its end
        if isinstance(event, Action) and event.ts <= self._carried_until:
            marks = self._movements.marks_nano = self._movements.marks_nano.copy()
            marks[event.symbol] = int(marks[event.symbol]) * event.denominator // event.numerator
            return  # the carried account has the lots and the cash
        split, self._fraction = split_of(event), 0
        if split is not None and not any(isinstance(effect, Refused) for effect in effects):
            self._split(split)
        at_ledger = split is not None or isinstance(event, Action)
        for effect, movements in self._movements.add(event, effects):
            if movements:
                self._post(effect, movements, at_ledger)
            elif isinstance(effect, Valued):
                self._compare(effect)

    def _carry(self, event: Carried) -> None:
        """Begin with the account of an earlier run, whose openings are in the journal of that run."""
        carry, universe = msgspec.msgpack.decode(event.account, type=Carry), self._universe
        self.ledger.thaw(msgspec.to_builtins(carried_books(carry, universe, self._agents)))
        marks = dict(zip(carry.symbols, (nano for _, nano, _ in carry.marks), strict=True))
        self._movements.marks_nano[:] = [marks.get(symbol, 0) for symbol in universe.symbols]
        columns = [universe.index.get(symbol, -1) for symbol in carry.symbols]
        self._movements.holds = {columns[symbol]: hold for symbol, hold in carry.jumped.items() if columns[symbol] >= 0}
        self._carried_until = event.since
        if self._valued:
            self.first = self._standing(event.since)
        for number, book in self._accounts.items():
            if number != HOUSE:
                self._movements.lots_of[number] = np.array(book.lots, dtype=np.int64)
            for symbol, lots in enumerate(book.lots):
                if lots:
                    self._openings[number, symbol] = [Opening(0, abs(lots), int(book.cost[symbol]), 0)]
        before, self._before = self._before, None
        if before is None:
            return
        if before._valued and event.since <= self._until and (before._begun or before._carried_until >= 0):
            before.last = before._standing(event.since)
        numbers = {name: number for number, name in enumerate(self._agents)}
        numbers_of = {HOUSE: HOUSE, -1: -1}
        numbers_of |= {k: numbers.get(name, len(numbers)) for k, name in enumerate(before._agents)}
        for (number, symbol), openings in before._openings.items():
            key = numbers_of[number], columns[symbol]
            if key in self._openings:
                self._openings[key], self._fees[key] = openings, before._fees[number, symbol]

    def _split(self, split: Action) -> None:
        symbol, ratio = split.symbol, (split.numerator, split.denominator)
        before = {number: (int(book.held[symbol]), int(book.cost[symbol])) for number, book in self._accounts.items()}
        self._fraction = before[HOUSE][0] * ratio[0] % ratio[1]
        self.ledger.split(symbol, *ratio, 0)  # the price 0: the journal has the cash for fractions
        for number, (old_lots, cost) in before.items():
            if not old_lots:
                continue
            new_lots = int(self._accounts[number].held[symbol])
            if not new_lots:
                self._close(Movement("cash_in_lieu", split.ts, number, symbol, 0), old_lots, cost, 0, 0)
                continue
            openings = self._openings[number, symbol]
            parts = split_lots([opening.lots for opening in openings], *ratio)
            largest = parts.index(max(parts))
            parts[largest] += abs(new_lots) - sum(parts)
            # the cost of an opening that keeps no lot
            gone = [opening for opening, part in zip(openings, parts, strict=True) if not part]
            ts, _, paid, fee = openings[largest]
            openings[largest] = Opening(ts, 0, paid + sum(o.cost for o in gone), fee + sum(o.fee for o in gone))
            openings[:] = [o._replace(lots=part) for o, part in zip(openings, parts, strict=True) if part]

    def _post(self, effect: object, movements: list[Movement], at_ledger: bool) -> None:
        """Post movements to their books, and the sum of each to the whole account: 0 for one between books.

        With `at_ledger` a payment for shares is of the ledger, which realises it; the venue's own payments are income.
        Where the venue pays for the fractions of a split later, the unallocated book advances it.
        """
        advance: list[Movement] = []
        if at_ledger and self._fraction and isinstance(effect, Booked) and not effect.amount_micro:
            *movements, last = movements
            advance = [last]
        for of_row, realised in ((movements, at_ledger), (advance, False)):
            for movement in of_row:
                self._apply(movement, realised)
            for _, of_one in groupby(of_row, lambda movement: movement.row):
                parts = list(of_one)
                sums = {name: sum(getattr(part, name) for part in parts) for name in SUMMED}
                self._apply(parts[0]._replace(book=HOUSE, **sums), realised)

    def _apply(self, movement: Movement, realised: bool) -> None:
        """Post one movement to its book as the ledger does, and note the lots that it closes."""
        kind, ts, number, symbol, amount, lots, price, flow, fee, _ = movement
        book = self._accounts[number]
        if flow:
            book.flow(flow)
            self._sums[COLUMN_OF[kind], number] += flow
        if fee:
            book.pay(fee)
        if lots:
            self._trade(movement)
        elif realised and kind in ("cash_in_lieu", "delisting"):
            held, cost = int(book.held[symbol]), int(book.cost[symbol])
            gone = held if kind == "delisting" else 0
            book.rescale(symbol, held - gone, amount)
            self._close(movement, gone, cost if gone else 0, amount, 0)
        elif amount:
            book.receive(amount)
            self._sums[COLUMN_OF[kind], number] += amount
            if kind == "dividend":
                self.closed.append(ClosedLots(number, symbol, kind, ts, 0, 0, price, 0, amount, 0, 0, 0, 0))

    def _trade(self, movement: Movement) -> None:
        """Post a trade: what it closes has its part of the amount and of the fee, and the rest opens lots."""
        _, ts, number, symbol, amount, lots, _, _, fee, _ = movement
        book = self._accounts[number]
        held, cost, realised = int(book.held[symbol]), int(book.cost[symbol]), int(book.realised_micro)
        book.trade(symbol, lots, amount)
        realised = int(book.realised_micro) - realised
        closed = min(abs(held), abs(lots)) if held * lots < 0 else 0
        closing_fee, received = fee * closed // abs(lots), 0
        if closed:
            removed = cost if closed == abs(held) else amount - realised
            received = removed + realised
            self._close(movement, closed if held > 0 else -closed, removed, received, closing_fee)
        if closed < abs(lots):
            opening = Opening(ts, abs(lots) - closed, received - amount, fee - closing_fee)
            self._openings[number, symbol].append(opening)
            self._fees[number, symbol] += opening.fee

    def _close(self, movement: Movement, lots: int, cost: int, amount: int, fee: int) -> None:
        """Note signed lots of a position as closed, one item for each opening; amounts are shared by lots, and the last
        item takes the remainder.

        `cost` is their average cost (negative for a short position), `amount` the cash received for them.
        """
        kind, ts, number, symbol, _, _, price, *_ = movement
        openings, count = self._openings[number, symbol], abs(lots)
        total = sum(opening.lots for opening in openings)
        opening_fee = self._fees[number, symbol] * count // total if count else 0
        self._fees[number, symbol] -= opening_fee
        taken: list[Opening] = []
        while count:
            opened, held, paid, lot_fee = openings[0]
            part = min(count, held)
            taken.append(Opening(opened, part, paid * part // held, lot_fee * part // held))
            openings[0] = Opening(opened, held - part, paid - taken[-1].cost, lot_fee - taken[-1].fee)
            count -= part
            if part == held:
                del openings[0]
        # cash for a fraction of a lot closes no lot
        taken = taken or [Opening(openings[0].ts if openings else 0, 0, 0, 0)]
        amounts = (cost, amount, opening_fee, fee) if lots >= 0 else (-amount, -cost, fee, opening_fee)
        shares = zip(
            *(with_remainder(value, [value * part.lots // abs(lots) for part in taken[:-1]]) for value in amounts),
            strict=True,
        )
        sign = -1 if lots < 0 else 1
        for lot, (paid, received, buy_fee, sell_fee) in zip(taken, shares, strict=True):
            of_lot = paid, received, buy_fee, sell_fee, sign * lot.cost, lot.fee
            self.closed.append(ClosedLots(number, symbol, kind, ts, lot.ts, sign * lot.lots, price, *of_lot))

    def _compare(self, valued: Valued) -> None:
        """Compare a valuation with the ledger, and keep the books at the samples that begin and end the period.

        The cash with which a run began is not in its journal: the first valuation has it.
        """
        marks, house = self._movements.marks_nano, self.ledger.house
        if not self._begun:
            self._begun = True
            self._deposit(valued, marks)
        computed, names = [int(house.cash_micro)], ["cash of the account"]
        if self._valued:
            total, equities = self.ledger.equity(marks)
            computed += [total, *equities]
            names += [f"equity of {name}" for name in ("the account", *self.ledger.names)]
        # without a valuation only cash is computed
        for what, micro, recorded in zip(
            names, computed, (valued.cash_micro, valued.equity_micro, *valued.books), strict=False
        ):
            if micro != recorded:
                raise LedgerDiffers(
                    f"the {what} at {instant_text(valued.ts)} is {money_text(micro)} by the movements in the journal, "
                    f"and {money_text(recorded)} by its valuation, a difference of {money_text(micro - recorded)}; "
                    "`quantd replay` compares each step with the journal"
                )
        if self._valued and valued.ts <= self._until:
            self.last = self._standing(valued.ts)
            if valued.ts <= self._since or self.first is None:
                self.first = self.last

    def _standing(self, ts: int) -> Standing:
        marks = self._movements.marks_nano
        return Standing(ts, self.ledger.equity(marks)[1], self.ledger.cells(), self._sums.copy(), marks.copy())

    def _deposit(self, valued: Valued, marks: Ints) -> None:
        """Deposit what the books had before the first movement, which is the opening of a run that carries nothing.

        In a run that carries an account it is the capital that moved to its other agents.
        """
        if self._valued:
            opening = Ledger(self._universe, self._agents)
            _, equities = self.ledger.equity(marks)
            missing = [equity - computed for equity, computed in zip(valued.books, equities, strict=True)]
            for number, amount in zip((*range(len(self._agents)), -1), missing, strict=True):
                self._accounts[number].flow(amount)
                opening.books[number].flow(amount)
                if self._carried_until >= 0:
                    self._sums["moved", number] += amount
            if self._carried_until < 0:
                self.first = Standing(0, missing, opening.cells(), Counter(), marks)
        self.ledger.house.flow(valued.cash_micro - self.ledger.house.cash_micro)
