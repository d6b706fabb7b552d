"""Programs that take every connection and the whole rate of reads: a person halts all the same, five times of five."""

import asyncio
import contextlib
import json
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, expect
from structlog.testing import capture_logs

from quantd.server.api import server
from quantd.server.api.access import guard
from quantd.server.api.client_side.transport import Address, exchange
from quantd.server.api.place import SOCKET
from quantd.server.api.routes import dashboard_routes
from quantd.server.requests.tokens import TokenRefused, created, revoked
from tests.proofs.halt_flood import flooded, halt, rearm
from tests.proofs.kill_switch import Daemon, daemon
from tests.server.api.dashboard.screens import browser, in_module_loop
from tests.support.api_world import get, standing_at_the_end
from tests.support.browser import DESK, PHONE, opened
from tests.support.mqtt import until

__all__ = ["browser"]


@pytest.fixture(scope="module")
def trading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("flooded"), 5.0, "2001-01-02") as target:
        yield target


HALTS = 5
FLOODS = ("headers", "streams", "bodies", "reads", "door")
"""Of the API; `door` are half headers at the port for halts: the shell has the Unix socket, and a page its link."""

OF_PAGES = ("streams", "reads", "door")
"""Those that an open page meets in continuous integration: they take what the page itself uses."""


@contextlib.contextmanager
def under(d: Daemon, kind: str) -> Iterator[None]:
    """A flood of the API, by strangers or with a token of scope `read`; the daemon is at RUN when it begins."""
    if d.halted:  # by a test that failed
        rearm(d)
    while not d.stamps.empty():
        d.stamps.get()
    token = ""
    if kind in ("bodies", "reads"):
        with contextlib.suppress(TokenRefused):
            revoked(d.folder / "state", "flood")
        token = created(d.folder / "state", "flood", "read")[1]
        time.sleep(1.0)  # until the daemon knows it
    port, kind = (d.halt_port, "headers") if kind == "door" else (d.port, kind)
    with flooded(port, kind, token):
        yield


@pytest.mark.requirement("R-235")
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "way"),
    [
        pytest.param(kind, way, marks=() if (row + column) % 2 else pytest.mark.slow)
        for row, kind in enumerate(FLOODS)
        for column, way in enumerate(["api", "command"])
        if (kind, way) != ("door", "api")
    ],
)
def test_a_flood_of_the_api_keeps_nobody_from_halting(trading: Daemon, kind: str, way: str) -> None:
    with under(trading, kind):
        for _ in range(HALTS):
            took = halt(trading, way)[2]  # one attempt: a refusal raises
            # on a machine with other work the answer may take the command's second: then the file has halted
            assert took == "api" or (way, took) == ("command", "file")
            if took == "file":
                time.sleep(2.0)  # the request that the command no longer waits for
            rearm(trading)
    assert trading.late == 0


@pytest.mark.requirement("R-235")
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "width"),
    [
        pytest.param(kind, width, marks=() if (row + column) % 2 and kind in OF_PAGES else pytest.mark.slow)
        for row, kind in enumerate(FLOODS)
        for column, width in enumerate([DESK, PHONE])
    ],
)
@in_module_loop
async def test_a_flood_of_the_api_keeps_no_open_page_from_halting(
    trading: Daemon, kind: str, width: int, browser: Browser
) -> None:
    url = f"http://127.0.0.1:{trading.port}/"
    async with opened(browser, url, width, trading.token) as page:
        await expect(page.locator("header .link")).to_have_text("link up")
        with under(trading, kind):
            for _ in range(HALTS):
                await page.get_by_role("button", name=re.compile("^Halt")).first.click()
                if kind == "door":
                    await page.keyboard.press("Enter")
                else:
                    async with page.expect_response(re.compile(r"/halt$"), timeout=60_000) as answer:
                        await page.keyboard.press("Enter")
                    # 409: the page asks again on a slow machine, while its first request is carried out
                    assert (await answer.value).status in (200, 409)
                await asyncio.to_thread(trading.moved, "HALT")
                await expect(page.get_by_role("dialog")).to_have_count(0)
                rearm(trading)
    assert trading.late == 0


