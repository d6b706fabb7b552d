"""Watches over the process and its run: the HALT file, conditions of trading, the heartbeat, the watchdog and the log
of risk."""

from typing import Final

from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge
from quantd.daemon.monitoring.alarms import alarms
from quantd.daemon.monitoring.heartbeat import heartbeat, monitoring, watchdog
from quantd.daemon.monitoring.watchdog import watch, watch_halt_file


def halt_file(context: EdgeContext) -> OpenEdge:
    """Return the watch for the HALT file. It begins before the feed, so that an existing file applies to the first
    bar."""
    return OpenEdge((EdgeTask("halt file", lambda: watch_halt_file(context.service), restarted=False),))


def conditions(context: EdgeContext) -> OpenEdge:
    """Open the watch for failed conditions of the machine and of the feed, such as a wrong clock."""
    return OpenEdge((EdgeTask("watch", lambda: watch(context.service, context.parts), restarted=False),))


def heart(context: EdgeContext) -> OpenEdge:
    """Open the edge, a service that publishes a heartbeat on the MQTT bus."""
    return OpenEdge((EdgeTask("heartbeat", lambda: heartbeat(context.service, context.bus, context.composer)),))


def dog(context: EdgeContext) -> OpenEdge:
    """Open the edge, a service that notifies systemd's watchdog, or the sentry process, that the loop runs."""
    return OpenEdge((EdgeTask("watchdog", lambda: watchdog(context.service), restarted=False),))


def monitor(context: EdgeContext) -> OpenEdge:
    """Open the edge, a service that logs the risk of the whole account, and one that looks at the alarms."""
    interval_s = context.config.risk.monitor_interval_ns / 1e9
    return OpenEdge(
        (
            EdgeTask("monitor", lambda: monitoring(context.service, interval_s)),
            EdgeTask("alarms", lambda: alarms(context.service)),
        )
    )


HALT_FILE: Final = Edge("halt file", 50, halt_file)
CONDITIONS: Final = Edge("conditions", 60, conditions)
HEARTBEAT: Final = Edge("heartbeat", 70, heart)
WATCHDOG: Final = Edge("watchdog", 80, dog)
MONITOR: Final = Edge("monitor", 90, monitor)
