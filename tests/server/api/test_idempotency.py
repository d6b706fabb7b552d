"""A POST under an idempotency key is carried out once, and its first answer is sent again, after a restart too."""

import asyncio
import contextlib
import json
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from quantd.server.api import idempotency
from quantd.server.api.server import Api
from quantd.trading.events import Flow, Operator
from tests.server.requests.orders_by_hand import journalled
from tests.support.api_world import in_shared_loop, shared, world
from tests.support.checkout import ROOT

__all__ = ["shared", "world"]

CASH = {"do": "add", "amount": "1000.00", "reason": "more"}
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


async def test_another_token_has_keys_of_its_own_and_a_restart_keeps_them(world: Any) -> None:
    first = await post(world, "cash", CASH)
    await world.api.stop()
    world.api = Api(world.service, world.assembly, world.config, world.folder, None)
    await world.api.start()
    world.session._base_url = type(world.session._base_url)(world.api.url)
    assert await post(world, "cash", CASH) == (200, first[1], "true")
    assert len(journalled(world, Flow)) == 1
    assert stat.S_IMODE((world.folder / idempotency.FILE).stat().st_mode) == 0o600


async def test_the_oldest_keys_are_dropped_beyond_the_bound(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST", 3)
    for k in range(4):
        await post(world, "commands", {"command": "halt"}, f"key {k}".replace(" ", "-"))
    assert (await post(world, "commands", {"command": "halt"}, "key-1"))[2] == "true"
    assert (await post(world, "commands", {"command": "halt"}, "key-0"))[2] == ""


async def test_a_file_that_cannot_be_written_refuses_cash_and_obeys_a_halt(world: Any) -> None:
    (world.folder / idempotency.FILE).write_bytes(b"no database" * 100)
    status, text, _ = await post(world, "cash", CASH)
    assert (status, b"nothing was done" in text) == (503, True)
    assert journalled(world, Flow) == []
    assert (await post(world, "commands", {"command": "halt"}))[0] == 200
    assert world.service.shell.state.switch.state == 2


async def test_a_halt_that_a_slow_disk_delays_is_carried_out_once_and_its_key_has_the_answer(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(world, "cash", CASH)
    monkeypatch.setattr(idempotency, "HALT_S", 0.05)
    with contextlib.closing(sqlite3.connect(world.folder / idempotency.FILE)) as disk:
        disk.execute("BEGIN EXCLUSIVE")
        assert (await post(world, "commands", {"command": "halt"}, "slow"))[0] == 200
    monkeypatch.setattr(idempotency, "HALT_S", 10.0)
    status, _, replayed = await post(world, "commands", {"command": "halt"}, "slow")
    assert (status, replayed) == (200, "true")
    assert len(journalled(world, Operator)) == 1


@pytest.mark.parametrize("in_time", [True, False])
async def test_the_file_is_not_closed_while_a_thread_works_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_time: bool
) -> None:
    """A connection that is closed while a thread uses it crashes the process."""
    monkeypatch.setattr(idempotency, "HALT_S", 30.0 if in_time else 0.1)
    keys, begun, disk = idempotency.Keys(tmp_path), threading.Event(), threading.Event()

    def work() -> tuple[int]:
        database = keys._opened()
        begun.set()
        disk.wait(30)
        row: tuple[int] = database.execute("SELECT 7").fetchone()
        return row

    working = keys._start_work(work)
    await asyncio.to_thread(begun.wait, 30)
    closing = asyncio.ensure_future(keys.close())
    if in_time:
        await asyncio.sleep(0.05)
        assert not closing.done()
        disk.set()
    await closing
    assert (keys._database is None) is in_time
    disk.set()
    assert await working == (7,)


KILLED = """
import asyncio, os, sys
from pathlib import Path
from aiohttp.test_utils import make_mocked_request
from quantd.server.api.idempotency import Keys

async def act():
    print("acted", flush=True)
    os._exit(9)

request = make_mocked_request("POST", "/api/v1/cash", headers={"Idempotency-Key": "k"})
asyncio.run(Keys(Path(sys.argv[1])).once(request, "api:owner", b"{}", act, lambda: None, False))
"""


@pytest.mark.long
def test_a_key_whose_daemon_was_killed_is_not_carried_out_again(tmp_path: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    first, second = run(), run()
    assert (first.returncode, first.stdout) == (9, "acted\n")
    assert second.returncode == 1
    assert second.stdout == ""
    assert "its result is not known" in second.stderr