@pytest.mark.requirement("R-235")
@pytest.mark.long
async def test_the_port_for_halts_has_a_bound_of_its_own_on_bytes_seconds_and_connections(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world:
        door = json.loads((world.folder / "api.json").read_text())["halt_port"]
        url = f"http://127.0.0.1:{door}"
        crowd = [await asyncio.open_connection("127.0.0.1", door) for _ in range(server.DOOR_CONNECTIONS + 8)]
        assert [await reader.read() for reader, _ in crowd[:8]] == [b""] * 8  # the oldest are cut
        async with aiohttp.ClientSession(url, headers=world.bearer) as session:
            for path, body, status in (
                ("/switch", None, 200), ("/halt", {"reason": "x"}, 200), ("/reduce", {}, 200),
                ("/halt", {"command": "reduce"}, 422), ("/halt", {"reason": "x" * 5_000}, 413),
                ("/api/v1/status", None, 404),
                ("/api/v1/commands", {"command": "resume", "reason": "x"}, 404),
            ):  # fmt: skip
                async with session.request("POST" if body is not None else "GET", path, json=body) as response:
                    assert response.status == status, path
        began = time.monotonic()
        assert await crowd[-1][0].read() == b""  # half a header, and none
        late, writer = await asyncio.open_connection("127.0.0.1", door)
        writer.write(b"POST /halt HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        writer.write(f"Authorization: {world.bearer['Authorization']}\r\nContent-Length: 9\r\n\r\n".encode())
        assert (await late.readline()).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 3 * guard.DOOR_S
        for _, each in (*crowd, (late, writer)):
            each.close()


async def test_the_socket_for_halts_is_of_this_user_alone_and_needs_the_token(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world:
        assert stat.S_IMODE((world.folder / SOCKET).stat().st_mode) == 0o600
        address = Address("", 0, socket=world.folder / SOCKET)
        head = {"Content-Type": "application/json"}
        for headers, status in ((head, 401), (head | world.bearer, 200)):
            answer = await asyncio.to_thread(exchange, address, "POST", "/halt", headers, b'{"reason": "x"}')
            assert answer.status == status
    assert not (world.folder / SOCKET).exists()


@pytest.mark.parametrize(
    ("scope", "origin", "status"),
    [
        ("read", "", 403), ("metrics", "", 403), ("trade", "", 200), ("admin", "", 200),
        ("trade", "https://evil.example", 403), ("trade", "http://127.0.0.1:1", 403), ("", "", 401),
    ],
)  # fmt: skip
async def test_who_may_halt_at_the_port_for_halts(tmp_path: Path, scope: Any, origin: str, status: int) -> None:
    async with standing_at_the_end(tmp_path) as world:
        headers = {"Origin": origin} if origin else {}
        if scope:
            headers["Authorization"] = f"Bearer {created(world.folder, 'one', scope)[1]}"
            await asyncio.sleep(0.6)
        door = world.api.context.guard.origins.door
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{door}/halt"
            async with session.post(url, json={"reason": "x"}, headers=headers) as response:
                assert response.status == status
                assert "Access-Control-Allow-Origin" not in response.headers
        assert (world.service.shell.state.switch.state == 2) is (status == 200)


async def test_a_flood_of_reads_does_not_make_a_probe_take_the_daemon_for_dead(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world:
        probes, reads = [], []
        for _ in range(60):
            if 429 in reads:  # the rate is used up, which takes more of them on a slow machine
                break
            reads += [status for status, _ in await asyncio.gather(*(get(world, "/api/v1/status") for _ in range(60)))]
            probes.append((await get(world, "/health"))[0])
        assert 429 in reads
        assert set(probes) == {200}
        for _ in range(300):  # nor does a flood of probes
            probes.append((await get(world, "/health"))[0])
        assert set(probes) == {200}


@pytest.mark.long
async def test_streams_have_a_bound(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world, contextlib.AsyncExitStack() as stack:

        async def opened() -> int:
            response = await stack.enter_async_context(world.session.get("/api/v1/events"))
            return response.status

        assert [await opened() for _ in range(dashboard_routes.STREAMS + 1)] == [200] * dashboard_routes.STREAMS + [503]


@pytest.mark.long
async def test_a_stream_whose_client_has_left_gives_its_place_back_without_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard_routes, "KEEPALIVE_S", 3_600.0)  # no write finds the closed connection
    async with standing_at_the_end(tmp_path) as world:
        with capture_logs() as lines:
            async with world.session.get("/api/v1/events") as stream:
                await stream.content.readline()
                assert world.api.context.streams == 1
                stream.close()
            await until(lambda: world.api.context.streams == 0, "the place is free")
        assert lines == []
