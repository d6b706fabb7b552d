"""The rig of the ccxt adapter at Binance: Binance's protocol on 127.0.0.1, spoken to by ccxt itself.

A purchase pays no fee here: Binance takes it from the coin, and the cases count whole lots. Fees in the coin and in BNB
have tests of their own.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Final, Literal

from quantd.adapters.brokers.ccxt.broker import Crypto
from quantd.adapters.brokers.ccxt.connection import CryptoSettings
from quantd.adapters.exchange.client import Access
from quantd.adapters.exchange.dialects import BINANCE
from quantd.adapters.exchange.numbers import lots_and_odd, micro
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import Broker, VenueFlow
from tests.proofs.conformance.rig import CASH_MICRO, Fault, NotOffered, On, Refusal, Row, Truth, VenueOrder
from tests.proofs.conformance.rigs.ccxt import LOTS, SETTLE_S, TICKS, CcxtRig
from tests.proofs.conformance.scene import opened
from tests.support.venues.binance import Exchange, Market, Moved

MARKETS: Final = (
    Market("SOL", "USDT", "0.01", "1", "1", "5"),
    Market("ADA", "USDT", "0.01", "1", "1", "5"),
    Market("ETH", "USDT", "0.01", "0.0001", "0.0001", "0.01"),
    Market("DOGE", "USDT", "0.0000001", "1", "1", "0.01"),
    Market("BTC", "USDT", "0.1", "0.00000001", "0.00005", "5"),
    Market("LTC", "USDT", "0.01", "0.00000001", "0.04", "5"),
)
QUERIES: Final = ("GET openOrders", "GET order", "GET myTrades")
PATHS: Final[dict[On, tuple[str, ...]]] = {
    "submit": ("POST order",),
    "cancel": ("DELETE order",),
    "query": QUERIES,
    "replace": ("DELETE order", "POST order"),
    "account": ("GET account",),
}
NAMES: Final = {"deposit": "deposit", "withdrawal": "withdrawal", "interest": "dividend"}
"""VenueFlow's kind -> the server's."""


class BinanceRig(CcxtRig):
    """See `tests.proofs.conformance.rig.Rig`."""

    name = "binance"
    venue: Exchange  # type: ignore[assignment]
    opens = Exchange
    buy = "BUY"

    def __init__(self, poll_s: float = 0.5) -> None:
        super().__init__(poll_s)
        self.universe = Universe(
            tuple(
                Instrument(f"{market.base}/USDT", lot_nano=lot, tick_nano=tick, calendar="24/7")
                for market, lot, tick in zip(MARKETS, LOTS, TICKS, strict=False)
            ),
            "USDT",
            calendar="24/7",
        )

    async def start(self) -> None:
        self.venue = self.opens((replace(market) for market in MARKETS), self.now)
        self.venue.fee_rate[self.buy] = Decimal(0)
        self.venue.add("USDT", Decimal(CASH_MICRO) / 1_000_000)
        await self.venue.start()
        self.broker: Broker = self.adapter()
        await opened(self.broker)

    def adapter(
        self, *, key: str = "", universe: Universe | None = None, per_minute: int = 0, timeout_s: float = 0.0
    ) -> Broker:
        # `per_minute` counts lists of open orders
        weight = per_minute * BINANCE.weights["GET openOrders"]
        access = Access(
            "binance", key or self.venue.key, self.venue.secret, url=self.venue.url,
            timeout_s=timeout_s or self.timeout_s, per_minute=weight, orders_per_minute=per_minute,
        )  # fmt: skip
        settings = CryptoSettings(
            access, settle_s=SETTLE_S, patience_s=1.5, poll_s=self._poll_s, retry_first_s=0.05, retry_most_s=0.2
        )
        return Crypto(settings, universe or self.universe, self.run, self.now)

    def lacks(self, case: str) -> str:
        if case == "an order with an end is good for the day":
            return "an order at this exchange has no end of its own: the adapter cancels it then"
        return ""

    def refused(self, why: Refusal) -> Row:
        if why == "untradable":
            self._market(1).status = "BREAK"
            return Row(1, 5)
        return super().refused(why)

    def _market(self, column: int) -> Market:
        return list(self.venue.markets.values())[column]

    async def hold(self, column: int, lots: int) -> None:
        if lots < 0:
            raise NotOffered("nothing can be sold short at a spot exchange")
        self.venue.add(self._market(column).base, self._size(column, lots))

    async def end(self, basket: OrderBasket, row: int, how: Literal["cancelled", "expired", "rejected"]) -> None:
        if how == "rejected":
            raise NotOffered("this exchange refuses an order at once or not at all")
        self.venue.close(self._order(basket, row), "CANCELED" if how == "cancelled" else "EXPIRED")

    async def foreign_order(self, column: int, lots: int, limit_nano: int) -> str:
        fields = {
            "symbol": self._market(column).name, "side": "BUY" if lots > 0 else "SELL", "type": "LIMIT",
            "timeInForce": "GTC", "quantity": f"{self._size(column, abs(lots)):f}",
            "price": f"{Decimal(limit_nano) / NANO:f}",
        }  # fmt: skip
        order = self.venue._new(fields)
        self.venue.orders[order.id] = order
        return str(order.id)

    async def foreign_trade(self, column: int, lots: int, price_nano: int) -> None:
        size, price = self._size(column, lots), Decimal(price_nano) / NANO
        self.venue.add(self._market(column).base, size)
        self.venue.add("USDT", -size * price)

    async def flow(self, kind: str, amount_micro: int, column: int = -1) -> None:
        if kind == "dividend":
            raise NotOffered("a coin pays no dividend")
        if kind not in NAMES:
            raise NotOffered(f"this exchange lists no {kind} apart from trades")
        amount, now = Decimal(amount_micro) / 1_000_000, self.now()
        done = (now // NANO + 1) * NANO if kind == "withdrawal" else now  # its instants are whole seconds
        self.venue.add("USDT", amount)
        number = str(9_000_000 + len(self.venue.moved))
        self.venue.moved.append(Moved(number, NAMES[kind], "USDT", abs(amount), now, done))

    async def odd(self, column: int) -> None:
        self.venue.add(self._market(column).base, self._size(column, 1) / 4)

    async def outside(self) -> str:
        self.venue.add("XLM", Decimal("12.5"))
        return "XLM"

    async def block(self) -> None:
        self.venue.maintenance = True

    async def misbehave(self, fault: Fault, on: On, times: int = 1) -> None:
        self.venue.misbehave(fault, PATHS[on], times)

    def has(self, basket: OrderBasket, row: int) -> list[VenueOrder]:
        column = basket.sym[row]
        return [
            VenueOrder(
                client_id=order.client_id,
                lots=lots_and_odd(order.qty, LOTS[column])[0] * (1 if order.side == "BUY" else -1),
                filled=lots_and_odd(order.filled, LOTS[column])[0],
                limit_nano=int(order.price * NANO),
                stop_nano=int(order.stop * NANO),
                in_force=order.tif.lower(),
                open=order.open,
            )
            for order in self.venue.by_client(self._id(basket, row))
        ]

    def truth(self) -> Truth:
        held = [self.venue.balances.get(self._market(k).base, Decimal(0)) for k in range(len(LOTS))]
        lots = tuple(lots_and_odd(amount, lot)[0] for amount, lot in zip(held, LOTS, strict=True))
        return Truth(lots, micro(self.venue.balances["USDT"]))

    def requests(self, on: On) -> int:
        return sum(1 for name in self.venue.calls if name in PATHS[on])

    def flows(self) -> list[VenueFlow]:
        kinds = {word: kind for kind, word in NAMES.items()}
        return [
            VenueFlow(f"{'reward' if one.kind == 'dividend' else one.kind} {one.id}", one.done, kinds[one.kind],
                      micro(-one.amount if one.kind == "withdrawal" else one.amount))
            for one in self.venue.moved
        ]  # fmt: skip
