"""Orders at Alpaca: submission, cancellation and queries.

An order is identified by its client id, which is unique at the venue for ever. An execution is identified by the
order's cumulative quantity after it, which the stream and the list of activities both report.

What can go wrong. The answer to an order is lost. If the order were sent again, it might be filled twice; if it counted
as refused, it might fill while the books do not expect it. Such an order is therefore UNKNOWN until a query resolves
it, and so is an order whose answer has words that the venue does not document.

What the order of the steps guarantees. `posted`, the time of the request that sends an order, is set before the
request, and reset only when the request certainly was not sent. An order with `posted` is queried before it is sent
again, under a lock of its own, so that two requests never both find it missing. The venue's answer "not found" counts
only after `settle_s`, because an accepted order may not be listed yet. The answer never counts for an order that the
venue once listed with an id. All executions are reported before the end of their order.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final

from quantd.adapters.brokers.alpaca.account import activities
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings, Answer, Lost, NotSent, Rest
from quantd.adapters.brokers.alpaca.refusals import alpaca_outcome
from quantd.adapters.brokers.alpaca.wire import Garbled, Order, TradeActivity, Update, ended, instant, is_crypto, nano
from quantd.adapters.brokers.alpaca.wire import body as order_body
from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.order_log import Orders, Sent, reports_of
from quantd.adapters.exchange.numbers import text_of
from quantd.adapters.exchange.refusal_words import Outcome
from quantd.trading.events import Busted, CancelReported, NotFound, Unknown
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.ports import BrokerNews

ORDERS: Final = "v2/orders"

AGAIN_NS: Final = 30 * NANO
"""Interval between two cancels of one order whose end has passed."""

NOT_FOUND: Final = 40410000
"""The venue's code for an unknown order; a 404 without it may be a wrong address."""

REVERSALS: Final = frozenset({"trade_bust", "trade_correct"})
"""Events of the stream that cancel or correct an earlier execution."""

EXECUTIONS: Final = 10_000
"""Maximum number of executions remembered by id."""

LEAST_COST_NANO: Final = NANO
"""The least cost of an order for shares, in nano-currency: one dollar (docs.alpaca.markets, fractional trading)."""

POLL_S: Final = 0.25
"""Interval between two queries while the venue's lists lag behind its orders."""


