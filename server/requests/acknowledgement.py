"""Acknowledges an incident: an operator says, with a reason, that it was seen. API, command line and bus use it."""

from quantd.daemon.runtime.service import Service
from quantd.server.requests.control import NotDone, check_ready, one_line
from quantd.trading.events import Acknowledged


def acknowledgement(service: Service, incident: str, reason: str, who: str) -> Acknowledged:
    """Return the event of an acknowledgement.

    Raises NotDone without a reason, and for an unknown, a cleared or an acknowledged incident.
    """
    check_ready(service)
    reason_line = one_line(reason)
    if not reason_line:
        raise NotDone("reason", 'the acknowledgement has no reason for the journal; add --reason "…"')
    record = service.incidents.find(incident)
    if record is None:
        shown = incident[:80]
        raise NotDone("incident", f"there is no incident {shown!r}; `quantd alerts --active` lists the active ones")
    if not record.active:
        raise NotDone("cleared", f"incident {incident} is cleared already, and needs no acknowledgement")
    if record.state == "acknowledged":
        raise NotDone("cleared", f"incident {incident} is acknowledged already, by {record.who}: {record.reason}")
    return Acknowledged(max(service.shell.state.now, service.shell.ts), incident, reason_line, who)
