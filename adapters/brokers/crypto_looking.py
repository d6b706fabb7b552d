"""What an exchange has of our orders: open ones, ended ones, and every execution, found by client id."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct

from quantd.adapters.brokers.crypto_settings import Line
from quantd.adapters.brokers.sent import Execution, Sent
from quantd.adapters.exchange.numbers import NotExact, decimal, micro, nano, whole_lots
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import Cause

MARGIN_NS: Final = 60_000_000_000
"""How much earlier than an order was decided its traces are looked for: clocks differ."""

PAGES: Final = 200
"""Pages of history read for one look, so that a venue that repeats itself ends too."""

HISTORIES: Final = ("fetchOrders", "fetchCanceledAndClosedOrders", "fetchClosedOrders")
"""Where ended orders are found, the most complete first."""


class Seen(Struct, frozen=True):
    """One of our orders at the exchange. `cause` is why it ended, None while it is open; `cum` unsigned lots filled by the
    exchange's own count; `executions` all that it tells of, none when none is new."""

    cause: Cause | None
    cum: int
    executions: tuple[Execution, ...]
    reason: str


class Odd(Exception):
    """The exchange says something of an order that our books cannot hold: a fee in a third currency, a part of a lot."""


def history_of(has: dict[str, Any]) -> str:
    """The name of ccxt's method for ended orders, empty when the exchange has none of its own."""
    return next((name for name in HISTORIES if has.get(name) is True), "")


def method(name: str) -> str:
    """fetchClosedOrders -> fetch_closed_orders."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


class Looking:
    """Looks up orders of one universe at one exchange."""

    def __init__(self, line: Line, universe: Universe, bases: Sequence[str]) -> None:
        """`bases` are what is bought at each column's market."""
        self._line = line
        self._bases = bases
        self._universe = universe
        self._history = getattr(line.exchange, method(history_of(line.exchange.has)))

    async def look(self, rows: Sequence[Sent]) -> dict[str, Seen]:
        """Client id -> what the exchange has; an id that it does not know is absent, with authority as of now."""
        said = {sent.id: None for sent in rows} | await self._open()
        missing = [sent for sent in rows if said[sent.id] is None]
        if missing:
            # asked for after the open ones: an order that ends in between is in both, never in neither
            said |= await self._ended(missing)
        found = {sent.id: (sent, order) for sent in rows if (order := said[sent.id]) is not None}
        cum = {id: self._filled(sent, order) for id, (sent, order) in found.items()}
        behind = {id: cum[id] for id, (sent, _) in found.items() if cum[id] != sent.cum}
        executions = await self._executions({str(found[id][1]["id"]): id for id in behind}, behind, found)
        for sent, order in found.values():
            sent.venue_id = str(order["id"])
        return {
            id: Seen(_cause(sent, order, cum[id]), cum[id], tuple(executions.get(id, ())), _reason(order))
            for id, (sent, order) in found.items()
        }

    async def _open(self) -> dict[str, dict[str, Any]]:
        orders = await self._line.ask(self._line.exchange.fetch_open_orders)
        return {self._line.speaks.said_id(order): order for order in orders}

    async def _ended(self, rows: Sequence[Sent]) -> dict[str, dict[str, Any]]:
        wanted = {sent.id for sent in rows}
        found: dict[str, dict[str, Any]] = {}
        async for order in self._pages(self._history, _since_ms(rows), self._line.speaks.ended):
            id = self._line.speaks.said_id(order)
            # newest first or oldest first, as the exchange likes; no id of ours is used twice
            if id in wanted and order.get("status") != "open":
                found[id] = order
            if len(found) == len(wanted):
                break
        return found

    async def _executions(
        self,
        ids: dict[str, str],
        behind: dict[str, int],
        found: dict[str, tuple[Sent, dict[str, Any]]],
    ) -> dict[str, list[Execution]]:
        """The executions of orders of which the exchange filled another amount than we know of."""
        out: dict[str, dict[str, Execution]] = {id: {} for id in behind}
        if not behind:
            return {}
        rows = [found[id][0] for id in behind]
        async for trade in self._pages(self._line.exchange.fetch_my_trades, _since_ms(rows), self._line.speaks.history):
            id = ids.get(str(trade.get("order")))
            if id is None:
                continue
            column = found[id][0].column
            each = execution_of(trade, self._universe.lot_nano[column], self._universe.currency, self._bases[column])
            out[id][each.id] = each
        # a list of trades may lag behind the order: with one missing the others would get intervals that are not theirs
        return {id: list(each.values()) for id, each in out.items() if sum(e.lots for e in each.values()) >= behind[id]}

    async def _pages(
        self, fetch: Callable[..., Awaitable[Any]], since_ms: int, params: dict[str, str]
    ) -> AsyncIterator[dict[str, Any]]:
        """Each item of a history since then, page after page."""
        page, size = self._line.speaks.page, self._line.speaks.page_size
        at = 0
        for _ in range(PAGES):
            asked = {**params, **(page(at) if page is not None else {})}
            items: list[dict[str, Any]] = await self._line.ask(partial(fetch, None, since_ms, None, asked))
            for item in items:
                yield item
            at += len(items)
            if page is None or len(items) < size:
                return

    def _filled(self, sent: Sent, order: dict[str, Any]) -> int:
        try:
            return whole_lots(order.get("filled") or "0", self._universe.lot_nano[sent.column])
        except NotExact as error:
            raise Odd(f"order {order.get('id')} is filled by {error}") from None


def execution_of(trade: dict[str, Any], lot_nano: int, currency: str, base: str) -> Execution:
    """An execution as ccxt tells it; its fee is in the currency, or in the `base` that is bought. Raises Odd for a fee in a
    third currency and for a part of a lot."""
    fee = trade.get("fee") or {}
    cost, of = fee.get("cost") or "0", fee.get("currency")
    try:
        paid = decimal(cost)
        if paid and of not in (currency, base):
            raise Odd(f"trade {trade['id']} has a fee of {cost} {of}, neither {currency} nor {base}")
        return Execution(
            id=_in_order(trade),
            ts=int(trade["timestamp"]) * 1_000_000,
            lots=whole_lots(trade["amount"], lot_nano),
            price_nano=nano(trade["price"]),
            fee_micro=micro(cost) if of != base else 0,
            fee_nano=nano(cost) if of == base else 0,
        )
    except NotExact as error:
        raise Odd(f"trade {trade.get('id')}: {error}") from None


def _since_ms(rows: Iterable[Sent]) -> int:
    """From when on: whole seconds, as exchanges count them where ccxt counts milliseconds."""
    return max(0, min(sent.ts for sent in rows) - MARGIN_NS) // NANO * 1000


def _in_order(trade: dict[str, Any]) -> str:
    """An execution's id as text that sorts as the matching engine counted: several can have one time, and their order
    must be the same in every process."""
    number = str(trade.get("info", {}).get("trade_id") or trade["id"])
    return number.zfill(20) if number.isdecimal() else number


def _cause(sent: Sent, order: dict[str, Any], cum: int) -> Cause | None:
    status = order.get("status")
    if status not in ("closed", "canceled", "expired", "rejected"):
        return None
    if cum == abs(sent.lots):
        return Cause.LAST_FILL
    if status == "rejected" and not cum:
        return Cause.REJECTED
    return Cause.EXPIRED if status == "expired" else Cause.CANCELLED


def _reason(order: dict[str, Any]) -> str:
    info = order.get("info")
    return str(info.get("reason") or "") if isinstance(info, dict) else ""
