"""A daemon in a process of its own that answers."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.calendar_files import with_calendar
from tests.support.command_line import CONFIG, answer, environment, quantd


def paced(pace: str) -> str:
    """A configuration whose market goes on, with room for an agent whatever the other ones hold."""
    text = CONFIG.replace('pace = "fast"', f'pace = "{pace}"').replace('at_end = "stop"', 'at_end = "wait"')
    text = text.replace("max_position_weight = 0.25", "max_position_weight = 0.9")
    return text.replace("end = 2019-03-29", "end = 2021-03-31")


@contextmanager
def trading(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    process = started(folder)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def priced(folder: Path) -> None:
    """Wait until a run has closed a session, after which its agents order."""
    end = time.monotonic() + 60
    while (shown := quantd(folder, "status", "--json")).returncode or not answer(shown).get("fills"):
        assert time.monotonic() < end
        time.sleep(0.1)


def started(folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    """A daemon that answers."""
    (folder / "state" / "api.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "quantd.daemon.cli", "run", *options]
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
