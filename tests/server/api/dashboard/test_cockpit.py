"""The first screen of the page: its figures are those of the statement, its parts add up, and it fits the fold."""

import contextlib
import csv
import re
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import read as read_config
from quantd.daemon.monitoring.signals import reload
from quantd.server.requests.tokens import created
from tests.server.api.dashboard.cockpit import cents, figure, number, read, world
from tests.server.api.dashboard.screens import audit, commands, in_module_loop, show
from tests.server.api.model_worlds import Halfway
from tests.server.api.routes.traded_run import TEXT, ok, statement
from tests.support.browser import DESK, PHONE, intercept, opened, pass_all, sideways, unreachable, violations

__all__ = ["statement", "world"]


FOLD = {"width": 1440, "height": 900}


async def table(page: Page, name: str) -> dict[str, dict[str, str]]:
    """The rows of a table by their first cell, each by the names of its columns."""
    region = page.get_by_role("region", name=name, exact=True)
    heads = [re.sub(r"\s*\?$", "", head).strip() for head in await region.locator("thead th").all_inner_texts()]
    rows = [
        [cell.strip() for cell in await row.locator("td").all_inner_texts()]
        for row in await region.locator("tbody tr, tfoot tr").all()
    ]
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows}


@pytest.mark.long
@in_module_loop
async def test_the_figures_of_the_first_fold_are_those_of_the_statement(
    world: Halfway, browser: Browser, statement: tuple[list[dict[str, Any]], list[dict[str, str]]]
) -> None:
    days, lines = statement
    flows = sum(Decimal(line["amount"]) for line in lines if line["kind"] == "flow")
    fees = -sum(Decimal(line["amount"]) for line in lines if line["kind"] == "fee")
    profit = Decimal(days[-1]["equity"]) - Decimal("100000.00") - flows
    today = Decimal(days[-1]["equity"]) - Decimal(days[-2]["equity"])
    async with opened(browser, world.api.url, token=world.token) as page:
        await show(page, "now")
        assert number((await figure(page, "Equity"))[0]) == cents(days[-1]["equity"])
        earned, beside = await figure(page, "Profit since the start")
        assert number(earned) == cents(profit)
        assert re.search(r"^\+[\d.]+ %, SPY \+[\d.]+ %$", beside)
        assert number((await figure(page, "Today"))[0]) == cents(today)
        moves = [abs(day["total_return"]) for day in (await ok(world, "/api/v1/profit/days?by=day&limit=253"))["days"]]
        less = sum(move < moves[0] for move in moves[1:])
        assert f"moved more than on {less} of {len(moves) - 1} days" in (await figure(page, "Today"))[1]
        assert number((await figure(page, "Cash"))[0]) == cents(days[-1]["closing"])
        rows = await table(page, "Positions")
        kinds = ("trade", "fee", "dividend", "cash_in_lieu")
        assert len(rows) == 3
        for symbol, row in rows.items():
            paid = sum(Decimal(x["amount"]) for x in lines if x["symbol"] == symbol and x["kind"] in kinds)
            shown = number(row["realised"]) + number(row["unrealised"])
            assert abs(shown - number(row["value"]) - paid) <= Decimal("0.02"), symbol
        assert abs(sum(number(row["today"]) for row in rows.values()) - cents(today)) <= Decimal("0.03")
        assert sum(number(row["share of risk"]) for row in rows.values()) == pytest.approx(
            Decimal(100), abs=Decimal("0.2")
        )
        books = await table(page, "Contributions")
        account = books.pop("account")
        assert len(books) == 4
        assert number(account["deposits"]) == cents(flows)
        assert number(account["fees"]) == cents(fees)
        assert number(account["profit"]) == cents(profit)


