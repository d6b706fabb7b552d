"""Submission of orders to a crypto exchange, and queries of their state.

What can go wrong. An answer is lost, and the order may be at the exchange, on its way, or nowhere. An order that ends
while its state is queried is in neither list. A list of trades lags behind its order.

What the order of the steps guarantees. The time of sending (`at`) is stored before an order is sent: from then on the
order is queried before it is sent again. The time is deleted only if the order certainly never left this process. An
order carries a deadline of arrival where the exchange has one, so that it cannot appear after `in_flight_s`. Open
orders are queried before ended ones: an order that ends in between is in both lists. Executions are used only when they
add up to the order's own filled quantity, because an execution's id does not say which lots of the order it fills: with
one execution missing, later ones would be assigned to the wrong lots.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct

from quantd.adapters.brokers.ccxt.connection import UNREAD, Line
from quantd.adapters.brokers.ccxt.market import Markets
from quantd.adapters.brokers.ccxt.wire import Unsupported, cause, history_of, read_execution, reason, since_ms
from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.order_log import Sent, reports_of
from quantd.adapters.brokers.unreadable import WRONG
from quantd.adapters.exchange.exchange_errors import MalformedAnswer, outcome
from quantd.adapters.exchange.numbers import NotExact, decimal, lots_and_odd, micro, on_tick, text_of, whole_lots
from quantd.adapters.exchange.refusal_words import Outcome
from quantd.trading.events import Unknown
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import Cause, Kind, Reports
from quantd.trading.ports import BrokerNews

NAMELESS: Final = "the venue lists an order without a client id, which may be this one"

IN_FLIGHT: Final = 4
"""Number of orders of one basket sent concurrently."""


class OrderSender:
    """Sends orders and reports the result. `at` maps a client id to the time of the last attempt to send that order
    (ns). `markets` are the exchange's newest."""

    def __init__(
        self, line: Line, universe: Universe, markets: Markets, clock: Callable[[], int], denied: Callable[[str], None]
    ) -> None:
        self._line = line
        self._universe = universe
        self.markets = markets
        self._clock = clock
        self._denied = denied
        self.at: dict[str, int] = {}

    async def send(self, rows: Sequence[Sent]) -> list[BrokerNews]:
        """Send orders, at most IN_FLIGHT at a time; a refusal or missing answer of one delays no other.

        `at` maps a client id to the time of the last attempt to send its order (ns).
        """
        for row in rows:
            self.at[row.id], row.words = self._clock(), ""
        rows, news = await self._without_short_sales(rows)
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def send_in_slot(sent: Sent) -> BrokerNews:
            async with slots:
                return await self._send_one(sent)

        return news + list(await asyncio.gather(*(send_in_slot(row) for row in rows)))

    async def _without_short_sales(self, rows: Sequence[Sent]) -> tuple[list[Sent], list[BrokerNews]]:
        """Return the orders that can be sent, and reports that refuse sales of more than the free holding.

        `lots` of a sale are negative. If the balance cannot be read, every sale is Unknown and is not sent.
        """
        sales = [row for row in rows if row.lots < 0]
        if not sales:
            return list(rows), []
        try:
            balance = await self._line.ask(self._line.balances)
        except Exception as error:
            for row in sales:
                del self.at[row.id]  # the request never left this process, so that the row may be sent without a query
            reason = f"not sent: the holdings could not be read: {self._line.words(error)}"
            return [row for row in rows if row.lots >= 0], [self.unknown(row, reason) for row in sales]
        free = {
            row.column: lots_and_odd(balance["free"].get(self.markets.bases[row.column]) or "0", row.lot_nano)[0]
            for row in sales
        }
        to_send: list[Sent] = []
        news: list[BrokerNews] = []
        for row in rows:
            if row.lots < 0 and max(free[row.column], 0) < -row.lots:
                text = f"a sale of {-row.lots} lots where {max(free[row.column], 0)} are free"
                news.append(self.refuse(row, f"{text}: this venue has no short sales"))
            else:
                to_send.append(row)
        return to_send, news

    async def _send_one(self, sent: Sent) -> BrokerNews:
        """Check one order, send it, and report the answer.

        Refused are an order for an auction, an order without lots or without a limit, and one below the venue's
        minimum. An order whose end has passed expires. A request that fails is reported as rejected, never sent or
        unknown.
        """
        now = self._clock()
        if sent.kind in (Kind.OPEN, Kind.CLOSE):
            return self.refuse(sent, "this venue never closes and has no auctions")
        if not sent.lots or sent.worst_nano <= 0:
            return self.refuse(sent, "the order has no lots, or no limit price")
        if why := self._too_small(sent):
            return self.refuse(sent, why)
        if 0 < sent.end <= now:
            return reports_of(sent, now, Cause.EXPIRED, reason="its end had passed before it was sent")
        try:
            order = await self._line.ask(lambda: self._create(sent))
        except Exception as error:
            return self._news_of_error(sent, error)
        if not isinstance(order, dict) or not order.get("id"):
            return self.unknown(sent, "the answer has no order id")
        sent.venue_id = str(order["id"])
        return reports_of(sent, self._clock(), None)  # None: the order is open

    def _too_small(self, sent: Sent) -> str:
        """Return why an order is below the exchange's minimum amount or cost; empty if it is not."""
        size = abs(sent.lots) * sent.lot_nano
        amount, cost = self.markets.least[sent.column] if self.markets.least else (0, 0)
        if size < amount:
            return f"not sent: {text_of(size)} is less than the venue's least order of {text_of(amount)}"
        if size * sent.worst_nano < cost * NANO:
            return f"not sent: {text_of(size)} cost less than the venue's least order of {text_of(cost)}"
        return ""

    async def _create(self, sent: Sent) -> Any:
        """Place the order in the exchange's terms. Returns ccxt's order; raises ccxt's errors.

        The limit price is rounded to the tick away from the market: down for a purchase, up for a sale. `until` are
        parameters by which the order expires.
        """
        now, dialect = self._clock(), self._line.dialect
        is_buy, tick = sent.lots > 0, self.markets.tick_nano[sent.column]
        params: dict[str, Any] = {"clientOrderId": sent.id, **dialect.order, **self._line.deadline(now)}
        if sent.end and dialect.until is not None:
            params |= dialect.until(sent.end)
        if sent.kind == Kind.STOP:
            # rounded towards the market: the stop triggers a tick too early rather than too late
            params["stopLossPrice"] = text_of(on_tick(sent.stop_nano, tick, down=is_buy))
        price = text_of(on_tick(sent.worst_nano, tick, down=is_buy))
        size = text_of(abs(sent.lots) * sent.lot_nano)
        self.at[sent.id] = now
        market = self.markets.names[sent.column]
        return await self._line.exchange.create_order(market, "limit", "buy" if is_buy else "sell", size, price, params)

    def _news_of_error(self, sent: Sent, error: Exception) -> BrokerNews:
        """Report an order whose sending raised an error: rejected, never sent, or unknown where it may have arrived."""
        words = self._line.words(error)
        match outcome(error, self._line.dialect.means):
            case Outcome.UNKNOWN:
                return self.unknown(sent, words)
            case Outcome.STRANGE:
                sent.words = words
                return self.unknown(sent, f"{words}: no document has these words")
            case Outcome.TAKEN:
                return self.unknown(sent, f"the venue has this order already: {words}")
            case Outcome.AGAIN:
                # `Line.ask` has repeated the request for `patience_s` already
                return reports_of(sent, self._clock(), Cause.EXPIRED, reason=f"never sent: {words}")
            case Outcome.DENIED:
                self._denied(words)
                return self.refuse(sent, words)
            case Outcome.REFUSED | Outcome.NOT_FOUND:
                return self.refuse(sent, words)

    def refuse(self, sent: Sent, reason: str) -> Reports:
        """Report an order as REJECTED. The reason may come from the venue or from this adapter."""
        return reports_of(sent, self._clock(), Cause.REJECTED, reason=reason)

    def unknown(self, sent: Sent, reason: str) -> Unknown:
        """Report that the state of an order is not known."""
        return Unknown(sent.sample, sent.n, self._clock(), [sent.row], reason)


