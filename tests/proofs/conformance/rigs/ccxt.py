"""The rig of the ccxt adapter: Kraken's protocol on 127.0.0.1, spoken to by ccxt itself."""

import time
from dataclasses import replace
from decimal import Decimal
from importlib import import_module
from typing import Final, Literal

from quantd.adapters.brokers.ccxt.broker import Crypto
from quantd.adapters.brokers.ccxt.connection import CryptoSettings
from quantd.adapters.exchange.client import Access
from quantd.adapters.exchange.dialects import as_uuid
from quantd.adapters.exchange.numbers import lots_and_odd, micro
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.orders import Kind, OrderBasket, order_id
from quantd.trading.ports import Broker, VenueFlow
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
from tests.proofs.conformance.scene import opened
from tests.support.venues.kraken import Exchange, Order, Pair

DAY_NS: Final = 86_400 * NANO
SETTLE_S: Final = 30.0
TIMEOUT_S: Final = 2.5

MARKETS: Final = (
    Pair("SOLUSD", "SOLUSD", "SOL/USD", "SOL/USD", "SOL", "ZUSD", 2, 0, "1", "0.5"),
    Pair("ADAUSD", "ADAUSD", "ADA/USD", "ADA/USD", "ADA", "ZUSD", 2, 0, "1", "0.5"),
    Pair("XETHZUSD", "ETHUSD", "ETH/USD", "ETH/USD", "XETH", "ZUSD", 2, 4, "0.0001", "0.01"),
    Pair("XDGUSD", "XDGUSD", "XDG/USD", "DOGE/USD", "XXDG", "ZUSD", 7, 0, "1", "0.01"),
    Pair("XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD", "XXBT", "ZUSD", 1, 8, "0.00005", "0.5"),
    Pair("XLTCZUSD", "LTCUSD", "LTC/USD", "LTC/USD", "XLTC", "ZUSD", 2, 8, "0.04", "0.5"),
)
ASSETS: Final = {
    "ZUSD": "USD", "SOL": "SOL", "ADA": "ADA", "XETH": "ETH", "XXDG": "XDG", "XXBT": "XBT", "XLTC": "LTC",
    "XXLM": "XLM",
}  # fmt: skip
ROLES: Final[dict[str, int]] = {"plain": 0, "other": 1, "fine": 2, "cheap": 3, "unshortable": 0}
PRICES: Final = (150 * NANO, 80 * NANO, 2500 * NANO, 81_234_500, 60_000 * NANO)
LOTS: Final = (NANO, NANO, NANO // 10_000, NANO, 10)
TICKS: Final = (NANO // 100, NANO // 100, NANO // 100, 100, NANO // 10)
TRADED: Final = ("SOL/USD", "ADA/USD", "ETH/USD", "DOGE/USD", "BTC/USD")

PATHS: Final[dict[On, tuple[str, ...]]] = {
    "submit": ("AddOrder",),
    "cancel": ("CancelOrder",),
    "query": ("OpenOrders", "ClosedOrders", "TradesHistory"),
    "replace": ("CancelOrder", "AddOrder"),
    "account": ("BalanceEx",),
}
NAMES: Final = {
    "deposit": "deposit", "withdrawal": "withdrawal", "interest": "staking", "other": "adjustment",
}  # fmt: skip
"""VenueFlow's kind -> the exchange's word."""


class CcxtRig:
    """See `tests.proofs.conformance.rig.Rig`."""

    name = "kraken"

    def __init__(self, poll_s: float = 0.5) -> None:
        self.universe = Universe(
            tuple(
                Instrument(symbol, lot_nano=lot, tick_nano=tick, calendar="24/7")
                for symbol, lot, tick in zip(TRADED, LOTS, TICKS, strict=True)
            ),
            calendar="24/7",
        )
        self.run = "conform1"
        self.timeout_s = TIMEOUT_S
        import_module("ccxt.pro")  # seconds, and no case's fault
        self._poll_s = poll_s
        self._ahead_ns = 0
        self._number = 0
        self._made: list[Crypto] = []

    async def start(self) -> None:
        self.venue = Exchange((replace(pair, bars=[]) for pair in MARKETS), ASSETS, self.now)
        self.venue.add("ZUSD", Decimal(CASH_MICRO) / 1_000_000)
        await self.venue.start()
        self.broker: Broker = self.adapter()
        await opened(self.broker)

    async def stop(self) -> None:
        try:
            if hasattr(self, "broker"):
                await self.broker.close()
        finally:
            await self.venue.stop()

    def adapter(
        self, *, key: str = "", universe: Universe | None = None, per_minute: int = 0, timeout_s: float = 0.0
    ) -> Broker:
        access = Access(
            self.name, key or self.venue.key, self.venue.secret, url=self.venue.url,
            timeout_s=timeout_s or self.timeout_s,
            per_minute=per_minute, orders_per_minute=per_minute,
        )  # fmt: skip
        settings = CryptoSettings(
            access, settle_s=SETTLE_S, patience_s=1.5, poll_s=self._poll_s, retry_first_s=0.05, retry_most_s=0.2
        )
        return Crypto(settings, universe or self.universe, self.run, self.now)

    def lacks(self, case: str) -> str:
        return ""

    async def listened(self) -> None:
        await self.venue.heard.wait()

    # the clock

    def now(self) -> int:
        # milliseconds, as the exchange keeps its ledger
        return (time.time_ns() + self._ahead_ns) // 1_000_000 * 1_000_000

    async def settle(self) -> None:
        self._ahead_ns += int(SETTLE_S * NANO)

    async def skew(self, seconds: float) -> None:
        self.venue.skew_ns = int(seconds * NANO)

    # orders

    def column(self, role: Role) -> int:
        if role == "short":
            raise NotOffered("nothing can be sold short at a spot exchange")
        return ROLES[role]

    def price_nano(self, column: int) -> int:
        return PRICES[column]

    def basket(self, *rows: Row, sample: int = 0) -> OrderBasket:
        if any(row.kind in (Kind.OPEN, Kind.CLOSE) for row in rows):
            raise NotOffered("this exchange never closes and has no auctions")
        self._number += 1
        now = self.now()
        midnight = (now // DAY_NS + 1) * DAY_NS
        return OrderBasket(
            sample=sample or now // DAY_NS * DAY_NS,
            n=self._number,
            ts=now,
            sym=[row.column for row in rows],
            lots=[row.lots for row in rows],
            worst_nano=[row.worst_nano or PRICES[row.column] * (105 if row.lots > 0 else 95) // 100 for row in rows],
            end=[midnight if row.end == -1 else row.end for row in rows],
            kind=[int(row.kind) for row in rows] if any(row.kind for row in rows) else [],
            stop_nano=[row.stop_nano for row in rows] if any(row.kind == Kind.STOP for row in rows) else [],
        )

    def refused(self, why: Refusal) -> Row:
        if why == "buying power":
            return Row(0, 100_000)
        if why in ("not held", "unshortable"):
            return Row(0, -5)
        if why == "too small":
            return Row(4, 100)
        if why == "untradable":
            self._pair(1).status = "cancel_only"
            return Row(1, 5)
        raise NotOffered("this exchange never closes")

    def _pair(self, column: int) -> Pair:
        return list(self.venue.pairs.values())[column]

    def _id(self, basket: OrderBasket, row: int) -> str:
        return as_uuid(order_id(self.run, basket.sample, self.universe.symbols[basket.sym[row]], basket.n))

    def _order(self, basket: OrderBasket, row: int) -> Order:
        return next(order for order in self.venue.by_client(self._id(basket, row)) if order.open)

    def _size(self, column: int, lots: int) -> Decimal:
        return Decimal(lots * LOTS[column]) / NANO

    # what the venue does by itself

    async def hold(self, column: int, lots: int) -> None:
        if lots < 0:
            raise NotOffered("nothing can be sold short at a spot exchange")
        self.venue.add(self._pair(column).base, self._size(column, lots))

    async def fill(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        self.venue.fill(self._order(basket, row), self._size(basket.sym[row], lots), Decimal(price_nano) / NANO)

    async def take_back(self, basket: OrderBasket, row: int, lots: int = 0, price_nano: int = 0) -> None:
        raise NotOffered("a crypto exchange takes no trade back")

    async def end(self, basket: OrderBasket, row: int, how: Literal["cancelled", "expired", "rejected"]) -> None:
        if how == "rejected":
            raise NotOffered("this exchange refuses an order at once or not at all")
        word = "canceled" if how == "cancelled" else "expired"
        self.venue.close(self._order(basket, row), word, f"{how} by the exchange")

    async def fill_on_cancel(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        order = self._order(basket, row)

        def before() -> bool:
            self.venue.fill(order, self._size(basket.sym[row], lots), Decimal(price_nano) / NANO)
            return True

        self.venue.on_cancel[order.client] = before

    async def refuse_cancel(self, basket: OrderBasket, row: int) -> None:
        self.venue.on_cancel[self._id(basket, row)] = lambda: False

    # somebody else at the same account

    async def foreign_order(self, column: int, lots: int, limit_nano: int) -> str:
        venue = self.venue
        fields = {
            "type": "buy" if lots > 0 else "sell", "ordertype": "limit", "volume": f"{self._size(column, abs(lots)):f}",
            "price": f"{Decimal(limit_nano) / NANO:f}",
        }  # fmt: skip
        order = venue._order(self._pair(column), fields)
        venue.orders[order.txid] = order
        return order.txid

    async def foreign_trade(self, column: int, lots: int, price_nano: int) -> None:
        size, price = self._size(column, lots), Decimal(price_nano) / NANO
        self.venue.add(self._pair(column).base, size)
        self.venue.add("ZUSD", -size * price)
        self.venue.enter("trade", self._pair(column).base, size)
        self.venue.enter("trade", "ZUSD", -size * price)

    async def flow(self, kind: str, amount_micro: int, column: int = -1) -> None:
        if kind == "dividend":
            raise NotOffered("a coin pays no dividend")
        if kind not in NAMES:
            raise NotOffered(f"this exchange has no {kind} apart from trades")
        amount = Decimal(amount_micro) / 1_000_000
        self.venue.add("ZUSD", amount)
        self.venue.enter(NAMES[kind], "ZUSD", amount)

    async def odd(self, column: int) -> None:
        self.venue.add(self._pair(column).base, self._size(column, 1) / 4)

    async def outside(self) -> str:
        self.venue.add("XXLM", Decimal("12.5"))
        return "XLM"

    async def block(self) -> None:
        self.venue.status = "maintenance"

    async def revoke(self) -> None:
        self.venue.key = "ANOTHER"

    # misbehaviour

    async def misbehave(self, fault: Fault, on: On, times: int = 1) -> None:
        self.venue.misbehave(fault, PATHS[on], times)

    async def stream(self, fault: StreamFault) -> None:
        venue = self.venue
        match fault:
            case "lost":
                await venue.cut()
            case "down":
                venue.stream_up = False
                await venue.cut()
            case "up":
                venue.stream_up, venue.doubled, venue.silent = True, False, False
                venue.release()
            case "doubled":
                venue.doubled = True
            case "held":
                venue.holding = True
            case "reversed":
                venue.release(newest_first=True)
            case "silent":
                venue.silent = True
            case "garbage":
                await venue.garbage()

    async def down(self) -> None:
        await self.venue.stop()

    async def up(self) -> None:
        await self.venue.start()

    # what the venue really has

    def has(self, basket: OrderBasket, row: int) -> list[VenueOrder]:
        column = basket.sym[row]
        return [
            VenueOrder(
                client_id=order.cl_ord_id,
                lots=lots_and_odd(order.vol, LOTS[column])[0] * (1 if order.side == "buy" else -1),
                filled=lots_and_odd(order.vol_exec, LOTS[column])[0],
                limit_nano=int(order.limit * NANO),
                stop_nano=int(Decimal(order.price) * NANO) if order.ordertype == "stop-loss-limit" else 0,
                in_force={"GTC": "gtc", "GTD": "day"}[order.timeinforce],
                open=order.status == "open",
            )
            for order in self.venue.by_client(self._id(basket, row))
        ]

    def truth(self) -> Truth:
        held = [self.venue.balances.get(self._pair(k).base, Decimal(0)) for k in range(len(LOTS))]
        lots = tuple(lots_and_odd(amount, lot)[0] for amount, lot in zip(held, LOTS, strict=True))
        return Truth(lots, micro(self.venue.balances["ZUSD"]))

    def requests(self, on: On) -> int:
        return sum(1 for path in self.venue.calls if path in PATHS[on])

    def flows(self) -> list[VenueFlow]:
        words = {word: kind for kind, word in NAMES.items()}
        return [
            VenueFlow(entry.id, entry.at, words[entry.kind], micro(entry.amount - entry.fee))
            for entry in self.venue.ledger
            if entry.kind in words and entry.asset == "ZUSD"
        ]

    def secrets(self) -> tuple[str, ...]:
        return (self.venue.key, self.venue.secret)
