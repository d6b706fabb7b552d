"""Receivers of alerts beside the bus: sinks, reminders of incidents, and the dead man's switch."""

import time
from typing import Final

from quantd.adapters.bus.messages import GROUPS
from quantd.adapters.sinks.sink import selection_of
from quantd.daemon.assembly.sinks import open_sinks
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge, Until
from quantd.daemon.jobs.alert_delivery import Delivery, GroupTopic
from quantd.daemon.jobs.dead_man import DeadMansSwitch
from quantd.daemon.jobs.reminders import Reminders


def deliveries(context: EdgeContext) -> OpenEdge:
    """Return the tasks that deliver alerts: one for each sink of [alerts.sinks], and one for the topic of alert
    groups."""
    service, composer, alerts = context.service, context.composer, context.config.alerts
    group_s = alerts.group_ns / 1e9
    context.deliveries.extend(
        Delivery(service, composer, kind, sink, selection_of(alerts.sinks[kind]), group_s=group_s)
        for kind, sink in open_sinks(context.config).items()
    )
    if alerts.group_ns:
        topic = GroupTopic(service, composer, context.outbox, context.bus.wake)
        context.deliveries.append(Delivery(service, composer, GROUPS, topic, group_s=group_s))
    for kind in alerts.escalate[1:]:  # these get a CRITICAL incident only by escalation
        service.sinks[kind].later = True

    async def close() -> None:
        for delivery in context.deliveries:
            await delivery.close()

    tasks = [EdgeTask(f"alerts to {delivery.kind}", delivery.run, Until.DELIVERED) for delivery in context.deliveries]
    return OpenEdge(tasks, close=close)


def reminders(context: EdgeContext) -> OpenEdge | None:
    """Open the reminders of incidents; None for a replay at full speed, in which no person can answer."""
    service, live = context.service, context.parts.live
    if not live and context.config.feed.pace == "fast":
        return None
    reminding = Reminders(service, time.time_ns if live else lambda: service.shell.state.now)
    return OpenEdge((EdgeTask("reminders", reminding.run),))


def dead_man(context: EdgeContext) -> OpenEdge | None:
    """Return the dead man's switch of [alerts] dead_man, which sends heartbeats to a receiver; None without one."""
    table = context.config.alerts.dead_man
    if table is None:
        return None
    switch = DeadMansSwitch(context.service, table.url, table.every_ns / 1e9)
    return OpenEdge((EdgeTask("dead man's switch", switch.run),))


DELIVERIES: Final = Edge("deliveries", 40, deliveries)
REMINDERS: Final = Edge("reminders", 100, reminders)
DEAD_MAN: Final = Edge("dead man's switch", 110, dead_man)
