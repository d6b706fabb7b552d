"""The watchers: what counts as a lag, a jump, a dead feed; and that what they find reaches the switch through the
inbox."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.calendars import sessions as calendar
from quantd.daemon.monitoring import watchdog as watch_module
from quantd.daemon.monitoring.watchdog import Watch, apart, bars_due, ending, jump, lateness, silence, watch
from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.inbox import COMMANDS, InboxFull
from quantd.daemon.runtime.timeline import Item, instants
from quantd.risk.switch import HALT, REDUCE, RUN
from quantd.trading.codec import decode
from quantd.trading.events import Condition, Operator, Stopping
from quantd.trading.sessions import DAY_NS, Sessions
from tests.support.api_world import RUN as RUN_NAME
from tests.support.api_world import World
from tests.support.calendar_files import with_calendar
from tests.support.command_line import CONFIG, ROOT

S = 1_000_000_000
MINUTE = 60 * S
PACED = CONFIG.replace('pace = "fast"', 'pace = "200/s"')


# pure


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


@pytest.fixture(scope="module")
def xnys() -> Sessions:
    return calendar("XNYS", date(2024, 1, 2), date(2024, 12, 31))


def closes(sessions: Sessions, interval_ns: int) -> list[int]:
    """Every bar's close, one by one."""
    close_times = []
    for open_ns, close_ns in zip(sessions.open_ns, sessions.close_ns, strict=True):
        ts = open_ns
        while ts < close_ns and interval_ns < DAY_NS:
            ts = min(ts + interval_ns, close_ns)
            close_times.append(ts)
        if interval_ns >= DAY_NS:
            close_times.append(close_ns)
    return close_times


@st.composite
def markets(draw: st.DrawFn) -> Sessions:
    at, opens, ends = 0, [], []
    for _ in range(draw(st.integers(1, 6))):
        at += draw(st.integers(1, 50))
        opens.append(at * MINUTE)
        at += draw(st.integers(1, 40))
        ends.append(at * MINUTE)
    return Sessions("X", "UTC", tuple(range(len(opens))), tuple(opens), tuple(ends))


@given(markets(), st.integers(1, 45), st.integers(-5, 600), st.integers(0, 600), st.booleans())
def test_bars_due_are_those_that_counting_one_by_one_finds(
    sessions: Sessions, minutes: int, after: int, more: int, daily: bool
) -> None:
    interval = DAY_NS if daily else minutes * MINUTE
    first, last = after * MINUTE // 2, (after + more) * MINUTE // 2
    every = closes(sessions, interval)
    expected = bisect_right(every, last) - bisect_right(every, first)
    for most in (1, 2, 5, 10_000):
        count = bars_due(sessions, interval, first, last, most)
        assert min(count, most) == min(expected, most)


@pytest.mark.requirement("R-017")
@pytest.mark.parametrize(
    ("interval", "last", "alive", "dead"),
    [
        # daily bars: Friday's is the last one, Monday's and Tuesday's were due
        (DAY_NS, "2024-05-03 20:00", "2024-05-07 19:59:59", "2024-05-07 20:00"),
        # over Memorial Day, a Monday without a session
        (DAY_NS, "2024-05-24 20:00", "2024-05-29 19:59:59", "2024-05-29 20:00"),
        # Thanksgiving: Thursday is none, Friday closes at 13:00
        (DAY_NS, "2024-11-27 21:00", "2024-12-02 20:59:59", "2024-12-02 21:00"),
        # the clocks change on Sunday the 10th of March
        (DAY_NS, "2024-03-07 21:00", "2024-03-11 19:59:59", "2024-03-11 20:00"),
        # minutes, within a session
        (MINUTE, "2024-05-03 15:00", "2024-05-03 15:01:59", "2024-05-03 15:02"),
        # the last bar of Friday; Monday opens at 13:30
        (MINUTE, "2024-05-03 20:00", "2024-05-06 13:31:59", "2024-05-06 13:32"),
        # half an hour before an early close
        (30 * MINUTE, "2024-07-03 16:30", "2024-07-05 13:59:59", "2024-07-05 14:00"),
        # hours: 9:30 to 16:00 has six whole ones and a half, which is a bar too
        (60 * MINUTE, "2024-05-03 18:30", "2024-05-03 19:59:59", "2024-05-03 20:00"),
        # across the clock change: the session opens an hour earlier in UTC
        (5 * MINUTE, "2024-03-08 21:00", "2024-03-11 13:39:59", "2024-03-11 13:40"),
    ],
)
def test_a_feed_is_dead_when_two_bars_were_due_and_none_came(
    xnys: Sessions, interval: int, last: str, alive: str, dead: str
) -> None:
    assert silence(utc(alive), utc(last), xnys, interval, 2) == ""
    assert "2 bars of XNYS are overdue" in silence(utc(dead), utc(last), xnys, interval, 2)


