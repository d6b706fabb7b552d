"""The link of a tab: each control acts from many windows, behind slow reads and proxies, and in a browser that blocks.

A cell is one control in one situation. `make test-page` runs the cells beyond those of CI.
"""

import asyncio
import contextlib
import itertools
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from quantd.server.requests.tokens import created
from tests.server.api.dashboard.controls import CONTROLS, SENDER, TEXT, Control, halt, kind, run, send
from tests.server.api.dashboard.screens import in_module_loop, show
from tests.server.api.dashboard.stage import Stage
from tests.support.api_world import RUN, World, standing_at_the_end
from tests.support.browser import sign_in
from tests.support.mqtt import free_port
from tests.support.services import require

NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://127.0.0.1:{to}; proxy_set_header Host $http_host; proxy_buffering off;
  }} }}
}}
"""
"""A proxy as it is without a line about WebSockets: it does not pass the upgrade on."""

BLOCKED = """
for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, {
  get() { throw new DOMException("The operation is insecure.", "SecurityError"); },
});
"""
A_LID = "{ const now = Date.now.bind(Date); Date.now = () => now() + (window.shut || 0); }"
AN_HOUR_AHEAD = "{ const now = Date.now.bind(Date); Date.now = () => now() + 3600000; }"

IS_LOST = """async () => {
  const { daemon } = await import(new URL("daemon.js", document.querySelector("script[type=module]").src).href);
  return daemon.lost; }"""

HOLD_READS = """async (count) => {
  const { read } = await import(new URL("daemon.js", document.querySelector("script[type=module]").src).href);
  for (let k = 0; k < count; k += 1) read("/api/v1/risk/metrics", 60000).catch(() => {}); }"""


@dataclass
class Place:
    """A page in a situation. `arm` brings the last part of it about, once the form is open, and `calm` ends it."""

    page: Page
    link: str = "link up"
    arm: Callable[[], Awaitable[None]] | None = None
    calm: Callable[[], Awaitable[None]] | None = None
    windows: list[Page] = field(default_factory=list)


@dataclass
class Desk:
    """A daemon and a browser, with the place that the newest cell was in."""

    world: World
    browser: Browser
    secret: str
    stack: contextlib.AsyncExitStack
    situation: str = ""
    place: Place | None = None

    async def profile(self, *scripts: str) -> BrowserContext:
        """A new profile of the browser."""
        context = await self.browser.new_context(viewport={"width": 1280, "height": 800})
        self.stack.push_async_callback(context.close)
        context.set_default_timeout(20_000)
        for script in scripts:
            await context.add_init_script(script)
        return context

    async def signed_in(self, context: BrowserContext, url: str = "") -> Page:
        page = await context.new_page()
        await page.goto(url or self.world.api.url)
        await sign_in(page, self.secret)
        return page


def windows(count: int) -> Callable[[Desk], Awaitable[Place]]:
    """As many tabs of the page in one profile."""

    async def place(desk: Desk) -> Place:
        context = await desk.profile()
        page = await desk.signed_in(context)
        others = [await context.new_page() for _ in range(count - 1)]
        for other in others:
            await other.goto(desk.world.api.url)
            await expect(other.locator("header .switch")).to_contain_text("RUN", timeout=60_000)
            await expect(other.locator("header .link")).to_have_text("link up", timeout=60_000)
        await page.bring_to_front()
        return Place(page, windows=others)

    return place


async def slow_reads(desk: Desk) -> Place:
    """Six reads under way, each on one of the browser's connections for the daemon, in another tab."""
    context = await desk.profile()
    page = await desk.signed_in(context)
    other = await context.new_page()
    await other.goto(desk.world.api.url)
    turn = desk.world.api.context.run._turn

    async def arm() -> None:
        await turn.acquire()
        await other.evaluate(HOLD_READS, 6)
        await asyncio.sleep(0.3)
        asked = page.evaluate("fetch('/api/v1', { signal: AbortSignal.timeout(700) }).then(() => 'read', () => 'none')")
        assert await asked == "none"  # no connection is left for a read

    async def calm() -> None:
        turn.release()

    return Place(page, arm=arm, calm=calm)


async def no_upgrade(desk: Desk) -> Place:
    """nginx before the daemon, which does not pass an upgrade on."""
    program, port = require("nginx")["nginx"], free_port()
    folder = Path(desk.world.folder) / f"nginx-{port}"
    folder.mkdir()
    to = int(desk.world.api.url.rsplit(":", 1)[1].strip("/"))
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port, to=to))
    process = await asyncio.create_subprocess_exec(program, "-c", str(folder / "conf"), "-p", str(folder))

    async def end() -> None:
        process.terminate()
        await process.wait()

    desk.stack.push_async_callback(end)
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        await asyncio.sleep(0.05)
    page = await desk.signed_in(await desk.profile(), f"http://127.0.0.1:{port}/")
    return Place(page, "no link: the page asks every 2 s, as its WebSocket was refused")


