"""Why is beside every row, with a link of its own and a way through the day; terms have their meaning beside them."""

import asyncio
import re
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec import json
from playwright.async_api import Browser, Route, expect

from quantd.research.routes.performance_routes import VarRecord
from quantd.risk.measures.var_backtest import backtest
from quantd.server.api.routes.dashboard_routes import FOLDER
from tests.server.api.dashboard.cockpit import read, world
from tests.server.api.dashboard.screens import in_module_loop, show
from tests.server.api.model_worlds import Halfway
from tests.server.api.routes.traded_run import TEXT, ok, traded
from tests.support.api_world import standing_at_the_end
from tests.support.browser import PHONE, intercept, opened, sideways, violations
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG

__all__ = ["world"]

TERMS = (FOLDER / "panels" / "terms.js").read_text()


@pytest.mark.long
@in_module_loop
async def test_why_opens_beside_the_row_and_has_a_link_that_opens_it_again(world: Halfway, browser: Browser) -> None:
    async with opened(browser, world.api.url, 1440) as page:
        await show(page, "now")
        await page.get_by_role("button", name="Why SPY").click()
        panel = page.get_by_role("complementary", name="Why")
        await expect(panel.get_by_role("heading", name="Why SPY")).to_be_focused()
        explanation = await ok(world, "/api/v1/why/SPY")
        await expect(panel).to_contain_text(f"{explanation['side'].upper()} {explanation['qty']} SPY, decided")
        assert page.url.endswith("#now?why=SPY")
        beside, row = await panel.bounding_box(), await page.get_by_role("region", name="Positions").bounding_box()
        assert beside is not None
        assert row is not None
        assert beside["x"] > row["x"] + row["width"]
        assert (await violations(page), await sideways(page)) == ([], 0)
        await page.reload()
        await expect(panel).to_contain_text("SPY, decided")
        await page.keyboard.press("Escape")
        await expect(panel).to_have_count(0)
        assert page.url.endswith("#now")
        await page.go_back()
        await expect(panel).to_contain_text("SPY, decided")


@pytest.mark.long
@in_module_loop
async def test_earlier_and_later_walk_through_all_trades_of_a_day(world: Halfway, browser: Browser) -> None:
    orders = (await ok(world, "/api/v1/orders?limit=10000"))["orders"]
    day = next(order["time"][:10] for order in orders if sum(o["time"][:10] == order["time"][:10] for o in orders) > 1)
    refused = (await ok(world, "/api/v1/refusals?limit=10000&group=refused"))["refusals"]
    expected = {order["id"] for order in orders if order["time"].startswith(day)}
    expected |= {refusal["address"] for refusal in refused if refusal["time"].startswith(day)}
    start = next(order["id"] for order in orders if order["time"].startswith(day))
    async with opened(browser, f"{world.api.url}#orders/{start}") as page:
        panel = page.get_by_role("complementary", name="Why")
        steps = panel.locator(".steps")
        await expect(steps).to_contain_text(f"of {len(expected)} of the day")
        while await panel.get_by_role("button", name="Earlier").is_enabled():
            await panel.get_by_role("button", name="Earlier").click()
            await expect(steps).to_contain_text("of the day")
            await read(page)
        seen = set()
        for number in range(1, len(expected) + 1):
            await expect(steps).to_contain_text(f"trade {number} of {len(expected)} of the day")
            seen.add(re.sub("^Why ", "", await panel.get_by_role("heading", level=2).inner_text()))
            if number < len(expected):
                await panel.get_by_role("button", name="Later").click()
        await expect(panel.get_by_role("button", name="Later")).to_be_disabled()
    assert seen == expected


@pytest.mark.long
@in_module_loop
async def test_the_number_of_trades_of_a_day_is_not_claimed_before_its_answer(world: Halfway, browser: Browser) -> None:
    order = (await ok(world, "/api/v1/orders?limit=1"))["orders"][0]["id"]
    answer = asyncio.Event()

    async def held(route: Route) -> None:
        await answer.wait()
        await route.continue_()

    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        await page.context.route("**/api/v1/refusals?*", held)
        await page.evaluate("(id) => { location.hash = `now?why=${id}`; }", order)
        steps = page.get_by_role("complementary", name="Why").locator(".steps")
        await expect(steps).to_be_visible()
        await page.wait_for_timeout(500)
        assert not re.search("[0-9]", await steps.inner_text())
        answer.set()
        await expect(steps).to_contain_text(re.compile(r"trade [0-9]+ of [0-9]+ of the day"))


