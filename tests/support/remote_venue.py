"""A venue across a network without sockets, and a feed that goes on, for tests of the daemon's live side.

The venue is the paper venue behind awaits: answers come late, are lost, come twice. The feed is a script of slices.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from quantd.adapters.brokers.paper.broker import Paper
from quantd.trading.events import Action, CancelReported, Condition, NotFound, Unknown
from quantd.trading.execution import Costs
from quantd.trading.instruments import Universe
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.ports import BrokerNews, OpenOrder, Until, VenueAccount, VenueFlow


@dataclass
class Faults:
    """How likely each fault is, at each call."""

    lost_submit: float = 0.0
    """The order is accepted and its answer lost."""
    never_came: float = 0.0
    """The order never came to the venue, and nobody says so."""
    lost_query: float = 0.0
    doubled: float = 0.0
    dropped_news: float = 0.0
    delay_s: float = 0.0


@dataclass
class Holding:
    """What the venue really has."""

    lots: list[int]
    cash_micro: int


class Venue:
    """The venue itself: goes on when the daemon is away."""

    def __init__(self, universe: Universe, cash_micro: int, costs: Costs | None = None) -> None:
        self.universe = universe
        self.paper = Paper(universe, costs or Costs())
        self.has = Holding([0] * universe.size, cash_micro)
        self.outbox: list[BrokerNews] = []
        self.wake = asyncio.Event()
        self.baskets: dict[tuple[int, int], OrderBasket] = {}

    def submit(self, basket: OrderBasket) -> Sequence[BrokerNews]:
        key = basket.sample, basket.n
        self.baskets[key] = basket
        return self.paper.submit(basket)

    def on_slice(self, market: MarketSlice) -> None:
        """The market went on: fills are booked here and told."""
        for news in self.paper.on_slice(market):
            if isinstance(news, Reports):
                self._book(news)
            self.outbox.append(news)
        self.wake.set()

    def _book(self, report: Reports) -> None:
        basket = self.baskets[report.sample, report.n]
        for row, lots, price, fee in zip(report.row, report.lots, report.price_nano, report.fee_micro, strict=True):
            side = 1 if basket.lots[row] > 0 else -1
            column = basket.sym[row]
            self.has.lots[column] += side * lots
            atto = side * lots * self.universe.lot_nano[column] * price
            self.has.cash_micro -= atto // 10**12 + fee


class Remote:
    """A quantd.trading.ports.Broker that reaches a Venue through faults."""

    def __init__(self, venue: Venue, faults: Faults | None = None, seed: int = 0) -> None:
        self.venue = venue
        self.faults = faults or Faults()
        self._rng = random.Random(seed)
        self._known: set[tuple[int, int]] = set()
        self.opened = self.closed = False

    async def _late(self) -> None:
        await asyncio.sleep(self._rng.random() * self.faults.delay_s)

    def _happens(self, chance: float) -> bool:
        return self._rng.random() < chance

    async def open(self) -> None:
        self.opened = True

    def remember(self, basket: OrderBasket) -> None:
        self._known.add((basket.sample, basket.n))

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        await self._late()
        self.remember(basket)
        unknown = [Unknown(basket.sample, basket.n, basket.ts, list(range(len(basket.sym))), "no answer in time")]
        if self._happens(self.faults.never_came):
            return unknown
        news = self.venue.submit(basket)
        await self._late()
        return unknown if self._happens(self.faults.lost_submit) else news

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        await self._late()
        return self.venue.paper.cancel(sample, n, row, ts)

    async def replace(self, sample: int, n: int, row: int, basket: OrderBasket) -> Sequence[BrokerNews]:
        return [CancelReported(sample, n, basket.ts, row, "this venue replaces nothing")]

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        await self._late()
        assert (sample, n) in self._known, "asked for an order that nobody told of"
        if self._happens(self.faults.lost_query):
            return [Unknown(sample, n, 0, list(rows), "no answer in time")]
        if (sample, n) not in self.venue.baskets:
            return [NotFound(sample, n, 0, list(rows))]
        return self.venue.paper.query(sample, n, rows)

    async def account(self) -> VenueAccount:
        await self._late()
        has = self.venue.has
        return VenueAccount(0, "USD", tuple(has.lots), has.cash_micro, ours=(OpenOrder(0, 0, 0),))

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        return ()

    async def news(self) -> AsyncIterator[BrokerNews]:
        yield Condition(0, "broker", True, "connected")
        while True:
            await self.venue.wake.wait()
            self.venue.wake.clear()
            news, self.venue.outbox = self.venue.outbox, []
            for event in news:
                await self._late()
                ends = isinstance(event, Reports) and any(c > Cause.PART_FILL for c in event.cause)
                if self._happens(self.faults.dropped_news) and ends:
                    yield Condition(0, "broker", False, "lost")
                    yield Condition(0, "broker", True, "connected")
                    continue
                yield event
                if self._happens(self.faults.doubled):
                    yield event

    async def close(self) -> None:
        self.closed = True


class Script:
    """A quantd.trading.ports.LiveFeed over slices that are known beforehand; the venue sees each before the daemon
    does."""

    def __init__(
        self,
        universe: Universe,
        interval_ns: int,
        items: Sequence[Action | MarketSlice],
        venue: Venue | None,
        from_ts: int,
        slow: bool = False,
    ) -> None:
        self._slow = slow
        self.universe = universe
        self.interval_ns = interval_ns
        self.trouble = ""
        self.absent: tuple[str, ...] = ()
        self._items = items
        self._venue = venue
        self._from_ts = self._live_from = from_ts
        self.given = 0
        self.ended = asyncio.Event()
        self.quiet: Callable[[], Awaitable[None]] | None = None
        """Returns once the daemon has sent what it decided; the next bar waits for it."""

    async def items(self, after: int) -> AsyncIterator[Action | MarketSlice | Until]:
        for item in self._items:
            if isinstance(item, MarketSlice) and item.ts_event > after:
                if self._venue is not None and item.ts_event > self._from_ts:
                    self._from_ts = item.ts_event
                    self._venue.on_slice(item)
                yield item
                yield Until(item.ts_event)
                self.given += 1
                # a day is long: what was decided on a close is at the venue before the next open
                live = item.ts_event > self._live_from
                await asyncio.sleep(0.03 if self._slow or live else 0.0)
                if live and self.quiet is not None:
                    await self.quiet()
        self.ended.set()
        await asyncio.Event().wait()

    async def close(self) -> None:
        return None
