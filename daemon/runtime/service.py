"""The daemon's loop around a Shell: it takes from the inbox, steps, commits, and then sends and publishes.

One task steps; `quantd.daemon.runtime.feeder` fills the inbox. The other tasks (bus, API, watchdog) belong to the same
TaskGroup, in `quantd.daemon.app`.

What can go wrong: an order is sent, or a command answered, and a crash loses the step. So a commit writes the steps,
their read models, alerts and snapshot in one transaction. Only then are the orders of exactly these steps sent, the
commands answered, and messages published. A step that is not committed had no effect outside, and the next start takes
its event again.

What can go wrong, too: the store fails or is slow while a person stops trading. So the halt is in force in memory at
once, and its command is answered with the reason why it is not recorded. Commands are stepped while a batch is being
written, and belong to the next batch. If the store fails for FULL_S, the daemon ends, and a halt without a record
becomes the file HALT for the next start.

Commands are stepped before each instant of the market. The answer of a policy in a separate process is awaited while
other tasks run, and a command that stops trading withdraws the question.
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
from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.quarantine import BadBar
from quantd.adapters.store.journal.writer import Batch, SnapshotOf
from quantd.adapters.store.store_errors import Fenced, StoreError, StoreFull
from quantd.adapters.store.tables.projection import OUTBOX, Projection, Rows
from quantd.daemon.config import Config
from quantd.daemon.engine.safety.monitor import limit_values
from quantd.daemon.engine.state import State
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.predictions import Predictions
from quantd.daemon.runtime.alert_filter import AlertFilter
from quantd.daemon.runtime.committed_folds import BatchMessages
from quantd.daemon.runtime.decision_receipts import Receipts
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
from quantd.trading.display_text import one_line
from quantd.trading.effects import Ask, Effect, Publish, Switched
from quantd.trading.events import Condition, Decided, Event, Operator, Stopping
from quantd.trading.exit_codes import TRY_LATER, ExplainedError
from quantd.trading.orders import ScheduleRun
from quantd.trading.ports import VenueAccount

log = structlog.get_logger("quantd.loop")

COMMIT_S: Final = 0.2
"""Longest time that a step waits for its commit."""

COMMIT_STEPS: Final = 8_000
"""Maximum number of steps in one commit: 4,000 slices and their ticks."""

SNAPSHOT_STEPS: Final = 5_000
"""Steps between snapshots; a restart replays this many in less than a second."""

FULL_S: Final = 60.0
"""Time for which the daemon tries to write to a store that fails, for example on a full disk."""

RECENT_ALERTS: Final = 200
"""Maximum number of alerts in memory for the API and the terminal."""

ALIVE_S: Final = 1.0
"""Interval at which a wait for a policy counts as progress, so that the watchdog does not report the loop as stuck."""

AT_ONCE_S: Final = 0.001
"""Time for which the loop blocks on an answer before it makes a task. Most answers take less time than a task costs."""

SETTLED_S: Final = 0.02
"""Interval of checks whether a round is complete."""

YIELD_S: Final = 0.005
"""Time of stepping after which the loop lets other tasks run."""

Step = tuple[Event, Sequence[Effect]]
"""An event and its effects."""


def _no_order_sender(outgoing: list[Outgoing]) -> None:
    if outgoing:
        raise RuntimeError("orders for a real venue cannot be sent: no order sender was set (Service.send)")


def is_stop(command: Command) -> bool:
    """Whether a command is an operator's halt or reduce."""
    return isinstance(command.event, Operator) and command.event.command in ("halt", "reduce")


def answer_stops(commands: Sequence[Command], error: str) -> None:
    """Answer the commands that stop trading while the store fails, because they are in force already.

    `error` is the failure of the store.
    """
    for command in filter(is_stop, commands):
        command.complete(error)


def reason_of(error: BaseException) -> str:
    """The text of an exception on one line of at most 400 characters.

    The exception's type stands before the text, unless the exception is quantd's own: then the text says all.
    """
    text = one_line(error, 400)
    if text and type(error).__module__.startswith("quantd."):
        return text
    return f"{type(error).__name__}: {text}"[:400]


class StoreGaveUp(ExplainedError):
    """The store failed for a minute, or another process holds the account's lease; the daemon exits with code 75."""

    exit_code = TRY_LATER


