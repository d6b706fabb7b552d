"""Answers that no vendor should give: other formats, damaged ones, and statuses. A table by name."""

import gzip
from typing import Final

from aiohttp import web

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

HTML: Final = b"<html><body>Sorry, we will be back soon</body></html>"
_JSON: Final = {"Content-Type": "application/json"}
_ZIPPED: Final = gzip.compress(b'{"chart": {"result": []}}' * 1000)

FOREIGN: Final[dict[str, Answer]] = {
    "a page": (200, {"Content-Type": "text/html"}, HTML),
    "nothing": (200, _JSON, b""),
    "an empty object": (200, _JSON, b"{}"),
    "a list": (200, _JSON, b"[]"),
    "null": (200, _JSON, b"null"),
    "a number": (200, _JSON, b"7"),
    "no chart": (200, _JSON, b'{"chart": null}'),
    "no result": (200, _JSON, b'{"chart": {"result": null, "error": null}}'),
    "a text for a result": (200, _JSON, b'{"chart": {"result": "x", "error": null}}'),
    "a cut text": (200, _JSON, b'{"chart": {"result": [{"meta": {"curr'),
    "a cut gzip": (200, {**_JSON, "Content-Encoding": "gzip"}, _ZIPPED[: len(_ZIPPED) // 2]),
    "no gzip": (200, {**_JSON, "Content-Encoding": "gzip"}, b'{"chart": {}}'),
    "bytes": (200, _JSON, bytes(range(256))),
    "a deep list": (200, _JSON, b"[" * 100_000),
    "500": (500, {}, b"oops"),
    "502": (502, {"Content-Type": "text/html"}, HTML),
    "503": (503, _JSON, b'{"finance": {"error": {"code": "Service Unavailable"}}}'),
    "429": (429, {"Retry-After": "3600"}, b"Too Many Requests\r\n"),
    "404": (404, {"Content-Type": "text/html"}, HTML),
    "403": (403, {"Content-Type": "text/html"}, HTML),
    "401": (401, _JSON, b'{"finance": {"result": null, "error": {"code": "Unauthorized", "description": "Crumb"}}}'),
    "400": (400, _JSON, b'{"chart": {"result": null, "error": {"code": "Bad Request", "description": "Invalid"}}}'),
    "a redirect": (302, {"Location": "http://127.0.0.1:9/elsewhere"}, b""),
}


def foreign(answer: Answer) -> web.Application:
    """A server with one answer to every request."""
    status, headers, body = answer

    async def same(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, body=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", same)
    return app
