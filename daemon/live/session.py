"""The live session: market-data feed, order sender and reconciler of a run.

What can go wrong: a run trades on books that differ from the account. So a restart compares the account and queries
every unknown order before it follows the market. A first start follows the market first, because it adopts the
account's holdings at their marks and needs prices for that.

Open orders, and orders that ended lately, are registered with the venue before the first report can arrive, because an
adapter recognises only reports on baskets that it remembers. Committed orders without an answer get the state UNKNOWN
before anything is sent.

A feed that fails does not end the daemon: positions and operators still need it. A stop waits for committed orders
before it cancels orders; requests that do not reach the venue in time are queried by the next start.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np
import structlog

from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.feeds.bars.checks import BadBar
from quantd.adapters.feeds.source import AcceptsPrices, TellsHalts
from quantd.adapters.store.journal.quarantine import BadBar as StoredBadBar
from quantd.daemon.assembly.brokers import untradable_of
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.account import account_difference
from quantd.daemon.engine.venue.halts import SUSPICIOUS, UNLISTED
from quantd.daemon.live.deposits import Deposits
from quantd.daemon.live.order_sender import Sender
from quantd.daemon.live.reconciliation import Reconciler
from quantd.daemon.runtime.feeder import feed_live
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.journal import unanswered
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.schedule import missed_text
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.timeline import live_timeline, with_deposits
from quantd.risk.switch import HALT
from quantd.trading.events import Condition, Correction, Flow, Halted, Limited, Tick
from quantd.trading.orders import OrderBasket, money_text, quantity_text
from quantd.trading.ports import Broker, Delists, Identifies, Identity, LiveFeed, SetsAside, VenueAccount
from quantd.trading.sessions import DAY_NS

log = structlog.get_logger("quantd.outside")

ASSET: Final = "asset "
"""Prefix of the name of a symbol in what a run is connected to."""

LEAVE_S: Final = 5.0
"""Seconds for which a stop waits until committed orders have reached the venue."""

QUIET_NS: Final = 60_000_000_000
"""Shortest time between two alerts about quarantined bars."""


class Aside:
    """Quarantined bars that are not in the store yet."""

    def __init__(self) -> None:
        self._bad: deque[StoredBadBar] = deque(maxlen=10_000)
        self.suspicious: Callable[[BadBar], None] = lambda bar: None
        """Called with each bar whose price is out of all proportion, before the slice that leaves the bar out."""

    def __call__(self, bar: BadBar, original: BadBar | None) -> None:
        if bar.reason == "spike":
            self.suspicious(bar)
        values = f"{bar.open} {bar.high} {bar.low} {bar.close} {bar.volume}"
        if original is not None:
            values += f" (given: {original.open} {original.high} {original.low} {original.close} {original.volume})"
        self._bad.append(StoredBadBar(bar.ts, bar.symbol, bar.reason, values))

    def taken(self) -> list[StoredBadBar]:
        """The quarantined bars since the last call."""
        bad = list(self._bad)
        self._bad.clear()
        return bad


class Outside:
    """The feed and the venue of one run.

    `began` is the instant of the run's first start (ns UTC). `venue` is None when the broker is simulated. `leads`
    returns whether this process still holds the lease on its account. `aside` collects the quarantined bars.
    """

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
        adopt: str = "",
        kept: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`leads` says whether this process holds the account's lease; `aside` collects the quarantined bars. A first
        start gives the venue's positions to the agent `adopt`. `kept` is what the run was last connected to, by the
        names of `identity`."""
        self._adopt = adopt
        self._kept = kept
        self.parts = parts
        self._now = now
        self._leads = leads
        self._aside = aside or Aside()
        self._began = began
        self._missed = ""
        """Sentence about the schedules that were due while the daemon was down; empty without any."""
        self._account_at_first_start: VenueAccount | None = None
        """The venue's account at the first start of a run; None at any later start."""
        self._halts_queued: dict[int, str] = {}
        self._halt_ends_queued: set[int] = set()
        """Columns of symbols whose halt (with its reason), or the end of it, `_listings` has queued: neither is queued
        twice."""
        self.opened = False
        """Whether the venue is connected, or there is none."""
        self.feed = feed
        self.venue = venue
        self.sender: Sender | None = None
        self.reconciler: Reconciler | None = None

    async def open(self, shell: Shell) -> None:
        """Connects to the venue and registers the run's orders; a first start also checks the account's holdings.

        Raises VenueError, and ConnectionError when the venue does not answer.
        """
        if self.venue is None:
            self.opened = True
            return
        if isinstance(self.venue, Identifies):
            assets = {name.removeprefix(ASSET): id for name, id in self._kept.items() if name.startswith(ASSET)}
            self.venue.identity = Identity(self._kept.get("account", ""), assets)
        if isinstance(self.venue, Delists):
            # a run that has traded may hold a symbol that the venue no longer knows: it was delisted
            self.venue.continues = shell.tally.samples > 0 or any(shell.state.ledger.house.lots)
        await self.venue.open()
        if not shell.tally.samples:
            self._account_at_first_start = await self.venue.account()
            refuse_unknown(self.parts, shell.state, self._account_at_first_start, self._adopt)
        elif self._adopt:
            text = f"--adopt {self._adopt} is for the first start of a run, and this run has traded before"
            remedy = f"Start without it; then `quantd reconcile --adopt {self._adopt} --reason R` takes what differs"
            raise VenueError(self.parts.config.broker.kind, text, remedy)
        # before the first report, because the adapter knows only the orders that are registered here
        for _, ended in shell.state.ended:
            self.venue.remember(ended.basket)
        for work in shell.state.at_venue().values():
            self.venue.remember(work.basket)
        self.opened = True

    def identity(self) -> dict[str, str]:
        """What the run is connected to, by name: "account", "asset" with a symbol, "host" and "daemon".

        Empty without a real venue. The venue must be open.
        """
        if self.venue is None:
            return {}
        found = self.venue.identity if isinstance(self.venue, Identifies) else Identity()
        ids = {f"{ASSET}{symbol}": id for symbol, id in found.assets.items()}
        account = {"account": found.account} if found.account else {}
        return account | ids | {"host": socket.gethostname(), "daemon": self.parts.config.quantd.name}

    def attach(self, service: Service) -> None:
        """Connects a service: orders that are committed from now on are sent to the venue.

        Without a venue (a simulated one) only the feed is connected. Orders that the last process left without an
        answer become UNKNOWN, and are queried.
        """
        if isinstance(self.feed, AcceptsPrices):
            service.accept_price = self.feed.accept_price
        self._aside.suspicious = partial(self._suspicious, service)
        if self.venue is None:
            return
        shell = service.shell
        self.sender = Sender(self.venue, service.inbox, self._now, partial(self._withheld, shell))
        self.sender.left(shell.state.at_venue())
        self.sender.keep_asking((settlement.sample, settlement.n) for settlement in shell.state.venue.waits.settled)
        service.send = self.sender.put
        expected = Deposits(self.parts.schedules, self.parts.sessions, self._began)
        self.reconciler = Reconciler(service, self.venue, self.sender, self._began, self._now, expected, self.feed)
        service.reconcile = self.reconciler.wanted.set
        service.compare, service.query = self.reconciler.compared, self.reconciler.queried
        for unknown in unanswered(shell.state):
            shell.run(unknown)
        if moved := moved_text(self._kept, self.identity()):
            service.alert(moved)

    def _withheld(self, shell: Shell, basket: OrderBasket | None) -> str:
        halted = "" if basket is None else withheld(shell.state, basket)
        return halted or ("" if self._leads() else "this daemon no longer holds the lease on its account")

    async def run(self, service: Service, ready: asyncio.Event) -> None:
        """Runs until cancelled: first reconciles with the venue and queries unknown orders, then follows the market.

        A later start waits for the first comparison (`ready`) before the market; a first start cannot, because its
        comparison waits for prices.
        """
        async with asyncio.TaskGroup() as tasks:
            if self.sender is not None and self.reconciler is not None:
                tasks.create_task(self.sender.run(), name="venue")
                tasks.create_task(self._compared(service, self.reconciler, ready), name="reconcile")
                if self._account_at_first_start is None:
                    await ready.wait()
            else:
                ready.set()
            if isinstance(self.feed, TellsHalts):
                self.feed.tell_halts(partial(self._halted, service))
            trouble = tasks.create_task(self._trouble(service), name="feed trouble")
            after, ticks = self._from(service.shell)
            try:
                holds = self.parts.config.feed.jumps == "stop"
                await feed_live(service, live_timeline(self.feed, after, ticks, self.parts.dated, holds=holds))
            except Exception as error:  # a dead feed must not end the daemon: positions and operators still need it
                log.exception("feed.failed")
                trouble.cancel()
                service.feed_error = f"{type(error).__name__}: {error}"[:500]

    def _listings(self, service: Service) -> None:
        """Queues a halt of each symbol that the venue does not trade, and the end of the halt once it trades it again.
        A halt for another reason than before is queued again.

        An event in the queue is not in the state yet. So `_halts_queued` and `_halt_ends_queued` have the columns whose
        event was queued, until the venue's list changes back.
        """
        state, untradable = service.shell.state, untradable_of(self.venue)
        # the third field of a Halted: True begins the halt, False ends it
        for column, why in untradable.items():
            detail, halt = f"{UNLISTED}{why}", state.restrictions.halted.get(column)
            if self._halts_queued.get(column) == why or not (halt is None or halt[1].startswith(UNLISTED)):
                continue
            self._halts_queued[column] = why
            if halt is None or halt[1] != detail:
                self._halted(service, Halted(state.now, column, True, detail))
        tradable_again = [
            k for k, (_, why) in state.restrictions.halted.items() if why.startswith(UNLISTED) and k not in untradable
        ]
        for column in [k for k in tradable_again if k not in self._halt_ends_queued]:
            self._halt_ends_queued.add(column)
            self._halted(service, Halted(state.now, column, False, "the venue trades it"))
        self._halts_queued = {column: why for column, why in self._halts_queued.items() if column in untradable}
        self._halt_ends_queued &= set(tradable_again)

    def _halted(self, service: Service, news: Halted | Limited) -> None:
        """Queues a halt or price limit that the market stream reports, ahead of the stream's waiting bars."""
        try:
            service.inbox.command(news)
        except InboxFull:
            log.warning("halt.untold", symbol=service.shell.state.universe.symbols[news.symbol])

    def _suspicious(self, service: Service, bar: BadBar) -> None:
        """Halts a symbol whose newest bar is out of all proportion, because its last price may no longer be valid.

        The next good bar ends the halt: a bar at the old price level, or the third bar at the new level, which then
        counts as a jump.
        """
        state = service.shell.state
        resume = f"`quantd resume --symbol {bar.symbol}"
        values = f"open {bar.open:.10g}, high {bar.high:.10g}, low {bar.low:.10g}, close {bar.close:.10g}"
        text = (
            f"{SUSPICIOUS}a bar with {values} is out of all proportion and left out. A bad print: {resume} --reason "
            f"TEXT`. A real move: {resume} --jump real --reason TEXT`"
        )
        # True: the halt begins
        self._halted(service, Halted(state.now, state.universe.index[bar.symbol], True, text, announced=True))

    async def _compared(self, service: Service, reconciler: Reconciler, ready: asyncio.Event) -> None:
        """Reconciles at the start and then on schedule; a first start waits for prices of adopted holdings."""
        if self._account_at_first_start is not None:
            lots = np.array(self._account_at_first_start.lots, dtype=np.float64)
            state = service.shell.state
            while np.isnan(state.marks[lots != 0.0]).any():
                await service.changed(0.25)
            correction = at_first(state, self._account_at_first_start, self._adopt)
            if correction is not None:
                await service.inbox.command(correction)
        await reconciler.once()
        ready.set()
        period_s = self.parts.config.broker.reconcile_ns / 1e9
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reconciler.run(period_s), name="reconcile periods")
            tasks.create_task(reconciler.watch(period_s), name="reconcile clock")

    def _from(self, shell: Shell) -> tuple[int, Iterator[Tick | Flow]]:
        """The instant at which the run follows the market again, and its ticks and deposits from there on.

        A continued run follows it from its last instant, a new one from the start of the warm-up. Also notes the
        schedules that were missed in between.
        """
        parts = self.parts
        end = max(calendar.close_ns[-1] for calendar in parts.sessions.values())
        if shell.ts:
            # a start that ended during warm-up continues it
            after = shell.ticked or warm_up(parts)
            away = self._now()
            self._missed = missed_text(parts.schedules, parts.missed(after, away))
            span = after, end, self._began, away
            return shell.ts, with_deposits(parts.paid_between(*span), parts.ticks_between(*span))
        span = warm_up(parts), end, self._began, 0
        return span[0], with_deposits(parts.paid_between(*span), parts.ticks_between(*span))

    async def _trouble(self, service: Service) -> None:
        """Reports trouble of the feed and quarantined bars, until cancelled.

        Looks four times a second. All quarantined (unsound) bars are stored; at most one alert in QUIET_NS names the
        first of them.
        """
        alerted_ns, absent = -QUIET_NS, tuple[str, ...]()  # `absent`: symbols of which the vendor has no bars
        if self._missed:
            with suppress(InboxFull):
                # False: the condition begins
                service.inbox.command(Condition(service.shell.state.now, "missed", False, self._missed))
        while True:
            service.feed_error = self.feed.trouble
            self._listings(service)
            aside: Sequence[str] = self.venue.set_aside() if isinstance(self.venue, SetsAside) else ()
            for text in aside:
                service.alert(text)
            if self.feed.absent != absent:
                absent = self.feed.absent
                absent_text = f"the vendor has no bars of {', '.join(absent)}"
                self._warn(service, absent_text if absent else "the vendor has bars of every symbol again")
            if bad := self._aside.taken():
                service.quarantine.extend(bad)
                if time.monotonic_ns() - alerted_ns > QUIET_NS:
                    alerted_ns = time.monotonic_ns()
                    first = f"{bad[0].symbol}: {bad[0].reason}"
                    self._warn(service, f"{len(bad)} bars were quarantined; the first is {first}")
            await asyncio.sleep(0.25)

    def _warn(self, service: Service, text: str) -> None:
        """Queues a warning about bars, unless the inbox is full."""
        with suppress(InboxFull):
            service.inbox.command(Condition(service.shell.state.now, "bars", False, text))

    async def flush(self) -> None:
        """Waits at most LEAVE_S until committed orders have reached the venue; `run` must still be active.

        Call it before a stop that cancels orders. After a stop that leaves orders open, the next start queries them.
        """
        if self.sender is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self.sender.idle()

    async def leave(self) -> None:
        """Closes feed and venue; the next start queries the requests that `flush` did not complete."""
        if self.venue is not None:
            await self.venue.close()
        await self.feed.close()


