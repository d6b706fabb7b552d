"""A request whose answer was lost is found by its key: running, done or refused; or it is not in the journal."""

import asyncio
from typing import Any

import pytest

from quantd.server.api import commits
from quantd.server.api.server import Api
from quantd.server.requests.tokens import created
from quantd.trading.events import Flow, Operator
from tests.server.api.shut_store import gated
from tests.server.requests.orders_by_hand import journalled
from tests.server.requests.orders_by_hand import post as by_owner
from tests.support.api_world import world
from tests.support.mqtt import until

__all__ = ["world"]

CASH = {"do": "add", "amount": "1000.00", "reason": "more"}
HALT = {"command": "halt", "reason": "news"}


async def post(world: Any, path: str, body: object, key: str) -> int:
    return (await by_owner(world, path, body, key=key))[0]


async def restarted(world: Any) -> None:
    """A new API on the folder, as after a stop of the daemon."""
    await world.api.stop()
    world.api = Api(world.service, world.assembly, world.config, world.folder, None)
    await world.api.start()
    world.session._base_url = type(world.session._base_url)(world.api.url)


async def act(world: Any, key: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    path = f"/api/v1/acts/{key}"
    async with world.session.get(path, headers=world.bearer if headers is None else headers) as response:
        return response.status, await response.json()


@pytest.mark.long
async def test_a_request_is_found_by_its_key_with_its_answer_or_its_refusal(world: Any) -> None:
    assert (await act(world, "one"))[1]["code"] == "no_act"
    await post(world, "commands", HALT, "one")
    status, outcome = await act(world, "one")
    assert (status, outcome["state"], outcome["status"], outcome["text"]) == (200, "done", 200, "")
    assert (outcome["answer"]["switch"], outcome["answer"]["reason"]) == ("HALT", "operator")
    assert await post(world, "commands", HALT | {"agent": "nobody"}, "two") == 404
    status, outcome = await act(world, "two")
    assert (status, outcome["state"], outcome["status"], outcome["answer"]) == (200, "refused", 404, None)
    assert "nobody" in outcome["text"]
    assert len(journalled(world, Operator)) == 1


@pytest.mark.long
async def test_a_request_is_running_until_its_commit_and_one_that_was_not_begun_did_nothing(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "WAIT_S", 0.2)
    async with gated(world):
        assert await post(world, "cash", CASH, "late") == 504
        status, again = await by_owner(world, "cash", CASH, key="late")
        assert (status, "still carried out" in again["detail"]) == (409, True)
        assert (await act(world, "late"))[1]["state"] == "running"
    await until(lambda: not world.api._open._open, "the commit")
    outcome = (await act(world, "late"))[1]
    assert (outcome["state"], outcome["answer"]["amount"]) == ("done", "1000.00")
    assert await post(world, "cash", CASH, "late") == 200
    world.service.status = "starting"
    assert await post(world, "cash", CASH, "early") == 503
    world.service.status = "ended"
    assert (await act(world, "early"))[0] == 404
    assert len(journalled(world, Flow)) == 1


@pytest.mark.long
async def test_a_request_is_found_by_its_sender_alone_and_after_a_restart(world: Any) -> None:
    _, secret = created(world.folder, "desk", "trade")
    await post(world, "cash", CASH, "one")
    await asyncio.sleep(0.6)  # the shortest time between two looks at the file of tokens
    assert (await act(world, "one", {"Authorization": f"Bearer {secret}"}))[0] == 404
    assert (await act(world, "one", {}))[0] == 401  # open_reads: figures need no token, requests do
    await restarted(world)
    assert (await act(world, "one"))[1]["state"] == "done"


async def test_a_key_that_is_none_and_a_question_with_another_parameter_are_refused(world: Any) -> None:
    for asked in ("%20", "x" * 65, "one?age_s=1", "one?age=1"):
        assert (await act(world, asked))[0] == 422, asked
