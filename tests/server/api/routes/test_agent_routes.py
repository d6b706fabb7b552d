"""A book's events and the end of its proposals, from the journal of a market that goes on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from quantd.adapters.store.queries import Reader
from quantd.server.api.routes.agent_routes import Following, Within
from tests.server.api.routes.outside_run import REVIEWED, market, promote
from tests.server.requests.orders_by_hand import get
from tests.support.api_world import in_shared_loop


async def propose(world: Any, id: str, **targets: Any) -> Any:
    body = targets | {"id": id, "reason": "a test"}
    async with world.session.post("/api/v1/agents/guest/propose", json=body) as response:
        answer = await response.json()
        assert response.status == 200, answer
        return answer


async def test_wait_answers_when_the_orders_are_filled_and_after_its_bound_with_what_is_open(tmp_path: Path) -> None:
    async with market(tmp_path) as world:
        promote(world)
        done = await propose(world, "a-1", weights={"SPY": 0.3, "IWM": 0.2})
        status, early = await get(world, "agents/guest/wait/a-1?within=0.2")
        assert (status, early["ended"], early["outcome"]) == (200, False, done["verdict"]["outcome"]), early
        asked = {line["symbol"]: line["passed"] for line in done["verdict"]["symbols"] if line["passed"] != "0"}
        assert {row["symbol"]: row["qty"] for row in early["orders"]} == asked
        assert {row["state"] for row in early["orders"]} == {"open"}
        waiting = [asyncio.create_task(get(world, "agents/guest/wait/a-1")) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in waiting)
        assert (await asyncio.wait_for(get(world, "agents/guest/standing"), 2.0))[0] == 200
        await world.go(2)
        for status, end in await asyncio.gather(*waiting):
            assert (status, end["ended"]) == (200, True), end
            assert {row["symbol"]: row["filled"] for row in end["orders"]} == asked
            assert {row["state"] for row in end["orders"]} == {"filled"}
            assert all(float(row["price"]) > 1.0 for row in end["orders"])
        assert (await get(world, "agents/guest/wait/none"))[0] == 404
        assert (await get(world, "agents/nobody/wait/a-1"))[0] == 404
        assert (await get(world, "agents/guest/wait/a-1?within=61"))[0] == 422
        assert Within().within == 50.0


async def test_wait_for_a_person_ends_with_the_decision_or_the_next_sample(tmp_path: Path) -> None:
    async with market(tmp_path, REVIEWED) as world:
        promote(world)
        await propose(world, "r-1", weights={"SPY": 0.1})
        waiting = asyncio.create_task(get(world, "agents/guest/wait/r-1"))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await world.go(2)
        _, end = await waiting
        assert (end["ended"], end["outcome"], end["orders"]) == (True, "lapsed", [])


async def test_wait_for_orders_that_follow_cancelled_ones_ends_with_these(tmp_path: Path) -> None:
    async with market(tmp_path) as world:
        await propose(world, "a-1", weights={"SPY": 0.3})
        second = await propose(world, "a-2", weights={"SPY": 0.1})
        assert "its open order is cancelled first, and it is traded later" in second["verdict"]["text"]
        assert (second["verdict"]["outcome"], second["repeated"]) == ("waits", False)
        assert (await propose(world, "a-2", weights={"SPY": 0.1}))["repeated"] is True
        for condition in ({"whole": True}, {"expires": "2019-01-01T00:00:00Z"}, {"plan": "0" * 32}):
            again = {"id": "a-2", "reason": "r", "weights": {"SPY": 0.1}} | condition
            async with world.session.post("/api/v1/agents/guest/propose", json=again) as response:
                assert (response.status, (await response.json())["code"]) == (409, "duplicate")
        _, first = await get(world, "agents/guest/wait/a-1")
        assert (first["ended"], [row["state"] for row in first["orders"]]) == (True, ["cancelled"])
        _, early = await get(world, "agents/guest/wait/a-2?within=0.2")
        assert (early["ended"], early["orders"]) == (False, [])
        waiting = asyncio.create_task(get(world, "agents/guest/wait/a-2"))
        await world.go(3)
        _, end = await waiting
        assert (end["ended"], [(row["filled"], row["state"]) for row in end["orders"]]) == (True, [("10", "filled")])


async def test_wait_does_not_end_at_a_sample_that_was_committed_after_its_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market(tmp_path) as world:
        await propose(world, "a-1", weights={"SPY": 0.3})
        await propose(world, "a-2", weights={"SPY": 0.1})
        loop, read, reads = asyncio.get_running_loop(), Following.read, []

        def late(self: Following, reader: Reader) -> None:
            read(self, reader)
            if not reads:
                asyncio.run_coroutine_threadsafe(world.go(1), loop).result(20)
            reads.append(self.newest)

        monkeypatch.setattr(Following, "read", late)
        _, end = await get(world, "agents/guest/wait/a-2?within=0.1")
        assert not (end["ended"] and not end["orders"])
        assert reads


async def test_wait_does_not_end_at_a_sample_that_is_not_committed_yet(tmp_path: Path) -> None:
    async with market(tmp_path) as world:
        await propose(world, "a-1", weights={"SPY": 0.3})
        await propose(world, "a-2", weights={"SPY": 0.1})
        journal, state = world.service.journal, world.service.shell.state
        journal.seq, state.sample = journal.seq + 1, state.sample + 10**18
        try:
            _, end = await get(world, "agents/guest/wait/a-2?within=0.1")
        finally:
            journal.seq, state.sample = journal.seq - 1, state.sample - 10**18
        assert (end["ended"], end["orders"]) == (False, [])


async def test_events_are_those_of_the_own_book_after_an_entry(tmp_path: Path) -> None:
    async with market(tmp_path) as world:
        _, before = await get(world, "agents/guest/events")
        await propose(world, "a-1", weights={"SPY": 0.3})
        await world.go(2)
        _, answer = await get(world, f"agents/guest/events?since={before['next']}")
        kinds = [event["kind"] for event in answer["events"]]
        assert kinds[0] == "proposal"
        assert "proposal a-1 of api:owner" in answer["events"][0]["text"]
        fills = [event for event in answer["events"] if event["kind"] == "fill"]
        assert fills
        _, end = await get(world, "agents/guest/wait/a-1")
        texts = {
            f"{'bought' if row['filled'][0] != '-' else 'sold'} {row['filled'].lstrip('-')} at {row['price']}"
            for row in end["orders"]
        }
        assert {fill["text"].rpartition(", ")[0] for fill in fills} == texts
        assert (answer["book"], answer["more"]) == ("guest", False)
        _, later = await get(world, f"agents/guest/events?since={answer['next']}")
        assert (later["events"], later["next"]) == ([], answer["next"])
        status, beyond = await get(world, f"agents/guest/events?since={answer['next'] + 10**6}")
        assert (status, "begin without since" in beyond["detail"]) == (409, True), beyond
        read, since = [], before["next"]
        for _ in range(20):
            _, page = await get(world, f"agents/guest/events?since={since}&limit=1")
            read, since = read + page["events"], page["next"]
        assert read == answer["events"]


@in_shared_loop
async def test_the_calendar_has_the_sessions_after_the_present_instant(shared: Any) -> None:
    async with shared.session.get("/api/v1/calendar?limit=3") as response:
        answer = await response.json()
    assert (answer["time"], answer["status"], answer["open"]) == ("2019-03-29T20:00:00Z", "ended", False)
    assert (answer["interval"], answer["calendar"], answer["next_sample"]) == ("1d", "XNYS", "2019-04-01T20:00:00Z")
    assert answer["sessions"][0] == {
        "date": "2019-04-01", "open": "2019-04-01T13:30:00Z", "close": "2019-04-01T20:00:00Z",
    }  # fmt: skip
    assert [row["date"] for row in answer["sessions"]] == ["2019-04-01", "2019-04-02", "2019-04-03"]
