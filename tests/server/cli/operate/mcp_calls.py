"""Calls of the tools of an MCP server."""

import json
from typing import Any

from mcp import Client

WEIGHTS = {"SPY": 0.4, "IWM": 0.3}


async def call(client: Client, name: str, **given: Any) -> tuple[bool, Any]:
    """(whether it worked, its document, or the text of its error)."""
    result = await client.call_tool(name, given)
    text = "".join(getattr(block, "text", "") for block in result.content)
    return (False, text) if result.is_error else (True, result.structured_content or json.loads(text))
