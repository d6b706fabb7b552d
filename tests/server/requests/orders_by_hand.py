"""A run that takes orders by hand, and what it has journalled."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from quantd.trading.codec import decode
from tests.support.api_world import RUN, standing_at_the_end
from tests.support.command_line import CONFIG

BY_HAND = (
    CONFIG.replace("max_position_weight = 0.25", "max_position_weight = 0.6")
    + "\n[manual]\ncapital = 0.1\nlimits = { max_position_weight = 0.5, allow_short = true }\n"
)


@pytest.fixture
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    async with standing_at_the_end(tmp_path, getattr(request, "param", BY_HAND)) as trading_world:
        yield trading_world


async def post(world: Any, path: str, body: object, bearer: bool = True, key: str = "") -> tuple[int, Any]:
    headers = (world.bearer if bearer else {}) | ({"Idempotency-Key": key} if key else {})
    async with world.session.post(f"/api/v1/{path}", json=body, headers=headers) as response:
        return response.status, await response.json()


async def get(world: Any, path: str) -> tuple[int, Any]:
    async with world.session.get(f"/api/v1/{path}", headers=world.bearer) as response:
        return response.status, await response.json()


def journalled(world: Any, kind: type) -> list[Any]:
    return [event for _, data in world.store.entries(RUN, 1) if isinstance(event := decode(data).event, kind)]