COOLING = "[risk]\nprotective = { stop_loss = 0.01, take_profit = 0.02, cooldown = 3 }\n"


@pytest.mark.long
@in_module_loop
async def test_why_of_a_refusal_begins_with_the_cooldown_and_its_end_and_folds_the_rest(
    tmp_path: Path, browser: Browser
) -> None:
    async with standing_at_the_end(tmp_path, CONFIG.replace("[risk]\n", COOLING)) as world:
        rows = (await ok(world, "/api/v1/refusals?limit=10000"))["refusals"]
        refused = [
            row for row in rows if row["reason"] == "protected" and row["symbol"] == "SPY" and row["who"] == "even"
        ]
        refused.sort(key=lambda row: row["ts"])
        assert len(refused) > 3
        for row in refused[:4]:
            explanation = await ok(world, f"/api/v1/why/{row['address']}")
            (cut,) = [limit for agent in explanation["agents"] for limit in agent["limits"] if limit["cut"]]
            over = re.search(r"cooldown of 3 samples after a protective exit, over at (\S+)$", cut["words"])
            assert over is not None, cut["words"]
            free = datetime.fromisoformat(over[1]).timestamp() * 1e9
            assert row["ts"] < free
            assert all(other["ts"] != free for other in refused), "it is free when it is over"
        for width in (1280, PHONE):
            async with opened(browser, f"{world.api.url}#now?why={refused[0]['address']}", width) as page:
                panel = page.get_by_role("complementary", name="Why")
                await expect(panel).to_contain_text("BUY SPY, decided")
                await expect(panel.locator("strong.REDUCE").first).to_have_text("Refused by the limits of agent even")
                decided = panel.get_by_role("region", name="What decided for agent even")
                await expect(decided).to_contain_text(
                    re.compile("cooldown of 3 samples after a protective exit, over at 2019-01-.. 16:00")  # New York
                )
                await expect(panel.get_by_role("region", name="Limits of the house")).to_have_count(0)
                await expect(panel).not_to_contain_text("all of it passed the limits of the house")
                box = await panel.bounding_box()
                assert box is not None
                assert box["height"] < 700
                assert (await violations(page), await sideways(page)) == ([], 0)
                await panel.get_by_text("Targets, all limits and the rest").click()
                await expect(panel.get_by_role("region", name="Limits of the house")).to_be_visible()
                assert (await violations(page), await sideways(page)) == ([], 0)


@pytest.mark.long
@in_module_loop
async def test_a_term_is_explained_by_keyboard(world: Halfway, browser: Browser) -> None:
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        button = page.get_by_role("button", name="What is drawdown?").first
        await button.focus()
        await page.keyboard.press("Enter")
        shown = page.locator(".meaning:popover-open")
        await expect(shown).to_contain_text("the loss from the highest equity of the run")
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        await expect(shown).to_have_count(0)


def test_each_term_that_a_screen_names_has_a_meaning() -> None:
    terms = set(re.findall(r'^  "?([^":]+)"?: "', TERMS, re.MULTILINE))
    scripts = [*FOLDER.glob("*.js"), *FOLDER.glob("panels/*.js")]
    named = {name for path in scripts for name in re.findall(r'(?:\bterm: |\bterm=|\bof=)"([\w ]+)"', path.read_text())}
    assert len(named) > 7
    assert named <= terms


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


@pytest.mark.slow
@in_module_loop
async def test_a_benchmark_whose_bars_end_early_has_no_line_and_the_page_the_reason(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> None:
    text = TEXT.replace('benchmark = "SPY"', 'benchmark = "AAPL"')
    days = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("symbol") == "AAPL")
    short = tmp_path_factory.mktemp("short")
    days.filter(pl.col("ts").dt.date() <= date(2019, 1, 31)).write_parquet(short / "short.parquet")
    text = text.replace("[feed]\n", f'benchmark_path = "{short / "short.parquet"}"\n[feed]\n')
    async with traded(short, text) as outside, opened(browser, outside.api.url) as page:
        await show(page, "now")
        reason = "The benchmark has no line: the bars of AAPL end on 2019-01-31, before the last sample, 2019-03-29."
        await expect(page.locator(".curve")).to_contain_text(reason)


