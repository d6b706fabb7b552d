"""Runs scheduled jobs beside trading: reports, backups, compaction, retraining.

A job that fails raises an alert and is repeated after a pause; it affects nothing else, whatever its exception.
"""

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
"""Least time between two rounds of jobs; many are due at once while the daemon catches up with a recorded market."""

ATTEMPTS: Final = 5
"""Maximum of attempts of a job for one instant."""

PAUSE_S: Final = 30.0
"""Pause before the second attempt of a job; each later pause is twice as long."""


Work = Callable[[str, int], Awaitable[str]]
"""Runs a job that was due at an instant; returns its result as text for the log."""


class Announced(Exception):
    """A job failed and has raised its own alert."""


class Failed(Struct):
    """A job whose next attempt is at `at` on the clock of its runner."""

    due: int
    attempts: int
    at: float


class Jobs:
    """Runs jobs of one service one at a time, each only for its newest due instant.

    With `last` it also runs the jobs that are due when the service stops.
    """

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
        """Job -> newest due instant that has not begun."""
        self._failed: dict[str, Failed] = {}
        self._done = clock() - PACE_S
        service.subscribers.append(self._take)

    def _take(self, steps: Sequence[Step]) -> None:
        """Record the jobs that are due in committed steps."""
        for event, _ in steps:
            if type(event) is Tick and event.jobs:
                self.due.update((job, event.ts) for job in event.jobs if job in self._work)

    async def run(self) -> None:
        """Run due jobs until the service has stopped."""
        while not self._service.over:
            await self._service.changed(0.5)
            if self._clock() - self._done >= PACE_S:
                await self.once()
        if self._last:
            await self.once()

    async def once(self) -> None:
        """Run the jobs that are due now, once."""
        now, over = self._clock(), self._service.over
        again = {job: each for job, each in self._failed.items() if over or now >= each.at}
        due, self.due = self.due, {}
        for job in self._work:
            if job in due:  # a newer instant has new attempts
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
