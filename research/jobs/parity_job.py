"""The job `parity`, which compares each day of a run with a backtest of the same bars."""

from typing import Final

from quantd.daemon.assembly.job_records import HOUR_S, JobContext, JobRecord, Work


def work(context: JobContext) -> Work:
    from quantd.research.jobs.parity_check import ParityCheck

    return ParityCheck(context.service, context.folder, context.store).work


PARITY: Final = JobRecord(
    "parity", 130,
    "the last day is compared with a backtest of the same bars, and replayed with the interpreted engine",
    "process", work, 0.5 * HOUR_S, 5, lane="parity", again=True,
)  # fmt: skip
