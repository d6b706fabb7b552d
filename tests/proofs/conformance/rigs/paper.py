"""The paper venue behind the protocol of a broker, and a market that is driven slice by slice."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import numpy as np

from quantd.adapters.brokers.paper.broker import Paper
from quantd.trading.execution import Costs
from quantd.trading.instruments import ATTO_PER_MICRO, NANO, Instrument, Universe
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import Cause, Kind, OrderBasket, Reports
from quantd.trading.ports import Broker, BrokerNews, VenueAccount, VenueFlow
from tests.proofs.conformance.rig import (
    CASH_MICRO,
    Fault,
    NotOffered,
    On,
    Refusal,
    Role,
    Row,
    StreamFault,
    Truth,
    VenueOrder,
)
from tests.proofs.conformance.rigs.baskets import numbered

MS = 1_000_000
UNIVERSE = Universe(
    (
        Instrument("SPY"),
        Instrument("TLT"),
        Instrument("VTI", lot_nano=NANO // 1000),
        Instrument("PENY", tick_nano=NANO // 10_000),
    )
)
PRICES = (400 * NANO, 95_500_000_000, 220_100_000_000, 512_300_000)
ROLES: dict[Role, int] = {"plain": 0, "other": 1, "fine": 2, "cheap": 3, "short": 0}
ENDING = (Cause.LAST_FILL, Cause.CANCELLED, Cause.EXPIRED, Cause.REJECTED)

NO_NETWORK = "a simulated venue has no network that could fail"
NO_ACCOUNT = "a simulated venue keeps no account: the ledger is the account"
NO_REPLACE = "a simulated venue has no replace: an order is cancelled and another one submitted"
NOBODY_ELSE = "nobody else trades at a simulated venue"
ALL_ACCEPTED = "the paper venue refuses nothing of that kind: the gate does"


class PaperBroker:
    """A simulated broker spoken to as one across a network."""

    def __init__(self, venue: Paper) -> None:
        self.venue = venue
        self.queue: asyncio.Queue[BrokerNews | None] = asyncio.Queue()

    async def open(self) -> None:
        return

    def remember(self, basket: OrderBasket) -> None:
        return

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        if rows is not None:
            raise NotOffered("a simulated venue takes a basket whole")
        return self.venue.submit(basket)

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        return self.venue.cancel(sample, n, row, ts)

    async def replace(self, sample: int, n: int, row: int, basket: OrderBasket) -> Sequence[BrokerNews]:
        raise NotOffered(NO_REPLACE)

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        return self.venue.query(sample, n, rows)

    async def account(self) -> VenueAccount:
        raise NotOffered(NO_ACCOUNT)

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        raise NotOffered(NO_ACCOUNT)

    async def news(self) -> AsyncIterator[BrokerNews]:
        while (message := await self.queue.get()) is not None:
            yield message

    async def close(self) -> None:
        self.queue.put_nowait(None)


class PaperRig:
    """A paper venue on a clock that only the rig moves."""

    name = "paper"
    universe = UNIVERSE
    run = "conform1"

    def __init__(self) -> None:
        self._venue = Paper(UNIVERSE, Costs(participation=1.0))
        self._clock = time.time_ns() // MS * MS
        self.timeout_s = 0.0
        self._n = 0
        self._lots = [0] * UNIVERSE.size
        self._atto = CASH_MICRO * ATTO_PER_MICRO
        self._baskets: dict[tuple[int, int], OrderBasket] = {}
        self._silent = False
        self.broker: Broker

    async def start(self) -> None:
        self.broker = self._news = PaperBroker(self._venue)

    async def stop(self) -> None:
        await self.broker.close()

    def adapter(
        self, *, key: str = "", universe: Universe | None = None, per_minute: int = 0, timeout_s: float = 0.0
    ) -> Broker:
        if key or universe or per_minute or timeout_s:
            raise NotOffered(NO_NETWORK)
        return PaperBroker(self._venue)

    def lacks(self, case: str) -> str:
        if case.startswith("the limit of a "):
            return "limits come to the paper venue on their ticks from planning; it has none of its own"
        if "nobody remembers" in case or "remembered" in case:
            return "the paper venue is a part of the process, restored with it: it forgets no open order"
        if "settled" in case or "never arrived" in case:
            return "a simulated venue has its orders at once: nothing settles"
        if "good till cancelled" in case or "good for the day" in case:
            return "the paper venue has no words for it: an order ends at its end"
        return ""

    async def listened(self) -> None:
        return

    def now(self) -> int:
        return self._clock

    async def settle(self) -> None:
        self._clock += 60_000 * MS

    async def skew(self, seconds: float) -> None:
        raise NotOffered(NO_NETWORK)

    # ---------------------------------------------------------------- orders

    def column(self, role: Role) -> int:
        if role not in ROLES:
            raise NotOffered(ALL_ACCEPTED)
        return ROLES[role]

    def price_nano(self, column: int) -> int:
        return PRICES[column]

    def basket(self, *rows: Row, sample: int = 0) -> OrderBasket:
        if any(row.kind not in (Kind.LIMIT, Kind.STOP) for row in rows):
            raise NotOffered("the paper venue of this rig knows no sessions, so it has no auctions")
        self._n += 1
        order_basket = numbered(self, self._n, rows, sample, close=self._clock + 3_600_000 * MS)
        self._baskets[order_basket.sample, order_basket.n] = order_basket
        return order_basket

    def refused(self, why: Refusal) -> Row:
        raise NotOffered(ALL_ACCEPTED)

    # ---------------------------------------------------------------- the venue's own doing

    async def hold(self, column: int, lots: int) -> None:
        self._lots[column] += lots

    async def fill(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        """One bar of one symbol that has just so much volume."""
        column = basket.sym[row]
        fresh = np.zeros((1, UNIVERSE.size), dtype=np.bool_)
        fresh[0, column] = True
        price = np.full((1, UNIVERSE.size), price_nano / NANO)
        nano = np.full((1, UNIVERSE.size), price_nano, dtype=np.int64)
        volume = np.full((1, UNIVERSE.size), lots * UNIVERSE.lot_nano[column] / NANO)
        block = Block(
            ts_open=np.array([self._clock + MS]), ts_event=np.array([self._clock + 2 * MS]), key=np.array([0]),
            open=price, high=price, low=price, close=price, volume=volume, fresh=fresh, open_nano=nano, close_nano=nano,
        )  # fmt: skip
        self._clock += 2 * MS
        self._book(self._venue.on_slice(MarketSlice(block, 0)))

    def _book(self, news: Sequence[BrokerNews]) -> None:
        """Keep the venue's books of what it filled, and tell it."""
        for report in news:
            assert isinstance(report, Reports)
            basket = self._baskets[report.sample, report.n]
            for row, lots, price in zip(report.row, report.lots, report.price_nano, strict=True):
                column = basket.sym[row]
                signed = lots if basket.lots[row] > 0 else -lots
                self._lots[column] += signed
                self._atto -= signed * UNIVERSE.lot_nano[column] * price
            if not self._silent:
                self._news.queue.put_nowait(report)

    async def take_back(self, basket: OrderBasket, row: int, lots: int = 0, price_nano: int = 0) -> None:
        raise NotOffered("a simulated venue takes no trade back")

    async def end(self, basket: OrderBasket, row: int, how: Literal["cancelled", "expired", "rejected"]) -> None:
        if how != "expired":
            raise NotOffered("the paper venue ends no order on its own but at its end")
        self._clock = basket.end[row]
        self._book(self._venue.on_time(self._clock))

    async def fill_on_cancel(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        await self.fill(basket, row, lots, price_nano)

    async def refuse_cancel(self, basket: OrderBasket, row: int) -> None:
        raise NotOffered("the paper venue cancels what is open")

    async def foreign_order(self, column: int, lots: int, limit_nano: int) -> str:
        raise NotOffered(NOBODY_ELSE)

    async def foreign_trade(self, column: int, lots: int, price_nano: int) -> None:
        raise NotOffered(NOBODY_ELSE)

    async def flow(self, kind: str, amount_micro: int, column: int = -1) -> None:
        raise NotOffered(NO_ACCOUNT)

    async def odd(self, column: int) -> None:
        raise NotOffered(NO_ACCOUNT)

    async def outside(self) -> str:
        raise NotOffered(NO_ACCOUNT)

    async def block(self) -> None:
        raise NotOffered(NO_ACCOUNT)

    async def revoke(self) -> None:
        raise NotOffered(NO_ACCOUNT)

    # ---------------------------------------------------------------- misbehaviour

    async def misbehave(self, fault: Fault, on: On, times: int = 1) -> None:
        raise NotOffered(NO_NETWORK)

    async def stream(self, fault: StreamFault) -> None:
        if fault != "silent":
            raise NotOffered(NO_NETWORK)
        self._silent = True

    async def down(self) -> None:
        raise NotOffered(NO_NETWORK)

    async def up(self) -> None:
        raise NotOffered(NO_NETWORK)

    # ---------------------------------------------------------------- the truth

    def has(self, basket: OrderBasket, row: int) -> list[VenueOrder]:
        news = self._venue.query(basket.sample, basket.n, [row])
        said = [
            (cum, cause)
            for report in news
            if isinstance(report, Reports)
            for at, cum, cause in zip(report.row, report.cum, report.cause, strict=True)
            if at == row
        ]
        if not said:
            return []
        filled = max(cum for cum, _ in said)
        still = not any(cause in ENDING for _, cause in said)
        stop = basket.stop_nano[row] if basket.stop_nano else 0
        return [VenueOrder("", basket.lots[row], filled, basket.worst_nano[row], stop, "", still)]

    def truth(self) -> Truth:
        return Truth(tuple(self._lots), round(self._atto / ATTO_PER_MICRO))

    def requests(self, on: On) -> int:
        raise NotOffered(NO_NETWORK)

    def flows(self) -> list[VenueFlow]:
        return []

    def secrets(self) -> tuple[str, ...]:
        return ()
