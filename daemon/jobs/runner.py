"""Scheduled jobs beside trading: reports, backups, compaction, retraining. A job that fails raises an alert, is tried
again after a pause, and stops nothing else, whatever its exception."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog
from msgspec import Struct

from quantd.daemon.runtime.service import Service, Step, reason_of
from quantd.trading.events import Tick

log = structlog.get_logger("quantd.jobs")

PACE_S: Final = 1.0
"""Least time between two rounds of jobs: while a recorded market is caught up with, many come due at once."""

ATTEMPTS: Final = 5
"""Times that a job is tried for one due instant."""

PAUSE_S: Final = 30.0
"""Pause before the second attempt of a job; each later pause is twice as long."""


Work = Callable[[str, int], Awaitable[str]]
"""Does a job that was due at an instant; returns what it made, for the log."""


class Announced(Exception):
    """A job failed and has raised its own alert."""


class Failed(Struct):
    """A job to be tried again at `at`, on the clock of its runner."""

    due: int
    attempts: int
    at: float


class Jobs:
    """Runs some jobs of one service, one at a time; of several due instants of a job only the newest. With `last` the
    jobs that are due when the service stops are still done."""

    def __init__(
        self,
        service: Service,
        work: Mapping[str, Work],
        *,
        last: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._work = work
        self._last = last
        self._clock = clock
        self.due: dict[str, int] = {}
        """Job -> the newest instant at which it was due, until it is begun: of many that pass while the daemon catches
        up only the last is done."""
        self._failed: dict[str, Failed] = {}
        self._done = clock() - PACE_S
        service.subscribers.append(self._take)

    def _take(self, steps: Sequence[Step]) -> None:
        """Note the jobs that came due in committed steps."""
        for event, _ in steps:
            if type(event) is Tick and event.jobs:
                self.due.update((job, event.ts) for job in event.jobs if job in self._work)

    async def run(self) -> None:
        """Do what is due until the service has stopped."""
        while not self._service.over:
            await self._service.changed(0.5)
            if self._clock() - self._done >= PACE_S:
                await self.once()
        if self._last:
            await self.once()

    async def once(self) -> None:
        """Do what is due now, once."""
        now, over = self._clock(), self._service.over
        again = {job: each for job, each in self._failed.items() if over or now >= each.at}
        due, self.due = self.due, {}
        for job in self._work:
            if job in due:  # a newer instant begins its attempts anew
                await self._try(job, due[job], 1)
            elif job in again:
                await self._try(job, again[job].due, again[job].attempts + 1)

    async def _try(self, job: str, due: int, attempt: int) -> None:
        self._failed.pop(job, None)
        began = time.monotonic()
        try:
            done = await self._work[job](job, due)
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as why:  # a panic of a compiled library is no Exception
            pause_s = PAUSE_S * 2.0 ** (attempt - 1)
            last = attempt >= ATTEMPTS
            then = f"given up after {attempt} attempts" if last else f"tried again in {pause_s:g} s"
            if not last:
                self._failed[job] = Failed(due, attempt, self._clock() + pause_s)
            log.error("job.failed", job=job, attempt=attempt, then=then, error=reason_of(why))
            if not isinstance(why, Announced) and (last or attempt == 1):
                self._service.alert(f"{job} failed: {reason_of(why)}; {then}")
        else:
            log.info("job", job=job, done=done, seconds=round(time.monotonic() - began, 3))
        finally:
            self._service.took.append((job, time.monotonic() - began))
            self._done = self._clock()
