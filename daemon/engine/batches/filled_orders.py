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


class FillColumns(NamedTuple):
    """The fills of a basket at `ts`: int64[4, K] columns, signed lots, prices in nano and fees in micro.

    `shares` are signed lots by agent; None where the first agent has all.
    """

    sample: int
    n: int
    ts: int
    columns: Ints
    shares: list[list[tuple[int, int]]] | None

    def effect(self) -> Filled:
        """The record of the fills."""
        sym, lots, prices, fees = self.columns.tolist()
        shares = self.shares if self.shares is not None else [[(0, own)] for own in lots]
        return Filled(self.sample, self.n, self.ts, sym, lots, prices, fees, shares)


class FilledOrders(NamedTuple):
    """The fills of a basket of `rows` orders at the open of a `row` of a block.

    `cells` are the sections of the arrays from `A_REASONS` up to `A_CROSSED`, for `sizes`: symbols and agents. `least`:
    orders have a minimum commission. `sent` is the basket, where it was sent before.
    """

    block: Block
    row: int
    key: tuple[int, int]
    ts: int
    rows: int
    cells: Ints
    sizes: tuple[int, int]
    least: bool
    sent: OrderBasket | None

    def _orders(self) -> Ints:
        """int64[5, K] columns of the orders."""
        size, rows = self.sizes[0], self.rows
        return self.cells[size : size + 5 * rows].reshape(5, rows)

    def _filled(self) -> Ints:
        """int64[4, K]: columns, signed lots, prices and fees."""
        size, agents = self.sizes
        at = 7 * size + 2 * size * agents
        return self.cells[at : at + 4 * self.rows].reshape(4, self.rows)

    def basket(self) -> OrderBasket:
        """The basket."""
        if self.sent is not None:
            return self.sent
        return batch_basket(*self.key, self.ts, self._orders(), self.cells[: self.rows])

    def shares(self) -> list[list[tuple[int, int]]]:
        """The agents' unsigned lots of each order."""
        size, agents = self.sizes
        if agents == 1:
            return [[(0, abs(lots))] for lots in self._orders()[1].tolist()]
        pairs, at = self.cells[6 * size : 7 * size + 2 * size * agents].tolist(), size
        found = []
        for count in pairs[: self.rows]:
            own = pairs[at : at + 2 * count]
            found.append(list(zip(own[::2], own[1::2], strict=True)))
            at += 2 * count
        return found

    def columns(self) -> FillColumns:
        """The fills without the arrays of the batch."""
        found, shares = self._filled().copy(), None
        if self.sizes[1] > 1:
            shares = [
                [(who, part if own > 0 else -part) for who, part in each]
                for own, each in zip(found[1].tolist(), self.shares(), strict=True)
            ]
        return FillColumns(*self.key, self.block.ts_open[self.row], found, shares)

    @property
    def ts_event(self) -> int:
        """As `quantd.trading.ports.FilledBasket`."""
        return self.block.ts_event[self.row]

    def made(self) -> tuple[OrderBasket, Reports, list[int]]:
        """As `quantd.trading.ports.FilledBasket`."""
        rows = self.rows
        _, lots, prices, fees = self._filled().tolist()
        whole = [abs(own) for own in lots]
        report = Reports(
            *self.key, self.block.ts_open[self.row], list(range(rows)), whole, whole, prices, fees,
            [int(Cause.LAST_FILL)] * rows,
        )  # fmt: skip
        charged = self._orders()[4].tolist() if self.least else [-1] * rows
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
