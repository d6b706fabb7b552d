"""What a trader looks for on the page, and no other file here shows."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.server.api.dashboard.cockpit import read
from tests.server.api.dashboard.screens import browser, commands, in_module_loop, show
from tests.server.api.model_worlds import Halfway
from tests.server.api.routes.traded_run import ok, traded
from tests.support.browser import PHONE, opened, sideways
from tests.support.command_line import answer, quantd

__all__ = ["browser"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Halfway]:
    async with traded(tmp_path_factory.mktemp("rows")) as traded_world:
        yield traded_world


@pytest.mark.long
@in_module_loop
async def test_the_curve_has_the_benchmark_and_the_drawdown_its_peak(world: Halfway, browser: Browser) -> None:
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        profit = await ok(world, "/api/v1/profit/curve")
        worth = profit["curve"]["benchmark"]
        assert profit["benchmark"] == "SPY"
        await page.get_by_label("Crosshair").focus()
        await page.keyboard.press("End")
        grown = f"{100.0 * (worth[-1] - 1.0):+.2f} %".replace("-", "−")
        await expect(page.locator(".readout p")).to_contain_text(f"SPY {grown}")
        now = await ok(world, "/api/v1/status")
        peak = float(now["equity"]) / (1.0 - now["drawdown"])
        figures = page.get_by_role("region", name="Account")
        await expect(figures).to_contain_text(f"from the peak of {peak:,.2f}")


@pytest.mark.long
@in_module_loop
async def test_a_thumb_halts_and_resumes_on_a_phone(world: Halfway, browser: Browser) -> None:
    before = len(commands(world))
    async with opened(browser, world.api.url, PHONE, world.token, has_touch=True, is_mobile=True) as page:
        await page.get_by_role("button", name="Halt …").tap()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Halt all trading").tap()
        await expect(page.locator("header .switch")).to_contain_text("HALT")
        assert await sideways(page) == 0
        await page.get_by_role("button", name="Resume …").tap()
        await dialog.get_by_label("Reason, for the journal").fill("looked at it")
        await dialog.get_by_role("button", name=re.compile("^Resume")).last.tap()
        await expect(page.locator("header .switch")).to_contain_text("RUN")
    assert [fields[0] for fields in commands(world)[before:]] == ["halt", "resume"]


@pytest.mark.long
@in_module_loop
async def test_the_run_is_beside_a_stored_backtest_on_the_page(world: Halfway, browser: Browser) -> None:
    folder = world.folder.parent
    answer(quantd(folder, "backtest", "--journal", "--no-compare", "--json", "--state", str(world.folder)))
    async with opened(browser, world.api.url) as page:
        await show(page, "research")
        await read(page)
        beside = await ok(world, "/api/v1/research/beside?points=2")
        assert beside["backtest"]
        await expect(page.locator("#main")).to_contain_text(re.compile("beside", re.IGNORECASE))
        await expect(page.locator("#main")).to_contain_text(beside["backtest"])
