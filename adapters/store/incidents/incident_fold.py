"""Incidents as a pure function of journal entries: raised, reminded, acknowledged, cleared. No clock, no I/O.

The same entries give the same incidents, so that a replay, a restart and a running daemon agree. An incident is
identified by kind, agent and symbol. Its id is that of the alert that first opened it.

    raised -> reminded (any number) -> acknowledged -> cleared -> raised (again, within calm_ns of its kind)
"""

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from quantd.adapters.store.incidents.alert_kinds import AlertKind, Clears, kind_of
from quantd.trading.display_text import microsecond_text
from quantd.trading.effects import Level, LimitMoved, Publish, Switched
from quantd.trading.events import Acknowledged, Correction, Decided, Reconciled, Reminded

IncidentState = Literal["raised", "reminded", "acknowledged", "cleared"]

LEVELS: Final[tuple[Level, ...]] = ("INFO", "INFO", "WARNING", "CRITICAL")
"""Level of an alert by the level of a limit, 0 (none) to 3. INFO opens no incident."""

Key = tuple[str, str, str]
"""Kind, agent ("" for the house) and symbol ("" for none)."""


class Incident(Struct, frozen=True):
    """One incident after its latest change.

    `text`, `value` and `bound` come from the alert that last raised the incident. `since_ts` is the instant of the
    alert that opened it, or opened it again. `raised` counts openings, and `reminded` the reminders of the present
    opening. `who`, `reason` and `acknowledged_ts` belong to the acknowledgement. `sinks` are the receivers of
    escalations. `told` says whether an alert announced the opening; a limit can change its level without an alert.
    `worst` is the highest level of all openings. `paced` counts openings and rises of the level since `worst` was first
    reached.
    """

    id: str
    kind: str
    agent: str
    symbol: str
    level: Level
    text: str
    value: float | None
    bound: float | None
    since_ts: int
    ts: int
    state: IncidentState = "raised"
    raised: int = 1
    reminded: int = 0
    who: str = ""
    reason: str = ""
    acknowledged_ts: int = 0
    sinks: tuple[str, ...] = ()
    told: bool = True
    worst: Level = "INFO"
    paced: int = 1

    @property
    def key(self) -> Key:
        """Kind, agent and symbol, which identify the incident: at most one with the same key is active."""
        return self.kind, self.agent, self.symbol

    @property
    def active(self) -> bool:
        """Whether the incident is not cleared."""
        return self.state != "cleared"

    @property
    def announced(self) -> bool:
        """Whether messages are sent about this opening: if an incident opens again and again, about the 1st, 2nd,
        4th, 8th, ..."""
        # the second term holds for powers of two
        return self.told and self.paced & (self.paced - 1) == 0


class Route(Struct, frozen=True):
    """What decides on the delivery of a message: the incident that the message is about, and the incident's state.

    `level` is the level of the incident, also for the message of its end, so that whoever received the start receives
    the end. `sinks` are receivers of escalations; with `only`, nobody else receives the message. A `held` message is
    not sent.
    """

    level: str
    incident: str = ""
    state: IncidentState | Literal[""] = ""
    sinks: tuple[str, ...] = ()
    only: bool = False
    held: bool = False


class Notice(Struct, frozen=True):
    """A message about a change of an incident, where no alert of the engine reports the change."""

    ts: int
    level: Level
    text: str
    incident: Incident
    route: Route


class Changes(Struct):
    """The changes by one journal entry: the changed incidents, the route (receivers) of each alert by the index of its
    effect, and further messages."""

    incidents: list[Incident]
    routes: dict[int, Route]
    notices: list[Notice]


NO_CHANGES: Final = Changes([], {}, [])


