"""What a trader looks for on the page, and no other file here shows."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
import pytest_asyncio
from msgspec import json
from playwright.async_api import Browser, Route, expect

from quantd.research.routes.performance_routes import VarRecord
from quantd.risk.measures.var_backtest import backtest
from tests.server.api.dashboard.cockpit import read
from tests.server.api.dashboard.screens import browser, commands, in_module_loop, show
from tests.server.api.model_worlds import Halfway
from tests.server.api.routes.traded_run import TEXT, ok, traded
from tests.support.browser import PHONE, intercept, opened, sideways
from tests.support.checkout import ROOT
from tests.support.command_line import answer, quantd

__all__ = ["browser"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Halfway]:
    async with traded(tmp_path_factory.mktemp("rows")) as traded_world:
        yield traded_world


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
async def test_a_benchmark_that_is_not_traded_has_its_line_or_the_reason_for_none(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> None:
    """AAPL is not traded: its line is its price with its dividends, as where it is traded."""
    text = TEXT.replace('benchmark = "SPY"', 'benchmark = "AAPL"')
    async with traded(tmp_path_factory.mktemp("outside"), text) as outside:
        profit = await ok(outside, "/api/v1/profit/curve")
        assert profit["benchmark"] == "AAPL"
        bars = await ok(outside, "/api/v1/profit/curve?points=2")
        assert bars["curve"]["benchmark"] == [1.0, pytest.approx(profit["curve"]["benchmark"][-1])]
        days = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("symbol") == "AAPL")
        closes = dict(zip(days["ts"].dt.date().cast(str).to_list(), days["close"].to_list(), strict=True))
        first, last = (str(datetime.fromtimestamp(ts / 1e9, UTC).date()) for ts in bars["curve"]["ts"])
        price = closes[last] / closes[first]
        assert price < bars["curve"]["benchmark"][-1] < price + 0.01  # one dividend of 0.5 % falls into the period
        async with opened(browser, outside.api.url) as page:
            await show(page, "now")
            grown = f"{100.0 * (bars['curve']['benchmark'][-1] - 1.0):+.2f} %".replace("-", "−")
            await expect(page.locator(".curve .readout p")).to_contain_text(f"AAPL {grown}")
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


@pytest.mark.long
@in_module_loop
async def test_a_thumb_halts_and_resumes_on_a_phone(world: Halfway, browser: Browser) -> None:
    before = len(commands(world))
    async with opened(browser, world.api.url, PHONE, world.token, has_touch=True, is_mobile=True) as page:
        await page.get_by_role("button", name="Halt …").tap()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Halt all trading").tap()
        await expect(page.locator("header .switch")).to_contain_text("HALT")
        assert await sideways(page) == 0
        await page.get_by_role("button", name="More").tap()
        await page.get_by_role("button", name="Resume …").tap()
        await dialog.get_by_label("Reason, for the journal").fill("looked at it")
        await dialog.get_by_role("button", name=re.compile("^Resume")).last.tap()
        await expect(page.locator("header .switch")).to_contain_text("RUN")
    assert [fields[0] for fields in commands(world)[before:]] == ["halt", "resume"]


@pytest.mark.long
@in_module_loop
async def test_the_run_is_beside_a_stored_backtest_on_the_page(world: Halfway, browser: Browser) -> None:
    folder = world.folder.parent
    answer(quantd(folder, "backtest", "--journal", "--no-compare", "--json", "--state", str(world.folder)))
    async with opened(browser, world.api.url) as page:
        await show(page, "research")
        await read(page)
        beside = await ok(world, "/api/v1/research/beside?points=2")
        assert beside["backtest"]
        await expect(page.locator("#main")).to_contain_text(re.compile("beside", re.IGNORECASE))
        await expect(page.locator("#main")).to_contain_text(beside["backtest"])
