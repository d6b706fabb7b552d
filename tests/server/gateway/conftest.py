"""The program of the tests of the gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.server.gateway.gateway_bot import Bot, bot_of


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    async with bot_of(tmp_path) as bot:
        yield bot
