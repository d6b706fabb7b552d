"""Checks of every request before its handler runs: host name, origin, token, rate, time-out of the body.

What can go wrong: a foreign page or the holder of a guessed token acts. So the order of the checks matters:

- The host name is checked first, because a web page could resolve a host name of its own to this machine.
- The rate is checked after the token. A valid token has its own rate, so that strangers at the same address cannot use
  it up. A halt with a valid token has no rate limit.
- The scope of the token is checked before the body is read, so that nobody can make the daemon wait for the body of a
  refused request.

A flood may take all connections of the API, so halts have two doors of their own (`DOORS`). The body of a request has a
time-out. The handler has none: a request that is carried out gets its answer, or the 504 of
`quantd.server.api.commits`.
"""

import asyncio
import base64
import binascii
import math
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.abc import AbstractMatchInfo
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict

from quantd.adapters.listener import is_loopback
from quantd.daemon.access.api_token import token_of
from quantd.daemon.config.schema import Api
from quantd.daemon.engine.safety.devices import signature_fault
from quantd.daemon.engine.state.settings import Approvals
from quantd.server.api.access.keyring import CHECK_S, Keyring
from quantd.server.api.access.origins import MAIN_PORT, Origins
from quantd.server.api.access.rate_limits import WRONG_TOKENS, Buckets, WrongTokens, address_of
from quantd.server.api.access.sessions import CSRF, SIGN_IN, Session, Sessions, forged
from quantd.server.api.problems import INTERNAL, Refused, error, log_fault
from quantd.server.api.route_records import BODY_BYTES, Entry, Page, Post, Read, Route
from quantd.server.requests.tokens import OWNER, Scope, Token
from quantd.trading.events import DeviceSignature

KEEPALIVE_S: Final = 10.0
"""Seconds within which a client must send its whole header, and for which a connection without a request stays open."""

BODY_S: Final = 10.0
"""Seconds within which the body must follow its header."""

DOORS: Final = ("/halt", "/reduce", "/switch")
"""Paths of the two doors for halts: a second port, and a Unix socket in the state folder. The API has them too."""

DOOR_BYTES: Final = 4096
"""Largest body of a request to a door."""

DOOR_S: Final = 2.0
"""Seconds for a header, and for a body, at a door."""

EVENTS: Final = "text/event-stream"
LINK: Final = "websocket"
"""Content type of the record of the dashboard's WebSocket, which has no document."""

BEARER: Final = 'Bearer realm="quantd"'

READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""HTTP methods that change nothing."""

HEADERS: Final = CIMultiDict({
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "manifest-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
})  # fmt: skip

OF_NO_BOOK: Final = frozenset({
    "/api/v1", "/api/v1/session", "/api/v1/bars", "/api/v1/calendar", "/api/v1/why/{order}", "/api/v1/jobs/{id}",
    "/openapi.json",
})  # fmt: skip
"""What the token of an outside agent reads beside its own book. Of a decision it gets its own part alone."""

PRESENT: Final = {
    "(/api/v1)?/portfolio/create": "/api/v1/portfolios",
    "(/api/v1)?/portfolio/([^/]+/)?(rebalance|optimize)(/[^/]+)?": "/api/v1/agents/{name}/propose",
    "(/api/v1)?/portfolio/[^/]+": "/api/v1/portfolios",
    "(/api/v1)?/risk/metrics/[^/]+": "/api/v1/risk?agent=NAME",
    "(/api/v1)?/risk/alerts/[^/]+": "/api/v1/alerts/active?agent=NAME",
    "(/api/v1)?/performance/[^/]+": "/api/v1/performance?book=NAME",
    "(/api/v1)?/allocate_from_prices": "/api/v1/allocate",
}
"""Addresses of other portfolio services, as patterns -> the address of this API that answers the same question."""

TOKEN: Final = web.RequestKey("token", Token)
"""The token of an authorised request."""

SESSION: Final = web.RequestKey("session", Session)
"""The session of a browser's request."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger("quantd.api")


class Connection(RequestHandler):
    """A connection to the API, whose faults are logged and answered in quantd's words."""

    __slots__ = ()

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Logs one line; aiohttp would log a stack for each request that it cannot parse, or whose client has left."""
        why = kwargs.get("exc_info")
        if isinstance(why, ConnectionResetError):
            return
        log.warning("api.refused", text=str(args[0]) % args[1:], error=f"{type(why).__name__}: {why}".splitlines()[0])

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Respond to a malformed request without aiohttp's message, which quotes the header: a token could be in it."""
        text = None if message is None else "the request cannot be parsed"
        return super().handle_error(request, status, exc, text)


