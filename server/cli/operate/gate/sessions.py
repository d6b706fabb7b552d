"""A bound on the sessions that one token has open: the sessions of the MCP server are shared by all agents.

What can go wrong: one token opens sessions until none is left for the others. A request that may open one counts from
its arrival, because several may be sent before the first is answered. A session whose request is still answered is not
idle.
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
"""Sessions of one token."""

SESSION: Final = b"mcp-session-id"
VERSION: Final = b"mcp-protocol-version"
LAST_WITH_SESSIONS: Final = b"2025-11-25"
"""Newest version of the protocol with sessions: versions are dates, and without the header it is an older one."""

FULL: Final = (
    f"this token has {MOST} sessions open, the most that it may have; end one of them (DELETE), or wait until the "
    "oldest has been idle for ten minutes"
)


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The first header with a lower-case name; empty without one."""
    return next((value for key, value in headers if key == name), b"")


class SessionsOfTokens:
    """Passes requests on to the server, and refuses a new session to a token that has MOST.

    The server ends a session when its client deletes it, and `idle_s` seconds after its last request. The same is
    counted here.
    """

    def __init__(self, server: Server, idle_s: float) -> None:
        self._server = server
        self._idle_s = idle_s
        self._owners: dict[bytes, str] = {}
        """By session: a digest of its token."""
        self._running: Counter[bytes] = Counter()
        """Requests that are being answered, by session."""
        self._ended_s: dict[bytes, float] = {}
        """When the last request of a session ended, by the monotonic clock."""
        self._opening: Counter[str] = Counter()
        """Requests for a session that have no answer, by digest of the token."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", ())
        session = header(headers, SESSION)
        if session in self._owners:
            await self._served(session, scope, receive, send)
        elif scope.get("method") == "POST" and not session and header(headers, VERSION) <= LAST_WITH_SESSIONS:
            await self._opened(header(headers, b"authorization"), scope, receive, send)
        else:
            await self._server(scope, receive, send)

    async def _served(self, session: bytes, scope: Message, receive: Receive, send: Send) -> None:
        """Passes on a request of a session; a session that its client deletes is forgotten."""
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

    async def _opened(self, authorization: bytes, scope: Message, receive: Receive, send: Send) -> None:
        """Passes on a request that may open a session, if its token has room."""
        token = hashlib.sha256(authorization).hexdigest()
        if self._opening[token] + self._open(token) >= MOST:
            error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": FULL}}
            head = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 429, "headers": head})
            await send({"type": "http.response.body", "body": msgspec.json.encode(error)})
            return
        opened = b""

        async def watched(message: Message) -> None:
            nonlocal opened
            if message["type"] == "http.response.start" and message["status"] < 400:
                opened = header(message.get("headers", ()), SESSION)
            await send(message)

        self._opening[token] += 1
        try:
            await self._server(scope, receive, watched)
        finally:
            self._opening -= Counter({token: 1})  # drops a count of 0
            if opened:
                self._owners[opened] = token
                self._ended_s[opened] = time.monotonic()

    def _open(self, token: str) -> int:
        """The number of open sessions of a token, without those that were idle too long."""
        idle = time.monotonic() - self._idle_s
        for session in [s for s, ended in self._ended_s.items() if ended < idle and not self._running[s]]:
            self._forget(session)
        return sum(owner == token for owner in self._owners.values())

    def _forget(self, session: bytes) -> None:
        for table in (self._owners, self._ended_s, self._running):
            table.pop(session, None)
