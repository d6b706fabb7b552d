"""Runs the jobs of one lane beside trading, one at a time.

A job that fails is repeated after a pause, as often as its record says; after the last attempt it raises an alert. No
exception of a job affects anything else.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from msgspec import Struct
from msgspec.structs import replace

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.assembly.job_records import Work
from quantd.daemon.jobs.job_log import JobLog
from quantd.daemon.jobs.job_table import BY_NAME, duration_text
from quantd.daemon.runtime.service import Service, Step, reason_of
from quantd.trading.events import Tick

log = structlog.get_logger("quantd.jobs")

PACE_S: Final = 1.0
"""Least time between two passes. While the daemon catches up with a recorded market, jobs are due all the time."""


class Announced(Exception):
    """A job has failed and has raised an alert about it itself."""


class Permanent(Exception):
    """A failure of a job that another attempt cannot change."""


class Stopped(Exception):
    """The service stopped during a job: its run stays open, and the next start finds it interrupted."""


class TimeLimit(Exception):
    """An attempt of a job took too long."""


def result_of(outcome: str | BaseException) -> str:
    """The result of a job's work. Raises the exception if `outcome` is one."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


class Again(Struct):
    """A run of a job that is to be tried again when the runner's clock reaches `at`."""

    run: JobRun
    at: float