@pytest.mark.long
@in_module_loop
async def test_positions_limits_and_what_waits_are_in_the_first_fold(world: Halfway, browser: Browser) -> None:
    async with opened(browser, world.api.url, token=world.token) as page:
        await page.set_viewport_size(FOLD)  # type: ignore[arg-type]
        await show(page, "now")
        await page.set_viewport_size({"width": DESK, "height": 900})
        assert len(set(await page.locator(".screens a").evaluate_all("(all) => all.map((e) => e.offsetTop)"))) == 1
        await page.set_viewport_size(FOLD)  # type: ignore[arg-type]
        for title in ("Positions", "Limits most in use", "Waits for a person", "What each agent contributed"):
            section = page.locator("section").filter(has=page.get_by_role("heading", name=title))
            box = await section.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= FOLD["height"], title
        bars = page.locator(".bars li")
        await expect(bars).to_have_count(3)
        used = sorted((limit["use"] or 0 for limit in (await ok(world, "/api/v1/status"))["limits"]), reverse=True)[:3]
        assert [
            int(re.findall(r"(\d+) %", text)[0]) for text in await page.locator(".bars .use").all_inner_texts()
        ] == [round(100 * use) for use in used]


@pytest.mark.long
@in_module_loop
async def test_a_table_is_saved_as_csv_with_its_exact_figures(world: Halfway, browser: Browser, tmp_path: Path) -> None:
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        async with page.expect_download() as waiting:
            await page.get_by_role("button", name="Save contributions as CSV").click()
        download = await waiting.value
        await download.save_as(tmp_path / "out.csv")
        rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
        profit = await ok(world, "/api/v1/profit")
        assert [row["profit"] for row in rows] == [book["profit"] for book in (*profit["books"], profit["account"])]
        assert download.suggested_filename.endswith("contributions-all.csv")
        await expect(page.get_by_role("button", name="Copy the link of equity")).to_be_visible()
        async with page.expect_download() as waiting:
            await page.get_by_role("button", name="Save equity as PNG").click()
        await (await waiting.value).save_as(tmp_path / "out.png")
        assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
@in_module_loop
async def test_a_cell_that_begins_like_a_formula_is_saved_as_text(world: Halfway, browser: Browser) -> None:
    script = """async () => (await import("/dashboard/export.js")).csvOf(
      ["a", "b"], [["=1+1", "-1.50"], ['x "y"', "@z"], ["+cmd|' /C calc'!A0", null]])"""
    async with opened(browser, world.api.url) as page:
        text = await page.evaluate(script)
    rows = list(csv.reader(text.splitlines()))
    assert rows == [["a", "b"], ["'=1+1", "-1.50"], ['x "y"', "'@z"], ["'+cmd|' /C calc'!A0", ""]]


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize(
    "width", [FOLD["width"], *(pytest.param(width, marks=pytest.mark.slow) for width in (1024, 768)), PHONE]
)
async def test_the_cockpit_is_accessible_and_nothing_of_it_is_cut(world: Halfway, browser: Browser, width: int) -> None:
    cut = """() => [...document.querySelectorAll("main td, main .figure p")].filter((e) => e.checkVisibility()
      && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline").map((e) => e.innerText)"""
    async with opened(browser, world.api.url, width, world.token) as page:
        await audit(page, "now")
        assert await unreachable(page) == []
        assert await page.evaluate(cut) == []
        wide = """() => [...document.querySelectorAll("main .scroll")]
          .filter((e) => e.scrollWidth > e.clientWidth + 1).length"""
        assert width > PHONE or await page.evaluate(wide) == 0  # a phone has cards


