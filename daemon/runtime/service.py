"""The daemon's loop around a Shell: it takes from the inbox, steps, commits, and then sends and publishes.

One task steps; `quantd.daemon.runtime.feeder` fills the inbox. The other tasks (bus, API, watchdog) belong to the same
TaskGroup, in `quantd.daemon.app`.

What can go wrong: an order is sent, or an answer given, whose step a crash takes back. So a commit writes the steps,
their read models, alerts and snapshot in one transaction. Only then the orders of exactly these steps are sent, the
commands are answered, and messages are published. A step that is not committed had no effect, and the next start takes
it again.

What can go wrong, too: the store fails or is slow while a person stops trading. The halt is then in force in memory at
once, and its command is answered with the reason why it is not recorded. Commands are stepped while a batch is being
written, into the next batch. If the store fails for FULL_S, the daemon ends, and a halt without a record becomes the
file HALT for the next start.

Commands are stepped before each instant of the market. A policy in a process of its own is awaited outside the loop,
and a command that stops trading withdraws its question.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import TimeoutError as FuturesTimeout
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog
from msgspec.structs import replace

from quantd.adapters.bus.messages import Message
from quantd.adapters.sinks.sink import Counts
from quantd.adapters.store.errors import Fenced, StoreError, StoreFull
from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.quarantine import BadBar
from quantd.adapters.store.journal.writer import Batch, SnapshotOf
from quantd.adapters.store.tables.projection import OUTBOX, Projection, Rows
from quantd.daemon.config import Config
from quantd.daemon.engine.safety.monitor import limit_values
from quantd.daemon.engine.state import State
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.predictions import Predictions
from quantd.daemon.runtime.alert_filter import AlertFilter
from quantd.daemon.runtime.committed_folds import BatchMessages
from quantd.daemon.runtime.inbox import Command, Inbox, InboxFull
from quantd.daemon.runtime.journal import Journal
from quantd.daemon.runtime.leader import LeaderNow
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.outbound import Outgoing
from quantd.daemon.runtime.recent_history import Histories
from quantd.daemon.runtime.step_folds import opened
from quantd.daemon.runtime.trace import Measurements, Trace
from quantd.daemon.runtime.version import code_version
from quantd.regular_file import create_empty
from quantd.trading.effects import Ask, Effect, Publish, Switched
from quantd.trading.events import Condition, Decided, Event, Operator, Stopping
from quantd.trading.exit_codes import TRY_LATER, ExplainedError
from quantd.trading.orders import ScheduleRun
from quantd.trading.ports import VenueAccount

log = structlog.get_logger("quantd.loop")

COMMIT_S: Final = 0.2
"""Longest time a step waits for its commit."""

COMMIT_STEPS: Final = 8_000
"""Maximum of steps in one commit: 4,000 slices and their ticks."""

SNAPSHOT_STEPS: Final = 5_000
"""Steps between snapshots; a restart replays so many in less than a second."""

FULL_S: Final = 60.0
"""Time for which the daemon waits for space on a full disk."""

RECENT_ALERTS: Final = 200
"""Alerts in memory for the API and the terminal."""

ALIVE_S: Final = 1.0
"""Interval at which a wait for a policy counts as progress of the loop."""

AT_ONCE_S: Final = 0.001
"""Time for which the loop itself waits for an answer: most take less, and a task for each costs more than the wait."""

SETTLED_S: Final = 0.02
"""Interval of checks whether a round is complete."""

BREATH_S: Final = 0.005
"""Time of stepping after which other tasks of the event loop run."""

Step = tuple[Event, Sequence[Effect]]
"""An event and its effects."""


def _nowhere(outgoing: list[Outgoing]) -> None:
    if outgoing:
        raise RuntimeError("the run has orders for a venue, and no order sender")


def is_stop(command: Command) -> bool:
    """Whether an operator stops or reduces trading."""
    return isinstance(command.event, Operator) and command.event.command in ("halt", "reduce")


def answer_stops(commands: Sequence[Command], error: str) -> None:
    """Complete the commands that stop trading while the store fails: they are in force already."""
    for command in filter(is_stop, commands):
        command.complete(error)


def reason_of(why: BaseException) -> str:
    """The type and the text of an exception, on one line of at most 400 characters."""
    return f"{type(why).__name__}: {' '.join(str(why).split())}"[:400]


class StoreGaveUp(ExplainedError):
    """The store failed for a minute, or another process holds the account's lease; the daemon exits with code 75."""

    exit_code = TRY_LATER


