"""Runs that were recorded at commit 65029ae9 replay to the same bytes, from the first event and from each snapshot."""

import lzma
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from quantd.adapters.store.upkeep.verify import verify
from tests.recorded_runs import archive, processor
from tests.recorded_runs.archive import StoreMissing, bundle, pack, path_of, unpack
from tests.recorded_runs.check import CHECKS, Found
from tests.recorded_runs.features import FEATURES
from tests.recorded_runs.index import read_index
from tests.recorded_runs.scan import identifiers
from tests.support.checkout import ROOT
from tests.support.command_line import environment

HERE = Path(__file__)
PLANTED = [name for name in CHECKS if name not in FEATURES and name != "replay"]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, Found]:
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
        [sys.executable, "-m", "tests.recorded_runs.check", *sorted(names), "replay"],
        cwd=ROOT, env=environment() | processor.SETTING, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return msgspec.json.decode(process.stdout, type=dict[str, Found])


@pytest.mark.long
@pytest.mark.parametrize("name", FEATURES)
def test_every_step_of_a_recorded_run_is_as_recorded_and_so_is_the_account_at_its_end(
    name: str, outcomes: dict[str, Found]
) -> None:
    assert outcomes[name].text == ""


@pytest.mark.long
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_found_and_its_step_named(name: str, outcomes: dict[str, Found]) -> None:
    step, text = outcomes[name].step, outcomes[name].text
    if name == "a command left out":  # what it would have changed comes later
        assert any(f", step {later}: " in text for later in range(step, step + 30)), text
    else:
        what = "effect" if "byte" in name else "the event was"
        assert f", step {step}: {what}" in text


def test_a_replay_of_a_folder_or_an_archive_gives_all_runs_in_order(outcomes: dict[str, Found]) -> None:
    assert outcomes["replay"].text == ""


def test_an_index_names_every_store_and_no_other() -> None:
    assert sorted(read_index()) == sorted(FEATURES)
    assert sorted(file.name for file in archive.STORES.iterdir()) == sorted(f"{name}.tar.xz" for name in FEATURES)


def test_a_store_that_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "STORES", archive.HERE / "nowhere")
    with pytest.raises(StoreMissing, match=r"nowhere/portfolios.tar.xz is missing: restore it with `git checkout -- "):
        path_of("portfolios")


@pytest.mark.quick_cases(2)
@pytest.mark.requirement("R-232")
@pytest.mark.parametrize("name", FEATURES)
def test_no_store_names_a_machine_a_user_or_a_secret(name: str) -> None:
    assert identifiers(path_of(name)) == []


def test_a_name_of_this_machine_in_a_store_is_found(tmp_path: Path) -> None:
    unpack(path_of("carry_over"), tmp_path / "run")
    config = tmp_path / "run" / "config.toml"
    config.write_text(f"{config.read_text()}# {archive.HERE}\n")
    pack(tmp_path / "run", tmp_path / "named.tar.xz")
    named = identifiers(tmp_path / "named.tar.xz")
    assert named
    assert all("config.toml" in finding for finding in named)


@pytest.mark.long
def test_each_store_is_sound_without_a_holder_of_its_lease_and_bundled_to_the_same_bytes(tmp_path: Path) -> None:
    for name in FEATURES:
        unpack(path_of(name), tmp_path / name)
        assert bundle(tmp_path / name) == lzma.decompress(path_of(name).read_bytes())
        with closing(sqlite3.connect(tmp_path / name / "state" / "quantd.db")) as db:
            assert db.execute("SELECT * FROM lease").fetchall() == []
        assert verify(tmp_path / name / "state", tmp_path / name / "state") == []
