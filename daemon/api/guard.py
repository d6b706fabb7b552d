"""What stands before every handler: which hosts, how large, how patient, how often, and who may change anything."""

import asyncio
import base64
import binascii
import hmac
import re
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from quantd.adapters.listener import is_loopback

BODY_BYTES: Final = 16 * 1024
HEADER_S: Final = 10.0
"""A client that has not sent its whole header by then is cut off; aiohttp alone would wait 75 s."""

KEEPALIVE_S: Final = 30.0
CONNECTIONS: Final = 256
"""Most connections at once, and a quarter of the file descriptors at most; one more is closed as it comes."""

WRONG_TOKENS: Final = 10
"""Refused attempts in a minute after which more of them are not even compared politely."""

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

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """An answer that is an error: JSON with a code, a sentence and no stack trace."""

    def __init__(self, status: int, code: str, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.headers = headers or {}


def error(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """{"error": {"code", "text"}}."""
    return web.json_response({"error": {"code": code, "text": text}}, status=status, headers=headers)


class Patience(RequestHandler):
    """A connection whose header must come within HEADER_S, the first and each later one."""

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
        """aiohttp logs a stack for each request that it cannot parse."""
        from quantd.daemon.api.faults import refused

        refused(str(args[0]) % args[1:], kwargs.get("exc_info"))

    def header_done(self) -> None:
        """The header is whole: what follows has time-outs of its own."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.header_done()
        super().connection_lost(exc)


class Guard:
    """The middleware, and the check of tokens."""

    def __init__(self, token: str, host: str) -> None:
        self._token = token.encode()
        self._hosts = _own_names(host)
        self._open = not is_loopback(host)
        self._wrong: deque[float] = deque(maxlen=WRONG_TOKENS)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every request comes through here; every answer leaves with the security headers."""
        protocol = request.protocol
        if isinstance(protocol, Patience):
            protocol.header_done()
        try:
            self._check_host(request)
            if self._open and request.path != "/health":
                self.authorise(request)
            response = await handler(request)
        except Refused as why:
            response = error(why.status, why.code, str(why), why.headers)
        except web.HTTPException as why:
            if why.status < 400:
                raise
            response = error(why.status, why.reason.lower().replace(" ", "_"), why.reason)
            if "Allow" in why.headers:
                response.headers["Allow"] = why.headers["Allow"]
        except asyncio.CancelledError:
            raise
        except ConnectionResetError:
            raise
        except Exception as why:
            from quantd.daemon.api.faults import failed

            failed(request.path, why)
            response = error(500, "internal", "the daemon could not answer this; its log says why")
        if not response.prepared:
            response.headers.update({k: v for k, v in HEADERS.items() if k not in response.headers})
        return response

    def _check_host(self, request: web.Request) -> None:
        """A page elsewhere that points its own name at this machine must not read or command the daemon."""
        name = _host_name(request.headers.get("Host", ""))
        if name in self._hosts:
            return
        if self._open and request.transport is not None:
            own = request.transport.get_extra_info("sockname")
            if own and name == str(own[0]):
                return
        raise Refused(421, "host", "this name is not the daemon's; use 127.0.0.1 or the configured [api] host")

    def authorise(self, request: web.Request) -> None:
        """Raise Refused unless the request bears the token; it is compared in constant time.

        A browser may read with the token as the password of any user. A page elsewhere can make the browser send that
        password, so nothing that changes the daemon takes it.
        """
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        reads = request.method in ("GET", "HEAD")
        if reads and scheme.lower() == "basic":
            scheme, given = "bearer", _password(given)
        # aiohttp gives bytes that are not UTF-8 as surrogates
        right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if scheme.lower() == "bearer" and right and self._token:
            return
        if given:  # a browser asks without one first, and must be asked for it however many others guess
            self._count()
        what = "this daemon can be reached from other machines" if reads else "this changes the daemon"
        text = f"{what}: send Authorization: Bearer with the token in the state folder's file `token`"
        raise Refused(401, "token", text, {"WWW-Authenticate": f'{"Basic" if reads else "Bearer"} realm="quantd"'})

    def _count(self) -> None:
        """Note a wrong token. Raises Refused where there were too many."""
        now = time.monotonic()
        while self._wrong and now - self._wrong[0] > 60.0:
            self._wrong.popleft()
        if len(self._wrong) >= WRONG_TOKENS:
            raise Refused(429, "rate", "too many wrong tokens; wait a minute", {"Retry-After": "60"})
        self._wrong.append(now)


def _password(given: str) -> str:
    """The password in HTTP Basic credentials; empty where there is none."""
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
    """The Host header without its port; empty where it is not a name or an address with an optional port."""
    found = _HOST.fullmatch(header.strip().lower())
    return "" if found is None else found[1] or found[2]
