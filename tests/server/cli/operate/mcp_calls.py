"""Calls of the tools of an MCP server."""

import json
from typing import Any

from mcp import Client

WEIGHTS = {"SPY": 0.4, "IWM": 0.3}


async def call(client: Client, name: str, **given: Any) -> tuple[bool, Any]:
    """(whether it worked, its document, or the text of its error)."""
    reply = await client.call_tool(name, given)
    text = "".join(getattr(block, "text", "") for block in reply.content)
    return (False, text) if reply.is_error else (True, reply.structured_content or json.loads(text))
