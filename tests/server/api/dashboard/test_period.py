"""One period for the whole page, in its address: by name, by dragging, by a day of the calendar. Lists page through."""

import re
from decimal import Decimal
from itertools import pairwise

import pytest
from playwright.async_api import Browser, Page, expect

from tests.server.api.dashboard.cockpit import cents, figure, number, read, world
from tests.server.api.dashboard.screens import SCREENS, in_module_loop, show
from tests.server.api.model_worlds import Halfway
from tests.server.api.routes.traded_run import ok, window
from tests.support.browser import opened, sideways, violations

__all__ = ["world"]


async def choose(page: Page, name: str) -> None:
    button = page.get_by_role("group", name="Period").get_by_role("button", name=re.compile(f"^{name}:"))
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await read(page)


@pytest.mark.long
@in_module_loop
async def test_the_period_is_kept_in_the_address_on_every_screen_and_over_a_reload(
    world: Halfway, browser: Browser
) -> None:
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        start_profit = await figure(page, "Profit since the start")
        await choose(page, "1M")
        assert page.url.endswith("#now?period=1M")
        shown = await figure(page, "Profit in 1 month")
        profit = await ok(world, f"/api/v1/profit?{await window(world, 'period=1M')}")
        assert number(shown[0]) == cents(profit["account"]["profit"])
        assert shown != start_profit
        for screen in SCREENS:
            await page.get_by_role("navigation").locator(f"a[href='#{screen}?period=1M']").click()
            await expect(page.locator("[aria-current=page]")).to_have_attribute("href", f"#{screen}?period=1M")
        await page.keyboard.press("1")
        await page.reload()
        await read(page)
        assert await figure(page, "Profit in 1 month") == shown
        await choose(page, "All")
        assert page.url.endswith("#now")
        await page.go_back()
        await expect(page.get_by_role("heading", name="Profit in 1 month")).to_be_visible()
        await read(page)
        assert await figure(page, "Profit in 1 month") == shown


@pytest.mark.long
@in_module_loop
async def test_dragging_over_the_chart_chooses_its_dates(world: Halfway, browser: Browser) -> None:
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        chart = page.locator(".curve .chart").first
        await chart.scroll_into_view_if_needed()
        box = await chart.locator(".u-over").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 60)
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
        await page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
        await page.mouse.up()
        await expect(page.locator(".periods .dates")).to_contain_text(" to 2019-")
        await read(page)
        first, last = re.findall(r"\d{4}-\d\d-\d\d", page.url)
        assert "2019-01-02" < first < last < "2019-03-29"
        profit = await ok(world, f"/api/v1/profit?{await window(world, f'from={first}&to={last}')}")
        assert number((await figure(page, f"Profit {first} to {last}"))[0]) == cents(profit["account"]["profit"])
        days = (await ok(world, f"/api/v1/profit/days?{await window(world, f'from={first}&to={last}')}"))["days"]
        assert sum(Decimal(day["profit"]) for day in days) == Decimal(profit["account"]["profit"])


@pytest.mark.long
@in_module_loop
async def test_two_dates_are_chosen_without_a_mouse(world: Halfway, browser: Browser) -> None:
    """A calendar month beside the benchmark."""
    async with opened(browser, world.api.url, 390) as page:
        await show(page, "now")
        dialog = page.get_by_role("dialog")
        await page.keyboard.press("p")
        await expect(dialog.get_by_label("First day")).to_be_focused()
        await dialog.get_by_label("First day").fill("2019-02-28")
        await dialog.get_by_label("Last day").fill("2019-02-01")
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("alert")).to_have_text("The first day is after the last day.")
        assert await violations(page) == []
        await dialog.get_by_label("First day").fill("2019-02-01")
        await dialog.get_by_label("Last day").fill("2019-02-28")
        await page.keyboard.press("Enter")
        await expect(dialog).to_have_count(0)
        assert page.url.endswith("#now?from=2019-02-01&to=2019-02-28")
        profit = await ok(world, f"/api/v1/profit?{await window(world, 'from=2019-02-01&to=2019-02-28')}")
        amount, beside = await figure(page, "Profit 2019-02-01 to 2019-02-28")
        assert number(amount) == cents(profit["account"]["profit"])
        assert ", SPY +" in beside
        await expect(page.locator(".periods .dates")).to_have_text("2019-02-01 to 2019-02-28")
        await page.get_by_role("button", name="2019-02-01 to").click()
        await dialog.get_by_label("First day").fill("")
        await dialog.get_by_label("Last day").fill("")
        await page.keyboard.press("Enter")
        await figure(page, "Profit since the start")


