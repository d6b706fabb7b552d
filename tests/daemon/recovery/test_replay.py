"""A run's past is folded under the configurations that made it, whatever was changed since."""

import shutil
from pathlib import Path

import pytest

from tests.support.command_line import answer, quantd, write
from tests.support.killed_runs import kill_after, steps


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose run was killed after 300 steps; the tests go on with copies of it."""
    folder = tmp_path_factory.mktemp("killed")
    write(folder)
    kill_after(folder, 300)
    return folder


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(killed_once, tmp_path / "killed", ignore=shutil.ignore_patterns("*.sock"))


@pytest.mark.long
def test_costs_limits_and_schedules_changed_over_kills_do_not_change_the_past(killed: Path) -> None:
    kill_after(killed, 60, "--set", "broker.slippage_bp=5", "--set", "schedules.0.at=close")
    smaller = ("--set", "risk.max_position_weight=0.2")
    ended = answer(quantd(killed, "run", "--json", "--quiet", *smaller))
    again = answer(quantd(killed, "replay", "--json", *smaller))
    assert again["same"]
    assert again["compared"] == again["steps"] == steps(killed)
    assert again["digest"] == ended["digest"]
    assert len(list((killed / "state" / "configs").iterdir())) == 3
    # the changes were in force: a run that never changed ends elsewhere
    assert answer(quantd(killed, "backtest", "--json", "--no-compare"))["digest"] != ended["digest"]


@pytest.mark.long
def test_a_configuration_that_is_gone_is_named(killed: Path) -> None:
    for file in (killed / "state" / "configs").iterdir():
        file.unlink()
    done = quantd(killed, "run", "--quiet", "--set", "broker.slippage_bp=5")
    assert done.returncode == 78
    assert "recorded under another configuration" in done.stderr
    assert "--fresh" in done.stderr


@pytest.mark.long
def test_a_run_whose_lots_had_another_size_is_refused_and_the_line_that_keeps_them_named(killed: Path) -> None:
    sized = ("--set", 'universe.instruments=[{ symbol = "IWM", lot = "0.01" }]')
    done = quantd(killed, "run", "--quiet", *sized)
    assert done.returncode == 78
    assert "lots of another size (IWM 1, now 0.01: [[universe.instruments]] lot sets it)" in done.stderr
    assert answer(quantd(killed, "run", "--json", "--quiet"))["digest"]
