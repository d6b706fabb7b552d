"""The watchdog: monitors the event loop, the machine's clock, the feed, the ledger, and the files HALT and lock.

Each monitor reports its findings as events in the inbox; none changes the state. A condition is a named fault, such as
"feed"; its end is reported too, but only an operator resumes trading. The measures are pure functions of their
readings.

What can go wrong: the loop itself hangs, and with it every monitor. So `Sentry` is a separate process, which does not
depend on this interpreter's lock. It writes the file HALT before it kills the daemon, so that the next start is halted.

What can go wrong, too: the watchdog is wrong. Each case has its measure:

- The process is descheduled between the readings of two clocks. Such a pair of readings is left out.
- A condition goes down and up many times. It is up again only after a time without a fault.
- A feed has no error and still sends nothing. It is alive again only with a new bar.
- The inbox is full. The change is reported at the next check.
"""

import asyncio
import os
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import structlog

from quantd.daemon.assembly.parts import Parts
from quantd.daemon.engine.operator_events import check
from quantd.daemon.recovery.price_acceptance import PriceWatch
from quantd.daemon.runtime.inbox import Committed, InboxFull
from quantd.daemon.runtime.service import Service
from quantd.risk.switch import HALT
from quantd.trading.events import Condition, Operator
from quantd.trading.sessions import DAY_NS, Sessions

log = structlog.get_logger("quantd.watch")

LOOK_S: Final = 0.25
"""Seconds between two checks of loop, clock, feed and ledger."""

HALT_FILE_S: Final = 0.02
"""Seconds between two checks for the file HALT: it must act within 50 ms, and a check takes about 30 us."""

CALM_NS: Final = 10_000_000_000
"""Time without a fault after which loop and clock count as recovered."""

CALENDAR_NS: Final = 60 * DAY_NS
"""A calendar that ends within this time is reported at the start and once a day."""

READ_NS: Final = 10_000_000
"""Longest time between the readings of two clocks that are compared; beyond it the process was descheduled."""

SILENCE_S: Final = 30.0
"""Seconds for which the loop may block before the daemon is killed; equal to WatchdogSec of the systemd unit."""

# the daemon does not hang while a signal or a debugger stops it (states T, t); if it ends by itself, the pipe closes
_SENTRY: Final = """import os, select, signal, sys
halt, silence_s, parent = sys.argv[1], float(sys.argv[2]), os.getppid()
def stopped():
    try:
        return open(f"/proc/{parent}/stat").read().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False
while select.select([0], [], [], silence_s)[0] or stopped():
    if select.select([0], [], [], 0)[0] and not os.read(0, 4096):
        sys.exit()
if os.getppid() == parent:
    print(f"quantd: event loop blocked for {silence_s:g} s; the daemon is killed, and {halt} written", file=sys.stderr)
    try:
        os.close(os.open(halt, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass  # whatever has this name halts
    finally:
        os.kill(parent, signal.SIGKILL)
"""

What = Literal["lag", "clock", "feed", "ledger"]


def bars_due(sessions: Sessions, interval_ns: int, after_ns: int, until_ns: int, most: int) -> int:
    """The number of bars of a feed that close in (after_ns, until_ns]; counting may stop once it reaches `most`.

    Bars of a day or more close with their session. Shorter bars close every `interval_ns` after the open, and the last
    one closes with the session. Half days, weekends and clock changes are part of the sessions. Of a session that began
    before `after_ns` only the later bars count.
    """
    first = bisect_right(sessions.close_ns, after_ns)
    if interval_ns >= DAY_NS:
        return max(0, bisect_right(sessions.close_ns, until_ns) - first)
    count = 0
    for row in range(first, len(sessions.close_ns)):
        open_ns, close_ns = sessions.open_ns[row], sessions.close_ns[row]
        if open_ns > until_ns or count >= most:
            break
        count += _closed(open_ns, close_ns, interval_ns, until_ns) - _closed(open_ns, close_ns, interval_ns, after_ns)
    return count


