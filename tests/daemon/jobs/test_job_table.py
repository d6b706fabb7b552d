"""The table of jobs: complete, and the same in the documentation."""

from runpy import run_path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.config.known import ENGINE_JOBS
from quantd.daemon.jobs.job_table import BY_NAME, JOBS, LANES, duration_text
from tests.support.checkout import ROOT


@pytest.mark.requirement("R-175")
def test_each_job_of_a_schedule_has_one_record_and_the_reverse():
    assert tuple(BY_NAME) == tuple(job.name for job in JOBS) == known_names().jobs
    assert tuple(job.name for job in JOBS if job.where == "loop") == ENGINE_JOBS


def test_a_job_beside_trading_has_a_lane_and_a_time_limit_and_one_of_the_loop_has_neither():
    for job in JOBS:
        assert bool(job.lane) == bool(job.timeout_s) == (job.where != "loop"), job.name
    assert len(LANES) == len(set(LANES))


def test_the_page_of_jobs_has_the_table():
    page = (ROOT / "docs" / "risk" / "jobs.md").read_text()
    assert run_path(str(ROOT / "scripts/jobs_page.py"))["jobs_table"]() in page


def test_time_limits_are_written_with_their_unit():
    assert [duration_text(s) for s in (0.05, 10, 90, 1800, 7200, 604800)] == [
        "0.05 s", "10 s", "90 s", "30 min", "2 h", "7 d",
    ]  # fmt: skip
