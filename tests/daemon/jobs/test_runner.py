"""A scheduled job that fails is heard of, tried again and stops nothing; so is a loop that trading does not need."""

import asyncio
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from quantd.adapters.store.journal.job_runs import KEPT, JobRun
from quantd.adapters.store.store_errors import StoreFailing
from quantd.adapters.store.upkeep.verify import verify
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import load
from quantd.daemon.jobs.job_log import JobLog
from quantd.daemon.jobs.job_table import BY_NAME
from quantd.daemon.jobs.risk_reports import Reporter
from quantd.daemon.jobs.runner import Jobs, Work
from quantd.daemon.jobs.supervision import kept_up
from quantd.daemon.jobs.tasks.data_refresh import DataRefresh
from quantd.daemon.runtime.timeline import instants
from quantd.risk.switch import RUN
from quantd.trading.events import Stopping
from tests.support.command_line import write
from tests.support.mqtt import until
from tests.support.service_kit import Kit, world

RAISED = [
    StoreFailing("the store"),
    MemoryError(),
    SystemExit(3),
    pl.exceptions.PanicException("a panic"),
]


class Failing:
    """Work that raises `error` the first `times` times."""

    def __init__(self, error: BaseException, times: int) -> None:
        self.error = error
        self.times = times
        self.done: list[int] = []

    async def work(self, run: JobRun) -> str:
        self.done.append(run.due_ts)
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
    runner = Jobs(kit.service, work, clock=clock)
    runner.due = dict.fromkeys(work, 7)
    stepping = asyncio.create_task(kit.service.step_forever())
    running = asyncio.create_task(runner.run())
    await kit.service.inbox.put(list(instants(kit.world.items(), kit.shell.ts))[:5])
    await until(lambda: (setattr(clock, "now", clock.now + 1.0), kit.service.notify(), then())[2])
    await kit.service.inbox.put([[Stopping(0, False, "test")]])
    await asyncio.wait_for(stepping, 20)
    await asyncio.wait_for(running, 20)
    assert kit.shell.state.switch.state == RUN
    kit.store.close()


def told(kit: Kit) -> list[str]:
    """Texts of the committed alerts about jobs."""
    return [alert.text for alert in kit.service.recent if alert.kind.startswith("job_")]


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("error", RAISED, ids=lambda e: type(e).__name__)
async def test_a_job_that_raises_anything_fails_alone_and_is_tried_again_without_an_alert(
    tmp_path: Path, error: BaseException
) -> None:
    kit, clock = Kit(tmp_path, world()), Clock()
    bad, good = Failing(error, 2), Failing(error, 0)
    await beside(kit, {"daily_report": bad.work, "backup": good.work}, clock, lambda: len(bad.done) == 3)
    assert bad.done == [7, 7, 7]
    assert good.done == [7]
    assert told(kit) == []
    ended = [job for job, _ in kit.service.measured.tasks]
    assert ended == ["daily_report", "backup", "daily_report", "daily_report"]
    again = Kit(tmp_path, world())
    runs = {job_run.job: job_run for job_run in again.store.job_runs("run00001")}
    assert (runs["daily_report"].state, runs["daily_report"].attempts) == ("succeeded", 3)
    assert (runs["backup"].state, runs["backup"].attempts, runs["backup"].result) == ("succeeded", 1, "done")
    again.store.close()


@pytest.mark.requirement("R-177")
async def test_the_pauses_grow_then_one_alert_until_the_next_due_instant_succeeds(tmp_path: Path) -> None:
    kit, clock = Kit(tmp_path, world()), Clock()
    at: list[float] = []

    async def fails(run: JobRun) -> str:
        at.append(clock.now)
        if run.due_ts == 9:
            return "done"
        raise TypeError(run.due_ts)

    log = JobLog(kit.service)
    runner = Jobs(kit.service, {"backup": fails}, log, clock=clock)
    for due in (7, 8):
        runner.due = {"backup": due}
        for _ in range(1_000):
            await runner.once()
            clock.now += 1.0
    pauses = [b - a for a, b in pairwise(at[:5])]
    assert pauses == [30.0, 60.0, 120.0, 240.0]
    assert len(at) == 2 * BY_NAME["backup"].attempts
    runner.due = {"backup": 9}
    await runner.once()
    kit.service.inbox.command(Stopping(0, False, "test"))
    await kit.service.step_forever()
    first, second, better = told(kit)
    assert [alert.level for alert in kit.service.recent if alert.kind == "job_backup"] == ["CRITICAL"] * 2 + ["INFO"]
    assert "backup failed: TypeError: 7; given up after 5 attempts" in first
    assert "backup failed: TypeError: 8; given up after 5 attempts" in second
    assert "backup succeeded again" in better
    assert [job_run.state for job_run in kit.store.job_runs("run00001")] == ["failed", "failed", "succeeded"]
    kit.store.close()


