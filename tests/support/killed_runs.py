"""A run that is killed after a number of steps."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.support.calendar_files import with_calendar
from tests.support.command_line import environment

SLOW = ("--set", "feed.pace=300/s")


def steps(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder}/state/quantd.db?mode=ro", uri=True) as db:
            return int(db.execute("SELECT COALESCE(MAX(last_seq), 0) FROM journal").fetchone()[0])
    except sqlite3.Error:
        return 0


def kill_after(folder: Path, more: int, *arguments: str) -> None:
    """Run until so many more steps are committed, then SIGKILL."""
    until = steps(folder) + more
    with_calendar(folder)
    child = subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet", *SLOW, *arguments],
        cwd=folder,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while steps(folder) < until and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert steps(folder) >= until