class Guard:
    """The middleware with the checks of host name, origin, token and rate."""

    def __init__(
        self, folder: Path, api: Api, alert: Callable[[str], None], refusal: Callable[[], str] | None = None
    ) -> None:
        """`folder` is the state folder. `alert` is called with the text of an alert to raise.

        With a `refusal` the instance is read-only: a request that would change something is refused with the text that
        `refusal` returns, and nothing is written into the folder.
        """
        if refusal is None:
            token_of(folder, api.tokens)  # makes the owner's token where there is none
        self._refusal = refusal
        self._routes: dict[tuple[str, str], Route] = {}
        self.origins = Origins(api.cors)
        self._keyring = Keyring(folder, api.tokens, alert, notes=refusal is None)
        self._hosts = _own_names(api.host) | frozenset(api.names)
        self._remote = not is_loopback(api.host)
        self._open_reads = api.open_reads and not self._remote
        self.sessions = Sessions(folder if refusal is None else None)
        self._wrong = WrongTokens()
        rate = api.rate
        self._reads = Buckets(rate.reads, rate.reads_burst)
        self._posts = Buckets(rate.posts, rate.posts_burst)
        self.answers: Counter[str] = Counter()
        """Responses since the start by class: 2xx to 5xx."""

    @property
    def open_reads(self) -> bool:
        """Whether reads need no token. An outside agent that left its token out would read the books of all, so they
        need one while a token of an agent is in force.
        """
        return self._open_reads and not self._keyring.for_agents

    def register(self, routes: Iterable[Route]) -> None:
        """Add the records of routes. The scope and the rate of a route apply to the requests for this route."""
        for route in routes:
            self._routes[route.path, route.method] = route

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check_host(request)
            response: web.StreamResponse | None = self.origins.preflight(request)
            if response is None:
                response = await self._checked_response(request, handler)
        except Refused as why:
            response = error(why.status, why.code, str(why), why.headers, why.errors)
        except web.HTTPException as why:
            if why.status < 400:
                raise
            text = self._present_route(request.path, request.method) if why.status in (404, 405) else why.reason
            response = error(why.status, why.reason.lower().replace(" ", "_"), text)
            if "Allow" in why.headers:
                response.headers["Allow"] = why.headers["Allow"]
        except ConnectionResetError:
            raise  # the client is gone: nobody reads an answer
        except Exception as why:
            log_fault(request.path, why)
            response = error(500, "internal", INTERNAL)
        self.answers[f"{response.status // 100}xx"] += 1
        if not response.prepared:
            if response.status == 408:
                response.force_close()
            response.headers.merge(HEADERS)  # merge, not update: a header that the handler set stays
        return response

    def _present_route(self, path: str, method: str) -> str:
        """Return which route answers what was asked at an unknown address, or the near ones of the method."""
        if any((f"/api/v1{path}", verb) in self._routes for verb in ("GET", "POST")):
            asked = f"/api/v1{path}"
        else:
            asked = next((present for old, present in PRESENT.items() if re.fullmatch(old, path)), "")
        if not asked:
            words, near = path.split("/"), {}
            for pattern in [at for at, verb in self._routes if verb == method]:
                parts = zip_longest(pattern.split("/"), words[: pattern.count("/") + 1], fillvalue="")
                near["/".join(word if part.startswith("{") else part for part, word in parts)] = f"{method} {pattern}"
            meant = [near[at] for at in get_close_matches(path, near, 3, 0.8)]
            rest = f"near it: {', '.join(meant)}" if meant else "/docs has all"
            return f"{method} {path[:80]!r} has no route; {rest}"
        read = method == "GET" and (asked, "GET") in self._routes
        post = None if read else self._routes.get((asked, "POST"))
        body = f" with a body such as {post.example}" if isinstance(post, Post) else ""
        return f"there is no {path[:80]!r}: {'POST' if post else 'GET'} {asked}{body} answers this"

    def _authorise(self, request: web.Request, sent_secret: bytes, token: Token | None, scope: Scope) -> Token:
        """The token of a request. Raises Refused unless the token is in force and grants `scope`.

        `token` is the token with the secret `sent_secret`, or None if no token has this secret. For reads a browser may
        send the secret as the password of any user name (HTTP Basic). A foreign page can make the browser send that
        password, so requests that change the daemon do not accept it.
        """
        if token is None:
            raise self._unknown(request, sent_secret)
        if not token.grants(scope):
            text = f"this request needs the scope {scope}, and the token {token.name} has {token.scope}"
            agent_option = " --agent AGENT" if scope == "propose" else ""
            raise Refused(403, "scope", f"{text}: `quantd token create NAME --scope {scope}{agent_option}` makes one")
        request[TOKEN] = token
        return token

    async def _checked_response(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The handler's response, after all checks in the order that the module's docstring explains.

        An event stream ends with its connection. A response to a request with a token ends when the token is revoked.
        """
        reads, route, secret = request.method in READS, self._route(request), _sent_secret(request)
        if not reads and self._refusal is not None:
            raise Refused(403, "read_only", self._refusal())
        if secret or self._open_reads:
            await self._keyring.refresh()
        token = self._keyring.find(secret) if secret else await self.session_token(request)
        self._limit(request, token, route)
        if not reads and self.origins.foreign(request):
            raise Refused(403, "origin", "the page of this request is of another origin; list the origin in [api] cors")
        # a request of a browser's session, or about one (Entry), must come from the daemon's own page
        if not reads and (SESSION in request or isinstance(route, Entry)):
            self._check_own_page(request)
        # a path without a route is answered only with a token or [api] open_reads; every scope includes `metrics`
        scope = "metrics" if route is None else route.scope
        if scope == "open" or (self.open_reads and (reads or route is None)):
            # a wrong secret is refused even where none is needed
            if secret and token is None and scope != "open":
                raise self._unknown(request, secret)
            # no token is needed, but a read that sent one still counts as that token's
            token = token if reads and scope != "open" else None
            if token is not None:
                request[TOKEN] = token
        else:
            token = self._authorise(request, secret, token, scope)
        # where no route is, the answer names the near ones
        if token is not None and token.agent and route is not None and scope != "open":
            self._check_own(token, request, route)
        if isinstance(route, Post) and route.body_bytes != BODY_BYTES:
            request = request.clone(client_max_size=route.body_bytes)
        if not reads:
            await _read_body(request)
        streams = isinstance(route, Page) and route.content_type in (EVENTS, LINK)
        if streams or (isinstance(route, Page) and token is not None):
            return await self._revocable_response(request, handler, token)
        return await handler(request)

    def _check_own(self, token: Token, request: web.Request, route: Route) -> None:
        """Raises Refused unless a request with the token of an outside agent is for its own book, or reads what is of
        no book. Texts of others would be a channel from one model to another.
        """
        if request.match_info.get("name") == token.agent and request.path.startswith("/api/v1/agents/"):
            return
        if request.method not in READS or request.path.startswith("/api/v1/agents/"):
            text = f"the token {token.name} is for {token.agent} alone; use a token for this agent"
            raise Refused(403, "agent", text)
        if route.path not in OF_NO_BOOK and not route.path.startswith("/docs"):
            text = f"the token {token.name} reads the book of {token.agent} alone, at /api/v1/agents/{token.agent}/..."
            raise Refused(403, "agent", f"{text}, and bars, calendar and why; `quantd token create NAME` reads all")

    async def _revocable_response(
        self, request: web.Request, handler: Handler, token: Token | None
    ) -> web.StreamResponse:
        """The response of a page or stream; it ends when its token is revoked or its client has disconnected.

        Both are checked every CHECK_S seconds.
        """
        answering = asyncio.ensure_future(handler(request))
        try:
            while not (await asyncio.wait({answering}, timeout=CHECK_S))[0]:
                if request.transport is None:
                    raise ConnectionResetError("the connection is closed")
                await self._keyring.refresh()
                if not (self.open_reads if token is None else self._keyring.valid(token)):
                    if request.transport is not None:
                        request.transport.close()
                    raise ConnectionResetError("the token is no longer in force, or a read needs one now")
            return answering.result()
        finally:
            if not answering.done():
                answering.cancel()
                await asyncio.wait({answering})

    async def session_token(self, request: web.Request) -> Token | None:
        """The token of the session of a request's cookie, while it is in force."""
        if (session := self.sessions.of(request)) is None:
            return None
        await self._keyring.refresh()
        if (token := self._keyring.of_digest(session.token)) is None:
            await self.sessions.end(request)
            return None
        request[SESSION] = session
        return token

    async def token_of(self, request: web.Request) -> Token | None:
        """The token in a request's header, else the token of its session; None if both are missing.

        Raises Refused for a token in the header that is not in force.
        """
        if not (secret := _sent_secret(request)):
            return await self.session_token(request)
        if (token := self._keyring.find(secret)) is None:
            raise self._unknown(request, secret)
        return token

    async def admitted(self, request: web.Request, secret: str, code: str) -> Token:
        """Return the token with which a sign-in begins a session.

        `secret` is the text of a token, and `code` is the code of a one-time link; exactly one of the two must be
        non-empty. Raises Refused for both or neither, for an invalid token or code, and for a token without the scope
        `read`.
        """
        await self._keyring.refresh()
        if bool(secret) == bool(code):
            raise Refused(
                422, "command", 'this sign-in does not have exactly one of token and code; send {"token": ".."}'
            )
        if secret:
            token = self._keyring.find(secret.strip().encode("utf-8", "surrogateescape"))
        else:
            token = self._keyring.owner if self.sessions.redeem(code) else None
        if token is None:
            text = "this token is not in force" if secret else "this link was used, or has expired"
            text += "; `quantd token create NAME --scope trade` makes a token"
            raise self._too_many(request) or Refused(401, "token", text, {"WWW-Authenticate": BEARER})
        if not token.grants("read") or token.agent:  # the page shows the books of all
            raise Refused(
                403, "scope", f"the token {token.name} has the scope {token.scope}; sign in with one of scope read"
            )
        return token

    async def admitted_device(self, request: web.Request, key: str, challenge: str, signature: str) -> Token:
        """Return the token of the device that signed a challenge of this process. Raises Refused."""
        await self._keyring.refresh()
        token = self._keyring.of_device(key)
        end = 0 if token is None else self.sessions.answered(challenge)
        if token is not None and end:
            signed = DeviceSignature(key, end, signature)
            approvals = Approvals({token.name: key}, ())
            if not signature_fault(approvals, signed, (SIGN_IN, challenge), time.time_ns()):
                return token
        text = "this device is not paired, or its signature is not of a challenge of now"
        text = f"{text}; `quantd connect phone` pairs it"
        raise self._too_many(request) or Refused(401, "token", text, {"WWW-Authenticate": BEARER})

    async def offered(self, request: web.Request, code: str, key: str) -> bool:
        """Take the public key that a phone offers by its link; whether the key is paired. Raises Refused."""
        await self._keyring.refresh()
        if not self.sessions.offer(code, key):
            text = "this link was used, or has expired; `quantd connect phone` makes another"
            raise self._too_many(request) or Refused(401, "token", text, {"WWW-Authenticate": BEARER})
        return self._keyring.of_device(key) is not None

    def _check_own_page(self, request: web.Request) -> None:
        """Raises Refused for a request with a session cookie, or for a sign-in, that the daemon's own page did not
        send.
        """
        if not self.origins.own(request):
            raise Refused(403, "origin", "a page of another origin used this session; send a token instead")
        session = request.get(SESSION)
        if session is not None and not isinstance(self._route(request), Entry) and forged(request, session):
            raise Refused(403, "csrf", f"the header {CSRF} does not belong to this session; sign in again")

    def _check_host(self, request: web.Request) -> None:
        """Raises Refused for a foreign host name: a web page could resolve its name to this machine (DNS rebinding)."""
        hosts = request.headers.getall("Host", [""])
        name = _host_name(hosts[0]) if len(hosts) == 1 else ""
        if not request.raw_path.startswith("/") and request.raw_path.lower().startswith(("http:", "https:")):
            name = _host_name(urlsplit(request.raw_path).netloc)  # a whole address counts, not the header (RFC 9112)
        if name in self._hosts:
            return
        if self._remote and request.transport is not None:
            address = request.transport.get_extra_info("sockname")
            if address and name == str(address[0]):
                return
        raise Refused(421, "host", f"{name!r:.80} is not a host name of this daemon; use 127.0.0.1 or [api] host")

    def _route(self, request: web.Request) -> Route | None:
        """The record of the requested route; None for an unknown path or method."""
        return self.route_of(request.match_info, request)

    def route_of(self, match: AbstractMatchInfo, request: web.BaseRequest) -> Route | None:
        """The record of the route that the router found for a request; None for an unknown path or method."""
        resource = match.route.resource if isinstance(match, web.UrlMappingMatchInfo) else None
        method = "GET" if request.method in READS else request.method
        return None if resource is None else self._routes.get((resource.canonical, method))

    def _limit(self, request: web.Request, token: Token | None, route: Route | None) -> None:
        """Raises Refused above the rate of the token or, without a valid token, above the rate of the address.

        A valid token has a bucket of its own, so that strangers at the same address cannot use it up. `/health` is not
        limited: its response costs no more than a refusal, and a supervisor would restart a daemon that refuses its
        probe.
        """
        if isinstance(route, Read) and route.scope == "open":
            return
        # Post.rate is False for a halt: a valid token may always repeat it
        if token is not None and isinstance(route, Post) and not route.rate:
            return
        name, buckets = ("reads", self._reads) if request.method in READS else ("posts", self._posts)
        key = f"address {address_of(request.remote)}" if token is None else f"token {token.name}"
        if wait_s := buckets.wait_s(key, time.monotonic()):
            seconds = str(math.ceil(wait_s))
            raise Refused(
                429, "rate", f"too many requests, by [api.rate] {name}; wait {seconds} s", {"Retry-After": seconds}
            )

    def _unknown(self, request: web.Request, sent_secret: bytes) -> Refused:
        """The error response to a request without a valid token; `sent_secret` is the secret that was sent, empty for
        none.
        """
        # a request without a secret guesses nothing: a browser begins so, and needs the 401 even during an attack
        if sent_secret and (refusal := self._too_many(request)) is not None:
            return refusal
        reads = request.method in READS
        what = "this read needs a token" if reads else "requests that change the daemon need a token"
        text = f"{what}: send `Authorization: Bearer TOKEN`; `quantd token create` makes one"
        # Basic makes a browser ask for a password: wanted for an address that is opened, not for a fetch by the page
        asks = reads and request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
        return Refused(401, "token", text, {"WWW-Authenticate": 'Basic realm="quantd"' if asks else BEARER})

    def _too_many(self, request: web.Request) -> Refused | None:
        """Count a wrong token. Returns the 429 response if this address or all addresses sent too many, else None."""
        if self._wrong.count(address_of(request.remote), time.monotonic()):
            return None
        text = f"more than {WRONG_TOKENS} wrong tokens within a minute; wait 60 s"
        return Refused(429, "rate", text, {"Retry-After": "60"})


async def _read_body(request: web.Request) -> None:
    """Wait for the body of a request, which its handler reads. Raises Refused for a late body, and the errors of
    `request.read`."""
    within_s = DOOR_S if MAIN_PORT in request.app else BODY_S
    try:
        async with asyncio.timeout(within_s):
            await request.read()
    except RequestPayloadError:
        return  # a body that cannot be read: the handler reads it again and refuses the request
    except TimeoutError:
        text = f"the body did not arrive within {within_s:g} s of its header; send it at once"
        raise Refused(408, "body", text, {"Connection": "close"}) from None


def who(request: web.Request) -> str:
    """The sender of an authorised request, for the journal."""
    return sender_of(request[TOKEN])


def sender_of(token: Token) -> str:
    """The name of a token's holder in the journal: "api:NAME:ID", without the id for the owner."""
    return f"api:{token.name}" if token.name == OWNER else f"api:{token.name}:{token.id}"


def _sent_secret(request: web.Request) -> bytes:
    """The secret in the one Authorization header; empty when there is none."""
    headers = request.headers.getall("Authorization", [])
    scheme, _, secret = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if request.method in READS and scheme.lower() == "basic":
        scheme, secret = "bearer", _password(secret)
    # aiohttp passes bytes that are not UTF-8 as surrogates
    return secret.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""


def _password(credentials: str) -> str:
    """The password in HTTP Basic credentials (base64 of USER:PASSWORD); empty when there is none."""
    try:
        return base64.b64decode(credentials, validate=True).decode("utf-8", "replace").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _own_names(host: str) -> frozenset[str]:
    """The host names under which the daemon answers; `host` is the address at which it listens."""
    names = {"localhost", "127.0.0.1", "::1", host.lower()}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names - {"0.0.0.0", "::"})


_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?")


@lru_cache(64)
def _host_name(header: str) -> str:
    """The Host header without its port; empty when it is not a name or an address with an optional port."""
    match = _HOST.fullmatch(header.strip().lower())
    return "" if match is None else match[1] or match[2]
