"""The edge (a connection of the daemon) that receives commands over MQTT, if a key for such commands is set."""

from functools import partial
from typing import Final

from quantd.adapters.bus.commands import ANSWERS
from quantd.adapters.bus.publisher import Listen
from quantd.adapters.bus.topics import root
from quantd.daemon.edges.bus_edge import command_topic
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge
from quantd.server.requests.mqtt import MqttCommands


def opened(context: EdgeContext) -> OpenEdge | None:
    """The task that executes commands from the bus; None without a key for them."""
    if not context.key:
        return None
    config, bus = context.config, context.bus
    topic = command_topic(config)
    answer = partial(bus.transient, f"{root(config.bus.prefix, config.quantd.name)}/{ANSWERS}")
    commands = MqttCommands(context.service, context.key, topic, context.folder, answer)
    bus.listen = Listen(topic, commands.received)
    return OpenEdge((EdgeTask("commands over MQTT", commands.run),))


MQTT: Final = Edge("commands over MQTT", 130, opened)