class Incidents:
    """The incidents of one run, computed from its journal entries: call `add` once for each entry, in order.

    `incidents` are those that the store has from earlier entries.
    """

    def __init__(self, incidents: Iterable[Incident] = ()) -> None:
        self._newest: dict[Key, Incident] = {incident.key: incident for incident in incidents}
        self.ids: dict[str, Key] = {incident.id: incident.key for incident in self._newest.values()}
        """Id -> key, for the newest incident of each key."""

    def active(self) -> list[Incident]:
        """Return the incidents that are not cleared, oldest first."""
        return sorted(
            (incident for incident in self._newest.values() if incident.active), key=lambda incident: incident.since_ts
        )

    def all(self) -> list[Incident]:
        """Return the newest incident of each key (kind, agent and symbol)."""
        return list(self._newest.values())

    def find(self, id: str) -> Incident | None:
        """Return the incident with this id, if it is the newest of its key (kind, agent and symbol); else None."""
        key = self.ids.get(id)
        return None if key is None else self._newest[key]

    def add(
        self, event: object, effects: Sequence[object], name_of: Callable[[int], str], message_id: Callable[[int], str]
    ) -> Changes:
        """Apply one journal entry to the incidents.

        `name_of` returns the name of an agent by index, `message_id` the id of an alert by the index of its effect in
        the entry.

        An incident is a condition with a start and an end, such as a breached limit; an alert opens, changes or ends
        it. The result has the changed incidents, the routes of alerts (who receives them) and further messages.
        """
        kind = type(event)
        if _EFFECTS.isdisjoint(map(type, effects)):
            if kind not in EVENTS:
                return NO_CHANGES
            if kind is Decided and not self._is_active(name_of(event.agent)):  # type: ignore[attr-defined]
                return NO_CHANGES
        step = _Step(self, name_of, message_id)
        # An entry with an alert of a kind has changed the incident by that alert; its event then changes nothing.
        published = False
        for k, effect in enumerate(effects):
            match effect:
                case Publish():
                    published = True
                    step.publish(k, effect)
                case LimitMoved():
                    step.move_limits(k, effect)
                case Switched() if effect.after == 0:  # RUN
                    step.clear("switch", name_of(effect.agent) if effect.agent >= 0 else "", effect.ts, AT_RUN)
        match event:
            case Decided() if not event.failed and not (published and step.has("policy")):
                step.clear("policy", name_of(event.agent), 0)  # no time: the incident ends at its last change
            case Reconciled() | Correction() if not (published and step.has("reconciliation")):
                step.clear("reconciliation", "", event.ts)  # "": of the whole account
            case Acknowledged():
                step.acknowledge(event)
            case Reminded():
                step.remind(event)
        return step.changes

    def _is_active(self, agent: str) -> bool:
        incident = self._newest.get(("policy", agent, ""))
        return incident is not None and incident.active

    def put(self, incident: Incident) -> None:
        """Store the newest state of an incident; an earlier incident with the same key is no longer found by its id."""
        previous = self._newest.get(incident.key)
        if previous is not None and previous.id != incident.id:
            self.ids.pop(previous.id, None)
        self._newest[incident.key] = incident
        self.ids[incident.id] = incident.key

    def at(self, key: Key) -> Incident | None:
        """Return the newest incident of a key (kind, agent and symbol), cleared or not; None without one."""
        return self._newest.get(key)


EVENTS: Final = frozenset({Acknowledged, Reminded, Reconciled, Correction, Decided})
"""Events that may change incidents without an effect."""

AT_RUN: Final = "the switch is at RUN again, after "

_EFFECTS: Final = frozenset({Publish, LimitMoved, Switched})
"""Effects that may change incidents."""


