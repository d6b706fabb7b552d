"""The terminal: shows the run in the foreground, unless the run is quiet."""

from typing import Final

from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge
from quantd.daemon.monitoring.terminal import watch


def opened(context: EdgeContext) -> OpenEdge | None:
    """Open the edge, a service that shows the run on the terminal; None for a quiet run."""
    if context.quiet:
        return None

    async def show() -> None:
        page = context.page
        # without a page both are empty: str() is ""
        url, link = ("", str) if page is None else (page.url, page.link)
        await watch(context.service, context.parts, context.config, url, context.bus_url, context.folder, link)

    return OpenEdge((EdgeTask("terminal", show),))


TERMINAL: Final = Edge("terminal", 160, opened)
