"""Writes the scheduled reports in a thread, after the commit of the steps that they describe."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from quantd.adapters.store.handle import read_only
from quantd.adapters.store.journal.job_runs import JobRun
from quantd.adapters.store.queries import Reader
from quantd.daemon.recovery.state_at import Refolder
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.report.contents import Report, Standing
from quantd.daemon.views.report.curves import day_start
from quantd.daemon.views.report.figures import report, standing_of
from quantd.daemon.views.report.files import DAYS, keep
from quantd.daemon.views.shortfall import Slices


@dataclass(frozen=True, slots=True)
class Reporter:
    """The reports of one service.

    `store` is the state folder or a URL, `feed` the digest of the market data. `slices` returns a slice (the bars of
    one instant) by its number; None where the bars are not available.
    """

    service: Service
    folder: Path
    store: str | Path
    feed: str
    slices: Slices | None = None

    async def work(self, run: JobRun) -> str:
        """Write the scheduled risk report of a job in a thread; returns its path."""
        return await asyncio.to_thread(self._write, run.job, standing_of(self.service.shell.state))

    def _write(self, job: str, standing: Standing) -> str:
        document = self.report(job, standing)
        return "nothing was sampled yet" if document is None else str(keep(self.folder, job, document))

    def report(self, job: str, standing: Standing) -> Report | None:
        """The report of the days up to the newest sample in the store; None before the first sample.

        `job` is the kind of report, which sets the number of days. `standing` has the present limits and risk measures.
        """
        reader = Reader.open(self.store, self.service.run)
        last = next((point.ts for point in reader.equity(last=1)), 0)
        if not last:
            return None
        return report(
            reader,
            self.service.config,
            kind=job,
            feed=self.feed,
            standing=standing,
            since=day_start(last, DAYS[job]),
            slices=self.slices,
            measured=Refolder(read_only(self.store), self.service.run, self.folder, lambda: self.service.config).values,
        )
