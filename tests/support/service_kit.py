"""A service over a real store, with stores that are full or slow."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from quantd.adapters.bus.messages import Composer, Message
from quantd.adapters.bus.outbox import QueuedEntry
from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.writer import Batch
from quantd.adapters.store.store_errors import StoreFull
from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.config import Known, read
from quantd.daemon.runtime.alert_filter import AlertFilter
from quantd.daemon.runtime.committed_folds import BatchMessages
from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.journal import Journal, fold
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.timeline import instants
from quantd.daemon.views.run_summary import summary
from quantd.risk.limits.catalogue import Limits
from quantd.trading.events import Stopping
from tests.support.engine import World, block, walk
from tests.support.fold import by_handlers

TEXT = """
[universe]
symbols = ["S0", "S1"]
calendar = "24/7"
[feed]
path = "none.csv"
[broker]
cash = "1000000.00"
[[agents]]
name = "a0"
policy = "equal_weight"
capital = 1.0
"""

CONFIG = read(TEXT, Known(("equal_weight",), ("24/7",), limits=limit_keys()))


def equal(view: object) -> list[float]:
    n = view.universe.size  # type: ignore[attr-defined]
    return [0.9 / n] * n


def world(days: int = 60) -> World:
    return World(block(walk(days, 2, 11)), [equal], house=Limits(max_drawdown=0.9), agent=Limits(), log=None)


class Kit:
    """A service over a real store in a folder, continuing the run that is there."""

    def __init__(self, folder: Path, of: World, store: Store | None = None, *, bus: bool = True) -> None:
        self.store = store or Store.open(folder)
        self.sent: list[Message] = []
        self.queued: list[QueuedEntry] = []
        self.urgent: list[Message] = []
        run = self.store.current_run() or "run00001"
        agents = [agent.name for agent in of.rules.agents]
        if not self.store.last_seq(run):
            self.store.begin(run, of.universe, agents=agents)
        kept = self.store.latest_snapshot(run)
        self.shell = of.fresh()
        if kept:
            self.shell.restore(of.rules, kept[1])
        seq = kept[0] if kept else 0
        self.journal = Journal((data for _, data in self.store.entries(run, seq + 1)), seq)
        self.shell.log = self.journal
        fold(self.shell, self.journal, instants(of.items(), self.shell.ts))
        projection = self.store.begin(run, of.universe, agents=agents)
        self.composer = Composer(run, "paper", of.universe, agents)
        self.messages = BatchMessages(self.composer, self.published, self.urgent.append)
        self.service = Service(
            self.shell,
            self.journal,
            self.store,
            projection,
            config=CONFIG,
            run=run,
            state_folder=folder,
            alerts=AlertFilter(("INFO", "WARNING", "CRITICAL"), 1000, "", "UTC"),
            messages=self.messages if bus else None,
        )
        self.world = of

    def published(self, states: Sequence[Message], entries: Sequence[QueuedEntry]) -> None:
        self.sent += states
        self.queued += entries

    async def take(self, of: World, count: int) -> bool:
        """Take the next `count` instants and stop; False where none was left."""
        waiting = list(instants(of.items(), self.shell.ts))[:count]
        await self.service.inbox.put([*waiting, [Stopping(self.shell.state.now, False, "test")]])
        await self.service.step_forever()
        return bool(waiting)

    async def run(self, at_end: str = "stop") -> None:
        async with asyncio.TaskGroup() as tasks:
            feed = tasks.create_task(
                feed_recorded(self.service, instants(self.world.items(), self.shell.ts), "fast", at_end)
            )
            await self.service.step_forever()
            feed.cancel()


def backtest(of: World) -> str:
    """The digest of a run by handlers."""
    shell = by_handlers(of.fresh())
    for item in of.items():
        shell.take(item)
    return summary(shell, "x", "backtest", 1.0).digest


class FullFor:
    """A real store whose disk is full for the first writes."""

    def __init__(self, store: Store, writes: int) -> None:
        self._store = store
        self.left = writes

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def write(self, batch: Batch) -> None:
        if self.left:
            self.left -= 1
            raise StoreFull("no space left on device")
        await self._store.write(batch)


class Slow:
    """A real store on a slow disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.writing = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def write(self, batch: Batch) -> None:
        self.writing.set()
        await asyncio.sleep(0.3)
        await self._store.write(batch)
