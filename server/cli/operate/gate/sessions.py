"""A limit on the open sessions of one token, because all agents share the sessions of the MCP server.

What can go wrong: one token opens sessions until other tokens get none. So each token has a limit. A request that may
open a session counts from its arrival, because several may be sent before the first is answered. A session with a
request that is not answered yet is not idle.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

import msgspec

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Server = Callable[[Message, Receive, Send], Awaitable[None]]
"""An application of ASGI 3; the first argument is the scope of a connection."""

MOST: Final = 8
"""Most open sessions of one token."""

SESSION: Final = b"mcp-session-id"
VERSION: Final = b"mcp-protocol-version"
LAST_WITH_SESSIONS: Final = b"2025-11-25"
"""Newest version of the protocol that has sessions. Versions are dates; a request without the header is older."""

FULL: Final = (
    f"this token has {MOST} sessions open, the most that it may have; end one of them (DELETE), or wait until the "
    "oldest has been idle for ten minutes"
)


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The value of the first header that has the lower-case `name`; empty without one."""
    return next((value for key, value in headers if key == name), b"")


class SessionsOfTokens:
    """Passes requests on to the MCP server, and refuses a new session to a token that has MOST sessions.

    The server ends a session when its client deletes it, and `idle_s` seconds after its last request. This class
    repeats that rule to know which sessions are open.
    """

    def __init__(self, server: Server, idle_s: float) -> None:
        self._server = server
        self._idle_s = idle_s
        self._owners: dict[bytes, str] = {}
        """Session -> digest of its token."""
        self._running: Counter[bytes] = Counter()
        """Session -> number of its requests that are being answered."""
        self._ended_s: dict[bytes, float] = {}
        """Session -> monotonic instant at which its last request ended, in s."""
        self._opening: Counter[str] = Counter()
        """Digest of a token -> number of its requests for a new session that are not answered yet."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", ())
        session = header(headers, SESSION)
        if session in self._owners:
            await self._serve_session(session, scope, receive, send)
        elif scope.get("method") == "POST" and not session and header(headers, VERSION) <= LAST_WITH_SESSIONS:
            await self._serve_opening(header(headers, b"authorization"), scope, receive, send)
        else:
            await self._server(scope, receive, send)

    async def _serve_session(self, session: bytes, scope: Message, receive: Receive, send: Send) -> None:
        """Pass on a request of a session, and forget a session that its client deletes. The time at which the request
        ends is kept, because a session ends some time after its last request."""
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._running[session] += 1
        try:
            await self._server(scope, receive, watched)
        finally:
            self._running[session] -= 1
            self._ended_s[session] = time.monotonic()
            if scope["method"] == "DELETE" and status < 400:
                self._forget(session)

    async def _serve_opening(self, authorization: bytes, scope: Message, receive: Receive, send: Send) -> None:
        """Pass on a request that may open a session, unless its token has MOST sessions already."""
        token_digest = hashlib.sha256(authorization).hexdigest()
        if self._opening[token_digest] + self._count_open(token_digest) >= MOST:
            error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": FULL}}
            head = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 429, "headers": head})
            await send({"type": "http.response.body", "body": msgspec.json.encode(error)})
            return
        new_session = b""

        async def watched(message: Message) -> None:
            nonlocal new_session
            if message["type"] == "http.response.start" and message["status"] < 400:
                new_session = header(message.get("headers", ()), SESSION)
            await send(message)

        self._opening[token_digest] += 1
        try:
            await self._server(scope, receive, watched)
        finally:
            self._opening -= Counter({token_digest: 1})  # unlike -= 1 on the value, this drops a count of 0
            if new_session:
                self._owners[new_session] = token_digest
                self._ended_s[new_session] = time.monotonic()

    def _count_open(self, token_digest: str) -> int:
        """Forget the sessions that were idle too long, and return the number of open sessions of a token."""
        idle_since_s = time.monotonic() - self._idle_s
        for session in [s for s, ended in self._ended_s.items() if ended < idle_since_s and not self._running[s]]:
            self._forget(session)
        return sum(owner == token_digest for owner in self._owners.values())

    def _forget(self, session: bytes) -> None:
        for table in (self._owners, self._ended_s, self._running):
            table.pop(session, None)
