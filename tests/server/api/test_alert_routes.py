"""Incidents over HTTP: the API and the store agree, and an acknowledgement is in the journal."""

import pytest

from quantd.adapters.store.handle import read_only
from quantd.trading.codec import decode
from quantd.trading.effects import LimitMoved
from quantd.trading.events import Acknowledged, Condition
from tests.support.api_world import RUN, get


async def acknowledge(world, incident, reason="seen", headers=None):
    path = f"/api/v1/alerts/{incident}/acknowledge"
    headers = world.bearer if headers is None else headers
    async with world.session.post(path, json={"reason": reason}, headers=headers) as response:
        return response.status, await response.json()


async def fail(world, what, up=False):
    await world.service.inbox.command(Condition(world.service.shell.state.now, what, up, "of the test"))


async def active(world, query=""):
    status, answer = await get(world, f"/api/v1/alerts/active{query}")
    assert status == 200, answer
    return answer["incidents"]


def of_kind(rows, kind):
    return [row for row in rows if row["kind"] == kind]


@pytest.mark.long
@pytest.mark.requirement("R-186", "R-197")
async def test_a_forced_breach_appears_as_the_store_has_it_and_a_healthy_run_has_none(world):
    before = await active(world)
    assert of_kind(before, "feed") == []
    await fail(world, "feed")
    (shown,) = of_kind(await active(world), "feed")
    assert (shown["level"], shown["state"], shown["acknowledged_by"]) == ("CRITICAL", "raised", "")
    (stored,) = [i for i in read_only(world.folder, world.folder).incidents(RUN).active() if i.kind == "feed"]
    assert {name: shown[name] for name in ("id", "level", "text", "since_ts", "state", "value", "bound")} == {
        name: getattr(stored, name) for name in ("id", "level", "text", "since_ts", "state", "value", "bound")
    }
    with world.store.connection() as driver:
        rows = driver.execute("SELECT id, state FROM incidents WHERE kind = 'feed'").fetchall()
    assert [tuple(row) for row in rows] == [(shown["id"], "raised")]
    await fail(world, "feed", up=True)
    assert of_kind(await active(world), "feed") == []


@pytest.mark.requirement("R-197")
async def test_a_limit_beyond_its_bound_has_value_bound_and_present_value(world):
    moved = LimitMoved(world.service.shell.state.now, [(-1, "max_drawdown", 0, 3, 0.3, 0.2, True)])
    world.service.journal.add(Condition(moved.ts, "upkeep", False, "of the test"), [moved])
    await fail(world, "clock")
    (shown,) = of_kind(await active(world), "limit_max_drawdown")
    assert (shown["value"], shown["bound"]) == (0.3, 0.2)
    assert shown["now"] is not None
    assert "max_drawdown is at 0.3" in shown["text"]


@pytest.mark.requirement("R-186")
async def test_an_acknowledgement_has_who_and_why_is_journalled_and_is_made_once(world):
    await fail(world, "feed")
    (shown,) = of_kind(await active(world), "feed")
    status, seen = await acknowledge(world, shown["id"], "the vendor knows")
    assert (status, seen["state"], seen["reason"]) == (200, "acknowledged", "the vendor knows")
    assert seen["acknowledged_by"]
    assert seen["acknowledged"]
    events = [decode(data).event for _, data in world.store.entries(RUN)]
    (event,) = [e for e in events if isinstance(e, Acknowledged)]
    assert (event.incident, event.reason, event.who) == (shown["id"], "the vendor knows", seen["acknowledged_by"])
    assert of_kind(await active(world), "feed") == [seen]
    status, problem = await acknowledge(world, shown["id"])
    assert status == 409
    assert "acknowledged already, by" in problem["detail"]
    await fail(world, "feed", up=True)
    status, problem = await acknowledge(world, shown["id"])
    assert status == 409
    assert "cleared already" in problem["detail"]
