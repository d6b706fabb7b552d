"""Trades that limits cut or refused: all of the run, with their counts, searches and pages."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from quantd.daemon.views.addresses import AskedLine, refused_lines
from tests.support.api_world import RATES, World, standing_at_the_end
from tests.support.command_line import CONFIG

in_module_loop = pytest.mark.asyncio(loop_scope="module")

ALL = 1_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with standing_at_the_end(tmp_path_factory.mktemp("refusals"), CONFIG + RATES) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lines(shared: World) -> list[AskedLine]:
    """Every cut trade of the run as the command line lists it, the newest first."""
    oldest_first = await shared.api.context.run.read(lambda reader: refused_lines(reader, last=ALL))
    return oldest_first[::-1]


async def read(world: World, path: str) -> Any:
    async with world.session.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()


def places(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["address"], row["who"]) for row in rows]


@in_module_loop
async def test_totals_are_those_of_the_run_and_not_of_the_page(shared: World, lines: list[AskedLine]) -> None:
    page = await read(shared, "/api/v1/refusals?limit=1&totals=yes")
    refused = sum(line.allowed == "0" for line in lines)
    assert page["totals"] == {"all": len(lines), "refused": refused, "cut": len(lines) - refused}
    assert min(page["totals"].values()) > 0
    assert len(page["refusals"]) == 1
    assert (await read(shared, "/api/v1/refusals?limit=1"))["totals"] == {}


@in_module_loop
@pytest.mark.parametrize("group", ["all", "cut", "refused"])
async def test_pages_of_a_group_reach_its_oldest_trade_once_each(
    shared: World, lines: list[AskedLine], group: str
) -> None:
    fits = {
        "all": lambda line: True,
        "cut": lambda line: line.allowed != "0",
        "refused": lambda line: line.allowed == "0",
    }
    expected = [(line.address, line.who) for line in lines if fits[group](line)]
    rows, cursor = [], ""
    while True:
        page = await read(shared, f"/api/v1/refusals?limit=7&group={group}&cursor={cursor}")
        rows += page["refusals"]
        if not (cursor := page["next"]):
            break
    assert places(rows) == expected


@in_module_loop
async def test_a_search_looks_at_symbol_owner_side_limit_and_address(shared: World, lines: list[AskedLine]) -> None:
    oldest, limit = lines[-1], Counter(line.reason for line in lines).most_common()[-1][0]
    searches = {
        oldest.symbol.lower(): lambda line: line.symbol == oldest.symbol,
        oldest.address: lambda line: line.address == oldest.address,
        oldest.address.partition(":")[0]: lambda line: (
            line.address.partition(":")[0] == oldest.address.partition(":")[0]
        ),
        oldest.who: lambda line: line.who == oldest.who,
        limit: lambda line: limit in line.reason,
        limit.replace("_", " "): lambda line: limit in line.reason,
        "sel": lambda line: line.side == "sell",
        "no such text": lambda line: False,
        "d": lambda line: any("d" in text.lower() for text in (line.symbol, line.who, line.reason)),
        "d999999999999999999": lambda line: False,
    }
    for text, fits in searches.items():
        page = await read(shared, f"/api/v1/refusals?limit=500&totals=yes&search={quote(text)}")
        expected = [(line.address, line.who) for line in lines if fits(line)]
        assert places(page["refusals"]) == expected[:500], text
        assert page["totals"]["all"] == len(expected), text


@in_module_loop
async def test_an_instant_and_a_symbol_limit_the_totals(shared: World, lines: list[AskedLine]) -> None:
    middle = lines[len(lines) // 2]
    page = await read(shared, f"/api/v1/refusals?limit=500&totals=yes&since={middle.ts}&symbol={middle.symbol}")
    expected = [line for line in lines if line.ts >= middle.ts and line.symbol == middle.symbol]
    assert page["totals"]["all"] == len(expected) > 0
    assert places(page["refusals"]) == [(line.address, line.who) for line in expected]
    assert (await read(shared, "/api/v1/refusals?totals=yes&symbol=NONE"))["totals"]["all"] == 0


@in_module_loop
async def test_a_cursor_of_another_list_is_refused(shared: World) -> None:
    cursor = (await read(shared, "/api/v1/orders?limit=1"))["next"]
    async with shared.session.get(f"/api/v1/refusals?cursor={cursor}") as response:
        assert response.status == 422
