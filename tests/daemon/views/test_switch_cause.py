"""Who or what moved a switch, and when, beside the switch itself."""

from typing import Any

from quantd.trading.events import Condition
from tests.daemon.api.test_api import get, world

__all__ = ["world"]


async def post(world: Any, body: object) -> None:
    async with world.session.post("/api/v1/commands", json=body, headers=world.bearer) as response:
        assert response.status == 200


async def test_the_status_has_the_sender_the_reason_and_the_instant_of_a_halt(world: Any) -> None:
    _, now = await get(world, "/api/v1/status")
    assert now["cause"] is None
    await post(world, {"command": "reduce", "reason": "spreads: wide", "agent": "trend"})
    _, now = await get(world, "/api/v1/status")
    assert (now["cause"], now["agents"][0]["cause"]) == (None, None)
    found = now["agents"][1]["cause"]
    assert (found["who"], found["text"], found["since_ts"]) == ("api:owner", "spreads: wide", now["ts"])
    await post(world, {"command": "reduce", "reason": "first"})
    await post(world, {"command": "halt", "reason": ""})
    _, now = await get(world, "/api/v1/status")
    assert (now["cause"]["who"], now["cause"]["text"]) == ("api:owner", "no reason given")
    assert now["cause"]["since"][:10] == "2019-03-29"
    await post(world, {"command": "resume", "reason": "fine"})
    _, now = await get(world, "/api/v1/status")
    assert now["cause"] is None


async def test_the_status_has_the_condition_that_moved_a_switch(world: Any) -> None:
    service = world.service
    service.inbox.command(Condition(service.shell.state.now, "clock", False, "it jumped by 9 s"))
    while service.shell.state.switch.state == 0:
        await service.changed(0.05)
    await service.changed(0.05)
    _, now = await get(world, "/api/v1/status")
    assert (now["switch"], now["cause"]["who"]) == ("REDUCE", "")
    assert "it jumped by 9 s" in now["cause"]["text"]
