"""`quantd tune` as its users meet it: three files, a kill in the middle, a way out, and refusals that say what
to do."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from quantd.training.learners.record import learners
from quantd.training.search.spaces import dump
from tests.support.command_line import ROOT, begun, quantd
from tests.support.studies import text

DATA = ("--bars", f"{ROOT}/data/us_daily.parquet", "--actions", f"{ROOT}/data/us_actions.csv")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(text())
    return tmp_path


def lines_until(stream: IO[str] | None, wanted: str) -> Iterator[str]:
    assert stream is not None
    for line in stream:
        yield line
        if wanted in line:
            return


@pytest.mark.requirement("R-090")
@pytest.mark.long
def test_two_short_trials_leave_the_database_the_table_and_the_plot(tmp_path: Path) -> None:
    done = quantd(tmp_path, "tune", "--agent", "ppo", "--n-trials", "2", "--max-steps", "500", *DATA)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "state" / "tuning" / "ppo"
    assert {path.name for path in folder.iterdir()} >= {"study.db", "trials.csv", "history.html", "best.toml"}
    assert (folder / "trials.csv").read_text().count("\n") == 3
    assert "trial 2 of 2" in done.stderr
    assert "the best of 2 trials" in done.stdout
    assert "the best of 2 trials" in (folder / "best.toml").read_text()
    first = done.stdout.splitlines()[0]
    assert first.startswith("power: 2013-02-13 to 2017-03-07, 5 symbols, 15 bp a side: with a daily signal of IC")
    assert (folder / "best.toml").read_text().startswith(f"# {first.removeprefix('power: ')}\n")
    assert "equal weight" in done.stdout
    shown = quantd(tmp_path, "train", str(folder / "best.toml"), "--show")
    assert shown.returncode == 0, shown.stderr
    assert "name = ppo-tuned" in shown.stdout


@pytest.mark.requirement("R-087")
@pytest.mark.long
def test_a_study_killed_in_the_middle_of_a_trial_goes_on_counting(place: Path) -> None:
    long = ("--n-trials", "3", "--max-steps", "1280")
    reference = quantd(place, "tune", "small.toml", *long, "--out", "whole", "--json")
    killed = begun(place, "tune", "small.toml", *long, "--out", "cut", "--json")
    assert any("trial 2 of 3" in line for line in lines_until(killed.stderr, "trial 2 of 3"))
    time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    again = quantd(place, "tune", "small.toml", *long, "--out", "cut", "--json")
    assert (reference.returncode, again.returncode) == (0, 0), again.stderr
    one, two = json.loads(reference.stdout), json.loads(again.stdout)
    assert (two["before"], two["broken"], two["trials"], two["finished"]) == (2, 1, 3, True)
    assert two["best"] == one["best"]
    assert two["luck"] == one["luck"]

    def table(folder: str) -> list[list[str]]:
        rows = [line.split(",") for line in (place / folder / "trials.csv").read_text().splitlines()]
        at = rows[0].index("seconds")
        return [row[:at] + row[at + 1 :] for row in rows]

    assert table("cut") == table("whole")


@pytest.mark.long
def test_ctrl_c_ends_after_the_evaluation_and_says_how_to_go_on(place: Path) -> None:
    running = begun(place, "tune", "small.toml", "--n-trials", "50", "--max-steps", "15360", "--set", "patience=0")
    assert any("trial 1 of 50" in line for line in lines_until(running.stderr, "trial 1 of 50"))
    time.sleep(0.7)  # into the second trial
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the same command continues with the rest" in err
    assert "1 interrupted and repeated" in out
    assert (place / "state/tuning/ppo/trials.csv").is_file()
    assert list((place / "state/tuning/ppo/under-way").rglob("step-*.json"))


def test_the_space_is_shown_in_words_and_as_json(tmp_path: Path) -> None:
    assert "learner.target_every   500 to 2,000" in quantd(tmp_path, "tune", "--agent", "dqn", "--show").stdout
    shown = quantd(tmp_path, "tune", "--agent", "ppo", "--show", "--json").stdout
    assert json.loads(shown) == json.loads(dump(learners()["ppo"].space))


@pytest.mark.long
def test_a_range_of_the_command_line_is_searched_and_a_plan_outside_the_space_is_named(place: Path) -> None:
    short = ("tune", "small.toml", "--n-trials", "2", "--max-steps", "128", "--set", "learner.gamma=0.5")
    usual = quantd(place, *short, "--set", "learner.clip=0.2")
    assert usual.returncode == 0, usual.stderr
    assert "learner.gamma is 0.5 in the plan and 0.95 to 0.999 in a trial" in usual.stderr
    near = quantd(place, *short, "--study", "near", "--over", "learner.gamma=0.4:0.6", "--json")
    assert near.returncode == 0, near.stderr
    assert "learner.gamma is" not in near.stderr
    assert 0.4 <= json.loads(near.stdout)["best"]["values"]["learner.gamma"] <= 0.6
    other = quantd(place, *short, "--study", "near", "--over", "learner.gamma=0.3:0.6")
    assert other.returncode != 0
    assert "study near was begun with space" in other.stderr


@pytest.mark.requirement("R-094")
@pytest.mark.long
def test_without_ray_the_cluster_is_refused_by_name_and_this_machine_serves(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    short = ("tune", "small.toml", "--n-trials", "1", "--max-steps", "128")
    refused = quantd(place, *short, "--on", "ray")
    assert refused.returncode == 78
    assert "install quantd with its extra `ray`" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert quantd(place, *short, "--on", "local").returncode == 0


@pytest.mark.long
def test_another_search_in_the_same_folder_is_refused_until_it_is_begun_anew(place: Path) -> None:
    short = ("tune", "small.toml", "--n-trials", "1", "--max-steps", "128")
    assert quantd(place, *short).returncode == 0
    refused = quantd(place, *short, "--seeds", "2")
    assert refused.returncode == 78
    assert "was begun with seeds = [1], now it is [1, 2]" in refused.stderr
    assert "--fresh" in refused.stderr
    assert quantd(place, *short, "--seeds", "2", "--fresh").returncode == 0
