"""Sends committed orders to the venue and returns its execution reports.

Requests of one basket are sequential; baskets are concurrent. An order without an acknowledgement is `UNKNOWN`. The
sender queries the venue, at increasing intervals, until the state of the order is resolved.

What can go wrong, and the sequence that prevents it:

- A cancel overtakes its order, or a query is answered before the order arrives. So each request of a basket waits for
  the previous one.
- Trading is halted, or the lease is lost, between the commit and the sending. So `withheld` is called just before the
  request; if it returns a reason, the order ends as rejected.
- A basket that waits for its commit is queried. The venue would not know it, and it would be sent twice. So only
  baskets whose sending has begun are queried.
- An answer NOT FOUND is about an earlier sending. So the answer has the number of sendings at the time of its query.
- An exception of the adapter leaves it open whether the request arrived. So the order is unknown, and the broker counts
  as down.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from quantd.daemon.engine.state.open_orders import Key, Working
from quantd.daemon.engine.state.waits import UNANSWERED_NS
from quantd.daemon.engine.venue.unknown import unsent
from quantd.daemon.runtime.inbox import Inbox
from quantd.daemon.runtime.outbound import Outgoing, Rows, rows_of
from quantd.trading.effects import Cancel, Query
from quantd.trading.events import CancelReported, Condition, NotFound, Unknown
from quantd.trading.orders import Cause, OrderBasket
from quantd.trading.ports import Broker, BrokerNews

log = structlog.get_logger("quantd.venue")

AGAIN_S: Final = 1.0
"""Seconds until the first query of an unknown order."""

SELDOM_S: Final = 60.0
"""Longest interval in seconds between two queries of an unknown order."""

AWAY_S: Final = 10.0
"""Seconds of disconnection after which the venue counts as down; a shorter disconnection does not stop new risk."""


class Sender:
    """The orders in flight at one venue.

    `withheld` returns the reason why a basket (None: a cancel) must not be sent any more, else empty. It is called just
    before sending, because the state may have changed since the commit.
    """

    def __init__(
        self, broker: Broker, inbox: Inbox, now: Callable[[], int], withheld: Callable[[OrderBasket | None], str]
    ) -> None:
        """`withheld` returns why a basket of orders (None: a cancel) must not be sent now; empty if it may be."""
        self._broker = broker
        self._inbox = inbox
        self._now = now
        self._withheld = withheld
        self._last: dict[Key, asyncio.Task[None]] = {}
        """Basket -> its newest request that has no answer yet."""
        self._sending: set[asyncio.Task[None]] = set()
        """Tasks that send orders; cancels and queries are not among them."""
        self._left: set[Key] = set()
        """Baskets whose sending has begun."""
        self._again: dict[tuple[int, int, int], int] = {}
        """(sample, n, row) -> number of times that the order was sent again."""
        self._tasks: asyncio.TaskGroup | None = None
        """The tasks of `run`; None before it began."""
        self._early: list[Outgoing] = []
        """Requests that were committed before `run` began."""
        self._asking: set[tuple[int, int, int]] = set()
        """(sample, n, row) of unknown orders that are being queried."""
        self.up = asyncio.Event()
        """Set when the venue reconnects; the reconciler clears it."""

    async def run(self) -> None:
        """Sends queued orders and requests to the venue, and reads its reports, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self.put(self._early)
            self._early = []
            await self._listen()

    async def _listen(self) -> None:
        """Put the venue's news into the inbox; a disconnection only if it lasts longer than AWAY_S.

        After a reconnection the event `up` is set, so that the account is compared.
        """
        assert self._tasks is not None
        away: asyncio.Task[None] | None = None
        async for news in self._broker.news():
            if not (isinstance(news, Condition) and news.what == "broker"):
                await self._inbox.tell([news])
                continue
            if not news.up:
                away = away or self._tasks.create_task(self._missed(news), name="venue away")
                continue
            if away is not None and not away.done():
                away.cancel()  # back within AWAY_S: the disconnection is not reported
                log.info("venue.back", after=news.detail)
            else:
                await self._inbox.tell([news])
            away = None
            self.up.set()

    async def _missed(self, down: Condition) -> None:
        """Reports the venue as down after AWAY_S. Missed reports are queried after the reconnect in any case."""
        log.warning("venue.away", why=down.detail)
        await asyncio.sleep(AWAY_S)
        await self._inbox.tell([down])

    def put(self, effects: Iterable[Outgoing]) -> None:
        """Sends committed requests to the venue, the requests of one basket in their order.

        Before `run` has begun the requests wait in memory. `Rows` are orders of an earlier basket that are sent again.
        """
        if self._tasks is None:
            self._early.extend(effects)
            return
        for effect in effects:
            key = effect.sample, effect.n
            self._left.add(key)
            if isinstance(effect, Rows):
                for row in effect.row:
                    self._again[*key, row] = self._again.get((*key, row), 0) + 1
            task = self._tasks.create_task(self._after(self._last.get(key), effect), name="venue")
            self._last[key] = task
            if isinstance(effect, OrderBasket | Rows):
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
            task.add_done_callback(partial(self._done, key))

    def _done(self, key: Key, task: "asyncio.Task[None]") -> None:
        if self._last.get(key) is task:
            del self._last[key]

    @property
    def busy(self) -> bool:
        """Whether any request to the venue has no answer yet."""
        return bool(self._last)

    @property
    def sending(self) -> bool:
        return bool(self._sending)

    async def idle(self) -> None:
        """Waits until the venue has answered every request."""
        while self._last:
            await asyncio.wait(list(self._last.values()))

    async def _after(self, previous: "asyncio.Task[None] | None", effect: Outgoing) -> None:
        if previous is not None:
            await asyncio.wait({previous})
        await self._inbox.tell(self._noted(await self._guarded(effect)))

    async def _guarded(self, effect: Outgoing) -> Sequence[BrokerNews]:
        """The venue's reports on a request. An exception in the adapter becomes reports: order unknown, broker down."""
        try:
            return await self._carried_out(effect)
        except Exception as error:
            log.exception("venue.failed", effect=type(effect).__name__, sample=effect.sample, n=effect.n)
            text, now = f"{type(error).__name__}: {error}"[:500], self._now()
            return [Unknown(effect.sample, effect.n, now, rows_of(effect), text), Condition(now, "broker", False, text)]

    async def _carried_out(self, effect: Outgoing) -> Sequence[BrokerNews]:
        """Send one request to the venue and return its answer; a request that is withheld is reported as not sent.

        `Rows` are orders of an earlier basket that are sent again. A query carries how often each order was sent again,
        so that an answer about an earlier sending is recognised.
        """
        match effect:
            case OrderBasket() | Rows():
                basket, rows = (effect, None) if isinstance(effect, OrderBasket) else (effect.basket, effect.row)
                why = self._withheld(basket)
                if why:
                    log.warning("order.withheld", why=why, sample=effect.sample, n=effect.n)
                    self._broker.remember(basket)  # a reconciliation in progress may still query it
                    text = f"not sent: {why}"
                    return [unsent(effect.sample, effect.n, self._now(), rows_of(effect), Cause.REJECTED, text)]
                return await self._broker.submit(basket, rows)
            case Cancel():
                if why := self._withheld(None):
                    return [CancelReported(effect.sample, effect.n, self._now(), effect.row, f"not sent: {why}")]
                return await self._broker.cancel(effect.sample, effect.n, effect.row, effect.ts)
            case Query():
                sent = {row: self._again.get((effect.sample, effect.n, row), 0) for row in effect.row}
                return _as_asked(await self._broker.query(effect.sample, effect.n, effect.row), sent)

    def left(self, working: Mapping[Key, Working]) -> None:
        """Registers the baskets that were sent before a restart, and how often each order was sent again."""
        self._left.update(working)
        self._again |= {(*key, row): times for key, work in working.items() for row, times in work.again.items()}

    def keep_asking(self, keys: Iterable[Key]) -> None:
        """Permits queries about ended baskets, because an operator settled one of their orders."""
        self._left.update(keys)

    async def ask(self, sample: int, n: int, rows: list[int]) -> None:
        """Queries orders (`rows` of a basket) after the basket's requests in flight; on return the answer is in the
        inbox.

        A basket that waits for its commit is not queried.
        """
        if (sample, n) not in self._left:
            return
        last_request = self._last.get((sample, n))
        if last_request is not None:
            await asyncio.wait({last_request})
        await self._inbox.tell(self._noted(await self._guarded(Query(sample, n, rows))))

    def keep(self, keys: Iterable[Key]) -> None:
        """Forgets all baskets of orders that were sent, except these."""
        self._left.intersection_update(keys)
        self._again = {at: times for at, times in self._again.items() if at[:2] in self._left}

    def _noted(self, news: Sequence[BrokerNews]) -> Sequence[BrokerNews]:
        """Returns `news`, and starts queries for the orders that the venue's news report as unknown."""
        for report in news:
            if isinstance(report, Unknown) and self._tasks is not None:
                rows = [row for row in report.row if (report.sample, report.n, row) not in self._asking]
                if rows:
                    self._asking |= {(report.sample, report.n, row) for row in rows}
                    self._tasks.create_task(self._ask_again(report.sample, report.n, rows), name="unknown")
        return news

    async def _ask_again(self, sample: int, n: int, rows: list[int]) -> None:
        """Queries the orders `rows` of a basket until the state of each is resolved.

        The pause doubles from AGAIN_S to SELDOM_S. Answers that resolve an order go to the engine at once; an answer
        that it is still unknown goes there after UNANSWERED_NS, and then each time the wait has doubled.
        """
        pause_s = AGAIN_S
        unresolved = rows
        since, next_report_ns = self._now(), UNANSWERED_NS
        while unresolved:
            await asyncio.sleep(pause_s)
            pause_s = min(2.0 * pause_s, SELDOM_S)
            news = await self._guarded(Query(sample, n, unresolved))
            answers: Sequence[BrokerNews] = [answer for answer in news if not isinstance(answer, Unknown)]
            if self._now() - since >= next_report_ns:
                next_report_ns = 2 * (self._now() - since)
                answers = [*news]
            unresolved = sorted({row for report in news if isinstance(report, Unknown) for row in report.row})
            self._asking -= {(sample, n, row) for row in rows if row not in unresolved}
            if answers:
                await self._inbox.tell(answers)


def _as_asked(news: Sequence[BrokerNews], sent: Mapping[int, int]) -> Sequence[BrokerNews]:
    """The reports of a query; a NotFound gets the number of resubmissions of its order at the time of the query."""
    if not any(sent.values()):
        return news
    reports: list[BrokerNews] = []
    for report in news:
        if isinstance(report, NotFound):
            reports.extend(NotFound(report.sample, report.n, report.ts, [row], sent.get(row, 0)) for row in report.row)
        else:
            reports.append(report)
    return reports
