"""A bound on the sessions that one token has open: the sessions of the MCP server are shared by all agents."""

import hashlib
import time
from collections import Counter
from typing import Final

from mcp_types import DEFAULT_NEGOTIATED_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST: Final = 8
"""Sessions of one token."""

SESSION: Final = "mcp-session-id"
FULL: Final = (
    f"this token has {MOST} sessions open, the most that it may have; end one of them (DELETE), or wait until the "
    "oldest has been idle for ten minutes"
)


def opens(headers: Headers) -> bool:
    """Whether a POST without a session may open one: newer versions of the protocol have no sessions."""
    return headers.get("mcp-protocol-version", DEFAULT_NEGOTIATED_VERSION) in HANDSHAKE_PROTOCOL_VERSIONS


class SessionsOfTokens:
    """Passes requests on to the server, and refuses a new session to a token that has MOST.

    The server ends a session when its client deletes it, and `idle_s` seconds after its last request. The same is
    counted here.
    """

    def __init__(self, server: ASGIApp, idle_s: float) -> None:
        self._server = server
        self._idle_s = idle_s
        self._owners: dict[str, str] = {}
        """By session: a digest of its token."""
        self._running: Counter[str] = Counter()
        """Requests that are being answered, by session."""
        self._ended_s: dict[str, float] = {}
        """When the last request of a session ended, by the monotonic clock."""
        self._opening: Counter[str] = Counter()
        """Requests for a session that have no answer, by digest of the token."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        session = headers.get(SESSION, "")
        if session in self._owners:
            await self._served(session, scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "POST" and not session and opens(headers):
            await self._opened(headers.get("authorization", ""), scope, receive, send)
        else:
            await self._server(scope, receive, send)

    async def _served(self, session: str, scope: Scope, receive: Receive, send: Send) -> None:
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

    async def _opened(self, authorization: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on a request that may open a session, if its token has room."""
        token = hashlib.sha256(authorization.encode()).hexdigest()
        if self._opening[token] + self._open(token) >= MOST:
            error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": FULL}}
            await JSONResponse(error, status_code=429)(scope, receive, send)
            return
        opened = ""

        async def watched(message: Message) -> None:
            nonlocal opened
            if message["type"] == "http.response.start" and message["status"] < 400:
                opened = Headers(raw=message["headers"]).get(SESSION, "")
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

    def _forget(self, session: str) -> None:
        for table in (self._owners, self._ended_s, self._running):
            table.pop(session, None)
