"""No screen and no dialog of the page shows a value that is none: NaN, undefined, null, an object, Infinity.

The worlds are those whose figures are absent: before the first bar, few positions, many books, halted, without optional
fields. One browser process serves the module. Figures of equal name are equal on every screen, and a figure over time
names its window.
"""

import asyncio
import contextlib
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.server.api.dashboard.screens import SCREENS, in_module_loop, show
from tests.server.requests.orders_by_hand import BY_HAND
from tests.support.api_world import RATES, World, get, standing_at_the_end
from tests.support.browser import opened
from tests.support.command_line import CONFIG, ROOT

WRONG = re.compile(r"\b(?:NaN|undefined|null|Infinity)\b|∞|\[object |\bInvalid Date\b")

TEXTS = """() => [document.title, document.body.innerText,
  ...[...document.querySelectorAll("[aria-label], [title]")].flatMap((e) => [e.ariaLabel || "", e.title || ""]),
  ...[...document.querySelectorAll("input, select")].map((e) => e.value)]"""

DIALOGS = ("h", "H", "r", "?")


async def wrong_texts(page: Page, where: str) -> list[str]:
    """The lines of the page that show a value that is none."""
    lines = [line for text in await page.evaluate(TEXTS) for line in str(text).splitlines()]
    return [f"{where}: {line.strip()[:160]}" for line in lines if WRONG.search(line)]


async def all_wrong_texts(page: Page) -> list[str]:
    """Those of every screen, and of the dialogs that keys open."""
    wrong = []
    for screen in SCREENS:
        await show(page, screen)
        wrong += await wrong_texts(page, screen)
    for key in DIALOGS:
        await page.keyboard.press(key)
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_have_count(1)
        wrong += await wrong_texts(page, f"dialog {key}")
        for command in ("reduce", "flatten") if key == "h" else ():
            await dialog.locator("#command").select_option(command)
            wrong += await wrong_texts(page, f"dialog {key}, {command}")
        await page.keyboard.press("Escape")
    return wrong


@contextlib.asynccontextmanager
async def before_the_first_bar(folder: Path, text: str) -> AsyncIterator[World]:
    world = World(folder, text)
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    try:
        yield world
    finally:
        world.service.shell.stopped = "the test is over"
        await stepping
        await world.api.stop()
        world.store.close()


def many(text: str) -> str:
    """A house of eleven agents, with places for two portfolios."""
    more = "".join(f'\n[[agents]]\nname = "more{k}"\npolicy = "inverse_volatility"\ncapital = 0.02\n' for k in range(9))
    return text.replace("capital = 0.5", "capital = 0.3") + more + "\n[portfolios]\nplaces = 2\n"


WORLDS: dict[str, tuple[Callable[..., Any], str]] = {
    "few positions": (standing_at_the_end, CONFIG),
    "before the first bar": (before_the_first_bar, CONFIG),
    "by hand": (standing_at_the_end, BY_HAND),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=WORLDS)
async def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    make, text = WORLDS[request.param]
    async with make(tmp_path_factory.mktemp("texts"), text.replace("[api]\n", f"[api]\n{RATES}")) as served_world:
        yield served_world


@pytest.mark.long
@in_module_loop
async def test_no_text_of_the_page_is_a_value_that_is_none(world: World, browser: Browser) -> None:
    async with opened(browser, world.api.url, token=world.token) as page:
        assert await all_wrong_texts(page) == []


