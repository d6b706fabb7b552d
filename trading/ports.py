"""The protocols between the core and the outside world."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.events import Action, Condition, VenueNews
from quantd.trading.instruments import Universe
from quantd.trading.market import MarketSlice
from quantd.trading.orders import OrderBasket
from quantd.trading.venue import VenueAccount, VenueFlow
from quantd.trading.view import Hold, Memory, Noted, View

BrokerNews = VenueNews | Condition
"""What a venue says. With Condition("broker") an adapter says that it lost its venue, or has it again."""


class Policy(Protocol):
    """Decides target weights. `lookback` is how many samples of returns, or of bars, it reads. One that reads
    `view.bars` has an attribute `uses_bars` that is true: bars are kept only in runs of such a policy."""

    @property
    def lookback(self) -> int: ...

    def act(self, view: View, memory: Memory) -> tuple[NDArray[np.float64] | Hold | Noted, Memory]:
        """Weights float64[N] by column, fractions of the book's equity (the rest is cash), and the new memory. What is
        Noted with them is said to people when it changes."""
        ...


def leaves(policy: Policy) -> Iterator[Policy]:
    """The policies that `policy` is made of, itself where it is made of none: one made of others names them as `inside`."""
    inside: tuple[Policy, ...] = getattr(policy, "inside", ())
    if not inside:
        yield policy
    for each in inside:
        yield from leaves(each)


class Until(Struct, frozen=True):
    """Every bar and action of up to `ts` that will ever come has come: what is due by then may be stepped."""

    ts: int


class LiveFeed(Protocol):
    """A market that goes on: first what is missing since `after`, then what happens. Its items are in order of
    time; an Until says how far it is known, at least four times a second while nothing happens. It mends its own
    losses; what it cannot mend it says through `trouble`, and goes on trying until it is closed."""

    @property
    def universe(self) -> Universe: ...

    @property
    def interval_ns(self) -> int: ...

    @property
    def trouble(self) -> str:
        """Why nothing comes at present; empty while all is well."""
        ...

    @property
    def absent(self) -> tuple[str, ...]:
        """Symbols of which the vendor has no bars though it should; the others go on."""
        ...

    def items(self, after: int) -> AsyncIterator[Action | MarketSlice | Until]:
        """Everything with `ts_event` later than `after` (ns UTC)."""
        ...

    async def close(self) -> None: ...


class SimulatedBroker(Protocol):
    """A venue that is a pure fold of baskets, cancels, actions and slices."""

    def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]: ...

    def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]: ...

    def on_action(self, action: Action) -> Sequence[BrokerNews]: ...

    def on_slice(self, market: MarketSlice) -> Sequence[BrokerNews]: ...

    def on_time(self, ts: int) -> Sequence[BrokerNews]: ...

    def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]: ...

    def freeze(self) -> bytes: ...

    def thaw(self, frozen: bytes) -> None: ...


class Broker(Protocol):
    """A venue across a network. What becomes of an order is news, never an exception that a caller must guess from:
    an answer that does not come in time is Unknown, and only what the venue itself refused is rejected."""

    async def open(self) -> None:
        """Connect, and compare clock, account, currency and the universe's sizes with the venue's. Raises VenueError
        with every mistake and its remedy."""
        ...

    def remember(self, basket: OrderBasket) -> None:
        """A basket of before a restart: its rows may be asked for, and news of them recognised."""
        ...

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Send all rows, or some of them. One that the venue has already is not sent a second time: it is told what
        became of it."""
        ...

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Nothing when the venue took it (the end comes as news), CancelReported when it refused."""
        ...

    async def replace(self, sample: int, n: int, row: int, basket: OrderBasket) -> Sequence[BrokerNews]:
        """Put the one row of `basket` in the place of an open order, at once where the venue can: the old one ends as
        cancelled, and never both are open."""
        ...

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """What became of rows, by client id: each execution, and the state. NotFound only when the venue says with
        authority, later than its settling time after the row was sent, that it never had it."""
        ...

    async def account(self) -> VenueAccount:
        """What the venue holds. Raises ConnectionError when it does not answer."""
        ...

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        """Cash that moved for other reasons than fills, later than `since` (ns UTC), oldest first. Raises ConnectionError."""
        ...

    def news(self) -> AsyncIterator[BrokerNews]:
        """What the venue says by itself, until `close`. Lost, it says Condition("broker", up=False) once and tries again
        with back-off; back, Condition("broker", up=True): what was missed in between must be asked for."""
        ...

    async def close(self) -> None: ...


class EventBus(Protocol):
    """The way out to subscribers. Every method returns at once: a bus that is away never makes trading wait."""

    online: bool
    queue_depth: int

    @property
    def drops(self) -> int: ...

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
