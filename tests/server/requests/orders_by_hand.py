"""A run that takes orders by hand, and what it has journalled."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.timeline import instants
from quantd.trading.codec import decode
from tests.support.api_world import RUN, World
from tests.support.command_line import CONFIG

BY_HAND = (
    CONFIG.replace("max_position_weight = 0.25", "max_position_weight = 0.6")
    + "\n[manual]\ncapital = 0.1\nlimits = { max_position_weight = 0.5 }\n"
)


@pytest.fixture
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    trading_world = World(tmp_path, getattr(request, "param", BY_HAND))
    await trading_world.api.start()
    stepping = asyncio.create_task(trading_world.service.step_forever())
    await feed_recorded(trading_world.service, instants(trading_world.assembly.items()), "fast", "wait")
    feed, service = trading_world.assembly.feed, trading_world.service
    while service.shell.ts < feed.last_ts or trading_world.store.last_seq(RUN) < service.journal.seq:
        await service.changed(0.05)
    async with aiohttp.ClientSession(trading_world.api.url) as session:
        trading_world.session = session
        yield trading_world
    trading_world.service.shell.stopped = "the test is over"
    await stepping
    await trading_world.api.stop()
    trading_world.store.close()


async def post(world: Any, path: str, body: object, bearer: bool = True) -> tuple[int, Any]:
    headers = world.bearer if bearer else {}
    async with world.session.post(f"/api/v1/{path}", json=body, headers=headers) as response:
        return response.status, await response.json()


def journalled(world: Any, kind: type) -> list[Any]:
    return [event for _, data in world.store.entries(RUN, 1) if isinstance(event := decode(data).event, kind)]
