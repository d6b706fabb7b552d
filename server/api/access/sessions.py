"""Sessions of browsers: a cookie that stands for a token, and the one-time link that begins one.

What can go wrong: a page from another port of this host sends commands, because the browser sends the cookie to every
port. So the cookie alone permits reads only. A request that changes the daemon also needs the CSRF token of its
session, which only the response to the sign-in contains.

A session survives a restart of the daemon. Otherwise a page that did not notice the restart would offer a halt button,
and the halt would be refused. The file of sessions contains digests only, so nobody can sign in with its content. It is
replaced in one step, so that a kill while it is written signs nobody out. A damaged file signs everybody out, and a bad
disk breaks no sign-in. The code of a link is removed before it is checked, so that it can be used once only.
"""

import asyncio
import contextlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import structlog
from aiohttp import web

from quantd.regular_file import NotRead, read_regular, write_whole
from quantd.server.api.access.origins import MAIN_PORT
from quantd.server.requests.tokens import Token

COOKIE: Final = "quantd_session_"
"""Start of the cookie's name; the port follows, since browsers send the cookies of a host to all its ports."""

CSRF: Final = "X-CSRF-Token"

SESSION_S: Final = 12 * 3_600
"""Seconds from a sign-in to the end of its session."""

MOST_OF_TOKEN: Final = 8
"""Most sessions of one token; a further sign-in ends the token's oldest session, never a session of another token."""

LINK_S: Final = 15 * 60
"""Seconds after which a one-time link is void."""

PAIR_S: Final = 10 * 60
"""Seconds after which the link that pairs a phone is void."""

CHALLENGE_S: Final = 60
"""Seconds within which a device signs a challenge."""

SIGN_IN: Final = "sign-in"
"""First field of what a device signs to sign in: no such signature approves anything."""

FILE: Final = "sessions.json"

MOST: Final = 4_096
"""Most sessions in the file: the ones that end last."""

DISK_S: Final = 1.0
"""Seconds that a slow disk may delay a sign-in."""

