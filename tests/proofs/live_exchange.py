"""The world of a live day at a spot exchange of ccxt: its server, on the clock of the day, and the adapter to it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from quantd.adapters.brokers.ccxt.broker import Crypto
from quantd.adapters.brokers.ccxt.connection import CryptoSettings
from quantd.adapters.exchange.client import Access
from quantd.daemon.assembly.parts import Parts
from quantd.trading.ports import Broker
from tests.proofs.conformance.rigs.ccxt import ASSETS
from tests.proofs.live_day import SYMBOLS, Account, Arrived, World
from tests.support.venues import binance, bybit, kraken
from tests.support.venues.spot import Resting

PAIRS: Final = (
    kraken.Pair("XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD", "XXBT", "ZUSD", 2, 4, "0.0001", "0.5"),
    kraken.Pair("XETHZUSD", "ETHUSD", "ETH/USD", "ETH/USD", "XETH", "ZUSD", 2, 3, "0.001", "0.5"),
    kraken.Pair("SOLUSD", "SOLUSD", "SOL/USD", "SOL/USD", "SOL", "ZUSD", 2, 2, "0.01", "0.5"),
)
MARKETS: Final = (
    binance.Market("BTC", "USD", "0.01", "0.0001", "0.0001", "5"),
    binance.Market("ETH", "USD", "0.01", "0.001", "0.001", "5"),
    binance.Market("SOL", "USD", "0.01", "0.01", "0.01", "5"),
)
CASH: Final = Decimal(100_000)
ORDERS: Final = {"kraken": ("AddOrder",), "binance": ("POST order",), "bybit": ("POST order/create",)}
"""The request that sends an order, by exchange."""
LOOK_UPS: Final = {
    "kraken": ("ClosedOrders", "TradesHistory"), "binance": ("GET order", "GET myTrades"),
    "bybit": ("GET order/realtime of one", "GET order/history", "GET execution/list"),
}  # fmt: skip
"""The requests that look up an order which is not open, by exchange."""
SKEW_S: Final = 60.0
"""Accepted difference of clocks: a request of some milliseconds takes seconds of the day's clock."""


class ExchangeWorld(World):
    """See `tests.proofs.live_day.World`. Fees are taken in money, as the account of the venue is asked."""

    def __init__(self, venue: str, folder: Path, scale: float, seed: int) -> None:
        super().__init__(folder, scale, seed)
        self.name = venue
        self.venue: Any
        if venue == "kraken":
            self.venue = kraken.Exchange([replace(pair, bars=[]) for pair in PAIRS], ASSETS, self.clock)
            self.coins, self.money = dict(zip(SYMBOLS, (pair.base for pair in PAIRS), strict=True)), "ZUSD"
        else:
            make, buys = (bybit.Exchange, "Buy") if venue == "bybit" else (binance.Exchange, "BUY")
            self.venue = make((replace(market) for market in MARKETS), self.clock)
            self.venue.fee_rate[buys] = Decimal(0)  # it would take part of a lot
            self.coins, self.money = {symbol: symbol[:3] for symbol in SYMBOLS}, "USD"
        self.venue.add(self.money, CASH)
        self.venue.auto = True

    async def cut_off(self) -> None:
        await self.venue.stop()

    async def listen(self) -> None:
        await self.venue.start()

    async def cut_stream(self) -> None:
        await self.venue.cut()

    def quote(self, symbol: str, price: float) -> None:
        self.venue.price(symbol if self.name == "kraken" else symbol.replace("/", ""), f"{price:.2f}")

    def list_all(self) -> None:
        for symbol, price in self.price.items():
            self.quote(symbol, price)

    def states(self) -> list[tuple[object, ...]]:
        return [(id, order.status, order.left) for id, order in self.venue.orders.items()]

    def account(self) -> Account:
        balances = self.venue.balances
        units = {symbol: balances.get(coin, Decimal(0)) for symbol, coin in self.coins.items()}
        return Account(units, balances[self.money], Counter(order.client for order in self.venue.orders.values()))

    def open_orders(self) -> list[Arrived]:
        return [self._arrived(order) for order in self.venue.orders.values() if order.open]

    def _arrived(self, order: Resting) -> Arrived:  # type: ignore[override]
        symbol = next(name for name in SYMBOLS if name.replace("/", "") == order.symbol.replace("/", ""))
        return Arrived(order.client, symbol, order.buys, order.left, order.limit)

    def lose_answers(self) -> None:
        self.venue.silent = True
        self.venue.misbehave("answer lost", ORDERS[self.name])
        self.venue.misbehave("500", LOOK_UPS[self.name], 100_000)

    def answer_again(self) -> None:
        self.venue.silent = False
        self.venue.misbehave("500", LOOK_UPS[self.name], 0)

    def watch(self, look: Callable[[Arrived], None]) -> None:
        self.venue.on_arrival = lambda order: look(self._arrived(order))

    def broker(self, parts: Parts, run: str) -> Broker:
        access = Access(
            self.name, self.venue.key, self.venue.secret, url=f"http://127.0.0.1:{self.cable.port}", timeout_s=20.0,
            per_minute=0,
        )  # fmt: skip
        settings = CryptoSettings(
            access, settle_s=120.0, patience_s=2.0, poll_s=0.5, skew_s=SKEW_S, retry_first_s=0.02, retry_most_s=0.2
        )
        broker = Crypto(settings, parts.universe, run, self.clock)
        line = broker._line
        line.dialect = msgspec.structs.replace(line.dialect, most_skew_s=SKEW_S)
        return broker
