"""The server of a run: HTTP API and page, Python client, requests of operators and agents, MQTT commands, MCP."""
