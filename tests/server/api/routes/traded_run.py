"""A run with deposits, a withdrawal and a portfolio, and what the API answers of it."""

import contextlib
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.server.api.model_worlds import Halfway, halfway
from tests.server.api.routes.portfolio_texts import CORE
from tests.support.api_world import RATES, get
from tests.support.command_line import CONFIG, quantd

TEXT = (
    CONFIG.replace("[universe]\n", '[universe]\nbenchmark = "SPY"\n')
    .replace("spread_bp = 0", "spread_bp = 2")
    .replace("lookback = 60", "lookback = 5")
    .replace('agents = ["trend"]', 'agents = ["trend", "even"]')
    .replace("[api]\n", f"[api]\n{RATES}")
    + "\n[portfolios]\nplaces = 1\n"
)
"""Two agents that trade each session against each other, so that lots cross."""


@contextlib.asynccontextmanager
async def traded(folder: Path, text: str = TEXT) -> AsyncIterator[Halfway]:
    """A run with a deposit, a withdrawal and a portfolio in its middle, that goes on to its last bar."""
    async with halfway(folder, count=170, text=text) as world:
        assert 0 < world.service.shell.ts < world.assembly.feed.last_ts
        for path, body in (
            ("/api/v1/cash", {"do": "add", "amount": "5000.00", "reason": "monthly"}),
            ("/api/v1/portfolios", {**CORE, "capital": "3000"}),
            ("/api/v1/cash", {"do": "remove", "amount": "1000.50", "reason": "rent"}),
        ):
            status, answer = await world.post(path, body)
            assert status == 200, answer.get("detail", answer)
        await world.feed()
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Halfway]:
    async with traded(tmp_path_factory.mktemp("profit")) as traded_world:
        yield traded_world


@pytest.fixture(scope="module")
def statement(world: Halfway) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The days and the lines of `quantd report --statement`."""
    config, out = world.folder.parent / "config.toml", world.folder.parent / "lines.csv"
    done = quantd(world.folder.parent, "report", "--statement", "--config", str(config), "--out", str(out), "--json")
    return json.loads(done.stdout)["days"], list(csv.DictReader(io.StringIO(out.read_text())))


async def ok(world: Any, path: str) -> Any:
    status, answer = await get(world, path)
    assert status == 200, answer.get("detail", answer)
    return answer


async def window(world: Any, query: str) -> str:
    period = await ok(world, f"/api/v1/period?{query}")
    return f"since={period['since']}" + ("" if period["until"] is None else f"&until={period['until']}")
