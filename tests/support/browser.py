"""A browser for the tests of the page: the system's Chromium, driven by playwright, with axe-core for accessibility."""

import asyncio
import contextlib
import fnmatch
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from playwright.async_api import Browser, BrowserContext, Page, Route, WebSocketRoute, async_playwright, expect

from tests.support.services import require

AXE = Path(__file__).resolve().parent / "axe" / "axe.min.js"
PHONE, DESK = 360, 1280
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

WATCH = """
window.reports = [];
document.addEventListener("securitypolicyviolation", (e) => {
  window.reports.push(e.violatedDirective + " " + e.blockedURI);
});
"""


expect.set_options(timeout=20_000)  # a slow machine shows the same, later


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """One browser process."""
    program = require("chromium")["chromium"]
    async with async_playwright() as playwright:
        args = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-extensions"]
        browser = await playwright.chromium.launch(executable_path=program, args=args)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def opened(browser: Browser, url: str, width: int = DESK, token: str = "", **more: Any) -> AsyncIterator[Page]:
    """The page in a profile of its own, signed in where there is a token. No fault of a script, and no CSP report."""
    context = await browser.new_context(viewport={"width": width, "height": 800}, **more)
    await context.add_init_script(WATCH)
    await context.route_web_socket(re.compile("/api/v1/link$"), lambda socket: Link(context, socket))
    context.set_default_timeout(30_000)
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda why: faults.append(str(why)))
    try:
        await page.goto(url)
        if token:
            await sign_in(page, token)
        yield page
        assert faults == []
        assert await page.evaluate("window.reports") == []
    finally:
        await context.close()


async def sign_in(page: Page, token: str) -> None:
    """Signs in; the header of a phone is unfolded for it, and folded again."""
    await page.locator("header .who").wait_for(state="attached")
    fold = page.locator("header .unfold")
    folded = await fold.is_visible()
    if not await page.locator("#token").last.is_visible():
        if folded:
            await fold.click()
        await page.get_by_role("button", name="Sign in …").click()
    elif folded:
        await fold.click()
    field = page.locator("#token").last  # a page that reads nothing yet has the form too, behind the dialog
    await field.fill(token)
    await field.press("Enter")
    await page.get_by_role("button", name="Sign out").wait_for()
    if folded:
        await fold.click()


Pattern = str | re.Pattern[str]

DOOR = re.compile(r"^https?://[^/]+/(halt|reduce)$")
"""A halt at its own port."""

_FAULTS: WeakKeyDictionary[BrowserContext, list[tuple[Pattern, Callable[[Any], Any]]]] = WeakKeyDictionary()
"""Profile -> the patterns of intercepted addresses with their handlers, the newest last."""


_SENT: WeakKeyDictionary[BrowserContext, list[tuple[str, str]]] = WeakKeyDictionary()


def acts_by_link(page: Page) -> list[tuple[str, str]]:
    """(Address, idempotency key) of each act that the links of a profile have sent, in order."""
    return _SENT.setdefault(page.context, [])


async def intercept(page: Page, pattern: Pattern, handler: Callable[[Route], Any]) -> None:
    """Hands requests of a page to `handler` from now on, whether it sends them by HTTP or by its link.

    One more request is awaited, as a request right behind `page.route` alone may still pass it by.
    """
    _FAULTS.setdefault(page.context, []).append((pattern, handler))
    for address in _addresses(pattern):
        await page.context.route(address, handler)
    await page.evaluate("() => fetch('/health').then(() => null, () => null)")


async def pass_all(page: Page, pattern: Pattern | None = None) -> None:
    """Ends the interception of a pattern, or of all of them."""
    _FAULTS[page.context] = [pair for pair in _FAULTS.get(page.context, []) if pattern not in (None, pair[0])]
    if pattern is None:
        await page.unroute_all(behavior="wait")
        await page.context.unroute_all(behavior="wait")
    else:
        for address in _addresses(pattern):
            await page.context.unroute(address)


def _addresses(pattern: Pattern) -> list[Pattern]:
    """A pattern, and the port for halts where the pattern is of commands."""
    text = pattern if isinstance(pattern, str) else pattern.pattern
    return [pattern, DOOR] if "/api/v1/commands" in text and "http" not in text else [pattern]


