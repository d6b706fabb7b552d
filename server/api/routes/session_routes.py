"""Sign-in of the dashboard: a token, the code of a one-time link, or the key of a device begins a browser's session.

A phone is paired by a link of `quantd connect phone`. The daemon has the digest of its code alone, and the key that the
phone offers. The command makes the token and registers the key, once a person has compared both screens: no request
makes a token.
"""

from typing import Annotated, Final

import structlog
from aiohttp import web
from msgspec import Meta, Struct
from msgspec.json import encode

from quantd.server.api.access.guard import Guard, sender_of
from quantd.server.api.access.sessions import SESSION_S, cookie_text
from quantd.server.api.documents import Query
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Entry, Post, Read
from quantd.server.requests.tokens import INCLUDED, Scope, Token

Secret = Annotated[str, Meta(max_length=200)]

log = structlog.get_logger("quantd.api")


Hex = Annotated[str, Meta(pattern="^[0-9a-f]*$", max_length=128)]
Key = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class SignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A token, the code of the link that `quantd run` printed, or a `challenge` with the signature of a paired device.

    The device signs the challenge of GET /api/v1/session, within a minute, with its public `key`.
    """

    token: Secret = ""
    code: Secret = ""
    key: Hex = ""
    challenge: Secret = ""
    signature: Hex = ""


class Pairing(Struct, frozen=True, forbid_unknown_fields=True):
    """The digest (BLAKE2b, 32 bytes, hexadecimal) of the code of a link that pairs one phone within ten minutes."""

    digest: Key


class Offered(Struct, frozen=True):
    """The public key that the phone of the newest link offers, empty before."""

    key: str


class Offer(Struct, frozen=True, forbid_unknown_fields=True):
    """The code of a link of `quantd connect phone`, and the public key of the phone."""

    code: Secret
    key: Key


class Paired(Struct, frozen=True):
    """Whether the key is that of a paired device, which may sign in."""

    paired: bool


class SignOut(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty body: the cookie of the request names the session that ends."""


class SessionNow(Struct, frozen=True):
    """The token of the request, or of this browser's session; its fields are empty without a token.

    `scopes` are the scopes that the token grants. `reads` is true if this request may read figures. `agent` is the only
    outside agent for which a token of scope propose may act. `sender` is the sender of this token's requests in the
    journal; answers are stored for that name and the idempotency key. `halt_port` is the port for halts alone, 0 where
    this request came by another address than that of the API. `challenge` is what a paired device signs to sign in.
    """

    name: str
    scope: Scope | None
    scopes: list[Scope]
    agent: str
    reads: bool
    sender: str
    halt_port: int
    challenge: str


class SignedIn(Struct, frozen=True):
    """A new session. Requests that change the daemon must send `csrf` in the header X-CSRF-Token.

    The session ends after `ends_s` seconds.
    """

    name: str
    scope: Scope
    scopes: list[Scope]
    agent: str
    csrf: str
    ends_s: int


class SignedOut(Struct, frozen=True):
    """A session that has ended; `name` is the name of its token, empty if there was no session."""

    name: str


class SessionRoutes:
    """Handlers of sign-in and sign-out."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def session(self, request: web.Request, query: Query) -> SessionNow:
        token = await self._guard.token_of(request)
        reads = self._guard.open_reads or (token is not None and token.grants("read"))
        door, challenge = self._guard.origins.door_of(request), self._guard.sessions.challenge()
        if token is None:
            return SessionNow("", None, [], "", reads, "", door, challenge)
        return SessionNow(
            token.name, token.scope, _scopes(token), token.agent, reads, sender_of(token), door, challenge
        )

    async def sign_in(self, request: web.Request, asked: SignIn) -> web.Response:
        """Begins a session. Raises Refused for a wrong token, a void code, and a token that may not read."""
        if asked.key and not (asked.token or asked.code):
            token = await self._guard.admitted_device(request, asked.key, asked.challenge, asked.signature)
        else:
            token = await self._guard.admitted(request, asked.token, asked.code)
        secret, csrf = await self._guard.sessions.begin(token)
        how = "device" if asked.key else "link" if asked.code else "token"
        log.info("api.signed_in", token=token.name, scope=token.scope, by=how)
        answer = SignedIn(token.name, token.scope, _scopes(token), token.agent, csrf, SESSION_S)
        return _with_cookie(request, answer, secret)

    async def pair(self, request: web.Request, asked: Offer) -> web.Response:
        """Takes the key of a phone; repeated, it says whether the person at the terminal accepted it. Raises Refused
        for a link that was used by another key or has expired."""
        answer = Paired(await self._guard.offered(request, asked.code, asked.key))
        return web.Response(body=encode(answer), content_type="application/json")

    async def begin_pairing(self, asked: Pairing, sender: str) -> Offered:
        self._guard.sessions.pair(bytes.fromhex(asked.digest))
        return Offered("")

    async def pairing(self, request: web.Request, query: Query) -> Offered:
        return Offered(self._guard.sessions.offered)

    async def sign_out(self, request: web.Request, asked: SignOut) -> web.Response:
        token = await self._guard.session_token(request)
        await self._guard.sessions.end(request)
        return _with_cookie(request, SignedOut("" if token is None else token.name), "")


def _scopes(token: Token) -> list[Scope]:
    return sorted(INCLUDED[token.scope])


def _with_cookie(request: web.Request, answer: Struct, secret: str) -> web.Response:
    """The response to a sign-in, which sets the cookie `secret` or, with an empty `secret`, to a sign-out."""
    headers = {"Set-Cookie": cookie_text(request, secret)}
    return web.Response(body=encode(answer), content_type="application/json", headers=headers)


ROUTES: Final = RouteGroup(
    "sessions",
    20,
    lambda context: SessionRoutes(context.guard),
    routes=(
        Read("/api/v1/session", SessionRoutes.session, "The token of this request or session.", scope="open"),
        Entry(
            "/api/v1/sign-in", SessionRoutes.sign_in, SignIn, SignedIn, "Begin a session with a token.",
            '{"token": ".."}',
        ),
        Entry("/api/v1/sign-out", SessionRoutes.sign_out, SignOut, SignedOut, "End the session.", "{}", "read"),
        Entry(
            "/api/v1/pair", SessionRoutes.pair, Offer, Paired, "Offer the public key of a phone.",
            f'{{"code": "..", "key": "{"0" * 64}"}}',
        ),
        Post(
            "/api/v1/pairing", SessionRoutes.begin_pairing, "Begin the pairing of a phone.",
            f'{{"digest": "{"0" * 64}"}}', "admin",
        ),
        Read("/api/v1/pairing", SessionRoutes.pairing, "The key that a phone offers.", scope="admin"),
    ),
)  # fmt: skip