async def storage_blocked(desk: Desk) -> Place:
    return Place(await desk.signed_in(await desk.profile(BLOCKED)))


async def clock_off(desk: Desk) -> Place:
    return Place(await desk.signed_in(await desk.profile(AN_HOUR_AHEAD)))


async def offline(desk: Desk) -> Place:
    """The browser has no network while the act is sent."""
    context = await desk.profile()
    page = await desk.signed_in(context)
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")

    async def network(off: bool) -> None:
        await context.set_offline(off)

    return Place(page, arm=lambda: network(True), calm=lambda: network(False))


async def frozen(desk: Desk) -> Place:
    """The tab was frozen, as a browser does with a tab in the background, and is thawed before the act."""
    context = await desk.profile()
    page = await desk.signed_in(context)
    session = await context.new_cdp_session(page)

    async def arm() -> None:
        await session.send("Page.setWebLifecycleState", {"state": "frozen"})
        await asyncio.sleep(1.0)
        await session.send("Page.setWebLifecycleState", {"state": "active"})

    return Place(page, arm=arm)


SITUATIONS: dict[str, Callable[[Desk], Awaitable[Place]]] = {
    "6 windows": windows(6),
    "12 windows": windows(12),
    "30 windows": windows(30),
    "six slow reads": slow_reads,
    "no upgrade": no_upgrade,
    "storage blocked": storage_blocked,
    "clock an hour ahead": clock_off,
    "offline": offline,
    "frozen": frozen,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> AsyncIterator[Desk]:
    text = TEXT.replace("[api]\nport = 0", f"[api]\nport = {free_port()}")
    async with standing_at_the_end(tmp_path_factory.mktemp("link"), text) as world:
        _, secret = created(world.folder, SENDER, "admin")
        await asyncio.sleep(0.6)  # the shortest time between two looks at the file of tokens
        expect.set_options(timeout=20_000)
        made = Desk(world, browser, secret, contextlib.AsyncExitStack())
        yield made
        await made.stack.aclose()
        expect.set_options(timeout=5_000)


async def place_of(desk: Desk, situation: str) -> Place:
    """The page in a situation, of the cell before where that was in the same one."""
    if desk.place is None or desk.situation != situation:
        await desk.stack.aclose()
        desk.stack = contextlib.AsyncExitStack()
        await run(desk.world)
        desk.situation, desk.place = situation, await SITUATIONS[situation](desk)
    return desk.place


def entries(world: World, before: tuple[int, int]) -> int:
    """The number of acts of the sender since then."""
    stage = Stage(world, None, "")  # type: ignore[arg-type]  # without a page it only counts
    stage.research_before = before[1]
    return stage.entries(before[0])


async def cell(desk: Desk, control: Control, situation: str) -> None:
    place = await place_of(desk, situation)
    page, world = place.page, desk.world
    await control.ready(world)
    await page.evaluate("location.hash = 'now'")
    await show(page, control.screen)
    await expect(page.locator("header .link")).to_have_text(place.link)
    await control.open(page)
    before = world.store.last_seq(RUN), entries(world, (world.store.last_seq(RUN), 0))
    said, fault = page.locator(".said"), page.locator("dialog[open] [role=alert], main .card [role=alert]")
    try:
        if place.arm is not None:
            await place.arm()
        await send(page, control)
        if situation == "offline":
            await asyncio.sleep(1.0)
            assert place.calm is not None
            await place.calm()
            either = said.filter(has_text=control.done).or_(fault.filter(has_text=control.negated))
            await expect(either.first).to_be_visible(timeout=40_000)
            # what the page says is what the journal has
            assert (entries(world, before) > 0) == (await said.inner_text() != "")
            return
        if control.entries:
            await expect(said).to_contain_text(control.done)
            assert entries(world, before) == control.entries
        else:
            await expect(fault.filter(has_text=control.negated)).to_have_count(1)
            assert entries(world, before) == 0
        if control.name == "halt":
            for window in place.windows:
                await expect(window.locator("header .switch")).to_contain_text("HALT", timeout=60_000)
    finally:
        if place.calm is not None and situation != "offline":
            await place.calm()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await control.undo(world)


def cells() -> list[Any]:
    """Every control in every situation. Those of CI are a halt in each, and one of each other kind in one of them."""
    table, kinds, situations = [], {"stop"}, itertools.cycle(SITUATIONS)
    in_ci = {("halt", situation) for situation in SITUATIONS}
    for control in CONTROLS:
        if kind(control) not in kinds:
            kinds.add(kind(control))
            in_ci.add((control.name, next(situations)))
    for situation, control in itertools.product(SITUATIONS, CONTROLS):
        marks = () if (control.name, situation) in in_ci else pytest.mark.slow
        table.append(pytest.param(control, situation, id=f"{control.name}-{situation}", marks=marks))
    return table


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize(("control", "situation"), cells())
async def test_an_act_leaves_the_browser_and_the_page_says_what_became_of_it(
    desk: Desk, control: Control, situation: str
) -> None:
    await cell(desk, control, situation)


@pytest.mark.long
@in_module_loop
async def test_a_browser_that_keeps_no_cookie_is_told_so_and_how_to_halt(desk: Desk) -> None:
    context = await desk.profile()

    async def without_cookie(route: Any) -> None:
        response = await route.fetch()
        kept = {name: text for name, text in response.headers.items() if name.lower() != "set-cookie"}
        await context.clear_cookies()  # playwright has kept the one that it fetched
        await route.fulfill(response=response, headers=kept)

    await context.route("**/api/v1/sign-in", without_cookie)
    page = await context.new_page()
    await page.goto(desk.world.api.url)
    await page.get_by_role("button", name="Sign in …").click()
    await page.locator("#token").last.fill(desk.secret)
    await page.locator("#token").last.press("Enter")
    alert = page.get_by_role("dialog").get_by_role("alert")
    await expect(alert).to_contain_text("this browser did not keep the cookie of the session: allow cookies")
    await expect(alert).to_contain_text("quantd halt")
    await expect(page.locator("header .link")).to_have_text("link up")  # the daemon is not blamed
    await expect(page.get_by_role("button", name="Halt …")).to_have_count(0)


@pytest.mark.long
@in_module_loop
async def test_a_session_that_ended_is_renewed_behind_six_slow_reads(desk: Desk) -> None:
    place = await place_of(desk, "six slow reads")
    page = place.page
    assert place.arm is not None
    assert place.calm is not None
    await run(desk.world)
    await page.keyboard.press("h")
    desk.world.api._guard.sessions._open.clear()
    await place.arm()
    try:
        await page.keyboard.press("Enter")
        token = page.locator("#act-token")
        await token.fill(desk.secret)
        await token.press("Enter")
        await expect(page.locator("header .switch")).to_contain_text("HALT")
    finally:
        await place.calm()
        await run(desk.world)


@pytest.mark.slow
@in_module_loop
async def test_a_frozen_link_is_not_called_up(desk: Desk) -> None:
    """A daemon that takes what is sent and answers nothing: the link is lost within two beats, and up again after."""
    page = (await place_of(desk, "clock an hour ahead")).page
    await expect(page.locator("header .link")).to_have_text("link up")
    manager = desk.world.api.context.server
    assert manager is not None
    handler = manager.request_handler

    async def silent(request: Any) -> Any:
        await asyncio.sleep(3600)

    manager.request_handler = silent
    try:
        await expect(page.locator("header .link")).to_contain_text("link lost")
        await expect(page.locator("header .switch")).to_contain_text("last known: RUN")
    finally:
        manager.request_handler = handler
    await expect(page.locator("header .link")).to_have_text("link up", timeout=40_000)


@pytest.mark.long
@in_module_loop
async def test_a_link_is_up_only_where_an_answer_came_though_nothing_has_failed_yet(desk: Desk) -> None:
    """A lid that was shut for an hour: no request has failed, and the newest answer is an hour old."""
    context = await desk.profile(A_LID)
    page = await context.new_page()
    await page.goto(desk.world.api.url)
    link, switch = page.locator("header .link"), page.locator("header .switch")
    await expect(link).to_have_text("link up")
    manager = desk.world.api.context.server
    assert manager is not None
    handler, go_on = manager.request_handler, asyncio.Event()

    async def held(request: Any) -> Any:
        await go_on.wait()
        return await handler(request)

    manager.request_handler = held
    try:
        await page.evaluate("window.shut = 3600000")
        await expect(link).to_have_text(re.compile("link lost, figures .* old"), timeout=2_500)  # failure: 4 s
        assert await page.evaluate(IS_LOST) is False
        await expect(switch).to_contain_text("last known: RUN")
    finally:
        go_on.set()
        manager.request_handler = handler
    await expect(link).to_have_text("link up", timeout=40_000)
    assert "last known" not in await switch.inner_text()


HELLO = {"csrf": ""}
STATUS = {"id": 1, "method": "GET", "path": "/api/v1/acts/none"}
HALT = {"id": 2, "method": "POST", "path": "/api/v1/commands", "key": "k-1", "body": {"command": "halt"}}


@in_module_loop
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Authorization": "Bearer wrong"}, 401),
    ],
)
async def test_a_link_of_another_page_or_host_is_refused(desk: Desk, headers: dict[str, str], status: int) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await desk.world.session.ws_connect("/api/v1/link", headers=headers)
    assert refused.value.status == status


