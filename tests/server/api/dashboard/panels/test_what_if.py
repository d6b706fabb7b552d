"""What if: the page shows the plan under another limit and the other past of the run as the API has them."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from quantd.daemon.recovery.replay import save_config
from tests.server.api.dashboard.controls import RATES as ALL_RATES
from tests.server.api.dashboard.controls import owner
from tests.server.api.dashboard.screens import in_module_loop, show
from tests.server.api.routes.outside_run import journalled, market
from tests.server.requests.orders_by_hand import BY_HAND
from tests.support.api_world import RATES, World, standing_at_the_end
from tests.support.browser import opened, sideways, violations
from tests.support.command_line import CONFIG

CHANGE = "risk.max_position_weight=0.05"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    text = BY_HAND.replace("[api]\n", f"[api]\n{RATES}").replace("[risk]", "[risk]\nallow_short = true")
    folder = tmp_path_factory.mktemp("what-if")
    async with standing_at_the_end(folder, text) as standing_world:
        # as `quantd run` does at its start, so that a later replay has the configuration
        save_config(standing_world.folder, standing_world.config, folder / "config.toml", (), {})
        yield standing_world


@pytest.mark.long
@in_module_loop
async def test_a_limit_is_tried_for_now_and_over_the_past_and_nothing_changes(world: World, browser: Browser) -> None:
    before = world.store.last_seq(world.service.run)
    asked = {"limits": [CHANGE]}
    async with world.session.post("/api/v1/plan/what-if", json=asked, headers=world.bearer) as response:
        told = await response.json()
        assert response.status == 200, told
    async with world.session.get(f"/api/v1/research/limit?limit={CHANGE}", headers=world.bearer) as response:
        past = await response.json()
        assert response.status == 200, str(past)
    async with opened(browser, world.api.url, token=world.token) as page:
        await show(page, "risk")
        card = page.locator("section", has=page.get_by_role("heading", name="What if"))
        await card.locator("#what-if").select_option("max_position_weight")
        await card.locator("#what-if-value").fill("0.05")
        await card.get_by_role("button", name="Plan now").click()
        row = card.get_by_role("row", name="position weight")
        then = next(each for each in told["then"]["limits"] if each["limit"] == "max_position_weight")
        assert then["bound"] == 0.05
        await expect(row).to_contain_text("5.0 %")
        await expect(card).to_contain_text(f"{len(told['then']['orders'])} order")
        await card.get_by_role("button", name="Over the past").click()
        await expect(card).to_contain_text(past["sentence"], timeout=120_000)
        await expect(card).to_contain_text("the run gives its recorded equity")
        await card.locator("#what-if-value").fill("7")
        await expect(card).not_to_contain_text(past["sentence"])
        await card.get_by_role("button", name="Plan now").click()
        await expect(card.get_by_role("alert")).to_contain_text("max_position_weight")
    assert world.store.last_seq(world.service.run) == before


@pytest.mark.long
@in_module_loop
async def test_weights_are_sent_as_a_plan_of_a_portfolio_and_of_an_outside_agent(
    tmp_path: Path, browser: Browser
) -> None:
    guest = '[[agents]]\nname = "guest"\npolicy = "external"\ncapital = 0.2\n[[schedules]]'
    text = CONFIG.replace("capital = 0.4", "capital = 0.2").replace("[[schedules]]", guest)
    text += f"{ALL_RATES}\n[portfolios]\nplaces = 1\n"
    async with market(tmp_path, text) as trading:
        await owner(trading, "portfolios", {"name": "core", "capital": "2000", "weights": {"SPY": 0.5}, "reason": "x"})
        await trading.go(3)
        async with opened(browser, trading.api.url, token=trading.token) as page:
            for agent, symbol, weight in (("core", "IWM", 0.4), ("guest", "QQQ", 0.02)):
                await show(page, "risk")
                card = page.locator("section", has=page.get_by_role("heading", name="What if"))
                await card.locator("#what-of").select_option("weights")
                await card.locator("#what-agent").select_option(label=agent)
                await card.get_by_label("Another symbol").fill(symbol)
                await card.get_by_role("button", name="Add").click()
                await card.locator(f"#weight-{symbol}").fill(str(weight))
                if agent == "core":
                    await card.locator("#weight-SPY").fill("0")
                await card.get_by_role("button", name="Plan now").click()
                await card.get_by_role("button", name="Send as a plan …").click()
                dialog = page.get_by_role("dialog", name=f"Rebalance: {agent}")
                sold = "SPY 0, " if agent == "core" else ""  # what is sold is named, also where it is everything
                await expect(dialog.locator("#targets")).to_have_value(f"{sold}{symbol} {weight}")
                await dialog.locator("#reason").fill("as tried")
                await dialog.get_by_role("button", name="Dry run").click()
                assert await violations(page) == []
                await dialog.get_by_role("button", name="Send ").click()
                await expect(page.locator(".said")).to_contain_text(f"{agent}: ")
                await expect(page.get_by_role("dialog")).to_have_count(0)
                assert [sent_weights(trading)] == [{symbol: weight}]


def sent_weights(trading: Any) -> dict[str, float]:
    """The targets of the newest proposal that an agent's token or a person has sent."""
    weights = np.frombuffer(journalled(trading)[-1].weights)
    return {trading.assembly.universe.symbols[k]: float(weights[k]) for k in np.flatnonzero(weights)}


