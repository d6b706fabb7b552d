"""A fill or a refusal is drawn on the bar that contains it, and on no other one."""

import asyncio
import csv
import re
import statistics
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Page, Route, expect

from quantd.trading.sessions import DAY_NS
from tests.server.api.dashboard.screens import browser, in_module_loop, shared, show
from tests.server.api.model_worlds import Halfway
from tests.support.api_world import World, get
from tests.support.browser import PHONE, opened, unreachable, violations
from tests.support.command_line import CONFIG

__all__ = ["browser", "shared"]

BAR_AT = """async ([bars, events, length]) => {
  const { barAt } = await import("/dashboard/market.js");
  return events.map((ts) => barAt(bars.map((ts) => ({ ts })), ts, length));
}"""

SHOWN = 20
"""Bars of the shortened answer, of which one is missing in the middle."""


@pytest.mark.long
@in_module_loop
async def test_an_event_is_of_the_bar_that_contains_it_or_of_none(shared: World, browser: Browser) -> None:
    bars = [110, 120, 150, 160]  # ten long each: a gap from 120 to 140
    cases = {
        0: -1, 99: -1, 100: 0, 105: 0, 110: 0, 111: 1, 120: 1, 121: -1, 139: -1, 140: 2, 150: 2, 155: 3, 160: 3, 161: -1
    }  # fmt: skip
    async with opened(browser, shared.api.url) as page:
        assert await page.evaluate(BAR_AT, [bars, list(cases), 10]) == list(cases.values())
        assert await page.evaluate(BAR_AT, [[], [5], 10]) == [-1]
        days = [2 * DAY_NS, 5 * DAY_NS]
        assert await page.evaluate(BAR_AT, [days, [DAY_NS, DAY_NS + 1024, 4 * DAY_NS, 5 * DAY_NS], DAY_NS]) == [
            -1,
            0,
            -1,
            1,
        ]


@pytest.mark.long
@in_module_loop
async def test_an_account_without_positions_sees_the_fills_of_the_symbol_that_is_shown(
    tmp_path: Path, browser: Browser
) -> None:
    """Without a position the daemon chooses the symbol. Its fills and refusals are all there, as where it is typed."""
    world = Halfway(tmp_path, CONFIG)
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    async with aiohttp.ClientSession(world.api.url) as world.session:
        try:
            await world.feed(170)
            assert (await world.post("/api/v1/commands", {"command": "flatten", "reason": "out"}))[0] == 200
            await world.feed(6)
            assert (await get(world, "/api/v1/status"))[1]["positions"] == []
            fills = (await get(world, "/api/v1/fills?symbol=SPY&limit=200"))[1]["fills"]
            assert fills
            said = []
            for address in ("#market", "#market/SPY"):
                async with opened(browser, f"{world.api.url}{address}") as page:
                    table = page.get_by_role("region", name="Fills and refusals")
                    await expect(table).to_contain_text(f"filled at {float(fills[0]['price']):,.6f}".rstrip("0"))
                    said.append(await page.locator(".hover").inner_text())
            assert said[0] == said[1]
        finally:
            world.service.shell.stopped = "the test is over"
            await stepping
            await world.api.stop()
            world.store.close()


