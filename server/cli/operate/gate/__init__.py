"""The MCP server of `quantd mcp`: its tools, its client of the API, and its transports."""
