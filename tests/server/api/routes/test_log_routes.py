"""The log over the API and on the page: for a token that may trade, searched at the daemon."""

import logging

import pytest
from playwright.async_api import Browser, expect

from quantd.daemon.monitoring.log_ring import RING
from tests.server.api.dashboard.screens import browser, show
from tests.support.api_world import World, in_shared_loop
from tests.support.browser import PHONE, opened, violations

__all__ = ["browser"]


def line(text: str, level: str = "INFO") -> None:
    RING.handle(logging.makeLogRecord({"name": "quantd.test", "levelname": level, "msg": text}))


@in_shared_loop
async def test_the_log_needs_a_token_that_may_trade_and_pages_by_number(shared: World) -> None:
    async with shared.session.get("/api/v1/log") as response:
        assert response.status == 401
    for k in range(7):
        line(f"paged {k}", "WARNING")
    seen, cursor = [], ""
    while True:
        path = f"/api/v1/log?search=PAGED&level=WARNING&limit=3&cursor={cursor}"
        async with shared.session.get(path, headers=shared.bearer) as response:
            page = await response.json()
        seen += [row["text"] for row in page["lines"]]
        cursor = page["next"]
        if not cursor:
            break
    assert seen == [f"paged {k}" for k in range(6, -1, -1)]
    assert page["total"] == 7
    async with shared.session.get("/api/v1/log?level=LOUD", headers=shared.bearer) as response:
        assert response.status == 422


@pytest.mark.long
@in_shared_loop
@pytest.mark.parametrize("width", [1280, pytest.param(PHONE, marks=pytest.mark.slow)])
async def test_the_page_searches_the_log(shared: World, browser: Browser, width: int) -> None:
    line("feed.reconnected host=<b>x</b>", "WARNING")
    for k in range(40):
        line(f"filler {k}")
    async with opened(browser, shared.api.url, width) as page:
        await show(page, "system")
        await expect(page.get_by_role("heading", name="Log of the process")).to_have_count(0)
    async with opened(browser, shared.api.url, width, shared.token) as page:
        await show(page, "system")
        rows = page.get_by_role("region", name="Log", exact=True).locator("tbody tr")
        # the line of the sign-in is newer where another test of this process has set up the log of the API
        await expect(rows.filter(has_text="filler").first).to_contain_text("filler 39")
        await page.get_by_label("Search log").fill("reconnected")
        await expect(rows.first).to_contain_text("feed.reconnected host=<b>x</b>")
        await page.get_by_label("Level").select_option("ERROR")
        await expect(rows).to_contain_text("nothing matches")
        await page.evaluate("scrollTo(0, 0)")  # below the bar at the top, a button may be half covered
        assert await violations(page) == []
