"""Makes docs/dashboard.png from the page of a real run: `make pictures`. The bars end in the spring of 2020."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Final

from scripts.site.pages import ROOT
from tests.support.browser import chromium, opened

PICTURE: Final = ROOT / "docs" / "dashboard.png"
WIDTH: Final = 1280
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
        PICTURE.write_bytes(await page.screenshot(full_page=True))


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
