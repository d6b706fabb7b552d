"""Filters published alerts by the levels, rates and quiet hours of [alerts]. The store has all alerts.

A message about an incident has the level of the incident in this filter, so that whoever received its start receives
its end.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from quantd.adapters.store.incidents.incident_fold import Route
from quantd.adapters.store.tables.projection import Row
from quantd.daemon.config.risk_tables import Alerts


class AlertFilter:
    """Decides which alerts are published; CRITICAL alerts always are.

    Other alerts pass if their level is in `levels`. At most `per_minute` of one level and kind pass in 60 seconds.
    Those of `quiet_levels` do not pass in the quiet hours ("22:00-07:00" in `timezone`, empty for none). `held_back`
    counts the alerts that did not pass.
    """

    def __init__(
        self,
        levels: tuple[str, ...],
        per_minute: int,
        quiet_hours: str,
        timezone: str,
        now: Callable[[], float] = time.time,
        quiet_levels: Collection[str] = ("INFO",),
    ) -> None:
        """`levels` may pass, `per_minute` alerts of a kind at most; `quiet_hours` is "22:00-07:00", or empty."""
        self.held_back = 0
        self._levels = frozenset(levels)
        self._per_minute = per_minute
        self._quiet = tuple(quiet_hours.split("-")) if quiet_hours else ()
        self._zone = ZoneInfo(timezone)
        self._now = now
        self._quiet_levels = frozenset(quiet_levels)
        self._sent: dict[str, deque[float]] = {}
        """LEVEL/kind -> the times (s) of its alerts in the last minute."""

    def chosen(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of the alerts' outbox that are published now."""
        published_rows = []
        for row in rows:
            route = row[7]  # its levels and whether it is held; row[5] is the kind of the alert
            assert isinstance(route, Route)
            if not route.held and self.passes(route.level, str(row[5])):
                published_rows.append(row)
        return published_rows

    def passes(self, level: str, kind: str) -> bool:
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
        return begin <= clock < end if begin <= end else clock >= begin or clock < end  # else over midnight

    def _below_rate(self, level_and_kind: str) -> bool:
        now_s = self._now()
        sent_s = self._sent.setdefault(level_and_kind, deque(maxlen=self._per_minute))
        while sent_s and now_s - sent_s[0] >= 60.0:
            sent_s.popleft()
        if len(sent_s) >= self._per_minute:
            return False
        sent_s.append(now_s)
        return True


def filter_of(alerts: Alerts) -> AlertFilter:
    """The filter of the table [alerts]."""
    return AlertFilter(
        alerts.levels, alerts.per_minute, alerts.quiet_hours, alerts.timezone, quiet_levels=alerts.quiet_levels
    )
