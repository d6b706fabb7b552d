"""Jobs are found by their records: light ones, in the packages of quantd and in installed ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quantd.daemon.assembly.job_records import PACKAGES, JobRecord, jobs
from quantd.records import ordered
from tests.support.checkout import ROOT

THEIRS = """
from quantd.daemon.assembly.job_records import JobRecord
THEIRS: object = JobRecord("theirs", 5, "a job of another package")
TAKEN = JobRecord("backup", 5, "a second job with a name")
OTHER = "no record"
"""


def test_a_package_that_is_absent_is_left_out_and_one_that_cannot_be_imported_is_not(tmp_path: Path) -> None:
    assert ordered((*PACKAGES, "quantd.nowhere.jobs", "nowhere"), JobRecord, "quantd.test_absent") == jobs()
    (tmp_path / "broken_jobs").mkdir()
    (tmp_path / "broken_jobs" / "__init__.py").write_text("import no_such_module")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            ordered(("broken_jobs",), JobRecord, "quantd.test_broken")
    finally:
        sys.path.remove(str(tmp_path))


@pytest.mark.long
def test_the_names_of_jobs_need_no_worker() -> None:
    program = (
        "import sys; from quantd.daemon.assembly.names import known_names; assert 'parity' in known_names().jobs; "
        "print([name for name in sys.modules if name.startswith(('quantd.research.runs', 'quantd.research.studies', "
        "'quantd.research.jobs.parity_check', 'quantd.training.retraining', 'quantd.training.jobs.retrainer', "
        "'quantd.daemon.runtime.service', 'quantd.daemon.jobs.tasks', 'polars'))])"
    )
    environ = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
