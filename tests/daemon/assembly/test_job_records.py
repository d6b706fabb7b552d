"""Jobs are found by their records: light ones, in the packages of quantd and in installed ones."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quantd.daemon.assembly.job_records import PACKAGES, JobRecord, jobs
from quantd.records import FaultyRecord, ordered
from tests.support.checkout import ROOT

THEIRS = """
from quantd.daemon.assembly.job_records import JobRecord
THEIRS: object = JobRecord("theirs", 5, "a job of another package")
TAKEN = JobRecord("backup", 5, "a second job with a name")
OTHER = "no record"
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Installs a package with one entry point in a group."""

    def put(group: str, value: str) -> None:
        (tmp_path / "their_jobs.py").write_text(THEIRS)
        info = tmp_path / "their_jobs-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-jobs\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\ntheirs = {value}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return put


def test_an_installed_package_adds_a_job_in_its_place(install: Callable[[str, str], None]) -> None:
    install("quantd.test_jobs", "their_jobs:THEIRS")
    records = ordered(PACKAGES, JobRecord, "quantd.test_jobs")
    assert list(records) == ["theirs", *jobs()]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "their_jobs:TAKEN",
            'their_jobs:TAKEN: the name "backup" has a record already; rename one of the two, or uninstall its package',
        ),
        ("their_jobs:OTHER", "their_jobs:OTHER .*: is no JobRecord; repair that package, or uninstall it"),
        ("their_jobs:NONE", "their_jobs:NONE .*: AttributeError: .*; repair that package, or uninstall it"),
        ("no_such_module:X", "no_such_module:X .*: ModuleNotFoundError: .*; repair that package, or uninstall it"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused_with_its_place_and_a_remedy(
    install: Callable[[str, str], None], value: str, said: str
) -> None:
    group = f"quantd.test_{value.replace(':', '_')}"
    install(group, value)
    with pytest.raises(FaultyRecord, match=said):
        ordered(PACKAGES, JobRecord, group)


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


def test_a_job_beside_the_loop_has_a_worker_and_one_in_it_has_none() -> None:
    with pytest.raises(
        ValueError, match='job "x": set work, lane and timeout_s where it runs outside the loop, else none'
    ):
        JobRecord("x", 1, "x", "thread", timeout_s=1.0, lane="x")
    with pytest.raises(ValueError, match="set work, lane and timeout_s"):
        JobRecord("x", 1, "x", lane="x")


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
