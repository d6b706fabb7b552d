"""The rig of the ccxt adapter at Bybit: Bybit's protocol on 127.0.0.1, spoken to by ccxt itself.

A purchase pays no fee here: Bybit takes it from the coin, and the cases count whole lots.
"""

from decimal import Decimal
from typing import Final, Literal

from quantd.adapters.exchange.numbers import lots_and_odd, micro
from quantd.trading.instruments import NANO
from quantd.trading.orders import Kind, OrderBasket
from quantd.trading.ports import VenueFlow
from tests.proofs.conformance.rig import Fault, NotOffered, On, Row, VenueOrder
from tests.proofs.conformance.rigs.binance import BinanceRig
from tests.proofs.conformance.rigs.ccxt import LOTS, CcxtRig
from tests.support.venues.bybit import Exchange, Order

PATHS: Final[dict[On, tuple[str, ...]]] = {
    "submit": ("POST order/create",),
    "cancel": ("POST order/cancel",),
    "query": ("GET order/realtime", "GET order/history", "GET execution/list"),
    "replace": ("POST order/cancel", "POST order/create"),
    "account": ("GET account/wallet-balance",),
}
EXPIRED: Final = (
    "an expired order is told", "an order that expires is told with what it filled",
    "a silent stream hides nothing from a query",
)  # fmt: skip
"""The cases that need an order that expires."""
NAMES: Final = {"deposit": "TRANSFER_IN", "withdrawal": "TRANSFER_OUT", "interest": "AIRDROP"}
"""VenueFlow's kind -> the exchange's word."""


class BybitRig(BinanceRig):
    """See `tests.proofs.conformance.rig.Rig`."""

    name = "bybit"
    venue: Exchange  # type: ignore[assignment]
    opens = Exchange  # type: ignore[assignment]
    buy = "Buy"
    adapter = CcxtRig.adapter

    def basket(self, *rows: Row, sample: int = 0) -> OrderBasket:
        if any(row.kind == Kind.STOP for row in rows):
            raise NotOffered("the daemon holds stop orders at this exchange")
        return super().basket(*rows, sample=sample)

    async def end(self, basket: OrderBasket, row: int, how: Literal["cancelled", "expired", "rejected"]) -> None:
        if how == "rejected":
            raise NotOffered("this exchange refuses an order at once or not at all")
        # it has no word for an expired order
        self.venue.close(self._order(basket, row), "Cancelled")  # type: ignore[arg-type]

    def lacks(self, case: str) -> str:
        return "this exchange cancels, and lets no order expire" if case in EXPIRED else super().lacks(case)

    async def foreign_order(self, column: int, lots: int, limit_nano: int) -> str:
        fields = {
            "category": "spot", "symbol": self._market(column).name, "side": "Buy" if lots > 0 else "Sell",
            "orderType": "Limit", "qty": f"{self._size(column, abs(lots)):f}",
            "price": f"{Decimal(limit_nano) / NANO:f}",
        }  # fmt: skip
        order: Order = self.venue.new(fields)
        self.venue.orders[order.id] = order
        return order.id

    async def flow(self, kind: str, amount_micro: int, column: int = -1) -> None:
        if kind == "dividend":
            raise NotOffered("a coin pays no dividend")
        if kind not in NAMES:
            raise NotOffered(f"this exchange lists no {kind} apart from trades")
        amount = Decimal(amount_micro) / 1_000_000
        self.venue.add("USDT", amount)
        self.venue.enter(NAMES[kind], "USDT", amount)

    async def misbehave(self, fault: Fault, on: On, times: int = 1) -> None:
        self.venue.misbehave(fault, PATHS[on], times)

    def has(self, basket: OrderBasket, row: int) -> list[VenueOrder]:
        column = basket.sym[row]
        return [
            VenueOrder(
                client_id=order.client,
                lots=lots_and_odd(order.qty, LOTS[column])[0] * (1 if order.buys else -1),
                filled=lots_and_odd(order.filled, LOTS[column])[0],
                limit_nano=int(order.price * NANO),
                stop_nano=0,
                in_force=order.tif.lower(),
                open=order.open,
            )
            for order in self.venue.by_client(self._id(basket, row))
        ]

    def requests(self, on: On) -> int:
        return sum(1 for name in self.venue.calls if name in PATHS[on])

    def flows(self) -> list[VenueFlow]:
        words = {word: kind for kind, word in NAMES.items()}
        return [
            VenueFlow(one.id, one.at, words[one.kind], micro(one.change))
            for one in self.venue.log
            if one.kind in words
        ]  # fmt: skip
