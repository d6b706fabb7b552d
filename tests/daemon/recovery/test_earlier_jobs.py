"""A store that version 16991315 left while its jobs ran, and its next start with the present code.

`jobs_in_flight` is a run of its `quantd run` over four synthetic stocks at four sessions a second, with the schedules
`parity`, `daily_report` and `backup` on each day. It was ended by kill -9 while a parity check in a process of its own
and a backup were running, after 84 orders. EQUITY, DIGEST and the ends of the jobs are those with which that version
itself went on.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from quantd.adapters.store.handle import read_only
from quantd.adapters.store.journal.job_runs import OPEN
from tests.recorded_runs import processor
from tests.recorded_runs.archive import place, unpack
from tests.recorded_runs.scan import identifiers
from tests.support.command_line import environment

STORE = Path(__file__).parent / "earlier_stores" / "jobs_in_flight.tar.xz"
RUN = "ywqk52od"
EQUITY = "101516.387233"
DIGEST = "150ba8955637adcbfed51245e2032ceb3ac786a718ea334aec2a3e1cacd648f6"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The store, as it was left."""
    if why := processor.unsuited():
        pytest.skip(why)
    unpack(STORE, tmp_path)
    place(tmp_path)
    return tmp_path


def test_the_store_has_two_jobs_in_flight_and_names_no_machine(folder: Path) -> None:
    jobs = read_only(folder / "state").job_runs(RUN)
    assert [(job.id, job.job, job.state) for job in jobs if job.state in OPEN] == [
        (16, "parity", "running"),
        (27, "backup", "running"),
    ]
    assert identifiers(STORE) == []


@pytest.mark.long
def test_jobs_that_were_in_flight_are_repeated_and_the_run_ends_to_the_same_micro(folder: Path) -> None:
    words = ("-m", "quantd.daemon.cli", "run", "--json", "--quiet", "--set", "feed.pace=fast")
    environ = environment() | processor.SETTING
    ended = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert (summary["run"], summary["equity"], summary["digest"]) == (RUN, EQUITY, DIGEST)
    jobs = {job.id: job for job in read_only(folder / "state").job_runs(RUN)}
    for before, after in ((16, 29), (27, 28)):
        assert (jobs[before].state, jobs[before].result) == ("interrupted", "the process ended during it")
        assert (jobs[after].job, jobs[after].due_ts) == (jobs[before].job, jobs[before].due_ts)
        assert jobs[after].state == "succeeded", jobs[after]
