"""Several daemons on one page, each a `quantd run` of its own: their sums, which one needs a person, and one halt."""

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Route, expect

from quantd.adapters.store.queries import Reader
from quantd.trading.codec import decode
from quantd.trading.events import Operator
from tests.server.api.dashboard.screens import in_module_loop, show
from tests.support.browser import PHONE, acts_by_link, intercept, opened, sideways, violations
from tests.support.command_line import CONFIG, answer, quantd, running, write
from tests.support.mqtt import free_port

NAMES = ("alpha", "beta", "gamma")
LOST = "it may have happened"


@dataclass
class Daemon:
    """One `quantd run` in a folder and on a port of its own."""

    name: str
    folder: Path
    port: int
    stack: contextlib.ExitStack
    process: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.folder / "state" / "token").read_text().strip()

    def start(self) -> None:
        self.process = self.stack.enter_context(running(self.folder))

    def status(self) -> dict[str, Any]:
        return dict(answer(quantd(self.folder, "status", "--json")))

    def halts(self) -> list[str]:
        """The reasons of the halts in its journal."""
        reader = Reader.open(self.folder / "state")
        assert reader.records is not None
        events = [decode(data).event for _, data in reader.records.entries(reader.run.run, 1)]
        return [event.reason for event in events if isinstance(event, Operator) and event.command == "halt"]

    def resume(self) -> None:
        if self.status()["switch"] != "RUN":
            assert quantd(self.folder, "resume", "--reason", "the next test").returncode == 0


def configured(name: str, port: int, ports: list[int]) -> str:
    listed = json.dumps([f"http://127.0.0.1:{other}" for other in ports])
    text = CONFIG.replace('state = "state"', f'name = "{name}"\nstate = "state"', 1)
    text = text.replace('at_end = "stop"', 'at_end = "wait"').replace("2019-03-29", f"2019-03-{10 + port % 19:02d}")
    rate = "rate = { reads = 1000, reads_burst = 10000, posts = 1000, posts_burst = 10000 }"
    return text.replace("[api]\nport = 0", f"[api]\nport = {port}\ncors = {listed}\n{rate}")


@contextlib.contextmanager
def fleet(folder: Path, **changes: tuple[str, str]) -> Iterator[list[Daemon]]:
    """One daemon of each name, in which a text of the configuration may be another."""
    ports = {name: free_port() for name in NAMES}
    with contextlib.ExitStack() as stack:
        daemons = []
        for name in NAMES:
            here = folder / name
            here.mkdir()
            text = configured(name, ports[name], [ports[other] for other in NAMES if other != name])
            write(here, text.replace(*changes.get(name, ("", ""))))
            daemons.append(Daemon(name, here, ports[name], stack))
        for daemon in daemons:
            daemon.start()
        yield daemons


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemons(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Daemon]]:
    with fleet(
        tmp_path_factory.mktemp("fleet"), gamma=("[universe]", '[universe]\ncurrency = "EUR"')
    ) as running_daemons:
        yield running_daemons


@pytest_asyncio.fixture(loop_scope="module")
async def trading(daemons: list[Daemon]) -> AsyncIterator[list[Daemon]]:
    """All of them at RUN, before and after."""
    yield daemons
    for daemon in daemons:
        daemon.resume()


def row(page: Page, name: str) -> Locator:
    cells = page.get_by_role("region", name="Daemons", exact=True).get_by_role("row")
    return cells.filter(has=page.get_by_role("cell").first.filter(has_text=name))


def tile(page: Page, name: str) -> Locator:
    return page.get_by_label("All daemons").locator(".figure").filter(has_text=name)


def of_halt(page: Page, name: str) -> Locator:
    return page.get_by_role("dialog").locator(".answers li").filter(has_text=name)


async def sign_in_at(page: Page, daemon: Daemon) -> None:
    """Gives the token of another daemon on the screen Daemons."""
    await row(page, daemon.name).get_by_role("button", name="Sign in").click()
    field = page.get_by_label(f"Token of {daemon.name}")
    await expect(field).to_be_focused()
    await field.fill(daemon.token)
    await field.press("Enter")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(row(page, daemon.name)).to_contain_text("owner, admin")


