"""Orders at Alpaca: sent once, cancelled, asked for, and told as the venue has them.

An order is known by its client id, which the venue keeps unique for good, and its executions by the order's cumulative
quantity after each, which the stream and the list of activities both tell.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from quantd.adapters.brokers.alpaca.account import activities
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings, Answer, Lost, NotSent, Rest
from quantd.adapters.brokers.alpaca.wire import Garbled, Order, Update, ended, instant, is_crypto, nano
from quantd.adapters.brokers.alpaca.wire import body as order_body
from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.order_log import KEPT, Orders, Sent, reports_of
from quantd.trading.events import Busted, CancelReported, NotFound, Unknown
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.ports import BrokerNews

ORDERS: Final = "v2/orders"

AGAIN_NS: Final = 30 * NANO
"""Until an order that should have ended is cancelled once more."""

NOT_FOUND: Final = 40410000
"""The venue's own code for an order that it does not have; a 404 without it may be a wrong address."""

REVERSALS: Final = frozenset({"trade_bust", "trade_correct"})
"""What the stream says of an execution that it told of before and that holds no more, or otherwise."""

EXECUTIONS: Final = 10_000
"""Executions that are remembered by their id."""

POLL_S: Final = 0.25
"""Between two looks at what the venue has not come to yet."""


