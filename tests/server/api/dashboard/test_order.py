"""The largest order beside the form of an order by hand is that of the chosen book, as the gate would let it pass."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.server.api.dashboard.screens import browser, in_module_loop, show
from tests.server.requests.orders_by_hand import BY_HAND
from tests.support.api_world import RATES, World, standing_at_the_end
from tests.support.browser import opened

__all__ = ["browser"]

BOOKS = ("", "even", "trend")
"""Books of differing capital; empty is that of orders by hand."""

VAST = "99999"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    text = BY_HAND.replace("[api]\n", f"[api]\n{RATES}")
    async with standing_at_the_end(tmp_path_factory.mktemp("books"), text) as standing_world:
        yield standing_world


async def would_pass(world: World, side: str, agent: str) -> str:
    """The size that the gate leaves of a vast order for a book."""
    order = {"side": side, "qty": VAST, "symbol": "SPY", "agent": agent, "reason": "how much would pass"}
    async with world.session.post("/api/v1/orders/preview", json=order, headers=world.bearer) as response:
        preview = await response.json()
        assert response.status == 200, preview
        return str(preview["would"]["allowed"])


async def choose(page: Page, agent: str) -> None:
    await page.locator("#order-agent").select_option(agent)


@pytest.mark.long
@in_module_loop
async def test_the_largest_order_is_that_of_the_chosen_book(world: World, browser: Browser) -> None:
    sizes: dict[str, tuple[str, str]] = {}
    async with opened(browser, world.api.url, token=world.token) as page:
        await show(page, "order")
        await page.locator("#order-symbol").fill("SPY")
        for agent in BOOKS:
            await choose(page, agent)
            text = page.locator("#main .none", has_text=f"{agent or 'manual'} holds ")
            await expect(text).to_contain_text("Largest order that would pass now")
            said = re.search(r"buy ([\d,]+);.*Sell ([\d,]+);", await text.text_content() or "")
            assert said is not None, await text.text_content()
            sizes[agent] = said[1].replace(",", ""), said[2].replace(",", "")
            assert sizes[agent] == (await would_pass(world, "buy", agent), await would_pass(world, "sell", agent))
    assert len(set(sizes.values())) > 1, "the books must differ, or this shows nothing"


@pytest.mark.long
@in_module_loop
async def test_no_figure_of_another_book_is_shown_while_the_chosen_one_is_not_known(
    world: World, browser: Browser
) -> None:
    async def never(route: Route) -> None:
        await gone.wait()
        await route.abort()

    gone = asyncio.Event()
    async with opened(browser, world.api.url, token=world.token) as page:
        await show(page, "order")
        await page.route(re.compile(r"/api/v1/risk\?.*agent=trend"), never)
        await page.locator("#order-symbol").fill("SPY")
        await expect(page.locator("#main")).to_contain_text("Largest order that would pass now")
        await choose(page, "trend")
        await expect(page.locator("#main")).not_to_contain_text("Largest order that would pass now")
        await asyncio.sleep(1.5)  # the answers about the house have come
        await expect(page.locator("#main")).not_to_contain_text("Largest order that would pass now")
        await choose(page, "even")
        await expect(page.locator("#main")).to_contain_text("even holds ")
        gone.set()
        await page.unroute_all(behavior="wait")


@pytest.mark.long
@in_module_loop
async def test_a_sale_beyond_what_the_book_holds_is_called_a_short_sale(world: World, browser: Browser) -> None:
    """The house holds the symbol in another book, so that only the preview can tell."""
    async with world.session.get("/api/v1/risk?symbol=SPY&agent=even") as response:
        held = int((await response.json())["room"][0]["held"])
    assert held > 1
    async with opened(browser, world.api.url, token=world.token) as page:
        await show(page, "order")
        await page.locator("#order-symbol").fill("SPY")
        await page.locator("#order-side").select_option("sell")
        await page.locator("#order-reason").fill("a test")
        for agent, qty, words in (
            ("", 1, "manual holds -1 SPY: a short sale of this book, also where other books hold SPY"),
            ("even", 1, f"even holds {held - 1:,} SPY"),
        ):
            await choose(page, agent)
            await page.locator("#order-qty").fill(str(qty))
            await page.get_by_role("button", name="Preview").click()
            after = page.locator("dt", has_text="after it").locator("xpath=following-sibling::dd[1]")
            await expect(after).to_contain_text(words)
            assert ("short sale" in await after.inner_text()) == ("short sale" in words)
