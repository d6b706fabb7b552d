"""Requests from web pages from other origins: refused, except for the origins in the key [api] cors."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web

MAX_AGE_S: Final = 600
"""Seconds for which a browser may reuse the answer to a preflight request."""

POLICY: Final = "Content-Security-Policy"
OWN: Final = "connect-src 'self'"
"""The directive that lets the page send requests to its own daemon; `mark` appends the listed origins."""


MAIN_PORT: Final = web.AppKey("main_port", int)
"""Port of the page, in an application that listens at another port: the daemon's own page may send requests there."""


class Origins:
    """The web origins in the key [api] cors, whose pages may send requests to the API.

    A response never allows credentials (cookies, stored passwords), nor all origins (`*`).
    """

    def __init__(self, listed: Sequence[str]) -> None:
        self.listed = frozenset(listed)
        self.main = self.door = 0
        """The ports of the page and of halts; 0 before the start, and on a read-only instance."""

    def door_of(self, request: web.Request) -> int:
        """The port for halts, for a page that a browser has from the port of the API itself; else 0."""
        return self.door if request.host.endswith(f":{self.main}") else 0

    def preflight(self, request: web.Request) -> web.Response | None:
        """The response to the CORS preflight of an origin in [api] cors; None for every other request."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        if self._of(request) not in self.listed and not self.own(request):
            return None
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST",
                "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, X-CSRF-Token",
                "Access-Control-Max-Age": str(MAX_AGE_S),
            },
        )

    def foreign(self, request: web.Request) -> bool:
        """Whether the request is from a page that is neither the daemon's own nor of an origin in [api] cors."""
        return not self.own(request) and self._of(request) not in self.listed

    def own(self, request: web.Request) -> bool:
        """Whether the request is from the daemon's own page, or from no page."""
        if "Origin" not in request.headers:
            return True
        host = request.headers.get("Host", "").strip().lower()
        if MAIN_PORT in request.app:
            host = f"{host.rpartition(':')[0]}:{request.app[MAIN_PORT]}"
        return self._of(request).partition("://")[2] == host

    async def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """Allow an origin in [api] cors to read the response, and the daemon's own page to read the daemons in [api]
        cors.

        The method is a handler of aiohttp's signal `on_response_prepare`.
        """
        if self.listed or MAIN_PORT in request.app:
            response.headers.add("Vary", "Origin")
        door = self.door_of(request)
        halts = [f"{request.scheme}://{request.host.rpartition(':')[0]}:{door}"] if door else []
        if (policy := response.headers.get(POLICY)) is not None:
            response.headers[POLICY] = policy.replace(OWN, " ".join((OWN, *halts, *sorted(self.listed))))
        if (origin := self._of(request)) in self.listed:
            response.headers["Access-Control-Allow-Origin"] = origin
        elif origin and MAIN_PORT in request.app and self.own(request):
            response.headers.update({"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"})

    @staticmethod
    def _of(request: web.Request) -> str:
        """The value of the Origin header; empty without the header, or with several Origin headers."""
        origins = request.headers.getall("Origin", [])
        return origins[0].strip() if len(origins) == 1 else ""
