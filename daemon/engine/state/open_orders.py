"""Baskets at a venue, and lots that agents exchange without an order.

`Working` has the columns of a basket from the moment in which it is sent, and the fold, the engine's compiled fast
path, reads and writes the same columns. Records beside the columns would have to be kept equal to them, and each call
of the fold would have to take the open baskets out of the state and give them back. So records are made for a snapshot
only (`FrozenOrders`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.daemon.engine.core.order_columns import Crosses, Orders
from quantd.risk.pretrade.baskets import basket_of_columns
from quantd.trading.effects import Cancel
from quantd.trading.execution import split_row
from quantd.trading.ledger.shares import share
from quantd.trading.number_types import Ints
from quantd.trading.orders import ENDED, Cause, OrderBasket, OrderState, transition

Key = tuple[int, int]
"""Sample and number of a basket."""

UNCONFIRMED: Final = frozenset({OrderState.SENT, OrderState.CANCELLING, OrderState.UNKNOWN})
"""States of orders that the venue may not have received."""


class Row(Struct):
    """One order whose reports were reordered or lost: the intervals of its fills that arrived, and its end.

    Intervals are cumulative unsigned lots. `final` is the filled lots at its end and `cause` the Cause of the end; -1
    while the end is not known.
    """

    covered: list[tuple[int, int]] = []
    final: int = -1
    cause: int = -1


Shares = list[tuple[int, int]]
"""(agent, unsigned lots)."""


class FrozenOrders(Struct):
    """`Working` (a basket of orders) as plain values by row (order), for a snapshot."""

    basket: OrderBasket
    lots: list[int]
    worst_nano: list[int]
    filled: list[int]
    state: list[int]
    shares: list[Shares]
    live: int
    odd: dict[int, Row] = {}
    again: dict[int, int] = {}
    whole: list[Shares] = []
    """The agents' lots of each row when the basket was sent; absent from old snapshots."""
    priced: list[int] = []
    """The symbols whose limit price is their sender's own; absent from old snapshots."""


class Working(Orders):
    """A basket whose orders may be open, with the methods by which handlers read and change its columns.

    `priced` are the symbols whose limit price is their sender's own: such an order may rest at any price of the market.
    The others have the worst price of a plan, and fill at once if they fill. The fold, whose baskets have no cause,
    does not set it.
    """

    __slots__ = ("priced",)
    priced: frozenset[int]

    @classmethod
    def sent(cls, basket: OrderBasket, shares: list[Shares], agents: int, priced: Iterable[int] = ()) -> "Working":
        """Return the columns of a basket that is sent. `shares` has by row (order) the (agent, unsigned lots); `agents`
        is the number of the run's agents, and `priced` the symbols whose limit price is their sender's own."""
        rows = len(basket.sym)
        lone = agents == 1 and all(len(row) == 1 for row in shares)
        work = cls(basket.sample, basket.n, basket.ts, rows, 0 if lone else sum(map(len, shares)))
        work.record, work.at_venue, work.plain = basket, True, not basket.kind
        work.priced = frozenset(priced)
        work.write([basket.sym, basket.lots, basket.worst_nano, basket.end, list(basket.reason)], shares)
        return work

    @property
    def basket(self) -> OrderBasket:
        if self.record is None:
            self.record = basket_of_columns(self.sample, self.n, self.ts, self.terms(), {})
        basket: OrderBasket = self.record
        return basket

    @property
    def cause(self) -> str:
        """The id of the proposal that the orders carry out; empty for a decision of the daemon."""
        return "" if self.record is None else str(self.record.cause)

    @property
    def shares(self) -> list[Shares]:
        """The remaining unsigned lots of each row, as (agent number, lots) of each agent with a part in it."""
        return self.shares_remaining()

    @property
    def sent_shares(self) -> list[Shares]:
        """The unsigned lots of each row when it was sent, as (agent number, lots) of each agent with a part in it.

        A busted (reversed) fill changes them. The list is empty in a state from an old snapshot.
        """
        if self.shares_record is None:
            self.shares_record = [[(who, abs(lots)) for who, lots in row] for row in self.signed_shares()]
        shares: list[Shares] = self.shares_record
        return shares

    def shares_of(self, row: int) -> Shares:
        """Return the remaining unsigned lots of a row, as (agent number, lots) of each agent with a part in it."""
        at = self.place(row)
        if self.lone:
            return [(0, self.remaining[at])]
        end = at + self.pairs[row]
        return list(zip(list(self.parts[2 * at : 2 * end : 2]), list(self.remaining[at:end]), strict=True))

    def put_shares(self, row: int, shares: Shares) -> None:
        """Replace the remaining unsigned lots of a row by (agent number, lots) of each agent."""
        self.plain = False
        if [agent for agent, _ in shares] == [agent for agent, _ in self.shares_of(row)]:
            at = self.place(row)
            for k, (_, lots) in enumerate(shares):
                self.remaining[at + k] = lots
            return
        # another set of agents, since an agent with no lots is omitted: columns of another layout are made
        # `agents=2`, so that they name the agents of each row
        rows, _ = self.shares, self.sent_shares  # `sent_shares` is computed before the columns change
        rows[row] = shares
        replacement = Working.sent(self.basket, rows, agents=2)
        self.lone, self.pairs, self.parts, self.remaining = (
            False,
            replacement.pairs,
            replacement.parts,
            replacement.remaining,
        )

    def cancel(self, row: int, now: int) -> Cancel:
        """Mark an order as being cancelled; returns the effect that cancels it."""
        self.state[row] = transition(self.state[row], Cause.CANCEL_ASKED)
        return Cancel(self.sample, self.n, row, now)

    def split(self, symbol: int, numerator: int, denominator: int) -> None:
        """Rescale the orders of a symbol by a split exactly as the venue does."""
        for row, column in enumerate(self.basket.sym):
            if column == symbol and self.state[row] not in ENDED:
                _ = self.sent_shares  # computed before the lots change: the shares are those at the submission
                self.lots[row], self.filled[row], self.worst_nano[row] = split_row(
                    self.lots[row], self.filled[row], self.worst_nano[row], numerator, denominator
                )
                self.put_shares(row, share(abs(self.lots[row]) - self.filled[row], self.shares_of(row)))
                self.odd.pop(row, None)

    def freeze(self) -> FrozenOrders:
        """The basket of orders as plain values by row, as snapshots have it."""
        lots, worst_nano, filled, state = map(list, (self.lots, self.worst_nano, self.filled, self.state))
        return FrozenOrders(
            self.basket, lots, worst_nano, filled, state, self.shares, self.live, self.odd, self.again,
            self.sent_shares, sorted(self.priced) if self.cause else [],
        )  # fmt: skip

    @classmethod
    def thaw(cls, frozen: FrozenOrders, agents: int) -> "Working":
        """The basket of orders in a snapshot of a run with `agents` agents.

        `frozen.whole` are the agents' lots as sent, empty in an old snapshot; `frozen.shares` are their open lots.
        """
        work = cls.sent(frozen.basket, frozen.whole or frozen.shares, agents, frozen.priced)
        columns = (work.lots, frozen.lots), (work.worst_nano, frozen.worst_nano)
        for column, values in (*columns, (work.filled, frozen.filled), (work.state, frozen.state)):
            column[:] = _int64_view(values)
        work.shares_record, work.odd, work.again, work.live = frozen.whole, frozen.odd, frozen.again, frozen.live
        if frozen.shares != frozen.whole:
            for row, shares in enumerate(frozen.shares):
                work.put_shares(row, shares)
        basket = frozen.basket
        work.plain = work.plain and (basket.lots, basket.worst_nano) == (frozen.lots, frozen.worst_nano)
        return work


