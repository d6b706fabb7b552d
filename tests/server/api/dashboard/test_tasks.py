"""Tasks of a day, by mouse and by keyboard alone: each ends with its answer, in few clicks, and prints a table.

python -m pytest -s -m long tests/server/api/dashboard/test_tasks.py
"""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from tests.server.api.dashboard.screens import SCREENS, commands, in_module_loop, show
from tests.server.api.model_worlds import Halfway
from tests.server.api.routes.traded_run import ok, traded
from tests.support.browser import PHONE, opened, sideways, violations

WINDOW = {"width": 1440, "height": 900}

MOST_TABS = 120
"""Presses of Tab after which a control counts as not reached."""


@dataclass
class Hand:
    """What a person does, counted: clicks of the mouse, or presses of keys."""

    page: Page
    keys: bool
    acts: int = 0

    async def key(self, name: str) -> None:
        self.acts += 1
        await self.page.keyboard.press(name)

    async def to(self, target: Locator) -> None:
        """Tab to a control."""
        for _ in range(MOST_TABS):
            if await target.evaluate("(e) => e === document.activeElement"):
                return
            await self.key("Tab")
        raise AssertionError(f"Tab does not reach {target}")

    async def press(self, target: Locator) -> None:
        """Press a button or a link."""
        await expect(target).to_be_visible()
        if self.keys:
            await self.to(target)
            await self.key("Enter")
        else:
            self.acts += 1
            await target.click()

    async def choose(self, target: Locator, value: str, letter: str) -> None:
        """Choose in a list; by keyboard by the first letters of its words."""
        if self.keys:
            await self.to(target)
            for character in letter:
                await self.key(character)
        else:
            self.acts += 2
            await target.select_option(value)
        await expect(target).to_have_value(value)

    async def write(self, target: Locator, text: str) -> None:
        """Type into a field; a word is one act."""
        if self.keys:
            await self.to(target)
        self.acts += 1
        await target.fill(text)

    async def screen(self, name: str, key: str) -> None:
        """Go to a screen, by its link or by its key."""
        if self.keys:
            await self.key(key)
        else:
            self.acts += 1
            await self.page.get_by_role("navigation").locator(f"a[href='#{name}']").click()
        await expect(self.page.locator("#main")).to_have_attribute("aria-busy", "false")


async def halt(hand: Hand, world: Halfway) -> None:
    before = len(commands(world))
    if hand.keys:
        await hand.key("h")
        await hand.key("Enter")
    else:
        await hand.press(hand.page.get_by_role("button", name="Halt …"))
        await hand.press(hand.page.get_by_role("button", name="Halt all trading"))
    await expect(hand.page.locator("header .switch")).to_contain_text("HALT")
    assert [fields[0] for fields in commands(world)[before:]] == ["halt"]


async def why_refused(hand: Hand, world: Halfway) -> None:
    await hand.screen("orders", "3")
    await hand.choose(hand.page.get_by_label("State"), "refused", "r")
    rows = hand.page.get_by_role("region", name="Orders", exact=True).locator("tbody tr")
    await expect(rows.first).to_contain_text("refused")
    await hand.press(rows.first.get_by_role("button", name=re.compile("^Why")))
    beside = hand.page.locator("aside")
    await expect(beside.get_by_role("row").filter(has_text="here").first).to_be_visible(timeout=30_000)


async def unusual(hand: Hand, world: Halfway) -> None:
    await expect(hand.page.locator("[aria-current=page]").first).to_be_visible()
    if not await hand.page.locator("[aria-current=page][href='#now']").count():
        await hand.screen("now", "1")
    days = (await ok(world, "/api/v1/profit/days?by=day&limit=253"))["days"]
    less = sum(abs(day["total_return"]) < abs(days[0]["total_return"]) for day in days[1:])
    tile = hand.page.locator(".figure").filter(has_text="Today")
    await expect(tile).to_contain_text(f"moved more than on {less} of {len(days) - 1} days")


