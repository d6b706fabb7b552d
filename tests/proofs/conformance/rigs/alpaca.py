"""Alpaca's adapter at the wire-level venue of the tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Literal

import pytest

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
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
from tests.proofs.conformance.scene import Scene, opened
from tests.support.venues.alpaca import AlpacaServer

SETTLE_S = 20.0
HOUR_NS = 3_600 * NANO

UNIVERSE = Universe(
    (
        Instrument("SPY"),
        Instrument("TLT"),
        Instrument("VTI", lot_nano=NANO // 1000),
        Instrument("PENY", tick_nano=NANO // 10_000),
        Instrument("HARD"),
        Instrument("BTC/USD", lot_nano=NANO // 10_000, tick_nano=NANO // 2, calendar="24/7"),
    )
)
PRICES = ("400.00", "95.50", "220.10", "0.5123", "20.00", "60000.0")
ROLES: dict[Role, int] = {"plain": 0, "other": 1, "fine": 2, "cheap": 3, "short": 0, "unshortable": 4}
KINDS = {"deposit": "CSD", "withdrawal": "CSW", "dividend": "DIV", "fee": "FEE", "interest": "INT"}
ENDS = {"cancelled": "canceled", "expired": "expired", "rejected": "rejected"}


class AlpacaRig:
    """A server and the adapter under test, on one clock."""

    name = "alpaca"
    universe = UNIVERSE
    run = "conform1"

    def __init__(self) -> None:
        self.server = AlpacaServer(cash=str(CASH_MICRO // MICRO))
        self.broker: Broker
        self.timeout_s = 2.5
        self._n = 0

    async def start(self) -> None:
        await self.server.start()
        for instrument, price in zip(UNIVERSE.instruments, PRICES, strict=True):
            whole_shares = instrument.symbol == "HARD"
            pair = "/" in instrument.symbol
            self.server.list(
                instrument.symbol, price, fractionable=not whole_shares, shortable=not (whole_shares or pair)
            )
        self.broker = self.adapter()
        await opened(self.broker)

    async def stop(self) -> None:
        try:
            if hasattr(self, "broker"):
                await self.broker.close()
        finally:
            await self.server.stop()

    def adapter(
        self, *, key: str = "", universe: Universe | None = None, per_minute: int = 0, timeout_s: float = 0.0
    ) -> Broker:
        settings = AlpacaSettings(
            url=self.server.url,
            stream_url=self.server.stream_url,
            key=key or self.server.key,
            secret=self.server.secret,
            timeout_s=timeout_s or self.timeout_s,
            patience_s=2.0,
            per_minute=per_minute or 100_000,
            settle_s=SETTLE_S,
            listing_s=0.2,
            backoff_s=(0.02, 0.1),
            heartbeat_s=5.0,
        )
        return Alpaca(settings, universe or UNIVERSE, self.run, self.now)

    def lacks(self, case: str) -> str:
        return ""

    async def listened(self) -> None:
        await self.server.listened()

    def now(self) -> int:
        return time.time_ns() + self.server.offset_ns

    async def settle(self) -> None:
        self.server.offset_ns += int((SETTLE_S + 1) * NANO)

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
            case "not held":
                return Row(5, -10)
            case "unshortable":
                return Row(4, -10)
            case "untradable":
                self.server.book.assets["TLT"].tradable = False
                return Row(1, 10)
            case "too small":
                return Row(3, 1)
            case _:
                raise NotOffered("outside its sessions the venue keeps orders for the next one")

    def _id(self, basket: OrderBasket, row: int) -> str:
        return order_id(self.run, basket.sample, UNIVERSE.symbols[basket.sym[row]], basket.n)

    def _size(self, column: int, lots: int) -> Decimal:
        return Decimal(lots * UNIVERSE.lot_nano[column]) / NANO

    # ---------------------------------------------------------------- the venue's own doing

    async def hold(self, column: int, lots: int) -> None:
        self.server.book.positions[UNIVERSE.symbols[column]] = self._size(column, lots)

    async def fill(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        size = self._size(basket.sym[row], lots)
        self.server.book.fill(self.server.order(self._id(basket, row)), size, Decimal(price_nano) / NANO)

    async def take_back(self, basket: OrderBasket, row: int, lots: int = 0, price_nano: int = 0) -> None:
        order = self.server.order(self._id(basket, row))
        if lots:
            self.server.book.take_back(order, self._size(basket.sym[row], lots), Decimal(price_nano) / NANO)
        else:
            self.server.book.take_back(order)

    async def end(self, basket: OrderBasket, row: int, how: Literal["cancelled", "expired", "rejected"]) -> None:
        self.server.end(self._id(basket, row), ENDS[how])

    async def fill_on_cancel(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        size = self._size(basket.sym[row], lots)
        self.server.book.fill_on_cancel[self._id(basket, row)] = size, Decimal(price_nano) / NANO

    async def refuse_cancel(self, basket: OrderBasket, row: int) -> None:
        self.server.book.refuse_cancels.add(self._id(basket, row))

    async def foreign_order(self, column: int, lots: int, limit_nano: int) -> str:
        asked = {
            "symbol": UNIVERSE.symbols[column], "qty": str(abs(self._size(column, lots))), "type": "limit",
            "side": "buy" if lots > 0 else "sell", "time_in_force": "gtc",
            "limit_price": str(Decimal(limit_nano) / NANO),
        }  # fmt: skip
        return self.server.book.place(asked, foreign=True).id

    async def foreign_trade(self, column: int, lots: int, price_nano: int) -> None:
        await self.foreign_order(column, lots, price_nano)
        order = list(self.server.book.orders.values())[-1]
        self.server.book.fill(order, order.qty, Decimal(price_nano) / NANO)

    async def flow(self, kind: str, amount_micro: int, column: int = -1) -> None:
        symbol = UNIVERSE.symbols[column] if column >= 0 else ""
        self.server.book.move_cash(KINDS[kind], Decimal(amount_micro) / MICRO, symbol)

    async def odd(self, column: int) -> None:
        symbol = UNIVERSE.symbols[column]
        held = self.server.book.positions.get(symbol, Decimal(0))
        self.server.book.positions[symbol] = held + self._size(column, 1) / 4

    async def outside(self) -> str:
        self.server.list("GME", "30.00")
        self.server.book.positions["GME"] = Decimal("7.5")
        return "GME"

    async def block(self) -> None:
        self.server.book.trading_blocked = True

    async def revoke(self) -> None:
        self.server.key = "ANOTHER"

    # ---------------------------------------------------------------- misbehaviour

    async def misbehave(self, fault: Fault, on: On, times: int = 1) -> None:
        self.server.misbehave(fault, on, times)

    async def stream(self, fault: StreamFault) -> None:
        server = self.server
        does: dict[StreamFault, Callable[[], None]] = {
            "lost": server.cut,
            "doubled": lambda: setattr(server, "doubled", True),
            "held": lambda: setattr(server, "held", []),
            "reversed": lambda: server.release(backwards=True),
            "silent": lambda: setattr(server, "silent", True),
        }
        if fault == "down":
            server.stream_open = False
            server.cut()
        elif fault == "up":
            server.stream_open, server.silent, server.doubled = True, False, False
            server.release()
        elif fault == "garbage":
            await server.garbage()
        else:
            does[fault]()
        await asyncio.sleep(0)

    async def down(self) -> None:
        await self.server.down()

    async def up(self) -> None:
        await self.server.up()

    # ---------------------------------------------------------------- the truth

    def has(self, basket: OrderBasket, row: int) -> list[VenueOrder]:
        lot = UNIVERSE.lot_nano[basket.sym[row]]
        return [
            VenueOrder(
                client_id=order.client_id,
                lots=int(order.qty * NANO) // lot * (1 if order.side == "buy" else -1),
                filled=int(order.filled * NANO) // lot,
                limit_nano=int((order.limit or 0) * NANO),
                stop_nano=int((order.stop or 0) * NANO),
                in_force=order.in_force,
                open=order.open,
            )
            for order in self.server.book.by_client.get(self._id(basket, row), [])
        ]

    def truth(self) -> Truth:
        lots = []
        for column, symbol in enumerate(UNIVERSE.symbols):
            size = int(self.server.book.positions.get(symbol, Decimal(0)) * NANO)
            count = abs(size) // UNIVERSE.lot_nano[column]
            lots.append(count if size > 0 else -count)
        return Truth(tuple(lots), round(self.server.book.cash * MICRO))

    def requests(self, on: On) -> int:
        return self.server.requests[on]

    def flows(self) -> list[VenueFlow]:
        ours = {theirs: kind for kind, theirs in KINDS.items()}
        return [
            VenueFlow(
                a["id"], a["_at"], ours[a["activity_type"]], int(Decimal(a["net_amount"]) * MICRO), a.get("symbol", "")
            )
            for a in self.server.book.activities
            if a["activity_type"] != "FILL"
        ]

    def secrets(self) -> tuple[str, ...]:
        return self.server.key, self.server.secret


@pytest.fixture(name="s")
async def alpaca_scene() -> AsyncIterator[Scene]:
    rig = AlpacaRig()
    await rig.start()
    scene = Scene(rig)
    await rig.listened()
    yield scene
    await scene.close()
    await rig.stop()
