"""The bounded inbox of the loop: operators' commands precede venue reports, which precede instants of the market."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from quantd.daemon.runtime.timeline import Item
from quantd.trading.effects import Effect
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


class Command(Struct):
    """An event from outside the market, and a future of its `effects` after their commit."""

    event: Event
    done: "asyncio.Future[Sequence[Effect]]"
    effects: Sequence[Effect] = ()


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

    def command(self, event: Event) -> "asyncio.Future[Sequence[Effect]]":
        """Queue an event ahead of the market. Raises InboxFull."""
        if len(self._commands) >= COMMANDS + (RESERVED if _stops(event) else 0):
            raise InboxFull(f"{len(self._commands)} commands wait already")
        done: asyncio.Future[Sequence[Effect]] = asyncio.get_running_loop().create_future()
        self._commands.append(Command(event, done))
        self._ready.set()
        self._commanded.set()
        if _stops(event) and not (isinstance(event, Condition) and event.up):
            self._stopping.set()
        return done

    async def put(self, chunk: Chunk) -> None:
        """Queue instants of the market; waits while the inbox is full."""
        while len(self._chunks) >= CHUNKS:
            self._chunk_taken.clear()
            await self._chunk_taken.wait()
        self._chunks.append((time.monotonic(), chunk))
        self._ready.set()

    async def tell(self, news: Sequence[BrokerNews]) -> None:
        """Queue reports of a real venue ahead of the market; waits while the inbox is full."""
        for each in news:
            while len(self._news) >= NEWS:
                self._news_taken.clear()
                await self._news_taken.wait()
            self._news.append(each)
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