BOOKS = ("", "even", "trend")
"""Books of differing capital; empty is that of orders by hand."""

VAST = "99999"


async def would_pass(world: World, side: str, agent: str) -> str:
    """The size that the gate leaves of a vast order for a book."""
    order = {"side": side, "qty": VAST, "symbol": "SPY", "reason": "how much would pass"}
    order |= {"agent": agent} if agent else {}
    async with world.session.post("/api/v1/orders/preview", json=order, headers=world.bearer) as response:
        preview = await response.json()
        assert response.status == 200, preview
        return str(preview["would"]["allowed"])


async def choose(page: Page, agent: str) -> None:
    await page.locator("#order-agent").select_option(agent)


@pytest.mark.long
@in_module_loop
async def test_the_largest_order_is_that_of_the_chosen_book(world: World, browser: Browser) -> None:
    sizes: dict[str, tuple[str, str]] = {}
    async with opened(browser, world.api.url, token=world.token) as page:
        await show(page, "order")
        await page.locator("#order-symbol").fill("SPY")
        for agent in BOOKS:
            await choose(page, agent)
            text = page.locator("#main .none", has_text=f"{agent or 'manual'} holds ")
            await expect(text).to_contain_text("Largest order that would pass now")
            said = re.search(r"buy ([\d,]+);.*Sell ([\d,]+);", await text.text_content() or "")
            assert said is not None, await text.text_content()
            sizes[agent] = said[1].replace(",", ""), said[2].replace(",", "")
            assert sizes[agent] == (await would_pass(world, "buy", agent), await would_pass(world, "sell", agent))
    assert len(set(sizes.values())) > 1, "the books must differ, or this shows nothing"


@pytest.mark.long
@in_module_loop
async def test_no_figure_of_another_book_is_shown_while_the_chosen_one_is_not_known(
    world: World, browser: Browser
) -> None:
    async def never(route: Route) -> None:
        await gone.wait()
        await route.abort()

    gone = asyncio.Event()
    async with opened(browser, world.api.url, token=world.token) as page:
        await show(page, "order")
        await page.route(re.compile(r"/api/v1/risk\?.*agent=trend"), never)
        await page.locator("#order-symbol").fill("SPY")
        await expect(page.locator("#main")).to_contain_text("Largest order that would pass now")
        await choose(page, "trend")
        await expect(page.locator("#main")).not_to_contain_text("Largest order that would pass now")
        await asyncio.sleep(1.5)  # the answers about the house have come
        await expect(page.locator("#main")).not_to_contain_text("Largest order that would pass now")
        await choose(page, "even")
        await expect(page.locator("#main")).to_contain_text("even holds ")
        gone.set()
        await page.unroute_all(behavior="wait")