class Service:
    """A run in progress. The API and the terminal read it; only `step_forever` writes it."""

    leader: LeaderNow | None = None
    """The trading daemon, where this process only reads."""
    query: Callable[[int, int, int], Awaitable[None]] | None = None
    """Queries one order (sample, n, row) at the venue now; None with a simulated one."""
    compare_failure: str = ""
    """Why the newest comparison with the venue did not succeed; empty after one that did."""

    market_ahead_ns: int | None = None
    """The market's time minus the monotonic clock, for a feed in real time."""
    accept_price: Callable[[int], None] | None = None
    """Tells the feed that the newest suspicious bar of a column is real; None where the feed has no such bar."""

    # Long because each attribute of the service is declared once, here, with its meaning.
    def __init__(
        self,
        shell: Shell,
        journal: Journal,
        store: Store,
        projection: Projection,
        *,
        config: Config,
        run: str,
        state_folder: Path,
        alerts: AlertFilter,
        messages: BatchMessages | None = None,
        histories: Histories | None = None,
    ) -> None:
        """`messages` collects what the bus gets; without a bus nothing is composed."""
        self.shell = shell
        self.deadline = shell.meanwhile if isinstance(shell.meanwhile, Deadline) else None
        """Calls the policies in separate processes."""
        self.measured = Measurements(self.deadline.predictions if self.deadline is not None else Predictions())
        self.journal = journal
        self.store = store
        self.run = run
        self.config = config
        self.mode = config.quantd.mode
        self.inbox = Inbox()
        self.status = "starting"
        self.over = False
        """Whether the last commit is done."""
        self.progress = 0
        self.recent: list[Publish] = []
        self.store_error = ""
        """Failure of the store; empty without one. Trading is halted meanwhile, and stops need no store."""
        self.listeners: set[asyncio.Event] = set()
        self.projection = projection
        self.posted = 0
        """Number of alerts that were queued."""
        self.incidents = projection.incidents
        """The incidents, with the steps of the batch that is being written."""
        self.messages = messages
        self._alerts = alerts
        self.halt_file, self._status_before = state_folder / "HALT", ""
        self._ahead: list[Message] = []
        """Retained messages that were published before their batch, and are newer than it."""
        self._committed = self._snapshot_seq = journal.seq - len(journal.entries)
        self._last_commit = time.monotonic()
        self._waiting: list[Command] = []
        self._stepping = False
        self.quarantine: list[BadBar] = []
        self.histories = histories or Histories(config.risk.history)
        shell.state.judged = self.histories.forecasts
        self.subscribers: list[Callable[[Sequence[Step]], None]] = []
        """Called with the steps of each committed batch."""
        self.trace = Trace(shell.state.universe, shell.state.rules.names())
        self.started = time.monotonic()
        self.busy_s = 0.0
        self.send: Callable[[list[Outgoing]], None] = _nowhere
        """Takes committed orders for a real venue."""
        self.reconcile: Callable[[], None] = lambda: None
        """Requests a reconciliation with the venue's account."""
        self.live_since_ns = 0
        """Start of the live feed; its first bars are old."""
        self.compare: Callable[[], Awaitable[VenueAccount | None]] | None = None
        """Reconciles now; None with a simulated venue."""
        self.feed_error = ""
        """Failure of the feed; empty without one."""
        self.sinks: dict[str, Counts] = {}
        """The sinks of [alerts.sinks]. The alerts of each batch that a sink selects are queued for it."""
        self.bus_commands: Counter[str] = Counter()
        """Commands over MQTT by outcome."""
        self._folds = opened(self)

    async def step_forever(self) -> None:
        """Take, step and commit until a Stop effect. Raises StoreGaveUp, and what a step raises, with the remedy."""
        self.status = "running" if self.status == "starting" else self.status
        try:
            await self._step_until_stopped()
        except ExplainedError:
            raise
        except Exception as error:
            error.add_note(
                f"Steps that are not in the journal of run {self.run} had no effect: `quantd run` takes them again. If "
                "that fails too, report it with the details. Orders at a venue stay open."
            )
            raise
        self.status, self.over = "stopped", True
        self.notify()

    async def _step_until_stopped(self) -> None:
        while not self.shell.stopped:
            since = time.monotonic() - self._last_commit if self.journal.entries else 0.0
            if await self.inbox.ready(max(0.001, COMMIT_S - since)):
                self._stepping = True
                await self._take_all()
                self._stepping = False
            if trouble := self.store.trouble():  # before `_due`: a failing store is seen also with nothing to commit
                self._store_failed(trouble)
            if self._due():
                await self.commit()
            if self.store.lease.fenced:  # the timer finds a lost lease: without a commit nothing else would see it
                raise StoreGaveUp(self.store.lease.fenced)
            self.progress += 1
        await self.commit()

    async def drained(self) -> None:
        """Wait until the inbox is empty and stepped."""
        while len(self.inbox) or self._stepping:
            await self.changed(0.1)

    def _due(self) -> bool:
        if not self.journal.entries:
            return False
        idle = not len(self.inbox)
        late = time.monotonic() - self._last_commit >= COMMIT_S
        return idle or late or len(self.journal.entries) >= COMMIT_STEPS

    async def _take_all(self) -> None:
        chunk = self.inbox.next_chunk() or []
        began = time.monotonic()
        for instant in chunk:
            self._take_commands()  # first: a halt that waits must act before the orders of the next instant
            if self.shell.stopped:
                return
            for item in instant:
                round_no, began_s = self.shell.unsettled.round_no, time.monotonic()
                if isinstance(item, Stopping | ScheduleRun):
                    self.shell.run(replace(item, ts=max(item.ts, self.shell.unsettled.now)))
                else:
                    self.shell.take(item)
                while self.shell.waits is not None:
                    self.busy_s += time.monotonic() - began
                    self.shell.answered(await self._answer(self.shell.waits))
                    began = time.monotonic()
                if self.shell.unsettled.round_no != round_no:
                    self.measured.decisions.append(time.monotonic() - began_s)
            now = time.monotonic()
            if now - began > BREATH_S:
                self.busy_s += now - began
                if self._due():
                    await self.commit()
                await asyncio.sleep(0)
                began = time.monotonic()
        self._take_commands()
        self.busy_s += time.monotonic() - began

    async def _answer(self, question: Ask) -> Decided:
        """The answer of a policy in a separate process, within its deadline.

        A command that stops trading withdraws the question; the agent then holds.
        """
        assert self.deadline is not None
        future = self.deadline.answer_of(question)
        with suppress(FuturesTimeout):
            return future.result(AT_ONCE_S)
        answer = asyncio.wrap_future(future)
        stopping = asyncio.create_task(self.inbox.stopping())
        either: set[asyncio.Future[Any]] = {answer, stopping}
        try:
            while not answer.done() and not stopping.done():
                await asyncio.wait(either, timeout=ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
                self.progress += 1  # the wait has a deadline
            if answer.done():
                return answer.result()
            withdrawn = self.deadline.withdraw(question)
            await asyncio.wait({answer})  # its thread reads the market, which a step would change
            return withdrawn
        finally:
            stopping.cancel()

    async def settled(self) -> None:
        """Wait for the end of a round: the state is incomplete until the last answer."""
        while self.shell.waits is not None:
            await self.changed(SETTLED_S)

    def _take_commands(self) -> None:
        """Step all waiting commands, and one venue report at a time between them."""
        while True:
            while (command := self.inbox.next_command()) is not None:
                command.take(self.journal.seq + 1, self._step(command.event), self.shell.state)
                self._waiting.append(command)
                if self.store_error:
                    answer_stops([command], self.store_error)
            if (news := self.inbox.next_news()) is None:
                return
            self.shell.run(news)

    async def commit(self) -> None:
        """Commit all steps so far durably in one transaction, then send and publish."""
        entries, steps = self.journal.taken()
        self.histories.forecasts.renew()
        outgoing = self.shell.outgoing()  # taken before the commit awaits: steps meanwhile belong to the next batch
        first_seq = self._committed + 1
        rows = self._rows(first_seq, steps)
        states = self._states(self._committed + len(steps))
        queued = [] if self.messages is None else self.messages.queued(first_seq, entries)
        snapshot = None
        if self.shell.snapshot_wanted or self.journal.seq - self._snapshot_seq >= SNAPSHOT_STEPS:
            snapshot = SnapshotOf(self.journal.seq, code_version(), self.shell.keep())
            self._snapshot_seq = self.journal.seq
        if not entries and snapshot is None and not self.quarantine:
            self._last_commit = time.monotonic()
            return
        batch = Batch(
            run=self.run,
            first_seq=first_seq,
            entries=entries,
            ts=self.shell.ts,
            rows=rows,
            durable=True,
            snapshot=snapshot,
            quarantine=self.quarantine,
            sinks={kind: counts.selects for kind, counts in self.sinks.items()},
        )
        waiting, self._waiting = self._waiting, []  # commands of this batch; later ones belong to the next
        await self._write(batch, waiting)
        # nothing of a step leaves the process before this line: a crash would take the step back
        self.quarantine = []
        self._committed += len(entries)
        self._last_commit = time.monotonic()
        self.send(outgoing)
        for command in waiting:
            command.complete()
        if self.messages is not None:
            self.messages.published([*states, *self._ahead], queued)
            self._ahead.clear()
        for subscriber in self.subscribers:
            subscriber(steps)
        self.notify()

    def _rows(self, first_seq: int, steps: Sequence[Step]) -> Rows:
        """Read models of new steps; alerts that [alerts] permits are rows of the outbox."""
        add = self._folds.add
        for seq, (event, effects) in enumerate(steps, first_seq):
            add(seq, event, effects)
        del self.recent[:-RECENT_ALERTS]
        rows = self.projection.take()
        if OUTBOX in rows:
            rows[OUTBOX] = self._alerts.chosen(rows[OUTBOX])
            self.posted += len(rows[OUTBOX])
        return rows

    def _states(self, seq: int) -> list[Message]:
        """The retained topics that the steps up to entry `seq`, the newest, have changed."""
        messages = self.messages
        if messages is None or not messages.moved:
            return []
        state = self.shell.state
        return [*messages.portfolio(state.ledger.house.lots), self._risk(messages, state, seq)]

    def _risk(self, messages: BatchMessages, state: State, seq: int) -> Message:
        """The message about the house's limits after entry `seq`, the newest."""
        state.revalue()
        drawdown = max(0.0, 1.0 - state.equity_micro / max(state.switch.high_water, 1))
        return messages.composer.risk(seq, self.shell.ts, state.switch.reason, limit_values(state), drawdown)

    async def _write(self, batch: Batch, waiting: Sequence[Command]) -> None:
        """Write a batch. While the store fails trading is halted; after FULL_S raises StoreGaveUp."""
        began = time.monotonic()
        while True:
            try:
                await self._heeding(self.store.write(batch))
            except Fenced as error:
                raise StoreGaveUp(str(error)) from error
            except StoreError as error:
                what = "the disk is full" if isinstance(error, StoreFull) else "the store fails"
                self._store_failed(f"{what}: {error}")
                answer_stops(waiting, self.store_error)
                if time.monotonic() - began > FULL_S:
                    raise StoreGaveUp(f"{error}{self._unrecorded([*waiting, *self._waiting])}") from error
                await self._heeding(asyncio.sleep(0.5))
                self.progress += 1  # FULL_S is longer than the watchdog's patience
                continue
            if self.store_error:
                self.store_error, self.status = "", self._status_before
                self.shell.run(
                    Condition(self.shell.unsettled.now, "store", True, "a batch was written; a person re-arms")
                )
            return

    def _store_failed(self, why: str) -> None:
        """Halt at once in memory; the journal has the step with the first batch that succeeds."""
        if self.store_error:
            return
        self._status_before, self.status, self.store_error = self.status, "store failing", why[:400]
        log.critical("store.failing", error=why, consequence="trading is halted; what was committed is kept")
        self._step(Condition(self.shell.unsettled.now, "store", False, f"{self.store_error}; trading is halted"))
        self.notify()

    def _step(self, event: Event) -> Sequence[Effect]:
        """Step an event from outside the market.

        While the store fails, switches and CRITICAL alerts are published from memory, with their later ids.
        """
        seq = self.journal.seq + 1
        effects = self.shell.run(event)
        if self.store_error:
            self.note_causes(event, effects)
            if self.messages is not None:
                self._publish_early(self.messages, seq, effects)
        return effects

    def _publish_early(self, messages: BatchMessages, seq: int, effects: Sequence[Effect]) -> None:
        """Publish the switches and CRITICAL alerts of a step that no store has yet."""
        for message in messages.composer.critical(seq, effects):
            messages.urgent(message)
        moves = [effect for effect in effects if type(effect) is Switched]
        for move in moves:
            messages.composer.note(move)
        if moves:
            self._ahead.append(self._risk(messages, self.shell.state, seq))
            messages.published(self._ahead[-1:], ())

    def note_causes(self, event: Event, effects: Sequence[Effect]) -> None:
        """Keep who or what moved a switch in this step, if one moved."""
        if any(type(effect) is Switched for effect in effects):
            self.histories.causes.add(event, effects, [rules.name for rules in self.shell.state.rules.agents])

    def _unrecorded(self, waiting: Sequence[Command]) -> str:
        """Make the file HALT, so that the next start is halted, when a stop is not in the journal."""
        if not any(map(is_stop, waiting)):
            return ""
        try:
            create_empty(self.halt_file)
        except OSError as error:
            log.critical("halt.lost", file=str(self.halt_file), error=str(error))
            return f"; a halt is not recorded and {self.halt_file} cannot be made: halt the next start, which trades"
        return f"; a halt is not recorded, so {self.halt_file} was made: the next start is halted until it is removed"

    async def _heeding(self, writing: Coroutine[None, None, None]) -> None:
        """Wait for a write; commands are stepped meanwhile, into the next batch: a slow disk does not delay a stop."""
        task = asyncio.create_task(writing)
        try:
            while not task.done():
                command = asyncio.create_task(self.inbox.commanded())
                await asyncio.wait({task, command}, return_when=asyncio.FIRST_COMPLETED)
                command.cancel()
                if self.shell.stopped:
                    break
                self._take_commands()
            await task
        except asyncio.CancelledError:
            task.cancel()
            raise

    def notify(self) -> None:
        """Wake the tasks that wait for a commit."""
        for listener in self.listeners:
            listener.set()

    def alert(self, text: str, job: str = "", *, up: bool = False, critical: bool = False) -> None:
        """Raise the WARNING `upkeep`, or report on a job; after the last commit it has no effect."""
        now = self.shell.unsettled.now
        try:
            if not self.over:
                self.inbox.command(Condition(now, "job" if job else "upkeep", up, text[:500], job, critical))
        except InboxFull:
            log.error("alert.lost", text=text)

    async def changed(self, within_s: float) -> None:
        """Wait for the next commit, at most `within_s` seconds."""
        listener = asyncio.Event()
        self.listeners.add(listener)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await listener.wait()
        finally:
            self.listeners.discard(listener)
