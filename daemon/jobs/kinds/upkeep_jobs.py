"""The jobs `backup` and `compact`: the upkeep of the store.

A backup runs before a compaction that is due at the same instant, so that it contains the rows that compaction moves.
"""

from typing import Final

from quantd.daemon.assembly.job_records import HOUR_S, JobContext, JobRecord, Work


def work(context: JobContext) -> Work:
    """The work of the jobs `backup` and `compact`; a run has the name of its job."""
    from quantd.daemon.jobs.maintenance import Upkeep

    return Upkeep(context.service, context.service.store, context.folder, context.store).work


BACKUP: Final = JobRecord(
    "backup", 110, "a backup of the store; the oldest are deleted", "thread", work, 2 * HOUR_S, 5, critical=True,
    lane="upkeep", again=True, at_stop=True,
)  # fmt: skip

COMPACT: Final = JobRecord(
    "compact", 120, "old rows of the journal move to archives", "thread", work, 2 * HOUR_S, 5,
    lane="upkeep", again=True, at_stop=True,
)  # fmt: skip
