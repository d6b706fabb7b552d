"""Checks before every handler: host name, header time-out, number of connections, token."""

import asyncio
import base64
import binascii
import hmac
import re
import socket
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from quantd.adapters.listener import is_loopback
from quantd.daemon.api.problems import Refused, error

BODY_BYTES: Final = 16 * 1024
HEADER_S: Final = 10.0
"""Seconds within which a client must send its whole header; aiohttp alone would wait 75 s."""

KEEPALIVE_S: Final = 30.0
CONNECTIONS: Final = 256
"""Maximum of open connections, and at most a quarter of the file descriptors; the next one is closed at once."""

WRONG_TOKENS: Final = 10
"""Wrong tokens in a minute after which further ones get status 429."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

FRAMES: Final = 4
"""Innermost calls in the log line of an internal error."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger("quantd.api")


class Patience(RequestHandler):
    """A connection on which every header must arrive within HEADER_S."""

    __slots__ = ("_late",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._late = asyncio.get_running_loop().call_later(HEADER_S, transport.close)

    def data_received(self, data: bytes) -> None:
        if self._late is None and self.transport is not None:
            self._late = asyncio.get_running_loop().call_later(HEADER_S, self.transport.close)
        super().data_received(data)

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Logs one line; aiohttp would log a stack for each request that it cannot parse."""
        why = kwargs.get("exc_info")
        log.warning("api.refused", text=str(args[0]) % args[1:], error=f"{type(why).__name__}: {why}".splitlines()[0])

    def header_done(self) -> None:
        """Cancels the time-out: the header is complete, and the body has its own time-outs."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.header_done()
        super().connection_lost(exc)


class Guard:
    """The middleware with the checks of host name and token."""

    def __init__(self, token: str, host: str) -> None:
        self._token = token.encode()
        self._hosts = _own_names(host)
        self._open = not is_loopback(host)
        self._wrong: deque[float] = deque(maxlen=WRONG_TOKENS)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks every request and adds the security headers to every response."""
        protocol = request.protocol
        if isinstance(protocol, Patience):
            protocol.header_done()
        try:
            self._check_host(request)
            if self._open and request.path != "/health":
                self.authorise(request)
            response = await handler(request)
        except Refused as why:
            response = error(why.status, why.code, str(why), why.headers, why.errors)
        except web.HTTPException as why:
            if why.status < 400:
                raise
            response = error(why.status, why.reason.lower().replace(" ", "_"), why.reason)
            if "Allow" in why.headers:
                response.headers["Allow"] = why.headers["Allow"]
        except ConnectionResetError:
            raise
        except Exception as why:
            calls = traceback.extract_tb(why.__traceback__)[-FRAMES:]
            at = " < ".join(f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in reversed(calls))
            log.error("api.failed", path=request.path, error=f"{type(why).__name__}: {why}", at=at)
            text = "internal error while this request was answered; the daemon's log names it"
            response = error(500, "internal", text)
        if not response.prepared:
            response.headers.update({k: v for k, v in HEADERS.items() if k not in response.headers})
        return response

    def _check_host(self, request: web.Request) -> None:
        """Raises Refused for a foreign host name: a web page could resolve its name to this machine (DNS rebinding)."""
        name = _host_name(request.headers.get("Host", ""))
        if name in self._hosts:
            return
        if self._open and request.transport is not None:
            own = request.transport.get_extra_info("sockname")
            if own and name == str(own[0]):
                return
        raise Refused(421, "host", f"{name!r:.80} is not a host name of this daemon; use 127.0.0.1 or [api] host")

    def authorise(self, request: web.Request) -> None:
        """Raises Refused unless the request has the token, which is compared in constant time.

        A browser may read with the token as the password of any user. A foreign page can make the browser send that
        password, so requests that change the daemon do not accept it.
        """
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        reads = request.method in ("GET", "HEAD")
        if reads and scheme.lower() == "basic":
            scheme, given = "bearer", _password(given)
        # aiohttp passes bytes that are not UTF-8 as surrogates
        right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if scheme.lower() == "bearer" and right and self._token:
            return
        if given:  # a browser first sends no token and needs the 401, even while others guess tokens
            self._count()
        what = "reads from other machines need the token" if reads else "requests that change the daemon need the token"
        text = f"{what}: send `Authorization: Bearer TOKEN` with the content of the file `token` in the state folder"
        raise Refused(401, "token", text, {"WWW-Authenticate": f'{"Basic" if reads else "Bearer"} realm="quantd"'})

    def _count(self) -> None:
        """Counts a wrong token. Raises Refused after WRONG_TOKENS in a minute."""
        now = time.monotonic()
        while self._wrong and now - self._wrong[0] > 60.0:
            self._wrong.popleft()
        if len(self._wrong) >= WRONG_TOKENS:
            raise Refused(429, "rate", f"{WRONG_TOKENS} wrong tokens within a minute; wait 60 s", {"Retry-After": "60"})
        self._wrong.append(now)


def _password(given: str) -> str:
    """The password in HTTP Basic credentials; empty when there is none."""
    try:
        return base64.b64decode(given, validate=True).decode("utf-8", "replace").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _own_names(host: str) -> frozenset[str]:
    names = {"localhost", "127.0.0.1", "::1", host.lower()}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names - {"0.0.0.0", "::"})


_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?")


def _host_name(header: str) -> str:
    """The Host header without its port; empty when it is not a name or an address with an optional port."""
    found = _HOST.fullmatch(header.strip().lower())
    return "" if found is None else found[1] or found[2]
