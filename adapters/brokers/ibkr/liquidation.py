"""The emergency exit of an account at Interactive Brokers: cancels the orders of every client, and closes positions.

What can go wrong. A market order whose answer was lost is sent again, and the position turns round: the venue takes any
number of orders with one reference, and has none that only closes. A closing order is therefore looked for by its
reference in all three lists, under which one that is at the venue is found, and a position with an open order is not
closed. The gateway's own command ends the orders of all clients; an order by hand in TWS is a person's to cancel.
"""

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from quantd.adapters.brokers.account_exit import Ended, Holding, WorkingOrder
from quantd.adapters.brokers.ibkr.account import read_positions
from quantd.adapters.brokers.ibkr.broker import settings_of
from quantd.adapters.brokers.ibkr.connection import WHERE, IbkrSettings, first_connection
from quantd.adapters.brokers.ibkr.orders import Desk, Look
from quantd.adapters.brokers.ibkr.wire import ENDED, library
from quantd.adapters.brokers.venue import Login
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.trading.instruments import NANO, Universe

PAGE: Final = "TWS or the vendor's client portal"
PAUSE_S: Final = 0.1
TRIES: Final = 20
"""Looks for a closing order that was sent."""


class IbkrExit:
    """The emergency exit of one account; implements `AccountExit`."""

    where = WHERE
    page = PAGE

    def __init__(self, settings: IbkrSettings, universe: Universe) -> None:
        self._settings = settings
        self._desk = Desk(settings, universe, "emergency", time.time_ns, lambda report: None)
        self._contracts: dict[str, int] = {}

    async def open(self) -> None:
        """Connect. Raises VenueError for an account that the gateway does not have, and ConnectionError."""
        await first_connection(self._desk.line)

    async def close(self) -> None:
        """Disconnect."""
        await self._desk.close()
        self._desk.line.drop("")

    async def number(self) -> str:
        return self._settings.account

    async def _look(self) -> Look:
        """Read the lists; after a loss connect again first."""
        if self._desk.line.lost.is_set():
            await self._desk.line.connect()
        return await self._desk.look()

    async def orders(self) -> Sequence[WorkingOrder]:
        """Return every open order of the account, whoever placed it."""
        look = await self._look()
        if look.partial:
            raise ConnectionError("a message about an order could not be read")
        return [
            WorkingOrder(
                str(order.perm_id), order.symbol, "buy" if order.buy else "sell", order.qty,
                Decimal(order.filled_nano or 0) / NANO,
            )
            for order in look.open
        ]  # fmt: skip

    async def cancel_all(self) -> None:
        """Cancel the open orders of every client in one request."""
        (await self._desk.line.client()).reqGlobalCancel()

    async def cancel(self, order: WorkingOrder) -> None:
        """Repeat the request: a single order may be cancelled by its own client only."""
        await self.cancel_all()

    async def ended(self, orders: Sequence[WorkingOrder]) -> dict[str, Ended]:
        """Return how orders ended today, by permanent id."""
        ended = {str(order.perm_id): order for order in (await self._look()).ended}
        return {
            order.id: Ended(there.status, Decimal(there.filled_nano or 0) / NANO)
            for order in orders
            if (there := ended.get(order.id)) is not None and there.status in ENDED
        }

    async def holdings(self) -> Sequence[Holding]:
        """Return every position; one that is no share has a fault, because this exit does not close it."""
        holdings = []
        if self._desk.line.lost.is_set():
            await self._desk.line.connect()
        for con_id, symbol, kind, size in await read_positions(self._desk.line):
            self._contracts[symbol] = con_id
            fault = "" if kind == "STK" else f"it is of kind {kind}, which this exit does not close"
            holdings.append(Holding(symbol if not fault else f"{symbol} {kind}", size, fault=fault))
        return holdings

    async def close_position(self, holding: Holding, client_id: str) -> str:
        """Close a position by a market order, once for each client id; return the permanent id of the order.

        Raises VenueError for a refusal, ConnectionError where the order is not listed in time.
        """
        if (there := await self._listed(client_id)) is not None:
            return there
        contract = library().Contract(conId=self._contracts[holding.symbol], exchange="SMART")
        order = library().Order(
            action="SELL" if holding.qty > 0 else "BUY", totalQuantity=f"{abs(holding.qty):f}", orderType="MKT",
            tif="DAY", account=self._settings.account, orderRef=client_id,
        )  # fmt: skip
        client: Any = await self._desk.line.client()
        order_id = client.getReqId()
        client.placeOrder(order_id, contract, order)
        for _ in range(TRIES):
            await asyncio.sleep(PAUSE_S)
            if (there := await self._listed(client_id)) is not None:
                return there
            if words := self._desk.said.get(order_id):
                raise VenueError(WHERE, f"refused ({words})", f"See {PAGE}")
        raise ConnectionError("the order to close it is in no list yet")

    async def _listed(self, client_id: str) -> str | None:
        """Return the permanent id of the order with this reference, None where no list has it."""
        look = await self._look()
        if look.partial:
            raise ConnectionError("a message about an order could not be read")
        ids = {done.ref: done.perm_id for done in look.executions}
        ids |= {order.ref: order.perm_id for order in (*look.ended, *look.open)}
        return str(ids[client_id]) if client_id in ids else None


def account_exit(login: Login) -> IbkrExit:
    """Return the emergency exit of the account, not yet connected. Raises VenueError without an account."""
    return IbkrExit(settings_of(login, "emergency"), login.universe)
