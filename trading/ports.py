"""The protocols between the core and the outside world."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trading.events import Action, CancelReported, Condition, NotFound, Reconciled, Unknown
from trading.instruments import Universe
from trading.market import MarketSlice
from trading.orders import ForeignOrder, OrderBasket, Reports
from trading.view import Hold, Memory, View

BrokerNews = Reports | CancelReported | Unknown | NotFound | Condition
"""What a venue says. With Condition("broker") an adapter says that it lost its venue, or has it again."""


class Policy(Protocol):
    """Decides target weights. `lookback` is how many samples of returns it reads."""

    @property
    def lookback(self) -> int: ...

    def act(self, view: View, memory: Memory) -> tuple[NDArray[np.float64] | Hold, Memory]:
        """Weights float64[N] by column, fractions of the book's equity (the rest is cash), and the new memory."""
        ...


class ReplayFeed(Protocol):
    """A recorded market. Its items are in time order: an action before the slice it opens."""

    @property
    def universe(self) -> Universe: ...

    @property
    def interval_ns(self) -> int:
        """Length of a bar; a day for bars of a whole session."""
        ...

    @property
    def digest(self) -> str:
        """Hex BLAKE2b of the files' content and of what was selected from them."""
        ...

    def items(self) -> Iterator[Action | MarketSlice]: ...


class LiveFeed(Protocol):
    """A market that goes on. Ends only by being closed; raises ConnectionError when it is lost."""

    @property
    def universe(self) -> Universe: ...

    @property
    def interval_ns(self) -> int: ...

    def items(self) -> AsyncIterator[Action | MarketSlice]: ...


class SimulatedBroker(Protocol):
    """A venue that is a pure fold of baskets, cancels, actions and slices."""

    def submit(self, basket: OrderBasket) -> Sequence[BrokerNews]: ...

    def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]: ...

    def on_action(self, action: Action) -> Sequence[BrokerNews]: ...

    def on_slice(self, market: MarketSlice) -> Sequence[BrokerNews]: ...

    def on_time(self, ts: int) -> Sequence[BrokerNews]: ...

    def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]: ...

    def freeze(self) -> bytes: ...

    def thaw(self, frozen: bytes) -> None: ...


class Broker(Protocol):
    """A venue across a network. Answers come as news, never as exceptions a caller must guess from."""

    async def submit(self, basket: OrderBasket) -> Sequence[BrokerNews]: ...

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]: ...

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]: ...

    async def reconcile(self) -> tuple[Reconciled, Sequence[ForeignOrder]]: ...

    def news(self) -> AsyncIterator[BrokerNews]: ...


class EventBus(Protocol):
    """The way out to subscribers. Every method returns at once: a bus that is away never makes trading wait."""

    online: bool
    queue_depth: int
    drops: int

    @property
    def reconnects(self) -> int: ...

    def wake(self) -> None:
        """The outbox has something new."""
        ...

    def retain(self, topic: str, payload: bytes) -> None:
        """The present state of a topic: the newest wins, and is sent again on every connection."""
        ...

    def transient(self, topic: str, payload: bytes) -> None:
        """Sent at most once and only now."""
        ...
