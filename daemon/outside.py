"""What a run on a market that goes on has outside the process: its feed, and the venue with what talks to it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from adapters.brokers.errors import VenueError
from daemon.assembly import Parts
from daemon.engine.state import State
from daemon.live import live_timeline
from daemon.loop import Shell
from daemon.reconciling import Reconciler
from daemon.recovery import unanswered
from daemon.sending import Sender
from daemon.service import Service
from risk.switch import HALT
from trading.events import Tick
from trading.orders import OrderBasket
from trading.ports import Broker, LiveFeed
from trading.sessions import DAY_NS

log = structlog.get_logger("quantd.outside")

LEAVE_S: Final = 5.0
"""How long a stop waits for what was committed to reach the venue."""


class Outside:
    """The feed and the venue of one run. `venue` is None where the broker is simulated."""

    def __init__(
        self, parts: Parts, feed: LiveFeed, venue: Broker | None, now: Callable[[], int] = time.time_ns
    ) -> None:
        self.parts = parts
        self._now = now
        self.feed = feed
        self.venue = venue
        self.sender: Sender | None = None
        self.reconciler: Reconciler | None = None

    async def open(self, shell: Shell) -> None:
        """Connect to the venue and tell it which orders are ours. Raises VenueError."""
        if self.venue is None:
            return
        await self.venue.open()
        for _, ended in shell.state.ended:
            self.venue.remember(ended.basket)
        for work in shell.state.working.values():
            self.venue.remember(work.basket)

    def attach(self, service: Service) -> None:
        """From now on what is committed is sent."""
        if self.venue is None:
            return
        shell = service.shell
        self.sender = Sender(self.venue, service.inbox, self._now, lambda basket: withheld(shell.state, basket))
        self.sender.left(shell.state.working)
        service.send = self.sender.put
        self.reconciler = Reconciler(service, self.venue, self.sender, self._now)
        for unknown in unanswered(shell.state):
            shell.run(unknown)

    async def run(self, service: Service, ready: asyncio.Event) -> None:
        """Until cancelled: the venue first, compared and with every unknown outcome asked for; then the market."""
        async with asyncio.TaskGroup() as tasks:
            if self.sender is not None and self.reconciler is not None:
                tasks.create_task(self.sender.run(), name="venue")
                await self.reconciler.once()
                period_s = self.parts.config.broker.reconcile_ns / 1e9
                tasks.create_task(self.reconciler.run(period_s), name="reconcile")
            ready.set()
            trouble = tasks.create_task(self._trouble(service), name="feed trouble")
            after, ticks = self._from(service.shell)
            try:
                await service.feed_live(live_timeline(self.feed, after, ticks))
            except Exception as error:  # a dead feed, not a crash: the daemon stays, for its positions and its people
                log.exception("feed.failed")
                trouble.cancel()
                service.feed_error = f"{type(error).__name__}: {error}"[:500]

    def _from(self, shell: Shell) -> tuple[int, Iterator[Tick]]:
        """Where the market is taken up, and the ticks from there on."""
        parts = self.parts
        end = max(s.close_ns[-1] for s in parts.sessions.values())
        if shell.ts:
            return shell.ts, parts.ticks_between(shell.ticked or shell.ts, end, 0, away=self._now())
        after = warm_up(parts)
        return after, parts.ticks_between(after, end, parts.start_ns)

    async def _trouble(self, service: Service) -> None:
        while True:
            service.feed_error = self.feed.trouble
            await asyncio.sleep(0.25)

    async def leave(self) -> None:
        """Let what was committed reach the venue, within a few seconds, and close."""
        if self.sender is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self.sender.idle()
        if self.venue is not None:
            await self.venue.close()
        await self.feed.close()


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


def open_outside(parts: Parts, run: str, folder: Path) -> Outside:
    """The feed and the venue that a configuration names. Raises VenueError or SourceError."""
    raise VenueError("[feed] kind", f'"{parts.config.feed.kind}" is not there', 'Write kind = "replay"')
