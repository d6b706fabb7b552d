"""The adapter of Interactive Brokers at the wire-level gateway of the tests, with ib_async's client between them.

A second adapter of one run takes the place of the first, as a restart does: the gateway admits a client id once.
"""

import asyncio
import time
from decimal import Decimal
from typing import Literal

from quantd.adapters.brokers.ibkr.broker import Ibkr
from quantd.adapters.brokers.ibkr.connection import IbkrSettings
from quantd.adapters.brokers.ibkr.wire import client_id_of
from quantd.trading.instruments import MICRO, NANO, Instrument, Universe
from quantd.trading.orders import OrderBasket, order_id
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
from tests.proofs.conformance.rigs.baskets import numbered
from tests.proofs.conformance.scene import opened
from tests.support.venues.ibkr import Gateway

SETTLE_S = 20.0
HOUR_NS = 3_600 * NANO

UNIVERSE = Universe(
    (
        Instrument("SPY"),
        Instrument("TLT"),
        Instrument("VTI", lot_nano=NANO // 1000),
        Instrument("PENY", tick_nano=NANO // 10_000),
        Instrument("HARD"),
    )
)
PRICES = ("400.00", "95.50", "220.10", "0.5123", "20.00")
ROLES: dict[Role, int] = {"plain": 0, "other": 1, "fine": 2, "cheap": 3, "short": 0, "unshortable": 4}

NO_HTTP = "the gateway answers no request with a status of HTTP: it ends a connection, or says a code"
FAULTS: dict[str, str] = {"429": NO_HTTP, "429 bare": NO_HTTP, "502 html": NO_HTTP, "503": NO_HTTP}
NO_KEYS = "the log-in is the gateway's: one that ends is a lost connection, and no request has a key"
ONS = ("submit", "cancel", "query", "replacement")
NO_FLOWS = "the API lists no movements of cash: the vendor's Flex statements have them"
CORRECTIONS = "only corrections of executions are documented"
KINDS = ("deposit", "withdrawal", "dividend", "fee", "interest")
LACKS: dict[str, str] = {
    **{f"{fault} at a {on}": why for fault, why in FAULTS.items() for on in ONS},
    **{f"a {kind} is a flow, taken once": NO_FLOWS for kind in KINDS},
    "flows come oldest first and only those since": NO_FLOWS,
    "revoked keys are named by the account and by the next order": NO_KEYS,
    "several rows of unknown outcome are each resolved": "one connection has all orders: those behind a cut are lost",
    "too many requests are waited out": "the adapter sends fewer messages than the gateway takes",
    "too many requests for ever end in an order that was never sent": NO_HTTP,
    "maintenance is no refusal": NO_HTTP,
    "no more requests go out than the venue takes": "the limit is a second's, and a case of its own counts it",
    "a blocked account says why": "the API has no word for a blocked account: its orders are rejected (201)",
    "a symbol that is not tradable is named": "contract details do not say it: an order is refused",
    "what the venue does not lend is said with the account": "the API lists no shares to borrow: orders wait (404)",
    "a trade that the venue takes back is booked back to the micro": CORRECTIONS,
    "a trade of before a restart that the venue takes back is found and booked back": CORRECTIONS,
}  # fmt: skip


class IbkrRig:
    """See `tests.proofs.conformance.rig.Rig`."""

    name = "ibkr"
    universe = UNIVERSE
    run = "conform1"

    def __init__(self) -> None:
        # 06:00 UTC of today: ends of orders, some hours on, are not of the next day in New York at any time of a test
        self.offset_ns = 6 * HOUR_NS - time.time_ns() % (24 * HOUR_NS)
        self.server = Gateway(cash=str(CASH_MICRO // MICRO), now=self.now)
        self.server.margin = Decimal(2)
        self.broker: Broker
        self.timeout_s = 2.5
        self.commission_s = 0.3
        self._n = 0
        self._running: list[Ibkr] = []

    async def start(self) -> None:
        for instrument, price in zip(UNIVERSE.instruments, PRICES, strict=True):
            whole = instrument.symbol == "HARD"
            self.server.add(
                instrument.symbol, price, size_increment=Decimal(1 if whole else "0.0001"), shortable=not whole
            )
        await self.server.start()
        self.broker = self.adapter()
        await opened(self.broker)

    async def stop(self) -> None:
        try:
            for broker in self._running:
                await broker.close()
        finally:
            await self.server.stop()

    def adapter(
        self, *, key: str = "", universe: Universe | None = None, per_minute: int = 0, timeout_s: float = 0.0
    ) -> Broker:
        another = f"{key}{universe.size if universe else ''}{universe.currency if universe else ''}"
        settings = IbkrSettings(
            "127.0.0.1", self.server.port, key or self.server.account, client_id_of(self.run + another), paper=True,
            timeout_s=timeout_s or self.timeout_s, settle_s=SETTLE_S, commission_s=self.commission_s, beat_s=0.5,
            retry_first_s=0.05, retry_most_s=0.2,
        )  # fmt: skip
        if another:
            return Ibkr(settings, universe or UNIVERSE, self.run, self.now)
        return Successor(settings, UNIVERSE, self.run, self.now, self._running, self.server)

    def lacks(self, case: str) -> str:
        return LACKS.get(case, "")

    async def listened(self) -> None:
        await self.server.listened()

    def now(self) -> int:
        return time.time_ns() + self.offset_ns

    async def settle(self) -> None:
        self.offset_ns += int((SETTLE_S + 1) * NANO)

    async def skew(self, seconds: float) -> None:
        self.server.skew_ns = int(seconds * NANO)

    # ---------------------------------------------------------------- orders

    def column(self, role: Role) -> int:
        return ROLES[role]

    def price_nano(self, column: int) -> int:
        return int(Decimal(PRICES[column]) * NANO)

    def basket(self, *rows: Row, sample: int = 0) -> OrderBasket:
        self._n += 1
        return numbered(self, self._n, rows, sample, close=self.now() + 6 * HOUR_NS)

    def refused(self, why: Refusal) -> Row:
        match why:
            case "buying power":
                return Row(0, 1_000_000)
            case "unshortable":
                return Row(4, -10)
            case "untradable":
                self.server.refuse["TLT"] = (203, "The security is not available or allowed for this account.")
                return Row(1, 10)
            case "too small":
                self.server.refuse["PENY"] = (388, "Order size is smaller than the minimum requirement.")
                return Row(3, 1)
            case "not held":
                raise NotOffered("an account with credit may sell what it does not hold")
            case _:
                raise NotOffered("outside its sessions the venue keeps orders for the next one (399)")

    def _id(self, basket: OrderBasket, row: int) -> str:
        return order_id(self.run, basket.sample, UNIVERSE.symbols[basket.sym[row]], basket.n)

    def _size(self, column: int, lots: int) -> Decimal:
        return Decimal(lots * UNIVERSE.lot_nano[column]) / NANO

    # ---------------------------------------------------------------- the venue's own doing

    async def hold(self, column: int, lots: int) -> None:
        self.server.positions[UNIVERSE.symbols[column]] = self._size(column, lots)

    async def fill(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        size = self._size(basket.sym[row], lots)
        self.server.fill(self.server.order(self._id(basket, row)), size, Decimal(price_nano) / NANO)

    async def take_back(self, basket: OrderBasket, row: int, lots: int = 0, price_nano: int = 0) -> None:
        size = self._size(basket.sym[row], lots)
        self.server.correct(self.server.order(self._id(basket, row)), size, Decimal(price_nano) / NANO)

    async def end(self, basket: OrderBasket, row: int, how: Literal["cancelled", "expired", "rejected"]) -> None:
        order = self.server.order(self._id(basket, row))
        if how == "rejected":
            self.server.reject(order)
            return
        if how == "expired":  # the venue has no such status: an order that it cancels after its end has expired
            self.offset_ns += 6 * HOUR_NS
        self.server.end(order)

    async def fill_on_cancel(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        size = self._size(basket.sym[row], lots)
        self.server.fill_on_cancel[self._id(basket, row)] = size, Decimal(price_nano) / NANO

    async def refuse_cancel(self, basket: OrderBasket, row: int) -> None:
        self.server.refuse_cancels.add(self._id(basket, row))

    async def foreign_order(self, column: int, lots: int, limit_nano: int) -> str:
        size = self._size(column, lots)
        return str(self.server.place(UNIVERSE.symbols[column], str(size), str(Decimal(limit_nano) / NANO)).perm_id)

    async def foreign_trade(self, column: int, lots: int, price_nano: int) -> None:
        await self.foreign_order(column, lots, price_nano)
        order = self.server.orders[-1]
        self.server.fill(order, order.qty, Decimal(price_nano) / NANO)

    async def flow(self, kind: str, amount_micro: int, column: int = -1) -> None:
        raise NotOffered(NO_FLOWS)

    async def odd(self, column: int) -> None:
        symbol = UNIVERSE.symbols[column]
        self.server.positions[symbol] = self.server.positions.get(symbol, Decimal(0)) + self._size(column, 1) / 4

    async def outside(self) -> str:
        self.server.add("GME", "30.00")
        self.server.positions["GME"] = Decimal("7.5")
        return "GME"

    async def block(self) -> None:
        raise NotOffered(LACKS["a blocked account says why"])

    async def revoke(self) -> None:
        raise NotOffered(NO_KEYS)

    # ---------------------------------------------------------------- misbehaviour

    async def misbehave(self, fault: Fault, on: On, times: int = 1) -> None:
        if fault in FAULTS:
            return
        # a replacement is a cancel, and then an order
        for one in ("cancel", "submit") if on == "replace" else (on,):
            self.server.misbehave(fault, one, times)

    async def stream(self, fault: StreamFault) -> None:
        server = self.server
        match fault:
            case "lost":
                server.cut()
            case "down":
                server.accepting = False
                server.cut()
            case "up":
                server.accepting, server.silent, server.doubled = True, False, False
                server.release()
            case "doubled":
                server.doubled = True
            case "held":
                server.held = []
            case "reversed":
                server.release(backwards=True)
            case "silent":
                server.silent = True
            case "garbage":
                server.garbage()
        await asyncio.sleep(0)

    async def down(self) -> None:
        await self.server.down()

    async def up(self) -> None:
        await self.server.up()

    # ---------------------------------------------------------------- the truth

    def has(self, basket: OrderBasket, row: int) -> list[VenueOrder]:
        lot = UNIVERSE.lot_nano[basket.sym[row]]
        words = {"OPG": "opg", "GTC": "gtc", "DAY": "day"}
        return [
            VenueOrder(
                client_id=order.ref,
                lots=int(order.qty * NANO) // lot * (1 if order.buy else -1),
                filled=int(order.filled * NANO) // lot,
                limit_nano=int(order.limit * NANO),
                stop_nano=int(order.stop * NANO),
                in_force="cls" if order.kind == "LOC" else words[order.tif],
                open=order.open,
            )
            for order in self.server.by_ref(self._id(basket, row))
        ]

    def truth(self) -> Truth:
        lots = []
        for column, symbol in enumerate(UNIVERSE.symbols):
            size = int(self.server.positions.get(symbol, Decimal(0)) * NANO)
            count = abs(size) // UNIVERSE.lot_nano[column]
            lots.append(count if size > 0 else -count)
        return Truth(tuple(lots), round(self.server.cash * MICRO))

    def requests(self, on: On) -> int:
        return self.server.requests[on]

    def flows(self) -> list[VenueFlow]:
        return []

    def secrets(self) -> tuple[str, ...]:
        return ()


class Successor(Ibkr):
    """An adapter whose `open` ends the one before it, as a restart does. A gateway that closes what connects is ready
    by then: a daemon would wait for it."""

    def __init__(
        self, settings: IbkrSettings, universe: Universe, run: str, now: object, running: list[Ibkr], server: Gateway
    ) -> None:
        super().__init__(settings, universe, run, now)  # type: ignore[arg-type]
        self._running, self._server = running, server
        running.append(self)

    async def open(self) -> None:
        while self._running[0] is not self:
            await self._running.pop(0).close()
        self._server.accepting = True
        await super().open()
