"""The page in a browser, on a real daemon: sign-in, halt and resume, every screen on a desk and on a phone.

One browser process serves the module. Each page has a profile of its own.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Route, TimeoutError, expect

from quantd.daemon.engine.agents.promotion import exchange_policies
from quantd.server.requests.tokens import created
from quantd.trading.codec import decode
from quantd.trading.events import (
    CancelRequested,
    PortfolioClosed,
    PortfolioOpened,
    Proposed,
)
from tests.server.api.dashboard.controls import TEXT
from tests.server.api.dashboard.screens import SCREENS, audit, commands, in_module_loop, show
from tests.server.api.routes.outside_run import REVIEWED
from tests.support.api_world import RATES, RUN, World, get, standing_at_the_end
from tests.support.browser import DESK, PHONE, opened, sideways, unreachable, violations
from tests.support.command_line import CONFIG, answer, quantd, write

FIRST = ("now", "orders")
"""The screens that carry an incident, in every state of the daemon."""

HOSTILE = "<img src=x onerror=window.hacked=1>\u202e" + "w" * 300


@pytest.mark.long
@pytest.mark.requirement("R-207")
@in_module_loop
async def test_halt_by_keyboard_and_resume_with_the_marks_that_it_resets(shared: World, browser: Browser) -> None:
    before = len(commands(shared))
    _, secret = created(shared.folder, "desk", "trade")
    await asyncio.sleep(0.6)  # the shortest time between two looks at the file of tokens
    async with opened(browser, shared.api.url, token=secret) as page:
        switch = page.locator("header .switch")
        await expect(switch).to_contain_text("RUN")
        await page.keyboard.press("h")
        await page.keyboard.type(HOSTILE)
        await page.keyboard.press("Enter")
        await expect(switch).to_contain_text("HALT")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        for width in (PHONE, DESK):
            await page.set_viewport_size({"width": width, "height": 800})
            for screen in FIRST:
                await audit(page, screen)
        await page.keyboard.press("r")
        dialog = page.get_by_role("dialog")
        row = dialog.get_by_role("row").filter(has_text="high-water mark")
        peak = shared.service.shell.state.switch.high_water / 1e6
        await expect(row).to_contain_text(f"{peak:,.2f}")
        assert await violations(page) == []
        await page.keyboard.press("Enter")  # without a reason nothing is sent
        await expect(dialog).to_have_count(1)
        await page.keyboard.type("looked at it")
        await page.keyboard.press("Enter")
        await expect(switch).to_contain_text("RUN")
        assert await page.evaluate("window.hacked") is None
    done = commands(shared)[before:]
    assert [fields[0] for fields in done] == ["halt", "resume"]
    assert done[0][1].startswith("<img src=x onerror=window.hacked=1>")
    assert done[1][1] == "looked at it"
    assert {fields[2] for fields in done} == {f"api:desk:{secret[:8]}"}


SLOW_FRAMES = "window.requestAnimationFrame = (draw) => setTimeout(draw, 3000);"

FOCUS = """window.focus_after = [];
for (const kind of ["keydown", "click"]) {
  window.addEventListener(kind, (event) => {
    const at = document.activeElement;
    if (event.key !== "Escape") window.focus_after.push(at.closest("dialog") ? at.id || at.textContent : "");
  });
}"""
"""Where the focus is when the listeners of the page are done with a key or a click."""


@pytest.mark.long
@in_module_loop
async def test_a_dialog_has_the_focus_before_the_next_key_on_a_machine_that_draws_slowly(
    shared: World, browser: Browser
) -> None:
    async with opened(browser, shared.api.url, token=shared.token) as page:
        await expect(page.locator("header .switch")).to_contain_text("RUN")
        await page.evaluate(SLOW_FRAMES + FOCUS)
        for key in ("h", "r", "?"):
            await page.keyboard.press(key)
            await page.keyboard.press("Escape")
            await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.get_by_role("button", name="Halt …").click()
        await page.keyboard.press("Escape")
        after = await page.evaluate("window.focus_after")
    assert after == ["reason", "reason", "Close", "reason"]


LINK_AT_ONCE = """new MutationObserver((_, seen) => {
  if (!document.querySelector("#main")) return;
  seen.disconnect();
  setTimeout(() => { location.hash = "orders"; });
}).observe(document, { subtree: true, childList: true });"""


@pytest.mark.long
@in_module_loop
async def test_a_link_that_is_used_right_after_the_first_drawing_opens_its_screen(
    shared: World, browser: Browser
) -> None:
    async with await browser.new_context() as context:
        await context.add_init_script(SLOW_FRAMES + LINK_AT_ONCE)
        page = await context.new_page()
        await page.goto(shared.api.url)
        at = page.get_by_role("navigation").locator("[aria-current=page]")
        await expect(at).to_have_attribute("href", "#orders")
        assert await at.text_content() == "Orders"


@pytest.mark.long
@pytest.mark.requirement("R-231")
@in_module_loop
async def test_the_scope_of_the_token_decides_which_controls_exist(shared: World, browser: Browser) -> None:
    _, secret = created(shared.folder, "guest", "read")
    await asyncio.sleep(0.6)
    async with opened(browser, shared.api.url, PHONE) as page:
        await expect(page.locator("header .switch")).to_contain_text("RUN")  # open_reads: figures without a sign-in
        await expect(page.get_by_role("button", name="Halt …")).to_have_count(0)
        await page.keyboard.press("h")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.get_by_role("button", name="More").click()
        await page.get_by_role("button", name="Sign in …").click()
        await page.locator("#token").fill("wrong")
        await page.locator("#token").press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not in force")
        assert await violations(page) == []
        await page.locator("#token").fill(secret)
        await page.locator("#token").press("Enter")
        await expect(page.locator("header")).to_contain_text("guest, read")
        await expect(page.get_by_role("button", name="Halt …")).to_have_count(0)
        refused = """async () => (await fetch("/api/v1/commands", {
          method: "POST", body: '{"command": "halt"}',
          headers: { "Content-Type": "application/json", "X-CSRF-Token": localStorage.getItem("quantd.csrf") },
        })).status"""
        assert await page.evaluate(refused) == 403
        assert await page.evaluate("document.cookie") == ""  # HttpOnly: no script reads it


@pytest.mark.long
@in_module_loop
async def test_the_one_time_link_signs_in_once(shared: World, browser: Browser) -> None:
    link = shared.api.link()
    async with opened(browser, link) as page:
        await expect(page.locator("header")).to_contain_text("owner, admin")
        assert page.url == shared.api.url
        await page.reload()
        await expect(page.get_by_role("button", name="Halt …")).to_be_visible()
        (cookie,) = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        other = await page.context.new_page()  # a second tab has the same session
        await other.goto(shared.api.url)
        await expect(other.get_by_role("button", name="Halt …")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(other.get_by_role("button", name="Halt …")).to_have_count(0)
    async with opened(browser, "about:blank") as page:

        async def late(route: Route) -> None:
            await asyncio.sleep(0.3)
            await route.continue_()

        await page.route("**/api/v1/sign-in", late)
        await page.goto(link)
        with contextlib.suppress(TimeoutError):  # a person is faster than the daemon's answer
            await page.get_by_role("button", name="Sign in …").click(timeout=250)
        await expect(page.get_by_role("alert")).to_contain_text("this link was used")
        await page.locator("#token").fill("wrong")
        await page.locator("#token").press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not in force")


@pytest.mark.long
@in_module_loop
async def test_every_screen_has_a_key(shared: World, browser: Browser) -> None:
    async with opened(browser, shared.api.url) as page:
        links = page.get_by_role("navigation").locator("a[href^='#']")
        await expect(links).to_have_count(len(SCREENS))
        for key, screen in zip("1234567890d", SCREENS, strict=True):
            await page.keyboard.press(key)
            current = page.get_by_role("navigation").locator("[aria-current=page]")
            await expect(current).to_have_attribute("href", f"#{screen}")


@pytest.mark.long
@pytest.mark.requirement("R-209")
@in_module_loop
async def test_equity_positions_agents_alerts_and_risk_are_on_the_page_as_the_api_has_them(
    shared: World, browser: Browser
) -> None:
    async def told(path: str) -> Any:
        status, body = await get(shared, f"/api/v1/{path}")
        assert status == 200, body
        return body

    async with opened(browser, shared.api.url, DESK, shared.token) as page:

        async def row_of(first: str, *cells: str) -> None:
            """A row whose cells begin with these."""
            rows = page.locator("#main").get_by_role("row")
            texts = [
                [cell.strip() for cell in await row.locator("th, td").all_inner_texts()] for row in await rows.all()
            ]
            assert any(row[: len(cells) + 1] == [first, *cells] for row in texts), (first, cells, texts)

        status = await told("status")
        await show(page, "now")
        main = page.locator("#main")
        await expect(main).to_contain_text(f"{float(status['equity']):,.2f}")
        await expect(main).to_contain_text(f"{float(status['cash']):,.2f}")
        await expect(main).to_contain_text(f"{status['orders']}")
        positions = (await told("positions"))["positions"]
        assert len(positions) == 3
        for entry in positions:
            await row_of(
                entry["symbol"], entry["qty"], f"{float(entry['price']):,.2f}", f"{float(entry['value']):,.2f}",
                f"{100.0 * entry['weight']:.1f} %", f"{100.0 * entry['risk_share']:.1f} %",
                f"{float(entry['unrealised']):+,.2f}".replace("-", "−"),
            )  # fmt: skip
        limits = (await told("risk"))["limits"]
        shown = [limit for limit in limits if limit["unit"] == "share" and limit["value"] is not None]
        assert len(shown) >= 3
        for entry in shown:
            label = entry["words"].removesuffix(" QQQ")
            rows = page.locator("#main").get_by_role("row").filter(has_text=label)
            await expect(rows.first).to_contain_text(f"{100.0 * entry['value']:.1f} %")
            await expect(rows.first).to_contain_text(f"{100.0 * entry['bound']:.1f} %")
        await show(page, "agents")
        assert len(status["agents"]) == 2
        for entry in status["agents"]:
            capital = f"{100.0 * entry['capital']:.0f} %"
            await row_of(entry["name"], entry["policy"], capital, entry["switch"], f"{float(entry['equity']):,.2f}")
        await show(page, "incidents")
        alerts = (await told("alerts"))["alerts"]
        assert alerts
        for entry in alerts:
            await expect(main.get_by_role("row").filter(has_text=entry["text"])).to_contain_text(entry["level"])


LOOKS: dict[str, dict[str, str]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced": {"forced_colors": "active"},
}


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize(
    ("width", "look"),
    [
        pytest.param(width, look, marks=() if look == "light" and width == PHONE else pytest.mark.slow)
        for width in (DESK, 768, PHONE, 640)  # 640 is 1280 at a zoom of 200 %
        for look in LOOKS
    ],
)
async def test_every_screen_is_accessible_in_every_look(shared: World, browser: Browser, width: int, look: str) -> None:
    async with opened(browser, shared.api.url, width, shared.token, **LOOKS[look]) as page:
        for screen in SCREENS:
            await audit(page, screen)
            assert await unreachable(page) == [], screen
        for key in ("h", "r", "?"):
            await page.keyboard.press(key)
            assert await violations(page) == [], key
            await page.keyboard.press("Escape")


@pytest.mark.long
@pytest.mark.requirement("R-207")
@in_module_loop
async def test_an_order_by_hand_needs_a_preview_and_carries_its_plan(shared: World, browser: Browser) -> None:
    before = len(shared.service.shell.state.ledger.books[1].lots), shared.store.last_seq(RUN)
    async with opened(browser, shared.api.url, token=shared.token) as page:
        await show(page, "order")
        for name, value in {"qty": "3", "symbol": "SPY", "reason": "by <b>hand</b>"}.items():
            await page.locator(f"#order-{name}").fill(value)
        await page.locator("#order-side").select_option("sell")
        await page.locator("#order-agent").select_option("trend")
        send = page.get_by_role("button", name="Send sell")
        await expect(send).to_have_count(0)
        await page.get_by_role("button", name="Preview").click()
        await expect(send).to_be_focused()
        assert await violations(page) == []
        await page.locator("#order-qty").fill("4")  # an edit voids the preview
        await expect(send).to_have_count(0)
        await page.keyboard.press("Enter")
        await expect(send).to_have_text("Send sell 4 SPY")
        assert (len(shared.service.shell.state.ledger.books[1].lots), shared.store.last_seq(RUN)) == before
        await send.click()
        await expect(page.locator(".said")).to_contain_text("sell 4 of 4 SPY sent")
    events = [decode(data).event for _, data in shared.store.entries(RUN, before[1] + 1)]
    wishes = [event for event in events if isinstance(event, Proposed)]
    assert [(wish.orders[0].lots, wish.who, wish.reason) for wish in wishes] == [(-4, "api:owner", "by <b>hand</b>")]


@pytest.mark.long
@in_module_loop
async def test_one_open_order_is_cancelled_after_the_page_has_shown_what_ends(shared: World, browser: Browser) -> None:
    what = "sell 3 IWM"
    wish = {"side": "sell", "qty": "3", "symbol": "IWM", "reason": "to be cancelled", "agent": "trend"}
    async with shared.session.post("/api/v1/orders", json=wish, headers=shared.bearer) as response:
        name = (await response.json())["order"]
    async with opened(browser, shared.api.url, PHONE, shared.token) as page:
        await show(page, "orders")
        await page.get_by_role("button", name=f"Cancel {what}, {name}").click()
        confirm = page.get_by_role("button", name=f"Cancel {what}", exact=True)
        await expect(page.get_by_role("dialog")).to_contain_text("sell 3 of 3 IWM ends; 0 filled and stay. trend may")
        assert (await violations(page), await sideways(page)) == ([], 0)
        await expect(page.get_by_label("Reason, for the journal")).to_be_focused()
        await page.keyboard.insert_text(HOSTILE)
        await confirm.click()
        await expect(page.locator(".said")).to_contain_text("cancelled: sell 3 of 3 IWM")
        await expect(page.get_by_role("button", name=name).filter(has_text="cancel")).to_have_count(0)
        assert await page.evaluate("window.hacked") is None
    *_, event = (e for _, data in shared.store.entries(RUN, 1) if isinstance(e := decode(data).event, CancelRequested))
    assert (event.who, event.reason[:20]) == ("api:owner", HOSTILE[:20])


@pytest.mark.long
@in_module_loop
async def test_the_page_says_why_it_cannot_approve_where_a_device_must(tmp_path: Path, browser: Browser) -> None:
    text = REVIEWED.replace('"person"', '"device"') + f'[approvals]\ndevices = ["phone:{"a" * 64}"]\n'
    async with standing_at_the_end(tmp_path, text) as world:
        exchange_policies(world.service.shell.state, 0, 1)
        body = {"weights": {"SPY": 0.4}, "id": "d-1", "reason": "momentum"}
        async with world.session.post("/api/v1/agents/guest/propose", json=body, headers=world.bearer) as response:
            assert response.status == 200
        async with opened(browser, world.api.url, PHONE, world.token) as page:
            await page.get_by_role("link", name="1 proposal waits for a person").click()
            await audit(page, "agents")
            await page.get_by_role("button", name="Review d-1 of guest").click()
            button = page.get_by_role("button", name="Approve: ")
            await expect(button).to_be_disabled()
            words = page.get_by_role("dialog").get_by_text("this browser is not paired")
            await expect(words).to_contain_text("--approve --plan ")
            await expect(words).to_contain_text("--key FILE")
            assert (await violations(page), await sideways(page)) == ([], 0)
            await page.get_by_label("Reason, for the journal").fill("sound")
            await page.keyboard.press("Enter")
            await page.get_by_role("button", name="Decline").click()
            await expect(page.locator(".said")).to_contain_text("d-1 of guest: declined")
        assert not world.service.shell.state.working


@pytest.mark.long
@in_module_loop
async def test_an_incident_is_acknowledged_with_a_reason_and_shown_as_text(shared: World, browser: Browser) -> None:
    active = "/api/v1/alerts/active"
    async with opened(browser, shared.api.url, PHONE, shared.token) as page:
        await show(page, "incidents")
        row = page.get_by_role("region", name="Open incidents").get_by_role("row").filter(has_text="var is at")
        await row.get_by_role("button").click()
        await page.keyboard.type(HOSTILE)
        assert await violations(page) == []
        await page.keyboard.press("Enter")
        await expect(row).to_contain_text("acknowledged by api:owner: <img src=x onerror=window.hacked=1>")
        assert await page.evaluate("window.hacked") is None
        assert await sideways(page) == 0
    async with shared.session.get(active) as response:
        (incident,) = [entry for entry in (await response.json())["incidents"] if entry["kind"] == "limit_var"]
    assert incident["acknowledged_by"] == "api:owner"


@pytest.mark.long
@in_module_loop
async def test_a_portfolio_is_opened_rebalanced_after_a_dry_run_and_closed(shared: World, browser: Browser) -> None:
    before = shared.store.last_seq(RUN)
    async with opened(browser, shared.api.url, PHONE, shared.token) as page:
        await show(page, "portfolios")
        await page.get_by_role("button", name="Open a portfolio …").click()
        await page.keyboard.type("core")
        await page.locator("#capital").fill("5000")
        await page.locator("#targets").fill("SPY zero")
        await page.locator("#reason").fill(HOSTILE)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("SPY zero: write each as SYMBOL WEIGHT")
        await page.locator("#targets").fill("SPY 0.1")
        sent = shared.store.last_seq(RUN)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("region", name="Cut by limits")).to_contain_text("buy")
        assert (await violations(page), shared.store.last_seq(RUN)) == ([], sent)  # a dry run is no entry
        await page.get_by_role("button", name="Open the portfolio: 0 orders").click()
        await expect(page.locator(".said")).to_contain_text("core was opened: 0 orders sent")
        await expect(page.locator("main")).to_contain_text("by api:owner: <img src=x onerror=window.hacked=1>")
        await audit(page, "portfolios")
        await page.get_by_role("button", name="Rebalance: core …").click()
        await page.keyboard.type("half")
        await page.locator("#targets").fill("IWM 0.1")
        sent = shared.store.last_seq(RUN)
        await page.keyboard.press("Enter")
        send = page.get_by_role("button", name="Send 0 orders")
        await expect(send).to_be_visible()
        await expect(page.get_by_role("region", name="Cut by limits")).to_contain_text("buy")
        assert await violations(page) == []
        assert shared.store.last_seq(RUN) == sent  # a dry run is no entry
        await send.click()
        await expect(page.locator(".said")).to_contain_text("core: 0 orders sent")
        await page.get_by_role("button", name="Close: core …").click()
        await page.keyboard.type("the end")
        sent = shared.store.last_seq(RUN)
        await page.keyboard.press("Enter")
        confirm = page.get_by_role("button", name="Close core: ")
        await expect(confirm).to_be_visible()
        assert (await violations(page), shared.store.last_seq(RUN)) == ([], sent)
        await confirm.click()
        await expect(page.locator(".said")).to_contain_text("core: clos")
        assert await page.evaluate("window.hacked") is None
    kinds = (PortfolioOpened, Proposed, PortfolioClosed)
    done = [e for _, data in shared.store.entries(RUN, before + 1) if isinstance(e := decode(data).event, kinds)]
    assert [type(event) for event in done] == [PortfolioOpened, Proposed, Proposed, PortfolioClosed]
    assert [event.who for event in done] == ["api:owner"] * 4


@pytest.mark.slow
@in_module_loop
async def test_two_stored_backtests_are_compared_on_a_desk_and_on_a_phone(shared: World, browser: Browser) -> None:
    for weight in ("0.25", "0.15"):
        place = shared.folder.parent / f"weight{weight}"
        place.mkdir()
        write(place, CONFIG.replace("max_position_weight = 0.25", f"max_position_weight = {weight}"))
        answer(quantd(place, "backtest", "--journal", "--no-compare", "--json", "--state", str(shared.folder)))
    for width in (DESK, PHONE):
        async with opened(browser, shared.api.url, width) as page:
            await show(page, "research")
            await page.get_by_role("button", name="Compare").click()
            table = page.get_by_role("region", name="Figures of both")
            await expect(table.get_by_role("row").filter(has_text="Total return")).to_have_count(1, timeout=30_000)
            await expect(page.locator("#main")).to_contain_text("Sharpe difference -")
            assert (await violations(page), await sideways(page)) == ([], 0)


@pytest.mark.long
@pytest.mark.requirement("R-208")
@in_module_loop
async def test_a_lost_link_turns_figures_grey_with_their_age(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(standing_at_the_end(tmp_path_factory.mktemp("lost"), CONFIG + RATES))
        pages = [
            await stack.enter_async_context(opened(browser, world.api.url, width, world.token))
            for width in (DESK, PHONE)
        ]
        for page in pages:
            await expect(page.locator("header .link")).to_have_text("link up")
        await pages[-1].wait_for_timeout(2_500)  # the scripts of the other screens are read behind the first figures
        await world.api.stop()
        for page in pages:
            await expect(page.locator("header .link")).to_contain_text("link lost, figures")
            figure = page.locator(".figure .value").first
            dim = await page.evaluate("getComputedStyle(document.querySelector('.figure p:last-child')).color")
            for screen in FIRST:
                await audit(page, screen)
            await show(page, "now")
            await expect(figure).to_have_css("color", dim)


@pytest.mark.long
@in_module_loop
async def test_the_browser_reads_the_manifest_and_its_icon_so_that_the_page_can_be_installed(
    shared: World, browser: Browser
) -> None:
    async with opened(browser, shared.api.url, PHONE) as page:
        session = await page.context.new_cdp_session(page)
        manifest = await session.send("Page.getAppManifest")
        assert manifest["url"].endswith("/dashboard/quantd.webmanifest")
        assert manifest["errors"] == []
        errors = await session.send("Page.getInstallabilityErrors")
        assert {error["errorId"] for error in errors["installabilityErrors"]} <= {"in-incognito"}  # the test's profile


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize("width", [pytest.param(1440, marks=pytest.mark.slow), PHONE])
async def test_a_promotion_against_its_test_wants_the_name_of_its_agent(
    tmp_path: Path, browser: Browser, width: int
) -> None:
    async with standing_at_the_end(tmp_path, TEXT) as world, opened(browser, world.api.url, width, world.token) as page:
        await show(page, "agents")
        region = page.get_by_role("region", name="Agents", exact=True)
        await region.get_by_role("button", name="guest", exact=True).click()
        await page.get_by_role("button", name="Promote: guest …").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_role("region", name="Weights of both")).to_be_visible()
        # an external agent decides by proposals, so that no orders follow from a call
        await expect(dialog.get_by_role("status").filter(has_text="trend is not called")).to_be_visible()
        await expect(dialog).to_contain_text("p = 1.000 is above 0.006: the data do not show that guest is better")
        promote = dialog.get_by_role("button", name="Promote")
        await dialog.get_by_label("Reason, for the journal").fill("I know better")
        for text in ("", "gues", "Guest"):
            await dialog.locator("#typed").fill(text)
            await expect(promote).to_be_disabled()
            await page.keyboard.press("Enter")
        assert await violations(page) == []
        await asyncio.sleep(0.3)
        assert world.service.shell.state.seats == list(range(len(world.service.shell.state.seats)))
        await dialog.locator("#typed").fill("guest")
        await expect(promote).to_be_enabled()
        await page.keyboard.press("Enter")
        await expect(page.locator(".said")).to_contain_text("promote of guest was carried out")


@pytest.mark.long
@in_module_loop
async def test_before_the_first_bar_the_first_screens_say_so(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> None:
    world = World(tmp_path_factory.mktemp("empty"), CONFIG + RATES)
    await world.api.start()
    try:
        for width in (DESK, PHONE):
            async with opened(browser, world.api.url, width, world.token) as page:
                await expect(page.locator("header")).to_contain_text("before the first bar")
                for screen in FIRST:
                    await audit(page, screen)
    finally:
        await world.api.stop()
        world.store.close()
