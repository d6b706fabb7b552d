"""The movements of an account's books: the one place where the effects of a run are read as money.

What can go wrong: two views of one account that differ by a rounding, a split or a booking that one of them forgot.
So every view of past money (profit, statement, attribution, track records) is a sum over the movements of this module.
Rejected: an own ledger in each view, which must repeat rates and rules that the engine had at that time. The effects
name the part of each book instead.

For each movement the change of the book's cash is `amount_micro` + `flow_micro` - `fee_micro`. The parts of the books
add up exactly to what the account has booked. Effects are read in their order, and bars after the effects of their
entry, so that a mark is that of the last valuation until the next one.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from quantd.daemon.engine.state.price_holds import PriceHold
from quantd.trading.codec import slice_of
from quantd.trading.effects import Booked, Crossed, Filled, Reallocated, Refused, Transferred
from quantd.trading.events import Action, Bars, Busted, SliceRef, split_of
from quantd.trading.execution import round_micro, with_remainder
from quantd.trading.instruments import ATTO_PER_MICRO, Universe
from quantd.trading.ledger.books import split_lots
from quantd.trading.ledger.shares import fee_parts
from quantd.trading.market import Bools, Ints, JumpExplained, MarketSlice, PriceJumped

Kind = Literal[
    "trade", "bust", "cross", "transfer", "moved", "flow", "in_kind", "dividend", "borrow", "cash_in_lieu", "fee",
    "interest", "delisting",
]  # fmt: skip


class Movement(NamedTuple):
    """One change of one book, in micro-currency.

    `book` is an agent's number, or -1 for the unallocated book; `symbol` is -1 where the movement belongs to none.
    `lots` are signed. `amount_micro` is cash from a trade (negative for a purchase) or a payment, before the fee.
    `flow_micro` is capital from outside, or from another book (`moved`, `transfer`). `row` is the number of the fill in
    its basket.
    """

    kind: Kind
    ts: int
    book: int
    symbol: int
    amount_micro: int
    lots: int = 0
    price_nano: int = 0
    flow_micro: int = 0
    fee_micro: int = 0
    row: int = 0


class Movements:
    """Reads the entries of a run's journal, or the steps of a backtest, the oldest first.

    `slices` returns the bars of one instant of a recorded market by the number in the journal; without it such bars
    change no mark. `lots_of` int64[N] are the signed lots by book, and `marks_nano` int64[N] the marks, 0 for none. A
    symbol in `holds`, after a jump of its price, has the engine's value, at the worse of its old and newest price.
    """

    def __init__(self, universe: Universe, slices: Callable[[int], MarketSlice] | None = None) -> None:
        self._universe, self._slices = universe, slices
        self.lots_of: dict[int, Ints] = {-1: np.zeros(universe.size, dtype=np.int64)}
        self.marks_nano: Ints = np.zeros(universe.size, dtype=np.int64)
        self.holds: dict[int, PriceHold] = {}

    @property
    def lots(self) -> Ints:
        """int64[N], the signed lots of the whole account."""
        return sum(self.lots_of.values(), np.zeros(self._universe.size, dtype=np.int64))

    def add(self, event: object, effects: Iterable[object]) -> Iterator[tuple[object, list[Movement]]]:
        """Yield each effect with its movements, after the event and the effects before it have been applied."""
        holders: list[int] = []  # the only books that a payment without parts can be of
        effects = tuple(effects)
        match event:
            case Action():
                holders = self._holders(event.symbol)
                self._act(event)
            case PriceJumped():
                self.holds.setdefault(event.symbol, PriceHold.of(event))
                self._value_held(event.symbol)
            case JumpExplained() if not any(isinstance(effect, Refused) for effect in effects):
                holders = self._holders(event.symbol)
                if event.symbol in self.holds:
                    self._release(event.symbol, split_of(event))
                elif (split := split_of(event)) is not None:
                    self._split(split)
        for effect in effects:
            match effect:
                case Filled():
                    yield effect, self._filled(effect, "bust" if isinstance(event, Busted) else "trade")
                case Crossed():
                    yield effect, self._crossed(effect)
                case Booked():
                    yield effect, self._booked(effect, holders)
                case Reallocated():
                    moved = [(book, amount) for book, amount in enumerate(effect.moved) if amount]
                    yield effect, [Movement("moved", effect.ts, book, -1, 0, flow_micro=cash) for book, cash in moved]
                case Transferred():
                    yield effect, self._transferred(effect)
                case _:
                    yield effect, []
        if isinstance(event, Bars):  # without the columns that no mark needs
            self._mark(np.frombuffer(event.fresh, dtype=np.bool_), np.frombuffer(event.close_nano, dtype="<i8"))
        elif (market := self.market_of(event)) is not None:
            self._mark(market.fresh, market.close_nano)

    def market_of(self, event: object) -> MarketSlice | None:
        """Return the bars of an event; None where it has none, or where `slices` is missing."""
        if isinstance(event, SliceRef):
            return self._slices(event.index) if self._slices is not None else None
        return slice_of(event) if isinstance(event, Bars) else event if isinstance(event, MarketSlice) else None

    def value(self, symbol: int, lots: int, price_nano: int) -> int:
        """Return the value of signed lots in micro-currency, rounded half-even once."""
        return round_micro(lots * self._universe.lot_nano[symbol] * price_nano)[0]

    def _holders(self, symbol: int) -> list[int]:
        return [book for book, lots in self.lots_of.items() if lots[symbol]]

    def _book(self, book: int) -> Ints:
        """Return the lots of a book, int64[N], to be changed."""
        lots = self.lots_of.get(book)
        if lots is None:
            lots = self.lots_of[book] = np.zeros(self._universe.size, dtype=np.int64)
        return lots

    def _filled(self, fill: Filled, kind: Kind) -> list[Movement]:
        """The parts of each row: as the ledger does, nearest micro with ties upwards, the last book takes the rest."""
        movements = []
        rows = zip(fill.sym, fill.lots, fill.price_nano, fill.fee_micro, fill.shares, strict=True)
        for row, (symbol, lots, price, fee, shares) in enumerate(rows):
            unit = self._universe.lot_nano[symbol] * price
            parts = [(ATTO_PER_MICRO - 2 * part * unit) // (2 * ATTO_PER_MICRO) for _, part in shares[:-1]]
            cash = with_remainder(-round_micro(lots * unit)[0], parts)
            fees = fee_parts(fee, lots, shares) if fee else [0] * len(shares)
            for (book, part), amount, charged in zip(shares, cash, fees, strict=True):
                self._book(book)[symbol] += part
                movements.append(Movement(kind, fill.ts, book, symbol, amount, part, price, 0, charged, row))
        return movements

    def _crossed(self, cross: Crossed) -> list[Movement]:
        symbol, price = cross.symbol, cross.price_nano
        cash = with_remainder(0, [self.value(symbol, -lots, price) for _, lots in cross.shares[:-1]])
        for book, lots in cross.shares:
            self._book(book)[symbol] += lots
        return [
            Movement("cross", cross.ts, book, symbol, amount, lots, price)
            for (book, lots), amount in zip(cross.shares, cash, strict=True)
        ]

    def _booked(self, booked: Booked, holders: list[int]) -> list[Movement]:
        """A flow is of its book, lots in kind are a flow of their value and a trade at it, and a payment has parts."""
        kind, ts, book, symbol, amount = booked.kind, booked.ts, booked.book, booked.symbol, booked.amount_micro
        if kind == "flow":
            return [Movement("flow", ts, book, symbol, 0, flow_micro=amount)]
        if kind == "in_kind":
            self._book(book)[symbol] += booked.lots
            price = int(self.marks_nano[symbol])
            return [Movement("in_kind", ts, book, symbol, -amount, booked.lots, price, amount)]
        parts = booked.parts or [(holders[0] if len(holders) == 1 else book, amount)]
        return [Movement(kind, ts, part_book, symbol, part) for part_book, part in parts]

    def _transferred(self, moved: Transferred) -> list[Movement]:
        movements = []
        for book, sign in ((moved.source, -1), (moved.target, 1)):
            if moved.cash_micro:
                movements.append(Movement("moved", moved.ts, book, -1, 0, flow_micro=sign * moved.cash_micro))
            for symbol, lots, value in moved.lots:
                self._book(book)[symbol] += sign * lots
                price = abs(value) * 1_000_000_000_000 // abs(lots * self._universe.lot_nano[symbol])
                movements.append(
                    Movement("transfer", moved.ts, book, symbol, -sign * value, sign * lots, price, sign * value)
                )
        return movements

    def _mark(self, fresh: Bools, closes: Ints) -> None:
        self.marks_nano = np.where(fresh, closes, self.marks_nano)
        for symbol, hold in self.holds.items():
            if fresh[symbol]:
                hold.newest_nano = int(closes[symbol])
            self._value_held(symbol)

    def _value_held(self, symbol: int) -> None:
        self._set_mark(symbol, self.holds[symbol].worse_nano(int(self.lots[symbol])))

    def _set_mark(self, symbol: int, nano: int) -> None:
        self.marks_nano = self.marks_nano.copy()  # a reader may have the earlier array
        self.marks_nano[symbol] = nano

    def _release(self, symbol: int, split: Action | None) -> None:
        """End a hold after a price jump, and mark the symbol at the newest price. `split` explains the jump, if any."""
        hold = self.holds.pop(symbol)
        if split is not None:
            self._split(split)
        self._set_mark(symbol, hold.newest_nano)

    def _act(self, action: Action) -> None:
        """Change lots and marks by a corporate action. Its cash arrives as a booking."""
        hold = self.holds.get(action.symbol)
        if action.kind == "delisting":
            self.holds.pop(action.symbol, None)
            for lots in self.lots_of.values():
                lots[action.symbol] = 0
            self._set_mark(action.symbol, 0)
        elif action.kind == "split" and hold is not None and hold.explained_by(action):
            self._release(action.symbol, action)
        elif action.kind == "split":
            if hold is not None:
                hold.split(action.numerator, action.denominator)
            self._split(action)

    def _split(self, split: Action) -> None:
        symbol, ratio = split.symbol, (split.numerator, split.denominator)
        books = [book for book in (*sorted(set(self.lots_of) - {-1}), -1) if self.lots_of[book][symbol]]
        lots = split_lots([int(self.lots_of[book][symbol]) for book in books], *ratio)
        for book, new_lots in zip(books, lots, strict=True):
            self.lots_of[book][symbol] = new_lots
        self._set_mark(symbol, int(self.marks_nano[symbol]) * ratio[1] // ratio[0])