@pytest.mark.long
@in_module_loop
async def test_a_sale_beyond_what_the_book_holds_is_called_a_short_sale(world: World, browser: Browser) -> None:
    """The house holds the symbol in another book, so that only the preview can tell."""
    async with world.session.get("/api/v1/risk?symbol=SPY&agent=even") as response:
        held = int((await response.json())["room"][0]["held"])
    assert held > 1
    async with opened(browser, world.api.url, token=world.token) as page:
        await show(page, "order")
        await page.locator("#order-symbol").fill("SPY")
        await page.locator("#order-side").select_option("sell")
        await page.locator("#order-reason").fill("a test")
        for agent, qty, words in (
            ("", 1, "manual holds -1 SPY: a short sale of this book, also where other books hold SPY"),
            ("even", 1, f"even holds {held - 1:,} SPY"),
        ):
            await choose(page, agent)
            await page.locator("#order-qty").fill(str(qty))
            await page.get_by_role("button", name="Preview").click()
            after = page.locator("dt", has_text="after it").locator("xpath=following-sibling::dd[1]")
            await expect(after).to_contain_text(words)
            assert ("short sale" in await after.inner_text()) == ("short sale" in words)


@pytest.mark.long
@in_module_loop
async def test_weights_are_tried_by_sliders_a_share_as_a_number_and_a_limit_goes_on_to_its_dialog(
    world: World, browser: Browser
) -> None:
    file, before = world.folder.parent / "config.toml", world.store.last_seq(world.service.run)
    text = file.read_text()
    async with world.session.get("/api/v1/status", headers=world.bearer) as response:
        held = next(each for each in (await response.json())["agents"] if each["name"] == "even")["weights"]
    assert held["SPY"] > 0.1
    asked = {"agent": "even", "weights": {**held, "SPY": 0.0}}
    async with world.session.post("/api/v1/plan/what-if", json=asked, headers=world.bearer) as response:
        told = (await response.json())["then"]
    async with opened(browser, world.api.url, 390, world.token, color_scheme="dark") as page:
        await show(page, "risk")
        card = page.locator("section", has=page.get_by_role("heading", name="What if"))
        await card.locator("#what-of").select_option("weights")
        slider = card.locator("#weight-SPY")
        await expect(card.locator("input[type=range]")).to_have_count(len(held))
        await slider.fill("0")
        await expect(card.get_by_text("SPY 0.0 %")).to_be_visible()
        await expect(card).to_contain_text(f"Together {100 * (sum(held.values()) - held['SPY']):.1f} %")
        await card.get_by_role("button", name="Plan now").click()
        value = f"{told['value']:,.2f}"
        await expect(card.locator("dd").nth(1)).to_contain_text(f"of {value}")
        await expect(card.get_by_role("button", name="Send as a plan …")).to_have_count(0)  # a policy decides
        assert await violations(page) == []
        assert await sideways(page) == 0
        await card.locator("#what-of").select_option("share")
        await card.locator("#what-if-value").fill("0.95")
        await card.get_by_role("button", name="Plan now").click()
        await expect(card.get_by_role("alert")).to_contain_text("unallocated book has")
        await card.locator("#what-of").select_option("limit")
        await card.locator("#what-if").select_option("max_drawdown")
        await card.locator("#what-if-value").fill("0.15")
        await card.get_by_role("button", name="Plan now").click()
        await card.get_by_role("button", name="Apply …").click()
        dialog = page.get_by_role("dialog", name="[risk] max_drawdown")
        await expect(dialog.get_by_label("New value")).to_have_value("0.15")
        await dialog.get_by_role("button", name="Cancel").click()
    assert (file.read_text(), world.store.last_seq(world.service.run)) == (text, before)
