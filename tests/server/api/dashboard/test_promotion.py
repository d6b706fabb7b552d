"""A promotion that its test does not support needs the name of its agent, and shows what it would change."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.server.api.dashboard.controls import TEXT
from tests.server.api.dashboard.screens import browser, in_module_loop, show
from tests.support.api_world import standing_at_the_end
from tests.support.browser import PHONE, opened, violations

__all__ = ["browser"]


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize("width", [pytest.param(1440, marks=pytest.mark.slow), PHONE])
async def test_a_promotion_against_its_test_wants_the_name_of_its_agent(
    tmp_path: Path, browser: Browser, width: int
) -> None:
    async with standing_at_the_end(tmp_path, TEXT) as world, opened(browser, world.api.url, width, world.token) as page:
        await show(page, "agents")
        region = page.get_by_role("region", name="Agents", exact=True)
        await region.get_by_role("button", name="guest", exact=True).click()
        await page.get_by_role("button", name="Promote: guest …").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_role("region", name="Weights of both")).to_be_visible()
        # an external agent decides by proposals, so that no orders follow from a call
        await expect(dialog.get_by_role("status").filter(has_text="trend is not called")).to_be_visible()
        await expect(dialog).to_contain_text("p = 1.000 is above 0.006: the data do not show that guest is better")
        promote = dialog.get_by_role("button", name="Promote")
        await dialog.get_by_label("Reason, for the journal").fill("I know better")
        for text in ("", "gues", "Guest"):
            await dialog.locator("#typed").fill(text)
            await expect(promote).to_be_disabled()
            await page.keyboard.press("Enter")
        assert await violations(page) == []
        await asyncio.sleep(0.3)
        assert world.service.shell.state.seats == list(range(len(world.service.shell.state.seats)))
        await dialog.locator("#typed").fill("guest")
        await expect(promote).to_be_enabled()
        await page.keyboard.press("Enter")
        await expect(page.locator(".said")).to_contain_text("promote of guest was carried out")
