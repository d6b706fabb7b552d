"""The runners of all jobs beside trading, and the log of their runs.

There is one runner for each lane; the jobs of a lane run one after the other.
"""

from collections.abc import Mapping

from quantd.daemon.assembly.job_records import JobContext, Work
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.jobs.job_log import JobLog, newest_due
from quantd.daemon.jobs.job_table import JOBS, LANES
from quantd.daemon.jobs.runner import Jobs
from quantd.daemon.runtime.service import Service


def works_of(context: JobContext) -> dict[str, Work]:
    """The work of each job beside trading."""
    return {job.name: job.work(context) for job in JOBS if job.work is not None}


class JobLanes:
    """The jobs of one service."""

    def __init__(self, service: Service, parts: Parts, works: Mapping[str, Work]) -> None:
        self.parts = parts
        self.log = JobLog(service, newest_due(parts.schedules, parts.sessions))
        self.runners = {
            lane: Jobs(service, {job.name: works[job.name] for job in JOBS if job.lane == lane}, self.log)
            for lane in LANES
        }
