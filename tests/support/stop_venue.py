"""A venue that bars move, and a feed that waits until it is quiet."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

import numpy as np

from quantd.trading.market import Block, MarketSlice
from quantd.trading.ports import Until
from quantd.trading.sessions import DAY_NS
from tests.support.live_runs import NOW
from tests.support.remote_venue import Script
from tests.support.venues.alpaca import AlpacaServer

WARMUP = 80


def market(days: Sequence[Sequence[float]], lows: dict[tuple[int, int], float]) -> list[MarketSlice]:
    """Days of warm-up around 100, then these closes; `lows` by (day, symbol)."""
    rng = np.random.default_rng(3)
    close = np.vstack([np.round(100 + rng.normal(0, 0.5, (WARMUP, 3)), 2), np.array(days)])
    open_ = np.vstack([close[:1], close[:-1]])
    low = np.minimum(open_, close)
    for (day, symbol), price in lows.items():
        low[WARMUP + day, symbol] = price
    first = NOW + (np.arange(len(close), dtype=np.int64) - WARMUP) * DAY_NS
    bars = Block(
        ts_open=first, ts_event=first + DAY_NS, key=first, open=open_, high=np.maximum(open_, close), low=low,
        close=close,
        volume=np.full(close.shape, 1e7), fresh=np.ones(close.shape, dtype=np.bool_),
    )  # fmt: skip
    return [MarketSlice(bars, row) for row in range(len(bars))]


class Wire:
    """The venue moved by bars: each opens, trades at its low, and closes; what is marketable then fills."""

    def __init__(self, server: AlpacaServer) -> None:
        self.server = server
        self.days: list[dict[str, tuple[Decimal, Decimal]]] = []
        """By quiet day, symbol -> (held, what stops cover)."""

    def on_slice(self, bar: MarketSlice) -> None:
        self.server.offset_ns = bar.ts_event - time.time_ns()
        for prices in (bar.block.open[bar.row], bar.block.low[bar.row], bar.close):
            for symbol, price in enumerate(prices.tolist()):
                self.server.price(f"S{symbol}", f"{price:.2f}")
                self.never_short()

    def never_short(self) -> None:
        book = self.server.book
        for symbol in ("S0", "S1", "S2"):
            sells = sum(
                (o.left for o in book.orders.values() if o.open and o.symbol == symbol and o.side == "sell"), Decimal(0)
            )
            assert sells <= max(book.positions.get(symbol, Decimal(0)), Decimal(0)), symbol

    def note(self) -> None:
        self.never_short()
        book = self.server.book
        self.days.append(
            {
                s: (
                    book.positions.get(s, Decimal(0)),
                    sum((o.left for o in book.orders.values() if o.open and o.symbol == s and o.stop), Decimal(0)),
                )
                for s in ("S0", "S1", "S2")
            }
        )


class Calm(Script):
    """A feed that gives the next bar once the venue has not been asked anything for a while."""

    wire: Wire

    async def items(self, after: int) -> AsyncIterator[MarketSlice | Until]:  # type: ignore[override]
        async for item in super().items(after):
            yield item
            if isinstance(item, Until) and item.ts > NOW - DAY_NS:
                await self._quiet()
                self.wire.note()

    async def _quiet(self) -> None:
        last_count, still = -1, 0
        while still < 12:
            await asyncio.sleep(0.025)
            count = sum(self.wire.server.requests.values())
            still = still + 1 if count == last_count else 0
            last_count = count
