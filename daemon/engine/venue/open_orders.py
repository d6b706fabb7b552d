"""Baskets at a venue, and lots that agents exchange without an order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.daemon.engine.core.order_columns import Crosses
from quantd.trading.effects import Cancel
from quantd.trading.execution import split_row
from quantd.trading.ledger.shares import share
from quantd.trading.orders import ENDED, Cause, OrderBasket, OrderState, transition

Key = tuple[int, int]
"""Sample and number of a basket."""

UNCONFIRMED: Final = frozenset({OrderState.SENT, OrderState.CANCELLING, OrderState.UNKNOWN})
"""States of orders that the venue may not have received."""


class Row(Struct):
    """One order whose reports were reordered or lost: the intervals of its fills that arrived, and its end."""

    covered: list[tuple[int, int]] = []
    final: int = -1
    cause: int = -1


class Working(Struct):
    """A basket at the venue.

    Per row: signed `lots` and limit `worst_nano` as they are now (a split rescales them), `filled` unsigned lots,
    `state` an OrderState, `shares` the agents' unsigned remaining lots. `odd` has the rows whose reports came out of
    order; `live` rows have not ended; `again` counts the resubmissions of rows.
    """

    basket: OrderBasket
    lots: list[int]
    worst_nano: list[int]
    filled: list[int]
    state: list[int]
    shares: list[list[tuple[int, int]]]
    live: int
    odd: dict[int, Row] = {}
    again: dict[int, int] = {}
    whole: list[list[tuple[int, int]]] = []
    """The agents' unsigned lots when it was sent."""

    @classmethod
    def sent(cls, basket: OrderBasket, shares: list[list[tuple[int, int]]]) -> "Working":
        """A basket that is being sent, with the agents' unsigned lots of each row."""
        rows = len(basket.sym)
        return cls(
            basket=basket,
            lots=list(basket.lots),
            worst_nano=list(basket.worst_nano),
            filled=[0] * rows,
            state=[int(OrderState.SENT)] * rows,
            shares=shares,
            live=rows,
            whole=list(shares),
        )

    def cancel(self, row: int, now: int) -> Cancel:
        """Mark an order as being cancelled; returns the effect that cancels it."""
        self.state[row] = transition(self.state[row], Cause.CANCEL_ASKED)
        return Cancel(self.basket.sample, self.basket.n, row, now)

    def split(self, symbol: int, numerator: int, denominator: int) -> None:
        """Rescale the orders of a symbol exactly as the venue does."""
        for row, column in enumerate(self.basket.sym):
            if column == symbol and self.state[row] not in ENDED:
                self.lots[row], self.filled[row], self.worst_nano[row] = split_row(
                    self.lots[row], self.filled[row], self.worst_nano[row], numerator, denominator
                )
                self.shares[row] = share(abs(self.lots[row]) - self.filled[row], self.shares[row])
                self.odd.pop(row, None)

    def open_shares(self) -> Iterator[tuple[int, int, int]]:
        """(row, agent, signed lots) of everything that may still fill."""
        for row, shares in enumerate(self.shares):
            if self.state[row] not in ENDED:
                side = 1 if self.lots[row] > 0 else -1
                for agent, left in shares:
                    if left:
                        yield row, agent, side * left


class EndedBaskets:
    """The newest baskets without open orders, by (sample, n). One that the fold filled is made when it is read."""

    def __init__(self, kept: int) -> None:
        self._baskets: deque[tuple[Key, Working | Callable[[], Working]]] = deque(maxlen=kept)
        self._held: frozenset[Key] = frozenset()

    def hold(self, keys: Iterable[Key]) -> None:
        """Keep these baskets, fewer than `kept`, while newer ones are added."""
        self._held = frozenset(keys)

    def append(self, key: Key, work: Working | Callable[[], Working]) -> None:
        """Add a basket, or what makes it."""
        if self._held and len(self._baskets) == self._baskets.maxlen:
            while self._baskets[0][0] in self._held:
                self._baskets.rotate(-1)
        self._baskets.append((key, work))

    def __iter__(self) -> Iterator[tuple[Key, Working]]:
        for at, (key, _) in enumerate(list(self._baskets)):
            yield key, self._made(at)

    def find(self, key: Key) -> Working | None:
        """The basket with this key."""
        return next((self._made(at) for at, (own, _) in enumerate(self._baskets) if own == key), None)

    def _made(self, at: int) -> Working:
        key, work = self._baskets[at]
        if not isinstance(work, Working):
            work = work()
            self._baskets[at] = key, work
        return work


class Cross(Struct):
    """Lots that two agents exchange at the next open inside both worst prices, without order and fee."""

    sample: int
    ts: int
    symbol: int
    shares: list[tuple[int, int]]
    buy_worst_nano: int
    sell_worst_nano: int
    end: int


class OpenCrosses(Crosses):
    """The crosses that wait, in the order in which they were made.

    The columns have the first ones, as far as their symbols ascend; the others are `further` records.
    """

    __slots__ = ()

    def __len__(self) -> int:
        return self.count + len(self.further)

    def __iter__(self) -> Iterator[Cross]:
        return iter([*self._records(), *self.further])

    def _records(self) -> list[Cross]:
        """The crosses of the columns."""
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
        """Add a cross behind the others."""
        worst = cross.buy_worst_nano, cross.sell_worst_nano
        if not self.put(cross.symbol, cross.shares, *worst, cross.end, cross.sample, cross.ts):
            self.further.append(cross)

    def keep(self, crosses: Iterable[Cross]) -> None:
        """Have these crosses only, in this order."""
        rows = list(crosses)
        self.clear()
        for cross in rows:
            self.add(cross)

    def drop(self, symbol: int) -> None:
        """Drop the crosses of a symbol."""
        if len(self):
            self.keep(cross for cross in self if cross.symbol != symbol)
