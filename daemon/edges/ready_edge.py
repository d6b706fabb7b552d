"""Readiness: once the account is reconciled (compared with the venue), bus, Home Assistant and systemd are told."""

from typing import Final

from quantd.adapters.bus.home_assistant import discovery
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge
from quantd.daemon.monitoring import systemd
from quantd.daemon.runtime.version import VERSION


def opened(context: EdgeContext) -> OpenEdge:
    """Open the edge, a service that tells bus, Home Assistant and systemd that a run is ready, and systemd that a stop
    begins."""

    async def ready() -> None:
        await context.ready.wait()
        config, publisher = context.config, context.bus
        name, bus_settings = config.quantd.name, config.bus
        publisher.status(context.status("online", ""))
        if bus_settings.home_assistant:
            currency, grouped = context.parts.universe.currency, config.alerts.group_ns > 0
            publisher.retain(
                *discovery(bus_settings.home_assistant, bus_settings.prefix, name, VERSION, currency, grouped=grouped)
            )
        systemd.ready(f"{name} · run {context.service.run}")

    async def stopping() -> None:
        systemd.stopping()

    return OpenEdge((EdgeTask("ready", ready, restarted=False),), stopping=stopping)


READY: Final = Edge("ready", 150, opened)
