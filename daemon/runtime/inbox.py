"""The bounded inbox of the loop: operators' commands precede venue reports, which precede instants of the market.

What can go wrong: a flood of bars, reports or commands delays a halt, or fills the memory. So each queue has a bound.
Feed and venue wait while their queue is full. A command is refused while its queue is full; RESERVED more places are
for operators' commands that can only stop or reduce trading, and for conditions (a dependency failed or recovered).

Commands that belong together are queued all or none. The answer to a command is made immediately after its event has
been stepped, from the effects of that event and the state at that moment.

Rejected: an answer that the sender reads from the store or from the state after the commit. Other events are stepped in
between, and the sender would get their results, or none at all.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from quantd.adapters.store.read_models import Decision
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.timeline import Item
from quantd.trading.effects import Effect, Planned, Refused, Shadowed
from quantd.trading.events import Condition, Event, Operator, Stopping
from quantd.trading.orders import ScheduleRun
from quantd.trading.ports import BrokerNews

COMMANDS = 64
"""Maximum number of waiting commands; further commands are refused."""

RESERVED = 16
"""Additional places for commands and conditions that stop or reduce trading."""

CHUNKS = 4
"""Maximum number of waiting chunks; the feed waits while there are so many."""

NEWS = 1024
"""Maximum number of waiting venue reports; their sender waits while there are so many."""

Chunk = Sequence[Sequence[Item | Stopping | ScheduleRun]]
"""Consecutive instants of the market, each with its items."""


class InboxFull(Exception):
    """Too many commands are waiting."""


T = TypeVar("T")

Outcome = Callable[[State, Sequence[Effect]], T]
"""Makes the answer to a command from the state just after its event, which it must not change, and its effects."""


class Committed(Struct, Generic[T], frozen=True):
    """A command whose event is in the journal, as entry `seq`.

    `address` is the address of its first plan in GET /api/v1/decisions and /api/v1/why; empty without a plan. For a
    shadow (agent on paper) it ends with @NAME. `effects` are the effects of the event itself. `answer` is what the
    command's `Outcome` returned, or the exception that it raised. `unrecorded` is the reason why a stop is in force and
    not in the journal yet.
    """

    seq: int
    address: str
    effects: Sequence[Effect]
    answer: T
    unrecorded: str = ""

    @property
    def refused(self) -> Refused | None:
        """The reason why the engine refused the command; None for a command that was carried out."""
        return next((effect for effect in self.effects if isinstance(effect, Refused)), None)


def committed_at(
    seq: int, effects: Sequence[Effect], state: State, outcome: Outcome[object] | None
) -> Committed[object]:
    """The `Committed` of a command whose event was step `seq`. A refused command has no answer.

    `outcome` makes the answer from the state after the step; its exception becomes the answer. With None the command
    has no answer.
    """
    committed = Committed[object](seq, address_of(seq, effects), effects, None)  # None: no answer yet
    if outcome is None or committed.refused is not None:
        return committed
    try:
        return replace(committed, answer=outcome(state, effects))
    except Exception as why:
        # not raised: the event is stepped and will be committed, only its answer failed
        return replace(committed, answer=why)


def address_of(seq: int, effects: Sequence[Effect]) -> str:
    """The address (d4812 for step 4812) of the first plan in the effects of step `seq`; empty without a plan."""
    for name, house_effects in _by_house(effects):
        plans = [effect for effect in house_effects if isinstance(effect, Planned)]
        for number, plan in enumerate(plans, 1):
            if not plan.of_child:
                return Decision(seq, number, plan, (), name).address
    return ""


def _by_house(effects: Sequence[Effect]) -> list[tuple[str, Sequence[object]]]:
    """(name, effects): first ("", effects of the account), then (name, effects) of each shadow (agent on paper)."""
    return [("", effects), *((effect.name, effect.effects) for effect in effects if isinstance(effect, Shadowed))]


class Command(Struct):
    """An event from outside the market, with the future of its sender.

    `stepped` is its result once the event has been stepped; `done` gets the result after the commit.
    """

    event: Event
    done: "asyncio.Future[Committed[object]]"
    outcome: Outcome[object] | None = None
    stepped: Committed[object] | None = None

    def take(self, seq: int, effects: Sequence[Effect], state: State) -> None:
        """Note the result of the command's event, which was step `seq`. Call it before anything else is stepped."""
        self.stepped = committed_at(seq, effects, state, self.outcome)

    def complete(self, unrecorded: str = "") -> None:
        """Answer the command's sender; `unrecorded` is the reason why the event is not in the journal yet."""
        if self.stepped is not None and not self.done.done():
            self.done.set_result(replace(self.stepped, unrecorded=unrecorded))


