"""Metadata of the MCP server as a protected resource (RFC 9728): which tokens a client needs.

A client that finds no token asks for this document by the address in `WWW-Authenticate`. There is no authorization
server: `quantd token create` makes the tokens, and a person gives them to the client.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from quantd.server.cli.operate.gate.sessions import Message, Receive, Send, Server, header

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"

TOKENS: Final = "bearer tokens of `quantd token create`; there is no authorization server"


class ResourceMetadata:
    """Serves the metadata of an MCP server at `path`, and names its address in each answer 401."""

    def __init__(self, server: Server, scheme: str, names: Sequence[str], path: str) -> None:
        """`names` are HOST:PORT of the server, the first where a client names another."""
        self._server, self._scheme, self._names, self._path = server, scheme, names, path

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._server(scope, receive, send)
            return
        named = header(scope["headers"], b"host").decode("latin-1").lower()
        origin = f"{self._scheme}://{named if named in self._names else self._names[0]}"
        if scope["method"] == "GET" and scope["path"] in (WELL_KNOWN, WELL_KNOWN + self._path):
            document = {
                "resource": origin + self._path, "bearer_methods_supported": ["header"], "resource_name": "quantd",
                "quantd_tokens": TOKENS,
            }  # fmt: skip
            head = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": msgspec.json.encode(document)})
            return
        metadata = f"{origin}{WELL_KNOWN}{self._path}"
        challenge = f'Bearer error="invalid_token", error_description="{TOKENS}", resource_metadata="{metadata}"'

        async def challenging(message: Message) -> None:
            if message.get("status") == 401:
                rest = [pair for pair in message["headers"] if pair[0].lower() != b"www-authenticate"]
                message = {**message, "headers": [*rest, (b"www-authenticate", challenge.encode())]}
            await send(message)

        await self._server(scope, receive, challenging)
