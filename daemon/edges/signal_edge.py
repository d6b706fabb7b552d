"""The edge of signals: SIGTERM and SIGINT stop, SIGHUP reads the configuration again."""

import asyncio
from contextlib import suppress
from typing import Final

from quantd.daemon.edges.edge_records import Edge, EdgeContext, OpenEdge
from quantd.daemon.monitoring.signals import REPORT, handle_signals
from quantd.regular_file import remove


def opened(context: EdgeContext) -> OpenEdge:
    """Open the edge (service beside the loop) of signals: their handlers are set once earlier edges have begun."""

    def begin(tasks: asyncio.TaskGroup) -> None:
        handle_signals(context.service, context.parts, context.read, tasks, context.folder)

    async def close() -> None:
        with suppress(OSError):
            remove(context.folder / REPORT)

    return OpenEdge(begin=begin, close=close)


SIGNALS: Final = Edge("signals", 140, opened)
