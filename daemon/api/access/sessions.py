"""Sessions of browsers: a cookie that stands for a token, and the one-time link that begins one.

The cookie alone reads. A request that changes the daemon also needs the CSRF token of its session. Only the response to
the sign-in has it, so a page of another port, which the browser sends the same cookie to, cannot act with it.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from aiohttp import web

from quantd.daemon.commands.tokens import Token

COOKIE: Final = "quantd_session_"
"""Name of the cookie before the port: browsers send one host's cookies to all its ports."""

CSRF: Final = "X-CSRF-Token"

SESSION_S: Final = 12 * 3_600
MOST_OF_TOKEN: Final = 8
"""Sessions of one token; the oldest ends for a further one. No token can end those of another."""

LINK_S: Final = 15 * 60
"""Seconds after which a one-time link is void."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that signed in with `token`, until `ends_s` of the monotonic clock."""

    token: Token
    csrf: str
    ends_s: float


class Sessions:
    """Open sessions by the digest of their cookie, and one-time links. Both end with the process."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, Session] = OrderedDict()
        self._links: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, token: Token) -> tuple[str, Session]:
        """A new session of a token, with the secret of its cookie."""
        own = [key for key, each in self._open.items() if each.token.digest == token.digest]
        for key in own[: max(0, len(own) + 1 - MOST_OF_TOKEN)]:
            del self._open[key]
        secret, now = secrets.token_urlsafe(32), time.monotonic()
        found = self._open[_digest(secret)] = Session(token, secrets.token_urlsafe(32), now + SESSION_S)
        for key in [key for key, each in self._open.items() if each.ends_s <= now]:
            del self._open[key]
        return secret, found

    def of(self, request: web.Request) -> Session | None:
        """The session of a request's cookie; None without one, or after its end."""
        secret = request.cookies.get(cookie_name(request), "")
        found = self._open.get(_digest(secret)) if secret else None
        return found if found is not None and found.ends_s > time.monotonic() else None

    def end(self, request: web.Request) -> None:
        """Ends the session of a request's cookie."""
        self._open.pop(_digest(request.cookies.get(cookie_name(request), "")), None)

    def link(self) -> str:
        """The code of a new one-time link; an earlier code is void."""
        code = secrets.token_urlsafe(32)
        self._links = {_digest(code): time.monotonic() + LINK_S}
        return code

    def redeem(self, code: str) -> bool:
        """Whether a code is that of a link which has neither been used nor expired; it is void from then on."""
        return self._links.pop(_digest(code), 0.0) > time.monotonic()


def cookie_name(request: web.Request) -> str:
    """The cookie of the port that the browser asked."""
    return COOKIE + (request.host.rpartition(":")[2] if ":" in request.host.rpartition("]")[2] else "0")


def cookie_text(request: web.Request, secret: str) -> str:
    """The Set-Cookie header that begins a session, or ends one where `secret` is empty."""
    age = SESSION_S if secret else 0
    secure = "; Secure" if request.secure else ""
    return f"{cookie_name(request)}={secret}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"


def forged(request: web.Request, session: Session) -> bool:
    """Whether a request that changes the daemon lacks the CSRF token of its session."""
    given = request.headers.getall(CSRF, [])
    return len(given) != 1 or not hmac.compare_digest(given[0].encode("utf-8", "replace"), session.csrf.encode())


def _digest(secret: str) -> bytes:
    return blake2b(secret.encode("utf-8", "replace"), digest_size=32).digest()
