"""Delivers queued alerts to a sink of [alerts.sinks], at least once and oldest first, beside trading.

An alert that its receiver refuses again and again goes behind the other alerts. It is set aside (dropped with a report)
once the receiver accepts other alerts and still refuses this alert (`alert_refusals`).

What can go wrong: a receiver takes no alert for days, and nobody knows, because the only report waits in its own queue.
A sink that has taken nothing for REPORT_S is therefore reported by an alert, which the other sinks deliver. Its next
delivery ends that report.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog
from msgspec.structs import replace

from quantd.adapters.bus.messages import TEXT_CHARS, Composer
from quantd.adapters.bus.outbox import Lanes
from quantd.adapters.bus.payloads import Alert
from quantd.adapters.pace import back_off_s
from quantd.adapters.sinks.sink import LONGEST_WAIT_S, Counts, OpenSink, Selection, SinkError
from quantd.adapters.store.store_errors import StoreError
from quantd.adapters.store.tables.outbox_bound import Key
from quantd.daemon.jobs.alert_refusals import Refusals, is_refusal
from quantd.daemon.runtime.service import Service, Step, reason_of
from quantd.daemon.views.overview import account_line
from quantd.trading.effects import Publish

EVERY: Final = Selection()
"""Selects every alert."""

Keyed = tuple[Key, Alert]
"""The key of a queued alert, and the alert."""

log = structlog.get_logger("quantd.sinks")

COMMON: Final = ("symbol", "agent", "incident", "state")
"""Fields that the alert of a group has only if all its alerts have the same value."""

WINDOW: Final = 32
"""Number of alerts that are read from the queue at a time."""

FIRST_S: Final = 1.0
"""Longest pause after the first failure; each further failure doubles it."""

POLL_S: Final = 0.05
"""Pause between two checks whether the broker has a message."""

LONGEST_S: Final = 60.0
"""Longest pause between two attempts, unless the receiver requests a longer one."""

REPORT_S: Final = 120.0
"""Time of failures without a delivery after which an alert reports a sink: longer than most restarts of a receiver."""

LAST_S: Final = 3.0
"""Time for the alerts still queued when the service has stopped. Further alerts are delivered after the next start."""

URGENT: Final = 1_000
"""Maximum number of alerts in memory while the store takes none. The store queues further ones once it works again."""


def groups(alerts: Sequence[Keyed]) -> list[list[Keyed]]:
    """Alerts grouped by kind and level; the groups are in the order of their first alerts."""
    by_kind: dict[tuple[str, str], list[Keyed]] = {}
    for keyed in alerts:
        by_kind.setdefault((keyed[1].kind, keyed[1].level), []).append(keyed)
    return list(by_kind.values())


def merged(group: Sequence[Alert]) -> Alert:
    """One alert for a group. Its id is the id of the first alert and the number of the further alerts.

    The merged alert has a symbol, an agent or an incident if all alerts of the group have the same one (the fields of
    COMMON). If the agents differ, its text names the agent of each alert. It has no value and bound of a limit.
    """
    first = group[0]
    if len(group) == 1:
        return first
    cleared_fields = {name: "" for name in COMMON if len({getattr(alert, name) for alert in group}) > 1}
    texts = [f"{alert.agent or 'house'}: {alert.text}" if "agent" in cleared_fields else alert.text for alert in group]
    return replace(
        first,
        id=f"{first.id}+{len(group) - 1}",
        text=f"{len(group)} alerts: {'; '.join(texts)}"[:TEXT_CHARS],
        count=sum(alert.count for alert in group),
        value=None,
        bound=None,
        **cleared_fields,
    )


class GroupTopic:
    """The sink of the MQTT topic alert_groups. An alert counts as delivered once the broker has it."""

    def __init__(self, service: Service, composer: Composer, lanes: Lanes, wake: Callable[[], None]) -> None:
        self._service = service
        self._composer = composer
        self._lanes = lanes
        self._wake = wake

    async def deliver(self, alert: Alert) -> None:
        """Queue the group for the bus, and return once the broker has it, which is checked every POLL_S seconds."""
        message = self._composer.group(alert)
        self._lanes.put(message)
        self._wake()
        while self._lanes.holds(message.id):
            await self._service.changed(POLL_S)

    async def close(self) -> None:
        return None


class Delivery:
    """The deliveries to one sink. An alert leaves the queue of the store once the sink has it.

    The id of an alert is the same at each delivery, so that the receiver can drop duplicates. If `group_s` is not 0,
    the alerts of `group_s` seconds are sent in groups.
    """

    def __init__(
        self,
        service: Service,
        composer: Composer,
        kind: str,
        sink: OpenSink,
        selection: Selection = EVERY,
        *,
        group_s: float = 0.0,
    ) -> None:
        """`kind` names the sink, `selection` the alerts that it gets; `group_s` is 0 where alerts are sent singly."""
        self._service = service
        self._composer = composer
        self.kind = kind
        self.sink = sink
        self._group_s = group_s
        self._critical = False
        """Whether a CRITICAL alert was raised, which ends the collection of a group."""
        self._counts = service.sinks[kind] = Counts(selection=selection, kind=kind)
        self._urgent: dict[str, Alert] = {}
        """Id -> alert that the store does not have yet."""
        self._early: set[str] = set()
        """Ids of urgent alerts that the sink has already: the queue of the store may get them later."""
        self._posted = service.posted
        """Number of alerts that the service had raised at the last commit."""
        self._new = True
        """Whether an attempt is due: alerts were raised or a failure is to be repeated."""
        self._queued = False
        """Whether the queue has grown since its depth was read."""
        self._earliest = 0.0
        """Time of `time.monotonic` before which the receiver wants no further attempt."""
        self._refusals = Refusals()
        self._failed = 0
        """Failures in a row."""
        self._failing_since = 0.0
        """Time of `time.monotonic` of the first failure since the last delivery, 0 without one."""
        self._job = f"sink_{kind}"
        self._reported = any(incident.kind == f"job_{self._job}" for incident in service.incidents.active())
        service.subscribers.append(self._take)  # called with the steps of each commit

    def _take(self, steps: Sequence[Step]) -> None:
        posted = self._service.posted
        raised, self._posted = posted != self._posted, posted
        self._critical = self._critical or any(
            type(effect) is Publish and effect.level == "CRITICAL" for _, effects in steps for effect in effects
        )
        self._new, self._queued = self._new or raised, self._queued or raised

    def urgent(self, alert: Alert) -> None:
        """Deliver an alert from memory, before the store has it, if the sink selects it."""
        if len(self._urgent) < URGENT and self._counts.selection.has(alert.level, alert.kind):
            self._urgent[alert.id] = alert
            self._new = True

    async def run(self) -> None:
        """Deliver until the service has stopped, and then the alerts that are still queued."""
        while True:
            over, self._new = self._service.over, False
            # a stopped daemon does not wait for a receiver that asked for a pause
            if over and time.monotonic() < self._earliest:
                return
            refused_remain = False
            try:
                refused_remain = await self._deliver()
                self._failed = self._failed + 1 if refused_remain else 0
                self._counts.error = self._counts.error if refused_remain else ""
            except Exception as error:  # a sink of an installed package may raise any exception
                self._failed, self._new = self._failed + 1, True
                self._note(error)
            if over:
                return
            await self._pause(refused_remain)

    async def close(self) -> None:
        await self.sink.close()

    async def _deliver(self) -> bool:
        """Deliver the queue; returns whether refused alerts remain in it. Raises what the sink and the store raise.

        Urgent alerts go first, from memory. Deferred alerts, which the receiver refused several times, go last.
        """
        for id, alert in list(self._urgent.items()):
            if await self._sends(alert, [id]):
                self._early.add(id)
            del self._urgent[id]  # a refused alert comes again, from the queue of the store
        store = self._service.store
        if self._group_s and not await self._collect():
            return False
        # refused alerts may stand at the front of the queue: the query reaches beyond them
        while queued := await asyncio.to_thread(store.pending, WINDOW + len(self._refusals), self.kind):
            self._counts.depth = await asyncio.to_thread(store.waiting, self.kind)
            # (key of the queue's row, alert)
            alerts = [(row.key, self._composer.alert(row.body, row.merged)) for row in queued]
            not_deferred = [keyed for keyed in alerts if not self._refusals.deferred(keyed[1].id)]
            if not not_deferred:
                return await self._deliver_deferred({alert.id: (key, alert) for key, alert in alerts})
            for group in self._messages(not_deferred):
                ids = [alert.id for _, alert in group]
                unsent = [alert for _, alert in group if alert.id not in self._early]
                if not unsent or await self._sends(merged(unsent), [alert.id for alert in unsent]):
                    await self._remove([key for key, _ in group])
                    self._early -= set(ids)
        self._counts.depth = 0
        return False

    def _messages(self, alerts: Sequence[Keyed]) -> list[list[Keyed]]:
        """The alerts, grouped into messages. An alert refused in a group is sent alone: another alert may be the
        cause."""
        if not self._group_s:
            return [[keyed] for keyed in alerts]
        single = [[keyed] for keyed in alerts if self._refusals.has(keyed[1].id)]
        return single + groups([keyed for keyed in alerts if not self._refusals.has(keyed[1].id)])

    async def _deliver_deferred(self, alerts: Mapping[str, Keyed]) -> bool:
        """Send alerts that were refused before, until one is refused again. Returns whether refused alerts remain."""
        for id in self._refusals.in_turn(list(alerts)):
            key, alert = alerts[id]
            if not await self._sends(alert, [id]):
                if self._refusals.has(id):
                    return True
                self._set_aside(alert)
            await self._remove([key])
        self._counts.depth = 0
        return False

    def _set_aside(self, alert: Alert) -> None:
        """Report an alert that leaves the queue undelivered.

        The report does not repeat the text, which may be the cause of the refusal.
        """
        error = self._counts.error
        log.warning("alerts.set_aside", sink=self.kind, id=alert.id, kind=alert.kind, level=alert.level, error=error)
        self._service.alert(
            f"the sink {self.kind} does not take the {alert.level} alert {alert.id} of kind {alert.kind} ({error}); it "
            "is set aside, and other alerts are delivered. Read it with `quantd alerts`"
        )

    async def _remove(self, keys: Sequence[Key]) -> None:
        await asyncio.to_thread(self._service.store.acknowledge, keys, self.kind)
        self._counts.depth -= len(keys)

    async def _collect(self) -> bool:
        """Wait for further alerts of a group; returns False where no alert is queued.

        A CRITICAL alert ends the wait at its commit.
        """
        queued = await asyncio.to_thread(self._service.store.pending, WINDOW, self.kind)
        until = time.monotonic() + self._group_s if queued else 0.0
        critical = any(row.level == "CRITICAL" for row in queued)
        while (
            not (critical or self._critical or self._service.over) and (remaining_s := until - time.monotonic()) > 0.0
        ):
            await self._service.changed(min(0.5, remaining_s))
        self._critical = False
        return bool(queued)

    async def _sends(self, alert: Alert, ids: Sequence[str]) -> bool:
        """Send one message of the alerts `ids`; returns True once the receiver accepts it.

        Returns False after a refusal if the alert is set aside (removed from the queue), or if all alerts of the
        message are deferred (behind the other alerts of the queue). Raises any other refusal and failure, after which
        the caller pauses.
        """
        try:
            await self.sink.deliver(replace(alert, account=account_line(self._service)))
        except Exception as error:
            if not is_refusal(error):
                raise
            deferred_before = [id for id in ids if self._refusals.deferred(id)]
            set_aside = self._refusals.refused(ids)
            if not (set_aside or all(self._refusals.deferred(id) for id in ids)):
                raise
            self._note(error)
            self._failed = self._failed if deferred_before else 0  # no pause: other alerts are sent at once
            return False
        self._refusals.taken(ids)
        self._counts.sent += 1
        self._failing_since = 0.0
        if self._reported:
            self._reported = False
            self._service.alert(f"the sink {self.kind} delivers alerts again", self._job, up=True)
        return True

    def _report(self) -> None:
        """Report a sink that has failed for REPORT_S without a delivery, once, by an alert for the other sinks."""
        failed_s = time.monotonic() - self._failing_since
        if self._failing_since and not self._reported and failed_s >= REPORT_S:
            self._reported = True
            self._service.alert(
                f"the sink {self.kind} has taken no alert for {failed_s / 60:.0f} min: {self._counts.error}. "
                f"{self._counts.depth} alerts wait for it; other sinks go on. Correct [alerts.sinks.{self.kind}] or "
                "its secret, test it by `quantd alerts --test`, and restart the daemon",
                self._job,
            )

    def _note(self, failure: Exception) -> None:
        """Count a failure, with one log line for each new reason, so that a long outage does not fill the log."""
        error = reason_of(failure)
        if error != self._counts.error:
            log.warning("alerts.undelivered", sink=self.kind, error=error, then="trading goes on, alerts wait")
        self._counts.failures += 1
        self._counts.error = error
        self._failing_since = self._failing_since or time.monotonic()
        wait_s = min(failure.retry_after_s, LONGEST_WAIT_S) if isinstance(failure, SinkError) else 0.0
        self._earliest = time.monotonic() + wait_s

    async def _pause(self, only_refused: bool) -> None:
        """Wait for a new alert, and after failures also for the end of their pause.

        With `only_refused`, only refused alerts are queued: then a new alert or the end of the pause ends the wait.
        """
        until = time.monotonic() + (back_off_s(self._failed, FIRST_S, LONGEST_S) if self._failed else 0.0)
        until = max(until, self._earliest)
        self._report()
        while not self._service.over and (not self._new or (time.monotonic() < until and not only_refused)):
            # pieces of half a second, because the end of the pause raises no event
            wait_s = until - time.monotonic()
            if only_refused and wait_s <= 0.0:
                return
            await self._service.changed(min(0.5, wait_s) if wait_s > 0.0 else 0.5)
            self._report()
            if self._failed and self._queued:
                await self._count()

    async def _count(self) -> None:
        self._queued = False
        with suppress(StoreError):
            self._counts.depth = await asyncio.to_thread(self._service.store.waiting, self.kind)
