"""The runs of jobs of one service: in memory for readers, and in the store, so that they survive a restart."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from quantd.adapters.store.journal.job_runs import KEPT, OPEN, JobRun
from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.jobs.job_table import BY_NAME
from quantd.daemon.runtime.schedule import Schedule, due
from quantd.daemon.runtime.service import Service, Step
from quantd.trading.codec import decode
from quantd.trading.effects import Ask
from quantd.trading.events import Decided, Tick
from quantd.trading.orders import OrderBasket, ScheduleRun
from quantd.trading.sessions import Sessions

log = structlog.get_logger("quantd.jobs")

SEARCHED: Final = 20_000
"""Number of newest journal entries that a start searches for a run by hand, during which the process ended."""

RESULT_CHARS: Final = 1_000
"""Maximum length of a stored result."""

UNNOTED: Final = 1_000
"""Number of instants of one job after which its runs are noted at once, without a wait for the next interval."""

Newest = Callable[[str, Collection[int]], list[tuple[int, tuple[str, ...]]]]
"""(job, instants) -> the newest of these instants for each schedule of the job, as (instant, names of schedules)."""


class AlreadyRunning(Exception):
    """The job has a run that has not ended."""


class JobLog:
    """The runs of jobs: for each job and set of schedules, the newest KEPT."""

    def __init__(self, service: Service, newest: Newest = lambda job, instants: []) -> None:
        """`newest` is the function that returns the newest instants at which each schedule of a job was due.

        The default function, for a service without schedules, returns an empty list.
        """
        self._service = service
        self._newest = newest
        self._runs: dict[int, JobRun] = {run.id: run for run in service.store.job_runs(service.run)}
        self._unwritten: dict[int, JobRun] = {}
        self._failed = ""
        """The store's last error, so that a repeated one is logged once; empty after a success."""
        self._asked: dict[int, tuple[set[tuple[int, int]], int]] = {}
        """Id of a run in the loop -> ((round number, agent) of unanswered questions, orders so far)."""
        self._ticked: dict[str, list[int]] = {}
        """Job in the loop -> its instants that are not noted yet."""
        self.interrupted = self._interrupt()
        """Runs that are to be repeated, because the process ended during them."""
        service.subscribers.append(self._take)

    def behind(self, job: str, ts: int) -> tuple[str, ...]:
        """The names of the schedules of a job that are due at an instant."""
        return next((names for _, names in self._newest(job, [ts])), ())

    def runs(self) -> list[JobRun]:
        """The runs of all jobs, newest first."""
        return [self._runs[id] for id in sorted(self._runs, reverse=True)]

    def get(self, id: int) -> JobRun | None:
        """The run of a job with this number; None for an unknown number."""
        return self._runs.get(id)

    def begin(
        self, job: str, schedules: tuple[str, ...] = (), *, due_ts: int, who: str = "", reason: str = ""
    ) -> JobRun:
        """Add a queued run and return it. `due_ts` is in ns UTC; `who` started a run by hand, else it is empty.

        `schedules` are the names of the schedules that caused the run. Raises AlreadyRunning for a run by hand while
        another run of the job is open.
        """
        present = next((entry for entry in self.runs() if entry.job == job and entry.state in OPEN), None)
        if who and present is not None:
            raise AlreadyRunning(f"{job} is {present.state} already, as job run {present.id}")
        # ids are counted and not taken from the clock, which may be set back
        run = JobRun(max(self._runs, default=0) + 1, job, schedules, who, reason, due_ts)
        return self.put(run)

    def put(self, run: JobRun) -> JobRun:
        """Store a run in memory under its number, and return it; `flush` writes it to the store.

        Of the runs of the same job and schedules, the newest KEPT remain.
        """
        self._runs[run.id] = self._unwritten[run.id] = run
        ids = [entry.id for entry in self.runs() if (entry.job, entry.schedules) == (run.job, run.schedules)]
        for id in ids[KEPT:]:
            del self._runs[id]
            self._unwritten.pop(id, None)
        return run

    def end(self, run: JobRun, result: str, *, failed: bool = False) -> JobRun:
        """Store and return the ended run, with the first RESULT_CHARS characters of its result."""
        return self.put(
            replace(
                run, state="failed" if failed else "succeeded", ended_ns=time.time_ns(), result=result[:RESULT_CHARS]
            )
        )

    async def run(self) -> None:
        """Write changed runs of jobs to the store until the service has stopped."""
        while not self._service.over:
            await self._service.changed(0.5)
            self._note_ticks()
            await self.flush()
        self._note_ticks()
        await self.flush()

    async def flush(self) -> None:
        """Write the changed runs of jobs to the store. While the store fails they wait in memory."""
        if not self._unwritten:
            return
        runs, self._unwritten = list(self._unwritten.values()), {}
        try:
            await asyncio.to_thread(self._service.store.note_jobs, self._service.run, runs)
            self._failed = ""
        except StoreError as error:
            self._unwritten = {run.id: run for run in runs} | self._unwritten
            if str(error) != self._failed:
                self._failed = str(error)
                log.warning("jobs.unwritten", error=self._failed, then="written when the store takes writes")

    def _interrupt(self) -> list[JobRun]:
        """Mark the runs of jobs that an earlier process left open as interrupted; returns the runs to be repeated.

        A run in the engine's loop whose command is in the journal was carried out: it ends as succeeded. Of each job
        whose record says that it runs again after an interruption, one run is repeated.
        """
        open_runs = [run for run in self._runs.values() if run.state in OPEN]
        loop_ids = {run.id for run in open_runs if run.job in BY_NAME and BY_NAME[run.job].where == "loop"}
        journalled_ids = self._journalled() if loop_ids else set()
        for run in open_runs:
            if run.id in journalled_ids:
                self.end(run, "journalled; the process ended before the result was noted")
            else:
                ended = replace(run, state="interrupted", ended_ns=time.time_ns())
                self.put(replace(ended, result=f"the process ended during it {run.result}".rstrip()))
        again = {run.job: run for run in open_runs if run.job in BY_NAME and BY_NAME[run.job].again}
        return list(again.values())

    def _journalled(self) -> set[int]:
        """Ids of the job runs requested by hand in the newest SEARCHED entries of the journal."""
        store, run = self._service.store, self._service.run
        first = max(1, store.last_seq(run) - SEARCHED)
        events = (decode(data).event for _, data in store.entries(run, first) if b"ScheduleRun" in data)
        return {event.id for event in events if isinstance(event, ScheduleRun)}

    def _take(self, steps: Sequence[Step]) -> None:
        """Record, from committed steps, the runs of jobs that the engine's loop began, continued or ended.

        A Tick is an instant of schedules, which begins and ends a run at once. A ScheduleRun is a run by hand: it asks
        the agents, and ends with the last Decided, the answer of an agent.
        """
        for event, effects in steps:
            if type(event) is Tick:
                jobs = [job for job in event.jobs if BY_NAME[job].where == "loop"]
                for job in ["rebalance", *jobs] if event.due else jobs:
                    waiting = self._ticked.setdefault(job, [])
                    waiting.append(event.ts)
                    if len(waiting) >= UNNOTED:
                        self._note_ticks()
            elif type(event) is ScheduleRun:
                if event.job == "reconcile":
                    self._service.reconcile()
                unanswered = {(e.round, e.agent) for e in effects if isinstance(e, Ask)}
                self._asked[event.id] = (unanswered, 0)
                self._settle(event.id, event.job, len(unanswered))
            elif type(event) is Decided and self._asked:
                orders = sum(len(e.sym) for e in effects if isinstance(e, OrderBasket))
                for id, (unanswered, before) in list(self._asked.items()):
                    if (event.round, event.agent) in unanswered:  # `round` numbers the questions of one instant
                        unanswered.discard((event.round, event.agent))
                        self._asked[id] = (unanswered, before + orders)
                        self._settle(id, "rebalance", 0)  # 0: only the first call of a run writes the number asked

    def _settle(self, id: int, job: str, asked: int) -> None:
        """End a run of a job of the engine's loop once its agents have answered.

        A queued run is running from now on; it stays open while a question is unanswered. `asked` is the number of
        agents that the run asked, for the text. The job "rebalance" alone asks agents; any other job ends at once.
        """
        run = self._runs.get(id)
        unanswered, orders = self._asked[id]
        # newer runs of the job have replaced it in memory
        if run is None:
            del self._asked[id]
            return
        if run.state == "queued":
            now = time.time_ns()
            text = f"{asked} agents asked" if asked else ""
            run = self.put(replace(run, state="running", started_ns=now, attempts=1, result=text))
        if unanswered:
            return
        del self._asked[id]
        if job != "rebalance":
            place = BY_NAME[job].place
            self.end(run, "done" if place == "loop" else "done at the next sample")
        elif run.result:
            self.end(run, f"{run.result}, {orders} orders")
        else:
            self.end(run, "no agent was asked: trading is halted, or nothing was sampled yet", failed=True)

    def _note_ticks(self) -> None:
        """Note a run for the newest instant of each schedule of jobs that the engine's loop carries out.

        Schedules with the same instant share a run.
        """
        ticked, self._ticked = self._ticked, {}
        for job, instants in ticked.items():
            due_instants = self._newest(job, instants)
            if not due_instants and job != "rebalance":  # samples ask agents without a schedule
                due_instants = [(instants[-1], ())]
            for ts, names in due_instants:
                now = time.time_ns()
                run = self.begin(job, names, due_ts=ts)
                self.end(replace(run, started_ns=now, attempts=1), "done")


def newest_due(schedules: Sequence[Schedule], sessions: Mapping[str, Sessions]) -> Newest:
    """Return a function of a job and some instants: it finds the newest of them at which each schedule of the job was
    due."""

    def newest(job: str, instants: Collection[int]) -> list[tuple[int, tuple[str, ...]]]:
        job_schedules, ticks = [schedule for schedule in schedules if schedule.do == job], set(instants)
        # the instants ascend, so that the newest one of each schedule remains
        last = {k: ts for ts, k in due(job_schedules, sessions, min(ticks) - 1, max(ticks)) if ts in ticks}
        return [
            (instant, tuple(job_schedules[k].name for k, ts in last.items() if ts == instant))
            for instant in sorted(set(last.values()))
        ]

    return newest
