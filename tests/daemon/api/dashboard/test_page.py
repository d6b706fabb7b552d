"""The page in a browser, on a real daemon: sign-in, halt and resume, every screen on a desk and on a phone.

One browser process serves the module. Each page has a profile of its own.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from quantd.daemon.commands.tokens import created
from quantd.trading.codec import decode
from quantd.trading.events import Operator
from tests.daemon.api.test_api import RATES, RUN, World, standing_at_the_end
from tests.support.browser import DESK, PHONE, chromium, opened, sideways, unreachable, violations
from tests.support.command_line import CONFIG

SCREENS = ("now", "market", "orders", "order", "agents", "incidents")
HOSTILE = "<img src=x onerror=window.hacked=1>\u202e" + "w" * 300

in_module_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A daemon that tests halt and resume; each of them leaves it in RUN."""
    async with standing_at_the_end(tmp_path_factory.mktemp("page"), CONFIG + RATES) as world:
        yield world


def commands(world: World) -> list[tuple[str, str, str]]:
    """Command, reason and sender of each journalled command, in their order."""
    events = [decode(data).event for _, data in world.store.entries(RUN, 1)]
    return [(each.command, each.reason, each.who) for each in events if isinstance(each, Operator)]


async def show(page: Page, screen: str) -> None:
    await page.evaluate("(name) => { location.hash = name; }", screen)
    await expect(page.get_by_role("navigation").locator("[aria-current=page]")).to_have_attribute("href", f"#{screen}")
    await page.wait_for_load_state("networkidle")


async def audit(page: Page, screen: str) -> None:
    """No fault of accessibility, no sideways scroll."""
    await show(page, screen)
    assert await violations(page) == [], screen
    assert await sideways(page) == 0, screen


@pytest.mark.requirement("R-207")
@in_module_loop
async def test_halt_by_keyboard_and_resume_with_the_marks_that_it_resets(shared: World, browser: Browser) -> None:
    before = len(commands(shared))
    _, secret = created(shared.folder, "desk", "trade")
    await asyncio.sleep(0.6)  # the shortest time between two looks at the file of tokens
    async with opened(browser, shared.api.url, token=secret) as page:
        switch = page.locator("header .switch")
        await expect(switch).to_contain_text("RUN")
        began = time.monotonic()
        await page.keyboard.press("h")
        await page.keyboard.type(HOSTILE)
        await page.keyboard.press("Enter")
        await expect(switch).to_contain_text("HALT")
        assert time.monotonic() - began < 5.0
        await expect(page.get_by_role("dialog")).to_have_count(0)
        for screen in SCREENS:
            await audit(page, screen)
        await page.keyboard.press("r")
        dialog = page.get_by_role("dialog")
        row = dialog.get_by_role("row").filter(has_text="high-water mark")
        peak = shared.service.shell.state.switch.high_water / 1e6
        await expect(row).to_contain_text(f"{peak:,.2f}")
        assert await violations(page) == []
        await page.keyboard.press("Enter")  # without a reason nothing is sent
        await expect(dialog).to_have_count(1)
        await page.keyboard.type("looked at it")
        await page.keyboard.press("Enter")
        await expect(switch).to_contain_text("RUN")
        assert await page.evaluate("window.hacked") is None
    done = commands(shared)[before:]
    assert [each[0] for each in done] == ["halt", "resume"]
    assert done[0][1].startswith("<img src=x onerror=window.hacked=1>")
    assert done[1][1] == "looked at it"
    assert {each[2] for each in done} == {f"api:desk:{secret[:8]}"}


@pytest.mark.requirement("R-231")
@in_module_loop
async def test_the_scope_of_the_token_decides_which_controls_exist(shared: World, browser: Browser) -> None:
    _, secret = created(shared.folder, "guest", "read")
    await asyncio.sleep(0.6)
    async with opened(browser, shared.api.url, PHONE) as page:
        await expect(page.locator("header .switch")).to_contain_text("RUN")  # open_reads: figures without a sign-in
        await expect(page.get_by_role("button", name="Halt …")).to_have_count(0)
        await page.keyboard.press("h")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.get_by_role("button", name="Sign in …").click()
        await page.locator("#token").fill("wrong")
        await page.locator("#token").press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not in force")
        assert await violations(page) == []
        await page.locator("#token").fill(secret)
        await page.locator("#token").press("Enter")
        await expect(page.locator("header")).to_contain_text("guest, read")
        await expect(page.get_by_role("button", name="Halt …")).to_have_count(0)
        refused = """async () => (await fetch("/api/v1/commands", {
          method: "POST", body: '{"command": "halt"}',
          headers: { "Content-Type": "application/json", "X-CSRF-Token": localStorage.getItem("quantd.csrf") },
        })).status"""
        assert await page.evaluate(refused) == 403
        assert await page.evaluate("document.cookie") == ""  # HttpOnly: no script reads it


@in_module_loop
async def test_the_one_time_link_signs_in_once(shared: World, browser: Browser) -> None:
    link = shared.api.link()
    async with opened(browser, link) as page:
        await expect(page.locator("header")).to_contain_text("owner, admin")
        assert page.url == shared.api.url
        await page.reload()
        await expect(page.get_by_role("button", name="Halt …")).to_be_visible()
        (cookie,) = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        other = await page.context.new_page()  # a second tab has the same session
        await other.goto(shared.api.url)
        await expect(other.get_by_role("button", name="Halt …")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(other.get_by_role("button", name="Halt …")).to_have_count(0)
    async with opened(browser, link) as page:
        await page.get_by_role("button", name="Sign in …").click()
        await expect(page.get_by_role("alert")).to_contain_text("this link was used")


@in_module_loop
@pytest.mark.parametrize("width", [DESK, PHONE])
async def test_every_screen_is_accessible_and_fits_its_window(shared: World, browser: Browser, width: int) -> None:
    async with opened(browser, shared.api.url, width, shared.token) as page:
        for screen in SCREENS:
            await audit(page, screen)
            assert await unreachable(page) == [], screen
