"""Filters published alerts by the levels, rates and quiet hours of [alerts]. The store has all of them.

A message about an incident has the level of the incident here, so that whoever received its start receives its end.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from quantd.adapters.store.incidents.incident_fold import Route
from quantd.adapters.store.tables.projection import Row


class AlertFilter:
    """CRITICAL always passes; other alerts by level, at most `per_minute` of one kind, and none of `quiet_levels` in
    quiet hours."""

    def __init__(
        self,
        levels: tuple[str, ...],
        per_minute: int,
        quiet_hours: str,
        timezone: str,
        now: Callable[[], float] = time.time,
        quiet_levels: Collection[str] = ("INFO",),
    ) -> None:
        self.held_back = 0
        self._levels = frozenset(levels)
        self._per_minute = per_minute
        self._quiet = tuple(quiet_hours.split("-")) if quiet_hours else ()
        self._zone = ZoneInfo(timezone)
        self._now = now
        self._quiet_levels = frozenset(quiet_levels)
        self._sent: dict[str, deque[float]] = {}

    def chosen(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of the outbox that are published now."""
        published_rows = []
        for row in rows:
            route = row[7]
            assert isinstance(route, Route)
            if not route.held and self.passes(route.level, str(row[5])):
                published_rows.append(row)
        return published_rows

    def passes(self, level: str, kind: str) -> bool:
        """Whether an alert is published now."""
        if level == "CRITICAL":
            return True
        if level in self._levels and not self._is_quiet(level) and self._below_rate(f"{level}/{kind}"):
            return True
        self.held_back += 1
        return False

    def _is_quiet(self, level: str) -> bool:
        if not self._quiet or level not in self._quiet_levels:
            return False
        clock = datetime.fromtimestamp(self._now(), self._zone).strftime("%H:%M")
        begin, end = self._quiet
        return begin <= clock < end if begin <= end else clock >= begin or clock < end

    def _below_rate(self, kind: str) -> bool:
        now = self._now()
        sent = self._sent.setdefault(kind, deque(maxlen=self._per_minute))
        while sent and now - sent[0] >= 60.0:
            sent.popleft()
        if len(sent) >= self._per_minute:
            return False
        sent.append(now)
        return True
