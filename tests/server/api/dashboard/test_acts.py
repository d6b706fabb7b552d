"""Acts of the page whose answer is late, lost or never known; messages; and what the page says without a link."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, WebSocketRoute, expect

from quantd.server.requests.tokens import created, revoked
from quantd.trading.codec import decode
from quantd.trading.events import Operator, Proposed
from tests.server.api.dashboard.controls import halt, no_orders, owner, run
from tests.server.api.dashboard.screens import in_module_loop, show
from tests.server.api.dashboard.stage import Stage
from tests.support.api_world import RATES, RUN, World, standing_at_the_end
from tests.support.browser import DESK, PHONE, intercept, opened, pass_all, violations
from tests.support.command_line import CONFIG
from tests.support.mqtt import free_port

ACT = "#main [role=alert]:not(:text('no answer of the daemon'))"
"""What is known of an act; a list that could not be read is another alert."""

MAY_HAVE = "It may have happened."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    text = CONFIG.replace("[api]\nport = 0", f"[api]\nport = {free_port()}") + RATES
    async with standing_at_the_end(tmp_path_factory.mktemp("acts"), text + "[portfolios]\nplaces = 1\n") as world:
        yield world


@contextlib.asynccontextmanager
async def staged(world: World, browser: Browser, width: int = DESK) -> AsyncIterator[Stage]:
    """A page that is signed in, whose answers about acts can be held back."""
    await run(world)
    await no_orders(world)
    async with opened(browser, world.api.url, width, world.token) as page:
        stage = Stage(world, page, world.token)
        yield stage
        stage.answers.set()
        await pass_all(page)


async def lost(route: Route) -> None:
    await route.fetch()
    await route.abort()


async def order(page: Page, qty: str, symbol: str = "QQQ", side: str = "sell") -> None:
    """Fills the form of an order, up to its preview."""
    for name, value in {"qty": qty, "symbol": symbol, "reason": f"{side} {qty}"}.items():
        await page.locator(f"#order-{name}").fill(value)
    await page.locator("#order-side").select_option(side)
    await page.locator("#order-agent").select_option("trend")
    await page.get_by_role("button", name="Preview").click()


def wished(world: World) -> list[int]:
    """The quantities of all orders by hand."""
    events = [decode(data).event for _, data in world.store.entries(RUN, 1)]
    return [abs(event.orders[0].lots) for event in events if isinstance(event, Proposed)]


@pytest.mark.long
@in_module_loop
async def test_an_order_whose_answer_was_lost_is_not_sent_again_with_another_quantity(
    shared: World, browser: Browser
) -> None:
    before = len(wished(shared))
    async with staged(shared, browser) as stage:
        page = stage.page
        await show(page, "order")
        await order(page, "3")
        await stage.silence()
        await intercept(page, "**/api/v1/orders", lost)
        send = page.get_by_role("button", name="Send sell 3 QQQ")
        await send.click()
        await expect(page.locator(ACT)).to_contain_text(MAY_HAVE)
        assert await violations(page) == []
        await expect(page.locator(".said")).to_have_text("")
        await page.locator("#order-qty").fill("4")
        await pass_all(page, "**/api/v1/orders")
        preview = page.get_by_role("button", name="Preview")
        await expect(preview).to_be_disabled()  # nor by Enter: nothing new is sent
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name=re.compile("^Send"))).to_have_count(0)
        stage.answers.set()
        await expect(page.locator(".said")).to_contain_text("sell 3 of 3 QQQ sent")
        assert await page.locator("#order-qty").input_value() == "4"  # what was typed meanwhile stays
        await preview.click()
        await page.get_by_role("button", name="Send sell 4 QQQ").click()
        await expect(page.locator(".said")).to_contain_text("sell 4 of 4 QQQ sent")
    assert wished(shared)[before:] == [3, 4]


@pytest.mark.long
@in_module_loop
async def test_an_order_that_is_not_known_holds_up_its_symbol_on_every_screen_and_after_a_reload(
    shared: World, browser: Browser
) -> None:
    before = len(wished(shared))
    async with staged(shared, browser, PHONE) as stage:
        page = stage.page
        await show(page, "order")
        await order(page, "2")
        await stage.silence()
        await intercept(page, "**/api/v1/orders", lost)
        await page.get_by_role("button", name="Send sell 2 QQQ").click()
        await expect(page.locator(ACT)).to_contain_text(MAY_HAVE)
        await pass_all(page, "**/api/v1/orders")
        await page.reload()
        await expect(page.locator("header .waits")).to_contain_text("sell 2 QQQ: No answer.")
        await show(page, "order")
        await order(page, "5")
        alert = page.locator(ACT)
        await expect(alert).to_contain_text(re.compile(r"sell 2 QQQ, sent at \d\d:\d\d:\d\d, is not known yet"))
        await expect(page.get_by_role("button", name="Send sell 5 QQQ")).to_be_disabled()
        await order(page, "1", "IWM")  # another symbol goes through
        await page.get_by_role("button", name="Send sell 1 IWM").click()
        await expect(page.locator(".said")).to_contain_text("sell 1 of 1 IWM sent")
        await show(page, "portfolios")
        await page.get_by_role("button", name="Open a portfolio …").click()
        for name, value in {"name": "core", "capital": "5000", "targets": "QQQ 0.5", "reason": "x"}.items():
            await page.locator(f"dialog #{name}").fill(value)
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Open the portfolio: ").click()
        await expect(page.locator("dialog [role=alert]")).to_contain_text("NOT OPENED: sell 2 QQQ, sent at")
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        stage.answers.set()
        await expect(page.locator(".said")).to_contain_text("sell 2 of 2 QQQ sent")
        await expect(page.locator("header .waits")).to_have_count(0)
    assert wished(shared)[before:] == [2, 1]


@pytest.mark.long
@in_module_loop
async def test_after_a_restart_the_journal_answers_for_an_order_and_one_of_another_run_waits_for_a_look(
    shared: World, browser: Browser
) -> None:
    async def restarted(route: Route) -> None:
        await route.fetch()
        await stage.restart()
        await route.abort()

    async with staged(shared, browser) as stage:
        page = stage.page
        await show(page, "order")
        await order(page, "6")
        await intercept(page, "**/api/v1/orders", restarted)
        await page.get_by_role("button", name="Send sell 6 QQQ").click()
        words = "sell 6 QQQ: the request was carried out at 2019-03-29T20:00:00Z"
        await expect(page.locator(".said")).to_contain_text(words, timeout=15_000)
        await page.evaluate("(acts) => localStorage.setItem('quantd.acts', JSON.stringify(acts))", [ELSEWHERE])
        await page.reload()
        await expect(page.locator("header .waits")).to_contain_text("Not known: it was sent to the run another")
        await show(page, "order")
        await order(page, "7")
        alert = page.locator(ACT)
        await expect(alert).to_contain_text("or until you have looked")
        await expect(page.get_by_role("button", name="Send sell 7 QQQ")).to_be_disabled()
        await page.get_by_role("button", name="I have looked").click()
        await expect(page.locator("header .waits")).to_have_count(0)
        await expect(page.get_by_role("button", name="Send sell 7 QQQ")).to_be_enabled()
        await page.reload()
        await expect(page.locator("header .switch")).to_contain_text("RUN")
        await expect(page.locator("header .waits")).to_have_count(0)


ELSEWHERE = {
    "key": "k", "path": "/api/v1/orders", "body": {"side": "sell", "qty": "6", "symbol": "QQQ"}, "symbols": ["QQQ"],
    "at": 1, "run": "another",
}  # fmt: skip

DAMAGED = [
    None, {}, {"key": "k", "path": "/api/v1/gone", "body": {}, "symbols": [], "at": 1},
    {"key": "k", "path": "/api/v1/orders", "body": {}, "symbols": ["QQQ"], "at": 1},
    {"key": "k", "path": "/api/v1/orders/cancel", "body": {"order": "o"}, "symbols": None, "at": 1},
]  # fmt: skip
"""Acts in the browser's store that this version of the page cannot have written."""


