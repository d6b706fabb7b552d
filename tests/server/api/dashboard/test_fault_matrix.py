"""Every control of the page under every fault: the page never says what did not happen, nor that nothing did.

A cell is one control under one fault. Its act is counted in the journal, and compared with what the page says. One
daemon, one browser and one profile serve the module. `make test-page` runs the cells beyond those of CI.
"""

import asyncio
import contextlib
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Request, Route, expect

from quantd.server.api.routes.dashboard_routes import FOLDER
from quantd.server.requests.tokens import created
from tests.server.api.dashboard.controls import CONTROLS, SENDER, TEXT, Control, send
from tests.server.api.dashboard.screens import in_module_loop, show
from tests.server.api.dashboard.stage import Stage
from tests.support.api_world import RUN, standing_at_the_end
from tests.support.browser import acts_by_link, opened, sign_in
from tests.support.mqtt import free_port

MAY_HAVE = "It may have happened."
ENDED = "the session has ended"
SLOW_S = 3.0
"""Seconds after which the page says that there is no answer yet."""

SCRIPTS = {path.stem: path.read_text() for path in (*FOLDER.glob("*.js"), *FOLDER.glob("panels/*.js"))}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> AsyncIterator["Stage"]:
    text = TEXT.replace("[api]\nport = 0", f"[api]\nport = {free_port()}")
    async with standing_at_the_end(tmp_path_factory.mktemp("matrix"), text) as world:
        _, secret = created(world.folder, SENDER, "admin")
        await asyncio.sleep(0.6)  # the shortest time between two looks at the file of tokens
        async with opened(browser, world.api.url, token=secret) as page:
            page.context.set_default_timeout(40_000)
            expect.set_options(timeout=40_000)
            yield Stage(world, page, secret)
            expect.set_options(timeout=5_000)


async def agrees(stage: Stage) -> None:
    """The page claims no state that the status denies."""
    async with stage.world.session.get("/api/v1/status") as response:
        now = await response.json()
    switch = stage.page.locator("header .switch")
    await expect(switch).to_contain_text(now["switch"])
    text = await stage.page.locator("body").inner_text()
    assert "in force" not in text or "looser" in text, text[:400]
    if now["switch"] == "RUN":
        assert "HALT since" not in text
    if text := await stage.said.inner_text():
        assert re.match(r"\d\d:\d\d:\d\d ", text), text


