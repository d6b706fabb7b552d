"""Calls of the tools of an MCP server."""

import json
from typing import Any

from mcp import Client

AGENT_TOOLS = {
    "standing", "headroom", "preview", "propose", "wait", "proposals", "events", "why", "bars", "calendar", "backtest",
}  # fmt: skip

WEIGHTS = {"SPY": 0.4, "IWM": 0.3}


def read(value: Any) -> Any:
    """A result with each table as a list of records: the first row of a table has the names of its columns."""
    if isinstance(value, dict):
        return {key: read(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        return [dict(zip(value[0], row, strict=True)) for row in value[1:]]
    return value


async def call(client: Client, name: str, **given: Any) -> tuple[bool, Any]:
    """(whether it worked, its document, or the text of its error)."""
    reply = await client.call_tool(name, given)
    text = "".join(getattr(block, "text", "") for block in reply.content)
    return (False, text) if reply.is_error else (True, read(json.loads(text)))
