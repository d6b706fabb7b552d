"""A `quantd run` as a process of its own, which the recorder commands over the API, kills and starts again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.calendar_files import with_calendar
from tests.support.command_line import environment

WITHIN_S: Final = 120.0


class Daemon:
    """One process. `steps` counts committed steps of all runs of the store."""

    def __init__(self, folder: Path, *arguments: str, module: str = "quantd.daemon.cli") -> None:
        self.folder = folder
        (folder / "state" / "api.json").unlink(missing_ok=True)
        with_calendar(folder)
        command = [sys.executable, "-m", module, "run", "--quiet", *arguments]
        with (folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)

    def steps(self) -> int:
        """The number of committed steps."""
        try:
            where = f"file:{self.folder}/state/quantd.db?mode=ro"
            with closing(sqlite3.connect(where, uri=True)) as db:
                query = "SELECT MAX(last_seq) AS last FROM journal GROUP BY run"
                row = db.execute(f"SELECT COALESCE(SUM(last), 0) FROM ({query})").fetchone()
                return int(row[0])
        except sqlite3.Error:
            return 0

    def until(self, holds: Callable[[], object]) -> None:
        """Waits while the daemon lives."""
        end = time.monotonic() + WITHIN_S
        while not holds():
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended: {(self.folder / 'log.txt').read_text()[-2000:]}")
            if time.monotonic() > end:
                raise TimeoutError(f"{self.folder}: {self.steps()} steps")
            time.sleep(0.02)

    def until_more(self, steps: int) -> None:
        """Waits for so many more steps."""
        there = self.steps() + steps
        self.until(lambda: self.steps() >= there)

    def call(self, path: str, body: object | None = None) -> tuple[int, Any]:
        """(status, answer) of a request to the API: a POST with a body, else a GET."""
        state = self.folder / "state"
        self.until(lambda: (state / "api.json").exists() and (state / "token").exists())
        place = json.loads((state / "api.json").read_text())
        headers = {
            "Authorization": f"Bearer {(state / 'token').read_text().strip()}",
            "Content-Type": "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{place['host']}:{place['port']}/api/v1/{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def post(self, path: str, body: object, status: int = 200) -> Any:
        """The answer to a POST, which must have this status."""
        answer_status, answer = self.call(path, body)
        if answer_status != status:
            raise RuntimeError(f"{path} {body}: {answer_status} {answer}")
        return answer

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, which stops cleanly and leaves a snapshot."""
        self.process.send_signal(signal.SIGTERM)
        self.ended()

    def ended(self) -> None:
        """Waits for the end of the process, which must have been clean."""
        if self.process.wait(WITHIN_S):
            raise RuntimeError(f"exit code {self.process.returncode}: {(self.folder / 'log.txt').read_text()[-2000:]}")


@contextmanager
def running(folder: Path, *arguments: str, module: str = "quantd.daemon.cli") -> Iterator[Daemon]:
    """A daemon that is gone at the end."""
    daemon = Daemon(folder, *arguments, module=module)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


def run_to_end(folder: Path, *arguments: str, module: str = "quantd.daemon.cli") -> None:
    """A daemon until the end of its market."""
    with running(folder, *arguments, module=module) as daemon:
        daemon.ended()


def killed_after(folder: Path, steps: int, *arguments: str, module: str = "quantd.daemon.cli") -> None:
    """A daemon that is killed after so many steps."""
    with running(folder, *arguments, module=module) as daemon:
        daemon.until_more(steps)
        daemon.kill()
