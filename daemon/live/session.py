"""What a run on a market that goes on has outside the process: its feed, and the venue with what talks to it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

import numpy as np
import structlog

from quantd.adapters.brokers.errors import VenueError
from quantd.adapters.feeds.bars.checks import BadBar
from quantd.adapters.feeds.source import TellsHalts
from quantd.adapters.store.journal.writer import BadBar as StoredBadBar
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.account import difference
from quantd.daemon.live.order_sender import Sender
from quantd.daemon.live.reconciliation import Reconciler
from quantd.daemon.runtime.feeder import feed_live
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.journal import unanswered
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.timeline import live_timeline
from quantd.risk.switch import HALT
from quantd.trading.events import Condition, Correction, Halted, Limited, Reconciled, Tick
from quantd.trading.orders import OrderBasket, money_text, quantity_text
from quantd.trading.ports import Broker, LiveFeed
from quantd.trading.sessions import DAY_NS
from quantd.trading.venue import VenueAccount

log = structlog.get_logger("quantd.outside")

LEAVE_S: Final = 5.0
"""How long a stop waits for what was committed to reach the venue."""


QUIET_NS: Final = 60_000_000_000
"""People hear of bars that were put aside once a minute at most."""


class Aside:
    """Bars that a feed put aside and that the store has not seen yet."""

    def __init__(self) -> None:
        self._bad: deque[StoredBadBar] = deque(maxlen=10_000)

    def __call__(self, bad: BadBar, given: BadBar | None) -> None:
        values = f"{bad.open} {bad.high} {bad.low} {bad.close} {bad.volume}"
        if given is not None:
            values += f" (given: {given.open} {given.high} {given.low} {given.close} {given.volume})"
        self._bad.append(StoredBadBar(bad.ts, bad.symbol, bad.reason, values))

    def taken(self) -> list[StoredBadBar]:
        """What came since the last call."""
        bad = list(self._bad)
        self._bad.clear()
        return bad


class Outside:
    """The feed and the venue of one run, which `began` (ns UTC) with its first start. `venue` is None where the broker is
    simulated. `leads` says whether this process still leads its account, `aside` has the bars that were put aside."""

    def __init__(
        self,
        parts: Parts,
        feed: LiveFeed,
        venue: Broker | None,
        *,
        began: int,
        leads: Callable[[], bool] = lambda: True,
        aside: "Aside | None" = None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.parts = parts
        self._now = now
        self._leads = leads
        self._aside = aside or Aside()
        self._began = began
        self._first: VenueAccount | None = None
        self.opened = False
        self.feed = feed
        self.venue = venue
        self.sender: Sender | None = None
        self.reconciler: Reconciler | None = None

    async def open(self, shell: Shell) -> None:
        """Connect to the venue and tell it which orders are ours; a first start looks at what is there already. Raises
        VenueError, and ConnectionError when the venue does not answer."""
        if self.venue is None:
            self.opened = True
            return
        await self.venue.open()
        if not shell.tally.samples:
            self._first = await self.venue.account()
            refuse_unknown(self.parts, shell.state, self._first)
        for _, ended in shell.state.ended:
            self.venue.remember(ended.basket)
        for work in shell.state.at_venue().values():
            self.venue.remember(work.basket)
        self.opened = True

    def attach(self, service: Service) -> None:
        """From now on what is committed is sent."""
        if self.venue is None:
            return
        shell = service.shell
        self.sender = Sender(self.venue, service.inbox, self._now, partial(self._withheld, shell))
        self.sender.left(shell.state.at_venue())
        service.send = self.sender.put
        self.reconciler = Reconciler(service, self.venue, self.sender, self._began, self._now)
        service.reconcile = self.reconciler.wanted.set
        service.compare = self.reconciler.compared
        for unknown in unanswered(shell.state):
            shell.run(unknown)

    def _withheld(self, shell: Shell, basket: OrderBasket | None) -> str:
        halted = "" if basket is None else withheld(shell.state, basket)
        return halted or ("" if self._leads() else "this daemon no longer leads its account")

    async def run(self, service: Service, ready: asyncio.Event) -> None:
        """Until cancelled: the venue first, compared and with every unknown outcome asked for; then the market."""
        async with asyncio.TaskGroup() as tasks:
            if self.sender is not None and self.reconciler is not None:
                tasks.create_task(self.sender.run(), name="venue")
                tasks.create_task(self._compared(service, self.reconciler, ready), name="reconcile")
                if self._first is None:
                    await ready.wait()
            else:
                ready.set()
            if isinstance(self.feed, TellsHalts):
                self.feed.tell_halts(partial(self._halted, service))
            trouble = tasks.create_task(self._trouble(service), name="feed trouble")
            after, ticks = self._from(service.shell)
            try:
                await feed_live(service, live_timeline(self.feed, after, ticks, self.parts.dated))
            except Exception as error:  # a dead feed, not a crash: the daemon stays, for its positions and its people
                log.exception("feed.failed")
                trouble.cancel()
                service.feed_error = f"{type(error).__name__}: {error}"[:500]

    def _halted(self, service: Service, news: Halted | Limited) -> None:
        """What the market's stream says of halts, before all that waits from it."""
        try:
            service.inbox.command(news)
        except InboxFull:
            log.warning("halt.untold", symbol=service.shell.state.universe.symbols[news.symbol])

    async def _compared(self, service: Service, reconciler: Reconciler, ready: asyncio.Event) -> None:
        """Compare at the start, then as often as configured. What a first start takes over has a value once there are prices."""
        if self._first is not None:
            lots = np.array(self._first.lots, dtype=np.float64)
            state = service.shell.state
            while np.isnan(state.marks[lots != 0.0]).any():
                await service.changed(0.25)
            correction = at_first(state, self._first)
            if correction is not None:
                await service.inbox.command(correction)
        await reconciler.once()
        ready.set()
        await reconciler.run(self.parts.config.broker.reconcile_ns / 1e9)

    def _from(self, shell: Shell) -> tuple[int, Iterator[Tick]]:
        """Where the market is taken up, and the ticks from there on."""
        parts = self.parts
        end = max(s.close_ns[-1] for s in parts.sessions.values())
        if shell.ts:
            # a start that ended in the warm-up goes on with it
            after = shell.ticked or warm_up(parts)
            return shell.ts, parts.ticks_between(after, end, self._began, away=self._now())
        after = warm_up(parts)
        return after, parts.ticks_between(after, end, self._began)

    async def _trouble(self, service: Service) -> None:
        """Say why nothing comes, and which bars were put aside: each is kept, people hear of the first of a while."""
        said, absent = -QUIET_NS, tuple[str, ...]()
        while True:
            service.feed_error = self.feed.trouble
            if self.feed.absent != absent:
                absent = self.feed.absent
                text = (
                    f"the vendor has no bars of {', '.join(absent)}"
                    if absent
                    else "the vendor has bars of every symbol again"
                )
                with suppress(InboxFull):
                    service.inbox.command(Condition(service.shell.state.now, "bars", False, text))
            if bad := self._aside.taken():
                service.quarantine.extend(bad)
                if time.monotonic_ns() - said > QUIET_NS:
                    said = time.monotonic_ns()
                    text = f"{len(bad)} bars were put aside; the first is {bad[0].symbol}: {bad[0].reason}"
                    with suppress(InboxFull):
                        service.inbox.command(Condition(service.shell.state.now, "bars", False, text))
            await asyncio.sleep(0.25)

    async def flush(self) -> None:
        """Let what was committed reach the venue, within a few seconds, while `run` still carries it out: before a stop that
        cancels. One that keeps leaves the rest to the next start, which asks for it."""
        if self.sender is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self.sender.idle()

    async def leave(self) -> None:
        """Close; what `flush` did not bring to its end is asked for by the next start."""
        if self.venue is not None:
            await self.venue.close()
        await self.feed.close()


