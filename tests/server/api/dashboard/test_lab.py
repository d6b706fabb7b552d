"""Backtests that are started on the page: validated, named, pinned, and beside the run."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.server.api.dashboard.screens import in_module_loop, show
from tests.support.api_world import RATES, World, get, standing_at_the_end
from tests.support.browser import PHONE, opened, sideways, violations
from tests.support.command_line import CONFIG

LOOKBACK = "agents.trend.params.lookback"
HOSTILE = "<img src=x onerror=window.hacked=1>"


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with standing_at_the_end(tmp_path_factory.mktemp("lab"), CONFIG + RATES) as running:
        yield running


def rows(page: Page, table: str) -> Any:
    return page.get_by_role("region", name=table, exact=True).locator("tbody tr")


async def started(page: Page, sets: str, reason: str, kind: str = "backtest", over: str = "") -> None:
    """Fills the form by the keyboard and sends it."""
    await page.get_by_role("button", name="Start a backtest or a sweep …").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("What").select_option(kind)
    if over:
        await dialog.get_by_label("Over, a KEY=VALUES in each line").fill(over)
    await dialog.get_by_label("Other values, a KEY=VALUE in each line").fill(sets)
    await dialog.get_by_label("Reason, for the journal").fill(reason)
    await page.keyboard.press("Enter")


async def pinned(page: Page, run: str) -> None:
    await page.get_by_role("button", name=f"Pin … {run}").click()
    await page.keyboard.type(f"{HOSTILE} it is mine")
    await page.keyboard.press("Enter")
    await expect(page.locator(".said")).to_contain_text(f"{run} is pinned as the reference of this run")


@pytest.mark.long
@pytest.mark.parametrize("width", [pytest.param(1440, marks=pytest.mark.slow), PHONE])
@in_module_loop
async def test_a_backtest_is_started_named_and_pinned_and_the_gap_has_causes_only_where_nothing_differs(
    world: World, browser: Browser, width: int
) -> None:
    async with opened(browser, world.api.url, width, world.token) as page:
        await show(page, "research")
        await expect(page.locator("#main")).to_contain_text("nothing was started on this page")
        await started(page, "risk.max_drawdown=7\nagents.trend.params.lookbak=30", HOSTILE)
        fault = page.get_by_role("dialog").get_by_role("alert")
        await expect(fault).to_contain_text("NOT STARTED")
        for words in ("max_drawdown", "lookbak"):  # each line of the loader
            await expect(fault).to_contain_text(words)
        assert await violations(page) == []
        await page.get_by_label("Other values, a KEY=VALUE in each line").fill(f"{LOOKBACK}=30")
        await page.get_by_role("dialog").get_by_label("Reason, for the journal").press("Enter")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        jobs, stored = rows(page, "Started here"), rows(page, "Stored backtests")
        await expect(jobs.first).to_contain_text("succeeded", timeout=60_000)
        await expect(jobs.first).to_contain_text(HOSTILE)
        await expect(jobs.first).to_contain_text(f"{LOOKBACK}=30: run ")
        await expect(stored.first).to_contain_text(f"{LOOKBACK} 30, here 60")
        await started(page, "", "as it is")
        await expect(stored).to_have_count(2, timeout=60_000)
        await expect(stored.first).to_contain_text("as the run")
        await expect(stored.first).to_contain_text(re.compile(r"-?\d\.\d\d"))
        _, beside = await get(world, "/api/v1/research/beside")
        alike, other = (stored["run"] for stored in beside["stored"])
        card = page.locator("section").filter(has_text="The run beside its")
        await expect(card).to_contain_text("by commissions")
        await pinned(page, other)
        await expect(card.locator("h2")).to_have_text("The run beside its pinned reference")
        await expect(card).to_contain_text(f"another configuration: {LOOKBACK} 30, here 60")
        await expect(card).not_to_contain_text("by commissions")
        await expect(page.locator("#main")).to_contain_text("pinned by api:owner on")
        async with opened(browser, world.api.url, width, world.token) as second:  # of another person
            await show(second, "research")
            there = second.locator("section").filter(has_text="The run beside its")
            await expect(there.locator("h2")).to_have_text("The run beside its pinned reference")
            await pinned(page, alike)
            await expect(there).to_contain_text("by commissions", timeout=10_000)
            await expect(rows(second, "Stored backtests").first).to_contain_text(f"{alike}, the reference")
        await expect(card).to_contain_text("by commissions")
        assert await violations(page) == []
        assert await sideways(page) == 0
        assert await page.evaluate("window.hacked") is None
