"""A fill or a refusal is drawn on the bar that contains it, and on no other one."""

import re
from typing import Any

from playwright.async_api import Browser, Page, Route, expect

from tests.server.api.dashboard.test_page import browser, in_module_loop, shared
from tests.server.api.test_api import World
from tests.support.browser import opened

__all__ = ["browser", "shared"]

BAR_AT = """async ([bars, events, length]) => {
  const { barAt } = await import("/dashboard/market.js");
  return events.map((ts) => barAt(bars.map((ts) => ({ ts })), ts, length));
}"""

SHOWN = 20
"""Bars of the shortened answer, of which one is missing in the middle."""


@in_module_loop
async def test_an_event_is_of_the_bar_that_contains_it_or_of_none(shared: World, browser: Browser) -> None:
    bars = [110, 120, 150, 160]  # ten long each: a gap from 120 to 140
    cases = {
        0: -1, 99: -1, 100: 0, 105: 0, 110: 0, 111: 1, 120: 1, 121: -1, 139: -1, 140: 2, 150: 2, 155: 3, 160: 3, 161: -1
    }  # fmt: skip
    async with opened(browser, shared.api.url) as page:
        assert await page.evaluate(BAR_AT, [bars, list(cases), 10]) == list(cases.values())
        assert await page.evaluate(BAR_AT, [[], [5], 10]) == [-1]


async def fewer(route: Route) -> None:
    """The newest bars without one in the middle: what is older, and in the gap, has no bar."""
    response = await route.fetch()
    found = await response.json()
    bars = found["bars"][-SHOWN - 1 :]
    await route.fulfill(response=response, json=found | {"bars": bars[: SHOWN // 2] + bars[SHOWN // 2 + 1 :]})


async def under_the_cursor(page: Page) -> list[list[str]]:
    """The text under the chart at places from its left to its right edge: the bar, and its fills and refusals."""
    box = await page.locator(".candles").bounding_box()
    assert box is not None
    texts: dict[str, Any] = {}
    for step in range(SHOWN * 3):
        await page.mouse.move(box["x"] + box["width"] * (step + 0.5) / (SHOWN * 3), box["y"] + 100)
        text = await page.locator(".hover").inner_text()
        if "close" in text:
            texts[text] = text.splitlines()
    return list(texts.values())


@in_module_loop
async def test_a_mark_is_drawn_on_its_own_bar_and_an_older_one_not_on_the_first(
    shared: World, browser: Browser
) -> None:
    async with opened(browser, shared.api.url) as page:
        await page.route("**/api/v1/bars?*", fewer)
        await page.evaluate("() => { location.hash = 'market/SPY'; }")
        await expect(page.locator("#main")).to_have_attribute("aria-busy", "false")
        await expect(page.locator(".candles canvas").first).to_be_visible()
        read = re.search(r"(\d+) of (\d+) fills and refusals", await page.locator(".hover").inner_text())
        texts = await under_the_cursor(page)
        await page.unroute_all(behavior="wait")
    assert len(texts) >= SHOWN - 2
    marks = [(bar[:10], mark) for bar, *marks in texts for mark in marks]
    assert marks, "the bars have no fill, or this shows nothing"
    assert [(day, mark) for day, mark in marks if not mark.startswith(day)] == []
    assert read is not None
    assert 0 < int(read[1]) < int(read[2])
