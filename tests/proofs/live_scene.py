"""A scene of the live day: the whole daemon at a wire-level Alpaca, and a person who types commands as programs of
their own."""

import asyncio
import json
import os
import shlex
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from quantd.daemon.app import Options, serve
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import load
from tests.proofs.live_day import CONFIG, World, world_at
from tests.support.command_line import Done, program

SCALE = 30.0
HOLD = """
import numpy as np


def act(view):
    return np.full(len(view.prices), 0.2)
"""


class Scene:
    """A daemon beside its venue, and a person at a terminal."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.venue, self.folder = world, world.venue, folder

    async def typed(self, line: str) -> Done:
        """A command line, without `quantd`."""
        return await asyncio.to_thread(program, self.folder, *shlex.split(line))

    async def read(self, what: str) -> Any:
        """What the daemon's API answers, without a process for each look; nothing before it listens."""
        try:
            async with self.api() as http, http.get(what) as answer:
                return await answer.json() if answer.status == 200 else {}
        except (OSError, ValueError):
            return {}

    def api(self) -> ClientSession:
        """A session with the daemon's API."""
        state = self.folder / "state"
        place, token = json.loads((state / "api.json").read_text()), (state / "token").read_text().strip()
        url = f"http://{place['host']}:{place['port']}/api/v1/"
        return ClientSession(url, headers={"Authorization": f"Bearer {token}"})

    async def until(self, true: Callable[[], Awaitable[Any]], within_s: float = 120.0) -> Any:
        end = asyncio.get_running_loop().time() + within_s
        for _ in range(10_000):
            if answer := await true():
                return answer
            assert asyncio.get_running_loop().time() < end, "it did not happen"
            await asyncio.sleep(0.2)
        raise AssertionError("it did not happen")

    async def holds(self) -> None:
        """Wait for the first positions; a feed that a slow machine made late is re-armed."""

        async def bought() -> bool:
            if sum(map(bool, self.world.account().units.values())) == 3:
                return True
            if (await self.read("status")).get("switch") == "REDUCE":
                await self.typed("resume --reason 'the machine was slow'")
            return False

        await self.until(bought)

    async def critical(self, words: str) -> str:
        """The text of a CRITICAL alert with these words."""

        async def raised() -> str:
            alerts = (await self.read("alerts")).get("alerts", [])
            texts = [alert["text"] for alert in alerts if alert["level"] == "CRITICAL"]
            return next((text for text in texts if words in text), "")

        text: str = await self.until(raised)
        return text

    async def equal(self) -> None:
        """Wait for a comparison of the books with the venue that agrees."""

        async def agrees() -> bool:
            body = {"how": "", "reason": "look"}
            try:
                async with self.api() as http, http.post("reconcile", json=body) as answer:
                    return answer.status == 200 and (await answer.json())["agrees"] is True
            except (OSError, ValueError):  # it does not listen yet
                return False

        await self.until(agrees)


@asynccontextmanager
async def played(
    folder: Path,
    *,
    prepare: Callable[[World], None] = lambda world: None,
    more: str = "",
    adopt: str = "",
    venue: str = "alpaca",
) -> AsyncIterator[Scene]:
    """A daemon at a wire-level venue; `more` are further lines of its configuration."""
    async with market(folder, world_at(venue, folder, SCALE, 1)) as world:
        prepare(world)
        async with running(world, folder, Options(config=configured(folder, more), quiet=True, adopt=adopt)) as scene:
            yield scene


@asynccontextmanager
async def market(folder: Path, world: World | None = None) -> AsyncIterator[World]:
    """Vendor and venue; prices move while it lasts."""
    world = world or World(folder, SCALE, 1)
    await world.start()
    moving = asyncio.create_task(world.market())
    try:
        yield world
    finally:
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
        await world.stop()


def configured(folder: Path, more: str = "") -> Path:
    """A configuration that holds three pairs."""
    (folder / "rotating.py").write_text(HOLD)
    path = folder / "config.toml"
    path.write_text(CONFIG.format(store="", bus="port = 0").replace("min_trade = 0.0", "min_trade = 0.05") + more)
    return path


@asynccontextmanager
async def running(world: World, folder: Path, options: Options) -> AsyncIterator[Scene]:
    """A daemon in this process, stopped in order at the end."""
    config = load(options.config, known_names())
    daemon = asyncio.create_task(serve(config, options, find=world.find, now=world.clock))
    starting = asyncio.create_task(world.clock.waits(folder / "state"))
    try:
        yield Scene(world, folder)
        assert not daemon.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await daemon
    finally:
        for task in (daemon, starting):
            task.cancel()
        await asyncio.gather(daemon, starting, return_exceptions=True)
