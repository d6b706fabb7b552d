"""Sessions of browsers survive a restart; the state folder has digests only, and a damaged file signs everybody out."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from quantd.server.api.access import sessions
from quantd.server.api.access.sessions import FILE, MOST_OF_TOKEN, Sessions
from quantd.server.api.server import Api
from quantd.server.requests.tokens import OWNER, Token, created, owner_of, revoked, token_for
from tests.support.api_world import World, standing_at_the_end
from tests.support.command_line import CONFIG
from tests.support.mqtt import free_port


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    text = CONFIG.replace("[api]\nport = 0", f"[api]\nport = {free_port()}")
    async with standing_at_the_end(tmp_path, text) as world:
        yield world


class Browser:
    """One browser: its cookies, and the CSRF token of its session."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.csrf = ""

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        url = self._world.api.url
        headers = {"Origin": url.rstrip("/"), "X-CSRF-Token": self.csrf}
        async with self._session.post(f"{url}api/v1/{path}", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def sign_in(self, token: str) -> int:
        status, answer = await self.post("sign-in", {"token": token})
        self.csrf = answer.get("csrf", "")
        return status

    async def name(self) -> str:
        async with self._session.get(f"{self._world.api.url}api/v1/session") as response:
            return str((await response.json())["name"])

    async def close(self) -> None:
        await self._session.close()


async def restart(world: Any) -> None:
    """Another API on the same port: a browser sends its cookie there."""
    await world.api.stop()
    world.api = Api(world.service, world.assembly, world.config, world.folder, None)
    await world.api.start()


async def test_a_session_survives_a_restart_and_acts_after_it(world: Any) -> None:
    browser = Browser(world)
    try:
        assert await browser.sign_in(world.token) == 200
        await restart(world)
        assert await browser.name() == OWNER
        assert (await browser.post("commands", {"command": "halt", "reason": "news"}))[0] == 200
        browser.csrf = "forged"
        assert (await browser.post("commands", {"command": "halt"}))[1]["code"] == "csrf"
    finally:
        await browser.close()
    data = (world.folder / FILE).read_bytes()
    assert stat.S_IMODE((world.folder / FILE).stat().st_mode) == 0o600
    assert world.token.encode() not in data
    for secret in (browser.csrf, *(cookie.value for cookie in browser._session.cookie_jar)):
        assert secret.encode() not in data


@pytest.mark.long
async def test_a_revoked_token_and_a_sign_out_end_a_session_for_good(world: Any) -> None:
    _, secret = created(world.folder, "desk", "trade")
    browser, other = Browser(world), Browser(world)
    try:
        await asyncio.sleep(0.6)  # the shortest time between two looks at the file of tokens
        assert (await browser.sign_in(secret), await other.sign_in(world.token)) == (200, 200)
        assert (await other.post("sign-out", {}))[1] == {"name": OWNER}
        revoked(world.folder, "desk")
        await restart(world)
        assert (await browser.name(), await other.name()) == ("", "")
        assert (await browser.post("commands", {"command": "halt"}))[0] == 401
    finally:
        await browser.close()
        await other.close()


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("what", ["damaged", "a folder", "a link", "of others", "a pipe"])
async def test_a_file_that_cannot_be_used_signs_everybody_out_and_lets_them_in_again(world: Any, what: str) -> None:
    browser, path = Browser(world), world.folder / FILE
    try:
        await browser.sign_in(world.token)
        await world.api.stop()
        path.unlink()
        if what == "damaged":
            path.write_bytes(b"no document" * 100)
        elif what == "a folder":
            path.mkdir()
        elif what == "a link":
            (world.folder / "elsewhere").write_bytes(b"of somebody")
            path.symlink_to(world.folder / "elsewhere")
        elif what == "of others":
            path.touch()
            path.chmod(0o666)
        else:
            os.mkfifo(path)
        await restart(world)
        assert await browser.name() == ""
        assert await browser.sign_in(world.token) == 200
        assert (await browser.post("commands", {"command": "halt"}))[0] == 200
        if what == "damaged":
            await restart(world)
            assert await browser.name() == OWNER
        if what == "a link":
            assert (world.folder / "elsewhere").read_bytes() == b"of somebody"
    finally:
        await browser.close()


@pytest.mark.long
async def test_a_full_disk_and_a_slow_one_break_no_sign_in(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(world)
    try:
        await browser.sign_in(world.token)
        (world.folder / FILE).unlink()
        (world.folder / FILE).mkdir()  # no file gets this name
        assert await browser.sign_in(world.token) == 200
        assert await browser.name() == OWNER
        monkeypatch.setattr(sessions, "DISK_S", 0.05)
        async with world.api._guard.sessions._writing:  # an earlier write has not ended
            assert await browser.sign_in(world.token) == 200
    finally:
        await browser.close()


def token(name: str) -> Token:
    return token_for(name, "trade", f"{name}-secret", 1)


async def test_sessions_are_bounded_for_each_token_and_expired_ones_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, desk = Sessions(tmp_path), token("desk")
    for _ in range(MOST_OF_TOKEN + 3):
        await stored.begin(desk)
    await stored.begin(token("other"))
    assert len(stored) == MOST_OF_TOKEN + 1
    await stored.close()
    again = Sessions(tmp_path)
    assert len(again) == MOST_OF_TOKEN + 1
    now = sessions.time.time()
    monkeypatch.setattr(sessions.time, "time", lambda: now + sessions.SESSION_S + 1.0)
    await again.begin(desk)
    assert len(again) == 1
    await again.close()


def test_the_owners_token_has_the_same_digest_at_each_start_and_another_one_for_another_secret(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one secret\n")
    first, again = owner_of(path), owner_of(path)
    path.write_text("another secret\n")
    other = owner_of(path)
    assert first is not None
    assert first.matches(b"one secret")
    assert [owner.digest == first.digest for owner in (again, other) if owner is not None] == [True, False]


@pytest.mark.parametrize("in_time", [True, False])
async def test_a_stop_waits_for_the_write_that_has_begun_and_not_for_a_disk_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_time: bool
) -> None:
    monkeypatch.setattr(sessions, "DISK_S", 30.0 if in_time else 0.05)
    kept = Sessions(tmp_path)
    async with kept._writing:
        closing = asyncio.ensure_future(kept.close())
        await asyncio.sleep(0.2)
        assert closing.done() is not in_time
    await closing
