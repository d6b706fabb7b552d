"""`quantd connect phone`: a real browser is paired, signs in by its key, approves with it and halts in one tap."""

import asyncio
import json
import re
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from quantd.daemon.engine.agents.promotion import exchange_policies
from quantd.server.requests.tokens import created
from quantd.trading.codec import decode
from quantd.trading.events import ProposalReviewed
from tests.server.api.dashboard.screens import in_module_loop
from tests.server.api.routes.outside_run import REVIEWED, market
from tests.support.api_world import RUN
from tests.support.browser import PHONE, opened, sideways, violations
from tests.support.command_line import CONFIG, answer, environment, quantd, running, write
from tests.support.mqtt import free_port

WAITING = CONFIG.replace('at_end = "stop"', 'at_end = "wait"').replace("max_position_weight = 0.25\n", "")
SHORT = "feed.end=2019-03-29"
GUEST = '[[agents]]\nname = "guest"\npolicy = "external"\ncapital = 0.1\napproval = "{}"\n'


def text_of(port: int, approval: str) -> str:
    return WAITING.replace("[api]\nport = 0", f"[api]\nport = {port}") + GUEST.format(approval)


def propose(port: int, token: str, id: str, weight: float) -> None:
    """A proposal of the agent, which waits."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"weights": {"SPY": weight}, "id": id, "reason": "momentum"}).encode()
    url = f"http://127.0.0.1:{port}/api/v1/agents/guest/propose"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:
        assert json.load(response)["verdict"]["outcome"] == "approval"


@asynccontextmanager
async def connecting(folder: Path, *words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, str]]:
    """`quantd connect phone`, its link and what it printed before."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "quantd.daemon.cli", "connect", "phone", *words,
        cwd=folder, env=environment(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert command.stdout is not None
    text = ""
    while "#pair=" not in text:
        line = (await asyncio.wait_for(command.stdout.readline(), 60)).decode()
        assert line, text
        text += line
    try:
        yield command, text.split()[-1], text
    finally:
        if command.returncode is None:
            command.kill()
            await command.wait()


async def paired(folder: Path, page: Page, url: str) -> str:
    """Pair the browser of a page as the device `phone`; what the command printed."""
    async with connecting(folder, "--url", url) as (command, link, _):
        await page.goto(link)
        assert "#" not in await page.evaluate("location.href"), "the code leaves the address"
        await page.get_by_role("button", name="Pair this phone").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Its key begins with")
        shown = await dialog.locator("strong").inner_text()
        assert (await violations(page), await sideways(page)) == ([], 0)
        out, _ = await command.communicate(b"y\n")
        assert command.returncode == 0, out.decode()
        assert f"the key {shown}." in out.decode(), "both screens show the same"
        await expect(dialog).to_have_count(0)
    return out.decode()


@pytest.mark.long
@in_module_loop
async def test_prices_are_looked_at_again_at_the_yes_and_what_has_lapsed_says_so(
    tmp_path: Path, browser: Browser
) -> None:
    text = REVIEWED.replace('"person"', '"person"\nwithin = "2d"')
    async with market(tmp_path, text) as world:
        exchange_policies(world.service.shell.state, 0, 1)
        body = {"weights": {"SPY": 0.4}, "id": "d-1", "reason": "momentum"}
        async with world.session.post("/api/v1/agents/guest/propose", json=body) as response:
            assert response.status == 200, await response.text()
        secret = created(world.folder, "second", "trade")[1]
        async with opened(browser, world.api.url, PHONE, secret) as page:
            await page.evaluate("import('/dashboard/device.js').then((made) => made.makeKey())")
            await page.reload()
            await page.get_by_role("button", name="Review d-1 of guest").click()
            dialog = page.get_by_role("dialog")
            orders = dialog.get_by_role("region", name="Orders that would be sent")
            await expect(dialog).to_contain_text(re.compile(r"It lapses at \d{4}-\d\d-\d\d"))
            await expect(dialog).to_contain_text(re.compile(r"Costs: about \d.* for orders of \d.*\. Then guest is \d"))
            await expect(dialog.get_by_role("region", name="The book after it")).to_contain_text("SPY")
            before = await orders.inner_text()
            await world.go(1)
            await dialog.get_by_label("Reason, for the journal").fill("sound")
            await dialog.get_by_role("button", name="Approve: ").click()
            await expect(dialog.get_by_role("alert")).to_contain_text(
                re.compile("NOT APPROVED: .* the plan .* now d-1 is")
            )
            await expect(dialog).to_contain_text("At the prices of now: ")
            assert await orders.inner_text() != before
            events = [decode(data).event for _, data in world.store.entries(RUN, 1)]
            assert not [event for event in events if isinstance(event, ProposalReviewed)], "nothing was decided"
            await world.go(12)
            await expect(dialog).to_contain_text("It waits no more: it was decided by another person, or has lapsed.")
            await expect(dialog.get_by_role("button", name="Approve: ")).to_be_disabled()
            assert (await violations(page), await sideways(page)) == ([], 0)


async def refused(folder: Path, url: str) -> None:
    """Somebody else uses the link first: the person sees another key, says no, and nothing is registered."""
    before = (folder / "config.toml").read_text()
    async with connecting(folder, "--url", url) as (command, link, text):
        assert "█" in text, "the link as a QR code"
        body = {"code": link.partition("=")[2], "key": "ab" * 32}
        async with aiohttp.ClientSession(url) as other, other.post("/api/v1/pair", json=body) as response:
            assert await response.json() == {"paired": False}
        out, _ = await command.communicate(b"n\n")
        assert (command.returncode, "the key abab abab abab abab." in out.decode()) == (1, True)
    assert (folder / "config.toml").read_text() == before
    assert "phone" not in [row["name"] for row in answer(quantd(folder, "token", "list", "--json"))["tokens"]]


@pytest.mark.long
@in_module_loop
async def test_a_phone_is_paired_approves_with_its_key_and_halts_in_one_tap(tmp_path: Path, browser: Browser) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    write(tmp_path, text_of(port, "person"))
    (tmp_path / "state").mkdir(mode=0o700)
    agent = quantd(tmp_path, "token", "create", "agent", "--scope", "propose", "--agent", "guest").stdout.strip()
    context = await browser.new_context(viewport={"width": PHONE, "height": 800}, has_touch=True)
    context.set_default_timeout(20_000)
    page = await context.new_page()
    with running(tmp_path, "--set", SHORT):
        await refused(tmp_path, url)
        said = await paired(tmp_path, page, url)
        assert "When it is lost: quantd device revoke phone" in said
        await expect(page.get_by_role("button", name="Halt", exact=True)).to_be_visible()
        private = """() => new Promise((done) => { const open = indexedDB.open("quantd"); open.onsuccess = () => {
            const ask = open.result.transaction("keys").objectStore("keys").get("device");
            ask.onsuccess = () => done(ask.result.privateKey.extractable); }; })"""
        assert await page.evaluate(private) is False
        tokens = answer(quantd(tmp_path, "token", "list", "--json"))["tokens"]
        assert [row["scope"] for row in tokens if row["name"] == "phone"] == ["trade"]
        again = quantd(tmp_path, "connect", "phone", "--url", url)
        assert "a lost phone: quantd device revoke phone" in again.stderr
    # its key is in force for an agent that a device approves, from the next start on
    config = (tmp_path / "config.toml").read_text().replace('approval = "person"', 'approval = "device"')
    (tmp_path / "config.toml").write_text(config)
    await context.clear_cookies()
    with running(tmp_path, "--loosen", "--set", SHORT):
        propose(port, agent, "1", 0.2)
        cold = await context.new_page()
        begun = time.monotonic()
        await cold.goto(url)  # signed in by the key: no cookie is left
        review = cold.get_by_role("button", name="Review 1 of guest")
        await review.click()
        dialog = cold.get_by_role("dialog")
        await expect(dialog).to_contain_text("this device signs the orders above")
        await expect(dialog).to_contain_text(re.compile(r"Then guest is 19\.\d % invested"))
        await expect(dialog).to_contain_text("It lapses at the next sample")
        assert (await violations(cold), await sideways(cold)) == ([], 0)
        above = await review.bounding_box()
        figures = await cold.locator(".figures").bounding_box()
        assert above
        assert figures
        assert above["y"] < figures["y"], "approvals are first"
        await cold.get_by_label("Reason, for the journal").fill("sound")
        await cold.get_by_role("button", name="Approve: 1 order").click()
        await expect(cold.locator(".said")).to_contain_text("1 of guest: passed")
        # from a message to the halt: the tap on its link, and one on the page
        begun = time.monotonic()
        alarm = await context.new_page()
        await alarm.goto(url)
        await alarm.get_by_role("button", name="Halt", exact=True).tap()
        await expect(alarm.locator(".said")).to_contain_text("halt of the house was carried out")
        seconds = time.monotonic() - begun
        assert seconds < 10
        assert json.loads(quantd(tmp_path, "status", "--json").stdout)["switch"] == "HALT"
        # lost: its session ends, and its key signs in no more. The only device stays in the configuration
        lost = quantd(tmp_path, "device", "revoke", "phone")
        assert "phone: signed out" in lost.stderr
        assert "add one: quantd device add NAME KEY" in lost.stderr
        await expect(alarm.locator("header")).to_contain_text("the session of phone has ended", timeout=40_000)
    await context.close()