class Service:
    """A run in progress. The API and the terminal read it; only `step_forever` writes it."""

    leader: LeaderNow | None = None
    """The trading daemon, where this process is a read-only instance."""
    query: Callable[[int, int, int], Awaitable[None]] | None = None
    """Queries one order (sample, n, row) at the venue now; None with a simulated venue."""
    compare_failure: str = ""
    """Why the newest comparison with the venue failed; empty after a successful one."""

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
        """`messages` collects the messages of a batch for the message bus; None without a bus."""
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
        """Whether the last commit of the run is done."""
        self.progress = 0
        """Grows with each pass of the loop and each wait of bounded length; the watchdog observes it."""
        self.recent: list[Publish] = []
        self.store_error = ""
        """Failure of the store; empty without one. Trading is halted meanwhile, and stops need no store."""
        self.listeners: set[asyncio.Event] = set()
        self.projection = projection
        self.posted = 0
        """Number of alerts that were queued for publication."""
        self.incidents = projection.incidents
        """The incidents, which include the steps of the batch that is being written."""
        self.messages = messages
        self._alerts = alerts
        self.halt_file, self._status_before = state_folder / "HALT", ""
        self._published_early: list[Message] = []
        """Retained messages published before their batch. They are published again with it, because they are newer."""
        self._committed = self._snapshot_seq = journal.seq - len(journal.entries)
        self._last_commit = time.monotonic()
        self._waiting: list[Command] = []
        self._stepping = False
        self.quarantine: list[BadBar] = []
        self.differs: list[str] = []
        """Where the configuration file differs from the run, since the last reload."""
        self.histories = histories or Histories(config.risk.history)
        shell.state.judged = self.histories.forecasts
        self.reloading = asyncio.Lock()
        """Held while the configuration is read, and applied or written."""
        self.subscribers: list[Callable[[Sequence[Step]], None]] = []
        """Called with the steps of each committed batch."""
        self.trace = Trace(shell.state.universe, shell.state.rules.names())
        self.started = time.monotonic()
        self.busy_s = 0.0
        self.send: Callable[[list[Outgoing]], None] = _no_order_sender
        """Takes committed orders for a real venue."""
        self.reconcile: Callable[[], None] = lambda: None
        """Requests a reconciliation with the venue's account."""
        self.live_since_ns = 0
        """Start of the live feed, ns UTC; its first bars are older than that."""
        self.compare: Callable[[], Awaitable[VenueAccount | None]] | None = None
        """Compares with the venue's account now; None with a simulated venue."""
        self.feed_error = ""
        """Failure of the feed; empty without one."""
        self.sinks: dict[str, Counts] = {}
        """The sinks of [alerts.sinks]. The alerts of each batch that a sink selects are queued for it."""
        self.bus_commands: Counter[str] = Counter()
        """Commands over MQTT by outcome."""
        self.receipts = Receipts(run, state_folder)
        """The signed receipts of decisions on proposals."""
        self._folds = opened(self)

    def choose_alerts(self, alerts: AlertFilter) -> None:
        """Publish alerts by another filter from the next batch on."""
        self._alerts = alerts

    async def step_forever(self) -> None:
        """Step and commit the entries of the inbox until a Stop effect.

        Raises StoreGaveUp, and the exception of a step with a note about the remedy.
        """
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
        """Step and commit until a Stop effect. Raises StoreGaveUp where the lease is lost or the store stays faulty."""
        while not self.shell.stopped:
            waited_s = time.monotonic() - self._last_commit if self.journal.entries else 0.0
            # wait for entries until the next commit is due, and at least a moment, so that other tasks run
            if await self.inbox.ready(max(0.001, COMMIT_S - waited_s)):
                self._stepping = True
                await self._take_chunk()
                self._stepping = False
            # outside of commits too: a store that fails is noticed while there is nothing to commit
            if trouble := self.store.trouble():
                self._store_failed(trouble)
            if self._commit_due():
                await self.commit()
            if self.store.lease.fenced:  # the timer finds a lost lease: without a commit nothing else would see it
                raise StoreGaveUp(self.store.lease.fenced)
            self.progress += 1
        await self.commit()

    async def drained(self) -> None:
        """Wait until the inbox is empty and the engine has stepped all its entries."""
        while len(self.inbox) or self._stepping:
            await self.changed(0.1)

    def _commit_due(self) -> bool:
        if not self.journal.entries:
            return False
        idle = not len(self.inbox)
        late = time.monotonic() - self._last_commit >= COMMIT_S
        return idle or late or len(self.journal.entries) >= COMMIT_STEPS

    async def _take_chunk(self) -> None:
        """Step one chunk of the market, instant by instant, with waiting commands first; other tasks run in between.

        The time in which the loop steps is added to `busy_s`. An item that opens a round of questions is measured from
        the item to the last answer.
        """
        chunk = self.inbox.next_chunk() or []
        stepping_since = time.monotonic()
        for instant in chunk:
            self._take_commands()  # first: a waiting halt must act before the orders of the next instant
            if self.shell.stopped:
                return
            for item in instant:
                round_no, item_since = self.shell.unsettled.round_no, time.monotonic()
                if isinstance(item, Stopping | ScheduleRun):
                    # the run may be at a later instant than at the time when the item was made
                    self.shell.run(replace(item, ts=max(item.ts, self.shell.unsettled.now)))
                else:
                    self.shell.take(item)
                while self.shell.waits is not None:
                    self.busy_s += time.monotonic() - stepping_since
                    self.shell.answered(await self._answer_or_withdraw(self.shell.waits))
                    stepping_since = time.monotonic()
                if self.shell.unsettled.round_no != round_no:
                    self.measured.decisions.append(time.monotonic() - item_since)
            now = time.monotonic()
            if now - stepping_since > YIELD_S:
                self.busy_s += now - stepping_since
                if self._commit_due():
                    await self.commit()
                await asyncio.sleep(0)
                stepping_since = time.monotonic()
        self._take_commands()
        self.busy_s += time.monotonic() - stepping_since

    async def _answer_or_withdraw(self, question: Ask) -> Decided:
        """The answer of a policy in a separate process, within its deadline.

        A command that stops trading withdraws the question; the agent then holds.
        """
        assert self.deadline is not None
        future = self.deadline.answer_of(question)
        with suppress(FuturesTimeout):
            return future.result(AT_ONCE_S)  # most answers come in this time, and need no task
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
            await asyncio.wait({answer})  # until its thread ends, which reads the market that a step would change
            return withdrawn
        finally:
            stopping.cancel()

    async def settled(self) -> None:
        """Wait until the agents have answered all questions of a round (decision of all agents); the state is
        incomplete before."""
        while self.shell.waits is not None:
            await self.changed(SETTLED_S)

    def _take_commands(self) -> None:
        """Step all waiting commands and venue reports; after each report, commands come first again."""
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
        self.histories.forecasts.renew()  # the next gate call belongs to a new commit
        outgoing = self.shell.outgoing()  # taken before the commit awaits: steps meanwhile belong to the next batch
        first_seq = self._committed + 1
        rows = self._read_models(first_seq, steps)
        states = self._retained_messages(self._committed + len(steps))
        queued = [] if self.messages is None else self.messages.queued(first_seq, entries)
        snapshot = None
        if self.shell.snapshot_wanted or self.journal.seq - self._snapshot_seq >= SNAPSHOT_STEPS:
            snapshot = SnapshotOf(self.journal.seq, code_version(), self.shell.keep())
            self._snapshot_seq = self.journal.seq
        if not entries and snapshot is None and not self.quarantine:  # there is nothing to write
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
        if self.receipts.pending:
            root = "" if self.messages is None else self.messages.composer.root
            states += self.receipts.signed(self.store.head, root)
        for command in waiting:
            command.complete()
        if self.messages is not None:
            self.messages.published([*states, *self._published_early], queued)
            self._published_early.clear()
        for subscriber in self.subscribers:
            subscriber(steps)
        self.notify()

    def _read_models(self, first_seq: int, steps: Sequence[Step]) -> Rows:
        """The rows of new steps for the read models (the store's tables for queries).

        The outbox, the table of alerts to send, gets only the alerts that [alerts] permits.
        """
        add = self._folds.add
        for seq, (event, effects) in enumerate(steps, first_seq):
            add(seq, event, effects)
        del self.recent[:-RECENT_ALERTS]
        rows = self.projection.take()
        if OUTBOX in rows:
            rows[OUTBOX] = self._alerts.chosen(rows[OUTBOX])
            self.posted += len(rows[OUTBOX])
        return rows

    def _retained_messages(self, seq: int) -> list[Message]:
        """The retained MQTT messages that new steps have changed; `seq` is the newest journal entry."""
        messages = self.messages
        if messages is None or not messages.moved:
            return []
        state = self.shell.state
        return [*messages.portfolio(state.ledger.house.lots), self._risk_message(messages, state, seq)]

    def _risk_message(self, messages: BatchMessages, state: State, seq: int) -> Message:
        """The message about the limits of the whole account after the newest entry, `seq`."""
        state.revalue()
        equity, reason = state.equity_micro, state.switch.reason
        falls = self.histories.peak.drawdown(equity), max(0.0, 1.0 - equity / max(state.switch.high_water, 1))
        return messages.composer.risk(seq, self.shell.ts, reason, limit_values(state), *falls)

    async def _write(self, batch: Batch, waiting: Sequence[Command]) -> None:
        """Write a batch of steps to the store, again while the store fails. Trading is halted meanwhile.

        `waiting` are the commands of the batch, which are answered with the fault if they stop trading. Raises
        StoreGaveUp after FULL_S, or where another process holds the account's lease.
        """
        began = time.monotonic()
        while True:
            try:
                await self._write_with_commands(self.store.write(batch))
            except Fenced as error:
                raise StoreGaveUp(str(error)) from error
            except StoreError as error:
                what = "the disk is full" if isinstance(error, StoreFull) else "the store fails"
                self._store_failed(f"{what}: {error}")
                answer_stops(waiting, self.store_error)
                if time.monotonic() - began > FULL_S:
                    raise StoreGaveUp(f"{error}{self._write_halt_file([*waiting, *self._waiting])}") from error
                await self._write_with_commands(asyncio.sleep(0.5))
                self.progress += 1  # FULL_S is longer than the time after which the watchdog reports a stuck loop
                continue
            if self.store_error:
                self.store_error, self.status = "", self._status_before
                self.shell.run(
                    Condition(self.shell.unsettled.now, "store", True, "a batch was written; a person re-arms")
                )
            return

    def _store_failed(self, why: str) -> None:
        """Halt trading at once in memory, because the store fails. The first batch that succeeds records this step."""
        if self.store_error:
            return
        self._status_before, self.status, self.store_error = self.status, "store failing", why[:400]
        log.critical("store.failing", error=why, consequence="trading is halted; what was committed is kept")
        self._step(Condition(self.shell.unsettled.now, "store", False, f"{self.store_error}; trading is halted"))
        self.notify()

    def _step(self, event: Event) -> Sequence[Effect]:
        """Step an event from outside the market.

        While the store fails, kill switch moves and CRITICAL alerts are published from memory. They have the ids that
        they will have in the store.
        """
        seq = self.journal.seq + 1
        effects = self.shell.run(event)
        if self.store_error:
            self.note_causes(event, effects)
            if self.messages is not None:
                self._publish_early(self.messages, seq, effects)
        return effects

    def _publish_early(self, messages: BatchMessages, seq: int, effects: Sequence[Effect]) -> None:
        """Publish the kill switch moves and CRITICAL alerts of step `seq`, which the store does not have yet."""
        for message in messages.composer.critical(seq, effects):
            messages.urgent(message)
        moves = [effect for effect in effects if type(effect) is Switched]
        for move in moves:
            messages.composer.note(move)
        if moves:
            self._published_early.append(self._risk_message(messages, self.shell.state, seq))
            messages.published(self._published_early[-1:], ())

    def note_causes(self, event: Event, effects: Sequence[Effect]) -> None:
        """Store who or what moved a kill switch in this step, if one moved."""
        if any(type(effect) is Switched for effect in effects):
            self.histories.causes.add(event, effects, [rules.name for rules in self.shell.state.rules.agents])

    def _write_halt_file(self, waiting: Sequence[Command]) -> str:
        """Create the file HALT if a stop is not in the journal: the next start is then halted.

        Returns a text for the end of the error message; empty where no stop waits.
        """
        if not any(map(is_stop, waiting)):
            return ""
        try:
            create_empty(self.halt_file)
        except OSError as error:
            log.critical("halt.lost", file=str(self.halt_file), error=str(error))
            return f"; a halt is not recorded, and {self.halt_file} cannot be made: the next start trades, so halt it"
        return f"; a halt is not recorded, so {self.halt_file} was made: the next start is halted until it is removed"

    async def _write_with_commands(self, writing: Coroutine[None, None, None]) -> None:
        """Wait for a write, and step commands meanwhile, so that a slow disk does not delay a stop.

        The commands belong to the next batch.
        """
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
        """Raise the alert `text` about the job named `job`; with "", about other trouble, of the kind "upkeep".

        The level is CRITICAL with `critical`, else WARNING. With `up` the trouble has ended: the job works again. After
        the last commit of the run the call has no effect.
        """
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
