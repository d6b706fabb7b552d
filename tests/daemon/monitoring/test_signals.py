"""A reload reads the configuration in a thread, so that a file system that hangs stops neither trading nor the API."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quantd.daemon.config import Config
from quantd.daemon.monitoring.signals import reload
from tests.support.api_world import World, standing_at_the_end


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with standing_at_the_end(tmp_path) as world:
        yield world


async def test_the_api_answers_while_a_configuration_is_read(world: World) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def read() -> Config:
        begun.set()
        assert go_on.wait(20), "nobody could answer"
        return world.config

    reloading = asyncio.ensure_future(reload(world.service, read, world.assembly))
    await asyncio.to_thread(begun.wait, 20)
    async with world.session.get("/health") as response:
        assert response.status == 200
    assert not reloading.done()
    go_on.set()
    assert await reloading == []
