"""`quantd run` from outside: one daemon in a state folder, and the rights of its files."""

import stat
import subprocess
import sys

from tests.support.command_line import environment, quantd, write

WATCHED = """
import sys
from quantd.daemon.cli import main
try:
    main(sys.argv[1:])
finally:
    print("numba" if "numba" in sys.modules else "no numba", file=sys.stderr)
"""


def test_a_second_daemon_in_the_same_state_folder_is_told_to_try_later(live):
    folder, _ = live
    done = quantd(folder, "run", "--quiet")
    assert done.returncode == 75
    assert "Traceback" not in done.stderr


def test_a_state_folder_for_everybody_is_refused_and_left_as_it_is(tmp_path):
    write(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o1777)
    started = quantd(tmp_path, "run", "--json")
    assert started.returncode == 78
    assert "is a shared folder (sticky bit): choose a private folder" in started.stderr
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o1777


def test_the_files_that_name_the_daemon_are_its_owners_alone(live):
    folder, _ = live
    for name in ("token", "api.json"):
        assert (folder / "state" / name).stat().st_mode & 0o777 == 0o600


def test_a_whole_run_and_a_short_backtest_and_replay_import_no_numba(tmp_path):
    """The service forbids memory that is writable and executable, and numba costs memory and time. The run logs why its
    engine is not compiled."""
    write(tmp_path)
    for words in (("run", "--quiet"), ("replay", "--json"), ("backtest", "--json")):
        command = [sys.executable, "-c", WATCHED, *words]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment() | {"QUANTD_UNCOMPILED": "1"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "no numba", words
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "engine.uncompiled" in line]
        assert ["QUANTD_UNCOMPILED is set; unset it" in line for line in lines] == [True] * (words[0] == "run")
