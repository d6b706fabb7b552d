"""What talks to a venue across a network: carries out what was committed, and brings back what the venue says.

Orders of one basket are dealt with one thing after another, baskets side by side. An outcome that is unknown is
asked for again, ever more seldom, until somebody with authority has said what became of it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from quantd.daemon.engine.state import Working
from quantd.daemon.runtime.inbox import Inbox
from quantd.daemon.runtime.outbound import Outgoing, Rows
from quantd.trading.effects import Cancel, Query
from quantd.trading.events import CancelReported, Condition, NotFound, Unknown
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.ports import Broker, BrokerNews

log = structlog.get_logger("quantd.venue")

AGAIN_S: Final = 1.0
"""Seconds after which an unknown outcome is asked for again, the first time."""

SELDOM_S: Final = 60.0
"""And at most; what is unknown for hours is asked for once a minute."""

AWAY_S: Final = 10.0
"""A connection that is back within so many seconds was never down: only a longer one stops what adds risk."""

Key = tuple[int, int]


class Sender:
    """One venue's orders in flight. `withheld` says why a basket (None: a cancel) must not leave any more, empty when it may: it
    is asked right before, as much may have happened since it was committed."""

    def __init__(
        self, broker: Broker, inbox: Inbox, now: Callable[[], int], withheld: Callable[[OrderBasket | None], str]
    ) -> None:
        self._broker = broker
        self._inbox = inbox
        self._now = now
        self._withheld = withheld
        self._last: dict[Key, asyncio.Task[None]] = {}
        self._left: set[Key] = set()
        self._again: dict[tuple[int, int, int], int] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._early: list[Outgoing] = []
        self._asking: set[tuple[int, int, int]] = set()
        self.up = asyncio.Event()
        """Set whenever the venue is back after it was lost: whoever reconciles clears it."""

    async def run(self) -> None:
        """Until cancelled: send what is put, and read the venue's news."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self.put(self._early)
            self._early = []
            await self._listen()

    async def _listen(self) -> None:
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
                away.cancel()  # it was away for a moment, and nobody had been told
                log.info("venue.back", after=news.detail)
            else:
                await self._inbox.tell([news])
            away = None
            self.up.set()

    async def _missed(self, down: Condition) -> None:
        """Say that the venue is lost once it has been away for AWAY_S: what was missed is asked for either way."""
        log.warning("venue.away", why=down.detail)
        await asyncio.sleep(AWAY_S)
        await self._inbox.tell([down])

    def put(self, effects: Iterable[Outgoing]) -> None:
        """Carry these out, in order for each basket. They have been committed."""
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
            task.add_done_callback(partial(self._done, key))

    def _done(self, key: Key, task: "asyncio.Task[None]") -> None:
        if self._last.get(key) is task:
            del self._last[key]

    @property
    def busy(self) -> bool:
        """Whether anything is on its way that the venue has not answered."""
        return bool(self._last)

    async def idle(self) -> None:
        """Wait until nothing is on its way any more."""
        while self._last:
            await asyncio.wait(list(self._last.values()))

    async def _after(self, before: "asyncio.Task[None] | None", effect: Outgoing) -> None:
        if before is not None:
            await asyncio.wait({before})
        await self._inbox.tell(self._noted(await self._guarded(effect)))

    async def _guarded(self, effect: Outgoing) -> Sequence[BrokerNews]:
        """What became of an effect. An adapter that fails itself is a broker that is down, and an outcome nobody knows."""
        try:
            return await self._carried_out(effect)
        except Exception as error:
            log.exception("venue.failed", effect=type(effect).__name__, sample=effect.sample, n=effect.n)
            text, now = f"{type(error).__name__}: {error}"[:500], self._now()
            return [Unknown(effect.sample, effect.n, now, _rows(effect), text), Condition(now, "broker", False, text)]

    async def _carried_out(self, effect: Outgoing) -> Sequence[BrokerNews]:
        match effect:
            case OrderBasket() | Rows():
                basket, rows = (effect, None) if isinstance(effect, OrderBasket) else (effect.basket, effect.row)
                why = self._withheld(basket)
                if why:
                    log.warning("order.withheld", why=why, sample=effect.sample, n=effect.n)
                    self._broker.remember(basket)  # a comparison that began before may ask for it still
                    return [_never_sent(basket, _rows(effect), self._now(), why)]
                return await self._broker.submit(basket, rows)
            case Cancel():
                if why := self._withheld(None):
                    return [CancelReported(effect.sample, effect.n, self._now(), effect.row, f"not sent: {why}")]
                return await self._broker.cancel(effect.sample, effect.n, effect.row, effect.ts)
            case Query():
                sent = {row: self._again.get((effect.sample, effect.n, row), 0) for row in effect.row}
                return _as_asked(await self._broker.query(effect.sample, effect.n, effect.row), sent)

    def left(self, working: Mapping[Key, Working]) -> None:
        """These baskets have left before a restart, some of their rows several times."""
        self._left.update(working)
        self._again |= {(*key, row): times for key, work in working.items() for row, times in work.again.items()}

    async def ask(self, sample: int, n: int, rows: list[int]) -> None:
        """Ask the venue for rows, after what is on its way for their basket; its answer is in the inbox then. Nothing is asked
        of a basket that waits for its commit."""
        if (sample, n) not in self._left:
            return
        before = self._last.get((sample, n))
        if before is not None:
            await asyncio.wait({before})
        await self._inbox.tell(self._noted(await self._guarded(Query(sample, n, rows))))

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget which baskets have left, but for these."""
        self._left.intersection_update(keys)
        self._again = {at: times for at, times in self._again.items() if at[:2] in self._left}

    def _noted(self, news: Sequence[BrokerNews]) -> Sequence[BrokerNews]:
        """See to it that what is unknown is asked for again."""
        for each in news:
            if isinstance(each, Unknown) and self._tasks is not None:
                rows = [row for row in each.row if (each.sample, each.n, row) not in self._asking]
                if rows:
                    self._asking |= {(each.sample, each.n, row) for row in rows}
                    self._tasks.create_task(self._ask_again(each.sample, each.n, rows), name="unknown")
        return news

    async def _ask_again(self, sample: int, n: int, rows: list[int]) -> None:
        """Ask for rows until the venue has said what became of each."""
        pause_s = AGAIN_S
        left = rows
        while left:
            await asyncio.sleep(pause_s)
            pause_s = min(2.0 * pause_s, SELDOM_S)
            news = await self._guarded(Query(sample, n, left))
            known = [each for each in news if not isinstance(each, Unknown)]
            left = sorted({row for each in news if isinstance(each, Unknown) for row in each.row})
            self._asking -= {(sample, n, row) for row in rows if row not in left}
            if known:
                await self._inbox.tell(known)


def _as_asked(news: Sequence[BrokerNews], sent: Mapping[int, int]) -> Sequence[BrokerNews]:
    """News of a query; what the venue never had is told with how often it had been sent again when it was asked."""
    if not any(sent.values()):
        return news
    told: list[BrokerNews] = []
    for each in news:
        if isinstance(each, NotFound):
            told.extend(NotFound(each.sample, each.n, each.ts, [row], sent.get(row, 0)) for row in each.row)
        else:
            told.append(each)
    return told


def _rows(effect: Outgoing) -> list[int]:
    match effect:
        case OrderBasket():
            return list(range(len(effect.sym)))
        case Cancel():
            return [effect.row]
        case Query() | Rows():
            return effect.row


def _never_sent(basket: OrderBasket, rows: list[int], ts: int, why: str) -> Reports:
    none = [0] * len(rows)
    return Reports(
        sample=basket.sample, n=basket.n, ts=ts, row=rows, cum=none, lots=none, price_nano=none,
        fee_micro=none, cause=[int(Cause.REJECTED)] * len(rows), reason=f"not sent: {why}",
    )  # fmt: skip
