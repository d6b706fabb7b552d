"""A request whose answer was lost is found by its key: running, done, refused, or with a result that is not known."""

import asyncio
import contextlib
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quantd.server.api import commits, idempotency
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


async def killed(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart before which the daemon did not end by itself."""
    await ended(world, monkeypatch)
    await started(world)


async def ended(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An end at which the daemon wrote nothing about its keys."""

    async def unmarked() -> None: ...

    monkeypatch.setattr(world.api._keys, "close", unmarked)
    await world.api.stop()


def unwritable(world: Any) -> None:
    with contextlib.closing(sqlite3.connect(world.folder / idempotency.FILE)) as database, database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON keys BEGIN SELECT RAISE(FAIL, 'the disk is full'); END")


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


async def test_the_result_of_a_request_is_not_known_after_a_kill(world: Any) -> None:
    await post(world, "cash", CASH, "one")
    with contextlib.closing(sqlite3.connect(world.folder / idempotency.FILE)) as database, database:
        database.execute("UPDATE keys SET status = 0, body = ''")  # a kill between the commit and the answer
    await restarted(world)
    status, outcome = await act(world, "one")
    assert (status, outcome["state"], outcome["status"]) == (200, "unknown", 0)
    assert "the daemon stopped while it carried out" in outcome["text"]


@pytest.mark.long
async def test_an_answer_that_a_failing_disk_did_not_take_is_found_while_the_daemon_runs(world: Any) -> None:
    await post(world, "cash", CASH, "before")
    with contextlib.closing(sqlite3.connect(world.folder / idempotency.FILE)) as database, database:
        database.execute("CREATE TRIGGER full BEFORE UPDATE ON keys BEGIN SELECT RAISE(FAIL, 'the disk is full'); END")
    await post(world, "cash", CASH, "one")
    assert (await act(world, "one"))[1]["state"] == "done"
    await world.api.stop()
    (world.folder / idempotency.FILE).write_bytes(b"no database" * 100)
    await started(world)
    assert await post(world, "commands", HALT, "two") == 200
    assert (await act(world, "two"))[1]["answer"]["switch"] == "HALT"
    assert (await act(world, "three"))[0] == 503


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("key", ["%20", "x" * 65])
async def test_a_key_that_is_none_is_refused(world: Any, key: str) -> None:
    assert (await act(world, key))[0] == 422


async def test_a_question_makes_no_file(world: Any) -> None:
    assert (await act(world, "one"))[0] == 404
    assert not (world.folder / idempotency.FILE).exists()


@pytest.mark.long
async def test_a_key_that_is_older_than_the_kept_ones_is_not_known(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST", 3)
    began = time.monotonic()
    await post(world, "cash", CASH, "dropped")
    await asyncio.sleep(0.3)
    for k in range(3):
        assert (await act(world, "never", question=f"?age_s={time.monotonic() - began + 10}"))[0] == 404
        await post(world, "cash", CASH, f"k{k}")
    for age_s, state in ((time.monotonic() - began, "unknown"), (1e9, "unknown"), (0.0, "")):
        status, outcome = await act(world, "dropped", question=f"?age_s={age_s}")
        assert (status, outcome.get("state", "")) == ((200, state) if state else (404, "")), age_s
    assert "older than the newest 3 keys" in (await act(world, "dropped", question="?age_s=1000"))[1]["text"]
    assert (await act(world, "k2", question="?age_s=1000"))[1]["state"] == "done"
    await restarted(world)
    assert (await act(world, "dropped", question="?age_s=1000"))[1]["state"] == "unknown"


@pytest.mark.long
@pytest.mark.parametrize("first", [True, False])
async def test_a_halt_whose_key_was_not_recorded_is_not_known_after_a_restart(world: Any, first: bool) -> None:
    if not first:
        await post(world, "cash", CASH, "one")
        await restarted(world)
    await post(world, "cash", CASH, "two")
    unwritable(world)
    began = time.monotonic()
    assert await post(world, "commands", HALT, "halt") == 200
    assert (await act(world, "halt", question="?age_s=1&command=yes"))[1]["state"] == "done"
    await restarted(world)
    await asyncio.sleep(idempotency.LATENCY_S + 0.2)
    age_s = time.monotonic() - began
    status, outcome = await act(world, "halt", question=f"?age_s={age_s}&command=yes")
    assert (status, outcome["state"]) == (200, "unknown")
    assert "obeyed on a full disk" in outcome["text"]
    assert (await act(world, "halt", question=f"?age_s={age_s}"))[0] == 404  # an order without a record did nothing
    assert (await act(world, "halt", question="?age_s=0.05&command=yes"))[0] == 404  # it came after the restart
    await restarted(world)  # the mark of an end does not vouch for the process before
    assert (await act(world, "halt", question=f"?age_s={time.monotonic() - began}&command=yes"))[1][
        "state"
    ] == "unknown"


@contextlib.contextmanager
def no_bytes(_: Path) -> Iterator[None]:
    """A disk without a free block: no file of this process can grow, an empty one can be made."""
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, bounds[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)


@contextlib.contextmanager
def no_inodes(folder: Path) -> Iterator[None]:
    """A disk without a free inode: the file of the keys cannot be made. A link that leads nowhere prevents it here."""
    (file := folder / idempotency.FILE).symlink_to("nowhere")
    yield
    file.unlink()


@pytest.mark.long
@pytest.mark.usefixtures("capsys")  # the log is no file then
@pytest.mark.parametrize(("full", "keyed"), [(no_bytes, True), (no_bytes, False), (no_inodes, False)])
async def test_a_halt_on_a_disk_that_is_full_from_the_start_on_is_not_known_after_a_kill(
    world: Any,
    monkeypatch: pytest.MonkeyPatch,
    full: Callable[[Path], contextlib.AbstractContextManager[None]],
    keyed: bool,
) -> None:
    if keyed:
        await post(world, "cash", CASH, "one")
    await restarted(world)  # an orderly stop with room: its mark must not vouch for this process
    with full(world.folder):  # a start itself needs room
        began = time.monotonic()
        assert await post(world, "commands", HALT, "halt") == 200
        await ended(world, monkeypatch)
    await started(world)
    question = f"?age_s={time.monotonic() - began}&command=yes"
    status, outcome = await act(world, "halt", question=question)
    assert (status, outcome.get("state")) == (200, "unknown")


@pytest.mark.long
async def test_a_halt_that_never_arrived_is_denied_after_a_stop_and_not_known_after_a_kill(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.sleep(idempotency.LATENCY_S + 0.2)
    began = time.monotonic()  # the first daemon of the folder ran
    await restarted(world)
    question = f"?age_s={time.monotonic() - began}&command=yes"
    assert (await act(world, "lost", question=question))[0] == 404  # no key was ever used
    await post(world, "commands", HALT, "one")
    await restarted(world)
    assert (await act(world, "lost", question=question))[0] == 404
    assert (await act(world, "one", question=question))[1]["state"] == "done"
    await killed(world, monkeypatch)
    assert (await act(world, "lost", question=question))[1]["state"] == "unknown"


async def test_a_key_whose_answer_is_in_memory_has_that_answer_when_it_is_sent_again(world: Any) -> None:
    await post(world, "cash", CASH, "before")
    unwritable(world)
    assert await post(world, "commands", HALT, "one") == 200
    number = len(journalled(world, Operator))
    assert await post(world, "commands", HALT, "one") == 200
    assert len(journalled(world, Operator)) == number == 1
    assert await post(world, "commands", HALT | {"reason": "another"}, "one") == 422
    assert (await act(world, "one"))[1]["state"] == "done"


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("question", ["?age_s=-1", "?age_s=nan", "?command=maybe", "?age=1"])
async def test_a_question_with_another_parameter_is_refused(world: Any, question: str) -> None:
    assert (await act(world, "one", question=question))[0] == 422