class Link:
    """The WebSocket of a page, through which a request of its link meets what `intercept` was given."""

    def __init__(self, context: BrowserContext, socket: WebSocketRoute) -> None:
        self._context = context
        self._page = socket
        self._server = socket.connect_to_server()
        self._held: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tasks: set[asyncio.Future[Any]] = set()
        socket.on_message(self._asked)
        self._server.on_message(self._answered)

    def _asked(self, message: str | bytes) -> None:
        asked = json.loads(message)
        address = self._page.url.replace("ws", "http", 1).removesuffix("/api/v1/link") + asked.get("path", "")
        if asked.get("key"):
            _SENT.setdefault(self._context, []).append((address, asked["key"]))
        for pattern, handler in reversed(_FAULTS.get(self._context, [])):
            form = fnmatch.translate(pattern) if isinstance(pattern, str) else pattern
            if asked.get("path") and re.search(form, address):
                task = asyncio.ensure_future(handler(LinkRoute(self, asked, address)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return
        self._server.send(message)

    def _answered(self, message: str | bytes) -> None:
        held = self._held.pop(json.loads(message).get("id", 0), None)
        if held is None:
            self._page.send(message)
        elif not held.done():
            held.set_result(json.loads(message))

    def pass_on(self, asked: dict[str, Any]) -> None:
        self._server.send(json.dumps(asked))

    async def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The daemon's answer to a request of the link, which the page does not get."""
        held = self._held[asked["id"]] = asyncio.get_running_loop().create_future()
        self.pass_on(asked)
        return await asyncio.wait_for(held, 30)

    def reply(self, answer: dict[str, Any]) -> None:
        self._page.send(json.dumps(answer))

    async def cut(self) -> None:
        """The link breaks, at both ends."""
        for end in (self._page, self._server):
            with contextlib.suppress(Exception):
                await end.close()


class LinkRoute:
    """A request of a link, with what a handler uses of a playwright Route."""

    def __init__(self, link: Link, asked: dict[str, Any], url: str) -> None:
        self._link, self._asked = link, asked
        self.request, self.url, self.method = self, url, asked["method"]
        self.post_data = json.dumps(asked.get("body"), separators=(",", ":"))
        self.headers = {"idempotency-key": asked.get("key", "")}

    async def continue_(self) -> None:
        self._link.pass_on(self._asked)

    async def fetch(self) -> dict[str, Any]:
        return await self._link.answer(self._asked)

    async def abort(self) -> None:
        await self._link.cut()

    async def fulfill(self, status: int = 200, body: str = "null", response: Any = None, **_: Any) -> None:
        answer = response or {"id": self._asked["id"], "status": status, "body": json.loads(body)}
        self._link.reply(answer)


async def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA and its own best practices."""
    if not await page.evaluate("Boolean(window.axe)"):
        await page.evaluate(AXE.read_text())
    report = await page.evaluate(
        "(tags) => axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] })", RULES
    )
    return [
        f"{violation['id']}: {node['html'][:150]}" for violation in report["violations"] for node in violation["nodes"]
    ]


async def sideways(page: Page) -> int:
    """Pixels that the page is wider than its window."""
    return int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


async def unreachable(page: Page) -> list[str]:
    """Controls that Tab does not reach, or that show no outline when it does."""
    script = """() => {
      const controls = [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
        .filter((e) => e.checkVisibility() && !e.disabled && !e.closest("dialog:not([open])"));
      for (const e of controls) e.dataset.seen = "";
      document.activeElement.blur();
      window.scrollTo(0, 0);
      window.faint = new Set();
      window.reach = ({ target }) => {
        target.dataset.seen = "1";
        const bare = getComputedStyle(target).outlineStyle === "none";
        if (bare) window.faint.add("no outline: " + target.outerHTML.slice(0, 120));
      };
      document.addEventListener("focusin", window.reach);
      return controls.length;
    }"""
    for _ in range(int(await page.evaluate(script)) + 2):
        await page.keyboard.press("Tab")
    outcome: list[str] = await page.evaluate("""() => {
      document.removeEventListener("focusin", window.reach);
      const unreached = [...document.querySelectorAll('[data-seen=""]')].map((e) => e.outerHTML.slice(0, 120));
      return [...unreached, ...window.faint];
    }""")
    return outcome