class Jobs:
    """Runs the jobs of one lane of a service, one at a time.

    A job runs only for the newest instant at which it was due.
    """

    def __init__(
        self,
        service: Service,
        work: Mapping[str, Work],
        runs: JobLog | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`work` is what each job of the lane does; `runs` is the log of job runs, by default a new one."""
        self._service = service
        self._work = work
        self._log = runs or JobLog(service)
        self._clock = clock
        self.due: dict[str, int] = {}
        """Job -> newest due instant that has not begun."""
        self._alerted = {
            incident.kind.removeprefix("job_")
            for incident in service.incidents.active()
            if incident.kind.startswith("job_")
        }
        """Jobs whose failure was announced, in this process or an earlier one."""
        self._by_hand: dict[str, JobRun] = {
            run.job: self._log.begin(
                run.job, run.schedules, due_ts=run.due_ts, reason=f"job run {run.id} was interrupted"
            )
            for run in self._log.interrupted if run.job in work
        }  # fmt: skip
        """Job -> its queued run: by hand, or one that an earlier process left."""
        self._again: dict[str, Again] = {}
        """Job -> its run that is to be tried again, and when."""
        self._late: dict[str, asyncio.Future[str | BaseException]] = {}
        """Job -> its work in a thread that is beyond its time limit and still runs: a thread cannot be ended."""
        self._done = clock() - PACE_S  # the end of the last job; so far back that the first one need not wait
        service.measured.task_failures.update(dict.fromkeys(work, 0))
        service.subscribers.append(self._take)

    def _take(self, steps: Sequence[Step]) -> None:
        for event, _ in steps:
            if type(event) is Tick and event.jobs:
                self.due.update((job, event.ts) for job in event.jobs if job in self._work)

    def request(self, run: JobRun) -> None:
        """Mark a queued run of a job to be carried out soon."""
        self._by_hand[run.job] = run
        self._done = min(self._done, self._clock() - PACE_S)
        self._service.notify()

    async def run(self) -> None:
        """Run due jobs until the service has stopped, then once more if a job of this lane also runs at a stop."""
        while not self._service.over:
            await self._service.changed(0.5)
            if self._clock() - self._done >= PACE_S:
                await self.once()
        if any(BY_NAME[job].at_stop for job in self._work):
            await self.once()

    async def once(self) -> None:
        """Make one pass over the jobs of the lane that are due now.

        At most one run by hand, one due instant and one retry of a job wait. A due instant is tried in place of a
        retry. When the service stops, retries do not wait for their time.
        """
        now, over = self._clock(), self._service.over
        retries = {job: retry.run for job, retry in self._again.items() if over or now >= retry.at}
        due, self.due = self.due, {}
        by_hand, self._by_hand = self._by_hand, {}
        for job in self._work:
            if job in self._late and not self._late[job].done():  # due again once its thread has ended
                self.due |= {job: due[job]} if job in due else {}
                self._by_hand |= {job: by_hand[job]} if job in by_hand else {}
                continue
            if job in by_hand:
                await self._try(by_hand[job])
            if job in due:  # a newer instant replaces a retry of an earlier one
                await self._try(self._log.begin(job, self._log.behind(job, due[job]), due_ts=due[job]))
            elif job in retries and job not in by_hand:
                await self._try(retries[job])

    async def _try(self, run: JobRun) -> None:
        """Make one attempt of a job's run, and note the outcome.

        An older run of the same job that waits for a retry ends as failed. Raises only CancelledError and
        KeyboardInterrupt.
        """
        job = run.job
        former = self._again.pop(job, None)
        if former is not None and former.run.id != run.id:
            self._log.end(former.run, f"{former.run.result}; a newer run took its place", failed=True)
        run = replace(run, state="running", started_ns=run.started_ns or time.time_ns(), attempts=run.attempts + 1)
        self._log.put(run)
        await self._log.flush()
        began = time.monotonic()
        try:
            result = await self._in_time(run)
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except Stopped:
            log.info("job.stopped", job=job, run=run.id)
        except BaseException as why:  # a panic of a compiled library is no Exception
            self._service.measured.task_failures[job] += 1
            self._fail(run, why)
        else:
            if job in self._alerted:
                self._alerted.discard(job)
                self._service.alert(f"{job} succeeded again", job, up=True)
            self._log.end(run, result)
            log.info("job", job=job, done=result, seconds=round(time.monotonic() - began, 3), run=run.id)
        finally:
            self._service.measured.tasks.append((job, time.monotonic() - began))
            self._done = self._clock()
            await self._log.flush()

    async def _in_time(self, run: JobRun) -> str:
        """Make one attempt of a job's run within its time limit, and return its result.

        Raises TimeLimit, and what the work raises. Work in a thread cannot be ended: it goes on, and the job is not
        tried again before its end.
        """
        limit_s = BY_NAME[run.job].timeout_s
        work = asyncio.ensure_future(self._outcome(run))
        try:
            await asyncio.wait({work}, timeout=limit_s)
        except asyncio.CancelledError:
            work.cancel()
            raise
        if work.done():
            return result_of(work.result())
        if BY_NAME[run.job].where == "thread":
            self._late[run.job] = work
            raise TimeLimit(
                f"the job did not end within {duration_text(limit_s)}; it is repeated once its thread has ended"
            )
        work.cancel()
        await asyncio.wait({work})
        raise TimeLimit(f"the job did not end within {duration_text(limit_s)}; its process was ended")

    async def _outcome(self, run: JobRun) -> str | BaseException:
        """The result of a job's work, or its exception, which is not raised: SystemExit would end the event loop."""
        try:
            return await self._work[run.job](run)
        except asyncio.CancelledError:
            raise
        except BaseException as why:
            return why

    def _fail(self, run: JobRun, failure: BaseException) -> None:
        """Note a failed attempt of a job: try again after a pause, or at last end the run and raise an alert.

        A Permanent failure is not tried again. An Announced failure has an alert already, so that none is raised here.
        """
        record = BY_NAME[run.job]
        pause_s = record.pause_s * 2.0 ** (run.attempts - 1)
        is_last = run.attempts >= record.attempts or isinstance(failure, Permanent)
        given_up = f"given up after {run.attempts} attempt{'s' * (run.attempts > 1)}"
        consequence = given_up if is_last else f"tried again in {pause_s:g} s"
        log.error(
            "job.failed", job=run.job, attempt=run.attempts, then=consequence, error=reason_of(failure), run=run.id
        )
        text = str(failure) if isinstance(failure, Announced | Permanent | TimeLimit) else reason_of(failure)
        if not is_last:
            waiting_run = self._log.put(replace(run, state="retrying", result=f"{text}; {consequence}"))
            self._again[run.job] = Again(waiting_run, self._clock() + pause_s)
            return
        self._log.end(run, f"{text}; {consequence}", failed=True)
        if not isinstance(failure, Announced):
            self._alerted.add(run.job)
            self._service.alert(f"{run.job} failed: {text}; {consequence}", run.job, critical=record.critical)
