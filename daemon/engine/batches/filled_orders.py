"""Orders that filled whole in a batch, as the arrays had them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.venue.open_orders import Working
from quantd.risk.pretrade.baskets import batch_basket
from quantd.trading.effects import Filled
from quantd.trading.market import Block
from quantd.trading.orders import Cause, OrderBasket, OrderState, Reports

Ints = NDArray[np.int64]


class FilledOrders(NamedTuple):
    """The fills of a basket at the open of a `row` of a block, as the arrays had them.

    `orders` are 7 columns of orders, `fills` 4 of fills; `pairs` the agents' parts, None for a lone agent. `least`:
    orders have a minimum commission. `sent` is the basket, where it was sent before.
    """

    block: Block
    row: int
    key: tuple[int, int]
    ts: int
    orders: Ints
    fills: Ints
    reasons: Ints
    pairs: Ints | None
    least: bool
    sent: OrderBasket | None

    def basket(self) -> OrderBasket:
        """The basket."""
        if self.sent is not None:
            return self.sent
        return batch_basket(*self.key, self.ts, self.orders.reshape(-1, len(self.reasons)), self.reasons)

    def shares(self) -> list[list[tuple[int, int]]]:
        """The agents' unsigned lots of each order."""
        rows = len(self.reasons)
        if self.pairs is None:
            return [[(0, abs(lots))] for lots in self.orders[rows : 2 * rows].tolist()]
        pairs, at = self.pairs.tolist(), rows
        found = []
        for count in pairs[:rows]:
            own = pairs[at : at + 2 * count]
            found.append(list(zip(own[::2], own[1::2], strict=True)))
            at += 2 * count
        return found

    def effect(self) -> Filled:
        """The record of the fills."""
        sym, lots, prices, fees = self.fills.reshape(4, -1).tolist()
        signed = [
            [(who, part if own > 0 else -part) for who, part in each]
            for own, each in zip(lots, self.shares(), strict=True)
        ]
        return Filled(*self.key, self.block.ts_open[self.row], sym, lots, prices, fees, signed)

    @property
    def ts_event(self) -> int:
        """As `quantd.trading.ports.FilledBasket`."""
        return self.block.ts_event[self.row]

    def made(self) -> tuple[OrderBasket, Reports, list[int]]:
        """As `quantd.trading.ports.FilledBasket`."""
        rows = len(self.reasons)
        _, lots, prices, fees = self.fills.reshape(4, -1).tolist()
        whole = [abs(own) for own in lots]
        report = Reports(
            *self.key, self.block.ts_open[self.row], list(range(rows)), whole, whole, prices, fees,
            [int(Cause.LAST_FILL)] * rows,
        )  # fmt: skip
        charged = self.orders[6 * rows :].tolist() if self.least else [-1] * rows
        return self.basket(), report, charged

    def ended(self) -> Working:
        """The basket, ended."""
        basket, shares = self.basket(), self.shares()
        work = Working.sent(basket, shares)
        work.filled = [abs(lots) for lots in basket.lots]
        work.state = [int(OrderState.FILLED)] * len(basket.sym)
        work.shares = [[(who, 0) for who, _ in each] for each in shares]
        work.live = 0
        return work
