"""A daemon in a process of its own, and what it writes."""

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.calendar_files import with_calendar
from tests.support.command_line import environment, write


def until(done: Callable[[], object], what: str) -> None:
    """Wait until it is so, at most a minute; else say what is not."""
    limit = time.monotonic() + 60
    while not done():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


@dataclass
class Running:
    """A daemon in `folder`, with what it has written so far."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def place(self) -> Any:
        return json.loads((self.folder / "state" / "api.json").read_text())

    def get(self, path: str) -> Any:
        """What the API answers; tried again while it has no place for one more connection."""
        limit = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.place['port']}{path}", timeout=10) as answer:
                    return json.load(answer)
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > limit:
                    raise
                time.sleep(0.1)

    def written(self, stream: str) -> str:
        return (self.folder / stream).read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextlib.contextmanager
def running(
    folder: Path, text: str, *arguments: str, files: int = 1_024, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """A daemon whose process may open so many files; it has said where it listens, and is killed at the end."""
    write(with_calendar(folder), text)
    command = [sys.executable, "-m", "quantd.daemon.cli", "run", *arguments]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command],
            cwd=folder,
            env=environment() if env is None else env,
            stdout=out,
            stderr=err,
        )
    daemon = Running(folder, process)
    try:
        until(lambda: (folder / "state" / "api.json").exists() or process.poll() is not None, "it did not start")
        assert process.poll() is None, daemon.written("err")
        yield daemon
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(10)
