"""`quantd run` from outside: one daemon in a state folder, and the rights of its files."""

import stat

import pytest

from quantd.daemon.access.api_token import tighten
from quantd.daemon.cli.trade.run import carrying
from tests.support.calendar_files import with_calendar
from tests.support.command_line import program, quantd, write

ALPACA = ("--set", "broker.kind=alpaca", "--set", "feed.kind=alpaca", "--set", "feed.interval=1d")


def test_a_second_daemon_in_the_same_state_folder_is_told_to_try_later(live):
    folder, _ = live
    done = quantd(folder, "run", "--quiet")
    assert done.returncode == 75
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--adopt", "even"), "a simulated account begins with [broker] cash and no position"),
        (("--adopt", "evn", *ALPACA), "--adopt evn: there is no such agent; the agents are even, trend"),
    ],
)
def test_positions_that_no_agent_can_have_are_refused_before_anything_starts(tmp_path, options, words):
    write(tmp_path)
    started = quantd(tmp_path, "run", *options)
    assert started.returncode == 78
    assert words in started.stderr
    assert not (tmp_path / "state").exists()


def test_the_process_that_carries_the_account_adopts_nothing_again():
    words = ["-m", "quantd", "run", "momentum", "--adopt", "momentum", "--fresh", "--live"]
    assert carrying(words) == ["-m", "quantd", "run", "momentum", "--live", "--carry"]
    assert carrying(["run", "--adopt=core", "--carry", "-q"]) == ["run", "-q", "--carry"]


def test_a_state_folder_for_everybody_is_refused_and_left_as_it_is(tmp_path):
    write(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o1777)
    started = quantd(tmp_path, "run", "--json")
    assert started.returncode == 78
    assert "is a shared folder (sticky bit): choose a private folder" in started.stderr
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o1777


def test_a_state_folder_behind_a_link_is_made_private(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk").chmod(0o777)
    (tmp_path / "state").symlink_to("disk")
    done = tighten(tmp_path / "state", "token")
    assert done == [f"other users may write {tmp_path / 'state'}: chmod go-w {tmp_path / 'state'}"]
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o775


def test_the_files_that_name_the_daemon_are_its_owners_alone(live):
    folder, _ = live
    for name in ("token", "api.json"):
        assert (folder / "state" / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.long
def test_a_run_without_a_compiled_engine_logs_why(tmp_path):
    write(with_calendar(tmp_path))
    done = program(tmp_path, "run", "--quiet", env={"QUANTD_UNCOMPILED": "1"})
    assert done.returncode == 0
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "engine.uncompiled" in line]
    assert "QUANTD_UNCOMPILED is set; unset it" in line
