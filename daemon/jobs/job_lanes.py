"""The runners of all jobs beside trading, and the log of their runs.

A lane is a queue of jobs that run one after the other, and each lane has one runner.
"""

from collections.abc import Mapping

from quantd.daemon.assembly.job_records import JobContext, Work
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.jobs.job_log import JobLog, newest_due
from quantd.daemon.jobs.job_table import JOBS, LANES
from quantd.daemon.jobs.runner import Jobs
from quantd.daemon.runtime.service import Service


def works_of(context: JobContext) -> dict[str, Work]:
    """Job -> the function that does its work, for each job that runs beside trading."""
    return {job.name: job.work(context) for job in JOBS if job.work is not None}


class JobLanes:
    """The runners of the jobs of one service, one runner for each lane."""

    def __init__(self, service: Service, parts: Parts, works: Mapping[str, Work]) -> None:
        self.parts = parts
        self.log = JobLog(service, newest_due(parts.schedules, parts.sessions))
        self.runners = {
            lane: Jobs(service, {job.name: works[job.name] for job in JOBS if job.lane == lane}, self.log)
            for lane in LANES
        }