def _int64_view(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64).data


class EndedBaskets:
    """The newest baskets without open orders, by (sample, n): at most `kept`, and beside them `kept_of_programs` with
    a cause, because a program sends one basket for each of its orders."""

    def __init__(self, kept: int, kept_of_programs: int) -> None:
        self._kept, self._retained = (kept, kept_of_programs), frozenset[Key]()
        self._baskets: tuple[dict[Key, Working], dict[Key, Working]] = {}, {}

    def hold(self, keys: Iterable[Key]) -> None:
        """Retain these ended baskets of orders, however many newer ones are added; they are fewer than `kept`, the
        maximum."""
        self._retained = frozenset(keys)

    def append(self, key: Key, work: Working) -> None:
        of_program = bool(work.cause)
        baskets = self._baskets[of_program]
        if len(baskets) >= self._kept[of_program]:
            del baskets[next(oldest for oldest in baskets if oldest not in self._retained)]
        baskets[key] = work

    def __iter__(self) -> Iterator[tuple[Key, Working]]:
        return iter([*self._baskets[0].items(), *self._baskets[1].items()])

    def find(self, key: Key) -> Working | None:
        """The ended basket of orders with this key; None if it is not retained."""
        return self._baskets[0].get(key) or self._baskets[1].get(key)


class Cross(Struct):
    """Lots that agents exchange at the next open without an order and a fee, if the open is inside both worst
    prices."""

    sample: int
    ts: int
    symbol: int
    shares: list[tuple[int, int]]
    buy_worst_nano: int
    sell_worst_nano: int
    end: int


class OpenCrosses(Crosses):
    """The crosses (trades between agents) that wait, in the order in which they were made.

    The columns have crosses in ascending order of their symbols, one for each symbol. The first cross out of this
    order, and all that follow it, are records in `further`.
    """

    __slots__ = ()

    def __len__(self) -> int:
        return self.count + len(self.further)

    def __iter__(self) -> Iterator[Cross]:
        return iter([*self._records(), *self.further])

    def _records(self) -> list[Cross]:
        """The crosses (trades between agents) that are stored in the columns, as records."""
        if not self.count:
            return []
        rows = np.asarray(self.lots).T.tolist()
        # a compiled class makes a view at each read of a column
        columns = zip(self.sample, self.ts, self.buy_worst, self.sell_worst, self.end, self.parties, strict=True)
        return [
            Cross(
                sample, ts, symbol, [(agent, lots) for agent, lots in enumerate(rows[symbol]) if lots], buy, sell, end
            )
            for symbol, (sample, ts, buy, sell, end, parties) in enumerate(columns)
            if parties
        ]

    def add(self, cross: Cross) -> None:
        """Add a cross (trade between agents) as the last one."""
        worst = cross.buy_worst_nano, cross.sell_worst_nano
        if not self.put(cross.symbol, cross.shares, *worst, cross.end, cross.sample, cross.ts):
            self.further.append(cross)

    def keep(self, crosses: Iterable[Cross]) -> None:
        """Replace all crosses (trades between agents) by these, in this order."""
        rows = list(crosses)
        self.clear()
        for cross in rows:
            self.add(cross)

    def drop(self, symbol: int) -> None:
        """Drop the crosses (trades between agents) of a symbol."""
        if len(self):
            self.keep(cross for cross in self if cross.symbol != symbol)
