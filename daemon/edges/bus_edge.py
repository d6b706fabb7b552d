"""The bus: publishes until the last message, which is the status "stopped"."""

from typing import Final

from quantd.adapters.bus.commands import COMMANDS
from quantd.adapters.bus.topics import root
from quantd.daemon.config import Config
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge, Until


def command_topic(config: Config) -> str:
    """Return the MQTT topic of commands for this instance of the daemon."""
    return f"{root(config.bus.prefix, config.quantd.name)}/{COMMANDS}"


def opened(context: EdgeContext) -> OpenEdge:
    """Open the edge (service beside the loop) of the MQTT bus: its task ends by itself after the last message."""
    bus = context.bus

    def last() -> None:
        # called after the deliveries: the groups of alerts are queued before this last message
        bus.stop(context.status("stopped", context.service.shell.stopped))

    return OpenEdge((EdgeTask("bus", bus.run, Until.OVER),), last=last)


BUS: Final = Edge("bus", 10, opened)