def test_a_market_that_never_closes_is_watched_over_the_weekend() -> None:
    days = tuple(utc("2024-05-01 00:00") + k * DAY_NS for k in range(20))
    crypto = Sessions("24/7", "UTC", days, days, tuple(d + DAY_NS for d in days))
    assert silence(utc("2024-05-05 00:09"), utc("2024-05-05 00:00"), crypto, 5 * MINUTE, 2) == ""
    assert silence(utc("2024-05-05 00:10"), utc("2024-05-05 00:00"), crypto, 5 * MINUTE, 2)
    assert silence(utc("2024-05-06 23:59"), utc("2024-05-05 00:00"), crypto, DAY_NS, 2) == ""
    assert silence(utc("2024-05-07 00:00"), utc("2024-05-05 00:00"), crypto, DAY_NS, 2)


def test_a_calendar_that_ends_within_sixty_days_is_named_with_its_last_session_and_the_remedy(xnys: Sessions) -> None:
    last = xnys.day_ns[-1]
    calendars = {"XNYS": xnys, "24/7": calendar("24/7", date(2024, 1, 1), date(2025, 12, 31))}
    assert ending(calendars, last - 60 * DAY_NS) == []
    (text,) = ending(calendars, last - 60 * DAY_NS + 1)
    assert "XNYS has no session after 2024-12-31" in text
    assert "update the package exchange_calendars" in text
    empty = Sessions("XKRX", "Asia/Seoul", (), (), ())
    assert len(ending({"XKRX": empty, "XNYS": xnys}, last)) == 2


def test_a_lag_is_what_is_later_than_its_bound() -> None:
    assert lateness(5.0, 5.0, 5.0) == ""
    assert "blocked for 5.1 s" in lateness(5.1, 0.0, 5.0)
    assert "waited for 5.1 s" in lateness(0.0, 5.1, 5.0)
    assert lateness(float("nan"), 0.0, 5.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_jump_is_further_than_its_bound_either_way(sign: int) -> None:
    assert jump(7, 7 + sign * 2 * S, 2 * S) == ""
    assert "jumped" in jump(7, 7 + sign * (2 * S + 1), 2 * S)


def test_clocks_that_could_not_be_read_together_are_not_compared() -> None:
    steady = iter([0, 2 * S, 5, 6])
    assert apart(lambda: 100, lambda: next(steady)) is None
    assert apart(lambda: 100, lambda: next(steady)) == 95


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60))
def test_a_condition_goes_down_at_once_and_comes_up_after_a_calm(steps: list[tuple[int, bool]]) -> None:
    watched, now, well_since, down = Watch("lag", False, 50), 0, None, False
    for more, wrong in steps:
        now += more
        well_since = None if wrong or not down else now if well_since is None else well_since
        expected = (False if not down else None) if wrong else None
        if not wrong and down and now - (well_since or 0) >= 50 and well_since is not None:
            expected = True
        assert watched.seen(now, "bad" if wrong else "") is expected
        if expected is not None:
            watched.said(expected)
            down, well_since = not expected, None
        assert watched.down == down


# in a running service


