"""Outgoing orders for a real venue, held until their step is committed.

To the shell (the runner of the engine), `Wire` is a venue that reports nothing at once; the venue's reports arrive
through the inbox.

What can go wrong: a crash between an order and its record leaves an order at the venue that no journal has. So the
shell gives orders to `Wire`. The service takes them with the steps of a commit, and sends them after the commit. A
restart drops the orders that `Wire` collected while the journal was folded: they were sent already, or their state is
unknown and queried.
"""

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct

from quantd.daemon.engine.state import State
from quantd.trading.effects import Again, Cancel, Query
from quantd.trading.events import Action
from quantd.trading.market import MarketSlice, Opening
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import BrokerNews, SimulatedBroker


class Rows(Struct, frozen=True):
    """Orders of one basket to resubmit; `row` has their indices in it."""

    basket: OrderBasket
    row: list[int]

    @property
    def sample(self) -> int:
        return self.basket.sample

    @property
    def n(self) -> int:
        """The number of the basket among the baskets of its sample."""
        return self.basket.n


Outgoing = OrderBasket | Rows | Cancel | Query
"""A request to a real venue."""


def rows_of(effect: Outgoing | Again) -> list[int]:
    """The row indices, in its basket, of the orders that an effect concerns."""
    match effect:
        case OrderBasket():
            return list(range(len(effect.sym)))
        case Cancel():
            return [effect.row]
        case Query() | Rows() | Again():
            return list(effect.row)


class Wire:
    """Collects the requests to a real venue until they are committed; a snapshot does not contain these requests."""

    def __init__(self) -> None:
        self._waiting: list[Outgoing] = []

    def taken(self) -> list[Outgoing]:
        """The requests to the real venue since the last call, in order."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Hold the basket, or its orders with the indices `rows` (None: all), until `taken` is called.

        Returns no report.
        """
        self._waiting.append(basket if rows is None else Rows(basket, list(rows)))
        return ()

    def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Hold the cancel of order `row` in basket `n` of a sample until `taken` is called. Returns no report."""
        self._waiting.append(Cancel(sample, n, row, ts))
        return ()

    def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Hold the query about the orders `rows` in basket `n` of a sample until `taken` is called.

        Returns no report.
        """
        self._waiting.append(Query(sample, n, list(rows)))
        return ()

    def on_action(self, action: Action) -> Sequence[BrokerNews]:
        """Returns no report: the real venue applies the action to its orders itself."""
        return ()

    def on_slice(self, market: MarketSlice) -> Sequence[BrokerNews]:
        """Returns no report: fills arrive from the venue."""
        return ()

    def on_time(self, ts: int, opened: Sequence[Opening] = ()) -> Sequence[BrokerNews]:
        """Returns no report: ends arrive from the venue."""
        return ()

    def freeze(self) -> bytes:
        """Return no bytes: requests that are not committed are dropped with their step."""
        return b""

    def thaw(self, frozen: bytes) -> None:
        return None


def request_of(
    venue: SimulatedBroker, house: State, effect: OrderBasket | Again | Cancel | Query
) -> Callable[[], Sequence[BrokerNews]]:
    """Return a function that sends `effect` to a venue. `house` is the state of the account, or of an agent on paper,
    whose orders the effect concerns."""
    match effect:
        case OrderBasket():
            return partial(venue.submit, effect)
        case Again():
            return partial(venue.submit, house.at_venue()[effect.sample, effect.n].basket, effect.row)
        case Cancel():
            return partial(venue.cancel, effect.sample, effect.n, effect.row, effect.ts)
        case Query():
            return partial(venue.query, effect.sample, effect.n, effect.row)