def moved_text(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The sentence about a run that another host or a daemon of another name has traded; empty without a change."""
    changed = [f"{name} {before[name]}" for name in ("host", "daemon") if before.get(name, now.get(name)) != now[name]]
    if not changed:
        return ""
    here = " and ".join(f"{text.split()[0]} {now[text.split()[0]]}" for text in changed)
    return (
        f"this run was last traded by {' and '.join(changed)}, and is now traded by {here}. If the earlier daemon "
        "still runs, stop one of the two: both would trade the same account"
    )


def at_first(state: State, account: VenueAccount, adopt: str = "") -> Correction | None:
    """The correction by which a first start adopts or fences (excludes) the venue's holdings; None without a
    difference.

    They go to the agent `adopt`, or where [broker] differences says, at the marks as their cost.
    """
    lots, cash = account_difference(state, account)
    if not any(lots) and not cash:
        return None
    who = f"--adopt {adopt}" if adopt else "configuration"
    return Correction(account.ts, lots, cash, adopt or state.rules.differences, "found at the first start", who)


def refuse_unknown(parts: Parts, state: State, account: VenueAccount, adopt: str = "") -> None:
    """Raises VenueError when the account's holdings differ from the configuration and [broker] differences is empty.

    Positions that are given to the agent `adopt` are no such difference; cash is, because it is the base of all shares.
    """
    kind = parts.config.broker.kind
    if account.blocked:
        raise VenueError(kind, f"the venue has blocked trading: {account.blocked}", "Resolve that with the venue first")
    correction = at_first(state, account)
    if correction is None or (not correction.cash_micro if adopt else parts.rules.differences):
        return
    universe = parts.universe
    positions = [
        f"{quantity_text(lots, universe.lot_nano[k])} {universe.symbols[k]}"
        for k, lots in enumerate(account.lots)
        if lots
    ]
    cash = f"{money_text(account.cash_micro)} {universe.currency} in cash"
    holdings = f"the account holds {', '.join(positions) or 'no position'} and {cash}"
    remedies = [f'Write [broker] cash = "{money_text(account.cash_micro)}"'] if correction.cash_micro else []
    if positions and not adopt:
        remedies.append(
            f"Sell the positions, or start with --adopt {parts.rules.agents[0].name}, which gives them to that agent, "
            'or write [broker] differences = "fence", which leaves them untraded'
        )
    raise VenueError(kind, f"{holdings}; [broker] cash is {money_text(parts.rules.cash_micro)}", ". ".join(remedies))


def withheld(state: State, basket: OrderBasket) -> str:
    """The reason why a committed basket of orders is not sent (trading was halted after its step); else empty.

    Orders of an operator's `flatten`, which close positions, are sent nevertheless.
    """
    if state.switch.state < HALT:
        return ""
    lots = state.ledger.house.lots
    reduces = all(
        order * lots[column] < 0 and abs(order) <= abs(lots[column])
        for column, order in zip(basket.sym, basket.lots, strict=True)
    )
    return "" if state.flattening and reduces else "halted before it was sent"


def warm_up(parts: Parts) -> int:
    """The instant from which a first start loads history: `[feed] warmup` samples before now."""
    house, warmup = parts.sessions[parts.universe.calendar], parts.config.feed.warmup
    samples = 0
    row = house.next_close(parts.start_ns) - 1
    while row > 0 and samples < warmup:
        session_ns = house.close_ns[row] - house.open_ns[row]
        # a session of daily bars is one sample; else each interval of it is one
        samples += 1 if parts.interval_ns >= DAY_NS else max(1, -(-session_ns // parts.interval_ns))
        row -= 1
    return house.open_ns[max(row + 1, 0)] - 1
