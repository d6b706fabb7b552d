"""The edges of a daemon that runs as a process: its connections, its bus, and what it writes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.edge_world import CONFIG, environment, write

PACED = CONFIG.replace('pace = "fast"', 'pace = "4/s"').replace('at_end = "stop"', 'at_end = "wait"')


@dataclass
class Running:
    """A daemon in `folder`, with what it has written so far."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def place(self) -> Any:
        return json.loads((self.folder / "state" / "api.json").read_text())

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.place['port']}{path}", timeout=10) as answer:
            return json.load(answer)

    def written(self, stream: str) -> str:
        return (self.folder / stream).read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextlib.contextmanager
def running(folder: Path, text: str, *arguments: str, files: int = 1_024) -> Iterator[Running]:
    """A daemon whose process may open so many files; it has said where it listens."""
    write(folder, text)
    command = [sys.executable, "-m", "daemon.cli", "run", *arguments]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command],
            cwd=folder,
            env=environment(),
            stdout=out,
            stderr=err,
        )
    found = Running(folder, process)
    try:
        until = time.monotonic() + 60
        while not (folder / "state" / "api.json").exists():
            assert process.poll() is None, found.written("err")
            assert time.monotonic() < until
            time.sleep(0.05)
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(10)


def test_a_crowd_of_connections_takes_no_descriptor_from_the_store(tmp_path: Path) -> None:
    with running(tmp_path, PACED, files=128) as daemon:
        port = daemon.place["port"]
        crowd = []
        for _ in range(300):
            crowd.append(socket.create_connection(("127.0.0.1", port), 5))
        time.sleep(1.0)
        descriptors = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        for each in crowd:
            each.close()
        before = daemon.get("/api/v1/status")
        time.sleep(1.0)
        after = daemon.get("/api/v1/status")
        assert descriptors < 100
        assert (after["switch"], after["status"]) == ("RUN", "running")
        assert after["slices"] > before["slices"] > 0
        assert daemon.stop() == 0
        assert len(daemon.written("err")) < 2_000


def test_a_process_that_may_open_too_few_files_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"may open 64 files.*Raise the limit: ulimit -n"),
        running(tmp_path, PACED, files=64),
    ):
        pass
