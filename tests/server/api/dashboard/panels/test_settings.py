"""The arrangement of the page: kept by this browser alone, also where it stores nothing."""

import pytest
from playwright.async_api import Browser, Page, expect

from tests.server.api.dashboard.screens import audit, browser, in_module_loop, shared, show
from tests.support.api_world import World
from tests.support.browser import PHONE, opened

__all__ = ["browser", "shared"]

BLOCKED = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } });"


async def panels(page: Page) -> list[str]:
    """The arranged panels of Now, as they are shown."""
    heads = ("Equity, since the start", "Profit by", "Limits of the house", "Largest order that would pass now")
    shown = await page.locator("main > section > h2").all_inner_texts()
    return [head for text in shown for head in heads if text.startswith(head)]


@pytest.mark.long
@in_module_loop
async def test_panels_are_ordered_and_hidden_for_this_browser(shared: World, browser: Browser) -> None:
    async with opened(browser, shared.api.url) as page:
        await show(page, "now")
        await expect(page.get_by_role("heading", name="Equity, since the start")).to_be_visible()
        before = await panels(page)

        await page.get_by_text("Arrange this screen").click()
        await page.get_by_role("checkbox", name="Largest orders").uncheck()
        await page.get_by_role("button", name="Move All limits of the house up").click()
        await audit(page, "now")
        await expect(page.get_by_role("heading", name="Largest order that would pass now")).to_have_count(0)
        await page.reload()
        await expect(page.get_by_role("heading", name="Equity, since the start")).to_be_visible()
        after = await panels(page)
        assert set(after) == set(before) - {"Largest order that would pass now"}
        assert after.index("Limits of the house") == before.index("Limits of the house") - 1
        await page.evaluate("() => localStorage.setItem('quantd.now.panels', '[\"of another version\"]')")
        await page.reload()
        await expect(page.get_by_role("heading", name="Largest order that would pass now")).to_be_visible()
    async with opened(browser, shared.api.url) as page:
        await show(page, "now")
        await expect(page.get_by_role("heading", name="Largest order that would pass now")).to_be_visible()


@pytest.mark.long
@in_module_loop
async def test_lines_and_indicators_are_kept_and_a_browser_without_storage_works(
    shared: World, browser: Browser
) -> None:
    async with opened(browser, shared.api.url) as page:
        await show(page, "now")
        await page.get_by_role("button", name="equal weight", exact=True).click()
        await show(page, "market")
        await page.get_by_label("Interval").select_option("week")
        await page.reload()
        await expect(page.get_by_label("Interval")).to_have_value("week")
        await show(page, "now")
        line = page.get_by_role("button", name="equal weight", exact=True)
        await expect(line).to_have_attribute("aria-pressed", "true")
    async with opened(browser, shared.api.url, PHONE) as page:
        await page.add_init_script(BLOCKED)
        await page.reload()
        await page.get_by_text("Arrange this screen").click()
        await page.get_by_role("checkbox", name="Largest orders").uncheck()
        await expect(page.locator("#fold-largest")).to_have_count(0)
