"""The one bounded inbox of the loop: people's commands first, then a venue's news, then instants of the market in
order."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from quantd.daemon.runtime.timeline import Item
from quantd.trading.effects import Effect
from quantd.trading.events import Condition, Event, Operator, Stopping
from quantd.trading.ports import BrokerNews

COMMANDS = 64
"""Commands that may wait; one more is refused, so that a flood cannot grow the inbox."""

KEPT_FREE = 16
"""Room beyond these for what stops trading: nobody's flood keeps a halt or a dead feed out."""

CHUNKS = 4
"""Chunks of instants that may wait; the feed waits for room."""

NEWS = 1024
"""News of a venue that may wait; whoever brings more waits."""

Chunk = Sequence[Sequence[Item | Stopping]]


class InboxFull(Exception):
    """Too many commands wait already."""


class Command(Struct):
    """An event from outside the market, and a future that is done with its `effects` once it has been committed."""

    event: Event
    done: "asyncio.Future[Sequence[Effect]]"
    effects: Sequence[Effect] = ()


class Inbox:
    """Three lanes, one reader."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self._news: deque[BrokerNews] = deque()
        self._chunks: deque[tuple[float, Chunk]] = deque()
        self._ready = asyncio.Event()
        self._commanded = asyncio.Event()
        self._stopping = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._news_room = asyncio.Event()
        self._news_room.set()

    def __len__(self) -> int:
        return len(self._commands) + len(self._news) + len(self._chunks)

    def command(self, event: Event) -> "asyncio.Future[Sequence[Effect]]":
        """Put an event before all that waits from the market. Raises InboxFull."""
        if len(self._commands) >= COMMANDS + (KEPT_FREE if _stops(event) else 0):
            raise InboxFull(f"{len(self._commands)} commands wait already")
        done: asyncio.Future[Sequence[Effect]] = asyncio.get_running_loop().create_future()
        self._commands.append(Command(event, done))
        self._ready.set()
        self._commanded.set()
        if _stops(event) and not (isinstance(event, Condition) and event.up):
            self._stopping.set()
        return done

    async def put(self, chunk: Chunk) -> None:
        """Add instants of the market; waits while the inbox is full."""
        while len(self._chunks) >= CHUNKS:
            self._room.clear()
            await self._room.wait()
        self._chunks.append((time.monotonic(), chunk))
        self._ready.set()

    async def tell(self, news: Sequence[BrokerNews]) -> None:
        """Add what a venue across a network said, before all that waits from the market; waits while the inbox
        is full."""
        for each in news:
            while len(self._news) >= NEWS:
                self._news_room.clear()
                await self._news_room.wait()
            self._news.append(each)
            self._ready.set()
            self._commanded.set()

    @property
    def news_waiting(self) -> int:
        """How many news of a venue have not been stepped."""
        return len(self._news)

    def next_news(self) -> BrokerNews | None:
        """The oldest news, if some wait."""
        if not self._news:
            return None
        self._news_room.set()
        return self._news.popleft()

    def next_command(self) -> Command | None:
        """The oldest command, if one waits."""
        if self._commands:
            return self._commands.popleft()
        self._commanded.clear()
        self._stopping.clear()
        return None

    async def commanded(self) -> None:
        """Wait until a command or news is there."""
        await self._commanded.wait()

    async def stopping(self) -> None:
        """Wait until a command is there that can only make trading stop or shrink, or the daemon."""
        await self._stopping.wait()

    def next_chunk(self) -> Chunk | None:
        """The next instants, if some wait."""
        if not self._chunks:
            return None
        self._room.set()
        return self._chunks.popleft()[1]

    def waited_s(self) -> float:
        """How long the oldest instants of the market have waited; 0 when none do."""
        return time.monotonic() - self._chunks[0][0] if self._chunks else 0.0

    async def ready(self, within_s: float) -> bool:
        """Wait until something is there, at most `within_s` seconds; whether something is."""
        if not len(self):
            self._ready.clear()
            try:
                async with asyncio.timeout(within_s):
                    await self._ready.wait()
            except TimeoutError:
                return False
        return True


def _stops(event: Event) -> bool:
    """Whether an event can only make trading stop or shrink, or the daemon."""
    return isinstance(event, Condition | Stopping) or (
        isinstance(event, Operator) and event.command in ("halt", "reduce")
    )
