"""Readiness: once the account is reconciled, bus, Home Assistant and systemd are told."""

from typing import Final

from quantd.adapters.bus.home_assistant import discovery
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge
from quantd.daemon.monitoring import systemd
from quantd.daemon.runtime.version import VERSION


def opened(context: EdgeContext) -> OpenEdge:
    """Open the edge that reports readiness, and the beginning of a stop."""

    async def ready() -> None:
        await context.ready.wait()
        config, publisher = context.config, context.bus
        name, bus = config.quantd.name, config.bus
        publisher.status(context.status("online", ""))
        if bus.home_assistant:
            currency, grouped = context.parts.universe.currency, config.alerts.group_ns > 0
            publisher.retain(*discovery(bus.home_assistant, bus.prefix, name, VERSION, currency, grouped=grouped))
        systemd.ready(f"{name} · run {context.service.run}")

    async def stopping() -> None:
        systemd.stopping()

    return OpenEdge((EdgeTask("ready", ready, restarted=False),), stopping=stopping)


READY: Final = Edge("ready", 150, opened)
