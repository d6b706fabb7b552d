"""Reminders and escalations of incidents that nobody has acknowledged, as events of the journal."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from quantd.adapters.store.incidents.incident_fold import Incident
from quantd.daemon.config.risk_tables import Alerts
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service
from quantd.trading.events import Reminded


def due(incidents: Sequence[Incident], alerts: Alerts, now_ns: int) -> list[Reminded]:
    """The reminders that are due, at most one of each incident.

    An escalation sends a CRITICAL incident to the next sink of `alerts.escalate` after each `escalate_after_ns`; the
    first sink had it at the start. A reminder to everyone comes first after `alerts.remind_ns`, and the wait doubles
    each time: with 1 h they come 1 h, 3 h and 7 h after the start. `incident.sinks` has the sinks of the escalations so
    far, `incident.reminded` the number of reminders of both kinds.
    """
    reminders = []
    for incident in incidents:
        if incident.state not in ("raised", "reminded"):
            continue
        age = now_ns - incident.since_ts
        escalated = len(incident.sinks)
        next_sinks = alerts.escalate[1:][escalated:] if incident.level == "CRITICAL" else ()
        if next_sinks and age >= (escalated + 1) * alerts.escalate_after_ns:
            # 0: the caller sets the instant
            reminders.append(Reminded(0, incident.id, next_sinks[0]))
        elif alerts.remind_ns and age >= alerts.remind_ns * (2 ** (incident.reminded - escalated + 1) - 1):
            reminders.append(Reminded(0, incident.id))
    return reminders


class Reminders:
    """Puts the due reminders of one service into its inbox. `now` is the clock of the market, ns UTC."""

    def __init__(self, service: Service, now: Callable[[], int]) -> None:
        self._service = service
        self._now = now
        self._asked: dict[str, tuple[int, int]] = {}
        """Incident -> its (count of openings, count of reminders) when its newest reminder was queued.

        It prevents a second reminder while the first is not committed yet.
        """

    async def run(self) -> None:
        """Send reminders of incidents until the service has stopped."""
        while not self._service.over:
            await self._service.changed(0.5)
            self.once()

    def once(self) -> None:
        """Put the reminders of incidents that are due now into the inbox."""
        service = self._service
        active = {incident.id: incident for incident in service.incidents.active()}
        self._asked = {id: asked for id, asked in self._asked.items() if id in active}
        for event in due(list(active.values()), service.config.alerts, self._now()):
            incident = active[event.incident]
            stage = incident.raised, incident.reminded
            if self._asked.get(incident.id) == stage or service.over:
                continue
            with suppress(InboxFull):
                ts = max(service.shell.state.now, service.shell.ts)
                service.inbox.command(Reminded(ts, event.incident, event.sink))
                self._asked[incident.id] = stage
