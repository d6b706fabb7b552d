"""The emergency exit: cancels every order of an account, then closes every position.

The exit needs API keys and nothing else. What can go wrong, and what prevents it:

- A working order fills after its position was closed. So orders are cancelled first, for at most half of the time, and
  a position with a working order is not closed yet.
- A closing order is sent twice, and the position turns. So a position has one closing order at a time, and its client
  id is the same until the venue has acknowledged it.
- A closing order fills between two readings. So orders are read before positions. If positions were read first, a
  position that was closed in between would still be listed, and be closed again.
- One request hangs or fails. So each has a time-out, and a failure of one order stops no other. Only keys that the
  venue refuses end the exit.

The exit reads the account repeatedly until nothing is open or the time is over. It then reports the orders and
positions that are still open, with the web page at which a person can close them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Final, TypeVar

from msgspec import Struct

from quantd.adapters.brokers.account_exit import (
    AccountExit,
    Holding,
    WorkingOrder,
    quantity,
    sound_holding,
    sound_order,
)
from quantd.adapters.brokers.venue_errors import KeysRefused, VenueError
from quantd.trading.display_text import one_line

T = TypeVar("T")

PAUSE_S: Final = (0.25, 4.0)
"""First and longest pause between two readings of the account."""

AGAIN_S: Final = 3.0
"""Interval between two requests for the same order or position, because the earlier request may still be on its way."""

AT_ONCE: Final = 8
"""Maximum number of requests at once."""

ENDS: Final = 40
"""Maximum number of cancelled orders whose fills are read before positions are closed."""

WORDS: Final = 200
"""Maximum length of a venue's text in a message, in characters."""


class OrderLine(Struct, frozen=True):
    """An order that has ended: `filled` of its quantity `qty` traded in all."""

    id: str
    symbol: str
    side: str
    qty: Decimal
    filled: Decimal
    outcome: str


class PositionLine(Struct, frozen=True):
    """A position that was open, with its signed quantity."""

    symbol: str
    qty: Decimal
    outcome: str


class Remainder(Struct, frozen=True):
    """An order or position that is still open, or a list that could not be read (`kind` is "unknown")."""

    kind: str
    text: str
    remedy: str


class Contents(Struct, frozen=True):
    """The open orders and positions of an account at one reading."""

    number: str
    orders: Sequence[WorkingOrder]
    positions: Sequence[Holding]


@dataclass(slots=True)
class Request:
    """The emergency exit's last request to close a position. `number` counts the orders that the venue acknowledged."""

    at: float
    number: int
    side: str
    acknowledged: bool = False


def client_id(started: int, symbol: str, number: int) -> str:
    """The client id of a closing order: the same for each repeat of a request that was never acknowledged."""
    return f"emergency-{started}-{symbol.replace('/', '')}-{number}"


def market(symbol: str) -> str:
    """A symbol without its slash, which venues write in orders and omit in positions."""
    return symbol.replace("/", "")


def order_text(order: WorkingOrder) -> str:
    """An order as text: id, side, quantity, symbol, and the filled quantity."""
    filled = f" ({order.filled:f} filled)" if order.filled else ""
    return f"order {order.id}: {order.side} {order.qty:f} {order.symbol}{filled}"