def _closed(open_ns: int, close_ns: int, interval_ns: int, ts: int) -> int:
    """The number of bars of one session that have closed by `ts`."""
    if ts >= close_ns:
        return -(-(close_ns - open_ns) // interval_ns)
    return max(0, (ts - open_ns) // interval_ns)


def silence(now_ns: int, last_ns: int, sessions: Sessions, interval_ns: int, bars: int) -> str:
    """The reason why a feed counts as dead at `now_ns`: since its last bar at `last_ns`, `bars` bars are overdue.

    Empty while fewer bars are overdue.
    """
    if bars_due(sessions, interval_ns, last_ns, now_ns, bars) < bars:
        return ""
    return f"{bars} bars of {sessions.name} are overdue and none arrived"


def ending(sessions: Mapping[str, Sessions], now_ns: int) -> list[str]:
    """A sentence with the remedy for each calendar whose last known session is less than CALENDAR_NS ahead."""
    ends = {name: table.day_ns[-1] if table.day_ns else 0 for name, table in sorted(sessions.items())}
    return [
        f"calendar {name} has no session after {_time(end)[:10]}: restart the daemon; if this alert recurs, "
        "update quantd, or add its extra `calendars` and update the package exchange_calendars"
        for name, end in ends.items()
        if end < now_ns + CALENDAR_NS
    ]


def lateness(late_s: float, waited_s: float, bound_s: float) -> str:
    """The reason why the loop lags; empty if it does not.

    `late_s` is the delay with which the loop woke up, `waited_s` the time that a bar has waited in the inbox.
    """
    if not late_s <= bound_s:
        return f"the event loop was blocked for {late_s:.1f} s; [risk] max_loop_lag is {bound_s:g} s"
    if not waited_s <= bound_s:
        return f"a bar has waited for {waited_s:.1f} s; [risk] max_loop_lag is {bound_s:g} s"
    return ""


def jump(before_ns: int, now_ns: int, bound_ns: int) -> str:
    """A text about a jump of the wall clock; empty if it did not jump.

    `before_ns` and `now_ns` are the wall clock minus the monotonic clock, at two instants.
    """
    moved = now_ns - before_ns
    if abs(moved) <= bound_ns:
        return ""
    return (
        f"the clock jumped by {moved / 1e9:+.1f} s, or the machine slept; [risk] max_clock_jump is {bound_ns / 1e9:g} s"
    )


def apart(wall: Callable[[], int], steady: Callable[[], int]) -> int | None:
    """Wall clock minus monotonic clock in ns; None when the process was interrupted between the readings."""
    before = steady()
    now = wall()
    after = steady()
    return now - (before + after) // 2 if after - before <= READ_NS else None


class Watch:
    """One condition: it goes down at once on a fault, and up again after `calm_ns` without a fault."""

    def __init__(self, what: What, down: bool, calm_ns: int) -> None:
        self.what = what
        self.down = down
        self._calm_ns = calm_ns
        self._well_since: int | None = None

    def seen(self, now_ns: int, wrong: str) -> bool | None:
        """The change to report: False for down, True for up again, None for no change.

        `wrong` is the text of the present fault, empty without a fault.
        """
        if wrong:
            self._well_since = None
            return None if self.down else False
        if not self.down:
            return None
        if self._well_since is None:
            self._well_since = now_ns
        return True if now_ns - self._well_since >= self._calm_ns else None

    def said(self, up: bool) -> None:
        """Records that a change of the condition is in the inbox; a change that did not get into the inbox is reported
        again."""
        self.down, self._well_since = not up, None


async def watch(
    service: Service,
    parts: Parts,
    *,
    wall: Callable[[], int] = time.time_ns,
    steady: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Checks loop, clock, feed, ledger and lock until cancelled.

    With pace = "fast" market time is not real time: loop and clock are measured but raise no condition.
    """
    down = service.shell.unsettled.down
    loop, clock = Watch("lag", "lag" in down, CALM_NS), Watch("clock", "clock" in down, CALM_NS)
    # the feed needs no calm time (0): it recovers only with a new bar
    feed, ledger = Watch("feed", "feed" in down, 0), Watch("ledger", "ledger" in down, CALM_NS)
    slices = service.shell.tally.slices  # a count that grows with each new bar
    # wall clock less monotonic clock in ns; None if it could not be read
    clock_offset, last_check = apart(wall, steady), steady()
    calendars_from = last_check  # the calendars' ends are checked once a day from here
    reported_loss, prices = "", PriceWatch(parts, service.halt_file.parent)
    while True:
        await asyncio.sleep(LOOK_S)
        prices.look(service)
        now = steady()
        late_s = max(0.0, (now - last_check) / 1e9 - LOOK_S)
        last_check = now
        service.measured.loop_lag_s = max(service.measured.loop_lag_s, late_s)
        risk, pace = service.config.risk, "real" if parts.live else service.config.feed.pace
        new_offset = apart(wall, steady)
        fault = (
            "" if clock_offset is None or new_offset is None else jump(clock_offset, new_offset, risk.max_clock_jump_ns)
        )
        clock_offset = clock_offset if new_offset is None else new_offset
        if pace != "fast":
            waited_s = service.inbox.waited_s() if pace == "real" else 0.0
            _report(service, loop, now, lateness(late_s, waited_s, risk.max_loop_lag_ns / 1e9))
            _report(service, clock, now, fault)
        if parts.live and now >= calendars_from:
            calendars_from = now + DAY_NS
            for text in ending(parts.sessions, wall()):
                log.warning("calendar", detail=text)
                with suppress(InboxFull):
                    service.inbox.command(Condition(service.shell.state.now, "calendar", False, text))
        if (lost := service.store.lock_lost()) != reported_loss:
            reported_loss = lost
            if lost:
                log.error("lock.lost", detail=lost)
                service.alert(f"{lost}: a second daemon could start in this state folder and end this one; restart it")
        _report(service, ledger, now, check(service.shell.state))
        fault = dead_feed(service, parts)
        slices_now = service.shell.tally.slices
        recovered = slices_now != slices or service.status == "ended"  # a feed counts as recovered only with a new bar
        if (fault or recovered) and _report(service, feed, now, fault):
            slices = slices_now


def dead_feed(service: Service, parts: Parts) -> str:
    """The reason why the feed is dead, with its name and last bar; empty while it is alive.

    A feed is dead if it failed, or if `max_missed_bars` bars or more are overdue since its last bar.
    """
    if service.status == "ended":
        return ""
    last = int(service.shell.state.mark_ts.max())
    fault = f"it failed: {service.feed_error}" if service.feed_error else ""
    # `market_ahead_ns`, market time less monotonic clock, is None for a feed that does not run in real time;
    # `last` is 0 before the first bar
    if not fault and service.market_ahead_ns is not None and last:
        house = parts.sessions[parts.universe.calendar]
        most_missed = service.config.risk.max_missed_bars
        now = service.market_ahead_ns + time.monotonic_ns()
        fault = silence(now, max(last, service.live_since_ns), house, parts.interval_ns, most_missed)
    if not fault:
        return ""
    table = service.config.feed
    return f"{table.kind} {table.venue if parts.live else table.path}: {fault}; last bar {_time(last)}".replace(
        "  ", " "
    )


def _time(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if ts_ns else "never"


def _report(service: Service, condition: Watch, now_ns: int, wrong: str) -> bool:
    """Puts a change of a condition into the inbox; returns whether it did.

    If the inbox is full, the next check tries again.
    """
    up = condition.seen(now_ns, wrong)
    if up is None:
        return False
    detail = wrong or "recovered; `quantd resume` resumes trading"
    try:
        service.inbox.command(Condition(service.shell.state.now, condition.what, up, detail))
    except InboxFull:
        return False
    condition.said(up)
    # levels INFO and CRITICAL
    log.log(20 if up else 50, "condition", what=condition.what, up=up, detail=detail)
    return True


class Sentry:
    """A small process that kills the daemon after `silence_s` without a heartbeat.

    The sentry first writes the file HALT, so that the next start is halted. As a separate process it does not depend on
    this interpreter's lock.
    """

    def __init__(self, halt_file: Path, silence_s: float | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SENTRY, str(halt_file.absolute()), str(silence_s or SILENCE_S)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, cwd="/", env={}, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._beats = self._process.stdin
        os.set_blocking(self._beats.fileno(), False)

    def beat(self) -> None:
        """Sends a heartbeat of the loop to the sentry process."""
        with suppress(OSError):  # the process was killed, or its pipe is full
            self._beats.write(b".")

    def close(self) -> None:
        with suppress(OSError):
            self._beats.close()
        self._process.wait()


async def watch_halt_file(service: Service) -> None:
    """Halts trading while the file HALT is in the state folder, until cancelled.

    The file may exist before the first bar.
    """
    halt: asyncio.Future[Committed[object]] | None = None
    while True:
        if service.shell.unsettled.switch.state < HALT and (halt is None or halt.done()) and halt_file(service):
            with suppress(InboxFull):
                halt = service.inbox.command(halted_by_file(service))
        await asyncio.sleep(HALT_FILE_S)


def halt_file(service: Service) -> bool:
    """Whether the file HALT exists (a dangling link counts), or its folder cannot be read."""
    try:
        service.halt_file.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def halted_by_file(service: Service) -> Operator:
    """The halt event that the file HALT in the state folder causes."""
    return Operator(service.shell.state.now, "halt", f"the file {service.halt_file.name} exists", "file")
