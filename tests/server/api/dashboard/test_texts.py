"""No screen and no dialog of the page shows a value that is none: NaN, undefined, null, an object, Infinity.

The worlds are those whose figures are absent: before the first bar, few positions, many books, halted, without optional
fields. One browser process serves the module.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.server.api.dashboard.screens import SCREENS, browser, in_module_loop, show
from tests.server.requests.orders_by_hand import BY_HAND
from tests.support.api_world import RATES, World, standing_at_the_end
from tests.support.browser import opened
from tests.support.command_line import CONFIG

__all__ = ["browser"]

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
