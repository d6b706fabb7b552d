"""A POST under an idempotency key is carried out once. The key is in its event, so that the journal answers for it
after a kill, too. A request whose answer was lost is found by its key.
"""

import asyncio
import contextlib
import http.client
import json
import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest

from quantd.daemon.engine.state import ActRecord, engine_state
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.server.api import commits, idempotency
from quantd.server.api.route_records import Post
from quantd.server.api.server import Api
from quantd.server.requests.tokens import created
from quantd.trading.events import External, Flow, Operator
from quantd.trading.model_events import Act
from quantd.trading.orders import ScheduleRun
from tests.proofs.kill_switch import Daemon
from tests.server.api.shut_store import gated
from tests.server.requests.orders_by_hand import journalled
from tests.support.api_world import get, in_shared_loop
from tests.support.checkout import ROOT
from tests.support.command_line import program
from tests.support.mqtt import until

CASH = {"do": "add", "amount": "1000.00", "reason": "more"}
HALT = {"command": "halt", "reason": "news"}
KEY = "6f1c2d3e-once"


async def post(world: Any, path: str, body: object, key: str | None = KEY) -> tuple[int, bytes, str]:
    headers = world.bearer | ({} if key is None else {"Idempotency-Key": key})
    async with world.session.post(f"/api/v1/{path}", json=body, headers=headers) as response:
        return response.status, await response.read(), response.headers.get("Idempotency-Replayed", "")


async def test_the_same_request_is_carried_out_once_and_gets_its_first_answer(world: Any) -> None:
    first = await post(world, "cash", CASH)
    assert (first[0], first[2]) == (200, "")
    again = await post(world, "cash", dict(reversed(CASH.items())))
    assert again == (200, first[1], "true")
    assert len(journalled(world, Flow)) == 1
    await post(world, "cash", CASH, key=None)
    await post(world, "cash", CASH, key="another")
    assert len(journalled(world, Flow)) == 3


async def test_a_resume_that_is_sent_again_does_not_end_a_later_halt(world: Any) -> None:
    await post(world, "commands", {"command": "halt"}, key="a")
    await post(world, "commands", {"command": "resume", "reason": "fine"}, key="b")
    await post(world, "commands", {"command": "halt"}, key="c")
    status, _, replayed = await post(world, "commands", {"command": "resume", "reason": "fine"}, key="b")
    assert (status, replayed) == (200, "true")
    assert world.service.shell.state.switch.state == 2
    assert len(journalled(world, Operator)) == 3


async def test_a_halt_that_is_sent_again_is_answered_with_the_present_state(world: Any) -> None:
    paths = {"commands": {"command": "halt"}, "halts": {"do": "halt", "symbol": "SPY", "reason": "news"}}
    resume = {"commands": {"command": "resume"}, "halts": {"do": "resume", "symbol": "SPY"}}
    for path, halt in paths.items():
        first = json.loads((await post(world, path, halt, key=f"{path}-h"))[1])
        again = json.loads((await post(world, path, halt, key=f"{path}-h"))[1])
        assert (first["replayed"], again) == (False, first | {"replayed": True})
        await post(world, path, resume[path] | {"reason": "fine"}, key=f"{path}-r")
        status, body, replayed = await post(world, path, halt, key=f"{path}-h")
        now = json.loads(body)
        assert (status, replayed, now["replayed"]) == (200, "true", True)
        assert now.get("switch", "RUN") == "RUN"
        assert not now.get("halted")
    assert len(journalled(world, Operator)) == 2


async def test_a_halt_by_two_ways_under_one_key_is_carried_out_once(world: Any) -> None:
    body = {"command": "halt", "reason": "news"}
    assert (await post(world, "commands", body))[2] == ""
    door = world.api.context.guard.origins.door
    async with aiohttp.ClientSession(headers=world.bearer | {"Idempotency-Key": KEY}) as session:
        for sent, status in ((body, 200), ({"reason": "news"}, 200), (body | {"reason": "other"}, 422)):
            async with session.post(f"http://127.0.0.1:{door}/halt", json=sent) as response:
                assert response.status == status
    assert len(journalled(world, Operator)) == 1


async def test_a_key_of_another_body_or_path_is_refused(world: Any) -> None:
    await post(world, "cash", CASH)
    for path, body in (("cash", CASH | {"amount": "1.00"}), ("halts", {"do": "halt", "symbol": "SPY", "reason": "x"})):
        status, text, _ = await post(world, path, body)
        assert status == 422
        assert b'"code":"idempotency"' in text
    assert len(journalled(world, Flow)) == 1


