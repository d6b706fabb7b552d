"""The HTTP API as an edge, a service around the trading loop: its server opens before the engine's first step and
closes after its last."""

from typing import Final

from quantd.daemon.edges.edge_records import Edge, EdgeContext, OpenEdge
from quantd.server.api.server import Api


def opened(context: EdgeContext) -> OpenEdge:
    """Make the HTTP server of a service; it listens from before the engine's first step until after its last one."""
    api = context.page = Api(
        context.service, context.parts, context.config, context.folder, context.bus, context.bus_url, context.jobs
    )

    async def start() -> None:
        await api.start()
        context.began(api.link)

    return OpenEdge(start=start, close=api.stop)


API: Final = Edge("api", 30, opened)