@pytest.mark.long
@in_module_loop
async def test_no_text_is_none_while_halted_and_while_the_link_is_lost(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> None:
    text = many(CONFIG + RATES)
    async with standing_at_the_end(tmp_path_factory.mktemp("halted"), text) as halted_world:
        for body in ({"command": "halt", "reason": ""}, {"command": "halt", "reason": "x", "agent": "trend"}):
            async with halted_world.session.post(
                "/api/v1/commands", json=body, headers=halted_world.bearer
            ) as response:
                assert response.status == 200
        async with opened(browser, halted_world.api.url, token=halted_world.token) as page:
            await expect(page.locator("header .why")).to_contain_text('by api:owner: "no reason given"')
            assert await all_wrong_texts(page) == []
            await halted_world.api.stop()
            await expect(page.locator("header .link")).to_contain_text("link lost")
            wrong = []
            for screen in SCREENS:
                await page.evaluate("(name) => { location.hash = name; }", screen)
                wrong += await wrong_texts(page, f"{screen}, link lost")
            assert wrong == []


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


def bare(answer: Any, schema: Any, document: Any) -> Any:
    """An answer whose optional fields are null, and whose lists and maps that may be empty are."""
    if "$ref" in schema:
        return bare(answer, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if any(option.get("type") == "null" for option in schema.get("anyOf", [])) or "null" in schema.get("type", ""):
        return None
    if isinstance(answer, dict) and "properties" in schema:
        return {
            name: value if name not in schema["properties"] else bare(value, schema["properties"][name], document)
            for name, value in answer.items()
        }
    if isinstance(answer, list) and isinstance(schema.get("items"), dict):
        return [bare(entry, schema["items"], document) for entry in answer]
    if isinstance(answer, dict) and "additionalProperties" in schema and "properties" not in schema:
        return {}
    return answer


BARE_STREAM = """window.EventSource = class extends EventSource {
  addEventListener(kind, each) {
    const bare = (of) => Array.isArray(of) ? of.map(bare) : of && typeof of === "object"
      ? Object.fromEntries(Object.entries(of).map(([k, v]) => [k, NAMES.includes(k) ? null : bare(v)])) : of;
    super.addEventListener(kind, (event) => each({ data: JSON.stringify(bare(JSON.parse(event.data))) }));
  }
};"""
"""The stream of the page, without its optional fields."""


def optional(document: Any) -> list[str]:
    """The names of the fields of the overview that may be null."""
    kinds = [document["components"]["schemas"][name]["properties"] for name in ("Overview", "AgentNow", "LimitNow")]
    return [
        name
        for properties in kinds
        for name, schema in properties.items()
        if any(option.get("type") == "null" for option in schema.get("anyOf", [])) or "null" in schema.get("type", "")
    ]


@pytest.mark.slow
@in_module_loop
async def test_no_text_is_none_where_every_optional_field_of_every_answer_is_absent(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> None:
    async with standing_at_the_end(tmp_path_factory.mktemp("bare"), CONFIG + RATES) as bare_world:
        async with bare_world.session.get("/openapi.json") as response:
            document = await response.json()
        async with opened(browser, bare_world.api.url, token=bare_world.token) as page:
            pattern = {
                re.compile(re.sub(r"{\w+}", "[^/]+", path) + "$"): methods["get"]["responses"]["200"]
                for path, methods in document["paths"].items()
                if "get" in methods and path not in ("/api/v1/events", "/metrics")
            }

            async def stripped(route: Route) -> None:
                if "/events" in route.request.url:
                    await route.continue_()
                    return
                path = route.request.url.split("?")[0].removeprefix(bare_world.api.url.rstrip("/"))
                answers = [answer for form, answer in pattern.items() if form.match(path)]
                response = await route.fetch()
                content = answers[0]["content"].get("application/json", {}) if answers else {}
                if route.request.method != "GET" or not response.ok or "schema" not in content:
                    await route.fulfill(response=response)
                    return
                body = bare(await response.json(), content["schema"], document)
                await route.fulfill(response=response, body=json.dumps(body))

            names = optional(document)
            assert {"total", "today", "gross", "cause", "use"} <= set(names)
            await page.add_init_script(BARE_STREAM.replace("NAMES", json.dumps(names)))
            await page.route("**/api/v1/**", stripped)
            await page.reload()
            assert await all_wrong_texts(page) == []
