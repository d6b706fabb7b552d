"""The client of the API with which the tools of `quantd mcp` read and act. It holds an API token or passes one on."""

import asyncio
import http.client
import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver.exceptions import ToolError

from quantd.models.artifacts.receipt import HEADER
from quantd.server.api.client_side.transport import Address, opened
from quantd.server.requests.tokens import Scope

ANSWER_S: Final = 30.0
MOST_BYTES: Final = 8 * 2**20
MOST_ASKED: Final = 128
"""Most requests to the daemon at a time."""

MOST_CHARS: Final = 24_000
"""Longest result of a tool; longer lists lose their last entries."""

Document = dict[str, Any]


class RequestRefused(ToolError):
    """The daemon refuses a request; `receipt` is that of what it decided, empty where it decided nothing."""

    receipt = ""


class Denied(RequestRefused):
    """The daemon refuses a request, because it does not know the token or the token lacks the scope."""


class Gateway:
    """The API of one daemon.

    Without a `token`, each request carries the token of the HTTP request that is being served. With `verified` False
    the certificate is not checked: this is for the daemon of a state folder on this machine, which wrote its
    certificate and its address into the folder itself.
    """

    def __init__(self, url: str, token: str = "", *, verified: bool = True) -> None:
        parts = urlsplit(url)
        self._path = parts.path.rstrip("/")
        self._token = token
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        if tls is not None and not verified:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        # of its own: clients that wait for their fills must not use up the few threads of the event loop
        self._threads = ThreadPoolExecutor(MOST_ASKED, "daemon")
        self._address = Address(parts.hostname or "", parts.port or (443 if tls else 80), tls)

    async def get(self, path: str, **query: object) -> Document:
        """Return the document at a path. Raises ToolError where the daemon refuses or does not answer."""
        parameters = {name: value for name, value in query.items() if value not in (None, "")}
        path = f"{path}?{urlencode(parameters)}" if parameters else path
        return await self._asked("GET", path, None, self.token())

    async def post(self, path: str, body: object) -> Document:
        """Return the answer to a request. Raises ToolError where the daemon refuses or does not answer."""
        return await self._asked("POST", path, msgspec.json.encode(body), self.token())

    async def require(self, scope: Scope) -> None:
        """Raises Denied if the token is not in force or does not grant the scope.

        Any other fault is ignored here, because the daemon also checks the request that follows.
        """
        try:
            session = await self.get("/api/v1/session")
        except Denied:
            raise
        except ToolError:
            return
        if session.get("name") and scope not in session.get("scopes", ()):
            text = f"this request needs the scope {scope}, and the token {session['name']} has {session.get('scope')}"
            raise Denied(bounded_text(f"403 scope: {text}: `quantd token create NAME --scope {scope}` makes one"))

    async def accepts(self, token: str) -> bool:
        """Whether the daemon accepts a token for reading. Raises ToolError when it does not answer."""
        try:
            await self._asked("GET", "/api/v1", None, token)
        except Denied:
            return False
        return True

    def token(self) -> str:
        """Return the gateway's token, else the token of the present request. Raises ToolError if both are missing."""
        access_token = get_access_token()
        if not self._token and access_token is None:
            raise ToolError("the request has no token; send the header Authorization: Bearer TOKEN")
        return self._token or (access_token.token if access_token is not None else "")

    async def _asked(self, method: str, path: str, body: bytes | None, token: str) -> Document:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, method, path, body, token)

    def _ask(self, method: str, path: str, body: bytes | None, token: str) -> Document:
        """Send a request and return the decoded answer.

        Raises Denied for a token that is refused, and ToolError for any other error.
        """
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            with opened(self._address, method, f"{self._path}{path}", headers, body, ANSWER_S) as response:
                data = response.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as why:
            raise ToolError(f"the daemon at {self._address} does not answer: {type(why).__name__}") from None
        try:
            document = json.loads(data) if len(data) <= MOST_BYTES else None
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ToolError(f"the server at {self._address} is not quantd")
        if response.status >= 400:
            wait_s = response.headers.get("Retry-After")
            retry = f" (try again after {wait_s} s)" if wait_s else ""
            kind = Denied if response.status in (401, 403) else RequestRefused
            refused = kind(bounded_text(f"{response.status} {document.get('code')}: {document.get('detail')}{retry}"))
            refused.receipt = response.headers.get(HEADER, "")
            raise refused
        if receipt := response.headers.get(HEADER):
            document["receipt"] = receipt
        return document


def bounded_text(text: str) -> str:
    """The text as one printable line of at most 2,000 characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:2_000]


def bounded(document: Document) -> Document:
    """The document cut to about MOST_CHARS: its longest lists are halved, and `left_out` counts the dropped entries."""
    excerpt, left_out = dict(document), dict[str, int]()
    while len(json.dumps(excerpt)) > MOST_CHARS:
        sizes = {key: len(json.dumps(value)) for key, value in excerpt.items() if isinstance(value, list) and value}
        if not sizes:
            return {"left_out": "the document is too long for a tool; read it from the API", "keys": sorted(document)}
        longest = max(sizes, key=lambda key: sizes[key])
        first_half = excerpt[longest][: len(excerpt[longest]) // 2]
        left_out[longest] = len(document[longest]) - len(first_half)
        excerpt[longest] = first_half
        excerpt["left_out"] = left_out
    return excerpt