async def fewer(route: Route) -> None:
    """The newest bars without one in the middle: what is older, and in the gap, has no bar."""
    response = await route.fetch()
    answer = await response.json()
    bars = answer["bars"][-SHOWN - 1 :]
    await route.fulfill(response=response, json=answer | {"bars": bars[: SHOWN // 2] + bars[SHOWN // 2 + 1 :]})


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


@pytest.mark.long
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


MARKERS = """async () => {
  const src = document.querySelector("script[type=module]").src;
  const { markerOf } = await import(new URL("market.js", src).href);
  const agents = [..."abcdefgh"];
  const texts = (names, refused) => names.map((agent) => markerOf(names, { agent, side: "buy", refused }, 0).text);
  const colours = ["a", "b", "house"].map((agent) => markerOf(agents, { agent, side: "buy", refused: true }, 0).color);
  return [colours, texts(agents, false), texts(agents, true), texts(["a"], false), texts(["a"], true),
    [markerOf(agents, { agent: "b+h", side: "sell", refused: false }, 0).text]]; }"""


@pytest.mark.long
@in_module_loop
async def test_marks_of_agents_are_told_apart_without_colours(shared: World, browser: Browser) -> None:
    async with opened(browser, shared.api.url) as page:
        colours, fills, refused, *alone = await page.evaluate(MARKERS)
        assert len(set(colours)) == 3, "a limit of the house has no agent's colour"
        assert fills == list("12345678")
        assert refused == [f"○{number}" for number in fills]
        assert alone == [[""], ["○"], ["2+8"]]
        await show(page, "market")
        await expect(page.locator(".key").first).to_be_visible()
        keys = [" ".join(text.split()) for text in await page.locator(".key").all_inner_texts()]
        names = [agent["name"] for agent in (await get(shared, "/api/v1/status"))[1]["agents"]]
        assert keys == [f"{number} {name}" for number, name in enumerate(names, 1)]


@pytest.mark.long
@in_module_loop
async def test_an_indicator_is_that_of_the_bars_and_the_table_is_saved_with_it(
    shared: World, browser: Browser, tmp_path: Path
) -> None:
    _, answer = await get(shared, "/api/v1/bars?symbol=SPY&limit=250")
    closes = [bar["close"] for bar in answer["bars"]]
    async with opened(browser, f"{shared.api.url}#market/SPY") as page:
        await page.get_by_label("Indicator", exact=True).select_option("mean 20")
        await page.get_by_label("Second indicator").select_option("bands 20")
        await expect(page.locator(".candles canvas").first).to_be_visible()
        async with page.expect_download() as waiting:
            await page.get_by_role("button", name="Save prices of SPY as CSV").click()
        await (await waiting.value).save_as(tmp_path / "bars.csv")
        async with page.expect_download() as waiting:
            await page.get_by_role("button", name="Save prices of SPY as PNG").click()
        await (await waiting.value).save_as(tmp_path / "bars.png")
        assert len((tmp_path / "bars.png").read_bytes()) > 5_000
        assert await violations(page) == []
    rows = list(csv.DictReader((tmp_path / "bars.csv").read_text().splitlines()))
    assert [float(row["close"]) for row in rows] == closes
    assert {row["mean of 20"] for row in rows[:19]} == {""}
    for k in (19, 40, len(closes) - 1):
        part = closes[k - 19 : k + 1]
        mean, deviation = statistics.fmean(part), statistics.pstdev(part)
        assert float(rows[k]["mean of 20"]) == pytest.approx(mean)
        assert float(rows[k]["upper band of 20"]) == pytest.approx(mean + 2 * deviation)
        assert float(rows[k]["lower band of 20"]) == pytest.approx(mean - 2 * deviation)


@pytest.mark.long
@in_module_loop
async def test_an_exponential_mean_begins_with_the_mean_of_its_first_values(shared: World, browser: Browser) -> None:
    script = 'async (values) => (await import("/dashboard/indicators.js")).exponentialOf(values, 3)'
    async with opened(browser, shared.api.url) as page:
        means = await page.evaluate(script, [1, 2, 3, 4, 6])
    assert means == [None, None, 2, 3, 4.5]  # 2 + (4 - 2) / 2, 3 + (6 - 3) / 2


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize("width", [1440, PHONE])
async def test_interval_and_zoom_change_what_the_chart_shows_by_keyboard(
    shared: World, browser: Browser, width: int
) -> None:
    async with opened(browser, f"{shared.api.url}#market/QQQ", width) as page:
        hover = page.locator(".hover")
        await expect(hover).to_contain_text("bars since the start")
        _, weeks = await get(shared, "/api/v1/bars?symbol=QQQ&limit=1000&per=week")
        await page.get_by_label("Interval").select_option("week")
        await expect(hover).to_contain_text(f"{len(weeks['bars'])} weeks since the start")
        box = await page.locator(".candles").bounding_box()
        assert box is not None

        async def first_bar() -> str:
            await page.mouse.move(box["x"] + 5, box["y"] + 100)
            await expect(hover).to_contain_text("close")
            text = await hover.inner_text()
            await page.mouse.move(5, 5)
            return text[:10]

        await page.locator(".candles").scroll_into_view_if_needed()
        box = await page.locator(".candles").bounding_box()
        assert box is not None
        first_date = await first_bar()
        await page.get_by_role("button", name="Zoom in").focus()
        await page.keyboard.press("Enter")
        await page.wait_for_timeout(200)
        assert await first_bar() > first_date
        await page.get_by_role("button", name="All bars").click()
        await page.wait_for_timeout(200)
        assert await first_bar() == first_date
        assert await unreachable(page) == []


HISTORY = 600
"""Bars of the lengthened answer."""


async def longer(route: Route) -> None:
    """The newest bars of a market that is older than the one of the tests."""
    response = await route.fetch()
    answer = await response.json()
    bars = answer["bars"]
    earlier = [bars[0] | {"ts": bars[0]["ts"] - k * DAY_NS} for k in range(HISTORY - len(bars), 0, -1)]
    limit = int(re.findall(r"limit=(\d+)", route.request.url)[0])
    await route.fulfill(response=response, json=answer | {"bars": (earlier + bars)[-limit:]})


@pytest.mark.long
@in_module_loop
async def test_older_bars_come_by_moving_the_chart_and_by_a_button(shared: World, browser: Browser) -> None:
    async with opened(browser, shared.api.url) as page:
        await page.route("**/api/v1/bars?*", longer)
        await show(page, "market")
        words = page.locator(".hover")
        await expect(words).to_contain_text("The newest 250 bars; move the chart further")
        box = await page.locator(".candles").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + 100, box["y"] + 100)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 500, box["y"] + 100, steps=8)
        await page.mouse.up()
        await page.mouse.move(0, 0)
        await expect(words).to_contain_text("The newest 500 bars")
        await page.get_by_role("button", name="Older bars").click()
        await expect(words).to_contain_text(f"{HISTORY} bars since the start")
        await expect(page.get_by_role("button", name="Older bars")).to_have_count(0)
        await page.unroute_all(behavior="wait")