@pytest.mark.long
@in_module_loop
async def test_the_look_of_a_browser_is_kept_and_times_are_in_its_zone(world: Halfway, browser: Browser) -> None:
    async with opened(browser, world.api.url, color_scheme="light") as page:
        await show(page, "orders")
        exchange = await page.locator("header .last").inner_text()
        assert "16:00 New York" in exchange
        light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        await page.get_by_role("button", name="View …").click()
        dialog = page.get_by_role("dialog")
        assert await violations(page) == []
        await dialog.get_by_label("Theme").select_option("dark")
        await dialog.get_by_label("Times").select_option("UTC")
        await dialog.get_by_label("Gain and loss").select_option("safe")
        await page.keyboard.press("Escape")
        await page.reload()
        await expect(page.locator("header .last")).to_contain_text("20:00 UTC")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        await read(page)
        assert await violations(page) == []
        await expect(page.get_by_role("region", name="Orders", exact=True).locator("tbody tr").first).to_contain_text(
            "19:45"
        )


PHONE_SCREEN = {"width": 390, "height": 844}
SEVEN_DIGITS = "1,031,373.50"
ASK_SESSION = """async () => {
  const { session } = await import(new URL("daemon.js", document.querySelector("script[type=module]").src).href);
  await session(); }"""
FIRST_PX = 120
"""Most of the 844 px of a phone above the first figure."""

LONG = "a reason in many words " * 21
BROKEN = """(text) => [...document.querySelectorAll(".figure .value")].filter((e) => {
  if (text) e.textContent = text;
  return e.scrollWidth > e.clientWidth || e.getClientRects().length > 1 || e.offsetHeight > 40;
}).length"""
HIT = """(e) => { const { x, y, width, height } = e.getBoundingClientRect();
  return document.elementFromPoint(x + width / 2, y + height / 2) === e && x >= 0 && x + width <= innerWidth; }"""


async def switched(world: Halfway, command: str, reason: str = "a test", agent: str = "") -> None:
    body = {"command": command, "reason": reason} | ({"agent": agent} if agent else {})
    assert (await world.post("/api/v1/commands", body))[0] == 200


async def reloaded(world: Halfway, *edits: tuple[str, str]) -> None:
    """The file of the run is edited and read again."""
    text = TEXT
    for before, after in edits:
        assert before in text
        text = text.replace(before, after, 1)
    await reload(world.service, lambda: read_config(text, known_names()), world.assembly)


@contextlib.asynccontextmanager
async def in_state(world: Halfway, page: Page, state: str) -> AsyncIterator[None]:
    """The page of the run in a state, which ends with it."""
    switch, link = page.locator("header .switch"), page.locator("header .link")
    agents = [each["name"] for each in (await ok(world, "/api/v1/status"))["agents"]]
    await expect(page.locator(".figure .value").first).to_be_visible()
    try:
        if "REDUCE" in state:
            await switched(world, "reduce", LONG)
            await expect(page.locator("header .why")).to_contain_text("a reason in many words")
        if "an agent" in state:
            await switched(world, "reduce", LONG, agents[0])
            await expect(switch).to_contain_text(re.compile("RUN · 1 of [0-9]+ agents not at RUN"))
            await expect(switch).to_have_class(re.compile(r"\bREDUCE\b"))
        if "refused" in state:
            await reloaded(world, ("capital = 0.5", "capital = 0.4"))
            await expect(page.locator("header .differs")).to_have_text("1 key of the file not in force")
            await expect(page.get_by_role("link", name=re.compile(r"^\d open incident"))).to_have_count(1)
        if "no answer" in state:
            await intercept(page, "**/api/v1/acts/*", lambda route: route.abort())
            await intercept(page, "**/api/v1/commands", lambda route: route.abort())
            await page.get_by_role("button", name="Halt …").click()
            await page.keyboard.press("Enter")
            await expect(page.locator("header .waits")).to_contain_text("No answer", timeout=40_000)
            await page.keyboard.press("Escape")
        if "by the page" in state:
            await page.get_by_role("button", name="Halt …").click()
            await page.keyboard.press("Enter")
            await expect(page.locator(".said")).to_contain_text("was carried out")
            await expect(page.locator("header .why")).to_contain_text("HALT since")
        if "ended" in state:
            world.api._guard.sessions._open.clear()
            await page.evaluate(ASK_SESSION)
            await expect(page.locator("header .who")).to_contain_text("has ended")
        if "down" in state:
            await page.context.set_offline(True)
            await expect(link).to_contain_text("link lost", timeout=30_000)
            await expect(switch).to_contain_text("last known")
        yield
    finally:
        await page.context.set_offline(False)
        await pass_all(page)
        await reloaded(world)
        for agent in ("", agents[0]):
            await switched(world, "resume", agent=agent)


