"""Orders at Interactive Brokers: sent once, looked for in three lists, and filled by executions alone.

What can go wrong. An answer is lost: the order may be at the venue, on its way or nowhere, and the venue takes a second
one with the same reference without a word. A status says "Filled", and its execution never comes. A commission comes
late or never. The lists have the orders and executions of today only.

What is done about it. `orderRef` has our derived id, and an order that may have been sent is looked for by it before it
is sent: in the open orders, then in the ended ones, then among the executions, so that an order that ends in between is
in at least one. It counts as never received only if the three lists of one connection have it not, the settling time
has passed, and it was sent today; otherwise it stays Unknown for a person. A fill is an execution with its commission,
or without it after `commission_s`; a later commission is a movement of cash. Two permanent ids under one reference are
two orders: nothing more is booked of them.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import replace

from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.ibkr.connection import IbkrSettings, Line, Refused
from quantd.adapters.brokers.ibkr.wire import (
    ACCEPTED,
    CANCELLED,
    ENDED,
    FAILED,
    NOT_CANCELLED,
    REFUSED,
    REMARKS,
    Done,
    Order,
    fields_of,
    library,
    nano,
)
from quantd.adapters.brokers.order_log import Orders, Sent, reports_of
from quantd.trading.events import Busted, CancelReported, NotFound, Unknown
from quantd.trading.instruments import MICRO, NANO, Universe
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.ports import BrokerNews, VenueFlow

LAG_S: Final = 0.3
"""Delay of a look for executions that a status announced."""
MOST_FEES: Final = 10_000
"""Maximum number of remembered executions."""
ZONE: Final = ZoneInfo("America/New_York")
"""The day of the venue's lists."""


class Heard(Struct):
    """What the venue has said of one of our orders. `others` are further permanent ids under its reference."""

    perm_id: int = 0
    order_id: int = -1
    client_id: int = -1
    status: str = ""
    filled_nano: int = 0
    words: str = ""
    refused: bool = False
    cancelling: bool = False
    others: set[int] = field(default_factory=set)


class Look(Struct, frozen=True):
    """The three lists of the venue: open orders, those that ended today, and executions of today. `listed` are all
    references in them, and `partial` says whether something was unreadable."""

    open: list[Order]
    ended: list[Order]
    listed: set[str]
    executions: list[Done]
    partial: bool