@in_shared_loop
@pytest.mark.parametrize("key", ["", "x" * 65, "a b", "ä"])
async def test_a_key_that_is_not_1_to_64_visible_characters_is_refused(shared: Any, key: str) -> None:
    status, text, _ = await post(shared, "cash", CASH, key)
    assert (status, b"1 to 64 visible ASCII" in text) == (422, True)
    assert journalled(shared, Flow) == []


async def test_of_requests_at_the_same_time_one_is_carried_out(world: Any) -> None:
    answers = await asyncio.gather(*(post(world, "cash", CASH) for _ in range(8)))
    assert {status for status, _, _ in answers} <= {200, 409}
    assert sum(status == 200 and not replayed for status, _, replayed in answers) == 1
    assert len(journalled(world, Flow)) == 1


async def test_a_refusal_is_an_answer_but_not_that_the_daemon_is_busy(world: Any) -> None:
    first = await post(world, "commands", {"command": "halt", "agent": "nobody"})
    assert first[0] == 404
    assert await post(world, "commands", {"command": "halt", "agent": "nobody"}) == (404, first[1], "true")
    world.service.status = "starting"
    assert (await post(world, "cash", CASH, "later"))[0] == 503
    world.service.status = "ended"
    assert (await post(world, "cash", CASH, "later"))[0] == 200


async def test_after_a_restart_the_journal_says_that_a_request_was_carried_out(world: Any) -> None:
    await post(world, "cash", CASH)
    await post(world, "commands", {"command": "halt"}, "halt")
    await restarted(world)
    status, text, replayed = await post(world, "cash", CASH)
    assert (status, json.loads(text)["code"], replayed) == (409, "carried_out", "true")
    assert b"the request was carried out at 2019-03-29T20:00:00Z" in text
    assert (await post(world, "cash", CASH | {"amount": "1.00"}))[0] == 422
    status, text, replayed = await post(world, "commands", {"command": "halt"}, "halt")
    assert (status, json.loads(text)["switch"], replayed) == (200, "HALT", "true")
    assert (len(journalled(world, Flow)), len(journalled(world, Operator))) == (1, 1)


async def restarted(world: Any) -> None:
    """Another API of the run, without the answers of the first one."""
    await world.api.stop()
    world.api = Api(world.service, world.assembly, world.config, world.folder, None)
    await world.api.start()
    world.session._base_url = type(world.session._base_url)(world.api.url)


async def test_answers_are_dropped_beyond_the_bound_and_keys_are_not(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "ANSWERS", 3)
    answers = [await post(world, "cash", CASH, f"key-{k}") for k in range(4)]
    assert [status for status, _, _ in answers] == [200] * 4
    again = [await post(world, "cash", CASH, f"key-{k}") for k in range(4)]
    assert [status for status, _, _ in again] == [409, 200, 200, 200]
    assert len(journalled(world, Flow)) == 4


async def test_an_act_of_the_last_day_is_kept_and_an_older_one_only_within_the_bound(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_state, "ACTS_KEPT", 3)
    state = world.service.shell.state
    old = ActRecord(state.now - engine_state.DAY_NS, b"")
    state.acts = {f"api:owner old-{k}": old for k in range(3)}
    for k in range(5):
        await post(world, "cash", CASH, f"new-{k}")
    assert list(state.acts) == [f"api:owner new-{k}" for k in range(5)]
    assert thaw(state.rules, freeze(state)).acts == state.acts


def test_each_event_of_a_request_has_a_key() -> None:
    """A schedule that is run by hand is a row of the log of jobs; only some of them are an event, too."""
    of_people = {kind for kind in get_args(External) if "who" in kind.__struct_fields__}
    assert {kind for kind in of_people if not issubclass(kind, Act)} == {ScheduleRun}


async def test_the_page_says_what_the_key_of_each_request_answers(world: Any) -> None:
    page = (ROOT / "docs/operate/api.md").read_text()
    rows = re.findall(r"^\| (`POST [^|]+) \|", page, re.MULTILINE)
    listed = {path for row in rows for path in re.findall(r"`POST ([^`]+)`", row)}
    routes = {
        re.sub(r"\{\w+\}", lambda name: name[0][1:-1].upper(), route.path).removeprefix("/api/v1")
        for route in world.api._routes
        if isinstance(route, Post) and not route.path.endswith(("/preview", "/predict", "/allocate"))
    }
    assert listed == routes


