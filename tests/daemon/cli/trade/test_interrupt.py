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


@pytest.mark.skipif(not short().startswith("compiled"), reason="without a compiled engine, replay starts no process")
def test_ctrl_c_in_the_replay_of_the_interpreted_engine_is_reported_once(tmp_path):
    write(tmp_path)
    run = answer(quantd(tmp_path, "backtest", "--journal", "--json", "--no-compare"))["run"]
    line = [sys.executable, "-m", "quantd.daemon.cli", "replay", run, "--state", "state/backtests", "--uncompiled"]
    started = subprocess.Popen(
        line, cwd=tmp_path, env=environment(), start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
    deadline = time.monotonic() + 60
    while not children.read_text():
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGINT)
    out, err = started.communicate(timeout=30)
    assert (started.returncode, out, err.splitlines()) == (INTERRUPTED, "", ["interrupted"])
