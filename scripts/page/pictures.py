"""Makes docs/dashboard.png from the page of a real run: `make pictures`. The bars end in the spring of 2020.

The picture names the screens of its page in a text chunk, which a test compares with those of the present page.
"""

import asyncio
import json
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from playwright.async_api import Page

from scripts.site.pages import ROOT
from tests.support.browser import chromium, opened

PICTURE: Final = ROOT / "docs" / "dashboard.png"
WIDTH: Final = 1280
KEYWORD: Final = "screens"
SIGNATURE: Final = 8
HEADER: Final = SIGNATURE + 25
"""Bytes of a PNG up to the end of its first chunk, the header."""
SETS: Final = ("feed.pace=fast", "feed.end=2020-04-30", "api.port=0", "bus.port=0")
LONGEST_S: Final = 120.0


def standing(state: Path, daemon: "subprocess.Popen[bytes]") -> str:
    """The address of the page once the run has processed its bars. Raises RuntimeError."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            url = f"http://127.0.0.1:{json.loads((state / 'api.json').read_text())['port']}/"
            with urllib.request.urlopen(f"{url}api/v1/status", timeout=10) as answer:
                if json.load(answer)["status"] == "ended":
                    return url
        except (OSError, ValueError):
            pass
        time.sleep(0.3)
    raise RuntimeError("the run did not come to its last bar; `quantd run` says why")


async def photographed(url: str, token: str) -> None:
    """Write the picture of the first screen, signed in."""
    async with chromium() as browser, opened(browser, url, WIDTH, token, color_scheme="light") as page:
        await page.locator(".curve canvas").first.wait_for()
        await page.wait_for_timeout(1000)
        PICTURE.write_bytes(labelled(await page.screenshot(full_page=True), await screens_of(page)))


async def screens_of(page: Page) -> list[str]:
    """The screens that the navigation of a page leads to, in its order."""
    await page.get_by_role("navigation").locator("[aria-current=page]").wait_for()
    links = await page.get_by_role("navigation").locator("a[href^='#']").all()
    return [str(await link.get_attribute("href")).removeprefix("#") for link in links]


def labelled(picture: bytes, screens: list[str]) -> bytes:
    """Return a PNG with the names of the screens as a text chunk after its header."""
    kind, text = b"tEXt", f"{KEYWORD}\0{' '.join(screens)}".encode("latin-1")
    chunk = struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text))
    return picture[:HEADER] + chunk + picture[HEADER:]


def pictured(picture: bytes) -> list[str]:
    """Return the screens that a PNG names; empty without them."""
    for kind, text in _chunks(picture):
        keyword, _, names = text.partition(b"\0")
        if kind == b"tEXt" and keyword.decode("latin-1") == KEYWORD:
            return names.decode("latin-1").split()
    return []


def _chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG: each has a length, a kind, bytes and a checksum."""
    at = SIGNATURE
    while at + 8 <= len(picture):
        length = int.from_bytes(picture[at : at + 4])
        yield picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        at += 12 + length


def main() -> int:
    """The exit code."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        words = [word for setting in SETS for word in ("--set", setting)]
        daemon = subprocess.Popen(
            [sys.executable, "-m", "quantd.daemon.cli", "run", "-q", "--state", str(state), *words], cwd=ROOT
        )
        try:
            asyncio.run(photographed(standing(state, daemon), (state / "token").read_text().strip()))
        except RuntimeError as why:
            print(f"quantd: {why}", file=sys.stderr)
            return 1
        finally:
            daemon.terminate()
            daemon.wait(30)
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