class OrderStatus(Struct, frozen=True):
    """The state of an order at the exchange.

    `cause` is the cause of its end, None while it is open. `cum_nano` is the filled quantity by the exchange's own
    count. `executions` are all executions of the order, or none if none is new. `average_nano` and `fee_micro` are its
    average price and whole fee; 0 where the exchange does not report them. `unread` is the reason why the exchange's
    record of the order cannot be read, so that its state is unknown; empty for a readable record.
    """

    cause: Cause | None
    cum_nano: int
    executions: tuple[Execution, ...]
    reason: str
    average_nano: int = 0
    fee_micro: int = 0
    unread: str = ""


class OrderQueries:
    """Queries orders of one universe at one exchange."""

    def __init__(self, line: Line, universe: Universe, markets: Markets) -> None:
        """Keep the connection; `markets` are the exchange's names and base coins, by column."""
        self._line = line
        self._names, self._bases = markets.names, markets.bases
        self._universe = universe
        self._history = None if line.dialect.by_symbol else getattr(line.exchange, history_of(line.exchange.has))

    async def look(self, rows: Sequence[Sent]) -> dict[str, OrderStatus]:
        """Query orders. Returns client id -> state; a client id that the exchange does not know is absent.

        The open orders are read first, and the history only for the `rows` that are not open. Executions are read only
        for the orders in `behind`, whose known executions add up to less than the exchange's filled quantity
        (nano-units).
        """
        client_id_of = self._line.dialect.client_id_of
        orders = await self._line.ask(self._line.open_orders)
        orders_by_id: dict[str, dict[str, Any] | None] = {sent.id: None for sent in rows}
        orders_by_id |= {client_id_of(order): order for order in orders}
        missing = [sent for sent in rows if orders_by_id[sent.id] is None]
        nameless = [order for order in orders if not client_id_of(order)]
        if missing:
            # after the open orders: an order that ends in between is in both lists, and never in none
            ended, more_nameless = await self._read_ended(missing)
            orders_by_id |= ended
            nameless += more_nameless
        listed = {sent.id: (sent, order) for sent in rows if (order := orders_by_id[sent.id]) is not None}
        readable: dict[str, tuple[Sent, dict[str, Any]]] = {}
        filled_nano: dict[str, int] = {}
        statuses: dict[str, OrderStatus] = {
            sent.id: OrderStatus(None, 0, (), "", unread=NAMELESS)
            for sent in rows
            if sent.id not in listed and any(self._may_be(sent, order) for order in nameless)
        }
        for id, (sent, order) in listed.items():
            try:
                filled_nano[id] = self._filled_nano(sent, order)
                readable[id] = sent, order
            except (*WRONG, Unsupported) as wrong:
                self._line.unreadable.add("order", order.get("info", order), wrong)
                # only `unread` of this status counts
                statuses[id] = OrderStatus(None, 0, (), "", unread=f"the record of the order cannot be read ({wrong})")
        behind = {id: filled_nano[id] for id, (sent, _) in readable.items() if filled_nano[id] != sent.log.known_nano()}
        executions = await self._read_executions({str(readable[id][1]["id"]): id for id in behind}, behind, readable)
        for sent, order in readable.values():
            sent.venue_id = str(order["id"])
        return statuses | {
            id: OrderStatus(
                cause(sent, order, filled_nano[id]),
                filled_nano[id],
                tuple(executions.get(id, ())),
                reason(order),
                *self._average_and_fee(order),
            )
            for id, (sent, order) in readable.items()
        }

    def _may_be(self, sent: Sent, order: dict[str, Any]) -> bool:
        """Whether a listed order without a client id may be ours: nothing that can be read of it differs.

        Such an order forbids the conclusion that ours never arrived.
        """
        if order.get("unread"):
            return True
        try:
            same_size = decimal(order["amount"]) * NANO == abs(sent.lots) * sent.lot_nano
        except WRONG:
            same_size = True
        return (
            same_size
            and order["symbol"] == self._names[sent.column]
            and order["side"] == ("buy" if sent.lots > 0 else "sell")
            and order["timestamp"] >= since_ms([sent])
        )

    async def _read_ended(self, rows: Sequence[Sent]) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
        """Return client id -> ended order, for the `rows` that are in the exchange's history, and the ended orders
        without a client id."""
        if self._history is None:
            return await self._read_each(rows), []
        ids = {sent.id for sent in rows}
        by_client_id: dict[str, dict[str, Any]] = {}
        nameless: list[dict[str, Any]] = []
        # None: of all symbols
        async for order in self._line.pages(self._history, None, since_ms(rows), self._line.dialect.ended):
            id = self._line.dialect.client_id_of(order)
            # pages come in any order; a client id is used once, so that one match is enough
            if not id:
                nameless.append(order)
            elif id in ids and order.get("status") != "open":
                by_client_id[id] = order
            if len(by_client_id) == len(ids):
                break
        return by_client_id, nameless

    async def _read_each(self, rows: Sequence[Sent]) -> dict[str, dict[str, Any]]:
        """Return client id -> order, for the `rows` that the exchange has; each is asked for by its client id.

        An order is absent only if the exchange says that it does not have it.
        """
        orders: dict[str, dict[str, Any]] = {}
        exchange, find = self._line.exchange, self._line.dialect.find
        for sent in rows:
            symbol = self._names[sent.column]
            query = partial(exchange.fetch_order, None, symbol, {"clientOrderId": sent.id})
            if find is not None:
                query = partial(find, exchange, symbol, sent.id)
            try:
                if (order := await self._line.ask(query)) is not None:
                    orders[sent.id] = order
            except MalformedAnswer as wrong:
                orders[sent.id] = {**UNREAD, "id": None, "info": {"error": str(wrong)}}
            except Exception as error:
                if outcome(error, self._line.dialect.means) is not Outcome.NOT_FOUND:
                    raise
        return orders

    async def _read_executions(
        self, ids: dict[str, str], behind: dict[str, int], orders: dict[str, tuple[Sent, dict[str, Any]]]
    ) -> dict[str, list[Execution]]:
        """Return client id -> executions, for the orders in `behind`. `behind` maps a client id to the filled
        nano-units by the exchange's count.

        `ids` maps the exchange's ids to client ids.

        `orders` maps a client id to (our order, the exchange's record). An order whose executions do not add up to its
        filled quantity is omitted.
        """
        by_order: dict[str, dict[str, Execution]] = {id: {} for id in behind}
        if not behind:
            return {}
        rows = [orders[id][0] for id in behind]
        async for trade in self._line.trades([self._names[sent.column] for sent in rows], since_ms(rows)):
            id = ids.get(str(trade.get("order")))
            if id is None:
                continue
            sent = orders[id][0]
            base, currency = self._bases[sent.column], self._universe.currency
            booked = self._line.booked_apart(self._bases)
            execution = read_execution(self._line.unreadable, trade, sent.lot_nano, currency, base, booked)
            if execution is not None:
                by_order[id][execution.id] = execution
        # the list of trades may lag behind the order: with one missing, later executions would get wrong intervals
        return {
            id: list(executions.values())
            for id, executions in by_order.items()
            if sum(execution.size_nano for execution in executions.values()) >= behind[id]
        }

    def _average_and_fee(self, order: dict[str, Any]) -> tuple[int, int]:
        """Return (average price in nano-currency, fee in micro-currency) of an order, by the venue's record of it.

        Each is 0 where unknown or in another currency.
        """
        fee = order.get("fee") or {}
        try:
            price = decimal(order.get("average") or "0")
            paid = micro(fee.get("cost") or "0") if fee.get("currency") == self._universe.currency else 0
        except NotExact:
            return 0, 0
        return int(price * NANO), paid

    def _filled_nano(self, sent: Sent, order: dict[str, Any]) -> int:
        """Return the filled nano-units by the exchange's count. Raises Unsupported for an unreadable order or part of a
        lot."""
        if order.get("unread"):
            raise Unsupported("it does not have the documented form")
        try:
            return whole_lots(order.get("filled") or "0", sent.lot_nano) * sent.lot_nano
        except NotExact as error:
            raise Unsupported(f"order {order.get('id')} has an unusable filled quantity: {error}") from None