async def lost(stage: Stage, control: Control) -> int:
    """The request reaches the daemon, and its answer does not come back."""

    async def answer(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await stage.silence()
    await stage.intercept(control, answer)
    await send(stage.page, control)
    await expect(stage.fault.filter(has_text=MAY_HAVE)).to_have_count(1)
    await expect(stage.said).to_have_text("")
    if control.stops and control.route.endswith("commands"):
        await expect(stage.fault.filter(has_text="quantd halt")).to_have_count(1)
    stage.answers.set()
    return control.entries


async def late(stage: Stage, control: Control) -> int:
    """The answer takes longer than a person waits."""

    seen = asyncio.Event()

    async def answer(route: Route) -> None:
        response = await route.fetch()
        await seen.wait()
        await route.fulfill(response=response)

    await stage.silence()
    await stage.intercept(control, answer)
    began = time.monotonic()
    await send(stage.page, control)
    try:
        await expect(stage.fault.filter(has_text=f"No answer yet. {MAY_HAVE}")).to_have_count(1)
        assert time.monotonic() - began >= SLOW_S
        await expect(stage.said).to_have_text("")
    finally:
        seen.set()
    return control.entries


async def dropped(stage: Stage, control: Control) -> int:
    """The request never reaches the daemon."""
    await stage.intercept(control, lambda route: route.abort())
    await send(stage.page, control)
    await expect(stage.fault.filter(has_text=re.compile(f"{control.negated}.*no record of it"))).to_have_count(1)
    return 0


async def restarted(stage: Stage, control: Control) -> int:
    """The daemon restarts behind the request, and the answer is lost with the connection."""

    async def answer(route: Route) -> None:
        await route.fetch()
        await stage.restart()
        await route.abort()

    await stage.intercept(control, answer)
    await send(stage.page, control)
    if not control.entries:  # it was refused, and the journal has nothing of it
        await expect(stage.fault.filter(has_text="no record of it, so nothing was done")).to_have_count(1)
    elif re.search("/(research|schedules)/", control.route):  # no event: only the list of jobs has them
        await expect(stage.fault.filter(has_text="see the list of jobs")).to_have_count(1)
    else:
        await expect(stage.said).to_contain_text("as the journal says")
    return control.entries


async def signed_out(stage: Stage, control: Control) -> int:
    """The session ended: the form says so, keeps its input, takes a token and sends the act once."""
    before = stage.world.store.last_seq(RUN)
    stage.world.api._guard.sessions._open.clear()
    already, doors = len(acts_by_link(stage.page)), list[str]()  # a halt goes by a door of its own, and by HTTP

    def heard(request: Request) -> None:
        if key := request.headers.get("idempotency-key"):
            doors.append(key)

    stage.page.on("request", heard)
    await send(stage.page, control)
    await expect(stage.fault.filter(has_text=f"{control.negated}: {ENDED}")).to_have_count(1)
    assert stage.entries(before) == 0
    token = stage.page.locator("#act-token")
    await token.fill(stage.secret)
    await token.press("Enter")
    await expect(stage.fault.filter(has_text=ENDED)).to_have_count(0)
    await (expect(stage.said) if control.entries else expect(stage.fault.first)).to_contain_text(control.done)
    stage.page.remove_listener("request", heard)
    sent = [key for _, key in acts_by_link(stage.page)[already:]]
    assert len(sent + doors) >= 2 if doors else len(sent) == 2
    assert len({*sent, *doors}) == 1
    return control.entries


def answered(status: int, code: str) -> Callable[[Stage, Control], Awaitable[int]]:
    """The daemon refuses the act."""

    async def cell(stage: Stage, control: Control) -> int:
        problem = {"type": f"urn:quantd:problem:{code}", "title": code, "status": status, "code": code}
        body = json.dumps(problem | {"detail": "not now, for a test"})

        async def answer(route: Route) -> None:
            await route.fulfill(status=status, content_type="application/problem+json", body=body)

        await stage.intercept(control, answer)
        await send(stage.page, control)
        await expect(stage.fault.filter(has_text=f"{control.negated}: not now, for a test")).to_have_count(1)
        await expect(stage.said).to_have_text("")
        return 0

    return cell


async def two_tabs(stage: Stage, control: Control) -> int:
    """A second tab sends the same while the first one does not know: it is held up, unless it stops trading."""

    async def answer(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await stage.silence()
    other = await stage.context.new_page()
    try:
        await other.goto(stage.world.api.url)
        await expect(other.get_by_role("button", name="Sign out")).to_be_visible()
        await show(other, control.screen)
        await control.open(other)
        await stage.intercept(control, answer)
        await stage.page.bring_to_front()
        await send(stage.page, control)
        await expect(stage.fault.filter(has_text=MAY_HAVE)).to_have_count(1)
        await other.bring_to_front()
        entries = control.entries
        fault = other.locator("dialog[open] [role=alert], main .card [role=alert]")
        if control.form == "order.OrderByHand":
            await expect(fault.filter(has_text="is not known yet")).to_have_count(1)
        else:
            await send(other, control)
            if control.stops and control.name != "cancel":
                await expect(other.locator(".said")).to_contain_text(control.done)
                entries += control.entries
            elif control.stops:
                await expect(fault.filter(has_text=control.negated)).to_have_count(1)
            else:
                await expect(fault.filter(has_text="is not known yet")).to_have_count(1)
        await asyncio.sleep(
            SLOW_S
        )  # from then on both tabs ask, and who hears first takes the act off the list of both
        stage.answers.set()
        await stage.page.bring_to_front()
        await (expect(stage.said) if control.entries else expect(stage.fault.first)).to_contain_text(control.done)
        return entries
    finally:
        stage.answers.set()
        await other.close()


FAULTS: dict[str, Callable[[Stage, Control], Awaitable[int]]] = {
    "answer lost": lost,
    "answer late": late,
    "request lost": dropped,
    "401": signed_out,
    "409": answered(409, "conflict"),
    "429": answered(429, "rate"),
    "restart": restarted,
    "two tabs": two_tabs,
}


async def cell(stage: Stage, control: Control, fault: str) -> None:
    """One control under one fault, and the daemon as before."""
    page = stage.page
    await control.ready(stage.world)
    await page.evaluate("(name) => { location.hash = name; }", "now")
    await show(page, control.screen)
    await control.open(page)
    before = stage.world.store.last_seq(RUN)
    stage.research_before = stage.research()
    try:
        expected = await FAULTS[fault](stage, control)
        if expected and fault != "restart":
            await expect(stage.said).to_contain_text(control.done)
        elif not expected:
            await expect(stage.fault.filter(has_text=control.negated)).to_have_count(1)
        assert stage.entries(before) == expected
        await agrees(stage)
    finally:
        with contextlib.suppress(Exception):
            await stage.clear()
        await control.undo(stage.world)
    if not await page.get_by_role("button", name="Sign out").is_visible():
        await sign_in(page, stage.secret)
    await stage.clear()


IN_TWO_TABS = ("flatten", "order", "cancel", "acknowledge")
"""A control of each kind that two tabs treat in its own way."""


def met_in_ci(control: Control) -> str:
    """The fault that a control meets in CI: two tabs for those of `IN_TWO_TABS`, one of the other faults in turn for
    the other controls. test_acts.py has more faults of an order."""
    if control.name in IN_TWO_TABS:
        return "two tabs"
    controls = [control for control in CONTROLS if control.name not in IN_TWO_TABS]
    faults = [fault for fault in FAULTS if fault != "two tabs"]
    return faults[controls.index(control) % len(faults)]


def cells() -> list[Any]:
    """Every control under every fault. Those beyond `met_in_ci` are `slow`."""
    table = []
    for control, fault in itertools.product(CONTROLS, FAULTS):
        marks = () if fault == met_in_ci(control) else pytest.mark.slow
        table.append(pytest.param(control, fault, id=f"{control.name}-{fault}", marks=marks))
    return table


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize(("control", "fault"), cells())
async def test_the_page_says_what_the_journal_has_where_a_request_meets_a_fault(
    stage: Stage, control: Control, fault: str
) -> None:
    await cell(stage, control, fault)


def keys_of(script: str, name: str) -> set[str]:
    """The keys of an object literal at the top of a script."""
    body = SCRIPTS[script].partition(f"const {name} = {{\n")[2].partition("\n};")[0]
    return set(re.findall(r'^  "?([\w/*]+)"?: [\[{]', body, re.MULTILINE))


def forms() -> set[str]:
    """Each function of the scripts that sends an act."""
    names = set()
    for name, text in SCRIPTS.items():
        parts = re.split(r"^(?:export )?function (\w+)", text, flags=re.MULTILINE)
        for function, body in zip(parts[1::2], parts[2::2], strict=True):
            if name != "acts" and re.search(r"\buseAct\(|<\$\{Deed\}", body):
                names.add(f"{name}.{function}")
    return names


def test_each_control_of_the_page_is_in_the_table() -> None:
    routes = {route for route in keys_of("acts", "ROUTES") if route.startswith("/api/")}
    assert len(routes) > 8
    assert {control.route for control in CONTROLS} == routes
    assert {control.form for control in CONTROLS} == forms()
    names = {control.name for control in CONTROLS}
    assert keys_of("standing", "COMMANDS") | {"resume"} <= names
    kinds = re.findall(r"^  (\w+): \[", SCRIPTS["agents"], re.MULTILINE)
    assert len([control for control in CONTROLS if control.form == "agents.Act"]) == len(kinds) == 6
    assert len([control for control in CONTROLS if control.form.startswith("portfolios.")]) == 3


def test_no_script_sends_a_request_beside_the_acts() -> None:
    for name, text in SCRIPTS.items():
        imported = re.search(r"import {([^}]*)} from \"\./daemon\.js\"", text)
        posts = imported is not None and re.search(r"\bpost\b", imported[1])
        assert bool(posts) == (name in ("acts", "halts")), name
        # the page of the first hour is not the daemon's
        assert name in ("daemon", "first_hour") or "method:" not in text, name
        assert name == "daemon" or "Idempotency-Key" not in text, name
        assert name in ("daemon", "link") or "byLink" not in text, name
        assert not re.search(r"XMLHttpRequest|sendBeacon|<form[^>]*action", text), name
        asks = re.search(r"import {[^}]*\bask\b[^}]*} from \"\./acts\.js\"", text)
        for line in re.findall(r"\bask\(.*", text) if asks else ():  # a question changes nothing
            assert re.match(r'ask\(["`][^"`]*/preview["`]', line), (name, line)
