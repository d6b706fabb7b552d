"""Figures of equal name are equal on every screen, and a figure over time names its window."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import date

import numpy as np
import polars as pl
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.server.api.dashboard.screens import SCREENS, browser, in_module_loop, show
from tests.support.api_world import RATES, World, get, standing_at_the_end
from tests.support.browser import opened
from tests.support.command_line import CONFIG, ROOT

__all__ = ["browser"]

OVER_TIME = re.compile(r"sharpe|sortino|calmar|drawdown|volatility|\breturn|\bVaR|\bbeta|effective bets", re.IGNORECASE)
WINDOW = re.compile(r"\d samples?\b|over all its samples|since the (start|opening)|from (the peak|first to last)")

FIGURES = """() => {
  const section = (e) => (e.closest("section")?.querySelector("h2")?.innerText || "");
  return [
    ...[...document.querySelectorAll("main .figure")].map(({ children: [name, value, more] }) =>
      [name.innerText, more.innerText, value.innerText]),
    ...[...document.querySelectorAll("main dt")].map((e) => [e.innerText, "", e.nextElementSibling.innerText]),
    ...[...document.querySelectorAll("main th[scope=col]")].map((e) => [e.innerText, section(e), ""]),
    ...[...document.querySelectorAll("main figcaption, main .words")].map((e) => [e.innerText, "", ""]),
  ];
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("windows")
    # long enough for every ratio
    text = CONFIG.replace("end = 2019-03-29", "end = 2019-06-28") + RATES
    async with standing_at_the_end(folder, text + "[portfolios]\nplaces = 1\n") as world:
        yield world


@pytest.mark.long
@in_module_loop
async def test_a_figure_over_time_names_its_window_and_figures_of_equal_name_are_equal(
    shared: World, browser: Browser
) -> None:
    values: dict[str, set[str]] = defaultdict(set)
    bare, named = [], 0
    async with opened(browser, shared.api.url, token=shared.token) as page:
        await expect(page.locator("header .switch")).to_contain_text("RUN")
        for screen in SCREENS:
            await show(page, screen)
            for name, more, value in await page.evaluate(FIGURES):
                if value:
                    values[f"{name} {more}" if WINDOW.search(more) else name].add(value)
                if OVER_TIME.search(name):
                    named += 1
                    bare += [f"{screen}: {name}"] if not WINDOW.search(f"{name} {more}") else []
    assert bare == []
    assert {name: texts for name, texts in values.items() if len(texts) > 1} == {}
    assert named > 15
    assert {"Sharpe ratio, 123 samples", "largest drawdown, 123 samples"} <= set(values), sorted(values)


@in_module_loop
async def test_the_measures_of_risk_have_the_number_of_their_samples(shared: World) -> None:
    _, metrics = await get(shared, "/api/v1/risk/metrics")
    samples = len(shared.service.shell.state.watch.realised[0].wealth()) - 1
    assert metrics["windows"] == {"": samples, "even": samples, "trend": samples}


@pytest.mark.long
@pytest.mark.requirement("R-030")
@in_module_loop
async def test_the_volatility_of_the_screen_is_the_deviation_of_the_returns_of_the_positions_a_year(
    shared: World, browser: Browser
) -> None:
    """The present positions, held through the window that the screen names, from the closes of the bundled file."""
    async with opened(browser, shared.api.url, token=shared.token) as page:
        await show(page, "risk")
        row = page.locator("dt").filter(has_text="volatility, a year").first
        name, shown = await row.inner_text(), await row.locator("xpath=following-sibling::dd[1]").inner_text()
    samples, measured = (
        re.search(pattern, text) for pattern, text in ((r"(\d+) samples", name), (r"([\d.]+) %", shown))
    )
    assert samples is not None
    assert measured is not None
    _, now = await get(shared, "/api/v1/positions")
    _, status = await get(shared, "/api/v1/status")
    weights = {position["symbol"]: float(position["value"]) / float(status["equity"]) for position in now["positions"]}
    assert len(weights) > 1
    closes = pl.read_parquet(ROOT / "data" / "us_daily.parquet").filter(pl.col("ts").dt.date() <= date(2019, 6, 28))
    wide = closes.pivot("symbol", index="ts", values="close").sort("ts").tail(int(samples[1]) + 1)
    returns = sum(
        weight * np.diff(wide[symbol].to_numpy()) / wide[symbol].to_numpy()[:-1] for symbol, weight in weights.items()
    )
    assert len(returns) == int(samples[1])
    assert float(measured[1]) / 100 == pytest.approx(returns.std(ddof=1) * 252**0.5, rel=0.02)  # dividends
