"""The bounded inbox of the loop: operators' commands precede venue reports, which precede instants of the market.

What can go wrong: a flood of bars, reports or commands delays a halt, or fills the memory. So each queue has a bound.
Feed and venue wait while theirs is full. A command beyond its bound is refused, and RESERVED more places are for
commands and conditions that can only stop or reduce trading.

Commands that belong together are queued all or none. The answer to a command is made right behind its own event, from
its effects and the state of that moment.

Rejected: an answer that the sender reads from the store or from the state after the commit. Other events come between,
and the sender got their results or none at all.
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
"""Maximum of waiting commands; further ones are refused."""

RESERVED = 16
"""Additional places for commands and conditions that stop trading."""

CHUNKS = 4
"""Maximum of waiting chunks of instants; then the feed waits."""

NEWS = 1024
"""Maximum of waiting venue reports; then their sender waits."""

Chunk = Sequence[Sequence[Item | Stopping | ScheduleRun]]


class InboxFull(Exception):
    """Too many commands are waiting."""


T = TypeVar("T")

Outcome = Callable[[State, Sequence[Effect]], T]
"""Makes the answer to a command from the effects of its event and the state right behind it, which it only reads."""


class Committed(Struct, Generic[T], frozen=True):
    """A command whose event is in the journal, as entry `seq`.

    `address` is that of its first plan in GET /api/v1/decisions and /api/v1/why, empty without one; that of a shadow
    ends with @NAME. `effects` are those of the event itself. `answer` is made from them and from the state right behind
    the event, before anything else is stepped; it is an exception where that failed. `unrecorded` is the reason why a
    stop is in force and not in the journal yet.
    """

    seq: int
    address: str
    effects: Sequence[Effect]
    answer: T
    unrecorded: str = ""

    @property
    def refused(self) -> Refused | None:
        """The reason why nothing of it was carried out; None for a command that was."""
        return next((effect for effect in self.effects if isinstance(effect, Refused)), None)


def committed_at(
    seq: int, effects: Sequence[Effect], state: State, outcome: Outcome[object] | None
) -> Committed[object]:
    """The outcome of the event of step `seq`. A refused event has no answer."""
    committed = Committed[object](seq, address_of(seq, effects), effects, None)
    if outcome is None or committed.refused is not None:
        return committed
    try:
        return replace(committed, answer=outcome(state, effects))
    except Exception as why:
        return replace(committed, answer=why)  # the event is stepped and will be committed: only its answer fails


def address_of(seq: int, effects: Sequence[Effect]) -> str:
    """The address of the first plan of a decision among the effects of step `seq`; empty without one."""
    for name, house_effects in _by_house(effects):
        plans = [effect for effect in house_effects if isinstance(effect, Planned)]
        for number, plan in enumerate(plans, 1):
            if not plan.of_child:
                return Decision(seq, number, plan, (), name).address
    return ""


def _by_house(effects: Sequence[Effect]) -> list[tuple[str, Sequence[object]]]:
    """The effects of the house, then those of each shadow, with its name."""
    return [("", effects), *((effect.name, effect.effects) for effect in effects if isinstance(effect, Shadowed))]


class Command(Struct):
    """An event from outside the market. `done` is what became of it, after its commit; `stepped` is that before."""

    event: Event
    done: "asyncio.Future[Committed[object]]"
    outcome: Outcome[object] | None = None
    stepped: Committed[object] | None = None

    def take(self, seq: int, effects: Sequence[Effect], state: State) -> None:
        """Note what became of the event in step `seq`: nothing else has been stepped since."""
        self.stepped = committed_at(seq, effects, state, self.outcome)

    def complete(self, unrecorded: str = "") -> None:
        """Answer the sender; `unrecorded` is the reason why the event is not in the journal yet."""
        if self.stepped is not None and not self.done.done():
            self.done.set_result(replace(self.stepped, unrecorded=unrecorded))


class Inbox:
    """Three queues with one reader."""

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
        """Queue an event ahead of the market. Raises InboxFull while too many commands wait."""
        return self.commands([event])[0].done

    def commands(self, events: Sequence[Event], outcome: Outcome[object] | None = None) -> list[Command]:
        """Queue events one behind the other, all or none; `outcome` is that of the last.

        Raises InboxFull where they would exceed COMMANDS places, with RESERVED more for stops alone.
        """
        places = COMMANDS + (RESERVED if all(map(_stops, events)) else 0)
        if len(self._commands) + len(events) > places:
            raise InboxFull(f"{len(self._commands)} commands wait already")
        loop = asyncio.get_running_loop()
        commands = [Command(event, loop.create_future()) for event in events]
        commands[-1].outcome = outcome
        self._commands.extend(commands)
        self._ready.set()
        self._commanded.set()
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
        """Number of venue reports that have not been stepped."""
        return len(self._news)

    def next_news(self) -> BrokerNews | None:
        """The oldest venue report, if any."""
        if not self._news:
            return None
        self._news_taken.set()
        return self._news.popleft()

    def next_command(self) -> Command | None:
        """The oldest command, if any."""
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
        """The next instants, if any."""
        if not self._chunks:
            return None
        self._chunk_taken.set()
        return self._chunks.popleft()[1]

    def waited_s(self) -> float:
        """Waiting time of the oldest instants of the market; 0 without any."""
        return time.monotonic() - self._chunks[0][0] if self._chunks else 0.0

    async def ready(self, within_s: float) -> bool:
        """Wait at most `within_s` seconds for an item; returns whether there is one."""
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
