"""A server of streamable HTTP in front of a run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from quantd.server.cli.operate.gate.gate_server import http_server, listening
from quantd.server.cli.operate.gate.gateway import Gateway

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}


@contextlib.asynccontextmanager
async def served(world: Any, agent: str, files: tuple[Path, Path] | None = None) -> AsyncIterator[str]:
    """The address of a server of streamable HTTP in front of a world."""
    sock = listening("127.0.0.1", 0)
    server, address = http_server(Gateway(world.api.url), agent, sock, "127.0.0.1", files)
    serving = asyncio.ensure_future(server.serve(sockets=[sock]))
    for _ in range(6_000):
        if server.started:
            break
        await asyncio.sleep(0.01)
    try:
        yield address
    finally:
        server.should_exit = True
        await serving
