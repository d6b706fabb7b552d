"""The MCP server of `quantd mcp`, on standard input and output or over streamable HTTP.

Over HTTP each request has the token of its client. The daemon checks this token, and applies its scope and rates.
"""

import hashlib
import socket
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl

from quantd.adapters.listener import Listener, is_loopback
from quantd.daemon.cli.failures import note
from quantd.daemon.runtime.version import VERSION
from quantd.server.cli.operate.gate.gate_tools import DATA, tools_of
from quantd.server.cli.operate.gate.gateway import Gateway
from quantd.server.cli.operate.gate.resource_metadata import ResourceMetadata
from quantd.server.cli.operate.gate.sessions import SessionsOfTokens

BODY_BYTES: Final = 64 * 2**10
"""Largest body of a request, in bytes."""

CHECK_S: Final = 1.0
"""Seconds for which an accepted token is not checked again here. The daemon still checks the token of each tool call.
"""

MOST_TOKENS: Final = 256
"""Most accepted tokens that are remembered."""

MOST_SESSIONS: Final = 64
MOST_CONNECTIONS: Final = 128
IDLE_S: Final = 600.0
"""Seconds without a request after which a session ends."""

PATH: Final = "/mcp"


class DaemonTokens:
    """Accepts a client's token if the daemon accepts it; no token is accepted while the daemon does not answer."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._accepted_until_s: OrderedDict[str, float] = OrderedDict()
        """Digest of an accepted token -> monotonic instant until which it is not checked again."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the token, with its digest as the client id that owns the session; None if the daemon refuses it."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        if self._accepted_until_s.get(digest, 0.0) < time.monotonic():
            self._accepted_until_s.pop(digest, None)
            if not await self._is_accepted(token):
                return None
            self._accepted_until_s[digest] = time.monotonic() + CHECK_S
            while len(self._accepted_until_s) > MOST_TOKENS:
                self._accepted_until_s.popitem(last=False)
        return AccessToken(token=token, client_id=digest, scopes=[])

    async def _is_accepted(self, token: str) -> bool:
        """Whether the daemon accepts a token; False if it does not answer."""
        if not (0 < len(token) <= 256 and token.isascii() and token.isprintable()):
            return False
        try:
            return await self._gateway.accepts(token)
        except ToolError as why:
            note(f"a token could not be checked: {why}")
            return False


def server_of(gateway: Gateway, agent: str, *, tokens: DaemonTokens | None = None, url: str = "") -> MCPServer[Any]:
    """The MCP server with the tools of an outside agent, or of an operator if `agent` is empty.

    With `tokens`, each HTTP request to `url` needs a token, which `tokens` checks. The hints of a tool tell a client
    whether the tool reads only or acts.
    """
    text, tools = tools_of(gateway, agent)
    auth = None if tokens is None else AuthSettings(issuer_url=AnyHttpUrl(url), resource_server_url=None)
    server: MCPServer[Any] = MCPServer(
        "quantd",
        version=VERSION,
        instructions=f"{text} {DATA}",
        log_level="WARNING",
        auth=auth,
        token_verifier=tokens,
        tools=tools,
    )
    return server


def listening(host: str, port: int) -> Listener:
    """Return the listening socket of the MCP server; connections wait in its queue until the server has started.

    Raises OSError for an unknown host, or a port in use.
    """
    sock = Listener(host, port, MOST_CONNECTIONS)
    sock.listen()
    return sock


def http_server(
    gateway: Gateway, agent: str, sock: Listener, host: str, certificate: tuple[Path, Path] | None
) -> tuple[uvicorn.Server, str]:
    """Return (server of streamable HTTP on a socket, its URL). `certificate` is (certificate file, key file).

    The server refuses a request whose Host header, or Origin header, names another server.
    """
    port = sock.getsockname()[1]
    scheme = "http" if certificate is None else "https"
    names = [f"{name}:{port}" for name in own_names(host)]
    url = f"{scheme}://{names[0]}"
    app = server_of(gateway, agent, tokens=DaemonTokens(gateway), url=url).streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=BODY_BYTES,
        session_idle_timeout=IDLE_S,
        max_sessions=MOST_SESSIONS,
        transport_security=TransportSecuritySettings(
            allowed_hosts=names, allowed_origins=[f"{scheme}://{name}" for name in names]
        ),
    )
    config = uvicorn.Config(
        ResourceMetadata(SessionsOfTokens(app, IDLE_S), scheme, names, PATH),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
        ssl_certfile=None if certificate is None else certificate[0],
        ssl_keyfile=None if certificate is None else certificate[1],
    )
    return uvicorn.Server(config), f"{url}{PATH}"


def own_names(host: str) -> list[str]:
    """The host names under which the MCP server may be addressed: first `host` itself, unless it stands for all
    addresses.
    """
    hosts = [] if host in ("0.0.0.0", "::") else [f"[{host}]" if ":" in host else host.lower()]
    machine_names = ["127.0.0.1", "localhost", "[::1]"]
    if not is_loopback(host):
        machine_names = [socket.gethostname().lower(), socket.getfqdn().lower(), *machine_names]
    return list(dict.fromkeys([*hosts, *machine_names]))
