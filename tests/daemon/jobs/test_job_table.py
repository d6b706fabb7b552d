"""The table of jobs: complete, and the same in the documentation."""

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.config.known import ENGINE_JOBS
from quantd.daemon.jobs.job_table import BY_NAME, JOBS


@pytest.mark.requirement("R-175")
def test_each_job_of_a_schedule_has_one_record_and_the_reverse():
    assert tuple(BY_NAME) == tuple(job.name for job in JOBS) == known_names().jobs
    assert tuple(job.name for job in JOBS if job.where == "loop") == ENGINE_JOBS
