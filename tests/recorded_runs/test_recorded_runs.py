"""Runs that were recorded at commit 65029ae9 replay to the same bytes, from the first event and from each snapshot."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from quantd.adapters.store.upkeep.verify import verify
from tests.recorded_runs import archive, processor
from tests.recorded_runs.archive import path_of, unpack
from tests.recorded_runs.index import NAMES
from tests.support.checkout import ROOT
from tests.support.command_line import environment

HERE = Path(__file__)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, str]:
    """What one process found that began with the runs' linear algebra, in the checks that are tested here."""
    if why := processor.unsuited():
        pytest.skip(why)
    items = [
        item for item in request.session.items if "outcomes" in getattr(item, "fixturenames", ()) and item.path == HERE
    ]
    names = {
        str(item.callspec.params["name"])
        for item in items
        if isinstance(item, pytest.Function) and item.name[-1] == "]"
    }
    process = subprocess.run(
        [sys.executable, "-m", "tests.recorded_runs.check", *sorted(names)],
        cwd=ROOT, env=environment() | processor.SETTING, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return msgspec.json.decode(process.stdout, type=dict[str, str])


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_step_of_a_recorded_run_is_as_recorded_and_so_is_the_account_at_its_end(
    name: str, outcomes: dict[str, str]
) -> None:
    assert outcomes[name] == ""


def test_an_index_names_every_store_and_no_other() -> None:
    assert sorted(file.name for file in archive.STORES.iterdir()) == sorted(f"{name}.tar.xz" for name in NAMES)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_each_store_is_sound(name: str, tmp_path: Path) -> None:
    unpack(path_of(name), tmp_path)
    assert verify(tmp_path / "state", tmp_path / "state") == []