class Emergency:
    """One emergency exit. `started` (s UTC) identifies it, `tell` receives a line for each ended order and position.

    After `timeout_s` the exit sends no further request, and reports the orders and positions of its last reading. Its
    methods raise KeysRefused where the venue refuses the keys.
    """

    def __init__(
        self, account: AccountExit, started: int, timeout_s: float, tell: Callable[[str], None] = lambda line: None
    ) -> None:
        """`started` (s UTC) is part of the ids of closing orders; `tell` gets a line for each ended item."""
        self._account, self._started, self._timeout_s, self._tell = account, started, timeout_s, tell
        self._deadline = time.monotonic() + timeout_s
        self._turn = asyncio.Semaphore(AT_ONCE)
        """Limits the requests to the venue at one time."""
        self.orders: list[OrderLine] = []
        self.positions: list[PositionLine] = []
        self.dust: list[Holding] = []
        self._to_report: dict[str, WorkingOrder] = {}
        """Orders that the exit is to cancel and whose end it has not reported yet, by id."""
        self._cancelled_at: dict[str, float] = {}
        """Order id -> monotonic time of the last request to cancel the order."""
        self._requests: dict[str, Request] = {}
        """Symbol without slash -> the last request to close its position."""
        self._closing: set[str] = set()
        """Ids of closing orders."""
        self._positions_seen: dict[str, Holding] = {}
        """Symbol -> its position at the first reading, until it is closed; dust (too small to close) is left out."""
        self._working: Sequence[WorkingOrder] | None = None
        """Open orders at the newest reading, and below the positions; None before the first reading."""
        self._holdings: Sequence[Holding] | None = None
        self._why: dict[str, str] = {}
        """Order id, symbol, or name of a list -> its last error."""

    async def contents(self) -> Contents:
        """The open orders and positions of the account now. Raises ConnectionError when they cannot be read in time."""
        number = await self._insistent("account", self._account.number)
        orders = [sound_order(order) for order in await self._insistent("orders", self._account.orders)]
        positions = await self._insistent("positions", self._account.holdings)
        return Contents(number, orders, [sound_holding(position) for position in positions])

    async def run(self, *, close: bool) -> list[Remainder]:
        """Cancel every order; with `close`, also close every position. Returns what is still open."""
        # half of the time is for cancelling if positions are to be closed too
        await self._cancel_all(self._deadline - self._timeout_s / 2 if close else self._deadline)
        await self._report_ends(ENDS)
        if close:
            await self._close_all()
        await self._report_ends(len(self._to_report))
        for order in self._ended_unreported():
            self._report_end(order, order.filled, "no longer open (its fills could not be read)")
        return self._remaining(close)

    async def _cancel_all(self, until: float) -> None:
        """Cancel all orders in one request, then one by one what is still open, until `until` or until none is open."""
        async for k in self._pauses(until):
            # at the first attempt (k is 0) orders are cancelled even if they cannot be read
            if not await self._read_orders() and k:
                continue
            if self._working is not None and not self._working:
                return
            self._add_to_report(self._working or ())
            if k == 0:
                await self._try("orders", self._account.cancel_all)
            else:
                await self._cancel(self._working or ())

    def _add_to_report(self, orders: Iterable[WorkingOrder]) -> None:
        """Remember orders that the exit is to cancel, so that it reports their ends."""
        self._to_report |= {order.id: order for order in orders}

    async def _cancel(self, orders: Sequence[WorkingOrder]) -> None:
        """Cancel orders one by one; the cancel of an order is repeated after AGAIN_S at the earliest."""
        now = time.monotonic()
        due = [order for order in orders if now - self._cancelled_at.get(order.id, -AGAIN_S) >= AGAIN_S]
        self._cancelled_at |= {order.id: now for order in due}
        await asyncio.gather(*(self._try(order.id, partial(self._account.cancel, order)) for order in due))

    async def _report_ends(self, most: int) -> None:
        """Report up to `most` orders to be cancelled that are no longer open."""
        closed_orders = self._ended_unreported()[:most]
        ends = await self._try("ends", partial(self._account.ended, closed_orders)) if closed_orders else {}
        for order in closed_orders:
            end = (ends or {}).get(order.id)
            if end is not None:
                del self._to_report[order.id]
                filled = quantity(end.filled) or Decimal(0)
                self._report_end(order, filled, "filled" if filled >= order.qty > 0 else "cancelled")

    def _ended_unreported(self) -> list[WorkingOrder]:
        """Orders that were to be cancelled, are no longer open, and are not reported yet."""
        open_ids = {order.id for order in self._working or ()}
        return [order for order in self._to_report.values() if order.id not in open_ids]

    def _report_end(self, order: WorkingOrder, filled: Decimal, outcome: str) -> None:
        self.orders.append(OrderLine(order.id, order.symbol, order.side, order.qty, filled, outcome))
        filled_clause = f", {filled:f} of it had filled" if outcome == "cancelled" and filled else ""
        self._tell(f"{outcome}: order {order.id}, {order.side} {order.qty:f} {order.symbol}{filled_clause}")

    async def _close_all(self) -> None:
        """Close all positions, until none is left without an order or the deadline has passed.

        A position with working orders waits for them: a second closing order could turn it round. Dust (a position too
        small to trade) and positions with a fault are left to the operator.
        """
        async for _ in self._pauses(self._deadline):
            # orders first: a closing order that fills in between is then missing from the positions
            if not await self._read_orders():
                continue
            to_cancel = [order for order in self._working or () if not self._is_closing(order)]
            self._add_to_report(to_cancel)
            await self._cancel(to_cancel)
            if not await self._read_holdings():
                continue
            remainder = [holding for holding in self._holdings or () if not (holding.dust or holding.fault)]
            if not remainder and not self._working:
                return
            busy = {market(order.symbol) for order in self._working or ()}
            await asyncio.gather(*(self._close(holding) for holding in remainder if market(holding.symbol) not in busy))

    def _is_closing(self, order: WorkingOrder) -> bool:
        """Whether an order is a closing order of this exit.

        A closing order is recognised by its id or, if the answer with its id was lost, by symbol and side.
        """
        request = self._requests.get(market(order.symbol))
        ours = request is not None and not request.acknowledged and request.side == order.side
        if ours and order.id not in self._to_report:
            self._closing.add(order.id)
        return order.id in self._closing

    async def _close(self, holding: Holding) -> None:
        """Send one closing order for a position without working orders; a further one after AGAIN_S at the earliest."""
        symbol, now = market(holding.symbol), time.monotonic()
        last_request = self._requests.get(symbol)
        if last_request is not None and now - last_request.at < AGAIN_S:
            return
        # a request without an answer is sent again with the same number, and so with the same id
        number = 0 if last_request is None else last_request.number + last_request.acknowledged
        request = Request(now, number, "sell" if holding.qty > 0 else "buy")
        self._requests[symbol] = request
        id = client_id(self._started, symbol, number)
        closing_id = await self._try(symbol, partial(self._account.close_position, holding, id))
        request.at = time.monotonic()
        if closing_id is not None:
            request.acknowledged = True
            self._closing.add(closing_id)

    async def _read_orders(self) -> bool:
        orders = await self._try("open orders", self._account.orders)
        if orders is not None:
            self._working = [sound_order(order) for order in orders]
        return orders is not None

    async def _read_holdings(self) -> bool:
        """Read the positions, and report those that are gone as closed. Returns whether they could be read.

        A position of which only dust (too little to trade) is left counts as closed.
        """
        holdings = await self._try("positions", self._account.holdings)
        if holdings is None:
            return False
        holdings = [sound_holding(holding) for holding in holdings]
        self._holdings, self.dust = holdings, [holding for holding in holdings if holding.dust]
        open_now = {holding.symbol for holding in holdings if not holding.dust}
        for symbol in [name for name in self._positions_seen if name not in open_now]:
            closed = self._positions_seen.pop(symbol)
            self.positions.append(PositionLine(symbol, closed.qty, "closed"))
            self._tell(f"closed: {closed.qty:f} {symbol}")
        for holding in holdings:
            if not (holding.dust or holding.fault):
                self._positions_seen.setdefault(holding.symbol, holding)
        return True

    def _remaining(self, close: bool) -> list[Remainder]:
        """The orders and, with `close`, the positions that are open still or could not be read, each with a remedy."""
        retry_remedy = f"run the command again, or use {self._account.page}"
        remainders = []
        if self._working is None:
            remainders.append(
                Remainder("unknown", f"the open orders could not be read{self._because('open orders')}", retry_remedy)
            )
        for order in self._working or ():
            remedy = retry_remedy
            if order.id in self._closing:
                remedy = f"it closes the position and waits for its market; see {self._account.page}"
            remainders.append(Remainder("order", f"{order_text(order)} is still open{self._because(order.id)}", remedy))
        if close and self._holdings is None:
            remainders.append(
                Remainder("unknown", f"the positions could not be read{self._because('positions')}", retry_remedy)
            )
        for holding in self._holdings or () if close else ():
            if holding.fault:
                close_there = f"close it at {self._account.page}"
                remainders.append(Remainder("position", f"position of {holding.symbol}: {holding.fault}", close_there))
            elif not holding.dust:
                why = self._because(market(holding.symbol))
                remainders.append(
                    Remainder(
                        "position", f"position of {holding.qty:f} {holding.symbol} is still open{why}", retry_remedy
                    )
                )
        return remainders

    def _because(self, key: str) -> str:
        """The last error of a request, in brackets after a space; empty without an error."""
        return f" ({self._why[key]})" if key in self._why else ""

    async def _try(self, key: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Return the answer to one request; None where it failed; the reason is stored in `_why` under `key`.

        Raises KeysRefused where the venue refuses the keys.
        """
        try:
            async with self._turn, asyncio.timeout(max(self._deadline - time.monotonic(), 0)):
                answer = await ask()
        except KeysRefused:
            raise
        except TimeoutError:
            self._why.setdefault(key, "no answer in time")  # the venue's own words say more than the end of our time
        except VenueError as refused:
            self._why[key] = one_line(refused.wrong, WORDS)
        except Exception as error:  # an unforeseen error must not stop the other orders and positions
            self._why[key] = one_line(error, WORDS) or type(error).__name__
        else:
            self._why.pop(key, None)
            return answer
        return None

    async def _insistent(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer to a request, which is repeated until it succeeds. Raises ConnectionError after the time-out."""
        async for _ in self._pauses(self._deadline):
            if (answer := await self._try(key, ask)) is not None:
                return answer
        raise ConnectionError(f"{self._account.where} did not give its {key}{self._because(key)}")

    async def _pauses(self, until: float) -> AsyncIterator[int]:
        """Yield 0, 1, 2 ... with growing pauses in between, until the monotonic clock reaches `until`.

        0 is always yielded, even if `until` has passed, so that the caller tries at least once.
        """
        pause, longest = PAUSE_S
        k = 0
        while k == 0 or time.monotonic() < until:
            yield k
            k += 1
            remaining_s = until - time.monotonic()
            if remaining_s <= 0:
                return
            await asyncio.sleep(min(pause, remaining_s))
            pause = min(2 * pause, longest)