@in_module_loop
async def test_an_address_of_a_link_without_an_upgrade_names_the_other_ways(desk: Desk) -> None:
    async with desk.world.session.get("/api/v1/link") as response:
        assert response.status == 426
        assert "/api/v1/events" in (await response.json())["detail"]


@in_module_loop
async def test_an_act_by_the_link_passes_the_checks_of_a_form(desk: Desk) -> None:
    """The cookie of a session without its CSRF token reads only; with it, one key is one act."""
    world = desk.world
    await run(world)
    origin = world.api.url.rstrip("/")
    async with aiohttp.ClientSession(world.api.url) as session:
        async with session.post("/api/v1/sign-in", json={"token": desk.secret}) as response:
            cookies = {name: cookie.value for name, cookie in response.cookies.items()}
            csrf = (await response.json())["csrf"]
        headers = {"Origin": origin, "Cookie": "; ".join(f"{name}={text}" for name, text in cookies.items())}

        async def answers(hello: dict[str, str], *messages: dict[str, Any], **more: str) -> dict[int, tuple[int, Any]]:
            got: dict[int, tuple[int, Any]] = {}
            async with session.ws_connect("/api/v1/link", headers=headers | more) as link:
                await link.send_json(hello)
                for message in messages:
                    await link.send_json(message)
                while len(got) < len(messages):
                    answer = await asyncio.wait_for(link.receive_json(), 20)
                    if "id" in answer:
                        got[answer["id"]] = answer["status"], answer["body"]
            return got

        assert (await answers(HELLO, HALT))[2][0] == 403
        assert (await answers({"csrf": "wrong"}, HALT))[2][1]["code"] == "csrf"
        assert world.service.shell.state.switch.state == 0
        before = world.store.last_seq(RUN)
        first = await answers({"csrf": csrf}, HALT, STATUS)
        assert first[2][0] == 200
        assert first[1][0] == 404
        again = await answers({"csrf": csrf}, HALT)
        assert again[2][1]["replayed"] is True
        assert world.store.last_seq(RUN) - before == 1
        await run(world)
        no_such = {"id": 3, "method": "POST", "path": "/api/v1/sign-in", "body": {"token": "x"}}
        page = {"id": 4, "method": "GET", "path": "/api/v1/events"}
        wrong = await answers({"csrf": csrf}, no_such, page, Cookie="")
        assert [wrong[id][0] for id in (3, 4)] == [404, 404]
        assert (await answers({"csrf": csrf}, HALT | {"key": "k-2"}, Cookie=""))[2][0] == 401