class Desk:
    """The orders of one run. `say` takes the news."""

    def __init__(
        self, settings: IbkrSettings, universe: Universe, run: str, now: Callable[[], int],
        say: Callable[[BrokerNews], None],
    ) -> None:  # fmt: skip
        self.settings, self.universe, self.now, self._say = settings, universe, now, say
        self.orders = Orders(universe, run)
        self.line = Line(settings, self)
        self.contracts: dict[int, Any] = {}  # by column: ib_async's contract
        self.opened_at = 0
        self.late_fees: list[VenueFlow] = []
        self.fees: dict[str, int] = {}  # id of an execution -> its commission in micro-currency
        self.said: dict[int, str] = {}  # number of an order that is not of `orders` -> the gateway's words
        self.usable: Callable[[], None] = lambda: None
        self.gone: Callable[[str], None] = lambda words: None
        self._heard: dict[str, Heard] = {}
        self._by_perm: dict[int, Sent] = {}
        self._by_order_id: dict[int, Sent] = {}
        self._unpaid: dict[str, tuple[Sent, Execution]] = {}
        self._without_fee: dict[str, str] = {}  # executions booked without a fee -> symbol
        self._revisions: dict[str, Done] = {}
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._inherited: dict[str, int] = {}
        self._looking = asyncio.Lock()
        self._next_look: asyncio.Task[Look] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def remember(self, basket: OrderBasket) -> None:
        """Register a basket that an earlier process may have sent."""
        for sent in self.orders.add(basket):
            self._inherited.setdefault(sent.id, self.now())
        if not self.line.lost.is_set():
            self.look_soon(0)  # what it executed before is then known, so that a correction of that is one

    async def close(self) -> None:
        """End the looks under way."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._timers = {timer for timer in self._timers if timer.when() > loop.time()}
        self._timers.add(loop.call_later(delay_s, call))

    # ---------------------------------------------------------------- the lists

    async def look(self) -> Look:
        """Read the three lists; those who ask before it begins share one reading. Raises ConnectionError."""
        if self._next_look is None:
            self._next_look = task = asyncio.create_task(self._look())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        return await asyncio.shield(self._next_look)

    async def _look(self) -> Look:
        async with self._looking:
            self._next_look = None
            try:
                everything = library().ExecutionFilter()
                opened = await self.line.list("open orders", lambda client, _: client.reqAllOpenOrders())
                ended = await self.line.list("ended orders", lambda client, _: client.reqCompletedOrders(False))
                done = await self.line.list(
                    "executions", lambda client, id: client.reqExecutions(id, everything), numbered=True
                )
            except Refused as refused:
                raise ConnectionError(str(refused)) from None
        orders = {order.perm_id: order for order in opened.items if isinstance(order, Order)}
        for status in (item for item in opened.items if not isinstance(item, Order)):
            if (order := orders.get(status[0])) is not None:
                orders[status[0]] = replace(order, status=status[1], filled_nano=nano(status[2]))
        listed = {item.ref for listing in (orders.values(), ended.items, done.items) for item in listing}
        still_open = [order for order in orders.values() if order.status not in ENDED]
        return Look(still_open, ended.items, listed, done.items, bool(opened.unread + ended.unread + done.unread))

    def look_soon(self, delay_s: float = LAG_S) -> None:
        """Read the lists soon; what is new in them is told."""

        def begin() -> None:
            task = asyncio.ensure_future(self.look())
            task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._later(delay_s, begin)

    # ---------------------------------------------------------------- what the gateway says

    def _of(self, sent: Sent) -> Heard:
        return self._heard.setdefault(sent.id, Heard())

    def on_order(self, order: Order) -> None:
        """Learn of an order, from a list or from the news."""
        if (sent := self.orders.find(order.ref)) is None:
            return
        heard = self._of(sent)
        if not self._is_its(sent, heard, order.perm_id):
            return
        if order.order_id >= 0:
            heard.order_id, heard.client_id = order.order_id, order.client_id
            if order.client_id == self.settings.client_id:
                self._by_order_id[order.order_id] = sent
        else:  # ended
            heard.refused = heard.refused or (order.status == "Inactive" and not order.filled_nano)
            heard.words = heard.words or (order.words if order.status == "Inactive" else "")
            self._state(
                sent, heard, "Cancelled" if order.status == "Inactive" else order.status, order.filled_nano or 0
            )
            return
        self._state(sent, heard, order.status, heard.filled_nano)

    def on_status(self, perm_id: int, order_id: int, client_id: int, status: str, filled: Decimal) -> None:
        """Learn the status of an order."""
        sent = self._by_perm.get(perm_id)
        if sent is None and client_id == self.settings.client_id:
            sent = self._by_order_id.get(order_id)
        if sent is not None and self._is_its(sent, heard := self._of(sent), perm_id):
            self._state(sent, heard, status, nano(filled))

    def _is_its(self, sent: Sent, heard: Heard, perm_id: int) -> bool:
        """Whether a permanent id is that of our order. A second one is a second order: it is told once."""
        if perm_id and not heard.perm_id:
            heard.perm_id, sent.venue_id = perm_id, str(perm_id)
            self._by_perm[perm_id] = sent
        if perm_id in (0, heard.perm_id):
            return True
        if perm_id not in heard.others:
            heard.others.add(perm_id)
            self._say(self.unknown(sent, self._doubled(heard)))
        return False

    def _doubled(self, heard: Heard) -> str:
        ids = ", ".join(map(str, sorted({heard.perm_id, *heard.others})))
        return f"the venue has several orders with this reference (permanent ids {ids}): look at each in TWS"

    def _state(self, sent: Sent, heard: Heard, status: str, filled_nano: int) -> None:
        if heard.status not in ENDED or status in ENDED:  # an older message may come later
            heard.status = status
        heard.filled_nano = max(heard.filled_nano, filled_nano)
        if status in ACCEPTED or status in ENDED:
            self._answered(sent, status)
        self._tell(sent, heard)

    def _answered(self, sent: Sent, status: str) -> None:
        """Resolve the wait for the answer to an order or to its cancel."""
        answer = self._answers.get(sent.id)
        if answer is None or answer.done():
            return
        heard = self._of(sent)
        if not heard.cancelling or status in ENDED or status == "PendingCancel":
            answer.set_result("")

    def on_execution(self, done: Done) -> None:
        """Book an execution of ours once, when its commission is known or late."""
        if (sent := self.orders.find(done.ref)) is None or not self._is_its(sent, self._of(sent), done.perm_id):
            return
        head, _, revision = done.id.rpartition(".")
        before = self._revisions.get(head)
        if before is not None:
            if revision > before.id.rpartition(".")[2]:
                self._revisions[head] = done
                self._say(self._corrected(sent, before, done))
            return
        _bound(self._revisions)
        self._revisions[head] = done
        execution = Execution(done.ts, done.size_nano, done.price_nano, cum_nano=done.cum_nano)
        heard = self._of(sent)
        heard.filled_nano = max(heard.filled_nano, done.cum_nano)
        self._answered(sent, "Filled" if done.cum_nano == abs(sent.lots) * sent.lot_nano else "Submitted")
        self._unpaid[done.id] = sent, execution
        if done.id in self.fees:
            self._pay(done.id, self.fees[done.id])
        else:
            self._later(self.settings.commission_s, lambda: self._unreported(done.id))

    def _corrected(self, sent: Sent, before: Done, after: Done) -> Busted:
        """The report that the venue corrected an execution; with 0 lots where these are not whole."""
        lot = sent.lot_nano
        if before.size_nano % lot or after.size_nano % lot:
            return Busted(sent.sample, sent.n, self.now(), sent.row, 0, 0, id=f"correction {after.id}")
        return Busted(
            sent.sample, sent.n, self.now(), sent.row, before.size_nano // lot, before.price_nano,
            after.size_nano // lot, after.price_nano, f"correction {after.id}",
        )  # fmt: skip

    def on_commission(self, id: str, cost: Decimal, currency: str) -> None:
        """Learn the commission of an execution, which may be booked already."""
        if id in self.fees:
            return
        fee_micro = round(cost * MICRO)
        if currency != self.universe.currency:
            text = f"the commission of execution {id} is {cost} {currency}: it is not booked"
            self.line.unreadable.name(text, id)
            fee_micro = 0
        _bound(self.fees)
        self.fees[id] = fee_micro
        if id in self._unpaid:
            self._pay(id, fee_micro)
        elif (symbol := self._without_fee.pop(id, None)) is not None and fee_micro:
            text = f"late commission of execution {id}"
            self.late_fees.append(VenueFlow(f"commission {id}", self.now(), "fee", -fee_micro, symbol, text))

    def _unreported(self, id: str) -> None:
        """The time for a commission is over: the execution is booked without."""
        if id in self._unpaid:
            _bound(self._without_fee)
            self._without_fee[id] = self.universe.symbols[self._unpaid[id][0].column]
            self.line.unreadable.name(f"the venue reported no commission of execution {id}: it is booked without", id)
            self._pay(id, 0)

    def _pay(self, id: str, fee_micro: int) -> None:
        sent, execution = self._unpaid.pop(id)
        sent.log.add(replace(execution, fee_micro=fee_micro))
        self._tell(sent, self._of(sent))

    def on_error(self, order_id: int, code: int, words: str) -> None:
        """Learn what the gateway says of an order: a refusal, a remark, or an undocumented text."""
        if (sent := self._by_order_id.get(order_id)) is None:
            self.line.unreadable.name(f"the gateway said of order {order_id}: {words}", (order_id, words))
            _bound(self.said)
            self.said[order_id] = words
            return
        heard, answer = self._of(sent), self._answers.get(sent.id)
        waiting = answer if answer is not None and not answer.done() else None
        if code in REMARKS:
            self.line.unreadable.name(f"the venue remarks on order {sent.id}: {words}", sent.id + words)
        elif code in NOT_CANCELLED:
            if waiting is not None and heard.cancelling:
                waiting.set_result(words)
        elif code == CANCELLED:
            if waiting is not None and heard.cancelling:
                waiting.set_result("")
            self.look_soon()
        elif code in REFUSED and not heard.cancelling:
            heard.refused, heard.words, heard.status = True, words, "Cancelled"
            if waiting is not None:
                waiting.set_result("")
            else:
                self._tell(sent, heard)
        else:
            sent.words = sent.words or ("" if code in FAILED else words)
            if waiting is not None:
                waiting.set_exception(ConnectionError(words))
            self.look_soon()

    def on_doubt(self) -> None:
        self.look_soon()

    def on_lost(self, words: str) -> None:
        """Nobody answers any more."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError(words))
        self.gone(words)

    def on_usable(self) -> None:
        self.usable()

    # ---------------------------------------------------------------- reports

    def _cause(self, sent: Sent, heard: Heard) -> Cause | None:
        """Why an order ended; None while it is open, and for a fill that no execution shows."""
        filled = sent.log.known_nano()
        if heard.status == "Filled":
            return Cause.LAST_FILL if filled == abs(sent.lots) * sent.lot_nano else None
        if heard.status not in ENDED:
            return None
        if heard.refused and not filled:
            return Cause.REJECTED
        overdue = 0 < sent.end <= self.now() and not heard.cancelling
        return Cause.EXPIRED if overdue else Cause.CANCELLED

    def _waits_for_fee(self, sent: Sent) -> bool:
        return any(unpaid is sent for unpaid, _ in self._unpaid.values())

    def _tell(self, sent: Sent, heard: Heard) -> None:
        """Tell what is new of an order, once its executions are complete."""
        if heard.others or self._waits_for_fee(sent):
            return
        if heard.filled_nano > sent.log.known_nano():
            self.look_soon()
            return
        cause = None if sent.ended >= 0 else self._cause(sent, heard)
        if cause is None and all(fill.cum in sent.log.reported for fill in sent.log.fills(sent.lot_nano)):
            return
        if sent.id in self._answers and cause is Cause.REJECTED:
            return  # the answer to the order has it
        report = reports_of(sent, self.now(), cause, heard.filled_nano, heard.words, news_only=True)
        if report.cause:
            self._say(report)

    def _report(self, sent: Sent) -> Reports | Unknown:
        """The whole state of an order that the venue has."""
        heard = self._of(sent)
        if heard.others:
            return self.unknown(sent, self._doubled(heard))
        if heard.filled_nano > sent.log.known_nano():
            return self.unknown(sent, "the order filled, and not all of its executions are listed yet")
        cause = self._cause(sent, heard)
        if cause is None and heard.status not in ACCEPTED and not sent.log.executions:
            return self.unknown(sent, f"the venue has the order as {heard.status or 'nothing'}: it is not accepted yet")
        return reports_of(sent, self.now(), cause, heard.filled_nano, heard.words)

    def unknown(self, sent: Sent, reason: str) -> Unknown:
        """Report that the state of an order is not known."""
        return Unknown(sent.sample, sent.n, self.now(), [sent.row], reason)

    def end(self, sent: Sent, cause: Cause, reason: str) -> Reports:
        """Report the end of an order that the venue does not have."""
        return reports_of(sent, self.now(), cause, reason=reason)

    # ---------------------------------------------------------------- what is asked of the venue

    async def submit(self, sent: Sent) -> BrokerNews:
        """Send an order, unless the venue may have it: then it is looked for first."""
        async with sent.lock:
            if sent.ts < self.opened_at:  # decided before this process: an earlier one may have sent it
                self._inherited.setdefault(sent.id, self.opened_at)
            if sent.posted or sent.ended >= 0 or sent.id in self._inherited:
                report = await self.ask(sent)
                if not isinstance(report, NotFound):
                    return report
            return await self.place(sent)

    async def place(self, sent: Sent) -> BrokerNews:
        """Send an order. The caller holds its lock, and has looked for it where it may be at the venue."""
        fields = fields_of(sent, self.settings.account)
        if isinstance(fields, str):
            return self.end(sent, Cause.REJECTED, fields)
        try:
            client = await self.line.client()
        except ConnectionError as away:
            return self.unknown(sent, f"not sent: {away}")
        if 0 < sent.end <= self.now():
            return self.end(sent, Cause.EXPIRED, "its end had passed before it was sent")
        order_id = client.getReqId()
        self._heard[sent.id] = Heard(order_id=order_id, client_id=self.settings.client_id)
        self._by_order_id[order_id] = sent
        sent.posted, sent.words, sent.ended = self.now(), "", -1
        try:
            await self._wait(
                sent, lambda: client.placeOrder(order_id, self.contracts[sent.column], library().Order(**fields))
            )
        except ConnectionError as lost:
            return self.unknown(sent, str(lost))
        heard = self._of(sent)
        if self._cause(sent, heard) is Cause.REJECTED:
            return self.end(sent, Cause.REJECTED, heard.words)
        if heard.others:
            return self.unknown(sent, self._doubled(heard))
        return reports_of(sent, self.now(), None if self._waits_for_fee(sent) else self._cause(sent, heard))

    async def _wait(self, sent: Sent, send: Callable[[], None]) -> str:
        """Send, and wait for the answer: the words of a refused cancel, else nothing. Raises ConnectionError."""
        answer = self._answers[sent.id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                send()
                return await answer
        except TimeoutError:
            raise ConnectionError("the venue did not answer in time") from None
        finally:
            del self._answers[sent.id]

    async def query(self, sent: Sent) -> BrokerNews:
        """Return the state of an order, with its executions."""
        async with sent.lock:
            return await self.ask(sent)

    async def ask(self, sent: Sent) -> BrokerNews:
        """Look for an order in the lists. The caller holds its lock.

        An order that they do not have is Unknown during the settling time, and for ever if it was sent on an earlier
        day or was listed before. Otherwise it was never received: NotFound, or rejected with an undocumented text.
        """
        if sent.ended == Cause.REJECTED and not sent.log.executions:
            return self.end(sent, Cause.REJECTED, self._of(sent).words)
        asked_at = self.now()
        try:
            look = await self.look()
            if sent.id in look.listed or sent.ended >= 0:
                await self._paid(sent)
                return self._report(sent)
        except ConnectionError as away:
            return self.unknown(sent, str(away))
        never_sent = not sent.posted and sent.id not in self._inherited
        since = sent.posted or sent.ts
        if sent.venue_id:
            return self.unknown(sent, "the venue listed the order earlier, and now does not: look for it in TWS")
        if look.partial:
            return self.unknown(sent, "a message of the venue's lists could not be read, and may be about this order")
        if asked_at - since < self.settings.settle_s * NANO:
            return self.unknown(sent, "the venue does not have it yet")
        if not never_sent and _day(since) != _day(asked_at):
            text = "it was sent on an earlier day, and the venue lists what ended today only: look for it in TWS"
            return self.unknown(sent, text)
        if sent.words:
            return self.end(sent, Cause.REJECTED, sent.words)
        return NotFound(sent.sample, sent.n, self.now(), [sent.row])

    async def _paid(self, sent: Sent) -> None:
        """Wait until the commissions of an order's executions are reported, or late."""
        for _ in range(100):
            if not self._waits_for_fee(sent):
                return
            await asyncio.sleep(self.settings.commission_s / 50)

    async def cancel(self, sent: Sent) -> BrokerNews | None:
        """Request a cancel; None if the venue accepts it. The caller holds the lock."""
        heard = self._of(sent)
        try:
            if heard.order_id < 0:
                await self.look()
            if sent.ended >= 0:
                return self._not_cancelled(sent, "the order has ended")
            if heard.order_id < 0:
                return self._not_cancelled(sent, "the venue does not have it")
            if heard.client_id != self.settings.client_id:
                return self._not_cancelled(sent, f"client {heard.client_id} placed it, and only that may cancel it")
            client = await self.line.client()
            heard.cancelling = True
            words = await self._wait(sent, lambda: client.cancelOrder(heard.order_id))
        except ConnectionError as lost:
            return self.unknown(sent, str(lost))
        if words:
            heard.cancelling = False
            return self._not_cancelled(sent, words)
        self.look_soon()
        return None

    def _not_cancelled(self, sent: Sent, reason: str) -> CancelReported:
        """Report that an order was not cancelled."""
        return CancelReported(sent.sample, sent.n, self.now(), sent.row, reason)

    def not_cancelled_row(self, sample: int, n: int, row: int) -> CancelReported:
        """Report a cancel of an order that nobody knows."""
        return CancelReported(sample, n, self.now(), row, "this adapter does not know the order")

    async def replace(self, old: Sent, new: Sent) -> Sequence[BrokerNews]:
        """Cancel an order, wait for its end, and send another if nothing more of the old one filled."""
        async with old.lock, new.lock:
            if new.posted:
                return [await self.ask(new)]
            filled = old.log.known_nano()
            refused = await self.cancel(old)
            deadline = asyncio.get_running_loop().time() + self.settings.timeout_s
            report: BrokerNews = await self.ask(old)
            while old.ended < 0 and refused is None and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(LAG_S / 4)
                report = await self.ask(old)
            news = [report] if refused is None else [refused, report]
            if old.ended < 0 or not isinstance(report, Reports):
                return [*news, self.end(new, Cause.EXPIRED, "never sent: the order it replaces has not ended")]
            if old.ended != Cause.CANCELLED or old.log.known_nano() != filled:
                return [*news, self.end(new, Cause.EXPIRED, "never sent: the order it replaces filled or ended first")]
            return [*news, await self.place(new)]


def _bound(remembered: dict[Any, Any]) -> None:
    """Drop the oldest entry of a full dictionary."""
    if len(remembered) >= MOST_FEES:
        del remembered[next(iter(remembered))]


def _day(ts: int) -> date:
    return datetime.fromtimestamp(ts / NANO, ZONE).date()