class Desk:
    """All orders of one run, with one request per order at a time.

    `ticks` are the price ticks of crypto pairs, and `least_nano` the minimum sizes of their orders, in nano-units.
    """

    def __init__(
        self, settings: AlpacaSettings, universe: Universe, run: str, now: Callable[[], int], client: Rest
    ) -> None:
        self.settings, self.universe, self.now, self.rest = settings, universe, now, client
        self.orders = Orders(universe, run)
        self.ticks: dict[str, int] = {}
        self.least_nano: dict[str, int] = {}
        self._executions_by_id: dict[str, Execution] = {}

    def remember(self, basket: OrderBasket) -> None:
        """Register a basket that an earlier process may have sent: each of its orders is queried before it is sent."""
        for sent in self.orders.add(basket):
            sent.posted = sent.posted or basket.ts

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Send every row of `basket`, or only `rows`, each as one order and all concurrently.

        Returns the reports, by row.
        """
        basket_rows = self.orders.add(basket)
        requested_rows = basket_rows if rows is None else [basket_rows[row] for row in rows]
        return list(chain.from_iterable(await asyncio.gather(*map(self._submit, requested_rows))))

    async def _submit(self, sent: Sent) -> Sequence[BrokerNews]:
        """Send one order, or query it first if it may have been sent."""
        async with sent.lock:
            if not sent.posted:
                return await self.post(sent)
            # the venue may have the order: query it, and send it only if the venue never had it
            news = await self.ask(sent)
            if any(isinstance(report, NotFound) for report in news):
                return await self.post(sent)
            return news

    async def post(self, sent: Sent) -> Sequence[BrokerNews]:
        """Send an order. The caller holds the lock of the order.

        An order of a kind that the venue does not have is rejected. An order whose end time has passed, or that could
        not be sent, expires. Without an answer the order is Unknown. If the venue has its client id already, the order
        is queried.

        Times are in ns UTC. `sent.end` is 0 for an order without an end time, `sent.posted` 0 for an order that was
        never sent.
        """
        order = self.body(sent)
        if isinstance(order, str):
            return [self.end(sent, Cause.REJECTED, order)]
        if sent.end and self.now() >= sent.end:
            return [self.end(sent, Cause.EXPIRED, "never sent: its end has passed")]
        # before the request: a submission repeated after a lost answer must query first
        previous_post, sent.posted, sent.words = sent.posted, self.now(), ""
        try:
            answer = await self.rest.ask("POST", ORDERS, body=order, patience_s=self.left_s(sent))
        except NotSent as away:
            sent.posted = previous_post
            return [self.end(sent, Cause.EXPIRED, f"never sent: {away}")]
        except Lost as lost:
            sent.posted = self.now()
            return [self.unknown(sent, str(lost))]
        sent.posted = self.now()
        if answer.ok:
            return [await self.say(sent, answer)]
        if "client_order_id" in answer.words and "unique" in answer.words:
            return await self.ask(sent)  # the client id is taken: the venue has the order
        return [self.refused(sent, answer)]

    def refused(self, sent: Sent, answer: Answer) -> BrokerNews:
        """Report an order that the venue answered with an error: as rejected, or as unknown if it may have been
        accepted."""
        match alpaca_outcome(answer.status, answer.code, answer.words):
            case Outcome.UNKNOWN | Outcome.AGAIN:
                return self.unknown(sent, answer.words)
            case Outcome.STRANGE:
                sent.words = answer.words
                return self.unknown(sent, f"{answer.words} (words in no document of the venue: the order is queried)")
            case Outcome.REFUSED | Outcome.DENIED | Outcome.NOT_FOUND | Outcome.TAKEN:
                return self.end(sent, Cause.REJECTED, answer.words)

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Request the cancellation of the order in `row` of basket (`sample`, `n`); `ts` is unused. Returns
        CancelReported if this process neither sent nor registered the order."""
        rows = self.orders.rows(sample, n, [row])
        if not rows:
            return [CancelReported(sample, n, self.now(), row, "this adapter does not know the order")]
        sent = rows[0]
        async with sent.lock:
            return await self.cancel_sent(sent)

    async def cancel_sent(self, sent: Sent) -> Sequence[BrokerNews]:
        """Cancel an order at the venue; returns no report when the venue accepts. The caller holds the lock of the
        order."""
        try:
            venue_id = await self._venue_id_of(sent)
            if venue_id is None:
                return [self._cancel_refused(sent, "the venue does not have it")]
            answer = await self.rest.ask("DELETE", f"{ORDERS}/{venue_id}")
            return [self._cancel_refused(sent, answer.words)] if answer.refused() else []
        except NotSent as away:
            return [self._cancel_refused(sent, str(away))]
        except Lost as lost:
            return [self.unknown(sent, str(lost))]

    async def _venue_id_of(self, sent: Sent) -> str | None:
        """Return the venue's id of an order, None if the venue does not have the order. Raises NotSent or Lost."""
        if not sent.venue_id:
            order = await self.order(sent)
            sent.venue_id = order.id if order is not None else ""
        return sent.venue_id or None

    async def order(self, sent: Sent) -> Order | None:
        """Return the venue's record of an order, None when the venue does not have it. Raises NotSent or Lost."""
        answer = await self.rest.ask("GET", f"{ORDERS}:by_client_order_id", {"client_order_id": sent.id})
        if answer.status == 404 and answer.code == NOT_FOUND:
            return None
        if not answer.ok:
            raise Lost(answer.words)
        return self._decoded(sent, answer)

    def _decoded(self, sent: Sent, answer: Answer) -> Order:
        """Decode an answer about our order. Raises Lost for an unreadable one, and for one about another order."""
        order = answer.decode(Order)
        if order.client_order_id != sent.id:
            raise Lost("the venue's answer is about another order")
        return order

    async def cancel_overdue(self) -> None:
        """Cancel open orders of crypto pairs whose end time has passed. A cancel without effect is repeated after
        AGAIN_NS."""
        now = self.now()
        for sent in list(self.orders):
            overdue = 0 < sent.end <= now and is_crypto(self.universe.symbols[sent.column])
            if overdue and sent.ended < 0 and sent.posted and now - sent.tried >= AGAIN_NS:
                sent.tried = now
                await self.cancel(sent.sample, sent.n, sent.row, now)

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Return the executions and states of rows (orders of a basket) at the venue."""
        sent_rows, news = self.orders.wanted(sample, n, rows, self.now())
        return [*news, *chain.from_iterable(await asyncio.gather(*map(self._query, sent_rows)))]

    async def _query(self, sent: Sent) -> Sequence[BrokerNews]:
        async with sent.lock:
            return await self.ask(sent)

    async def ask(self, sent: Sent) -> Sequence[BrokerNews]:
        """Query the state of one order, and return one report of it. The caller holds the lock of the order.

        An order that the venue has is reported with its executions. Without an answer the order is Unknown. An absent
        order is Unknown if the venue listed it earlier, and during the settling time after it was sent, because it may
        still arrive. Later it is rejected if the venue had answered with an undocumented text (`sent.words`), else
        NotFound.
        """
        asked_at = self.now()
        try:
            order = await self.order(sent)
        except (NotSent, Lost) as away:
            return [self.unknown(sent, str(away))]
        if order is not None:
            return [await self.say(sent, order)]
        since = sent.posted or sent.ts
        if sent.venue_id:
            return [self.unknown(sent, "the venue listed the order earlier, and now does not find it")]
        if asked_at - since < self.settings.settle_s * NANO:
            return [self.unknown(sent, "the venue does not have it yet")]
        if sent.words:
            return [self.end(sent, Cause.REJECTED, sent.words)]
        return [NotFound(sent.sample, sent.n, self.now(), [sent.row])]

    async def say(self, sent: Sent, order: Order | Answer) -> BrokerNews:
        """Report an order with all its executions; Unknown when the venue does not answer.

        `cum` are the filled nano-units by the venue's count; `sent.behind` is the instant (ns) since which the listed
        executions add up to less than `cum`, 0 if they add up to it.
        """
        try:
            order = self._decoded(sent, order) if isinstance(order, Answer) else order
            sent.venue_id = order.id
            cause, cum = self._cause_of_end(sent, order), nano(order.filled_qty)
            if await self._wait_for_executions(sent, order, cum):
                sent.behind = 0
            elif not self._bridge_unlisted(sent, order, cum):
                return self.unknown(sent, "the order filled, and not all of its executions are listed yet")
        except (NotSent, Lost, Garbled) as wrong:
            return self.unknown(sent, str(wrong))
        return reports_of(sent, self.now(), cause, cum, _end_text(order))

    async def _wait_for_executions(self, sent: Sent, order: Order, cum_nano: int) -> bool:
        """Read executions until they add up to `cum_nano`, for `listing_s` seconds at most. Returns whether they do.

        Raises NotSent, Lost or Garbled.
        """
        pause = min(POLL_S, self.settings.listing_s / 4 or POLL_S)
        waited = 0.0
        while sent.log.known_nano() < cum_nano:
            await self._read_executions(sent, order)
            if sent.log.known_nano() < cum_nano:
                if waited >= self.settings.listing_s:
                    return False
                waited += pause
                await asyncio.sleep(pause)
        return True

    def _bridge_unlisted(self, sent: Sent, order: Order, cum_nano: int) -> bool:
        """Derive unlisted executions from the order's quantity and average price. Returns whether that was possible.

        The list may be late or incomplete (Alpaca-API issue 176), so this function first waits for `unlisted_s`
        seconds.
        """
        sent.behind = sent.behind or self.now()
        if order.filled_avg_price is None or self.now() - sent.behind < self.settings.unlisted_s * NANO:
            return False
        return sent.log.bridge(self.now(), cum_nano, nano(order.filled_avg_price))

    async def _read_executions(self, sent: Sent, order: Order) -> None:
        """Add the executions of an order from the account's activities. Raises NotSent or Lost."""
        # a second earlier than the venue's stamp, because both are rounded
        # and without a stamp the last seven days
        since = instant(order.submitted_at) - NANO if order.submitted_at else self.now() - 7 * 86_400 * NANO
        async for activity, raw in activities(self.rest, "/FILL", TradeActivity, since):
            if activity.order_id == order.id:
                try:
                    execution = Execution(
                        instant(activity.transaction_time),
                        nano(activity.qty),
                        nano(activity.price),
                        cum_nano=nano(activity.cum_qty),
                    )
                except Garbled as wrong:
                    self.rest.unreadable.add("execution", raw, wrong)
                    continue
                sent.log.add(execution)
                # the id of an activity ends with the id that the stream gives the execution, after two colons
                self._remember_execution(activity.id.partition("::")[2], execution)

    async def learn(self, update: Update) -> None:
        """Prepare for a reversal (the cancel or correction of an execution): query the executions of the order if this
        process does not know the execution that is reversed."""
        sent = self.orders.find(update.order.client_order_id)
        execution_is_known = (update.previous_execution_id or "") in self._executions_by_id
        if update.event not in REVERSALS or sent is None or execution_is_known:
            return
        try:
            await self._read_executions(sent, update.order)
        except (NotSent, Lost, Garbled):
            return  # `update` then reports the reversal of an unknown execution

    def update(self, update: Update) -> Sequence[BrokerNews]:
        """Return the reports of one update of the stream; none for an order of another client.

        The report is about a refused cancel, a reversal (the cancel or correction of an earlier execution), or new
        fills and the end of the order.

        `cum` are the filled nano-units of the order by the venue's count.
        """
        order = update.order
        sent = self.orders.find(order.client_order_id)
        if sent is None:
            return []
        if sent.venue_id and sent.venue_id != order.id:
            return []  # another order with our client id: `query` finds out which one is ours
        sent.venue_id = order.id
        ts = self.now()
        if update.event == "order_cancel_rejected":
            return [self._cancel_refused(sent, _end_text(order) or "the venue refused to cancel it")]
        if update.event in REVERSALS:
            return [self._busted(sent, update, ts)]
        try:
            cum, cause = nano(order.filled_qty), self._cause_of_end(sent, order)
            if update.event in ("fill", "partial_fill") and update.qty is not None and update.price is not None:
                executed_at = instant(update.timestamp) if update.timestamp else ts
                execution = Execution(executed_at, nano(update.qty), nano(update.price), cum_nano=cum)
                sent.log.add(execution)
                self._remember_execution(update.execution_id or "", execution)
        except Garbled as wrong:
            return [self.unknown(sent, str(wrong))]
        report = reports_of(sent, ts, cause, cum, _end_text(order), news_only=True)
        return [report] if report.cause else []  # without rows there is no news

    def _remember_execution(self, id: str, execution: Execution) -> None:
        """Store an execution by its id, for a later reversal; the oldest ones are dropped."""
        while len(self._executions_by_id) >= EXECUTIONS:
            del self._executions_by_id[next(iter(self._executions_by_id))]
        if id:
            self._executions_by_id.setdefault(id, execution)

    def _busted(self, sent: Sent, update: Update, ts: int) -> Busted:
        """Return the report that the venue reversed or corrected an execution; with 0 lots if that execution is
        unknown or not in whole lots.

        The report has the lots and price of the earlier execution, then its corrected lots and price, which are 0 for a
        reversal. Sizes are in nano-units, `lot` is one lot of the instrument.
        """
        lot, corrected = sent.lot_nano, update.event == "trade_correct"
        busted = self._executions_by_id.get(update.previous_execution_id or "")
        name = f"{update.event} {update.execution_id or update.previous_execution_id or update.timestamp}"
        unknown_bust = Busted(sent.sample, sent.n, ts, sent.row, 0, 0, id=name)
        try:
            size, price = (nano(update.qty), nano(update.price)) if corrected else (0, 0)
        except Garbled:
            return unknown_bust
        if busted is None or any(size_or_cum % lot for size_or_cum in (busted.size_nano, busted.cum_nano, size)):
            return unknown_bust
        if corrected:
            if not (size and price):
                return unknown_bust
            self._remember_execution(update.execution_id or "", Execution(ts, size, price, cum_nano=busted.cum_nano))
        return Busted(
            sent.sample, sent.n, ts, sent.row, busted.size_nano // lot, busted.price_nano, size // lot, price, name
        )

    def _cause_of_end(self, sent: Sent, order: Order) -> Cause | None:
        """Return the cause of an order's end, EXPIRED for a crypto pair past its end time; None for an open order.

        Raises Garbled for an unknown status.
        """
        cause = ended(order)
        overdue = 0 < sent.end <= self.now() and is_crypto(self.universe.symbols[sent.column])
        return Cause.EXPIRED if cause == Cause.CANCELLED and overdue else cause

    def body(self, sent: Sent) -> dict[str, str] | str:
        """Return the JSON fields of an order, or the reason why it cannot be sent."""
        symbol, size = self.universe.symbols[sent.column], abs(sent.lots) * sent.lot_nano
        least = self.least_nano.get(symbol, 0)
        if size < least:
            return f"not sent: {text_of(size)} is less than the venue's least order of {text_of(least)}"
        if not is_crypto(symbol) and size * sent.worst_nano < LEAST_COST_NANO * NANO:
            return f"not sent: {text_of(size)} cost less than the venue's least order of {text_of(LEAST_COST_NANO)}"
        return order_body(sent, symbol, sent.lot_nano, self.ticks.get(symbol, 0))

    def left_s(self, sent: Sent) -> float:
        """Return for how many seconds from now this order may still be sent."""
        if not sent.end:
            return self.settings.patience_s
        return max((sent.end - self.now()) / NANO, 0.0)

    def unknown(self, sent: Sent, reason: str) -> Unknown:
        """Report that the state of an order is not known, without secrets in the reason."""
        return Unknown(sent.sample, sent.n, self.now(), [sent.row], self.settings.safe(reason))

    def _cancel_refused(self, sent: Sent, reason: str) -> CancelReported:
        return CancelReported(sent.sample, sent.n, self.now(), sent.row, self.settings.safe(reason))

    def end(self, sent: Sent, cause: Cause, reason: str) -> Reports:
        """Report the end of an order that the venue never accepted."""
        return reports_of(sent, self.now(), cause, reason=self.settings.safe(reason))


def is_open(order: Order) -> bool:
    """Whether an order may still trade; True for an unknown status."""
    try:
        return ended(order) is None
    except Garbled:
        return True


def _end_text(order: Order) -> str:
    """Return the venue's text for the end of an order, empty for a fill."""
    return "" if order.status in ("filled", "new", "partially_filled", "accepted", "pending_new") else order.status
