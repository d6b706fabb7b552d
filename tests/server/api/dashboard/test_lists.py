"""Counts of the page are those of the account, and its filters and searches reach the oldest row."""

import sqlite3
from collections.abc import AsyncIterator
from decimal import Decimal

import numpy as np
import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import Browser, expect

from quantd.daemon.views.addresses import AskedLine, refused_lines
from quantd.research.runs.looks import note_looks
from quantd.risk.limits.catalogue import Reason
from tests.server.api.dashboard.screens import in_module_loop, show
from tests.support.api_world import RATES, World, get, standing_at_the_end
from tests.support.browser import opened
from tests.support.command_line import ALERTING
from tests.support.looks import look

OPEN, ALERTS, REFUSED = 300, 150, 250
"""Rows that are added: more than a page of either list has."""

WORKING, FILLED = 1, 5


def database(world: World) -> sqlite3.Connection:
    """The read models of the world."""
    for path in world.folder.glob("*.db"):
        connection = sqlite3.connect(path)
        if (
            connection.execute("select count(*) from sqlite_master where name in ('orders', 'alerts')").fetchone()[0]
            == 2
        ):
            return connection
        connection.close()
    raise LookupError(world.folder)


NEWEST = "ts = (select max(ts) from {table})"


def added(db: sqlite3.Connection, table: str, number: int, copied: str = NEWEST, **expressions: str) -> None:
    """Adds copies of a row, with other values by expressions of SQL, in which K counts the copies."""
    names = [row[1] for row in db.execute(f"pragma table_info({table})")]
    for k in range(1, number + 1):
        values = ", ".join(expressions.get(name, name).replace("K", str(k)) for name in names)
        row = f"select {values} from {table} where {copied.format(table=table)} limit 1"
        db.execute(f"insert into {table} ({', '.join(names)}) {row}")
    db.commit()


