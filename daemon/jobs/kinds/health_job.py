"""The job `health_check`: the checks of an installation."""

from typing import Final

from quantd.daemon.assembly.job_records import JobContext, JobRecord, Work


def work(context: JobContext) -> Work:
    from quantd.daemon.jobs.tasks.health_check import HealthCheck

    return HealthCheck(context.service, context.folder, context.sets).work


HEALTH_CHECK: Final = JobRecord(
    "health_check", 160, "the checks of `quantd doctor`", "process", work, 600.0, 2, pause_s=10.0, lane="health",
)  # fmt: skip
