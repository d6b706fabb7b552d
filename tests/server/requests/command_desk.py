"""A service that takes signed commands from the bus."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from quantd.adapters.bus.commands import Name, signed
from quantd.server.requests.mqtt import MqttCommands
from quantd.trading.codec import decode
from quantd.trading.events import Operator, Stopping
from tests.support.api_world import RUN as RUN_NAME
from tests.support.api_world import World
from tests.support.mqtt import until

KEY = "0123456789abcdef" * 2
TOPIC = "quantd/paper/commands"


class Watched:
    """A service, its switch, and the acts of people in its journal."""

    world: World

    @property
    def switch(self) -> int:
        return self.world.service.shell.state.switch.state

    def operators(self) -> list[Operator]:
        events = [decode(data).event for _, data in self.world.store.entries(RUN_NAME)]
        return [e for e in events if isinstance(e, Operator)]


async def happened(done: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Wait until it is so; False when it is not within the time."""
    deadline = time.monotonic() + within_s
    while not done() and time.monotonic() < deadline:  # noqa: ASYNC110 - several objects are awaited
        await asyncio.sleep(0.01)
    return done()


class Desk(Watched):
    """A service that steps, with its commands; `answers` is what was answered."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.service = self.world.service
        self.answers: list[dict[str, Any]] = []
        self.made = 0
        self.now = time.time
        self.commands = MqttCommands(
            self.service,
            KEY,
            TOPIC,
            self.world.folder,
            lambda payload: self.answers.append(json.loads(payload)),
            lambda: self.now(),
        )

    @property
    def refused(self) -> dict[str, int]:
        return {k: n for k, n in self.service.bus_commands.items() if k != "taken"}

    def payload(self, name: Name, reason: str = "test", **other: Any) -> bytes:
        self.made += 1
        id = other.pop("id", f"command-{self.made}")
        ts = other.pop("ts", int(self.now()))
        return signed(other.pop("key", KEY), other.pop("topic", TOPIC), id, ts, name, who="me", reason=reason, **other)

    async def answered(self, count: int) -> dict[str, Any]:
        await until(lambda: len(self.answers) >= count, "the answer")
        return self.answers[-1]

    async def said(self, name: Name, reason: str = "test", **other: Any) -> dict[str, Any]:
        """Receive a command; its answer."""
        count = len(self.answers) + 1
        self.commands.received(self.payload(name, reason, **other), False)
        return await self.answered(count)

    async def committed(self) -> Operator:
        await until(lambda: bool(self.operators()), "a command in the journal")
        return self.operators()[-1]


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    mqtt_desk = Desk(folder)
    stepping = asyncio.create_task(mqtt_desk.service.step_forever())
    working = asyncio.create_task(mqtt_desk.commands.run())
    await asyncio.sleep(0)
    try:
        yield mqtt_desk
    finally:
        working.cancel()
        await mqtt_desk.service.inbox.command(Stopping(mqtt_desk.service.shell.state.now, False, "the test is over"))
        await stepping
        mqtt_desk.world.store.close()