async def trades(world: World) -> list[AskedLine]:
    """The refused trades of the run as `quantd orders --refused` lists them, the oldest first."""
    lines = await world.api.context.run.read(lambda reader: refused_lines(reader, last=1_000_000))
    return [line for line in lines if line.allowed == "0"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    text = ALERTING.replace("[api]\n", f"[api]\n{RATES}")
    async with standing_at_the_end(tmp_path_factory.mktemp("lists"), text) as standing_world:
        db = database(standing_world)
        added(db, "orders", OPEN, id="'q-open-K'", n="n + K", ts="ts + 1", state=str(WORKING), filled="0")
        added(db, "alerts", ALERTS, seq="seq + K", ts="ts + 1", text="'copy K'")
        refusal = (await trades(standing_world))[-1]
        added(db, "decisions", REFUSED, f"seq = {refusal.address[1:].partition(':')[0]}", k="k + K")
        db.close()
        yield standing_world


def one(world: World, query: str) -> str:
    db = database(world)
    try:
        return str(db.execute(query).fetchone()[0])
    finally:
        db.close()


@pytest.mark.long
@in_module_loop
async def test_groups_of_orders_have_the_counts_of_the_account_and_filters_reach_all_of_it(
    world: World, browser: Browser
) -> None:
    filled = int(one(world, f"select count(*) from orders where state = {FILLED}"))
    number = int(one(world, "select count(*) from orders"))
    oldest = one(world, "select id from orders order by ts, sample, n, row limit 1")
    assert filled > 0
    async with opened(browser, world.api.url) as page:
        await show(page, "orders")
        options = page.get_by_label("State").locator("option")
        await expect(options.filter(has_text="filled (")).to_have_text(f"filled ({filled:,})")
        await expect(options.filter(has_text="open (")).to_have_text(f"open ({OPEN:,})")
        status = page.locator(".find [role=status]")
        await expect(status).to_contain_text(f"of {number + len(await trades(world)):,};")
        rows = page.get_by_role("region", name="Orders", exact=True).locator("tbody tr")
        await page.get_by_label("State").select_option("filled")
        await expect(rows.first).to_contain_text("filled")
        await expect(rows).to_have_count(min(25, filled))
        await page.get_by_label("State").select_option("all")
        await page.get_by_label("Search orders").fill(oldest)
        await expect(rows).to_have_count(1)
        await expect(rows.get_by_role("button", name=oldest)).to_have_count(1)
        await page.get_by_label("Search orders").fill("no such order")
        await expect(rows).to_contain_text("nothing matches")


@pytest.mark.long
@in_module_loop
async def test_a_search_of_orders_finds_what_their_row_shows(world: World) -> None:
    for text, condition in (
        ("even", "agents like '%even%'"),
        ("sell", "lots < 0"),
        ("working", f"state = {WORKING}"),
        ("position weight", f"reason = {int(Reason.POSITION_WEIGHT)}"),
    ):
        number = int(one(world, f"select count(*) from orders where {condition}"))
        assert 0 < number < int(one(world, "select count(*) from orders")), text
        assert (await get(world, f"/api/v1/orders?totals=yes&search={text}"))[1]["totals"]["all"] == number, text


@pytest.mark.long
@in_module_loop
async def test_an_order_has_the_price_and_fee_of_its_fills(world: World) -> None:
    fills = (await get(world, "/api/v1/fills?limit=500"))[1]["fills"]
    orders = (await get(world, "/api/v1/orders?limit=10&group=filled"))[1]["orders"]
    assert len(orders) == 10
    for order in orders:
        of_order = [fill for fill in fills if fill["order"] == order["id"]]
        traded = sum(Decimal(fill["qty"]) for fill in of_order)
        mean = sum(Decimal(fill["qty"]) * Decimal(fill["price"]) for fill in of_order) / traded
        assert abs(Decimal(order["price"]) - mean) < Decimal("0.000001")
        assert Decimal(order["fee"]) == sum(Decimal(fill["fee"]) for fill in of_order)


@pytest.mark.long
@in_module_loop
async def test_a_day_is_searched_also_outside_the_period(world: World, browser: Browser) -> None:
    date = "date(ts / 1000000000, 'unixepoch')"
    day = one(world, f"select min({date}) from orders where state = {FILLED}")
    orders = int(one(world, f"select count(*) from orders where {date} = '{day}'"))
    refused = sum(str(np.datetime64(line.ts, "ns"))[:10] == day for line in await trades(world))
    assert 0 < orders < int(one(world, "select count(*) from orders"))
    async with opened(browser, world.api.url) as page:
        await show(page, "orders?period=1D")
        await page.get_by_label("Search orders").fill(day)
        option = page.get_by_label("State").locator("option").filter(has_text="all")
        await expect(option).to_have_text(f"all ({orders + refused:,})")
        cells = page.get_by_role("region", name="Orders", exact=True).locator("td[data-head=time]")
        await expect(cells).to_have_count(min(25, orders + refused))
        assert {text.strip()[:10] for text in await cells.all_inner_texts()} == {day}
        last = one(world, f"select max({date}) from alerts")
        alerts = int(one(world, f"select count(*) from alerts where {date} = '{last}'"))
        await show(page, "incidents")
        await page.get_by_label("Search alerts").fill("2019-01-01")
        await expect(page.locator(".find [role=status]")).to_have_text("0")
        await page.get_by_label("Search alerts").fill(last)
        await expect(page.locator(".find [role=status]")).to_contain_text(f" of {alerts:,}")


@pytest.mark.long
@in_module_loop
async def test_looks_have_the_count_of_the_ledger_and_the_best_is_the_best_of_all(
    world: World, browser: Browser
) -> None:
    oldest = replace(look("oldest"), name="the best of all", sharpe=9.0)
    note_looks(world.folder, [oldest, *(replace(look(f"l{k}"), sharpe=1.0 + k / 1000) for k in range(230))])
    async with opened(browser, world.api.url) as page:
        await show(page, "research")
        table = page.get_by_role("region", name="Looks", exact=True)
        status = page.locator("section", has=table).locator(".find [role=status]")
        await expect(status).to_have_text("20 newest of 231; 211 more")
        await page.get_by_role("button", name="Best first").click()
        await expect(status).to_have_text("20 best of 231; 211 more")
        await expect(table.locator("tbody tr").first).to_contain_text("9.00")
        await page.get_by_role("button", name="Best first").click()
        await page.get_by_label("Search looks").fill("best of all")
        await expect(status).to_have_text("1")
        await expect(table.locator("tbody tr")).to_contain_text("9.00")
