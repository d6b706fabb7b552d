"""The one bounded inbox of the loop: people's commands first, then instants of the market in order."""

import asyncio
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from daemon.timeline import Item
from trading.events import Event, Stopping

COMMANDS = 64
"""Commands that may wait; one more is refused, so that a flood cannot grow the inbox."""

CHUNKS = 4
"""Chunks of instants that may wait; the feed waits for room."""

Chunk = Sequence[Sequence[Item | Stopping]]


class InboxFull(Exception):
    """Too many commands wait already."""


class Command(Struct):
    """An event from outside the market, and a future that is done once it has been committed."""

    event: Event
    done: "asyncio.Future[None]"


class Inbox:
    """Two lanes, one reader."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self._chunks: deque[Chunk] = deque()
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._commands) + len(self._chunks)

    def command(self, event: Event) -> "asyncio.Future[None]":
        """Put an event before all that waits from the market. Raises InboxFull."""
        if len(self._commands) >= COMMANDS:
            raise InboxFull(f"{COMMANDS} commands wait already")
        done = asyncio.get_running_loop().create_future()
        self._commands.append(Command(event, done))
        self._ready.set()
        return done

    async def put(self, chunk: Chunk) -> None:
        """Add instants of the market; waits while the inbox is full."""
        while len(self._chunks) >= CHUNKS:
            self._room.clear()
            await self._room.wait()
        self._chunks.append(chunk)
        self._ready.set()

    def next_command(self) -> Command | None:
        """The oldest command, if one waits."""
        return self._commands.popleft() if self._commands else None

    def next_chunk(self) -> Chunk | None:
        """The next instants, if some wait."""
        if not self._chunks:
            return None
        self._room.set()
        return self._chunks.popleft()

    async def ready(self, within_s: float) -> bool:
        """Wait until something is there, at most `within_s` seconds; whether something is."""
        if not (self._commands or self._chunks):
            self._ready.clear()
            try:
                async with asyncio.timeout(within_s):
                    await self._ready.wait()
            except TimeoutError:
                return False
        return True
