"""Who or what moved a switch, and when, beside the switch itself."""

from typing import Any

import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.runtime.switch_causes import HOUSE, SwitchCauses
from quantd.trading.events import Operator
from tests.support.api_world import get, world

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
    cause = now["agents"][1]["cause"]
    assert (cause["who"], cause["text"], cause["since_ts"]) == ("api:owner", "spreads: wide", now["ts"])
    await post(world, {"command": "reduce", "reason": "first"})
    await post(world, {"command": "halt", "reason": ""})
    _, now = await get(world, "/api/v1/status")
    assert (now["cause"]["who"], now["cause"]["text"]) == ("api:owner", "no reason given")
    assert now["cause"]["since"][:10] == "2019-03-29"
    await post(world, {"command": "resume", "reason": "fine"})
    _, now = await get(world, "/api/v1/status")
    assert now["cause"] is None


@pytest.mark.long
async def test_a_second_move_and_an_acknowledgement_leave_the_instant_and_the_sender(world: Any) -> None:
    service = world.service
    await post(world, {"command": "reduce", "reason": "first"})
    service.inbox.command(Operator(service.shell.state.now, "halt", "RUN to: the sea", "desk: night"))
    while service.shell.state.switch.state != 2:
        await service.changed(0.05)
    await post(world, {"command": "reduce", "reason": "odd", "agent": "trend"})
    _, active = await get(world, "/api/v1/alerts/active")
    [halted] = [incident for incident in active["incidents"] if incident["kind"] == "switch" and not incident["agent"]]
    path = f"/api/v1/alerts/{halted['id']}/acknowledge"
    async with world.session.post(path, json={"reason": "seen"}, headers=world.bearer) as response:
        assert response.status == 200
    _, now = await get(world, "/api/v1/status")
    cause = now["cause"]
    assert (cause["who"], cause["text"], cause["since_ts"]) == ("desk: night", "RUN to: the sea", now["ts"])

    # a restart reads the same from the store
    restarted = SwitchCauses()
    restarted.read(Reader.open(world.folder))
    assert (restarted.of(HOUSE), restarted.of("trend")) == (
        service.histories.causes.of(HOUSE),
        service.histories.causes.of("trend"),
    )
    assert restarted.of("trend") is not None
