"""The built site in a browser: axe-core finds nothing in either colours, and a phone needs no sideways scroll."""

import functools
import importlib.util
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.async_api import Browser

from scripts.site.builder import build, everything
from tests.support.browser import DESK, PHONE, chromium, opened, sideways, violations
from tests.support.services import require

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="needs Zensical: make docs-site adds it"),
]

PAGES = (
    "index.html", "faq.html", "trade/backtest.html", "risk/limits.html", "operate/receivers.html", "results.html",
    "reference/keys.html", "reference/commands.html", "reference/python-names.html", "gallery/first_backtest.html",
    "strategies/shelf.html", "changelog.html",
)  # fmt: skip
"""One page of each kind: with pictures, wide tables, long blocks of code, definitions."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    require("chromium")
    folder = build(everything(api=False))
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened_browser:
        yield opened_browser


@pytest.mark.timeout(600)
async def test_every_kind_of_page_is_accessible_in_both_colours_and_fits_a_phone(site: str, browser: Browser) -> None:
    faults = []
    for path in PAGES:
        for width in (PHONE, DESK):
            async with opened(browser, f"{site}/{path}", width, color_scheme="light") as page:
                for colours in ("light", "dark"):
                    await page.emulate_media(color_scheme=colours)
                    faults += [f"{path} {width} {colours}: {violation}" for violation in await violations(page)]
                    if await sideways(page) > 0:
                        faults.append(f"{path} {width}: {await sideways(page)} pixels sideways")
    assert faults == []