async def earned(hand: Hand, world: Halfway) -> None:
    period = hand.page.get_by_role("group", name="Period").get_by_role("button", name=re.compile("^1M:"))
    await hand.press(period)
    await expect(period).to_have_attribute("aria-pressed", "true")
    since = (await ok(world, "/api/v1/period?period=1M"))["since"]
    books = (await ok(world, f"/api/v1/profit?since={since}"))["books"]
    agents = (await ok(world, "/api/v1/status"))["agents"]
    titles = {agent["name"]: agent.get("portfolio") or agent["name"] for agent in agents}
    table = hand.page.get_by_role("region", name="Contributions", exact=True)
    for book in books:
        words = f"{float(book['profit']):+,.2f}".replace("-", "−")
        title = titles.get(book["name"], book["name"])
        await expect(table.get_by_role("row").filter(has_text=title)).to_contain_text(words)


async def month_against_spy(hand: Hand, world: Halfway) -> None:
    await hand.press(hand.page.get_by_role("group", name="Period").get_by_role("button", name=re.compile("^1M:")))
    since = (await ok(world, "/api/v1/period?period=1M"))["since"]
    worth = (await ok(world, f"/api/v1/profit/curve?since={since}"))["curve"]["benchmark"][-1]
    text = f"SPY {100.0 * (worth - 1.0):+.2f} %".replace("-", "−")
    await expect(hand.page.get_by_role("region", name="Account")).to_contain_text(text)


async def lost_money(hand: Hand, world: Halfway) -> None:
    books = (await ok(world, "/api/v1/profit"))["books"]
    worst = min(books, key=lambda book: float(book["profit"]))
    row = hand.page.get_by_role("region", name="Contributions", exact=True).get_by_role("row")
    await expect(row.filter(has_text=worst["name"])).to_contain_text(
        f"{float(worst['profit']):+,.2f}".replace("-", "−")
    )


async def halt_on_a_phone(hand: Hand, world: Halfway) -> None:
    await hand.page.set_viewport_size({"width": PHONE, "height": 844})
    await hand.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await halt(hand, world)


async def tighter(hand: Hand, world: Halfway) -> None:
    value = "0.15" if hand.keys else "0.2"
    await hand.screen("system", "0")
    await hand.write(hand.page.get_by_label("Search settings that may change"), "[risk] max_drawdown")
    await hand.press(hand.page.get_by_role("button", name="Change [risk] max_drawdown"))
    dialog = hand.page.get_by_role("dialog")
    await hand.write(dialog.get_by_label("New value"), value)
    await hand.write(dialog.get_by_label("Reason"), "a task")
    await hand.press(dialog.get_by_role("button", name="Look"))
    await hand.press(dialog.get_by_role("button", name="Write it into the file"))
    await expect(dialog).to_have_count(0)
    assert world.service.shell.state.rules.house.max_drawdown == float(value)
    assert f"max_drawdown = {value}" in (world.folder.parent / "config.toml").read_text()


async def needs_me(hand: Hand, world: Halfway) -> None:
    await hand.screen("daemons", "d")
    first = hand.page.locator("#main tbody tr").first
    await expect(first).to_contain_text(re.compile("RUN|HALT|REDUCE"))


async def run(world: Halfway) -> None:
    await world.post("/api/v1/commands", {"command": "resume", "reason": "on"})


