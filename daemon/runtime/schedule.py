"""Instants of scheduled jobs, as a pure function of schedules, sessions and an interval of time.

Replays and live runs use the same function. APScheduler's trigger reads cron lines; this module handles its pitfalls.

What can go wrong: a change of the clocks repeats or skips an hour; a date has no session; a session closes early. So a
cron line with fixed hours fires once in a repeated hour, the first time, and at the shifted time in a skipped hour. A
job that makes orders is due on session dates only, and its instants on closed dates move as `on_closed` says.

Instants of a cron line are computed in wall-clock time. Clock changes, and closes in distant time zones, can put them
out of order by up to two days. So they pass a heap that releases an instant once no earlier one can follow. `merge`
then needs one instant of each schedule in memory.

Rejected: the trigger with a time zone. It fires twice in a repeated hour, or does not return from it. Rejected too: the
trigger for each instant, which takes a millisecond. Instead each cron line is read once, as clock times and dates.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from heapq import heappop, heappush, merge
from itertools import groupby, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from msgspec import Struct

from quantd.adapters.calendars import sessions as calendar_sessions
from quantd.daemon.config import Config
from quantd.daemon.runtime.timeline import SCHEDULE
from quantd.trading.events import Flow
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.ledger.shares import share
from quantd.trading.sessions import DAY_NS, Sessions, interval_text

if TYPE_CHECKING:
    from quantd.daemon.engine.state.settings import Rules

Verdict = Literal["run", "skip", "alert"]
"""What is done about a past instant."""

OnClosed = Literal["next", "previous", "skip"]
"""Where an instant on a closed date moves: to the next or previous session, or nowhere."""

SESSION_MESSAGES: Final = frozenset({"before_open", "after_close"})
"""Jobs that only send a message about a session."""

TRADING_JOBS: Final = frozenset({"rebalance", "flatten"})
"""Jobs that make orders, which are due only in sessions."""

DEPOSIT: Final = "deposit"
"""The job that pays money into a simulated account, or expects it at a real venue."""

GRACE_NS: Final = 60_000_000_000
"""A job that is late by no more than this is not missed."""

_UNITS_NS: Final = {"s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000, "d": DAY_NS}
_AT: Final = re.compile(r"(open|close)(?:([+-])(\d+)([smh]))?")
_EVERY: Final = re.compile(r"(\d+)([smhd])")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_DISORDER: Final = timedelta(days=2)
_DISORDER_NS: Final = _DISORDER // _MICROSECOND * 1000
"""Most by which a cron line's instants are out of order, because of clock changes and closes in distant time zones."""

_FAR: Final = timedelta(days=30 * 366)
"""How far ahead an instant is searched. A weekday and date recurs within 28 years; 29 February around 2100 needs 40."""


