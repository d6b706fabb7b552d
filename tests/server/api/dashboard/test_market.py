"""Market: marks are on their own bar, the newest question wins, and this browser keeps its arrangement."""

import asyncio
import csv
import re
import statistics
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from quantd.daemon.engine.agents.promotion import exchange_policies
from quantd.trading.sessions import DAY_NS
from tests.server.api.dashboard.screens import audit, in_module_loop, show
from tests.server.api.model_worlds import halfway
from tests.server.api.routes.outside_run import REVIEWED
from tests.support.api_world import World, get, standing_at_the_end
from tests.support.browser import PHONE, intercept, opened, unreachable, violations
from tests.support.command_line import CONFIG

SHOWN = 20
"""Bars of the shortened answer, of which one is missing in the middle."""


@pytest.mark.long
@in_module_loop
async def test_an_account_without_positions_sees_the_fills_of_the_symbol_that_is_shown(
    tmp_path: Path, browser: Browser
) -> None:
    """Without a position the daemon chooses the symbol. Its fills and refusals are all there, as where it is typed."""
    async with halfway(tmp_path, count=170, text=CONFIG) as world:
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
async def test_interval_and_zoom_change_what_the_chart_shows_by_keyboard(shared: World, browser: Browser) -> None:
    async with opened(browser, f"{shared.api.url}#market/QQQ", PHONE) as page:
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
        # a chart that still shows its oldest bar has fetched the next ones by itself
        await expect(words).to_contain_text(re.compile(f"The newest 500 bars|{HISTORY} bars since the start"))
        if await page.get_by_role("button", name="Older bars").count():
            await page.get_by_role("button", name="Older bars").click()
        await expect(words).to_contain_text(f"{HISTORY} bars since the start")
        await expect(page.get_by_role("button", name="Older bars")).to_have_count(0)
        await page.unroute_all(behavior="wait")


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


FAST = "const ends = AbortSignal.timeout; AbortSignal.timeout = (ms) => ends.call(AbortSignal, ms / 10);"
"""Ends each request ten times as soon as the page asks for. The clock of playwright leaves these ends out."""


@pytest.mark.long
@in_module_loop
async def test_a_read_without_an_answer_ends_and_says_so(shared: World, browser: Browser) -> None:
    """A browser has six connections to a daemon: reads that never end would leave none for a halt."""

    async def never(route: Route) -> None:
        await asyncio.sleep(60)

    async with opened(browser, shared.api.url) as page:
        await page.evaluate(FAST)
        await intercept(page, re.compile(r"/api/v1/risk/metrics"), never)
        await page.evaluate("location.hash = 'risk'")
        await expect(page.locator("#main")).to_contain_text("no answer of the daemon", timeout=15_000)


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
