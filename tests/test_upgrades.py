"""`python -m scripts.publication.upgrades`: its environments, its package, and its table. It is run by hand."""

from pathlib import Path

import pytest

from quantd.daemon.policies.deadline import WITHDRAWN
from quantd.daemon.policies.isolation.worker import LIMIT_S
from scripts.publication.upgrades import AGENTS, EDITS, Version, disturbance, packages_in, python_of, table
from tests.support.checkout import ROOT, copy_package


@pytest.mark.long
def test_a_version_is_its_source_with_the_packages_of_this_environment(tmp_path: Path) -> None:
    """A copy with another version number answers with it, and the present source with its own."""
    root = copy_package(tmp_path)
    number = root / "daemon" / "runtime" / "version.py"
    number.write_text(number.read_text().replace('VERSION = "', 'VERSION = "9.'))
    packages = packages_in(tmp_path / "packages")
    earlier = Version("earlier", root, python_of(root, packages, tmp_path / "earlier"))
    present = Version("present", ROOT, python_of(ROOT, packages, tmp_path / "present"))
    assert earlier(tmp_path, "--version").startswith("quantd 9.")
    assert not present(tmp_path, "--version").startswith("quantd 9.")


@pytest.mark.long
def test_the_policy_of_the_installed_package_and_the_edits_fit_the_present_configuration(tmp_path: Path) -> None:
    packages = packages_in(tmp_path / "packages")
    present = Version("present", ROOT, python_of(ROOT, packages, tmp_path / "venv"))
    present(tmp_path, "init")
    text = (tmp_path / "config.toml").read_text()
    assert [old for old, _ in EDITS if old not in text] == []
    package = AGENTS[AGENTS.index('[[agents]]\nname = "package"') :]
    text = text.replace("capital = 0.4", "capital = 0.3").replace("[[schedules]]", f"{package}\n[[schedules]]", 1)
    (tmp_path / "config.toml").write_text(text)
    present(tmp_path, "config", "check")
    with pytest.raises(SystemExit, match="ended with 78"):
        Version("without it", ROOT, python_of(ROOT, tmp_path / "none", tmp_path / "other"))(tmp_path, "config", "check")


def test_the_table_names_another_digest_of_the_earlier_version() -> None:
    row = {"version": "0.1.0", "ended": "killed", "session": "2019-08-05", "revisions": "0007 to 0008", "orders": 979}
    same, other = "8061096e27fc", "711d219a5cd6"
    lines = table([row | {"digest": same, "earlier_digest": same}, row | {"digest": same, "earlier_digest": other}])
    assert lines.splitlines()[2:] == [
        "| 0.1.0 | killed | 2019-08-05 | 0007 to 0008 | 979 | `8061096e` | the same |",
        "| 0.1.0 | killed | 2019-08-05 | 0007 to 0008 | 979 | `8061096e` | `711d219a` |",
    ]


def test_a_run_in_which_an_agent_held_for_the_time_of_day_is_named_by_its_alerts() -> None:
    alert = {"agent": "file", "time": "2019-03-22T20:00:00Z", "text": "stop loss: BAC at 23.93"}
    assert disturbance([alert]) == ""
    for text in (WITHDRAWN, f"no answer within {LIMIT_S:g} s", f"its process was not ready within {LIMIT_S:g} s"):
        assert disturbance([alert, alert | {"text": text}]) == f"file, 2019-03-22T20:00:00Z: {text}"