def at_first(state: State, account: VenueAccount) -> Correction | None:
    """What the first start takes over, or fences off, of what the venue holds; None when there is nothing, or it was done."""
    lots, cash = difference(state, Reconciled(account.ts, list(account.lots), account.cash_micro))
    if not any(lots) and not cash:
        return None
    return Correction(account.ts, lots, cash, state.rules.differences, "found at the first start", "configuration")


def refuse_unknown(parts: Parts, state: State, account: VenueAccount) -> None:
    """Raise VenueError for an account that holds other things than the configuration says, unless it says what becomes of them."""
    kind = parts.config.broker.kind
    if account.blocked:
        raise VenueError(
            kind, f"the venue lets nothing be traded: {account.blocked}", "Settle that with the venue first"
        )
    correction = at_first(state, account)
    if correction is None or parts.rules.differences:
        return
    universe = parts.universe
    held = [
        f"{quantity_text(lots, universe.lot_nano[k])} {universe.symbols[k]}"
        for k, lots in enumerate(account.lots)
        if lots
    ]
    found = f"the account holds {', '.join(held) or 'no position'} and {money_text(account.cash_micro)} {universe.currency} in cash"
    remedy = f'Write [broker] cash = "{money_text(account.cash_micro)}"'
    if held:
        remedy = 'Sell them, or write [broker] differences = "fence" to leave them alone, or the name of the agent that takes them'
    raise VenueError(kind, f"{found}; [broker] cash is {money_text(parts.rules.cash_micro)}", remedy)


def withheld(state: State, basket: OrderBasket) -> str:
    """Why a committed basket does not leave: since it was stepped everything was halted. What a person's `flatten` sells
    leaves all the same."""
    if state.switch.state < HALT:
        return ""
    lots = state.ledger.house.lots
    reduces = all(
        order * lots[column] < 0 and abs(order) <= abs(lots[column])
        for column, order in zip(basket.sym, basket.lots, strict=True)
    )
    return "" if state.flattening and reduces else "halted before it was sent"


def warm_up(parts: Parts) -> int:
    """The instant after which a first start asks for history: `[feed] warmup` samples of the house before now."""
    house, warmup = parts.sessions[parts.universe.calendar], parts.config.feed.warmup
    samples = 0
    row = house.next_close(parts.start_ns) - 1
    while row > 0 and samples < warmup:
        length = house.close_ns[row] - house.open_ns[row]
        samples += 1 if parts.interval_ns >= DAY_NS else max(1, -(-length // parts.interval_ns))
        row -= 1
    return house.open_ns[max(row + 1, 0)] - 1