@pytest.mark.long
def test_the_journal_answers_for_a_key_after_a_kill_9_and_after_a_compaction(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, pace=100.0).start()
    try:
        assert asked(daemon, "cash", CASH, "cash")[0] == 200
        assert asked(daemon, "commands", {"command": "halt"}, "halt")[0] == 200
        assert asked(daemon, "commands", {"command": "halt", "agent": "nobody"}, "none")[0] == 404
        daemon.stop(signal.SIGKILL)
        for _ in range(2):
            daemon.start()
            status, text = asked(daemon, "cash", CASH, "cash")
            assert (status, text["code"]) == (409, "carried_out")
            assert asked(daemon, "cash", CASH | {"amount": "2.00"}, "cash")[0] == 422
            status, text = asked(daemon, "commands", {"command": "halt"}, "halt")
            assert (status, text["switch"], text["replayed"]) == (200, "HALT", True)
            assert asked(daemon, "acts/cash")[1]["state"] == asked(daemon, "acts/halt")[1]["state"] == "done"
            for absent in ("none", "never"):  # refused before it became an event, and never sent
                assert asked(daemon, f"acts/{absent}")[1]["code"] == "no_act"
            daemon.stop(signal.SIGTERM)
            done = program(tmp_path, "store", "compact", "--keep-days", "0")
            assert done.returncode == 0, done.stderr
    finally:
        daemon.stop(signal.SIGKILL)


@pytest.mark.long
def test_a_halt_on_a_full_disk_is_not_in_the_journal_after_a_kill_9_and_the_switch_answers(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, pace=100.0).start()
    try:
        assert daemon.process is not None
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        status, text = asked(daemon, "commands", {"command": "halt", "reason": "full"}, "halt")
        assert (status, text["switch"], bool(text["unrecorded"])) == (200, "HALT", True)
        assert asked(daemon, "cash", CASH, "cash")[0] == 503
        assert asked(daemon, "switches")[1]["switches"][0]["switch"] == "HALT"
        daemon.stop(signal.SIGKILL)
        daemon.start()
        for key in ("halt", "cash"):
            assert asked(daemon, f"acts/{key}")[1]["code"] == "no_act"
        house = asked(daemon, "switches")[1]["switches"][0]
        assert (house["switch"], house["cause"]) == ("RUN", None)
        assert asked(daemon, "commands", {"command": "halt", "reason": "again"}, "halt")[1]["switch"] == "HALT"
        house = asked(daemon, "switches")[1]["switches"][0]
        assert (house["cause"]["who"], house["cause"]["text"]) == ("api:owner", "again")
    finally:
        daemon.stop(signal.SIGKILL)


def asked(daemon: Daemon, path: str, body: object = None, key: str = "") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {daemon.token}"}
    headers |= {"Idempotency-Key": key} if key else {}
    try:
        connection.request("POST" if body else "GET", f"/api/v1/{path}", json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


async def act(world: Any, key: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    return await get(world, f"/api/v1/acts/{key}", headers=world.bearer if headers is None else headers)


@pytest.mark.long
async def test_a_request_is_found_by_its_key_with_its_answer_or_its_refusal(world: Any) -> None:
    assert (await act(world, "one"))[1]["code"] == "no_act"
    await post(world, "commands", HALT, "one")
    status, outcome = await act(world, "one")
    assert (status, outcome["state"], outcome["status"], outcome["text"]) == (200, "done", 200, "")
    assert (outcome["answer"]["switch"], outcome["answer"]["reason"]) == ("HALT", "operator")
    assert (await post(world, "commands", HALT | {"agent": "nobody"}, "two"))[0] == 404
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
        assert (await post(world, "cash", CASH, "late"))[0] == 504
        status, text, _ = await post(world, "cash", CASH, "late")
        assert (status, b"still carried out" in text) == (409, True)
        assert (await act(world, "late"))[1]["state"] == "running"
    await until(lambda: not world.api._open._open, "the commit")
    outcome = (await act(world, "late"))[1]
    assert (outcome["state"], outcome["answer"]["amount"]) == ("done", "1000.00")
    assert (await post(world, "cash", CASH, "late"))[0] == 200
    world.service.status = "starting"
    assert (await post(world, "cash", CASH, "early"))[0] == 503
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
    for asked_key in ("%20", "x" * 65, "one?age_s=1", "one?age=1"):
        assert (await act(world, asked_key))[0] == 422, asked_key


@pytest.mark.long
@pytest.mark.usefixtures("capsys")  # the log is no file then
async def test_a_halt_on_a_full_disk_is_answered_by_the_switch(world: Any) -> None:
    """Nothing of the halt is on the disk; an order needs the journal, and did nothing."""
    with no_bytes():
        assert (await post(world, "commands", HALT, "halt"))[0] == 200
        assert (await post(world, "cash", CASH, "one"))[0] == 503
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
