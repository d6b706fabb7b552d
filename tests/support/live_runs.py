"""Live runs at a simulated venue: their configuration, their market and their journal."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from quantd.adapters.store.handle import Store
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Parts, assemble_live
from quantd.daemon.config import read
from quantd.daemon.live import order_sender, reconciliation
from quantd.daemon.live.session import Outside
from quantd.daemon.recovery.start import begin
from quantd.daemon.recovery.stored_run import recover
from quantd.daemon.runtime.alert_filter import AlertFilter
from quantd.daemon.runtime.inbox import Command, Inbox
from quantd.daemon.runtime.service import Service
from quantd.trading.events import Operator, Stopping
from quantd.trading.execution import Costs
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import OrderState
from quantd.trading.ports import BrokerNews
from quantd.trading.sessions import DAY_NS
from tests.support.remote_venue import Remote, Script, Venue

NOW = 1_794_787_200_000_000_000  # 2026-11-16 00:00 UTC
RUN = "run00001"
QUIET_S = 60.0  # far beyond any answer of the simulated venue, on a machine with other work too
TURNS = 8  # of the loop

TEXT = """
[universe]
symbols = ["S0", "S1", "S2"]
calendar = "24/7"
instruments = [{ symbol = "S0", lot = "1" }, { symbol = "S1", lot = "1" }, { symbol = "S2", lot = "1" }]
[feed]
kind = "alpaca"
interval = "1d"
warmup = 70
[broker]
kind = "{broker}"
cash = "100000.00"
commission_bp = 1.0
[risk]
max_price_age = "14d"
collar = 0.05
[[agents]]
name = "mix"
policy = "{policy}"
capital = 0.9
min_trade = 0.0
[agents.limits]
max_price_age = "14d"
"""


def parts(broker: str = "alpaca", policy: str = "equal_weight", schedules: str = "") -> Parts:
    text = TEXT.replace("{broker}", broker).replace("{policy}", policy) + schedules
    return assemble_live(read(text, known_names()), NOW)


def slices(days: int, seed: int = 3) -> list[MarketSlice]:
    """Daily bars of three symbols: 80 before NOW, the others after."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(rng.normal(0.0003, 0.02, (80 + days, 3)).cumsum(axis=0)), 2)
    open_ = np.round(np.vstack([close[:1], close[:-1]]) * (1 + rng.normal(0, 0.002, close.shape)), 2)
    first = NOW + (np.arange(80 + days, dtype=np.int64) - 80) * DAY_NS
    bars = Block(
        ts_open=first, ts_event=first + DAY_NS, key=first, open=open_, high=np.maximum(open_, close) + 0.5,
        low=np.minimum(open_, close) - 0.5, close=close, volume=np.full(close.shape, 1e7),
        fresh=np.ones(close.shape, dtype=np.bool_),
    )  # fmt: skip
    return [MarketSlice(bars, row) for row in range(len(bars))]


@dataclass
class Left:
    """What a stretch of a run left."""

    service: Service
    outside: Outside
    fresh: bool


def quiet(service: Service, outside: Outside, *, resolved: bool = False) -> bool:
    """Whether everything put into the inbox is stepped and committed, and the venue has answered each request. With
    `resolved`, no order is UNKNOWN either."""
    if len(service.inbox) or service._stepping or service.journal.entries:
        return False
    if outside.sender is None or not resolved:
        return outside.sender is None or not outside.sender.busy
    unknown = any(OrderState.UNKNOWN in work.state for work in service.shell.state.working.values())
    return not (outside.sender.busy or outside.sender._asking or unknown)


async def until_quiet(service: Service, outside: Outside, *, resolved: bool = False) -> None:
    """Wait for `quiet`, also some turns of the loop later: a committed order is the sender's in the next one. Raises
    TimeoutError."""
    turns = 0
    async with asyncio.timeout(QUIET_S):
        while turns < TURNS:
            if quiet(service, outside, resolved=resolved):
                turns += 1
                await asyncio.sleep(0)
            else:
                turns = 0
                await service.changed(0.01)


