"""What the page offers, row by row: each row is clicked as a person would, and the table is printed.

python -m pytest -s -n 0 -m 'not slow' --hypothesis-profile=full tests/server/api/dashboard/test_offers.py
"""

import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, Download, Locator, Page, expect
from playwright.async_api import Error as PlaywrightError

from quantd.daemon.recovery.replay import save_config
from tests.server.api.dashboard.controls import a_backtest, owner
from tests.server.api.dashboard.screens import SCREENS, commands, in_module_loop, show
from tests.server.api.routes.traded_run import TEXT, traded
from tests.support.browser import opened, violations

GUEST = '[[agents]]\nname = "guest"\npolicy = "external"\napproval = "person"\ncapital = 0.05\n[[schedules]]'

Row = Callable[[Page, Any], Awaitable[None]]
ROWS: dict[str, tuple[Literal["has", "partly"], Row]] = {}
"""What somebody wants -> whether the page has it, and the clicks that show it."""


def row(words: str, state: Literal["has", "partly"] = "has") -> Callable[[Row], Row]:
    def noted(shown: Row) -> Row:
        ROWS[words] = state, shown
        return shown

    return noted


def card(page: Page, head: str) -> Locator:
    return page.locator("main section", has=page.get_by_role("heading", name=re.compile(f"^{head}")))


def table(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True).locator("tbody tr")


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=re.compile(name)).first.click()


async def in_dialog(page: Page, **fields: str) -> Locator:
    """The open dialog with its fields filled."""
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_have_count(1)
    for name, value in fields.items():
        await dialog.locator(f"#{name}").fill(value)
    return dialog


async def saved(page: Page, name: str) -> Download:
    async with page.expect_download() as download:
        await press(page, name)
    return await download.value


async def house(world: Any, command: str) -> None:
    await owner(world, "commands", {"command": command, "reason": "a row"})


@row("equity curve")
async def curve(page: Page, world: Any) -> None:
    await expect(page.get_by_role("img", name=re.compile("^Return of account, SPY from 2019-01-02"))).to_be_visible()


@row("choice of period, also by dates")
async def period(page: Page, world: Any) -> None:
    await press(page, "^Dates …$")
    dialog = await in_dialog(page, **{"period-from": "2019-02-01", "period-to": "2019-02-28"})
    await dialog.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("heading", name="Profit 2019-02-01 to 2019-02-28")).to_be_visible()
    await press(page, "^MTD: this month$")
    await expect(page.get_by_role("heading", name="Profit this month")).to_be_visible()
    await press(page, "^All: all$")


@row("benchmark on the curve")
async def benchmark(page: Page, world: Any) -> None:
    await expect(page.get_by_role("button", name="SPY", exact=True)).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("button", name="core", exact=True)).to_be_visible()
    await expect(page.locator(".readout p")).to_contain_text(re.compile(r"SPY [+−]\d"))


@row("drawdown with its peak and date")
async def drawdown(page: Page, world: Any) -> None:
    tile = page.locator(".figure", has=page.get_by_role("heading", name="Drawdown"))
    await expect(tile).to_contain_text(re.compile(r"from the peak of [\d,.]+ on 2019-\d\d-\d\d"))


@row("profit of positions, realised and unrealised")
async def positions(page: Page, world: Any) -> None:
    rows = page.get_by_role("region", name="Positions", exact=True)
    for head in ("unrealised", "realised"):
        await expect(rows.locator("thead")).to_contain_text(head)
    spy = table(page, "Positions").filter(has_text="SPY")
    await expect(spy).to_contain_text(re.compile(r"[+−][\d,]+\.\d\d.*[+−][\d,]+\.\d\d"))


@row("profit per day, week, month")
async def days(page: Page, world: Any) -> None:
    for span, words in (("day", "days of a month"), ("week", "weeks"), ("month", "months")):
        await page.get_by_label("Calendar").select_option(words)
        await expect(page.get_by_role("heading", name=re.compile(f"^Profit by {span}"))).to_be_visible()


@row("deposits kept apart")
async def deposits(page: Page, world: Any) -> None:
    rows = page.get_by_role("region", name="Contributions", exact=True)
    await expect(rows.locator("tfoot, tbody tr").last).to_contain_text("3,999.50")


@row("contribution of each agent")
async def contributions(page: Page, world: Any) -> None:
    for agent in ("even", "trend", "core"):
        await expect(table(page, "Contributions").filter(has_text=agent)).to_contain_text(re.compile(r"[+−]\d"))


@row("candles with fills")
async def candles(page: Page, world: Any) -> None:
    await show(page, "market")
    await expect(page.get_by_role("img", name="Prices of SPY")).to_be_visible()
    await expect(page.locator("main")).to_contain_text(re.compile(r"(\d+) of \1 fills and refusals are in these bars"))


@row("interval, zoom, indicators")
async def indicators(page: Page, world: Any) -> None:
    await show(page, "market")
    await page.get_by_label("Interval").select_option("week")
    await page.get_by_label("Indicator", exact=True).select_option(index=1)
    await press(page, "^Zoom in$")
    await expect(page.get_by_role("img", name="Prices of SPY")).to_be_visible()
    await page.get_by_label("Interval").select_option("bar")


