"""The newest question of a screen wins: an answer to an older one is dropped, and never shown under the new one."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from quantd.daemon.engine.agents.promotion import exchange_policies
from tests.server.api.dashboard.screens import browser, in_module_loop, shared, show
from tests.server.api.routes.outside_run import REVIEWED
from tests.support.api_world import World, standing_at_the_end
from tests.support.browser import intercept, opened

__all__ = ["browser", "shared"]

SLOW_S = 3.0


async def late(route: Route) -> None:
    await asyncio.sleep(SLOW_S)
    await route.continue_()


async def many(route: Route) -> None:
    """An answer of a universe so large that its list has a search."""
    response = await route.fetch()
    await route.fulfill(response=response, json=await response.json() | {"count": 99})


HEADS = """window.heads = [];
setInterval(() => {
  const [field, title] = [document.querySelector("#symbol"), document.querySelector("#main h2")];
  if (field && title) window.heads.push([field.value, title.textContent, document.querySelectorAll(".candles").length]);
}, 20);"""
"""The field of the symbol, the title over the chart, and whether there is a chart, all the time."""


@pytest.mark.long
@in_module_loop
async def test_a_symbol_that_is_asked_for_while_another_one_is_read_is_the_one_that_is_shown(
    shared: World, browser: Browser
) -> None:
    async with opened(browser, shared.api.url) as page:
        await show(page, "market")
        await expect(page.locator(".candles")).to_have_count(1)
        await intercept(page, re.compile(r"/api/v1/bars\?.*symbol=SPY"), late)
        await page.evaluate(HEADS)
        for symbol in ("SPY", "IWM"):
            await page.locator("#symbol").fill(symbol)
            await page.locator("#symbol").press("Enter")
            await asyncio.sleep(0.3)
        await expect(page.locator(".candles")).to_have_count(1, timeout=2_000)
        assert await page.locator("#main h2").first.text_content() == "IWM"
        await asyncio.sleep(SLOW_S + 0.5)  # the answer about SPY has come
        assert await page.locator("#main h2").first.text_content() == "IWM"
        await expect(page.locator(".candles")).to_have_attribute("aria-label", re.compile("Prices of IWM"))
        heads = await page.evaluate("window.heads")
    after = heads[[field for field, _, _ in heads].index("IWM") :]
    shown = [title for _, title, chart in after if chart]
    first = shown.index("IWM")
    assert set(shown[first:]) == {"IWM"}  # an older answer never came back over it


FAST = "const ends = AbortSignal.timeout; AbortSignal.timeout = (ms) => ends.call(AbortSignal, ms / %d);"
"""Ends each request so many times as soon as the page asks for. The clock of playwright leaves these ends out."""


@pytest.mark.long
@pytest.mark.parametrize(("times", "within_ms"), [(10, 15_000), pytest.param(1, 25_000, marks=pytest.mark.slow)])
@in_module_loop
async def test_a_read_without_an_answer_ends_and_says_so(
    shared: World, browser: Browser, times: int, within_ms: int
) -> None:
    """A browser has six connections to a daemon: reads that never end would leave none for a halt."""

    async def never(route: Route) -> None:
        await asyncio.sleep(60)

    async with opened(browser, shared.api.url) as page:
        await page.evaluate(FAST % times)
        await intercept(page, re.compile(r"/api/v1/risk/metrics"), never)
        await page.evaluate("location.hash = 'risk'")
        await expect(page.locator("#main")).to_contain_text("no answer of the daemon", timeout=within_ms)


@pytest.mark.long
@in_module_loop
async def test_a_search_that_is_typed_fast_shows_what_the_whole_word_finds(shared: World, browser: Browser) -> None:
    async with opened(browser, shared.api.url) as page:
        await intercept(page, re.compile(r"/api/v1/risk\?search=$"), many)
        await intercept(page, re.compile(r"/api/v1/risk\?search=W$"), late)
        await page.reload()
        rows = page.get_by_role("region", name="Largest orders").locator("tbody tr")
        field = page.get_by_label("Search largest orders")
        await field.fill("W")
        await asyncio.sleep(0.3)
        await field.fill("QQQ")
        await expect(rows).to_have_count(1)
        await asyncio.sleep(SLOW_S + 0.5)  # the answer about W has come
        await expect(rows).to_have_count(1)
        await expect(rows).to_contain_text("QQQ")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guest(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with standing_at_the_end(tmp_path_factory.mktemp("guest"), REVIEWED) as world:
        exchange_policies(world.service.shell.state, 0, 1)
        yield world


@pytest.mark.long
@in_module_loop
async def test_a_proposal_that_arrives_while_a_read_runs_is_shown(guest: World, browser: Browser) -> None:
    async def post(path: str, body: object) -> None:
        async with guest.session.post(f"/api/v1/{path}", json=body, headers=guest.bearer) as response:
            assert response.status == 200, await response.text()

    order = {"side": "sell", "qty": "1", "symbol": "IWM", "reason": "so that a read runs", "agent": "trend"}
    async with opened(browser, guest.api.url, token=guest.token) as page:
        await expect(page.locator("header .switch")).to_contain_text("RUN")
        await page.evaluate("() => { location.hash = 'agents'; }")
        await expect(page.get_by_role("region", name="Agents", exact=True)).to_be_visible()
        await post("orders", order)
        await asyncio.sleep(0.35)
        await post("agents/guest/propose", {"weights": {"SPY": 0.4}, "id": "d-1", "reason": "it rises"})
        await expect(page.get_by_role("heading", name="Waiting for a person")).to_be_visible(timeout=4_000)


@pytest.mark.long
@in_module_loop
async def test_a_read_that_never_ends_holds_up_no_other_symbol(shared: World, browser: Browser) -> None:
    async def never(route: Route) -> None:
        await gone.wait()
        await route.abort()

    gone = asyncio.Event()
    async with opened(browser, shared.api.url) as page:
        await show(page, "market")
        await intercept(page, re.compile(r"/api/v1/bars\?.*symbol=SPY"), never)
        await page.locator("#symbol").fill("SPY")
        await page.locator("#symbol").press("Enter")
        await expect(page.locator("#main")).to_contain_text("reading SPY …")
        await page.locator("#symbol").fill("IWM")
        await page.locator("#symbol").press("Enter")
        await expect(page.locator(".candles")).to_have_attribute("aria-label", re.compile("Prices of IWM"))
        gone.set()
        await page.unroute_all(behavior="wait")


@pytest.mark.long
@in_module_loop
async def test_an_empty_list_is_claimed_after_an_answer_only(shared: World, browser: Browser) -> None:
    async with opened(browser, shared.api.url) as page:
        await intercept(page, "**/api/v1/alerts**", late)
        await intercept(page, "**/api/v1/portfolios", lambda route: route.fulfill(status=503, body="{}"))
        await page.reload()
        await page.evaluate("() => { location.hash = 'portfolios'; }")
        await expect(page.locator("header")).to_contain_text("incidents not known")
        await expect(page.locator("#main")).to_contain_text("not known: the read failed")
        await expect(page.locator("#main")).not_to_contain_text("no portfolio is open")
        await page.evaluate("() => { location.hash = 'incidents'; }")
        await expect(page.locator("#main")).to_contain_text("reading …")
        await expect(page.locator("#main")).not_to_contain_text("no open incident")
        await expect(page.locator("header")).to_contain_text("open incident", timeout=9_000)
        await page.unroute_all(behavior="wait")
