"""A request whose answer was lost is found by its key: running, done or refused; or it is not in the journal."""

import asyncio
import contextlib
import resource
from collections.abc import Iterator
from typing import Any

import pytest

from quantd.server.api import commits
from quantd.server.api.server import Api
from quantd.server.requests.tokens import created
from quantd.trading.events import Flow, Operator
from tests.server.api.shut_store import gated
from tests.server.requests.orders_by_hand import journalled
from tests.support.api_world import world
from tests.support.mqtt import until

__all__ = ["world"]

CASH = {"do": "add", "amount": "1000.00", "reason": "more"}
HALT = {"command": "halt", "reason": "news"}


async def post(world: Any, path: str, body: object, key: str) -> int:
    headers = world.bearer | {"Idempotency-Key": key}
    async with world.session.post(f"/api/v1/{path}", json=body, headers=headers) as response:
        return int(response.status)


async def restarted(world: Any) -> None:
    """A new API on the folder, as after a stop of the daemon."""
    await world.api.stop()
    await started(world)


async def started(world: Any) -> None:
    world.api = Api(world.service, world.assembly, world.config, world.folder, None)
    await world.api.start()
    world.session._base_url = type(world.session._base_url)(world.api.url)


async def act(
    world: Any, key: str, headers: dict[str, str] | None = None, question: str = ""
) -> tuple[int, dict[str, Any]]:
    path = f"/api/v1/acts/{key}{question}"
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
        assert (await act(world, "late"))[1]["state"] == "running"
    await until(lambda: not world.api._open._open, "the commit")
    outcome = (await act(world, "late"))[1]
    assert (outcome["state"], outcome["answer"]["amount"]) == ("done", "1000.00")
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


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("key", ["%20", "x" * 65])
async def test_a_key_that_is_none_is_refused(world: Any, key: str) -> None:
    assert (await act(world, key))[0] == 422


@pytest.mark.long
@pytest.mark.usefixtures("capsys")  # the log is no file then
async def test_a_halt_on_a_full_disk_is_answered_by_the_switch(world: Any) -> None:
    """Nothing of the halt is on the disk; an order needs the journal, and did nothing."""
    with no_bytes():
        assert await post(world, "commands", HALT, "halt") == 200
        assert await post(world, "cash", CASH, "one") == 503
        assert (await act(world, "halt"))[1]["answer"]["unrecorded"]
        async with world.session.get("/api/v1/switches") as response:
            house = (await response.json())["switches"][0]
        assert (house["switch"], house["cause"]["who"], house["cause"]["text"]) == ("HALT", "api:owner", "news")
        assert (await act(world, "one"))[1]["code"] == "no_act"


@contextlib.contextmanager
def no_bytes() -> Iterator[None]:
    """A disk without a free block: no file of this process can grow."""
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, bounds[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("question", ["?age_s=1", "?age=1"])
async def test_a_question_with_another_parameter_is_refused(world: Any, question: str) -> None:
    assert (await act(world, "one", question=question))[0] == 422
