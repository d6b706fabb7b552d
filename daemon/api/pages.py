"""The dashboard's three files, read once."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

FOLDER: Final = Path(__file__).resolve().parent / "dashboard"
KINDS: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def dashboard(name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of one file."""
    kind = KINDS[Path(name).suffix]
    body = b""

    async def page(request: web.Request) -> web.Response:
        nonlocal body
        body = body or (FOLDER / name).read_bytes()
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return page