@row("orders and trades of all of history, with the price of the fill")
async def orders(page: Page, world: Any) -> None:
    await show(page, "orders")
    first = await table(page, "Orders").first.inner_text()
    await press(page, "^Older orders$")
    await expect(table(page, "Orders").first).not_to_have_text(first)
    await expect(page.get_by_role("region", name="Orders", exact=True).locator("thead")).to_contain_text("fill price")


@row("refused and cut orders with why")
async def refused(page: Page, world: Any) -> None:
    await show(page, "orders")
    await page.get_by_label("State").select_option("refused")
    await expect(table(page, "Orders").first).to_contain_text("refused")
    await table(page, "Orders").first.get_by_role("button", name=re.compile("^Why")).click()
    await expect(page.locator("aside").get_by_role("row").filter(has_text="here").first).to_be_visible()


@row("limits as bars, largest order")
async def limits(page: Page, world: Any) -> None:
    await expect(page.locator(".use .track").first).to_be_visible()
    await expect(table(page, "Largest orders").filter(has_text="SPY")).to_contain_text(re.compile(r"\d"))


@row("what if before an order")
async def before_order(page: Page, world: Any) -> None:
    await show(page, "order")
    for name, value in {"qty": "1", "symbol": "SPY", "reason": "a row"}.items():
        await page.locator(f"#order-{name}").fill(value)
    await page.locator("#order-side").select_option("sell")
    await page.locator("#order-agent").select_option("even")  # it holds what it sells
    await press(page, "^Preview$")
    await expect(page.get_by_role("button", name=re.compile("^Send sell 1 SPY"))).to_be_visible()


@row("what if of weights, of limits, and over the past")
async def what_if(page: Page, world: Any) -> None:
    await show(page, "risk")
    asked = card(page, "What if")
    await asked.locator("#what-if").select_option("max_drawdown")
    await asked.locator("#what-if-value").fill("0.01")
    await asked.get_by_role("button", name="Over the past").click()
    await expect(asked).to_contain_text("this account would have", timeout=120_000)
    await asked.locator("#what-of").select_option("weights")
    await asked.locator("#weight-SPY").fill("0.1")
    await asked.get_by_role("button", name="Plan now").click()
    await expect(asked).to_contain_text("with it")


@row("halt, pause, reduce, flatten")
async def halt(page: Page, world: Any) -> None:
    await press(page, "^Halt …$")
    dialog = await in_dialog(page)
    for command in ("halt", "reduce", "flatten"):
        await dialog.locator("#command").select_option(command)
    await dialog.locator("#command").select_option("reduce")
    await dialog.get_by_role("button", name="Reduce all trading").click()
    await expect(page.locator("header .switch")).to_contain_text("REDUCE")
    await house(world, "resume")


@row("preview and reason for each act")
async def preview(page: Page, world: Any) -> None:
    await show(page, "agents")
    await table(page, "Agents").get_by_role("button", name="even", exact=True).click()
    await press(page, "^Pause: even …$")
    dialog = await in_dialog(page, reason="a row")
    await dialog.get_by_role("button", name="Pause").click()
    await press(page, "^Resume: even …$")
    dialog = await in_dialog(page, reason="a row")
    await dialog.get_by_role("button", name="Resume").click()
    await expect(dialog).to_have_count(0)


@row("a second person, an outside agent")
async def second(page: Page, world: Any) -> None:
    await owner(world, "agents/guest/propose", {"weights": {"SPY": 0.1}, "id": "row-1", "reason": "it rises"})
    await show(page, "agents")
    await press(page, "^Review row-1")
    dialog = await in_dialog(page, reason="a row")
    await expect(dialog.get_by_role("button", name=re.compile("^Approve: "))).to_be_enabled()
    await dialog.get_by_role("button", name="Decline").click()
    await expect(dialog).to_have_count(0)


@row("acknowledge an incident")
async def acknowledge(page: Page, world: Any) -> None:
    await house(world, "halt")
    await show(page, "incidents")
    await press(page, "^Acknowledge switch")
    dialog = await in_dialog(page, reason="seen")
    await dialog.get_by_role("button", name="Acknowledge").click()
    await expect(page.locator(".said")).to_contain_text("acknowledged: switch")
    await house(world, "resume")


@row("act from the phone: the page here, buttons of messages in the tests of ntfy and Telegram")
async def phone(page: Page, world: Any) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.evaluate("scrollTo(0, document.body.scrollHeight)")
    before = len(commands(world))
    await press(page, "^Halt …$")
    await press(page, "^Halt all trading$")
    await expect(page.locator("header .switch")).to_contain_text("HALT")
    assert [fields[0] for fields in commands(world)[before:]] == ["halt"]
    await house(world, "resume")
    await page.set_viewport_size({"width": 1280, "height": 800})