@pytest.mark.long
@in_module_loop
async def test_one_crosshair_is_on_all_charts_and_follows_the_keyboard(world: Halfway, browser: Browser) -> None:
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        readout, slider = page.locator(".readout p"), page.get_by_label("Crosshair")
        await slider.focus()
        await page.keyboard.press("Home")
        curve = (await ok(world, "/api/v1/profit/curve"))["curve"]
        await expect(readout).to_contain_text(f"{float(curve['equity'][0]):,.2f}")
        await page.keyboard.press("ArrowRight")
        await expect(readout).to_contain_text(f"{float(curve['equity'][1]):,.2f}")
        lines = "() => [...document.querySelectorAll('.curve .u-cursor-x')].map((e) => e.style.transform)"
        one, other = await page.evaluate(lines)
        assert one == other != ""
        box = await page.locator(".curve .chart").nth(1).locator(".u-over").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20)
        await expect(readout).to_contain_text(f"{float(curve['equity'][-1]):,.2f}")
        one, other = await page.evaluate(lines)
        assert one == other
        await page.get_by_role("button", name="equal weight").first.click()
        await expect(readout).to_contain_text("equal weight ")
        await expect(page.locator(".curve .chart").first).to_have_attribute("aria-label", re.compile("equal weight"))
        await page.get_by_role("button", name="in money").click()
        await expect(page.locator(".curve .chart").first).to_have_attribute("aria-label", re.compile("^Equity from"))
        await page.evaluate("() => scrollTo(0, 0)")  # a button that the first line covers in part counts as too small
        assert await violations(page) == []


@pytest.mark.long
@in_module_loop
async def test_the_calendar_has_each_day_week_and_month_in_money(world: Halfway, browser: Browser) -> None:
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        calendar = page.get_by_role("region", name="Profit by day, March 2019")
        months = (await ok(world, "/api/v1/profit/days?by=month"))["days"]
        await expect(calendar.locator("caption")).to_contain_text(
            f"{float(months[0]['profit']):+,.2f}".replace("-", "−")
        )
        days = {day["last"]: day for day in (await ok(world, "/api/v1/profit/days"))["days"]}
        shown = await calendar.locator("button.day").all_inner_texts()
        expected = [days[day] for day in sorted(days) if day.startswith("2019-03")]
        assert [number(text.split("\n")[1]) if "\n" in text else number(text.split()[1]) for text in shown] == [
            cents(day["profit"]) for day in expected
        ]
        await page.get_by_role("button", name="Month before").click()
        await expect(page.get_by_role("region", name="Profit by day, February 2019")).to_be_visible()
        await page.get_by_label("Calendar").select_option("weeks")
        weeks = (await ok(world, "/api/v1/profit/days?by=week"))["days"]
        rows = page.get_by_role("region", name="Profit by week").locator("tbody tr")
        await expect(rows).to_have_count(len(weeks))
        await expect(rows.first).to_contain_text(f"{float(weeks[0]['closing']):,.2f}")
        await page.get_by_label("Calendar").select_option("days of a month")
        await page.get_by_role("button", name="Month after").click()
        await calendar.get_by_role("button", name=re.compile(r"^14 ")).click()
        await expect(page.locator(".periods .dates")).to_have_text("2019-03-14 to 2019-03-14")
        await read(page)
        assert number((await figure(page, "Profit 2019-03-14 to"))[0]) == cents(days["2019-03-14"]["profit"])


