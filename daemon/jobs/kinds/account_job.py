"""The job `statement`: compares the cash movements of a day with the venue's record."""

from typing import Final

from quantd.daemon.assembly.job_records import HOUR_S, JobContext, JobRecord, Work


def work(context: JobContext) -> Work:
    from quantd.daemon.jobs.tasks.statement_job import StatementJob

    parts = context.parts
    sessions = parts.sessions[parts.universe.calendar]
    return StatementJob(context.service, context.folder, context.venue, sessions).work


STATEMENT: Final = JobRecord(
    "statement", 170, "the cash movements of a day, compared with the venue's record", "thread", work, HOUR_S, 5,
    lane="statement", again=True, at_stop=True,
)  # fmt: skip