@in_module_loop
async def test_a_malformed_message_ends_a_link_and_leaves_no_place_taken(desk: Desk) -> None:
    context = desk.world.api.context
    before = context.streams
    for text in ("[", '{"csrf": 1}', '{"id": 1}'):
        async with desk.world.session.ws_connect("/api/v1/link") as link:
            await link.send_str(text)
            message = await asyncio.wait_for(link.receive(), 20)
            while message.type is aiohttp.WSMsgType.TEXT:
                message = await asyncio.wait_for(link.receive(), 20)
            assert link.close_code == 1008
    for _ in range(100):
        if context.streams == before:
            break
        await asyncio.sleep(0.05)
    assert context.streams == before


@in_module_loop
async def test_a_halt_by_the_link_is_answered_before_sixteen_requests_that_wait(desk: Desk) -> None:
    world = desk.world
    await run(world)
    turn = world.api.context.run._turn
    await turn.acquire()
    try:
        async with world.session.ws_connect("/api/v1/link", headers=world.bearer) as link:
            await link.send_json(HELLO)
            for id in range(10, 30):
                await link.send_json({"id": id, "method": "GET", "path": "/api/v1/risk/metrics"})
            await link.send_json(HALT | {"key": "k-3"})
            answered: dict[int, int] = {}
            while 2 not in answered:
                message = await asyncio.wait_for(link.receive_json(), 20)
                if "id" in message:
                    answered[message["id"]] = message["status"]
    finally:
        turn.release()
    assert answered.pop(2) == 200
    assert set(answered.values()) <= {429}
    assert world.service.shell.state.switch.state == 2
    await halt(world)
    await run(world)
