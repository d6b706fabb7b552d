"""The job `retrain`: it trains new versions of the policies of shadows."""

from typing import Final

from quantd.daemon.assembly.job_records import HOUR_S, JobContext, JobRecord, Work


def work(context: JobContext) -> Work:
    from quantd.training.jobs.retrainer import Retraining

    return Retraining(context.service, context.parts, context.service.config).work


RETRAIN: Final = JobRecord(
    "retrain", 140, "the policies of shadows are trained on the newest data", "process", work, 7 * 24 * HOUR_S, 5,
    lane="retraining", again=True,
)  # fmt: skip
