"""GET /api/v1/alerts/active and POST /api/v1/alerts/{incident}/acknowledge: incidents, from the store."""

import asyncio
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from quantd.adapters.store.incidents.incident_fold import Incident, acknowledged
from quantd.daemon.engine.safety.monitor import limit_values
from quantd.daemon.engine.state import State
from quantd.daemon.views.struct_fields import struct_of
from quantd.server.api.commits import committed
from quantd.server.api.documents import Query
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Post, Read
from quantd.server.api.run_reader import RunReader
from quantd.server.requests.acknowledgement import acknowledgement
from quantd.server.requests.control import Because, NotDone, check_agent, seat_of
from quantd.trading.display_text import instant_text


class OfAgent(Query, frozen=True):
    """The incidents of one agent."""

    agent: Annotated[str, Meta(max_length=64, description="An agent; everything without it.")] = ""


class ActiveIncident(Struct, frozen=True):
    """One incident that is not cleared yet.

    `value` is the value in its newest alert. `now` is the present value of a house limit, null for other incidents.
    """

    id: str
    level: str
    kind: str
    agent: str
    symbol: str
    text: str
    value: float | None
    bound: float | None
    now: float | None
    since_ts: int
    since: str
    state: str
    raised: int
    reminded: int
    acknowledged_by: str
    acknowledged: str
    reason: str


class ActiveIncidents(Struct, frozen=True):
    """Incidents that are not cleared, oldest first."""

    run: str
    incidents: list[ActiveIncident]


class Seen(Struct, frozen=True, forbid_unknown_fields=True):
    """An acknowledgement."""

    reason: Because


class AlertRoutes:
    """Handlers of the list of incidents, and of their acknowledgement."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._turn = asyncio.Lock()

    async def active(self, request: web.Request, query: OfAgent) -> ActiveIncidents:
        """The active incidents of the run or of one agent."""
        service = self._run.service
        seat = seat_of(service.shell.state, query.agent)
        check_agent(service, seat)
        rows = await self._run.read(lambda reader: reader.incidents())
        incidents = [incident for incident in rows if incident.active and seat in ("", incident.agent)]
        return ActiveIncidents(service.run, [self._shown(incident, service.shell.state) for incident in incidents])

    async def acknowledge(self, seen: Seen, sender: str, incident: str) -> ActiveIncident:
        """Acknowledge an incident; the answer follows the commit. Raises Refused, NotDone and InboxFull."""
        async with self._turn:  # of two simultaneous requests the second is refused, as acknowledged already
            return await self._acknowledge(seen, sender, incident)

    async def _acknowledge(self, seen: Seen, sender: str, incident: str) -> ActiveIncident:
        """Journal an acknowledgement. Raises NotDone for an unknown, a cleared or an acknowledged incident."""
        service = self._run.service
        stored = None
        if service.incidents.find(incident) is None:
            stored = await asyncio.to_thread(service.store.incident, service.run, incident)
        if stored is not None:
            raise NotDone("cleared", f"incident {incident} is cleared already, and needs no acknowledgement")
        event = acknowledgement(service, incident, seen.reason, sender)
        before = service.incidents.find(incident)
        # the incident as the event makes it
        assert before is not None
        after = acknowledged(before, event)
        return (await committed(service, lambda state, _: self._shown(after, state), event)).answer

    def _shown(self, incident: Incident, state: State) -> ActiveIncident:
        """The incident as the API sends it, with the present value if it is about a limit of the whole account."""
        i = incident
        limits = limit_values(state) if i.kind.startswith("limit_") and not i.agent else {}
        limit = limits.get(i.kind.removeprefix("limit_"))  # (value, bound), or None
        return struct_of(
            ActiveIncident,
            i,
            now=None if limit is None or limit[0] != limit[0] else limit[0],  # NaN, unequal to itself, becomes null
            since=instant_text(i.since_ts),
            acknowledged_by=i.who,
            acknowledged=instant_text(i.acknowledged_ts),
        )


ROUTES: Final = RouteGroup(
    "alerts",
    120,
    lambda context: AlertRoutes(context.run),
    routes=(
        Read("/api/v1/alerts/active", AlertRoutes.active, "Incidents that hold.", call="active_alerts"),
        Post(
            "/api/v1/alerts/{incident}/acknowledge", AlertRoutes.acknowledge, "Acknowledge an incident.",
            '{"reason": ".."}', call="acknowledge",
        ),
    ),
)  # fmt: skip
