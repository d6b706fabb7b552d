"""The jobs `daily_report` and `risk_report`: reports of the newest days."""

from typing import Final

from quantd.daemon.assembly.job_records import HOUR_S, JobContext, JobRecord, Work


def work(context: JobContext) -> Work:
    """The work of the jobs `daily_report` and `risk_report`; a run has the name of its job."""
    from quantd.daemon.jobs.risk_reports import Reporter

    parts = context.parts
    return Reporter(context.service, context.folder, context.store, parts.market, parts.slices).work


DAILY_REPORT: Final = JobRecord(
    "daily_report", 90, "a report of the last day", "thread", work, 0.5 * HOUR_S, 5,
    lane="reports", again=True, at_stop=True,
)  # fmt: skip

RISK_REPORT: Final = JobRecord(
    "risk_report", 100, "a risk report of the last seven days", "thread", work, 0.5 * HOUR_S, 5,
    lane="reports", again=True, at_stop=True,
)  # fmt: skip