@asynccontextmanager
async def watched(folder: Path, text: str, before: Condition | None = None, **clocks: object) -> AsyncIterator[World]:
    """A service that steps, with its watchers; nothing feeds it. `before` happened before they began."""
    world = World(folder, text)
    if before is not None:
        world.service.shell.run(before)
    stepping = asyncio.create_task(world.service.step_forever())
    watching = asyncio.create_task(watch(world.service, world.assembly, **clocks))  # type: ignore[arg-type]
    try:
        yield world
    finally:
        watching.cancel()
        if not world.service.shell.stopped:
            await world.service.inbox.command(Stopping(world.service.shell.state.now, False, "the test is over"))
        await stepping
        world.store.close()


async def until(world: World, state: int, within_s: float = 60.0) -> None:
    limit = time.monotonic() + within_s
    while world.service.shell.state.switch.state != state:
        assert time.monotonic() < limit
        await asyncio.sleep(0.02)


async def all_up(world: World, within_s: float = 60.0) -> None:
    limit = time.monotonic() + within_s
    while world.service.shell.state.down:
        assert time.monotonic() < limit
        await asyncio.sleep(0.02)


async def recorded(world: World) -> list[Condition]:
    conditions: list[Condition] = []
    for _ in range(20):  # what has been stepped is committed a moment later
        await world.service.changed(0.3)
        events = [decode(data).event for _, data in world.store.entries(RUN_NAME)]
        conditions = [e for e in events if isinstance(e, Condition) and e.what != "bars"]
        if conditions:
            break
    return conditions


class Clock:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        return time.time_ns() + self.ahead_ns


