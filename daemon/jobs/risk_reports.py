"""Writes the scheduled reports, after the commit that holds what they are about, in a thread of their own."""

import asyncio
from pathlib import Path

from quantd.adapters.store.queries import Reader
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import limits_now
from quantd.daemon.views.report.contents import Report, Standing
from quantd.daemon.views.report.curves import day_start
from quantd.daemon.views.report.figures import own_closes, report
from quantd.daemon.views.report.files import DAYS, keep
from quantd.daemon.views.risk_measures import assessed
from quantd.daemon.views.shortfall import Slices


def standing_of(state: State) -> Standing:
    """The account as it stands, between two steps."""
    found = assessed(state)
    return Standing(found.ts, limits_now(state), found.house, found.agents, own_closes(state))


class Reporter:
    """Of one service. `store` is the state folder or a URL, `feed` the digest of the market's data, `slices` its bars
    by number."""

    def __init__(
        self, service: Service, folder: Path, store: str | Path, feed: str, slices: Slices | None = None
    ) -> None:
        self._service = service
        self._folder = folder
        self._store = store
        self._feed = feed
        self._slices = slices

    async def work(self, job: str, due: int) -> str:
        """Write the report of a job in a thread; where it is."""
        return await asyncio.to_thread(self._write, job, standing_of(self._service.shell.state))

    def _write(self, job: str, standing: Standing) -> str:
        made = self.report(job, standing)
        return "nothing was sampled yet" if made is None else str(keep(self._folder, job, made))

    def report(self, job: str, standing: Standing) -> Report | None:
        """The report of the days that end with the newest sample in the store; None before the first sample."""
        reader = Reader.open(self._store, self._service.run)
        last = next((p.ts for p in reader.equity(last=1)), 0)
        if not last:
            return None
        return report(
            reader,
            self._service.config,
            kind=job,
            feed=self._feed,
            standing=standing,
            since=day_start(last, DAYS[job]),
            slices=self._slices,
        )
