"""The edge of the API: its server answers before the first step, and is closed after the last one."""

from typing import Final

from quantd.daemon.edges.edge_records import Edge, EdgeContext, OpenEdge
from quantd.server.api.server import Api


def opened(context: EdgeContext) -> OpenEdge:
    """Make the server of a service; it listens from before the daemon's first step until after its last one."""
    api = context.page = Api(
        context.service, context.parts, context.config, context.folder, context.bus, context.bus_url, context.jobs
    )

    async def start() -> None:
        await api.start()
        context.began(api.link)

    return OpenEdge(start=start, close=api.stop)


API: Final = Edge("api", 30, opened)
