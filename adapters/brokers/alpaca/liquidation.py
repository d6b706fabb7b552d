"""The emergency exit of an Alpaca account: cancels every order and closes positions by the venue's own requests."""

import asyncio
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final
from urllib.parse import quote

import msgspec

from quantd.adapters.brokers.account_exit import Ended, Holding, WorkingOrder
from quantd.adapters.brokers.alpaca import VENUE
from quantd.adapters.brokers.alpaca.account import listed_orders
from quantd.adapters.brokers.alpaca.connection import WORDS, AlpacaSettings, Answer, Lost, NotSent, Rest
from quantd.adapters.brokers.alpaca.wire import AccountNumber, Cancelled, Garbled, Order, Position, ended
from quantd.adapters.brokers.unreadable import WRONG, field_of
from quantd.adapters.brokers.venue import Login
from quantd.adapters.brokers.venue_errors import KeysRefused, VenueError
from quantd.trading.display_text import one_line

REMEDY: Final = "Check key and secret, and that they are for this account: paper (--paper) and live have different ones"


ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
SYMBOL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9./-]{0,31}")


def _checked_part(text: str, form: re.Pattern[str]) -> str:
    """Return the text if it is a venue's id or symbol in the `form`, for use in a path. Raises VenueError otherwise.

    An id such as `../account/configurations?x=#` would turn the request into a different one.
    """
    if form.fullmatch(text) is None or ".." in text:
        raise VenueError(
            "Alpaca", f"{text[:60]!r} is no id or symbol, so that no request with it is sent", "Use the venue's page"
        )
    return text


class AlpacaExit:
    """The emergency exit of one Alpaca account; implements `AccountExit`.

    DELETE /v2/positions/{symbol} closes whatever the account holds when the request arrives. The venue refuses the
    request while another order reserves the shares, and when nothing is held. A repeated request therefore neither
    closes twice nor turns a position around.
    """

    where = "Alpaca"
    page = "https://app.alpaca.markets"

    def __init__(self, settings: AlpacaSettings) -> None:
        self._rest = Rest(settings)

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        await self._rest.close()

    async def number(self) -> str:
        return (await self._ask("GET", "v2/account")).decode(AccountNumber).account_number

    async def orders(self) -> Sequence[WorkingOrder]:
        """Return every open order of the account, whoever placed it.

        Raises KeysRefused with REMEDY, the remedy of `quantd emergency`.
        """
        try:
            orders = await listed_orders(self._rest)
        except KeysRefused as refused:
            raise KeysRefused(self.where, refused.wrong, REMEDY) from None
        return [_working_order(bytes(raw)) for raw in orders]

    async def cancel_all(self) -> None:
        """Cancel every open order in one request. Raises Lost for another answer than one status for each order."""
        (await self._ask("DELETE", "v2/orders")).decode(list[Cancelled])

    async def cancel(self, order: WorkingOrder) -> None:
        (await self._ask("DELETE", f"v2/orders/{_checked_part(order.id, ID)}")).refused()

    async def ended(self, orders: Sequence[WorkingOrder]) -> dict[str, Ended]:
        ends = await asyncio.gather(*(self._end(order.id) for order in orders))
        return {id: end for pair in ends if pair is not None for id, end in [pair]}

    async def _end(self, id: str) -> tuple[str, Ended] | None:
        try:
            order = (await self._ask("GET", f"v2/orders/{_checked_part(id, ID)}")).decode(Order)
            if ended(order) is None:
                return None
        except (NotSent, Lost, VenueError, Garbled):
            return None
        return id, Ended(order.status, order.filled_qty)

    async def holdings(self) -> Sequence[Holding]:
        """Return every position of the account; short positions have a negative quantity.

        A position whose quantity cannot be read counts as 1, because the request that closes it names no quantity.
        Raises ConnectionError for a position without a readable symbol.
        """
        readable_holdings = []
        for raw in (await self._ask("GET", "v2/positions")).decode(list[msgspec.Raw]):
            try:
                position = msgspec.json.decode(raw, type=Position)
            except WRONG as wrong:
                symbol = one_line(field_of(bytes(raw), "symbol"), WORDS)
                if not symbol:
                    raise Lost(f"a position without a readable symbol ({wrong})"[:WORDS]) from None
                readable_holdings.append(Holding(symbol, Decimal(1)))
                continue
            if position.qty:
                size = position.qty.copy_abs().copy_negate() if position.side == "short" else position.qty
                readable_holdings.append(Holding(position.symbol, size, position.market_value))
        return readable_holdings

    async def close_position(self, holding: Holding, client_id: str) -> str:
        """Close a position by a market order, and return the id of that order.

        `client_id` is unused: the venue accepts no client id for this request. A repeated request is harmless without
        one.
        """
        answer = await self._ask("DELETE", f"v2/positions/{quote(_checked_part(holding.symbol, SYMBOL), safe='')}")
        return answer.decode(Order).id

    async def _ask(self, method: str, path: str) -> Answer:
        """Send one request. A status 403 means refused keys after a GET, and a refused order after any other method."""
        answer = await self._rest.ask(method, path)
        if answer.status == 401 or (answer.status == 403 and method == "GET"):
            raise KeysRefused(self.where, f"the keys are refused (status {answer.status}: {answer.words})", REMEDY)
        if not answer.ok:
            raise VenueError(self.where, f"refused ({answer.words})", f"See {self.page}")
        return answer


def _working_order(raw: bytes) -> WorkingOrder:
    """Return an open order. An order that cannot be read is listed with its id and symbol: a cancel needs no more."""
    try:
        order = msgspec.json.decode(raw, type=Order)
    except WRONG:
        symbol, side = (one_line(field_of(raw, name), WORDS) for name in ("symbol", "side"))
        return WorkingOrder(field_of(raw, "id"), symbol, side, Decimal("NaN"))
    return WorkingOrder(order.id, order.symbol or "", order.side or "", order.qty or Decimal(0), order.filled_qty)


def account_exit(login: Login) -> AlpacaExit:
    """Return the emergency exit of the account to which the keys belong, not yet connected."""
    url = login.url or (VENUE.live_url if login.live else VENUE.paper_url)
    settings = AlpacaSettings(
        url=url, key=login.secrets["alpaca_key"], secret=login.secrets["alpaca_secret"], timeout_s=login.timeout_s,
        patience_s=login.timeout_s,
    )  # fmt: skip
    return AlpacaExit(settings)