async def stretch(
    folder: Path,
    of: Parts,
    feed: Script,
    remote: Remote | None,
    *,
    until: int | None = None,
    commands: Sequence[tuple[int, Operator]] = (),
    brutal: bool = False,
    last: Callable[[Service], Awaitable[None]] | None = None,
    adopt: str = "",
) -> Left:
    """Start, or go on; stop after `until` slices, in order or as a crash would. `last` is done while all still
    goes on."""
    with Store.open(folder) as store:
        projection = store.begin(RUN, of.universe, agents=["mix"], mode=of.config.quantd.mode)
        shell, journal = recover(of, store, RUN, folder)
        fresh = journal.seq == 0
        service = Service(
            shell, journal, store, projection, config=of.config, run=RUN, state_folder=folder,
            alerts=AlertFilter(("INFO", "WARNING", "CRITICAL"), 1000, "", "UTC"),
        )  # fmt: skip
        outside = Outside(of, feed, remote, began=NOW, now=lambda: NOW, adopt=adopt)
        await outside.open(shell)
        begin(shell, of, of.config, RUN, fresh=fresh)
        outside.attach(service)
        feed.quiet = partial(until_quiet, service, outside)
        waiting = list(commands)

        async def watch() -> None:
            while not feed.ended.is_set() and (until is None or feed.given < until):
                while waiting and feed.given >= waiting[0][0]:
                    await service.inbox.command(waiting.pop(0)[1])
                await asyncio.sleep(0.001)
            if brutal:
                return
            await until_quiet(service, outside, resolved=True)
            if last is not None:
                await last(service)
            elif outside.reconciler is not None:
                await outside.reconciler.once()
                while not quiet(
                    service, outside, resolved=True
                ):  # a comparison asks for orders, and its answers can be lost
                    await until_quiet(service, outside, resolved=True)
                    await outside.reconciler.once()
            service.inbox._commands.append(Command(Stopping(0, False, "test"), asyncio.Future()))
            service.inbox._ready.set()

        stepping = asyncio.create_task(service.step_forever())
        running = asyncio.create_task(outside.run(service, asyncio.Event()))
        watching = asyncio.create_task(watch())
        ended_tasks, _ = await asyncio.wait({stepping, running, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching in ended_tasks and watching.exception() is not None:
            stepping.cancel()
            running.cancel()
        elif watching in ended_tasks and not brutal:
            await asyncio.wait({stepping, running}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and of.config.quantd.on_stop == "cancel":
                await outside.flush()
        for task in (stepping, running, watching):
            task.cancel()
        await asyncio.gather(stepping, running, watching, return_exceptions=True)
        for task in (watching, stepping, running):
            if not task.cancelled() and task.exception() is not None and not brutal:
                raise task.exception()  # type: ignore[misc]
        await outside.leave()
        return Left(service, outside, fresh)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_sender, "AGAIN_S", 0.005)
    monkeypatch.setattr(order_sender, "SELDOM_S", 0.02)
    monkeypatch.setattr(reconciliation, "AGAIN_S", 0.005)


def venue_of(of: Parts) -> Venue:
    return Venue(of.universe, of.rules.cash_micro, Costs(commission_bp=1.0))


def require_equal(session: Left, venue: Venue) -> None:
    """Our books are the venue's, to the unit. (An order that is sent again has the same id, and is one order there.)"""
    state = session.service.shell.state
    assert state.ledger.house.lots == venue.has.lots
    assert state.ledger.house.cash_micro == venue.has.cash_micro
    assert state.down == set()


def read_entries(folder: Path) -> list[tuple[int, bytes]]:
    with Store.open(folder) as store:
        return list(store.entries(RUN, 1))


async def heard(inbox: Inbox, number: int) -> list[BrokerNews | None]:
    """The first news, once so many have come."""
    for _ in range(60_000):
        if inbox.news_waiting >= number:
            break
        await asyncio.sleep(0.001)
    return [inbox.next_news() for _ in range(number)]
