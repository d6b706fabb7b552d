"""Fixtures of servers that run for one test."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest


def running_server(build: Callable[[], Any]) -> Any:
    """A fixture: what `build` returns, started before the test and stopped after it."""

    @pytest.fixture
    async def server() -> AsyncIterator[Any]:
        built = build()
        await built.start()
        yield built
        await built.stop()

    return server