@pytest.mark.long
@in_module_loop
async def test_each_daemon_is_signed_in_to_by_a_token_of_its_own_that_no_store_and_no_other_daemon_gets(
    daemons: list[Daemon], browser: Browser
) -> None:
    alpha, beta, _ = daemons
    sent: list[tuple[str, str]] = []
    async with opened(browser, alpha.url, token=alpha.token) as page:
        page.on("request", lambda asked: sent.append((asked.url, json.dumps(asked.headers) + (asked.post_data or ""))))
        await show(page, "daemons")
        await row(page, "beta").get_by_role("button", name="Sign in").click()
        field = page.get_by_label("Token of beta")
        await field.fill(alpha.token)  # that of another daemon
        await field.press("Enter")
        await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("not signed in")
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        sent.clear()
        await sign_in_at(page, beta)
        await expect(row(page, "beta")).to_contain_text("ago")
        carried = {url.split("/api/")[0] for url, text in sent if beta.token in text}
        assert carried == {beta.url}
        stored = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        assert beta.token not in stored
        await page.reload()
        await expect(row(page, "beta").get_by_role("button", name="Sign in")).to_be_visible()
    for name in ("alpha", "gamma"):
        folder = next(daemon.folder for daemon in daemons if daemon.name == name)
        kept = [path for path in folder.rglob("*") if path.is_file() and beta.token.encode() in path.read_bytes()]
        assert kept == []


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, pytest.param(PHONE, marks=pytest.mark.slow)])
@in_module_loop
async def test_one_halt_by_keyboard_reaches_each_daemon_and_shows_each_answer(
    trading: list[Daemon], browser: Browser, width: int
) -> None:
    """The answer of beta is lost, and gamma has no sign-in at first."""
    alpha, beta, gamma = trading
    reason = f"a flood {width}"
    before = [daemon.halts().count(reason) for daemon in trading]
    assert before == [0, 0, 0]

    async def lost(route: Route) -> None:
        if route.request.method == "POST":
            await route.fetch()
            await route.abort()
        else:
            await route.continue_()

    quiet = asyncio.Event()

    async def silent(route: Route) -> None:
        await (route.continue_() if quiet.is_set() else route.abort())

    async with opened(browser, alpha.url, width, alpha.token) as page:
        await show(page, "daemons")
        await sign_in_at(page, beta)
        await intercept(page, f"{beta.url}/api/v1/commands", lost)
        await intercept(page, f"{beta.url}/api/v1/acts/*", silent)
        await page.locator("main").click(position={"x": 2, "y": 2})
        await page.keyboard.press("Shift+H")
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("1 daemon without a sign-in: nothing is sent there.")
        assert await violations(page) == []
        await page.keyboard.type(reason)
        await page.keyboard.press("Enter")
        await expect(of_halt(page, "alpha")).to_contain_text("DONE: halt was carried out: the switch went to HALT")
        await expect(of_halt(page, "beta")).to_contain_text(f"NO ANSWER: {LOST}")
        await expect(of_halt(page, "gamma")).to_contain_text("NOT SENT: not signed in to this daemon")
        summary = dialog.get_by_role("status").first
        words = f"Of 3 daemons: 1 answered that the halt was carried out; 1 gave no answer: {LOST}; 1 not sent."
        await expect(summary).to_contain_text(words)
        assert await violations(page) == []
        assert await sideways(page) == 0
        assert gamma.status()["switch"] == "RUN"
        await dialog.get_by_label("Token of gamma").fill(gamma.token)
        await page.keyboard.press("Enter")  # its halt is sent as well
        await expect(of_halt(page, "gamma")).to_contain_text("DONE")
        quiet.set()
        await expect(of_halt(page, "beta")).to_contain_text("DONE: found by its key: the switch went to HALT")
        await expect(summary).to_contain_text("Of 3 daemons: 3 answered that the halt was carried out.")
        await expect(dialog.get_by_role("button", name=re.compile("^Send again"))).to_have_count(0)
        await page.keyboard.press("Escape")
        for daemon in trading:
            await expect(row(page, daemon.name)).to_contain_text(f'"{reason}"')
    assert [daemon.halts().count(reason) for daemon in trading] == [1, 1, 1]
    assert {daemon.status()["switch"] for daemon in trading} == {"HALT"}


@pytest.mark.long
@in_module_loop
async def test_a_daemon_that_is_killed_during_the_halt_is_never_called_halted_and_alone_is_asked_again(
    trading: list[Daemon], browser: Browser
) -> None:
    alpha, beta, gamma = trading
    keys: dict[str, list[str]] = {}

    def sent(asked: Any) -> None:
        if asked.method == "POST" and asked.url.endswith(("/commands", "/halt")):
            keys.setdefault(asked.url, []).append(asked.headers["idempotency-key"])

    async with opened(browser, alpha.url, token=alpha.token) as page:
        page.on("request", sent)
        await show(page, "daemons")
        for daemon in (beta, gamma):
            await sign_in_at(page, daemon)
        beta.process.send_signal(signal.SIGSTOP)
        await page.get_by_role("button", name="Halt daemons …").click()
        await page.keyboard.type("it burns")
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        await expect(of_halt(page, "beta")).to_contain_text(f"no answer yet: {LOST}")
        beta.process.kill()
        await expect(of_halt(page, "beta")).to_contain_text(f"NO ANSWER: {LOST}")
        for daemon in (alpha, gamma):
            await expect(of_halt(page, daemon.name)).to_contain_text("DONE")
        await expect(dialog.get_by_role("status").first).to_contain_text(
            f"Of 3 daemons: 2 answered that the halt was carried out; 1 gave no answer: {LOST}."
        )
        again = dialog.get_by_role("button", name="Send again to 1 daemon without an answer")
        await again.click()  # it is dead
        await expect(of_halt(page, "beta")).to_contain_text(f"NO ANSWER: {LOST}")
        assert "DONE" not in await of_halt(page, "beta").inner_text()
        await page.keyboard.press("Escape")
        await expect(row(page, "beta")).to_contain_text("no answer", timeout=15_000)
        await expect(row(page, "beta")).to_contain_text("last known: RUN")
        await expect(page.get_by_label("All daemons")).to_contain_text("In no total: beta (no answer")
        await expect(tile(page, "Equity, PAPER USD")).to_contain_text("of 1 daemon")
        beta.process.communicate()
        await asyncio.to_thread(beta.start)
        await expect(page.locator(".last-halt")).to_contain_text("beta NO")  # no answer, or not done: it was dead
        await page.get_by_role("button", name="Answers of the halt …").click()
        await expect(dialog).to_have_count(1)
        if await again.is_visible():
            await again.click()
        await expect(of_halt(page, "beta")).to_contain_text("DONE", timeout=15_000)
        by_link = acts_by_link(page)
    assert {daemon.status()["switch"] for daemon in trading} == {"HALT"}
    assert [daemon.halts().count("it burns") for daemon in trading] == [1, 1, 1]
    assert len(keys[f"{gamma.url}/api/v1/commands"]) == 1
    assert by_link == []
    assert [len(sent) for url, sent in keys.items() if url.endswith("/halt")] == [1]  # alpha's own port for halts
    of_beta = keys[f"{beta.url}/api/v1/commands"]
    assert len(of_beta) >= 2
    assert len(set(of_beta)) == 1