class Desk:
    """All orders of one run. One request about an order at a time, whoever asks; `ticks` are steps of pairs' prices."""

    def __init__(
        self, settings: AlpacaSettings, universe: Universe, run: str, now: Callable[[], int], rest: Rest
    ) -> None:
        self.settings, self.universe, self.now, self.rest = settings, universe, now, rest
        self.orders = Orders(universe, run)
        self.ticks: dict[str, int] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._executions_by_id: dict[str, Execution] = {}

    def remember(self, basket: OrderBasket) -> None:
        for sent in self.orders.add(basket):
            sent.posted = sent.posted or basket.ts

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        known = self.orders.add(basket)
        chosen = known if rows is None else [known[row] for row in rows]
        return _flat(await asyncio.gather(*(self._submit(sent) for sent in chosen)))

    async def _submit(self, sent: Sent) -> Sequence[BrokerNews]:
        async with self.lock(sent):
            if not sent.posted:
                return await self.post(sent)
            # it may be there: ask, and send only what the venue surely never had
            news = await self.ask(sent)
            if any(isinstance(each, NotFound) for each in news):
                return await self.post(sent)
            return news

    async def post(self, sent: Sent) -> Sequence[BrokerNews]:
        """Send an order; under its lock."""
        order = self.body(sent)
        if isinstance(order, str):
            return [self.end(sent, Cause.REJECTED, order)]
        if sent.end and self.now() >= sent.end:
            return [self.end(sent, Cause.EXPIRED, "never sent: its end has passed")]
        before, sent.posted = sent.posted, self.now()
        try:
            answer = await self.rest.ask("POST", ORDERS, body=order, patience_s=self.left_s(sent))
        except NotSent as away:
            sent.posted = before
            return [self.end(sent, Cause.EXPIRED, f"never sent: {away}")]
        except Lost as lost:
            sent.posted = self.now()
            return [self.unknown(sent, str(lost))]
        sent.posted = self.now()
        if answer.ok:
            return await self.said(sent, answer)
        if "client_order_id" in answer.words and "unique" in answer.words:
            return await self.ask(sent)  # the venue has it
        return [self.end(sent, Cause.REJECTED, answer.words)]

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        found = self.orders.rows(sample, n, [row])
        if not found:
            return [CancelReported(sample, n, self.now(), row, "no such order was sent from here")]
        sent = found[0]
        async with self.lock(sent):
            return await self.cancel_sent(sent)

    async def cancel_sent(self, sent: Sent) -> Sequence[BrokerNews]:
        try:
            order = await self._find(sent)
            if order is None:
                return [self._refused(sent, "the venue does not have it")]
            answer = await self.rest.ask("DELETE", f"{ORDERS}/{order}")
        except NotSent as away:
            return [self._refused(sent, str(away))]
        except Lost as lost:
            return [self.unknown(sent, str(lost))]
        return [] if answer.ok else [self._refused(sent, answer.words)]

    async def _find(self, sent: Sent) -> str | None:
        """The venue's own id of an order. Raises NotSent or Lost."""
        if not sent.venue_id:
            order = await self.order(sent)
            sent.venue_id = order.id if order is not None else ""
        return sent.venue_id or None

    async def order(self, sent: Sent) -> Order | None:
        """An order as the venue has it now, None when it says that it has none. Raises NotSent or Lost."""
        answer = await self.rest.ask("GET", f"{ORDERS}:by_client_order_id", {"client_order_id": sent.id})
        if answer.status == 404 and answer.code == NOT_FOUND:
            return None
        if not answer.ok:
            raise Lost(answer.words)
        order = answer.decode(Order)
        if order.client_order_id != sent.id:
            raise Lost("the venue's answer is about another order")
        return order

    async def cancel_overdue(self) -> None:
        """Cancel open orders of pairs whose end has passed; each again after a while where that did not end it."""
        now = self.now()
        for sent in list(self.orders):
            overdue = 0 < sent.end <= now and is_crypto(self.universe.symbols[sent.column])
            if overdue and sent.ended < 0 and sent.posted and now - sent.tried >= AGAIN_NS:
                sent.tried = now
                await self.cancel(sent.sample, sent.n, sent.row, now)

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        known = self.orders.rows(sample, n, rows)
        missing = sorted(set(rows) - {sent.row for sent in known})
        news: list[BrokerNews] = []
        if missing:
            news.append(Unknown(sample, n, self.now(), missing, "these orders are not known here"))
        return [*news, *_flat(await asyncio.gather(*(self._locked_ask(sent) for sent in known)))]

    async def _locked_ask(self, sent: Sent) -> Sequence[BrokerNews]:
        async with self.lock(sent):
            return await self.ask(sent)

    async def ask(self, sent: Sent) -> Sequence[BrokerNews]:
        """What became of one order; under its lock."""
        asked = self.now()
        try:
            order = await self.order(sent)
            if order is not None:
                return [await self.say(sent, order)]
        except (NotSent, Lost) as away:
            return [self.unknown(sent, str(away))]
        since = sent.posted or sent.ts
        if sent.venue_id:
            return [self.unknown(sent, "the venue had it, and says now that it never did")]
        if asked - since < self.settings.settle_s * NANO:
            return [self.unknown(sent, "the venue does not have it yet")]
        return [NotFound(sent.sample, sent.n, self.now(), [sent.row])]

    async def said(self, sent: Sent, order: Order | Answer) -> Sequence[BrokerNews]:
        """The reports of an order; Unknown when the venue does not answer."""
        try:
            return [await self.say(sent, order.decode(Order) if isinstance(order, Answer) else order)]
        except (NotSent, Lost) as away:
            return [self.unknown(sent, str(away))]

    async def say(self, sent: Sent, order: Order) -> BrokerNews:
        """Everything about an order as the venue has it: each execution, then the state. Raises NotSent or Lost."""
        sent.venue_id = order.id
        try:
            cause, cum = self._ended(sent, order), nano(order.filled_qty)
            if not await self._all_executions(sent, order, cum):
                return self.unknown(sent, "it filled, and not all of its executions are listed yet")
        except Garbled as wrong:
            return self.unknown(sent, str(wrong))
        return reports_of(sent, self.now(), cause, cum, _why(order))

    async def _all_executions(self, sent: Sent, order: Order, cum_nano: int) -> bool:
        """Wait for the executions of an order to be listed, but not for long. Raises NotSent, Lost or Garbled."""
        pause = min(POLL_S, self.settings.listing_s / 4 or POLL_S)
        waited = 0.0
        while sent.log.known_nano() < cum_nano:
            await self._executions(sent, order)
            if sent.log.known_nano() < cum_nano:
                if waited >= self.settings.listing_s:
                    return False
                waited += pause
                await asyncio.sleep(pause)
        return True

    async def _executions(self, sent: Sent, order: Order) -> None:
        """Look for executions of an order among the account's activities. Raises NotSent or Lost."""
        # a second earlier than the venue's own stamp of it: both are rounded
        since = instant(order.submitted_at) - NANO if order.submitted_at else self.now() - 7 * 86_400 * NANO
        async for each in activities(self.rest, "/FILL", since):
            if each.order_id == order.id and each.cum_qty is not None and each.price is not None:
                at = instant(each.transaction_time) if each.transaction_time else self.now()
                execution = Execution(at, nano(each.qty), nano(each.price), cum_nano=nano(each.cum_qty))
                sent.log.add(execution)
                self._know(each.id.partition("::")[2], execution)

    async def learn(self, update: Update) -> None:
        """Before an update that takes back what this process was not told of: look for it among the account's
        executions."""
        sent = self.orders.find(update.order.client_order_id)
        known = (update.previous_execution_id or "") in self._executions_by_id
        if update.event not in REVERSALS or sent is None or known:
            return
        try:
            await self._executions(sent, update.order)
        except (NotSent, Lost, Garbled):
            return  # it is told as one that is not known

    def update(self, update: Update) -> Sequence[BrokerNews]:
        """One update of the stream; of an order that is not ours, nothing."""
        order = update.order
        sent = self.orders.find(order.client_order_id)
        if sent is None:
            return []
        if sent.venue_id and sent.venue_id != order.id:
            return []  # our id at another order of the venue: `query` says what is what
        sent.venue_id = order.id
        ts = self.now()
        if update.event == "order_cancel_rejected":
            return [self._refused(sent, _why(order) or "the venue refused to cancel it")]
        if update.event in REVERSALS:
            return [self._reversed(sent, update, ts)]
        try:
            cum, cause = nano(order.filled_qty), self._ended(sent, order)
            if update.event in ("fill", "partial_fill") and update.qty is not None and update.price is not None:
                at = instant(update.timestamp) if update.timestamp else ts
                execution = Execution(at, nano(update.qty), nano(update.price), cum_nano=cum)
                sent.log.add(execution)
                self._know(update.execution_id or "", execution)
        except Garbled as wrong:
            return [self.unknown(sent, str(wrong))]
        report = reports_of(sent, ts, cause, cum, _why(order), news_only=True)
        return [report] if report.cause else []

    def _know(self, id: str, execution: Execution) -> None:
        while len(self._executions_by_id) >= EXECUTIONS:
            del self._executions_by_id[next(iter(self._executions_by_id))]
        if id:
            self._executions_by_id.setdefault(id, execution)

    def _reversed(self, sent: Sent, update: Update, ts: int) -> Busted:
        """An execution that holds no more, or otherwise; of none that is known where it is no whole lots."""
        lot, corrected = sent.lot_nano, update.event == "trade_correct"
        old = self._executions_by_id.get(update.previous_execution_id or "")
        name = f"{update.event} {update.execution_id or update.previous_execution_id or update.timestamp}"
        none = Busted(sent.sample, sent.n, ts, sent.row, 0, 0, id=name)
        try:
            size, price = (nano(update.qty), nano(update.price)) if corrected else (0, 0)
        except Garbled:
            return none
        if (
            old is None
            or old.size_nano % lot
            or old.cum_nano % lot
            or size % lot
            or (corrected and not (size and price))
        ):
            return none
        if corrected:
            self._know(update.execution_id or "", Execution(ts, size, price, cum_nano=old.cum_nano))
        return Busted(
            sent.sample, sent.n, ts, sent.row, old.size_nano // lot, old.price_nano, size // lot, price, name
        )  # fmt: skip

    def _ended(self, sent: Sent, order: Order) -> Cause | None:
        """What ended an order. Raises Garbled."""
        cause = ended(order)
        overdue = 0 < sent.end <= self.now() and is_crypto(self.universe.symbols[sent.column])
        return Cause.EXPIRED if cause == Cause.CANCELLED and overdue else cause

    def lock(self, sent: Sent) -> asyncio.Lock:
        """One request about an order at a time: two of them cannot both find that it is not there."""
        if len(self._locks) > 2 * KEPT:
            self._locks = {k: v for k, v in self._locks.items() if v.locked()}
        return self._locks.setdefault(sent.id, asyncio.Lock())

    def body(self, sent: Sent) -> dict[str, str] | str:
        symbol = self.universe.symbols[sent.column]
        return order_body(sent, symbol, sent.lot_nano, self.ticks.get(symbol, 0))

    def left_s(self, sent: Sent) -> float:
        """Seconds for which this order may still be tried."""
        if not sent.end:
            return self.settings.patience_s
        return max((sent.end - self.now()) / NANO, 0.0)

    def unknown(self, sent: Sent, reason: str) -> Unknown:
        return Unknown(sent.sample, sent.n, self.now(), [sent.row], self.settings.safe(reason))

    def _refused(self, sent: Sent, reason: str) -> CancelReported:
        return CancelReported(sent.sample, sent.n, self.now(), sent.row, self.settings.safe(reason))

    def end(self, sent: Sent, cause: Cause, reason: str) -> Reports:
        """The end of an order that the venue never took."""
        sent.ended = int(cause)
        return Reports(
            sent.sample, sent.n, self.now(), [sent.row], [0], [0], [0], [0], [int(cause)], self.settings.safe(reason)
        )


def is_open(order: Order) -> bool:
    try:
        return ended(order) is None
    except Garbled:
        return True


def _why(order: Order) -> str:
    """The end of an order in the venue's word, where it is no fill."""
    return "" if order.status in ("filled", "new", "partially_filled", "accepted", "pending_new") else order.status


def _flat(parts: Iterable[Sequence[BrokerNews]]) -> list[BrokerNews]:
    return [each for part in parts for each in part]
