"""A store whose writes wait, and events that come before a command."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from quantd.trading.events import Event


class Gate:
    """A real store whose writes wait while the gate is shut."""

    def __init__(self, world: Any) -> None:
        self._write = world.store.write
        self._open, self.waiting = asyncio.Event(), asyncio.Event()
        world.store.write = self.write

    async def write(self, batch: Any) -> None:
        self.waiting.set()
        await self._open.wait()
        await self._write(batch)

    def open(self) -> None:
        self._open.set()


@contextlib.asynccontextmanager
async def gated(world: Any) -> AsyncIterator[Gate]:
    """A gate that is open at the end."""
    gate = Gate(world)
    try:
        yield gate
    finally:
        gate.open()


def before(world: Any, kind: type, earlier_events: Callable[[Any], Sequence[Event]]) -> None:
    """Let events of others come right before the first command of a kind, after its checks."""
    inbox = world.service.inbox
    queue = inbox.commands

    def behind(events: Sequence[Event], outcome: Any = None) -> Any:
        if isinstance(events[0], kind):
            inbox.commands = queue
            queue(earlier_events(events[0]))
        return queue(events, outcome)

    inbox.commands = behind