@pytest.mark.long
@in_module_loop
async def test_acts_of_another_version_in_the_browsers_store_hold_up_nothing(shared: World, browser: Browser) -> None:
    async with staged(shared, browser) as stage:
        page = stage.page
        await page.evaluate("(acts) => localStorage.setItem('quantd.acts', JSON.stringify(acts))", DAMAGED)
        await page.reload()
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        await page.keyboard.press("h")
        await page.keyboard.press("Enter")
        await expect(page.locator("header .switch")).to_contain_text("HALT")
        await expect(page.locator("header .waits")).to_have_count(0)
    await run(shared)


@in_module_loop
@pytest.mark.long
async def test_the_end_of_a_session_is_seen_and_leaves_the_halt_on_the_page(shared: World, browser: Browser) -> None:
    await run(shared)
    _, secret = created(shared.folder, "desk", "trade")
    await asyncio.sleep(0.6)  # the shortest time between two looks at the file of tokens
    async with opened(browser, shared.api.url, token=secret) as page:
        other = await page.context.new_page()
        await other.goto(shared.api.url)
        await expect(other.locator("header .who")).to_contain_text("desk, trade")
        await page.bring_to_front()
        await page.keyboard.press("h")
        await page.locator("#reason").fill("it was typed before")
        revoked(shared.folder, "desk")
        await asyncio.sleep(0.6)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("NOT HALTED: the session has ended")
        for tab in (page, other):
            await expect(tab.locator("header .who")).to_have_text("the session of desk has ended")
            await expect(tab.get_by_role("button", name="Halt …")).to_have_count(1)
        assert await violations(page) == []
        assert await page.locator("#reason").input_value() == "it was typed before"
        assert shared.service.shell.state.switch.state == 0
        await page.locator("#act-token").fill("wrong")
        await page.locator("#act-token").press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("not in force")
        await page.locator("#act-token").fill(shared.token)
        await page.locator("#act-token").press("Enter")
        await expect(page.locator("header .switch")).to_contain_text("HALT")
        await expect(page.locator("header .why")).to_contain_text('by api:owner: "it was typed before"')
        await expect(page.get_by_role("dialog")).to_have_count(0)
    await run(shared)