TASKS: dict[str, tuple[Callable[[Hand, Halfway], Awaitable[None]], int]] = {
    "halt": (halt, 2),
    "why was this refused": (why_refused, 4),
    "is today unusual": (unusual, 0),
    "what did each agent earn this month": (earned, 1),
    "which daemon needs me": (needs_me, 1),
    "one month against SPY": (month_against_spy, 1),
    "which agent lost money": (lost_money, 0),
    "halt from the phone, scrolled down": (halt_on_a_phone, 2),
    "change a limit": (tighter, 7),
}
"""Task -> how it is done, and the most clicks."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Halfway]:
    async with traded(tmp_path_factory.mktemp("tasks")) as traded_world:
        yield traded_world


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize("both_audited", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_tasks_by_mouse_and_by_keyboard_alone(
    world: Halfway, browser: Browser, capsys: pytest.CaptureFixture[str], both_audited: bool
) -> None:
    """A task by keyboard ends at the screen of the task by mouse, whose accessibility is looked at in CI."""
    rows: list[tuple[Any, ...]] = []
    async with opened(browser, world.api.url, token=world.token) as page:
        for name, (task, most) in TASKS.items():
            row: list[Any] = [name]
            for keys in (False, True):
                await page.set_viewport_size(WINDOW)  # type: ignore[arg-type]
                await page.goto("about:blank")  # another address of the page alone loads nothing
                await page.goto(world.api.url)
                await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
                await expect(page.locator("#main")).to_have_attribute("aria-busy", "false")
                hand = Hand(page, keys)
                began = time.monotonic()
                await task(hand, world)
                row += [hand.acts, time.monotonic() - began]
                if both_audited or not keys:
                    assert await violations(page) == [], name
                assert await sideways(page) == 0, name
                if not keys:
                    assert hand.acts <= most, name
                await run(world)
            rows.append(tuple(row))
    with capsys.disabled():
        print(f"\n{'task':40s}{'clicks':>8s}{'s':>7s}{'keys':>8s}{'s':>7s}")  # noqa: T201
        for task_, clicks, click_s, presses, press_s in rows:
            print(f"{task_:40s}{clicks:8d}{click_s:7.2f}{presses:8d}{press_s:7.2f}")  # noqa: T201


TURNS = [pytest.param(240, 120, id="6 hours"), pytest.param(480, 480, id="16 hours", marks=pytest.mark.slow)]
"""Bars of a minute after which every list of the page is full and its scripts are compiled, and those after them."""


async def heap(page: Page) -> int:
    """Bytes of the page's heap once its garbage is collected: the least of some looks, as reads come in between."""
    session = await page.context.new_cdp_session(page)
    looks = []
    for _ in range(8):
        await session.send("HeapProfiler.collectGarbage")
        looks.append(int((await session.send("Runtime.getHeapUsage"))["usedSize"]))
        await page.wait_for_timeout(400)
    await session.detach()
    return min(looks)


@pytest.mark.slow
@in_module_loop
@pytest.mark.parametrize(("settled", "more"), TURNS)
async def test_the_heap_is_flat_over_more_events(
    world: Halfway, browser: Browser, capsys: pytest.CaptureFixture[str], settled: int, more: int
) -> None:
    async with opened(browser, world.api.url, token=world.token) as page:
        sizes: list[int] = []
        nodes: list[int] = []
        for number in range(1, settled + more + 1):
            command = "halt" if number % 2 else "resume"
            await world.post("/api/v1/commands", {"command": command, "reason": f"event {number}"})
            if number % 10 == 0:
                screen = SCREENS[number // 10 % len(SCREENS)]
                await page.evaluate("(name) => { location.hash = name; }", screen)
                await page.wait_for_timeout(200)
            if number in (settled, settled + more):
                await show(page, "now")
                await expect(page.locator("header .switch")).to_contain_text("RUN")
                sizes.append(await heap(page))
                nodes.append(await page.evaluate("document.querySelectorAll('*').length"))
        with capsys.disabled():
            in_mb = " and ".join(f"{size / 1e6:.2f}" for size in sizes)
            print(f"\nheap after {settled} and {settled + more} events, MB: {in_mb}")  # noqa: T201
            print(f"nodes: {nodes}")  # noqa: T201
    assert sizes[1] < 1.1 * sizes[0], sizes
    assert nodes[1] < 1.1 * nodes[0], nodes
