"""What is to be sent to a venue across a network: kept until its step has been committed.

To the shell it looks like a venue that answers nothing at once; what the venue says comes back through the inbox.
"""

from collections.abc import Sequence

from msgspec import Struct

from quantd.trading.effects import Cancel, Query
from quantd.trading.events import Action
from quantd.trading.market import MarketSlice
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import BrokerNews


class Rows(Struct, frozen=True):
    """Some rows of a basket, to be sent again."""

    basket: OrderBasket
    row: list[int]

    @property
    def sample(self) -> int:
        return self.basket.sample

    @property
    def n(self) -> int:
        return self.basket.n


Outgoing = OrderBasket | Rows | Cancel | Query


class Wire:
    """Collects what leaves the process. It knows nothing, so there is nothing to freeze."""

    def __init__(self) -> None:
        self._waiting: list[Outgoing] = []

    def taken(self) -> list[Outgoing]:
        """What was collected since the last call, in order, handed over."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        self._waiting.append(basket if rows is None else Rows(basket, list(rows)))
        return ()

    def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        self._waiting.append(Cancel(sample, n, row, ts))
        return ()

    def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        self._waiting.append(Query(sample, n, list(rows)))
        return ()

    def on_action(self, action: Action) -> Sequence[BrokerNews]:
        return ()

    def on_slice(self, market: MarketSlice) -> Sequence[BrokerNews]:
        return ()

    def on_time(self, ts: int) -> Sequence[BrokerNews]:
        return ()

    def freeze(self) -> bytes:
        return b""

    def thaw(self, frozen: bytes) -> None:
        return None
