"""Reports that are due when a run ends are written, also those that come due while another is being written."""

import asyncio
import time
from pathlib import Path

import pytest

from quantd.daemon.jobs.risk_reports import Reporter
from quantd.daemon.jobs.runner import Jobs
from quantd.daemon.views.report.contents import Report, Standing
from tests.support.service_kit import Kit, world

DUE = {"daily_report": 1, "risk_report": 2}


class Slow(Reporter):
    """Takes its time over each report."""

    def report(self, job: str, standing: Standing) -> Report | None:
        time.sleep(0.2)
        return super().report(job, standing)


@pytest.mark.long
async def test_a_run_that_ends_while_a_report_is_written_still_writes_the_others(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    work = Slow(kit.service, tmp_path, tmp_path, "").work
    jobs = Jobs(kit.service, {"daily_report": work, "risk_report": work})
    await kit.run()
    kit.service.over = False  # as it was a moment before
    jobs.due = dict(DUE)
    reporting = asyncio.create_task(jobs.run())
    await asyncio.sleep(0.6)  # the first of them is in the making
    assert not jobs.due
    jobs.due = {"daily_report": 3}
    kit.service.over = True
    await asyncio.wait_for(reporting, 60)
    kinds = sorted(p.name.split("-")[0] for p in (tmp_path / "reports").glob("*.html"))
    assert kinds == ["daily", "weekly"]
    assert [job for job, _ in kit.service.measured.tasks] == ["daily_report", "risk_report", "daily_report"]
