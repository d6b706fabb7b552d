"""The job `data_refresh`: downloads newer recorded bars."""

from typing import Final

from quantd.daemon.assembly.job_records import HOUR_S, JobContext, JobRecord, Work


def work(context: JobContext) -> Work:
    from quantd.daemon.jobs.tasks.data_refresh import DataRefresh

    return DataRefresh(context.service).work


DATA_REFRESH: Final = JobRecord(
    "data_refresh", 150, "the recorded bars are downloaded into a new file", "process", work, HOUR_S, 5,
    lane="data", again=True,
)  # fmt: skip