async def test_a_failure_that_another_attempt_cannot_change_has_one_attempt_and_one_alert(tmp_path: Path) -> None:
    kit, clock = Kit(tmp_path, world()), Clock()
    work = DataRefresh(kit.service).work  # the bundled bars do not name their source
    runner = Jobs(kit.service, {"data_refresh": work}, JobLog(kit.service), clock=clock)
    kit.service.config = load(write(tmp_path), known_names())
    runner.due = {"data_refresh": 7}
    for _ in range(1_000):
        await runner.once()
        clock.now += 10.0
    kit.service.inbox.command(Stopping(0, False, "test"))
    await kit.service.step_forever()
    (failure,) = told(kit)
    assert "its source is not known; given up after 1 attempt" in failure
    kit.store.close()


@pytest.mark.requirement("R-176")
async def test_an_attempt_beyond_its_time_limit_ends_and_a_thread_is_not_begun_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, clock, began = Kit(tmp_path, world()), Clock(), []
    release = asyncio.Event()
    for name in ("backup", "parity"):
        monkeypatch.setitem(BY_NAME, name, replace(BY_NAME[name], timeout_s=0.05))

    async def hangs(run: JobRun) -> str:
        began.append(run.job)
        await release.wait()
        return "late"

    log = JobLog(kit.service)
    runner = Jobs(kit.service, {"backup": hangs, "parity": hangs}, log, clock=clock)
    runner.due = {"backup": 1, "parity": 1}
    await runner.once()
    clock.now += 60.0
    await runner.once()
    assert began == ["backup", "parity", "parity"], "the thread of the backup still runs"
    assert [(job_run.job, job_run.state) for job_run in log.runs()] == [("parity", "retrying"), ("backup", "retrying")]
    assert "the job did not end within 0.05 s; its process was ended" in log.runs()[0].result
    release.set()
    await asyncio.sleep(0.01)
    await runner.once()
    assert began[3:] == ["backup"]
    assert log.runs()[1].state == "succeeded"
    kit.store.close()


async def test_a_killed_run_is_interrupted_and_repeated_if_its_record_says_so(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    log = JobLog(kit.service)
    for job in ("health_check", "daily_report", "flatten"):
        log.put(replace(log.begin(job, ("s",), due_ts=7), state="running", attempts=1))
    await log.flush()
    kit.store.close()
    again = Kit(tmp_path, world())
    log = JobLog(again.service)
    assert [job_run.state for job_run in log.runs()] == ["interrupted"] * 3
    done = Failing(OSError(), 0)
    runner = Jobs(again.service, {"daily_report": done.work, "health_check": done.work}, log)
    await runner.once()
    assert done.done == [7]
    newest = log.runs()[0]
    assert (newest.job, newest.state, newest.reason) == ("daily_report", "succeeded", "job run 2 was interrupted")
    assert newest.schedules == ("s",)
    again.store.close()


async def test_the_log_of_runs_is_bounded_in_memory_and_in_the_store(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    log = JobLog(kit.service)
    log.end(log.begin("compact", ("yearly",), due_ts=0), "done")
    for n in range(3 * KEPT):
        log.end(log.begin("compact", due_ts=n), "done")
        if n % 20 == 0:
            await log.flush()
    log.end(log.begin("backup", due_ts=1), "done")
    await log.flush()
    assert len(log.runs()) == KEPT + 2, "a frequent schedule does not remove the last run of a rare one"
    assert log.runs()[-1].schedules == ("yearly",)
    assert kit.store.job_runs("run00001") == log.runs()[::-1]
    kit.store.close()
    assert verify(tmp_path) == []
    with sqlite3.connect(tmp_path / "quantd.db") as db:
        db.execute("UPDATE jobs SET result = 'fine' WHERE job = 'backup'")
    assert any("jobs: the row run00001, 152, backup does not match" in finding for finding in verify(tmp_path))


async def test_a_report_before_the_first_sample_is_no_failure(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    work = Reporter(kit.service, tmp_path, tmp_path, "").work
    kit.service.over = True
    runner = Jobs(kit.service, {"daily_report": work})
    runner.due = {"daily_report": 1}
    await runner.run()
    assert runner._again == {}
    assert not (tmp_path / "reports").exists()
    kit.store.close()


@pytest.mark.long
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
