"""A run with trained models, whose market is fed in parts."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from quantd.daemon.recovery.replay import save_config
from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.timeline import instants
from quantd.models.artifacts.versions import point
from quantd.trading.codec import decode
from tests.support.api_world import RUN, World
from tests.support.artifacts import UNIVERSE, written
from tests.support.command_line import CONFIG

SYMBOLS = ("SPY", "QQQ", "IWM")
AGENTS = """\
[[agents]]
name = "learned"
policy = "models/first"
capital = 0.5
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.4
[[agents]]
name = "rival"
policy = "models/rival"
capital = 0.5
shadow = true
challenges = "learned"
"""
TEXT = CONFIG[: CONFIG.index("[[agents]]")] + AGENTS + CONFIG[CONFIG.index("[bus]") :]
MODELS = "/api/v1/models"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    written(folder / "models" / "first", universe=SYMBOLS)
    written(folder / "models" / "second", "ppo lstm", universe=SYMBOLS, seed=7)
    written(folder / "models" / "rival", universe=SYMBOLS, seed=9)
    written(folder / "models" / "other", universe=UNIVERSE)
    for number, name in enumerate(("2026-10", "2026-11")):
        manifest = written(folder / "models" / "named" / name, universe=SYMBOLS, seed=20 + number)
        point(folder / "models" / "named", name, manifest.digest, "2026-11-01T00:00:00Z")
    return folder


class Halfway(World):
    """A run whose market is fed in parts."""

    def __init__(self, folder: Path, text: str = TEXT) -> None:
        super().__init__(folder, text)
        save_config(self.folder, self.config, folder / "config.toml", (), {})
        self.market = instants(self.assembly.items())

    async def feed(self, count: int | None = None) -> None:
        await feed_recorded(self.service, islice(self.market, count), "fast", "wait")
        await self.service.drained()
        while self.store.last_seq(RUN) < self.service.journal.seq:
            await self.service.changed(0.05)

    def events(self, kind: type) -> list[Any]:
        return [e for _, blob in self.store.entries(RUN, 1) if isinstance(e := decode(blob).event, kind)]

    async def post(self, path: str, body: Any, token: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        async with self.session.post(path, json=body, headers=headers) as response:
            return response.status, await response.json()


@contextlib.asynccontextmanager
async def halfway(
    folder: Path, artifacts: Path | None = None, count: int = 160, text: str = TEXT
) -> AsyncIterator[Any]:
    """A service that has traded a part of its market."""
    if artifacts is not None:
        shutil.copytree(artifacts / "models", folder / "models")
    world = Halfway(folder, text)
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    await world.feed(count)
    async with aiohttp.ClientSession(world.api.url) as session:
        world.session = session
        try:
            yield world
        finally:
            world.service.shell.stopped = "the test is over"
            await stepping
            await world.api.stop()
            world.store.close()


@pytest.fixture
async def world(tmp_path: Path, artifacts: Path) -> AsyncIterator[Any]:
    async with halfway(tmp_path, artifacts) as halfway_world:
        yield halfway_world