@pytest.mark.long
@in_module_loop
async def test_a_var_that_a_test_rejects_is_not_green(world: Halfway, browser: Browser) -> None:
    """Of 100 samples none, five alone, or three in a row lost more than the VaR: the zone of each is green."""
    body = b""

    async def answer(route: Route) -> None:
        await route.fulfill(body=body, content_type="application/json")

    async with opened(browser, f"{world.api.url}#agents") as page:
        await intercept(page, "**/api/v1/risk/var", answer)
        for losses, words in (([], "rejected, though its zone is green"), ([9, 30, 50, 70, 91], "green"),
                              ([40, 41, 42], "rejected, though its zone is green")):  # fmt: skip
            returns = np.full(100, 0.001)
            returns[losses] = -0.03
            record = VarRecord("run", backtest(returns, np.full(100, 0.02), 0.95))
            assert record.result is not None
            assert record.result.zone == "green"
            body = json.encode(record)
            await show(page, "risk")
            for name in ("Value at risk", "Stress", "Correlations", "Measures of the agents"):
                await expect(
                    page.get_by_role("region", name=name, exact=True).locator("tbody tr").first
                ).to_be_visible()
            zone = (
                page.locator("section").filter(has=page.get_by_role("heading", name="VaR back-test")).locator("strong")
            )
            await expect(zone).to_have_text(words)
            await expect(zone).to_have_class("RUN" if words == "green" else "HALT")
            await show(page, "agents")


@pytest.mark.long
@in_module_loop
async def test_after_a_resume_the_drawdown_of_the_account_and_that_of_its_limit_have_two_names(
    world: Halfway, browser: Browser
) -> None:
    for body in ({"command": "halt"}, {"command": "resume", "reason": "looked at it"}):
        async with world.session.post("/api/v1/commands", json=body, headers=world.bearer) as response:
            assert response.status == 200
    now = await ok(world, "/api/v1/status")
    fallen = (await ok(world, "/api/v1/profit/curve"))["curve"]["drawdown"][-1]
    assert now["drawdown"] == pytest.approx(fallen)
    assert fallen > 0.001
    assert now["limit_drawdown"] == 0.0
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        figures = page.get_by_role("region", name="Account")
        await expect(figures).to_contain_text(f"{100.0 * fallen:.1f} %from the peak of")
        await expect(figures).to_contain_text("0.0 % since the resume of")
        await expect(figures).to_contain_text("which counts for the limit")
        await show(page, "risk")
        await page.get_by_label("Limit", exact=True).select_option("max_drawdown")
        await expect(page.get_by_role("figure").first).to_have_accessible_name(re.compile("now 0.0 % of 25.0 %"))
    async with opened(browser, world.api.url, PHONE) as page:
        await show(page, "now")
        broken = "(all) => all.filter((part) => part.getClientRects().length > 1).map((part) => part.innerText)"
        unbroken = page.locator(".figure .whole")
        assert await unbroken.count() >= 6  # returns, shares and dates
        assert await unbroken.evaluate_all(broken) == []


@pytest.mark.long
@in_module_loop
async def test_the_axis_of_a_curve_is_in_the_zone_of_the_page_with_date_and_year(
    world: Halfway, browser: Browser
) -> None:
    """A browser in Tokyo writes the labels that one in New York writes, and each canvas has room for both lines."""
    drawn = []
    note = """{ window.drawn = []; const fill = CanvasRenderingContext2D.prototype.fillText;
      CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
        window.drawn.push([String(text), y, this.canvas.height]); return fill.apply(this, arguments); }; }"""
    for zone in ("Asia/Tokyo", "America/New_York"):
        context = await browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id=zone)
        await context.add_init_script(note)
        page = await context.new_page()
        await page.goto(f"{world.api.url}#now?period=1M")
        await page.locator(".curve .readout").wait_for()
        texts = await page.evaluate("window.drawn")
        drawn.append([text for text, _, _ in texts])
        assert any(re.fullmatch(r"20\d\d", text) for text in drawn[-1])
        assert any(re.fullmatch(r"\d\d-\d\d", text) for text in drawn[-1])
        assert all(y < height for _, y, height in texts)
        await context.close()
    assert drawn[0] == drawn[1]
