"""Baskets at a venue, and lots that agents exchange without an order."""

from collections.abc import Iterator

from msgspec import Struct

from quantd.trading.orders import ENDED, OrderBasket

Key = tuple[int, int]
"""Sample and number of a basket."""


class Row(Struct):
    """A reordered or lost report of one order: the intervals of its fills that arrived, and how it ended."""

    covered: list[tuple[int, int]] = []
    final: int = -1
    cause: int = -1


class Working(Struct):
    """A basket at the venue. Per row: signed `lots` and limit `worst_nano` as they are now (a split rescales
    them), `filled` unsigned lots, `state` an OrderState, `shares` the agents' unsigned remaining lots. `odd` are
    rows whose reports came out of order; `live` rows have not ended; `again` is how often rows were sent
    again."""

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

    def open_shares(self) -> Iterator[tuple[int, int, int]]:
        """(row, agent, signed lots) of everything that may still fill."""
        for row, shares in enumerate(self.shares):
            if self.state[row] not in ENDED:
                side = 1 if self.lots[row] > 0 else -1
                for agent, left in shares:
                    if left:
                        yield row, agent, side * left


class Cross(Struct):
    """Lots two agents exchange at the next open inside both worst prices; no order, no fee."""

    sample: int
    ts: int
    symbol: int
    shares: list[tuple[int, int]]
    buy_worst_nano: int
    sell_worst_nano: int
    end: int
