"""Ctrl-C: a real SIGINT to a command that runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantd.engine_build.state import short
from quantd.trading.exit_codes import INTERRUPTED
from tests.support.command_line import answer, environment, quantd, write


def interrupted(folder, ready, *words):
    """(exit code, output, errors) of a command in its own session, with a SIGINT to all of
    it once `ready`."""
    started = subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", *words], cwd=folder, env=environment(), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not ready(started.pid):
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGINT)
    out, err = started.communicate(timeout=30)
    return started.returncode, out, err


@pytest.mark.skipif(not short().startswith("compiled"), reason="without a compiled engine, replay starts no process")
def test_ctrl_c_in_the_replay_of_the_interpreted_engine_is_reported_once(tmp_path):
    write(tmp_path)
    run = answer(quantd(tmp_path, "backtest", "--journal", "--json", "--no-compare"))["run"]

    def begun(parent):
        return bool(Path(f"/proc/{parent}/task/{parent}/children").read_text())

    line = ("replay", run, "--state", "state/backtests", "--uncompiled")
    code, out, err = interrupted(tmp_path, begun, *line)
    assert (code, out, err.splitlines()) == (INTERRUPTED, "", ["interrupted"])
