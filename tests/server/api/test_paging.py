"""Pages of lists: each row once, also while rows arrive, and a cursor of anything else is refused."""

from typing import Any

import pytest

from quantd.server.api.paging import KEYS, cursor_of
from quantd.server.api.routes import read_routes
from tests.support.api_world import RUN, command, get, in_shared_loop

LISTS = {
    "orders": ("/api/v1/orders", "orders"),
    "fills": ("/api/v1/fills", "fills"),
    "decisions": ("/api/v1/decisions", "decisions"),
    "alerts": ("/api/v1/alerts", "alerts"),
    "portfolio": ("/api/v1/portfolio/history", "history"),
    "risk": ("/api/v1/risk/history", "history"),
    "allocations": ("/api/v1/allocations", "allocations"),
    "refusals": ("/api/v1/refusals", "refusals"),
}


async def walked(world: Any, path: str, field: str, limit: int, most: int = 10_000) -> list[Any]:
    """All rows from the newest page to the last."""
    rows: list[Any] = []
    cursor = ""
    while len(rows) < most:
        status, page = await get(world, f"{path}?limit={limit}&cursor={cursor}")
        assert status == 200, page
        assert len(page[field]) <= limit
        rows += page[field]
        cursor = page["next"]
        if not cursor:
            break
    return rows


def test_each_paged_list_is_tested() -> None:
    # the log is of the process, not of the store: routes/test_log_routes.py pages it
    assert LISTS.keys() | {"log"} == KEYS.keys()


async def check_pages(world: Any, name: str) -> None:
    path, field = LISTS[name]
    _, listing = await get(world, f"{path}?limit=10000")
    rows = listing[field]
    assert listing["next"] == ""
    for limit in (7, len(rows)):
        assert await walked(world, path, field, limit) == rows
    assert [row["ts"] for row in rows] == sorted((row["ts"] for row in rows), reverse=True)
    assert len(rows) > 8


@in_shared_loop
@pytest.mark.parametrize("name", ["decisions", "allocations"])
async def test_a_page_of_rounds_is_shorter_where_rounds_are_large(
    shared: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, field = LISTS[name]
    _, listing = await get(shared, f"{path}?limit=10000")
    weights = shared.assembly.universe.size * len(shared.config.agents)
    monkeypatch.setattr(read_routes, "PAGE_WEIGHTS", 3 * weights)
    _, page = await get(shared, path)
    assert (len(page[field]), bool(page["next"])) == (3, True)
    assert await walked(shared, path, field, 3) == listing[field]
    monkeypatch.setattr(read_routes, "PAGE_WEIGHTS", 1)
    assert len((await get(shared, path))[1][field]) == 1


@in_shared_loop
@pytest.mark.parametrize("name", [name for name in LISTS if name != "alerts"])
async def test_pages_have_each_row_once_and_the_newest_first(shared: Any, name: str) -> None:
    await check_pages(shared, name)


async def test_pages_of_alerts_have_each_once_and_the_newest_first(world: Any) -> None:
    # the run itself raises none: a plan that uses a limit in full is no alert
    for k in range(5):
        await command(world, {"command": "halt", "reason": f"alert {k}"}, world.bearer)
        await command(world, {"command": "resume", "reason": f"alert {k}"}, world.bearer)
    await check_pages(world, "alerts")


@in_shared_loop
@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_rounds_of_one_agent_are_its_part_of_all_rounds(shared: Any, limit: int) -> None:
    _, listing = await get(shared, "/api/v1/decisions?limit=10000")
    expected = []
    for decision in listing["decisions"]:
        if part := [line for line in decision["agents"] if line["agent"] == "trend"]:
            expected.append(decision | {"agents": part, "crossed": {}, "net": {}, "allowed": {}, "reasons": {}})
    assert 5 < len(expected) < len(listing["decisions"])
    decisions: list[Any] = []
    cursor = ""
    while not decisions or cursor:
        path = f"/api/v1/decisions?agent=trend&limit={limit}&cursor={cursor}"
        status, page = await get(shared, path)
        assert status == 200, page
        assert len(page["decisions"]) <= limit
        decisions += page["decisions"]
        cursor = page["next"]
    assert decisions == expected
    status, unknown = await get(shared, "/api/v1/decisions?agent=nobody")
    assert status == 404
    assert "trend" in unknown["detail"]


@in_shared_loop
async def test_a_page_without_a_round_of_the_agent_has_the_cursor_of_the_next(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_routes, "SCANNED", 1)
    monkeypatch.setattr(read_routes, "SCANNED_ROWS", 1)
    _, listing = await get(shared, "/api/v1/decisions?limit=10000")
    cursor, pages, row_count = "", 0, 0
    while not pages or cursor:
        _, page = await get(shared, f"/api/v1/decisions?agent=trend&cursor={cursor}")
        cursor, pages, row_count = page["next"], pages + 1, row_count + len(page["decisions"])
    assert pages == len(listing["decisions"])
    assert row_count == sum(
        any(line["agent"] == "trend" for line in decision["agents"]) for decision in listing["decisions"]
    )


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("name", ["risk", "portfolio", "allocations"])
async def test_pages_of_a_short_memory_continue_in_the_store(world: Any, name: str) -> None:
    path, field = LISTS[name]
    expected = await walked(world, path, field, 5)
    ring = getattr(world.service.histories, name)
    while len(ring) > 8:
        ring._rows.popleft()
    again = await walked(world, path, field, 5)
    assert [row["ts"] for row in again] == [row["ts"] for row in expected]


async def test_rows_that_arrive_between_two_pages_move_no_row(world: Any) -> None:
    for k in range(3):
        await command(world, {"command": "halt", "reason": f"before {k}"}, world.bearer)
        await command(world, {"command": "resume", "reason": f"before {k}"}, world.bearer)
    before = await walked(world, "/api/v1/alerts", "alerts", 100)
    _, first = await get(world, "/api/v1/alerts?limit=2")
    await command(world, {"command": "halt", "reason": "between"}, world.bearer)
    _, second = await get(world, f"/api/v1/alerts?limit=2&cursor={first['next']}")
    assert first["alerts"] + second["alerts"] == before[:4]
    assert (await get(world, "/api/v1/alerts?limit=1"))[1]["alerts"] != before[:1]


@in_shared_loop
@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "AAAA",
        cursor_of("fills", RUN, (1, 1)),
        cursor_of("orders", "7f3k2m1b", (1, 1, 1, 1)),
        cursor_of("orders", RUN, (1, 1)),
        cursor_of("orders", RUN, (2**63, 1, 1, 1)),
        cursor_of("orders", RUN, (-2, 1, 1, 1)),
    ],
)
async def test_a_cursor_of_something_else_is_refused(shared: Any, cursor: str) -> None:
    status, problem = await get(shared, f"/api/v1/orders?cursor={cursor}")
    assert (status, problem["code"], [error["field"] for error in problem["errors"]]) == (422, "query", ["cursor"])
