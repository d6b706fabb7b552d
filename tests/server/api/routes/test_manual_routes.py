"""The preview of a manual order: it sends nothing, and an order with its plan is refused once that has changed."""

import pytest

from tests.support.api_world import RUN, World, standing_at_the_end
from tests.support.command_line import CONFIG

ORDER = {"side": "sell", "qty": "5", "symbol": "SPY", "agent": "trend", "reason": "r"}


async def post(world: World, path: str, **changed: str) -> tuple[int, dict[str, object]]:
    async with world.session.post(f"/api/v1/orders{path}", json=ORDER | changed, headers=world.bearer) as response:
        return response.status, await response.json()


@pytest.mark.requirement("R-207")
async def test_an_order_with_the_plan_of_a_preview_is_refused_once_it_would_become_another(tmp_path) -> None:
    async with standing_at_the_end(tmp_path, CONFIG) as world:
        before = world.store.last_seq(RUN)
        status, preview = await post(world, "/preview")
        assert (status, preview["would"]["allowed"]) == (200, "5")
        assert (await post(world, "/preview", reason="another"))[1] == preview
        assert world.store.last_seq(RUN) == before
        plan = str(preview["plan"])
        assert (await post(world, "", as_planned=plan, qty="6"))[0] == 409
        status, done = await post(world, "", as_planned=plan)
        assert (status, done["allowed"]) == (200, "5")
        async with world.session.post("/api/v1/commands", json={"command": "halt"}, headers=world.bearer) as response:
            assert response.status == 200
        status, refused = await post(world, "", as_planned=plan)
        assert (status, refused["code"]) == (409, "conflict")
        assert "preview it again" in str(refused["detail"])