@pytest.mark.long
@in_module_loop
async def test_a_list_pages_through_all_of_a_period_and_back(world: Halfway, browser: Browser) -> None:
    span = await window(world, "from=2019-01-15&to=2019-03-14")
    orders = (await ok(world, f"/api/v1/orders?limit=10000&{span}"))["orders"]
    refused = (await ok(world, f"/api/v1/refusals?limit=10000&group=refused&{span}"))["refusals"]
    expected = {order["id"] for order in orders} | {refusal["address"] for refusal in refused}
    assert len(orders) + len(refused) > 60
    async with opened(browser, f"{world.api.url}#orders?from=2019-01-15&to=2019-03-14") as page:
        await read(page)
        region = page.get_by_role("region", name="Orders", exact=True)
        status = page.locator(".find [role=status]")
        row_count = len(orders) + len(refused)
        await expect(status).to_have_text(f"25 newest of {row_count}; {row_count - 25} more")
        seen: list[str] = []
        times: list[str] = []
        first = await region.locator("tbody tr").first.inner_text()
        while True:
            labels = [str(await button.get_attribute("aria-label")) for button in await region.locator(".why-of").all()]
            seen += [label.rpartition(", ")[2] for label in labels]
            times += re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", await region.inner_text())
            older = page.get_by_role("button", name="Older orders")
            if await older.is_disabled():
                break
            await older.click()
            await expect(status).to_contain_text(f"{len(seen) + 1} to ")
        assert len(seen) == row_count
        assert set(seen) == expected
        assert all(a >= b for a, b in pairwise(times))
        while await page.get_by_role("button", name="Newer orders").is_enabled():
            await page.get_by_role("button", name="Newer orders").click()
        assert await region.locator("tbody tr").first.inner_text() == first


@pytest.mark.long
@in_module_loop
async def test_this_month_is_one_click_and_its_figures_are_those_of_its_days(world: Halfway, browser: Browser) -> None:
    month = (await ok(world, "/api/v1/status"))["session"][:8] + "01"
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        await choose(page, "MTD")
        shown = await figure(page, "Profit this month")
        profit = await ok(world, f"/api/v1/profit?{await window(world, f'from={month}')}")
        assert number(shown[0]) == cents(profit["account"]["profit"])
        assert profit["first"][:10] < month <= profit["last"][:10]
        assert "SPY" in shown[1]


@pytest.mark.long
@in_module_loop
async def test_an_own_note_is_at_its_instant_and_in_this_browser_alone(world: Halfway, browser: Browser) -> None:
    before = world.store.last_seq(world.service.run)
    async with opened(browser, world.api.url) as page:
        await show(page, "now")
        readout, slider = page.locator(".readout p"), page.get_by_label("Crosshair")
        await slider.focus()
        await page.keyboard.press("Home")
        await page.keyboard.press("ArrowRight")
        await page.get_by_label("Own note at 2019-").fill("<b>another plan</b>")
        await page.keyboard.press("Enter")
        await expect(readout).to_contain_text("own note: <b>another plan</b>")
        await expect(page.locator(".curve")).to_contain_text("N own note")
        await page.reload()
        await expect(page.get_by_label("Own note at 2019-")).to_have_value("")
        await expect(readout).not_to_contain_text("own note")
        await page.get_by_text("Own notes, in this browser alone: 1").click()
        await page.locator("details li button").first.focus()
        await expect(readout).to_contain_text("own note: <b>another plan</b>")
        await page.evaluate("() => scrollTo(0, 0)")
        assert await violations(page) == []
        await page.get_by_role("button", name="Remove the note: <b>another plan</b>").focus()
        await page.keyboard.press("Enter")
        await expect(readout).not_to_contain_text("own note")
        await page.reload()
        await expect(page.get_by_label("Own note at 2019-")).to_have_value("")
        await expect(page.get_by_text("Own notes")).to_have_count(0)
        await page.get_by_label("Own note at 2019-").fill("of this browser")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Own notes, in this browser alone: 1")).to_be_visible()
    async with opened(browser, world.api.url, 390) as page:
        await show(page, "now")
        await expect(page.get_by_label("Own note at 2019-")).to_be_visible()
        await expect(page.get_by_text("Own notes")).to_have_count(0)
        assert await violations(page) == []
        assert await sideways(page) == 0
    assert world.store.last_seq(world.service.run) == before
