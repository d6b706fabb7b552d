"""The market: the feeder of a recorded market, or the live feed and the venue."""

from typing import Final

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge
from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.timeline import instants


def opened(context: EdgeContext) -> OpenEdge | None:
    """Open the edge of the market: the recorded feed, or live feed and venue; None for a run without a market.

    An edge is a service around the trading loop. `context.ready` is set after the first comparison with the venue.
    """
    service, parts, feed, outside = context.service, context.parts, context.config.feed, context.outside
    if isinstance(parts, Assembly):
        task = EdgeTask(
            "feed",
            lambda: feed_recorded(service, instants(parts.items(), service.shell.ts), feed.pace, feed.at_end),
            restarted=False,
        )
        # a recorded market has no account to reconcile: the run is ready at once
        return OpenEdge((task,), begin=lambda tasks: context.ready.set())
    if outside is None:
        return None

    async def stopping() -> None:
        if context.config.quantd.on_stop == "cancel":
            await outside.flush()  # wait for committed requests, the cancels among them

    return OpenEdge(
        (EdgeTask("outside", lambda: outside.run(service, context.ready), restarted=False),), stopping=stopping
    )


MARKET: Final = Edge("market", 120, opened)
