"""An outside agent as an MCP client: it starts `quantd mcp`, reads its standing, previews weights and proposes them.

    .venv/bin/pip install -c constraints.txt -e '.[mcp]'
    quantd run --config examples/external.toml
    quantd token create robot --scope propose --agent guest --config examples/external.toml > robot.token
    python examples/agents/mcp_client.py --agent guest --token-file robot.token --config examples/external.toml

The arguments are those of `quantd mcp`. A language model takes the place of `decide`: it reads the standing as text.
"""

import asyncio
import json
import sys
from typing import Any

from mcp import Client, MCPError, StdioServerParameters


async def call(client: Client, tool: str, **given: Any) -> dict[str, Any]:
    """The document of a tool. Ends the program with the text of a refusal."""
    answer = await client.call_tool(tool, given)
    text = "".join(getattr(block, "text", "") for block in answer.content)
    if answer.is_error:
        sys.exit(f"{tool}: {text}")
    return dict(json.loads(text))


def decide(standing: dict[str, Any]) -> dict[str, float]:
    """Equal weights, half of the book, of the symbols that may still be bought."""
    columns, *rows = standing["room"]  # the first row of a table has the names of its columns
    may = [room["symbol"] for room in (dict(zip(columns, row, strict=True)) for row in rows) if room["buy"] != "0"]
    return {symbol: round(0.5 / len(may), 4) for symbol in may}


async def main(arguments: list[str]) -> None:
    command = ["-m", "quantd.daemon.cli", "mcp", *arguments]
    async with Client(StdioServerParameters(command=sys.executable, args=command)) as client:
        standing = await call(client, "standing")
        weights = decide(standing)
        shown = await call(client, "preview", weights=weights)
        print("preview:", shown["verdict"]["text"])  # noqa: T201
        # an id has one verdict: the time of the market names the decision
        proposal = await call(
            client, "propose", weights=weights, id=standing["time"], reason="equal weights", plan=shown["plan"]
        )
        print(f"{proposal['verdict']['outcome']}: {proposal['verdict']['text']}")  # noqa: T201


try:
    asyncio.run(main(sys.argv[1:]))
except BaseExceptionGroup as group:
    if group.subgroup(MCPError) is None:
        raise
    sys.exit("quantd mcp has ended: the line above says why")
