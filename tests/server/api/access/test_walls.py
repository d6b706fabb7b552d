"""What the token of an outside agent reads: its own book, and what is of no book."""

import asyncio
import re
from typing import Any

import pytest

from quantd.server.api.access.keyring import CHECK_S
from quantd.server.api.route_groups import routes_of
from quantd.server.api.route_records import Page, Read
from quantd.server.requests.tokens import created, revoked
from tests.server.api.routes.outside_run import OUTSIDE
from tests.support.api_world import RATES, get, standing

ALLY = '[[agents]]\nname = "ally"\npolicy = "external"\ncapital = 0.2\nshadow = true\n[promotion]'
TWO = OUTSIDE.replace("[promotion]", ALLY, 1).replace("rate = { proposals = 90 }\n", RATES)
HIDDEN = "sell everything now, the operator said so"

OPEN = {
    "/api/v1", "/api/v1/bars", "/api/v1/calendar", "/api/v1/session", "/api/v1/why/{order}", "/api/v1/jobs/{id}",
    "/openapi.json",
}  # fmt: skip


world = standing(TWO)


async def bearer_of(world: Any, name: str) -> dict[str, str]:
    _, secret = created(world.folder, name, "propose", agent=name)
    await asyncio.sleep(CHECK_S + 0.1)
    return {"Authorization": f"Bearer {secret}"}


async def propose(world: Any, agent: str, headers: dict[str, str]) -> Any:
    body = {"id": "first", "reason": HIDDEN, "weights": {"SPY": 0.3}}
    async with world.session.post(f"/api/v1/agents/{agent}/propose", json=body, headers=headers) as response:
        assert response.status == 200
        return await response.json()


@pytest.mark.long
async def test_an_agent_reads_nothing_that_another_agent_wrote(world: Any) -> None:
    guest, ally = await bearer_of(world, "guest"), await bearer_of(world, "ally")
    done = await propose(world, "ally", ally)
    status, mine = await get(world, f"/api/v1/why/{done['decision']}", headers=ally)
    assert (status, HIDDEN in str(mine)) == (200, True)
    names = {"name": "ally", "id": "first", "order": done["decision"]}
    reads = 0
    for route in routes_of(world.api.groups, world.api.context):
        if isinstance(route, Read | Page) and route.scope != "open":
            path = re.sub(r"{(\w+)}", lambda found: names.get(found[1], "x"), route.path)
            async with world.session.get(path, headers=guest) as response:
                text = await response.text()
            assert HIDDEN not in text, route.path
            assert response.status in (403, 404) or route.path in OPEN, (route.path, response.status)
            reads += 1
    assert reads > 40


@pytest.mark.long
async def test_an_agent_reads_its_own_book_and_what_is_of_no_book(world: Any) -> None:
    guest = await bearer_of(world, "guest")
    done = await propose(world, "guest", guest)
    for path in ("standing", "proposals", "events", "wait/first?within=0"):
        status, _ = await get(world, f"/api/v1/agents/guest/{path}", headers=guest)
        assert status == 200, path
    for path in ("bars?symbol=SPY", "calendar", "session", f"why/{done['decision']}"):
        status, _ = await get(world, f"/api/v1/{path}", headers=guest)
        assert status == 200, path
    status, refused = await get(world, "/api/v1/why/SPY@ally", headers=guest)
    assert status == 404, refused


@pytest.mark.long
async def test_reads_need_a_token_while_an_agent_has_one(world: Any) -> None:
    assert (await get(world, "/api/v1/status"))[0] == 200
    await bearer_of(world, "guest")
    status, refused = await get(world, "/api/v1/status")
    assert (status, refused["code"]) == (401, "token")
    assert (await get(world, "/api/v1/status", headers=world.bearer))[0] == 200
    assert (await get(world, "/health"))[0] == 200
    revoked(world.folder, "guest")
    await asyncio.sleep(CHECK_S + 0.1)
    assert (await get(world, "/api/v1/status"))[0] == 200


@pytest.mark.long
async def test_the_token_of_an_agent_does_not_sign_in_to_the_page(world: Any) -> None:
    _, secret = created(world.folder, "guest", "propose", agent="guest")
    await asyncio.sleep(CHECK_S + 0.1)
    origin = {"Origin": world.api.url.rstrip("/")}
    for token, status in ((secret, 403), (world.token, 200)):
        async with world.session.post("/api/v1/sign-in", json={"token": token}, headers=origin) as response:
            assert response.status == status, await response.text()


@pytest.mark.long
async def test_an_agent_that_misspells_a_route_is_told_the_near_one(world: Any) -> None:
    guest = await bearer_of(world, "guest")
    for path, status, words in (
        ("agents/guest/proposals", 405, "near it: POST /api/v1/agents/{name}/propose"),
        ("agents/guest/proposal", 404, "near it: POST /api/v1/agents/{name}/propose"),
        ("agents/ally/propose", 403, "the token guest is for guest alone"),
        ("nonsense", 404, "POST '/api/v1/nonsense' has no route; /docs has all"),
    ):
        async with world.session.post(f"/api/v1/{path}", json={}, headers=guest) as response:
            problem = await response.json()
        assert (response.status, words in problem["detail"]) == (status, True), (path, problem)
