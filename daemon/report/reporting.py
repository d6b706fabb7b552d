"""Writes the reports that schedules ask for, after the commit that holds what they are about, in a thread of their own.

While a recorded market is caught up with, many come due at once: of each kind the newest is written, at most one a second,
and the last when the run ends.
"""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Final

import structlog

from adapters.store.errors import StoreError
from adapters.store.reading import Reader
from daemon.assessing import assessed
from daemon.engine.state import State
from daemon.overview import limits_now
from daemon.report.figures import Report, Standing, day_start, own_closes, report
from daemon.report.files import DAYS, keep
from daemon.service import Service
from daemon.shortfalls import Slices

log = structlog.get_logger("quantd.report")

PACE_S: Final = 1.0
"""Least time between two reports."""


def standing_of(state: State) -> Standing:
    """The account as it stands, between two steps."""
    found = assessed(state)
    return Standing(found.ts, limits_now(state), found.house, found.agents, own_closes(state))


class Reporter:
    """Of one service. `store` is the state folder or a URL, `feed` the digest of the market's data, `slices` its bars by number."""

    def __init__(
        self, service: Service, folder: Path, store: str | Path, feed: str, slices: Slices | None = None
    ) -> None:
        self._service = service
        self._folder = folder
        self._store = store
        self._feed = feed
        self._slices = slices
        self._written = 0.0
        self.count = 0

    async def run(self) -> None:
        """Write what is due until the service has stopped, and what is due then."""
        while not self._service.over:
            await self._service.changed(0.5)
            if self._service.jobs and time.monotonic() - self._written >= PACE_S:
                await self._write_due()
        await self._write_due()

    async def _write_due(self) -> None:
        """Write the newest of each kind that is due."""
        jobs, self._service.jobs = self._service.jobs, {}
        for job in sorted(jobs):
            began = time.monotonic()
            standing = standing_of(self._service.shell.state)
            with contextlib.suppress(ValueError):  # nothing was sampled before the first of them is due
                try:
                    path = await asyncio.to_thread(self._write, job, standing)
                except (StoreError, OSError) as why:
                    log.error("report.failed", job=job, error=str(why), remedy="`quantd report` makes it again")
                    continue
                self.count += 1
                self._service.took.append((job, time.monotonic() - began))
                log.info("report", job=job, path=str(path), seconds=round(time.monotonic() - began, 3))
            self._written = time.monotonic()

    def _write(self, job: str, standing: Standing) -> Path:
        return keep(self._folder, job, self.report(job, standing))

    def report(self, job: str, standing: Standing) -> Report:
        """The report that `job` asks for: of the days that end with the newest sample in the store. ValueError without
        one."""
        reader = Reader.open(self._store, self._service.run)
        last = next((p.ts for p in reader.equity(last=1)), 0)
        return report(
            reader,
            self._service.config,
            kind=job,
            feed=self._feed,
            standing=standing,
            since=day_start(last, DAYS[job]) if last else 0,
            slices=self._slices,
        )
