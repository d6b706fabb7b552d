"""The edge of signals: SIGTERM and SIGINT stop, SIGHUP reads the configuration again."""

import asyncio
from typing import Final

from quantd.daemon.edges.edge_records import Edge, EdgeContext, OpenEdge
from quantd.daemon.monitoring.signals import handle_signals


def opened(context: EdgeContext) -> OpenEdge:
    """Open the edge (service beside the loop) of signals: their handlers are set once earlier edges have begun."""

    def begin(tasks: asyncio.TaskGroup) -> None:
        handle_signals(context.service, context.parts, context.read, tasks)

    return OpenEdge(begin=begin)


SIGNALS: Final = Edge("signals", 140, opened)
