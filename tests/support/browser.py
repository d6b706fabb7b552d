"""A browser for the tests of the page: the system's Chromium, driven by playwright, with axe-core for accessibility."""

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Route, async_playwright

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
    context.set_default_timeout(10_000)
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
    if not await page.locator("#token").last.is_visible():
        await page.get_by_role("button", name="Sign in …").click()
    field = page.locator("#token").last  # a page that reads nothing yet has the form too, behind the dialog
    await field.fill(token)
    await field.press("Enter")
    await page.get_by_role("button", name="Sign out").wait_for()


async def intercept(page: Page, pattern: str | re.Pattern[str], handler: Callable[[Route], Any]) -> None:
    """Hands requests to `handler`, from now on: a request right behind `page.route` alone may still pass it by."""
    await page.route(pattern, handler)
    await page.evaluate("() => fetch('/health').then(() => null, () => null)")


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