class _Step:
    """Applies one journal entry to the incidents, and collects the changes."""

    def __init__(self, incidents: Incidents, name_of: Callable[[int], str], message_id: Callable[[int], str]) -> None:
        self._incidents = incidents
        self._name_of = name_of
        self._message_id = message_id
        self._kinds: set[str] = set()
        self.changes = Changes([], {}, [])

    def has(self, kind: str) -> bool:
        """Whether the journal entry has an alert of this kind."""
        return kind in self._kinds

    def publish(self, k: int, alert: Publish) -> None:
        """Apply an alert: it opens, changes or ends an incident, or is a one-off event.

        `k` is the index of the effect in its entry. An incident is identified by kind, agent and symbol. `kind.opens`
        are the levels that open it, and `kind.clears` says what ends it: a level, an alert or a person.
        """
        self._kinds.add(alert.kind)
        kind = kind_of(alert.kind, alert.symbol)
        if kind is None or not kind.opens:
            return
        if kind.clears == "level":  # the LimitMoved effect in front of the alert has changed the incident
            incident = self._incidents.at((alert.kind, alert.agent, ""))
            if incident is not None and incident.active and incident.ts == alert.ts:
                self.changes.routes[k] = _route(incident)
            return
        key = alert.kind, alert.agent, alert.symbol
        if alert.level in kind.opens:
            incident = self._raise(kind, key, alert, self._message_id(k))
            self.changes.routes[k] = _route(incident)
        elif _ENDS.get(kind.clears) == alert.level:
            cleared = self._end(key, alert.ts)
            if cleared is not None:
                self.changes.routes[k] = _route(cleared)

    def move_limits(self, k: int, moved: LimitMoved) -> None:
        """Open, change and end the incidents of risk limits by the limits' new levels.

        A level below CRITICAL opens an incident only if an alert reports it: some limits are meant to be used in full.

        `k` is the index of the effect in its entry. A move is (agent, limit, level before, level after, value, bound,
        whether an alert reports it); the agent is -1 for the whole account.
        """
        for row, (agent, name, _, after, value, bound, has_alert) in enumerate(moved.moves):
            kind = kind_of(f"limit_{name}")
            assert kind is not None
            key = f"limit_{name}", self._name_of(agent) if agent >= 0 else "", ""
            previous = self._incidents.at(key)
            level = LEVELS[after]
            active = previous is not None and previous.active
            if level in kind.opens and (has_alert or active or level == "CRITICAL"):
                text = f"{name} is at {value:.6g}, its bound is {bound:.6g}"
                # "": of no symbol
                alert = Publish(moved.ts, level, key[0], text, "", key[1], _finite(value), _finite(bound))
                self._raise(kind, key, alert, f"{self._message_id(k)}-{row}", has_alert)
            elif active and level not in kind.opens:
                self._clear(key, moved.ts)

    def clear(self, kind: str, agent: str, ts: int, words: str = "") -> None:
        """End the active incident of a kind and agent, and add a message about it; `words` say what is now."""
        self._clear((kind, agent, ""), ts, words)

    def acknowledge(self, event: Acknowledged) -> None:
        """Record who acknowledged an incident. The acknowledgement clears an incident that only a person can end."""
        incident = self._incidents.find(event.incident)
        if incident is None or incident.state not in ("raised", "reminded"):
            return
        self._put(updated := acknowledged(incident, event))
        self._notice(updated, f"acknowledged by {event.who}: {event.reason} ({incident.text})")

    def remind(self, event: Reminded) -> None:
        """Send a reminder of an incident that is not acknowledged: to all receivers, or only to `event.sink` if it
        is set.

        `since_ts` is the start of the incident (ns UTC).
        """
        incident = self._incidents.find(event.incident)
        if incident is None or incident.state not in ("raised", "reminded"):
            return
        sinks = (*incident.sinks, event.sink) if event.sink and event.sink not in incident.sinks else incident.sinks
        reminded = replace(incident, state="reminded", reminded=incident.reminded + 1, sinks=sinks, ts=event.ts)
        self._put(reminded)
        since = microsecond_text(incident.since_ts)[:19]
        route = replace(_route(reminded), held=False)  # a reminder is sent even if the opening was not announced
        if event.sink:
            route = replace(route, sinks=(event.sink,), only=True)
        text = f"not acknowledged since {since}: {incident.text}"
        self.changes.notices.append(Notice(event.ts, reminded.level, text, reminded, route))

    def _raise(self, kind: AlertKind, key: Key, alert: Publish, id: str, has_alert: bool = True) -> Incident:
        """Open an incident, change the active one, or reopen one that ended at most `calm_ns` ago.

        `has_alert` says whether an alert reports this state of the incident.

        If an incident opens again and again, messages are sent about its 1st, 2nd, 4th, 8th, ... opening only.
        """
        previous = self._incidents.at(key)
        incident = Incident(
            id,
            *key,
            alert.level,
            alert.text,
            _finite(alert.value),
            _finite(alert.bound),
            alert.ts,
            alert.ts,
            told=has_alert,
            worst=alert.level,
        )
        if previous is not None and previous.active:
            worse = _is_above(alert.level, previous.level)
            fields = {
                "level": incident.level,
                "text": incident.text,
                "value": incident.value,
                "bound": incident.bound,
                "ts": incident.ts,
            }
            incident = replace(previous, **fields, told=has_alert or previous.told)
            if worse:
                incident = _paced(incident, previous)
            if worse and previous.state == "acknowledged":  # it was acknowledged at its lower level
                incident = replace(incident, state="raised", who="", reason="", acknowledged_ts=0)
        elif previous is not None and kind.calm_ns and alert.ts - previous.ts <= kind.calm_ns:
            incident = _paced(replace(incident, id=previous.id, raised=previous.raised + 1), previous)
        self._put(incident)
        return incident

    def _end(self, key: Key, ts: int) -> Incident | None:
        """Clear the active incident of a key (kind, agent and symbol) and return it; None without one."""
        previous = self._incidents.at(key)
        if previous is None or not previous.active:
            return None
        self._put(cleared := replace(previous, state="cleared", ts=max(ts, previous.ts)))
        return cleared

    def _clear(self, key: Key, ts: int, words: str = "") -> None:
        """End an incident with a message, which is sent only if the opening was announced; `words` say what is now."""
        if (cleared := self._end(key, ts)) is not None:
            self._notice(cleared, f"cleared: {words}{cleared.text}")

    def _put(self, incident: Incident) -> None:
        self._incidents.put(incident)
        self.changes.incidents.append(incident)

    def _notice(self, incident: Incident, text: str) -> None:
        self.changes.notices.append(Notice(incident.ts, "INFO", text, incident, _route(incident)))


def acknowledged(incident: Incident, event: Acknowledged) -> Incident:
    """Return an incident after its acknowledgement. An incident that only a person can end is then cleared."""
    kind = kind_of(incident.kind, incident.symbol)
    ends = kind is not None and kind.clears == "acknowledgement"
    return replace(
        incident,
        state="cleared" if ends else "acknowledged",
        who=event.who,
        reason=event.reason,
        acknowledged_ts=event.ts,
        ts=event.ts,
    )


_ENDS: Final[dict[Clears, Level]] = {"recovery": "INFO", "correction": "WARNING"}
"""What clears a kind -> level of the alert that clears it."""


def _is_above(level: Level, reference: Level) -> bool:
    return LEVELS.index(level) > LEVELS.index(reference)


def _paced(incident: Incident, previous: Incident) -> Incident:
    """Return the incident with its highest level and its count of openings (`worst`, `paced`) continued from
    `previous`.

    A level that is higher than any before restarts the count, so that it is always announced.
    """
    if _is_above(incident.level, previous.worst):
        return replace(incident, worst=incident.level, paced=1)
    return replace(incident, worst=previous.worst, paced=previous.paced + 1)


def _route(incident: Incident) -> Route:
    held = not incident.announced
    return Route(incident.level, incident.id, incident.state, incident.sinks, held=held)


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