class ScheduleError(ExplainedError, ValueError):
    """An invalid schedule, with its remedy."""

    exit_code = CONFIG

    def __init__(self, name: str, what: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(f'schedule "{name}": {what}; {remedy}')


class Schedule(Struct, frozen=True):
    """One [[schedules]] table, with exactly one of `at`, `cron` and `every`.

    `at`: "open", "close", "open+30m", "close-15m" of each session of `calendar`; an instant that an early close
    leaves outside its session moves to the session's edge. `cron`: five fields in `timezone` (the calendar's where
    it is None), weekdays by name; if the line has both a day of the month and a weekday, a date must fit both.
    `every`: "5m", counted from 1970-01-01 00:00 UTC, so that a restart does not move it.

    TRADING_JOBS with `cron` are due on session dates of the exchange only. With an `every` shorter than a day they are
    due from each open to its close. `on_closed` moves an instant of a cron line whose date has no session: to the
    "next" or "previous" session at the same clock time, or at that session's close where the close is earlier; "skip"
    drops it. A session on which the line itself has an instant takes none from closed dates. Instants that move to the
    same time become one.
    `missed`: what is done about an instant that passed while the daemon did not run. `amount_micro` is the money of the
    job DEPOSIT, which a real venue should have within `within_ns` of the instant. Raises ScheduleError.
    """

    name: str
    do: str
    at: str | None = None
    cron: str | None = None
    every: str | None = None
    calendar: str = "XNYS"
    timezone: str | None = None
    agents: tuple[str, ...] = ()
    missed: Literal["once", "skip", "alert"] = "once"
    on_closed: OnClosed = "next"
    amount_micro: int | None = None
    within_ns: int = 0

    def __post_init__(self) -> None:
        """Check the schedule's time. Raises ScheduleError unless exactly one of `at`, `cron` and `every` is valid."""
        time_keys = [key for key in ("at", "cron", "every") if getattr(self, key) is not None]
        if len(time_keys) != 1:
            what = f"has {' and '.join(time_keys)}, of which one is allowed" if time_keys else "has no time"
            raise ScheduleError(self.name, what, 'give one of at = "close", cron = "0 16 * * mon-fri", every = "5m"')
        if self.timezone is not None:
            _check_zone(self.name, self.timezone)
        if self.at is not None:
            _offset(self)
        elif self.cron is not None:
            _check_cron(self)
        else:
            _period(self)


def due(
    schedules: Sequence[Schedule], sessions: Mapping[str, Sessions], after_ns: int, until_ns: int
) -> list[tuple[int, int]]:
    """(instant, index of the schedule) of each job due in (after_ns, until_ns], sorted by instant, then index."""
    return list(stream(schedules, sessions, after_ns, until_ns))


def stream(
    schedules: Sequence[Schedule], sessions: Mapping[str, Sessions], after_ns: int, until_ns: int
) -> Iterator[tuple[int, int]]:
    """Yield (instant, index of the schedule) of each job due in (after_ns, until_ns], sorted by instant, then index.

    One instant of each schedule is in memory. Raises ScheduleError before the first result.
    """
    for schedule in schedules:
        if schedule.calendar not in sessions:
            names = ", ".join(sorted(sessions))
            raise ScheduleError(schedule.name, f'calendar "{schedule.calendar}" has no sessions', f"use one of {names}")
        if schedule.at is not None:
            _check_inside(schedule, sessions[schedule.calendar])
    return merge(
        *(zip(_instants(s, sessions[s.calendar], after_ns, until_ns), repeat(k)) for k, s in enumerate(schedules))
    )


def next_instants(
    schedules: Sequence[Schedule], sessions: Mapping[str, Sessions], after_ns: int, n: int
) -> list[tuple[int, int]]:
    """The next `n` (instant, index of the schedule) after `after_ns`; fewer where the calendars end earlier."""
    return list(islice(stream(schedules, sessions, after_ns, after_ns + _FAR // _MICROSECOND * 1000), n))


def next_runs(schedules: Sequence[Schedule], sessions: Mapping[str, Sessions], after_ns: int) -> list[tuple[int, str]]:
    """(instant, name) of the next run of each schedule after `after_ns`, without the schedules that send messages."""
    jobs = [schedule for schedule in schedules if schedule.do not in SESSION_MESSAGES]
    return [(ts, schedule.name) for schedule in jobs for ts, _ in next_instants([schedule], sessions, after_ns, 1)]


def missed(schedule: Schedule, due_ts: int, now: int, *, newest: bool = True) -> Verdict:
    """What is done at `now` about the past instant `due_ts`; `newest` is True for the schedule's last past instant.

    `missed = "once"` runs only the newest missed instant, but each missed deposit; "alert" raises an alert for each
    instant and runs none.
    """
    if now - due_ts <= GRACE_NS:
        return "run"
    if schedule.missed == "once":
        return "run" if newest or schedule.do == DEPOSIT else "skip"
    return schedule.missed


def catch_up(
    schedules: Sequence[Schedule], instants: Sequence[tuple[int, int]], now: int
) -> list[tuple[int, int, Verdict]]:
    """(instant, index of the schedule, what is done about it) for each instant that passed during a downtime.

    `instants` are (instant, index of the schedule) pairs.
    """
    newest = {index: ts for ts, index in instants}
    return [(ts, index, missed(schedules[index], ts, now, newest=newest[index] == ts)) for ts, index in instants]


def deposit_shares(rules: "Rules", schedule: Schedule, amount_micro: int) -> list[tuple[str, int]]:
    """(agent, micro-currency) of each part of a deposit; the agent "" is the unallocated book.

    The agents of the schedule share the whole amount in proportion to their capital. A schedule that names no agent
    divides it as [broker] cash: each agent gets its share of capital, and the rest is unallocated.
    """
    capital = {a.name: a.capital_micro for a in rules.agents if not schedule.agents or a.name in schedule.agents}
    if not schedule.agents:
        capital[""] = rules.cash_micro - sum(capital.values())
    names = list(capital)
    return [(names[k], part) for k, part in share(amount_micro, list(enumerate(capital.values())))]


def deposits(instants: Iterator[tuple[int, int]], schedules: Sequence[Schedule], rules: "Rules") -> Iterator[Flow]:
    """Yield the deposits of `instants`, which are (ts, index of the schedule): one into each book."""
    for ts, k in instants:
        for agent, micro in deposit_shares(rules, schedules[k], schedules[k].amount_micro or 0):
            yield Flow(ts, micro, SCHEDULE, agent=agent, reason=schedules[k].name)


def missed_text(schedules: Sequence[Schedule], instants: Sequence[tuple[int, int, Verdict]]) -> str:
    """The alert about the missed instants whose verdict is "alert"; empty if there is none."""
    counts: dict[str, int] = {}
    for _, schedule_index, verdict in instants:
        if verdict == "alert":
            counts[schedules[schedule_index].name] = counts.get(schedules[schedule_index].name, 0) + 1
    names = ", ".join(f"{name} ({count})" for name, count in counts.items())
    return f"missed while the daemon did not run, and not run later: {names}" if names else ""


def moved_from(schedule: Schedule, sessions: Mapping[str, Sessions], ts: int) -> date | None:
    """The first closed date from which an instant of a cron line was moved; None if it was not moved."""
    if schedule.cron is None:
        return None
    days = [day for at, day in _cron(schedule, sessions[schedule.calendar], ts - 1, ts) if at == ts]
    return days[0] if days else None


def zone_of(schedule: Schedule, sessions: Mapping[str, Sessions]) -> ZoneInfo:
    return ZoneInfo(schedule.timezone or sessions[schedule.calendar].zone)


def _instants(schedule: Schedule, sessions: Sessions, after: int, until: int) -> Iterator[int]:
    if schedule.at is not None:
        return _at(schedule, sessions, after, until)
    if schedule.cron is not None:
        return (ts for ts, _ in _cron(schedule, sessions, after, until))
    return _every(schedule, sessions, after, until)


def _at(schedule: Schedule, sessions: Sessions, after: int, until: int) -> Iterator[int]:
    """The instants in (after, until] of a schedule at the open or close of each session, with its offset.

    An offset from the open ends at the close at the latest, an offset from the close at the open at the earliest.
    """
    edge, offset = _offset(schedule)  # "open" or "close", and the time after it in ns, negative before it
    first_row = bisect_left(sessions.close_ns, after - max(offset, 0))
    for row in range(first_row, len(sessions.day_ns)):
        opened, closed = sessions.open_ns[row], sessions.close_ns[row]
        ts = min(opened + offset, closed) if edge == "open" else closed + offset
        if edge == "close" and offset < 0:
            ts = max(ts, opened)
        if ts > until:
            return
        if ts > after:
            yield ts


def _cron(schedule: Schedule, sessions: Sessions, after: int, until: int) -> Iterator[tuple[int, date | None]]:
    """Instants of a cron line, each with the closed date from which it was moved (None: not moved).

    In an hour that a clock change repeats, a line with fixed hours fires the first time only, and a line whose hour
    field is * both times. A skipped time is shifted: 02:30, where 02:00 becomes 03:00, is 03:30. The trigger runs on
    wall-clock time without a zone: with a zone, it fires twice in a repeated hour, or searches that hour without end.
    """
    zone = ZoneInfo(schedule.timezone or sessions.zone)
    line = schedule.cron or ""
    fires_twice = line.split()[1] == "*"
    first_wall = _datetime(after).astimezone(zone).replace(tzinfo=UTC, fold=0) - _DISORDER
    last_wall = _datetime(until).astimezone(zone).replace(tzinfo=UTC, fold=0) + _DISORDER
    candidates: Iterator[tuple[datetime, int | None, date | None]]
    if schedule.do in TRADING_JOBS:
        candidates = _in_sessions(line, schedule.on_closed, zone, sessions, first_wall, last_wall)
    else:
        candidates = ((wall, None, None) for wall in _walls(line, first_wall, last_wall))
    waiting: list[tuple[int, int, date | None]] = []  # a heap of (instant, order of arrival, closed date)
    last_yielded = after
    for arrival, (wall, latest, closed) in enumerate(candidates):
        local = wall.replace(tzinfo=zone)
        ts = _ns(local)
        # later candidates are at most _DISORDER earlier than this one: no instant can precede these any more
        while waiting and waiting[0][0] < ts - _DISORDER_NS:
            earliest, _, closed_date = heappop(waiting)
            if earliest > until:
                return
            if earliest > last_yielded:
                yield (last_yielded := earliest), closed_date
        heappush(waiting, (ts if latest is None else min(ts, latest), arrival, closed))
        later = _ns(local.replace(fold=1))
        if fires_twice and later > ts:  # a repeated hour; in a skipped one, fold 1 is the earlier
            heappush(waiting, (later if latest is None else min(later, latest), arrival, closed))
    for ts, _, closed_date in sorted(waiting, key=lambda entry: entry[:2]):
        if last_yielded < ts <= until:
            yield (last_yielded := ts), closed_date


def _in_sessions(
    line: str, on_closed: OnClosed, zone: ZoneInfo, sessions: Sessions, first: datetime, last: datetime
) -> Iterator[tuple[datetime, int | None, date | None]]:
    """(wall-clock time in `zone`, latest instant, closed date) of a cron line on the session dates in [first, last].

    The date of a time is that at the exchange. `on_closed` says whether a time on a closed date is skipped or moves to
    the previous or next session. For a moved time, the latest instant is the close of the session to which it moves,
    and the closed date is the date from which it moves. Both are None for a time that stays. Dates outside the known
    sessions may be open: nothing is moved from them.
    """
    days = sessions.day_ns
    if not days:
        return
    # neighbouring sessions are needed for instants that are moved
    first_row = max(0, bisect_left(days, _ns(first)) - 2)
    last_row = min(len(days) - 1, bisect_left(days, _ns(last)) + 2)
    first_day, last_day = _datetime(days[first_row]), _datetime(days[last_row])
    exchange = ZoneInfo(sessions.zone)

    def day_of(wall: datetime) -> datetime:  # the date at the exchange, at 00:00
        there = wall if zone.key == exchange.key else wall.replace(tzinfo=zone).astimezone(exchange)
        return there.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC, fold=0)

    def session_row(wall: datetime) -> int:  # of the date's session, or else the next or previous one
        day = _ns(day_of(wall))
        row = bisect_left(days, day)
        return row if days[row] == day or on_closed != "previous" else row - 1

    around = _walls(line, first_day - _DAY, last_day + 2 * _DAY)
    for row, walls in groupby((wall for wall in around if first_day <= day_of(wall) <= last_day), key=session_row):
        day = _datetime(days[row])
        group = list(walls)
        same_day = [wall for wall in group if day_of(wall) == day]
        if same_day or on_closed == "skip":
            yield from ((wall, None, None) for wall in same_day)
            continue
        for wall in sorted(group, key=lambda wall: wall.timetz()):
            closed = day_of(wall)
            yield wall + (day - closed), sessions.close_ns[row], closed.date()


class _Line:
    """A cron line as APScheduler reads it: the clock times of a day, and the dates that it includes.

    The trigger finds the next instant by trying field after field, which takes a millisecond. All fields but the day of
    the month mean the same in each month, so that the trigger is asked once for each of their values.
    """

    def __init__(self, line: str) -> None:
        """Read the five fields of `line`. Raises ValueError for an invalid line.

        `times` are the clock times of a day. `_days` are the days of the month; None where they differ from month to
        month ("last", "2nd fri").
        """
        from apscheduler.triggers.cron import CronTrigger
        from apscheduler.triggers.cron.expressions import AllExpression, RangeExpression

        minute, hour, day, month, weekday = line.split()
        trigger = CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=UTC)
        fields = {field.name: field for field in trigger.fields}

        def fits(name: str, moment: datetime) -> bool:
            return bool(fields[name].get_next_value(moment) == fields[name].get_value(moment))

        begin = datetime(2001, 1, 1, tzinfo=UTC)  # a Monday
        hours = [k for k in range(24) if fits("hour", begin.replace(hour=k))]
        minutes = [k for k in range(60) if fits("minute", begin.replace(minute=k))]
        self.times: Final = [timedelta(hours=hour, minutes=minute) for hour in hours for minute in minutes]
        self._months = {k for k in range(1, 13) if fits("month", begin.replace(month=k))}
        self._weekdays = {k for k in range(7) if fits("day_of_week", begin + timedelta(days=k))}
        # "last" and "2nd fri" are another day in each month: only `*` and ranges can be asked in advance
        fixed_days = all(type(days) in (AllExpression, RangeExpression) for days in fields["day"].expressions)
        self._days = {k for k in range(1, 32) if fits("day", begin.replace(day=k))} if fixed_days else None
        self._fits = fits

    def includes(self, day: datetime) -> bool:
        """Whether the cron line has instants on the date of `day`, which is at 00:00."""
        if day.month not in self._months or day.weekday() not in self._weekdays:
            return False
        return self._fits("day", day) if self._days is None else day.day in self._days


_line: Final = lru_cache(maxsize=64)(_Line)


def _walls(text: str, first: datetime, last: datetime) -> Iterator[datetime]:
    """Wall-clock times of a cron line in [first, last], labelled UTC whatever their zone.

    Raises ValueError for an invalid line.
    """
    line = _line(text)
    day = first.replace(hour=0, minute=0, second=0, microsecond=0)
    while day <= last:
        if line.includes(day):
            yield from (wall for time in line.times if first <= (wall := day + time) <= last)
        day += _DAY


def _every(schedule: Schedule, sessions: Sessions, after: int, until: int) -> Iterator[int]:
    """The multiples of a schedule's period in (after, until].

    A trading job with a period below one day gets only the multiples in sessions.
    """
    period = _period(schedule)
    if schedule.do not in TRADING_JOBS or period >= DAY_NS:
        yield from range(after - after % period + period, until + 1, period)
        return
    for row in range(bisect_left(sessions.close_ns, after), len(sessions.day_ns)):
        opened, closed = sessions.open_ns[row], sessions.close_ns[row]
        if opened > until:
            return
        first = max(-(-opened // period) * period, after - after % period + period)
        # where sessions are contiguous (24/7), the instant belongs to the earlier one
        contiguous = row > 0 and sessions.close_ns[row - 1] == first
        yield from range(first + period * contiguous, min(closed, until) + 1, period)


def _offset(schedule: Schedule) -> tuple[str, int]:
    """("open" or "close", signed nanoseconds) of `at`. Raises ScheduleError for another text, and for a day or more."""
    match = _AT.fullmatch(schedule.at or "")
    if match is None:
        remedy = 'write "open", "close", "open+30m" or "close-15m"'
        raise ScheduleError(schedule.name, f'at = "{schedule.at}" cannot be read', remedy)
    edge, sign, number, unit = match.groups()
    offset = int(number) * _UNITS_NS[unit] if number else 0
    if offset >= DAY_NS:
        raise ScheduleError(schedule.name, f'at = "{schedule.at}" is a day or more away', "write less than 24 hours")
    return edge, -offset if sign == "-" else offset


def _check_inside(schedule: Schedule, sessions: Sessions) -> None:
    """Raise ScheduleError if an offset into the session is longer than each session."""
    edge, offset = _offset(schedule)
    longest = max((end - begin for begin, end in zip(sessions.open_ns, sessions.close_ns, strict=True)), default=DAY_NS)
    if (offset if edge == "open" else -offset) > longest:
        what = f'at = "{schedule.at}" lies outside every session of {schedule.calendar}'
        raise ScheduleError(schedule.name, what, f"write less than {interval_text(longest)}, the longest session")


def _period(schedule: Schedule) -> int:
    match = _EVERY.fullmatch(schedule.every or "")
    if match is None or not int(match[1]):
        remedy = 'write a number above 0 and s, m, h or d, such as "5m"'
        raise ScheduleError(schedule.name, f'every = "{schedule.every}" cannot be read', remedy)
    return int(match[1]) * _UNITS_NS[match[2]]


def _check_cron(schedule: Schedule) -> None:
    """Raise ScheduleError for a cron line that is invalid, has not five fields, has weekdays as numbers, or has no
    instant."""
    line = schedule.cron or ""
    fields = line.split()
    if len(fields) != 5:
        remedy = "write minute, hour, day, month and weekday"
        raise ScheduleError(schedule.name, f'cron = "{line}" has {len(fields)} fields, not 5', remedy)
    if any(c.isdigit() for part in fields[4].split(",") for c in part.split("/")[0]):
        remedy = "write names such as mon-fri, because some programs count from Sunday and others from Monday"
        raise ScheduleError(schedule.name, f'cron = "{line}" has weekdays as numbers', remedy)
    begin = datetime(2000, 1, 1, tzinfo=UTC)
    try:
        first = next(_walls(line, begin, begin + _FAR), None)
    except ValueError as error:
        raise ScheduleError(schedule.name, f'cron = "{line}" cannot be read ({error})', "see man 5 crontab") from None
    if first is None:
        raise ScheduleError(schedule.name, f'cron = "{line}" never occurs', "give a date that exists")


def _check_zone(name: str, zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        near = get_close_matches(zone, available_timezones(), n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else 'write a name such as "America/New_York"'
        raise ScheduleError(name, f'timezone = "{zone}" is not known', remedy) from None


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND * 1000


def _datetime(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)


def schedule_of(config: Config, number: int) -> Schedule:
    """The [[schedules]] table at index `number` as a Schedule."""
    table = config.schedules[number]
    return Schedule(
        **table.model_dump(exclude={"every_ns", "calendar", "enabled"}),
        every=None if table.every_ns is None else interval_text(table.every_ns),
        calendar=table.calendar or config.universe.calendar,
    )


def sessions_of(config: Config, begin: date, end: date, cache: Path | None) -> dict[str, Sessions]:
    """Sessions from `begin` to `end`, inclusive, of every calendar in use, without the configured closed dates."""
    table = config.universe
    names = {table.calendar, *(instrument.calendar for instrument in table.instruments if instrument.calendar)}
    names |= {schedule.calendar for schedule in config.schedules if schedule.calendar}
    return {
        name: calendar_sessions(name, begin, end, cache=cache, closed=table.closed if name == table.calendar else ())
        for name in names
    }