@pytest.mark.long
@pytest.mark.parametrize("seconds", [3600, -3600])
async def test_a_clock_that_jumps_leaves_only_reducing_orders_until_a_person_resumes(
    tmp_path: Path, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    monkeypatch.setattr(watch_module, "CALM_NS", S // 2)
    wall = Clock()
    async with watched(tmp_path, PACED, wall=wall) as world:
        await asyncio.sleep(0.1)
        assert world.service.shell.state.switch.state == RUN
        wall.ahead_ns += seconds * S
        await until(world, REDUCE)
        assert world.service.shell.state.down == {"clock"}
        await all_up(world)
        assert world.service.shell.state.switch.state == REDUCE  # over, but nobody has looked
        await world.service.inbox.command(Operator(world.service.shell.state.now, "resume", "ntp", "me"))
        assert world.service.shell.state.switch.state == RUN
        assert [(c.what, c.up) for c in await recorded(world)] == [("clock", False), ("clock", True)]
        assert f"{seconds:+d}" in (await recorded(world))[0].detail


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_lock_that_is_removed_or_replaced_is_reported_once(
    tmp_path: Path, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    async with watched(tmp_path, PACED) as world:
        await asyncio.sleep(0.1)
        lock = world.folder / "lock"
        lock.unlink()
        if replaced:
            lock.write_text("")
        (alert,) = await recorded(world)
        assert (alert.what, alert.up) == ("upkeep", False)
        assert "lock was " in alert.detail
        assert "a second daemon could start" in alert.detail
        assert world.service.shell.state.switch.state == RUN


@pytest.mark.long
async def test_a_small_correction_of_the_clock_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    wall = Clock()
    async with watched(tmp_path, PACED, wall=wall) as world:
        for _ in range(5):
            wall.ahead_ns += int(1.5 * S)
            await asyncio.sleep(0.1)
        assert world.service.shell.state.switch.state == RUN


LAG = PACED.replace("max_drawdown", 'max_loop_lag = "200ms"\nmax_drawdown')


@pytest.mark.long
@pytest.mark.parametrize(("text", "moves"), [(LAG, True), (LAG.replace('"200/s"', '"fast"'), False)])
async def test_a_loop_that_stands_still_leaves_only_reducing_orders_unless_time_means_nothing(
    tmp_path: Path, text: str, moves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    async with watched(tmp_path, text) as world:
        await asyncio.sleep(0.1)
        time.sleep(0.5)  # noqa: ASYNC251 - the fault under test
        await asyncio.sleep(0.1)
        assert world.service.measured.loop_lag_s > 0.3
        assert (world.service.shell.state.switch.state == REDUCE) == moves
        assert world.service.shell.state.down == ({"lag"} if moves else set())


@pytest.mark.long
async def test_books_that_do_not_add_up_halt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    async with watched(tmp_path, CONFIG) as world:
        await feed_recorded(world.service, instants(world.assembly.items()), "fast", "wait")
        await asyncio.sleep(0.1)
        assert world.service.shell.state.switch.state == RUN
        world.service.shell.state.ledger.books[0].cash_micro += 1
        await until(world, HALT)
        assert "differ from the house's by 1" in (await recorded(world))[0].detail


async def test_a_condition_that_was_down_at_a_restart_comes_up_by_itself_and_still_needs_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    monkeypatch.setattr(watch_module, "CALM_NS", S // 10)
    async with watched(tmp_path, PACED, before=Condition(0, "clock", False, "before the restart")) as world:
        await all_up(world)
        assert world.service.shell.state.switch.state == REDUCE


def broken(items: Iterator[list[Item]], after: int) -> Iterator[list[Item]]:
    for number, instant in enumerate(items):
        if number == after:
            raise OSError("the disk with the bars is gone")
        yield instant


@pytest.mark.long
@pytest.mark.parametrize("pace", ["fast", "400/s"])
async def test_a_feeder_that_dies_is_a_dead_feed_that_is_named_and_the_daemon_stays(
    tmp_path: Path, pace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    async with watched(tmp_path, PACED) as world:
        market = broken(instants(world.assembly.items()), 200)
        await feed_recorded(world.service, market, pace, "stop")
        await until(world, REDUCE)
        assert not world.service.shell.stopped
        assert world.service.shell.state.down == {"feed"}
        detail = (await recorded(world))[0].detail
        assert "us_daily.parquet" in detail
        assert "the disk with the bars is gone" in detail
        # what a crash of the feeder cut off was never stepped: the named bar is the last one of the account
        last = datetime.fromtimestamp(int(world.service.shell.state.mark_ts.max()) / 1e9, UTC)
        assert f"{last:%Y-%m-%d %H:%M:%S} UTC" in detail
        await world.service.inbox.command(Operator(world.service.shell.state.now, "resume", "hope", "me"))
        assert world.service.shell.state.switch.state == REDUCE  # it is still dead
        # a new start reads on, and its first bar says that the feed is back; a person says that this is well
        world.service.feed_error = ""
        later_instants = instants(world.assembly.items(), world.service.shell.ts)
        await asyncio.sleep(0.2)
        assert world.service.shell.state.down == {"feed"}
        await feed_recorded(world.service, later_instants, "fast", "wait")
        await all_up(world)
        assert world.service.shell.state.switch.state == REDUCE


@pytest.mark.long
async def test_a_feed_at_its_own_pace_that_falls_silent_is_dead_within_two_bars_and_back_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    day = "2024-07-01"
    at = [1, 2, 5, 6]  # 3 and 4 never come
    lines = [f"{day}T13:30:{s:02d}Z,{name},10,10,10,10,1000" for s in at for name in ("SPY", "QQQ", "IWM")]
    bars = tmp_path / "seconds.csv"
    bars.write_text("\n".join(["ts,symbol,open,high,low,close,volume", *lines]) + "\n")
    text = CONFIG[: CONFIG.index("[feed]")] + (
        f'[feed]\npath = "{bars}"\ninterval = "1s"\nstamps = "close"\nwarmup = 0\npace = "real"\nat_end = "wait"\n'
    )
    text += CONFIG[CONFIG.index("[broker]") :].replace("close-15m", "open+1m")
    async with watched(tmp_path, text) as world:
        began = time.monotonic()
        feeding = asyncio.create_task(
            feed_recorded(world.service, instants(world.assembly.items()), "real", "wait"), name="feeding"
        )
        await until(world, REDUCE)
        assert time.monotonic() - began >= 2.5  # the bar of second 1 came at once, so second 4 is 3 s later
        detail = (await recorded(world))[0].detail
        assert "seconds.csv" in detail
        assert "13:30:02 UTC" in detail
        await feeding
        await all_up(world)
        assert world.service.shell.state.switch.state == REDUCE
        assert [(c.what, c.up) for c in await recorded(world)] == [("feed", False), ("feed", True)]


@pytest.mark.long
async def test_the_watchers_disturb_no_fast_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.001)
    async with watched(tmp_path, CONFIG) as world:
        await feed_recorded(world.service, instants(world.assembly.items()), "fast", "wait")
        shell = world.assembly.shell()
        for item in world.assembly.items():
            shell.take(item)
        assert world.service.shell.digest.hexdigest() == shell.digest.hexdigest()
        assert shell.tally.fills > 0
        assert await recorded(world) == []


async def test_the_room_of_the_inbox_is_kept_for_what_stops_trading(tmp_path: Path) -> None:
    async with watched(tmp_path, CONFIG) as world:  # nothing is stepped until somebody waits
        for _ in range(COMMANDS):
            world.service.inbox.command(Operator(0, "resume", "flood", "me"))
        with pytest.raises(InboxFull):
            world.service.inbox.command(Operator(0, "resume", "flood", "me"))
        world.service.inbox.command(Operator(0, "halt", "the kill switch", "me"))
        world.service.inbox.command(Condition(0, "clock", False, "it jumped"))
        await until(world, HALT)


# who ends the daemon when its interpreter's lock is held

LOCKED = "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')"
BEATING = """
import os, signal, sys, time
from pathlib import Path
from quantd.daemon.monitoring.watchdog import Sentry
sentry = Sentry(Path(sys.argv[1]), 0.6)
for _ in range(15):
    sentry.beat()
    time.sleep(0.1)
{then}
sentry.close()
"""


def beating(folder: Path, then: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", BEATING.format(then=then), str(folder / "HALT")],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.long
def test_a_loop_that_holds_the_interpreters_lock_is_ended_and_the_next_start_is_halted(tmp_path: Path) -> None:
    done = beating(tmp_path, LOCKED)
    assert done.returncode == -signal.SIGKILL
    assert "event loop blocked for 0.6 s" in done.stderr
    assert (tmp_path / "HALT").exists()


@pytest.mark.long
def test_a_daemon_that_ends_by_itself_leaves_no_halt(tmp_path: Path) -> None:
    assert beating(tmp_path, "").returncode == 0
    assert beating(tmp_path, "os._exit(3)").returncode == 3
    time.sleep(0.8)
    assert not (tmp_path / "HALT").exists()


@pytest.mark.long
def test_a_daemon_that_a_person_stopped_is_not_ended(tmp_path: Path) -> None:
    code = BEATING.format(then="os.kill(os.getpid(), signal.SIGSTOP)\nsentry.beat()")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "HALT")], cwd=ROOT)
    until = time.monotonic() + 30.0
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    assert process.wait(10) == 0
    assert not (tmp_path / "HALT").exists()


HANGING = f"""
import sys
import quantd.daemon.monitoring.heartbeat, quantd.daemon.monitoring.watchdog
quantd.daemon.monitoring.heartbeat.SILENCE_S = quantd.daemon.monitoring.watchdog.SILENCE_S = 2.0
from quantd.strategies.policies import POLICIES
class Held:
    lookback = 1
    def act(self, view, memory):
        {LOCKED}
POLICIES["held"] = lambda params: Held()
from quantd.daemon.cli import main
sys.argv = ["quantd", "run", "--quiet"]
main()
"""


@pytest.mark.long
def test_a_run_whose_own_policy_holds_the_lock_is_ended_and_leaves_the_file_halt(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace('"equal_weight"', '"held"'))
    with_calendar(tmp_path)
    held = subprocess.run(
        [sys.executable, "-c", HANGING], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert held.returncode == -signal.SIGKILL, held.stderr
    assert (tmp_path / "state" / "HALT").exists()
