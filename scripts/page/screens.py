"""Pictures of every screen of the page, and the bytes of the page and of its calls.

    python -m scripts.page.screens FOLDER

It trades the shipped example to its end, or with `--symbols 500` a house of synthetic symbols and 20 agents. Each
screen is drawn at widths of 1440, 768 and 360 pixels, light, dark and in forced colours. A picture is named
`SCREEN-WIDTH-LOOK.png`. The table has the height of each screen, how far it is wider than its window, and the bytes of
the answers that it reads. `--only now,risk` draws some screens only, and `--bytes` draws none.
"""

import argparse
import asyncio
import contextlib
import gzip
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, Response, expect

from quantd.regular_file import remove_folder
from scripts.page.pictures import SETS, standing
from scripts.site.pages import ROOT
from tests.support.browser import chromium, opened, sideways

WIDTHS: Final = (1440, 768, 360)

LOOKS: Final[dict[str, dict[str, str]]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced": {"color_scheme": "light", "forced_colors": "active"},
}
"""Name of a look -> options of the browser's context."""

SETTLE_MS: Final = 700
"""Time for charts to be drawn once the reads have ended."""


@dataclass
class Traffic:
    """Answers to one page: path without its query -> (number, bytes)."""

    answers: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def add(self, response: Response) -> None:
        path = urlsplit(response.url).path
        if path.endswith("/events"):
            return
        with contextlib.suppress(Exception):  # a page that is closed meanwhile has no body
            body = await response.body()
            number, size = self.answers.get(path, (0, 0))
            self.answers[path] = number + 1, size + len(body)


async def screens_of(page: Page) -> list[str]:
    """The screens that the navigation of a page leads to, in its order."""
    await page.get_by_role("navigation").locator("[aria-current=page]").wait_for()
    links = await page.get_by_role("navigation").locator("a[href^='#']").all()
    return [str(await link.get_attribute("href")).removeprefix("#") for link in links]


async def busy(page: Page) -> None:
    """Wait until the screen has its answers."""
    await expect(page.locator("#main")).to_have_attribute("aria-busy", "false", timeout=60_000)
    await page.wait_for_timeout(SETTLE_MS)


async def drawn(browser: Browser, url: str, token: str, folder: Path, only: list[str], looks: list[str]) -> None:
    """Write the pictures, and print a row of each screen and width."""
    print(f"{'screen':14s}{'width':>7s}{'height':>9s}{'wider by':>10s}")
    for look in looks:
        for width in WIDTHS:
            async with opened(browser, url, width, token, **LOOKS[look]) as page:
                page.set_default_timeout(60_000)
                for screen in only or await screens_of(page):
                    await page.evaluate("(name) => { location.hash = name; }", screen)
                    await page.wait_for_timeout(150)
                    await busy(page)
                    height = await page.evaluate("document.documentElement.scrollHeight")
                    if look == looks[0]:
                        print(f"{screen:14s}{width:7d}{height:9,d}{await sideways(page):10d}", flush=True)
                    await page.screenshot(path=folder / f"{screen}-{width}-{look}.png", full_page=True)


async def counted(browser: Browser, url: str, token: str) -> None:
    """Print the bytes of the files of the page, and of the answers that each screen reads once."""
    traffic = Traffic()
    async with opened(browser, url, WIDTHS[0], token) as page:
        page.on("response", traffic.add)
        await page.reload()
        await busy(page)
        files = {path: size for path, (_, size) in traffic.answers.items() if not path.startswith("/api/")}
        rows = {"(first load)": {p: s for p, s in traffic.answers.items() if p.startswith("/api/")}}
        for screen in await screens_of(page):
            traffic.answers = {}
            await page.evaluate("(name) => { location.hash = name; }", screen)
            await page.wait_for_timeout(150)
            await busy(page)
            rows[screen] = {p: s for p, s in traffic.answers.items() if p.startswith("/api/")}
    packed = sum(len(gzip.compress(path.read_bytes())) for path in (ROOT / "server/api/dashboard").rglob("*.*js"))
    print(f"page: {len(files)} files, {sum(files.values()):,} bytes; its scripts {packed:,} bytes if compressed")
    for screen, paths in rows.items():
        total = sum(size for _, size in paths.values())
        largest = sorted(paths.items(), key=lambda row: -row[1][1])[:3]
        words = ", ".join(f"{path.removeprefix('/api/v1/')} {size:,}" for path, (_, size) in largest)
        print(f"{screen:14s}{sum(n for n, _ in paths.values()):4d} answers{total:12,d} bytes: {words}")


@contextlib.asynccontextmanager
async def example(state: Path) -> AsyncIterator[tuple[str, str]]:
    """Address and token of the shipped example at its end."""
    words = [word for setting in SETS for word in ("--set", setting)]
    command = [sys.executable, "-m", "quantd.daemon.cli", "run", "-q", "--state", str(state), *words]
    daemon = await asyncio.to_thread(partial(subprocess.Popen, command, cwd=ROOT))
    try:
        url = await asyncio.to_thread(standing, state, daemon)
        yield url, (state / "token").read_text().strip()
    finally:
        daemon.terminate()
        await asyncio.to_thread(daemon.wait, 30)


@contextlib.asynccontextmanager
async def large(folder: Path, symbols: int) -> AsyncIterator[tuple[str, str]]:
    """Address and token of a house of so many symbols with 20 agents."""
    from benchmarks.daemon.reads import House, alerts

    house = House(folder, symbols, 20)
    world = house.world
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    print(f"{await house.until(20_000):,} orders, {alerts(world.folder, 10_000):,} alerts")
    try:
        yield world.api.url, world.token
    finally:
        world.service.shell.stopped = "the pictures are drawn"
        await stepping
        await world.api.stop()
        world.store.close()


async def main_of(asked: argparse.Namespace) -> None:
    folder: Path = asked.folder
    place = Path(tempfile.mkdtemp(prefix="quantd-screens-"))
    opening = large(place, asked.symbols) if asked.symbols else example(place / "state")
    try:
        async with opening as (url, token), chromium() as browser:
            await counted(browser, url, token)
            if not asked.bytes:
                only = asked.only.split(",") if asked.only else []
                await drawn(browser, url, token, folder, only, asked.looks.split(","))
    finally:
        remove_folder(place, ignore_errors=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, help="where the pictures go")
    options.add_argument("--symbols", type=int, default=0, help="synthetic symbols; the shipped example without")
    options.add_argument("--only", default="", help="names of screens with commas")
    options.add_argument("--looks", default=",".join(LOOKS), help="looks with commas")
    options.add_argument("--bytes", action="store_true", help="print the bytes only")
    asked = options.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(main_of(asked))


if __name__ == "__main__":
    main()