class Inbox:
    """The queues of commands, venue reports and chunks of the market, with the trading loop as their one reader."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self._news: deque[BrokerNews] = deque()
        self._chunks: deque[tuple[float, Chunk]] = deque()
        self._ready = asyncio.Event()
        self._commanded = asyncio.Event()
        self._stopping = asyncio.Event()
        self._chunk_taken = asyncio.Event()
        self._news_taken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._commands) + len(self._news) + len(self._chunks)

    def command(self, event: Event) -> "asyncio.Future[Committed[object]]":
        """Queue a command's event ahead of the market. Raises InboxFull while too many commands wait."""
        return self.commands([event])[0].done

    def commands(self, events: Sequence[Event], outcome: Outcome[object] | None = None) -> list[Command]:
        """Queue events in this order, all of them or none; `outcome` makes the answer to the last event.

        Raises InboxFull where more than COMMANDS commands would wait, or more than COMMANDS + RESERVED if every event
        can only stop or reduce trading.
        """
        capacity = COMMANDS + (RESERVED if all(map(_stops, events)) else 0)
        if len(self._commands) + len(events) > capacity:
            raise InboxFull(f"{len(self._commands)} commands wait already: send this one again when they are done")
        loop = asyncio.get_running_loop()
        commands = [Command(event, loop.create_future()) for event in events]
        commands[-1].outcome = outcome
        self._commands.extend(commands)
        self._ready.set()
        self._commanded.set()
        # a condition that ends (`up`) stops nothing: it must not withdraw a policy's question
        if any(_stops(event) and not (isinstance(event, Condition) and event.up) for event in events):
            self._stopping.set()
        return commands

    async def put(self, chunk: Chunk) -> None:
        """Queue instants of the market; waits while the inbox is full."""
        while len(self._chunks) >= CHUNKS:
            self._chunk_taken.clear()
            await self._chunk_taken.wait()
        self._chunks.append((time.monotonic(), chunk))
        self._ready.set()

    async def tell(self, news: Sequence[BrokerNews]) -> None:
        """Queue reports of a real venue ahead of the market; waits while the inbox is full."""
        for report in news:
            while len(self._news) >= NEWS:
                self._news_taken.clear()
                await self._news_taken.wait()
            self._news.append(report)
            self._ready.set()
            self._commanded.set()

    @property
    def news_waiting(self) -> int:
        """Number of venue reports that have not been stepped yet."""
        return len(self._news)

    def next_news(self) -> BrokerNews | None:
        """The oldest venue report in the inbox, if any."""
        if not self._news:
            return None
        self._news_taken.set()
        return self._news.popleft()

    def next_command(self) -> Command | None:
        """The oldest command in the inbox, if any."""
        if self._commands:
            return self._commands.popleft()
        self._commanded.clear()
        self._stopping.clear()
        return None

    async def commanded(self) -> None:
        """Wait for a command or a venue report."""
        await self._commanded.wait()

    async def stopping(self) -> None:
        """Wait for a command that stops or reduces trading, or stops the daemon."""
        await self._stopping.wait()

    def next_chunk(self) -> Chunk | None:
        """The next instants of the market that wait in the inbox, if any."""
        if not self._chunks:
            return None
        self._chunk_taken.set()
        return self._chunks.popleft()[1]

    def waited_s(self) -> float:
        """Waiting time of the oldest instants of the market; 0 without any."""
        return time.monotonic() - self._chunks[0][0] if self._chunks else 0.0

    async def ready(self, within_s: float) -> bool:
        """Wait at most `within_s` seconds until a queue has an entry; returns whether one has."""
        if not len(self):
            self._ready.clear()
            try:
                async with asyncio.timeout(within_s):
                    await self._ready.wait()
            except TimeoutError:
                return False
        return True


def _stops(event: Event) -> bool:
    """Whether an event can only stop or reduce trading, or stop the daemon."""
    return isinstance(event, Condition | Stopping) or (
        isinstance(event, Operator) and event.command in ("halt", "reduce")
    )