@pytest.fixture(scope="module")
def person(world: Halfway) -> str:
    """The secret of a person with a long name."""
    _, secret = created(world.folder, "a-person-with-a-rather-long-name", "admin")
    time.sleep(0.6)  # the shortest time between two looks at the file of tokens
    return secret


PHONE_STATES = (
    "short", "an agent, signed in", "by the page, signed in", "no answer, signed in", "ended, signed in",
    "REDUCE, refused reload with its alert, down, signed in",
)  # fmt: skip


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize("state", PHONE_STATES)
async def test_on_a_phone_the_first_figure_is_within_120_px_and_halt_at_hand_in_every_state(
    world: Halfway, browser: Browser, person: str, state: str
) -> None:
    signed_in, person_is_in = "signed in" in state, "signed in" in state and "ended" not in state
    async with (
        opened(browser, world.api.url, 390, person if signed_in else "", has_touch=True) as page,
        in_state(world, page, state),
    ):
        await page.set_viewport_size(PHONE_SCREEN)  # type: ignore[arg-type]
        first = await page.locator(".figure").first.bounding_box()
        assert first is not None
        assert first["y"] <= FIRST_PX
        assert await sideways(page) == 0
        assert await page.evaluate(BROKEN, "") == 0
        header = page.locator("header")
        halt = page.get_by_role("button", name="Halt …")
        assert await halt.count() == signed_in
        # folded: nothing hangs out of the header, and Halt is hit at the top and after a scroll
        low = (await header.bounding_box() or {"y": 0, "height": 0})["height"]
        for place in ("0", "document.body.scrollHeight"):
            await page.evaluate(f"scrollTo(0, {place})")
            assert not signed_in or await halt.evaluate(HIT)
        # a tap on a text unfolds all of it
        await page.evaluate("scrollTo(0, 0)")
        await page.locator("header .switch").tap()
        await expect(page.get_by_role("button", name="Sign out" if person_is_in else "Sign in …")).to_be_visible()
        assert (await header.bounding_box() or {"height": 0})["height"] > low
        if "REDUCE" in state:
            shown = page.locator("header .why").filter(has_text="many words")
            assert await shown.evaluate("(e) => e.offsetHeight > 100 && e.scrollWidth <= e.clientWidth")
        assert await sideways(page) == 0
        assert not signed_in or await halt.evaluate(HIT)
        assert await violations(page) == []
        await page.get_by_role("button", name="Less").click()
        assert (await header.bounding_box() or {"height": 0})["height"] == low


@pytest.mark.long
@in_module_loop
async def test_on_a_phone_halt_stays_on_every_screen_and_no_figure_of_seven_digits_breaks(
    world: Halfway, browser: Browser
) -> None:
    async with opened(browser, world.api.url, 320, world.token) as page:
        await page.set_viewport_size({"width": 320, "height": 844})
        await show(page, "now")
        assert await page.evaluate(BROKEN, SEVEN_DIGITS) == 0
        for screen in ("now", "orders", "risk"):
            await show(page, screen)
            await page.evaluate("scrollTo(0, document.body.scrollHeight)")
            await expect(page.get_by_role("button", name="Halt …")).to_be_in_viewport(ratio=1)