NEEDS = """async (now) => {
  const { needOf, totalsOf } = await import("/dashboard/fleet.js");
  const incident = (level, more = {}) => ({ level, kind: "price_jump", agent: "", symbol: "SPY", ...more });
  const row = (name, changes = {}, more = {}) => ({
    origin: name, here: false, at: Date.now(), fault: "", wants: false, recorded: true, incidents: [],
    day: { profit: "10.000001", closing: "110.000001", total_return: 0.1 }, ...more,
    now: { ...now, name, run: name, switch: "RUN", reason: "", cause: null, status: "running", reviews: 0,
      loosening: "", limits: [], equity: "110.000001", currency: "USD", mode: "paper", agents: [], ...changes },
  });
  const near = { limits: [{ limit: "max_drawdown", words: "drawdown", use: 0.91 }] };
  const rows = [
    row("halted", { switch: "HALT", reason: "flood" }),
    row("critical", {}, { incidents: [incident("CRITICAL")] }),
    row("lost", {}, { fault: "no answer" }),
    row("unsigned", {}, { fault: "it wants a sign-in", wants: true }),
    row("reduced", { switch: "REDUCE", reason: "loss" }),
    row("agent", { agents: [{ name: "trend", switch: "HALT" }] }),
    row("warned", {}, { incidents: [incident("WARNING")] }),
    row("stale", { ts: 1e18 }, { recorded: false }),
    row("asked", { reviews: 2 }),
    row("near", near),
    row("ended", { status: "ended" }),
    row("seen", {}, { incidents: [incident("CRITICAL", { acknowledged_by: "owner" })] }),
  ];
  const more = [row("live", { mode: "live" }), row("copy", { leader: { url: "there", alive: true, text: "" } }),
    row("twice", { run: "near" }), row("euro", { currency: "EUR" })];
  const needs = rows.map((one) => ({ name: one.origin, ...needOf(one) }));
  return { needs, totals: totalsOf([...rows, ...more]) };
}"""


@pytest.mark.long
@in_module_loop
async def test_the_order_of_needs_and_what_no_total_may_add(daemons: list[Daemon], browser: Browser) -> None:
    async with opened(browser, daemons[0].url) as page:
        answer_of_page = await page.evaluate(NEEDS, daemons[0].status())
    needs = answer_of_page["needs"]
    assert [need["rank"] for need in needs] == list(range(len(needs)))
    words = {need["name"]: need["words"] for need in needs}
    assert words["halted"] == "HALT: flood"
    assert words["critical"] == "1 critical incident: price jump SPY"
    assert words["lost"].startswith("no answer; ")
    assert words["agent"] == "trend is at HALT"
    assert words["stale"].startswith("stale data: no bar for ")
    assert words["asked"] == "2 proposals to decide"
    assert words["near"] == "drawdown at 91 % of its limit"
    assert words["seen"] == "nothing"
    totals = answer_of_page["totals"]
    sums = {total["key"]: total for total in totals["sums"]}
    assert sums["PAPER USD"]["equity"] == "1100.000010"  # no rounding of ten times 110.000001
    assert sums["PAPER USD"]["profit"] == "100.000010"
    assert sums["PAPER USD"]["share"] == pytest.approx(0.1, rel=1e-6)
    assert {key: total["members"] for key, total in sums.items()} == {"PAPER USD": 10, "LIVE USD": 1, "PAPER EUR": 1}
    assert totals["missing"] == [
        "lost (no answer)", "unsigned (it wants a sign-in)", "copy (read-only, of there)", "twice (the run near again)",
    ]  # fmt: skip
    assert (totals["covers"], totals["all"], totals["worst"], totals["of"]) == (12, 16, "HALT", ["halted"])
    assert (totals["incidents"], totals["critical"], totals["waits"]) == (3, 2, 2)