log = structlog.get_logger("quantd.api")


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that signed in: digests of its token and of its CSRF token.

    The session ends at `ends_s`, in seconds UTC.
    """

    token: str
    csrf: bytes
    ends_s: float


class Sessions:
    """Open sessions of browsers by the digest of their cookie, and one-time links, which end with the process."""

    def __init__(self, folder: Path | None) -> None:
        """Reads the sessions of an earlier process from the folder; with None, sessions end with this process."""
        self._file = None if folder is None else folder / FILE
        self._open: OrderedDict[bytes, Session] = OrderedDict({} if self._file is None else stored(self._file))
        self._links: dict[bytes, float] = {}
        self._pair: tuple[bytes, float] = (b"", 0.0)  # the digest of the code of a phone's link, and its end
        self.offered = ""
        """The public key that the phone of the newest link offers; empty before."""
        self._boot = secrets.token_urlsafe(16)
        self._spent: dict[str, int] = {}  # challenges that were answered -> their end, ns UTC
        self._writing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._open)

    async def begin(self, token: Token) -> tuple[str, str]:
        """(Secret of the cookie, CSRF token) of a new session of a token."""
        token_sessions = [key for key, session in self._open.items() if session.token == token.digest]
        for key in token_sessions[: max(0, len(token_sessions) + 1 - MOST_OF_TOKEN)]:  # oldest first
            del self._open[key]
        secret, csrf, now_s = secrets.token_urlsafe(32), secrets.token_urlsafe(32), time.time()
        self._open[_digest(secret)] = Session(token.digest, _digest(csrf), now_s + SESSION_S)
        for key in [key for key, session in self._open.items() if session.ends_s <= now_s]:
            del self._open[key]
        await self._store()
        return secret, csrf

    def of(self, request: web.Request) -> Session | None:
        """The session of a request's cookie; None without a session, or after the end of the session."""
        secret = request.cookies.get(cookie_name(request), "")
        session = self._open.get(_digest(secret)) if secret else None
        return session if session is not None and session.ends_s > time.time() else None

    async def end(self, request: web.Request) -> None:
        """Ends the session of a request's cookie."""
        if self._open.pop(_digest(request.cookies.get(cookie_name(request), "")), None) is not None:
            await self._store()

    def link(self) -> str:
        """The code of a new one-time link; an earlier code is void."""
        code = secrets.token_urlsafe(32)
        self._links = {_digest(code): time.monotonic() + LINK_S}
        return code

    def redeem(self, code: str) -> bool:
        """Whether a code belongs to a link that is neither used nor expired; the code is void afterwards."""
        return self._links.pop(_digest(code), 0.0) > time.monotonic()

    def pair(self, digest: bytes) -> None:
        """Begins the pairing of a phone by the code with this digest; an earlier code is void."""
        self._pair, self.offered = (digest, time.monotonic() + PAIR_S), ""

    def offer(self, code: str, key: str) -> bool:
        """Whether a code pairs the phone with this public key: the first key that it offers, until its end."""
        digest, end_s = self._pair
        if not hmac.compare_digest(_digest(code), digest) or end_s <= time.monotonic() or self.offered not in ("", key):
            return False
        self.offered = key
        return True

    def challenge(self) -> str:
        """A text that a device signs to sign in, once, within CHALLENGE_S: of this process, and its end in ns UTC."""
        return f"{self._boot}.{time.time_ns() + CHALLENGE_S * 10**9}"

    def answered(self, challenge: str) -> int:
        """The end of a challenge (ns UTC), which counts as answered from now on; 0 for a foreign, late or used one."""
        boot, _, text = challenge.partition(".")
        now, end = time.time_ns(), int(text) if text.isdecimal() and len(text) < 20 else 0
        fresh = boot == self._boot and now < end <= now + CHALLENGE_S * 10**9 and challenge not in self._spent
        if not fresh:
            return 0
        self._spent = {spent: until for spent, until in self._spent.items() if until > now} | {challenge: end}
        return end

    async def close(self) -> None:
        """Waits for the writing that has begun, DISK_S seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISK_S), self._writing:
                pass

    async def _store(self) -> None:
        """Writes the open sessions in a thread.

        If the disk fails, a new session ends at the next restart of the daemon.
        """
        file = self._file
        if file is None:
            return

        async def write_in_turn() -> None:
            async with self._writing:
                content = msgspec.json.encode(list(self._open.items())[-MOST:])
                await asyncio.to_thread(write_whole, file, content, 0o600)

        writing = asyncio.ensure_future(write_in_turn())
        # after DISK_S nobody awaits its error, so that it is retrieved here
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(DISK_S):
                await asyncio.shield(writing)
        except OSError as why:  # TimeoutError is an OSError
            log.warning("api.sessions_unwritten", file=FILE, why=str(why), effect="a restart may end new sessions")


def stored(path: Path) -> dict[bytes, Session]:
    """The stored sessions by the digest of their cookie; empty where the file is absent, damaged or writable by
    another user.
    """
    try:
        content, status = read_regular(path, links=False)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise NotRead("may be written by another user; move it away")
        rows = msgspec.json.decode(content, type=list[tuple[bytes, Session]])
    except FileNotFoundError:
        return {}
    except (NotRead, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        log.warning("api.sessions_unread", file=FILE, why=str(why), effect="every browser has to sign in again")
        return {}
    return {cookie: session for cookie, session in rows if session.ends_s <= time.time() + SESSION_S}


def cookie_name(request: web.Request) -> str:
    """The name of the cookie for the port in the request's Host header, or for that of the page; 0 is no port."""
    if MAIN_PORT in request.app:
        return f"{COOKIE}{request.app[MAIN_PORT]}"
    return COOKIE + (request.host.rpartition(":")[2] if ":" in request.host.rpartition("]")[2] else "0")


def cookie_text(request: web.Request, secret: str) -> str:
    """The Set-Cookie header that begins a session, or ends a session where `secret` is empty."""
    age = SESSION_S if secret else 0
    secure = "; Secure" if request.secure else ""
    return f"{cookie_name(request)}={secret}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"


def forged(request: web.Request, session: Session) -> bool:
    """Whether a request that changes the daemon lacks the CSRF token of its session."""
    csrf_headers = request.headers.getall(CSRF, [])
    return len(csrf_headers) != 1 or not hmac.compare_digest(_digest(csrf_headers[0]), session.csrf)


def _digest(secret: str) -> bytes:
    # lossy on purpose: a header may contain what UTF-8 cannot encode, and such a secret matches no session
    return blake2b(secret.encode("utf-8", "replace"), digest_size=32).digest()