@row("log viewer")
async def log(page: Page, world: Any) -> None:
    await show(page, "system")
    await expect(page.get_by_role("region", name="Log", exact=True)).to_be_visible()
    await card(page, "Log of the process").get_by_label("Level").select_option(index=1)


@row("risk screen")
async def risk(page: Page, world: Any) -> None:
    await show(page, "risk")
    for name in ("Value at risk", "Stress", "Correlations", "Measures of the agents"):
        await expect(table(page, name).first).to_be_visible()


@row("the run beside a backtest")
async def beside(page: Page, world: Any) -> None:
    await a_backtest(world)
    await show(page, "research")
    await expect(card(page, "The run beside")).not_to_contain_text("there is no stored backtest")
    await expect(table(page, "Stored backtests").first.get_by_role("button", name=re.compile("^Pin"))).to_be_visible()


@row("start a backtest, with other parameters; data are not downloaded here", "partly")
async def start(page: Page, world: Any) -> None:
    await show(page, "research")
    await press(page, "^Start a backtest or a sweep")
    dialog = await in_dialog(page, reason="a row")
    await dialog.get_by_role("button", name="Start the backtest").click()
    await expect(table(page, "Started here").filter(has_text="backtest").first).to_be_visible()


@row("change limits, shares, schedules, receivers and alarms; other keys in the file", "partly")
async def change(page: Page, world: Any) -> None:
    await show(page, "system")
    for setting, value in (("[risk] max_drawdown", "0.2"), ("[alerts] alarms", '["drawdown > 0.1"]')):
        await page.get_by_label("Search settings that may change").fill(setting)
        await press(page, f"^Change {re.escape(setting)}$")
        dialog = await in_dialog(page, setting=value, reason="a row")
        await dialog.get_by_role("button", name="Look").click()
        await dialog.get_by_role("button", name="Write it into the file").click()
        await expect(dialog).to_have_count(0)
    assert world.service.shell.state.rules.house.max_drawdown == 0.2
    assert 'alarms = ["drawdown > 0.1"]' in (world.folder.parent / "config.toml").read_text()


@row("several daemons")
async def daemons(page: Page, world: Any) -> None:
    await show(page, "daemons")
    await expect(table(page, "All daemons").or_(table(page, "Daemons")).first).to_contain_text("RUN")
    await press(page, "^Halt daemons …$")
    await (await in_dialog(page)).get_by_role("button", name="Cancel").click()


@row("own arrangement and lines; no chart of one's own", "partly")
async def arrangement(page: Page, world: Any) -> None:
    await page.get_by_text("Arrange this screen").click()
    await page.get_by_role("checkbox", name="Largest orders").uncheck()
    await expect(page.get_by_role("heading", name="Largest order that would pass now")).to_have_count(0)
    await page.get_by_role("checkbox", name="Largest orders").check()
    await page.get_by_role("button", name="equal weight", exact=True).click()


@row("notes on the curve, also one's own")
async def notes(page: Page, world: Any) -> None:
    await expect(page.get_by_text(re.compile("^What happened: "))).to_be_visible()
    await page.get_by_label("Own note at 2019-").fill("a row")
    await press(page, "^Add$")
    await expect(page.locator(".readout p")).to_contain_text("own note: a row")


@row("theme, zone, colours")
async def look(page: Page, world: Any) -> None:
    await press(page, "^View …$")
    for name, value in {"theme": "dark", "zone": "UTC", "colours": "safe"}.items():
        await page.locator(f"#look-{name}").select_option(value)
    await press(page, "^Close$")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await expect(page.locator(".readout p")).to_contain_text("2019-03-29 20:00")


@row("accessibility")
async def accessible(page: Page, world: Any) -> None:
    for screen in SCREENS:
        await show(page, screen)
        assert await violations(page) == [], screen


@row("share or export")
async def export(page: Page, world: Any) -> None:
    for name, ending in (("^Save equity as CSV$", ".csv"), ("^Save equity as PNG$", ".png")):
        assert (await saved(page, name)).suggested_filename.endswith(ending)
    await expect(page.get_by_role("button", name="Copy the link of equity")).to_be_visible()


@pytest.mark.long
@in_module_loop
async def test_each_row_is_shown_by_its_clicks(
    tmp_path: Path, browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    faults: dict[str, str] = {}
    async with traded(tmp_path, TEXT.replace("[[schedules]]", GUEST, 1)) as world:
        save_config(world.folder, world.config, tmp_path / "config.toml", (), {})
        async with opened(browser, world.api.url, token=world.token) as page:
            for words, (state, shown) in ROWS.items():
                await page.goto("about:blank")  # another address of the page alone loads nothing
                await page.goto(world.api.url)
                await show(page, "now")
                began = time.monotonic()
                try:
                    await shown(page, world)
                except (AssertionError, PlaywrightError) as why:
                    faults[words] = str(why)[:300]
                lines.append(f"{'FAILS' if words in faults else state:8s}{time.monotonic() - began:5.1f} s  {words}")
    with capsys.disabled():
        print("", *lines, sep="\n")  # noqa: T201
    assert faults == {}
    assert len(lines) == 31