@pytest.mark.long
@in_module_loop
async def test_over_a_slow_line_the_first_visit_has_no_chart_before_figures_and_the_second_loads_no_script_again(
    world: Halfway, browser: Browser
) -> None:
    """400 ms and 50 kB/s, so that bytes are seconds: about 4 s up to the first figures, 2 s at the second visit."""
    context = await browser.new_context(viewport=PHONE_SCREEN)
    try:
        first = await context.new_page()
        slow = await context.new_cdp_session(first)
        line = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
        await slow.send("Network.enable")
        await slow.send("Network.emulateNetworkConditions", line)
        read = list[str]()
        slow.on("Network.responseReceived", lambda e: read.append(e["response"]["url"]))
        first_bytes = [0]
        slow.on("Network.loadingFinished", lambda e: first_bytes.append(int(e["encodedDataLength"])))
        await first.goto(world.api.url, wait_until="commit")
        await expect(first.locator(".figure .value").first).to_be_visible(timeout=20_000)
        assert sum(first_bytes) < 100_000  # 82 kB
        assert [url for url in read if re.search(r"uPlot.*js|lightweight|/(chart|curve|calendar)\.js", url)] == []
        await first.close()
        page = await context.new_page()
        await page.goto(world.api.url)
        await expect(page.locator(".figure .value").first).to_be_visible()
        await page.wait_for_timeout(3_000)  # the other screens
        again = await context.new_page()
        session = await context.new_cdp_session(again)
        await session.send("Network.enable")
        await session.send("Network.emulateNetworkConditions", line)
        loaded, asked = [0], list[str]()
        session.on("Network.loadingFinished", lambda e: loaded.append(int(e["encodedDataLength"])))
        served = "Network.responseReceived"
        session.on(served, lambda e: e["response"].get("fromDiskCache") or asked.append(e["response"]["url"]))
        await again.goto(world.api.url, wait_until="commit")
        await expect(again.locator(".figure .value").first).to_be_visible(timeout=20_000)
        assert sum(loaded) < 60_000
        assert [url for url in asked if re.search(r"/dashboard/.*\.(m?js|css)$", url)] == []
    finally:
        await context.close()


@in_module_loop
async def test_a_file_of_the_page_is_compressed_and_has_an_etag(world: Halfway) -> None:
    async with world.session.get("/dashboard/acts.js") as response:
        text, tag = await response.read(), response.headers["ETag"]
        assert response.headers["Content-Encoding"] == "gzip"
    async with world.session.get("/dashboard/acts.js", headers={"Accept-Encoding": "identity"}) as response:
        assert await response.read() == text
        assert int(response.headers["Content-Length"]) == len(text)
    async with world.session.get("/dashboard/acts.js", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with world.session.get("/") as response:
        versions = set(re.findall(r'="/dashboard/(\w+)/[\w.-]+"', await response.text()))
    (version,) = versions
    for path, policy in ((version, "public, max-age=31536000, immutable"), ("old", "no-cache")):
        async with world.session.get(f"/dashboard/{path}/acts.js") as response:
            assert (response.status, response.headers["Cache-Control"]) == (200, policy)
            assert await response.read() == text
    async with world.session.get(f"/dashboard/{version}/tokens.json") as response:
        assert response.status == 404


@pytest.mark.long
@in_module_loop
async def test_run_is_not_green_while_an_agent_is_not_at_run(world: Halfway, browser: Browser) -> None:
    body = {"reason": "a test", "agent": (await ok(world, "/api/v1/status"))["agents"][0]["name"]}
    async with opened(browser, world.api.url, 1280, world.token) as page:
        switch = page.locator("header .switch")
        await expect(switch).to_have_class(re.compile(r"\bRUN\b"))
        assert (await world.post("/api/v1/commands", {"command": "reduce", **body}))[0] == 200
        try:
            await expect(switch).to_contain_text(re.compile("RUN · 1 of [0-9]+ agents not at RUN"))
            await expect(switch).to_have_class(re.compile(r"\bREDUCE\b"))
        finally:
            assert (await world.post("/api/v1/commands", {"command": "resume", **body}))[0] == 200
        await expect(switch).to_have_class(re.compile(r"\bRUN\b"))


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
