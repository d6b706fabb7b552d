"""A scheduled job that fails is heard of, tried again and stops nothing; so is a loop that trading does not need."""

import asyncio
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.store.errors import StoreFailing
from quantd.daemon.jobs import runner as jobs
from quantd.daemon.jobs.risk_reports import Reporter
from quantd.daemon.jobs.runner import Jobs, Work
from quantd.daemon.jobs.supervision import kept_up
from quantd.daemon.runtime.timeline import instants
from quantd.risk.switch import RUN
from quantd.trading.codec import decode
from quantd.trading.effects import Publish
from quantd.trading.events import Stopping
from tests.daemon.runtime.test_service import Kit, until, world

RAISED = [
    TypeError("a text where a number is"),
    ValueError("no"),
    OSError(28, "No space left on device"),
    StoreFailing("the store"),
    MemoryError(),
    ZeroDivisionError(),
    SystemExit(3),
    pl.exceptions.PanicException("a panic"),
]


class Failing:
    """Work that raises `error` the first `times` times."""

    def __init__(self, error: BaseException, times: int) -> None:
        self.error = error
        self.times = times
        self.done: list[int] = []

    async def work(self, job: str, due: int) -> str:
        self.done.append(due)
        if len(self.done) > self.times:
            return "done"

        def fails() -> str:
            raise self.error

        return await asyncio.to_thread(fails)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def beside(kit: Kit, work: dict[str, Work], clock: Clock, then: Callable[[], object]) -> None:
    """Step a few bars with jobs beside, until `then` is true; a round every few milliseconds, a second apart by the
    clock."""
    runner = Jobs(kit.service, work, last=False, clock=clock)
    runner.due = dict.fromkeys(work, 7)
    stepping = asyncio.create_task(kit.service.step_forever())
    running = asyncio.create_task(runner.run())
    await kit.service.inbox.put(list(instants(kit.world.items(), kit.shell.ts))[:5])
    await until(lambda: (setattr(clock, "now", clock.now + 1.0), then())[1])
    await kit.service.inbox.put([[Stopping(0, False, "test")]])
    await asyncio.wait_for(stepping, 20)
    await asyncio.wait_for(running, 20)
    assert kit.shell.state.switch.state == RUN
    kit.store.close()


def told(kit: Kit) -> list[str]:
    """Texts of the alerts about jobs that were published."""
    return [m.payload.decode() for m in kit.sent if m.topic.endswith("/alerts/WARNING/upkeep")]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("error", RAISED, ids=lambda e: type(e).__name__)
async def test_a_job_that_raises_anything_fails_alone_raises_one_alert_and_is_tried_again(
    tmp_path: Path, error: BaseException
) -> None:
    kit, clock = Kit(tmp_path, world()), Clock()
    bad, good = Failing(error, 2), Failing(error, 0)
    await beside(kit, {"daily_report": bad.work, "backup": good.work}, clock, lambda: len(bad.done) == 3)
    assert bad.done == [7, 7, 7]
    assert good.done == [7]
    (said,) = told(kit)
    assert f"daily_report failed: {type(error).__name__}" in said
    assert "tried again in 30 s" in said
    ended = [job for job, _ in kit.service.took]
    assert ended == ["daily_report", "backup", "daily_report", "daily_report"]
    again = Kit(tmp_path, world())
    journalled = [e for _, data in again.store.entries("run00001") for e in decode(data).effects]
    assert [e.kind for e in journalled if isinstance(e, Publish) and e.kind == "upkeep"] == ["upkeep"]
    again.store.close()


async def test_the_pauses_grow_and_a_job_is_given_up_until_its_next_due_instant(tmp_path: Path) -> None:
    kit, clock = Kit(tmp_path, world()), Clock()
    at: list[float] = []

    async def fails(job: str, due: int) -> str:
        at.append(clock.now)
        raise TypeError(due)

    runner = Jobs(kit.service, {"compact": fails}, clock=clock)
    runner.due = {"compact": 7}
    for _ in range(1_000):
        await runner.once()
        clock.now += 1.0
    pauses = [b - a for a, b in pairwise(at)]
    assert pauses == [30.0, 60.0, 120.0, 240.0]
    assert len(at) == jobs.ATTEMPTS
    runner.due = {"compact": 8}
    await runner.once()
    assert len(at) == jobs.ATTEMPTS + 1, "the next instant begins anew"
    kit.service.inbox.command(Stopping(0, False, "test"))
    await kit.service.step_forever()
    kit.store.close()
    first, last, anew = told(kit)
    assert "tried again in 30 s" in first
    assert "given up after 5 attempts" in last
    assert "compact failed: TypeError: 8; tried again in 30 s" in anew


async def test_a_row_that_is_no_number_makes_a_report_fail_and_the_daemon_stays(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    await kit.run()
    kit.store.close()
    with sqlite3.connect(tmp_path / "quantd.db") as db:
        db.execute("UPDATE equity SET equity_micro = 'abc' WHERE seq = (SELECT MAX(seq) FROM equity)")
    again = Kit(tmp_path, world())
    again.shell.stopped = ""
    work = Reporter(again.service, tmp_path, tmp_path, "").work
    await beside(again, {"daily_report": work, "risk_report": work}, Clock(), lambda: len(again.service.took) >= 2)
    assert len([m for m in told(again) if "_report failed" in m]) == 2


async def test_a_report_before_the_first_sample_is_no_failure(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    work = Reporter(kit.service, tmp_path, tmp_path, "").work
    kit.service.over = True
    runner = Jobs(kit.service, {"daily_report": work})
    runner.due = {"daily_report": 1}
    await runner.run()
    assert runner._failed == {}
    assert not (tmp_path / "reports").exists()
    kit.store.close()


async def test_a_loop_that_fails_begins_again_and_one_that_ends_has_ended(tmp_path: Path) -> None:
    kit, clock, began = Kit(tmp_path, world()), Clock(), 0

    async def loop() -> None:
        nonlocal began
        began += 1
        if began < 4:
            raise RAISED[-1]

    running = asyncio.create_task(kept_up(kit.service, "bus", loop, clock=clock))
    await until(lambda: (setattr(clock, "now", clock.now + 1.0), running.done())[1])
    assert began == 4
    assert len(kit.service.inbox) == 1, "one alert, however often it fails"
    kit.store.close()
