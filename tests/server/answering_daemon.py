"""A daemon in a process of its own that answers."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.calendar_files import with_calendar
from tests.support.command_line import environment


def started(folder: Path) -> "subprocess.Popen[bytes]":
    """A daemon that answers."""
    (folder / "state" / "api.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "quantd.daemon.cli", "run"]
    with_calendar(folder)
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
    until(lambda: (folder / "state" / "api.json").exists(), process)
    return process


def until(holds: Callable[[], object], process: "subprocess.Popen[bytes]", within_s: float = 40.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
