"""A run's past is folded under the configurations that made it, whatever was changed since."""

from pathlib import Path

import pytest

from tests.support.command_line import answer, quantd, write
from tests.support.killed_runs import kill_after, steps


@pytest.mark.long
def test_costs_limits_and_schedules_changed_over_kills_do_not_change_the_past(tmp_path: Path) -> None:
    write(tmp_path)
    kill_after(tmp_path, 300)
    kill_after(tmp_path, 60, "--set", "broker.slippage_bp=5", "--set", "schedules.0.at=close")
    kill_after(tmp_path, 60, "--set", "risk.max_position_weight=0.2")
    ended = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    again = answer(quantd(tmp_path, "replay", "--json"))
    assert again["same"]
    assert again["compared"] == again["steps"] == steps(tmp_path)
    assert again["digest"] == ended["digest"]
    assert len(list((tmp_path / "state" / "configs").iterdir())) == 3
    # the changes were in force: a run that never changed ends elsewhere
    assert answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))["digest"] != ended["digest"]


@pytest.mark.long
def test_a_configuration_that_is_gone_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    kill_after(tmp_path, 300)
    for file in (tmp_path / "state" / "configs").iterdir():
        file.unlink()
    done = quantd(tmp_path, "run", "--quiet", "--set", "broker.slippage_bp=5")
    assert done.returncode == 78
    assert "recorded under another configuration" in done.stderr
    assert "--fresh" in done.stderr


@pytest.mark.long
def test_another_market_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path)
    kill_after(tmp_path, 300)
    done = quantd(tmp_path, "run", "--quiet", "--set", "feed.end=2019-03-28")
    assert done.returncode == 78
    assert "another feed file or selection" in done.stderr
    done = quantd(tmp_path, "run", "--quiet", "--set", "agents.trend.name=drift")
    assert done.returncode == 78


@pytest.mark.long
def test_a_run_whose_lots_had_another_size_is_refused_and_the_line_that_keeps_them_named(tmp_path: Path) -> None:
    sized = ("--set", 'universe.instruments=[{ symbol = "IWM", lot = "0.01" }]')
    write(tmp_path)
    kill_after(tmp_path, 300)
    done = quantd(tmp_path, "run", "--quiet", *sized)
    assert done.returncode == 78
    assert "lots of another size (IWM 1, now 0.01: [[universe.instruments]] lot sets it)" in done.stderr
    assert answer(quantd(tmp_path, "run", "--json", "--quiet"))["digest"]
