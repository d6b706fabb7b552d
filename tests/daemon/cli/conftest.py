"""A finished run and a running daemon, for the tests of commands."""

import contextlib
import json
import signal
import subprocess
import sys
import time

import pytest

from tests.support.command_line import CONFIG, answer, environment, quantd, write


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """A folder with a finished run, and what the run printed."""
    folder = tmp_path_factory.mktemp("ran")
    write(folder)
    return folder, answer(quantd(folder, "run", "--json"))


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A folder in which a daemon runs, held at the end of its market."""
    folder = tmp_path_factory.mktemp("live")
    write(folder, CONFIG.replace('at_end = "stop"', 'at_end = "wait"'))
    daemon = subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", "run"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        done = quantd(folder, "status", "--json")
        if done.returncode == 0 and json.loads(done.stdout)["status"] == "ended":
            break
        time.sleep(0.2)
    yield folder, daemon
    with contextlib.suppress(ProcessLookupError):
        daemon.send_signal(signal.SIGTERM)
    daemon.communicate(timeout=30)