@pytest.mark.long
@in_module_loop
async def test_a_session_that_ended_keeps_a_dialog_where_reads_need_a_token_too(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> None:
    text = CONFIG.replace("[api]\nport = 0", f"[api]\nport = {free_port()}\nopen_reads = false") + RATES
    async with (
        standing_at_the_end(tmp_path_factory.mktemp("closed"), text) as world,
        opened(browser, world.api.url, token=world.token) as page,
    ):
        await show(page, "system")
        await page.get_by_role("button", name=re.compile("^Run now: close")).click()
        await page.locator("#reason").fill("it was typed before")
        world.api._guard.sessions._open.clear()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("NOT RUN: the session has ended")
        await expect(page.locator("header .link")).to_have_text("signed out")
        await expect(page.locator("header .switch")).to_contain_text("last known: RUN")
        await page.locator("#act-token").fill(world.token)
        await page.locator("#act-token").press("Enter")
        await expect(page.locator(".said")).to_contain_text("rebalance: ")
        await expect(page.locator("header .link")).to_have_text("link up")


@pytest.mark.long
@in_module_loop
async def test_without_a_link_the_switch_is_the_last_known_one_and_a_halt_names_the_other_ways(
    shared: World, browser: Browser
) -> None:
    async with staged(shared, browser) as stage:
        page = stage.page
        await expect(page.locator("header .link")).to_have_text("link up")
        await shared.api.stop()
        await expect(page.locator("header .link")).to_contain_text("link lost")
        await expect(page.locator("header .switch")).to_contain_text("last known: RUN")
        await expect(page.locator("header")).to_contain_text("incidents not known")
        await expect(page.locator("header")).not_to_contain_text("no open incident")
        await expect(page).to_have_title(re.compile("^link lost"))
        await page.keyboard.press("h")
        await expect(page.get_by_role("dialog")).to_contain_text("Last known: ")
        await page.keyboard.press("Enter")
        alert = page.get_by_role("dialog").get_by_role("alert")
        await expect(alert).to_contain_text(MAY_HAVE)
        for other in ("quantd halt", "HALT", "kill -USR1"):
            await expect(alert).to_contain_text(other)
        assert await violations(page) == []
        await stage.restart()
        await expect(alert).to_contain_text("NOT HALTED: the daemon has no record of it", timeout=20_000)
        await page.keyboard.press("Enter")
        await expect(page.locator("header .switch")).to_contain_text("HALT")
    await run(shared)


@pytest.mark.long
@in_module_loop
async def test_a_halt_that_the_journal_lacks_is_answered_by_the_switch(shared: World, browser: Browser) -> None:
    """A daemon that was killed may have obeyed it on a full disk."""
    async with staged(shared, browser) as stage:
        page = stage.page
        await expect(page.locator("header .link")).to_have_text("link up")
        await shared.api.stop()
        await page.keyboard.press("h")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(MAY_HAVE)
        service = shared.service
        await service.inbox.command(Operator(service.shell.ts, "halt", "news", "signal"))
        await stage.restart()
        words = "halt the house: the daemon has no record of it, and the switch is at HALT, moved by signal: news"
        await expect(page.locator(".said")).to_contain_text(words, timeout=20_000)
    await run(shared)


@pytest.mark.long
@in_module_loop
async def test_a_dry_run_or_a_preview_without_an_answer_did_nothing(shared: World, browser: Browser) -> None:
    before = shared.store.last_seq(RUN)
    async with staged(shared, browser) as stage:
        page = stage.page
        await show(page, "order")
        await intercept(page, "**/api/v1/orders/preview", lost)
        sent = shared.store.last_seq(RUN)
        await order(page, "3")
        await expect(page.locator("#main [role=alert]")).to_contain_text("Nothing was sent")
        await pass_all(page, "**/api/v1/orders/preview")
        await page.get_by_role("button", name="Preview").click()
        await expect(page.get_by_role("button", name="Send sell 3 QQQ")).to_be_visible()
        assert shared.store.last_seq(RUN) == sent >= before


@pytest.mark.long
@in_module_loop
async def test_halt_is_pressed_twice_and_carried_out_once(shared: World, browser: Browser) -> None:
    async with staged(shared, browser) as stage:
        page, before = stage.page, shared.store.last_seq(RUN)
        await page.keyboard.press("h")
        button = page.get_by_role("button", name="Halt all trading")
        await button.dblclick(no_wait_after=True)
        await expect(page.locator("header .switch")).to_contain_text("HALT")
        assert shared.store.last_seq(RUN) - before == 1
    await halt(shared)
    await run(shared)


@pytest.mark.long
@in_module_loop
async def test_a_halt_that_was_lost_is_not_denied_where_another_person_has_halted(
    shared: World, browser: Browser
) -> None:
    async with staged(shared, browser) as stage:
        page = stage.page
        await intercept(page, "**/api/v1/commands", lambda route: route.abort())
        await page.keyboard.press("h")
        await page.keyboard.press("Enter")
        alert = page.get_by_role("dialog").get_by_role("alert")
        await expect(alert).to_contain_text("NOT HALTED: the daemon has no record of it")
        await halt(shared)
        await expect(alert).to_contain_text("NOT DONE, and the switch is at HALT: the daemon has no record of it")
        await run(shared)
        await expect(alert).to_contain_text("NOT HALTED: ")
        await pass_all(page, "**/api/v1/commands")
        await page.keyboard.press("Enter")
        await expect(page.locator("header .switch")).to_contain_text("HALT")
    await run(shared)


class OtherRun:
    """The link of a page whose events get the id of another run, as after a start with --fresh. While `lost` is set,
    no act leaves the browser."""

    def __init__(self, world: World) -> None:
        self.world, self.id, self.lost = world, RUN, False

    def renamed(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda text: socket.send(str(text).replace(f'"run":"{RUN}"', f'"run":"{self.id}"')))
        socket.on_message(lambda text: None if self.lost and '"POST"' in str(text) else server.send(text))

    async def begin(self, name: str) -> None:
        self.id = name
        for command in ("reduce", "resume"):  # each is an event
            await owner(self.world, "commands", {"command": command, "reason": "a test", "agent": "trend"})


@pytest.mark.long
@in_module_loop
async def test_an_act_is_known_by_its_run_and_an_open_dialog_acts_on_the_new_one(
    shared: World, browser: Browser
) -> None:
    other = OtherRun(shared)
    async with staged(shared, browser) as stage:
        page = stage.page
        await page.route_web_socket(re.compile("/api/v1/link$"), other.renamed)
        await page.route(re.compile("/api/v1/orders$"), lambda route: route.abort())
        await page.reload()
        await show(page, "order")
        await order(page, "3")
        send = page.get_by_role("button", name="Send sell 3 QQQ")
        await expect(send).to_be_visible()
        other.lost = True
        await send.click()
        fault = page.locator("#main [role=alert]")
        await expect(fault).to_contain_text("It may have happened.")
        await other.begin("another1")
        # the new run has no record of it, which says nothing of the run before
        await expect(fault).to_contain_text(f"it was sent to the run {RUN}, and this is the run another1")
        await fault.get_by_role("button", name="I have looked").click()
        await page.get_by_role("button", name="Show the other run").click()
        await expect(page.locator("footer")).to_contain_text("run another1")
        other.lost = False
        await page.keyboard.press("h")
        dialog = page.get_by_role("dialog")
        await page.keyboard.type("typed before")
        await other.begin("another2")
        await expect(dialog.get_by_role("alert")).to_contain_text("Another run has begun.")
        await page.keyboard.press("Enter")
        await expect(page.locator("footer")).to_contain_text("run another2")
        await expect(page.locator("header .why").first).to_contain_text("typed before")
        await expect(page.locator("header .switch")).to_contain_text("HALT")
    await run(shared)


@pytest.mark.long
@in_module_loop
async def test_another_run_takes_nothing_that_was_typed(shared: World, browser: Browser) -> None:
    other = OtherRun(shared)
    async with staged(shared, browser) as stage:
        page = stage.page
        await page.route_web_socket(re.compile("/api/v1/link$"), other.renamed)
        await page.reload()
        await expect(page.locator("header .link")).to_have_text("link up")
        await page.evaluate("window.before = true")
        await page.keyboard.press("h")
        dialog = page.get_by_role("dialog")
        await page.keyboard.type("typed before")
        await other.begin("another1")
        await expect(dialog.get_by_role("alert")).to_contain_text("Another run has begun.")
        await page.wait_for_timeout(1_500)
        await expect(dialog.locator("#reason")).to_have_value("typed before")
        await expect(page.locator("header .link")).to_have_text("link up")
        await page.keyboard.press("Escape")
        await page.wait_for_function("() => !window.before")
        await expect(page.locator("footer")).to_contain_text("run another1")
        await show(page, "order")
        await page.locator("#order-qty").fill("3")
        await other.begin("another2")
        await expect(page.locator("header .why")).to_contain_text("another run has begun")
        await page.wait_for_timeout(1_500)
        await expect(page.locator("#order-qty")).to_have_value("3")
        await page.get_by_role("button", name="Show the other run").click()
        await expect(page.locator("footer")).to_contain_text("run another2")
        # nothing is typed: at once
        await other.begin("another3")
        await expect(page.locator("footer")).to_contain_text("run another3")


@pytest.mark.long
@in_module_loop
async def test_a_sign_out_and_a_sign_in_without_an_answer_say_so_in_words(shared: World, browser: Browser) -> None:
    async with staged(shared, browser) as stage:
        page = stage.page
        await intercept(page, "**/api/v1/sign-*", lambda route: route.abort())
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.locator(".said")).to_contain_text("NOT SIGNED OUT: no answer of the daemon")
        await pass_all(page, "**/api/v1/sign-*")
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("button", name="Sign in …").click()
        await intercept(page, "**/api/v1/sign-*", lambda route: route.abort())
        await page.locator("#token").fill(shared.token)
        await page.locator("#token").press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("no answer of the daemon")


@pytest.mark.long
@in_module_loop
async def test_a_message_has_its_time_and_no_state_is_claimed_after_another_persons_resume(
    shared: World, browser: Browser
) -> None:
    async with staged(shared, browser) as stage:
        page = stage.page
        await page.keyboard.press("h")
        await page.keyboard.type("news")
        await page.keyboard.press("Enter")
        said = page.locator(".said")
        await expect(said).to_contain_text(re.compile(r"^\d\d:\d\d:\d\d halt of the house was carried out"))
        why = page.locator("header .why")
        await expect(why).to_contain_text('HALT since 2019-03-29 16:00 by api:owner: "news"')
        await page.keyboard.press("r")
        await expect(page.get_by_role("dialog")).to_contain_text('by api:owner: "news"')
        await page.keyboard.press("Escape")
        await run(shared)
        await expect(page.locator("header .switch")).to_contain_text("RUN")
        await expect(why).to_have_count(0)
        assert "in force" not in await page.locator("body").inner_text()
