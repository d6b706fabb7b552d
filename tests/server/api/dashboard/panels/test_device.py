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

import pytest
from playwright.async_api import Browser, Page, expect

from tests.server.api.dashboard.screens import browser, in_module_loop
from tests.support.browser import PHONE, sideways, violations
from tests.support.command_line import CONFIG, answer, environment, quantd, running, write
from tests.support.mqtt import free_port

__all__ = ["browser"]

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
