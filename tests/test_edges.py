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

from tests.edge_world import CONFIG, environment, program, quantd, write

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


def test_a_run_that_logs_in_json_writes_nothing_else_and_names_its_own_state_folder(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    write(tmp_path)
    done = program(tmp_path, "run", "--state", str(folder), "--set", "log.format=json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    events = {line["event"]: line for line in lines}
    assert events["serving"]["state"] == str(folder)
    assert events["ended"]["equity"]
    again = program(
        tmp_path, "run", "--state", str(folder), "--set", "log.format=json", "--set", "feed.start=2019-02-01"
    )
    assert again.returncode != 0
    assert all("event" in json.loads(line) for line in (again.stdout + again.stderr).splitlines())


def test_people_are_told_the_token_of_the_folder_that_the_run_is_in(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    write(tmp_path)
    done = program(tmp_path, "run", "--state", str(folder))
    assert f"(token for changes: {folder / 'token'})" in done.stdout
    assert (folder / "token").exists()


STEERING = "\\x1b]0;pwned\\x07 \\x1b[31m \\x9b31m \\u202e"

STEERS = f"""
def act(view):
    raise ValueError("red{STEERING}")
"""


def test_text_of_a_policy_cannot_steer_the_terminal_of_any_command(tmp_path: Path) -> None:
    (tmp_path / "steers.py").write_text(STEERS)
    write(
        tmp_path,
        CONFIG.replace('policy = "momentum"', 'policy = "steers.py:act"').replace("params = { lookback = 60 }", ""),
    )
    ran = program(tmp_path, "run")
    assert ran.returncode == 0, ran.stderr
    commands = (["alerts"], ["alerts", "--json"], ["status"], ["risk"], ["plan"], ["decisions"], ["report", "--json"])
    for words in commands:
        done = quantd(tmp_path, *words)
        text = done.stdout + done.stderr
        bad = sorted({c for c in text if c not in "\n\t" and not c.isprintable()})
        assert bad == [], (words, bad)
        if "--json" in words:
            json.loads(done.stdout)
    alerts = quantd(tmp_path, "alerts").stdout
    assert "red\\x1b]0;pwned\\x07 \\x1b[31m \\u009b31m \\u202e" in alerts
    kept = json.loads(quantd(tmp_path, "alerts", "--json").stdout)["alerts"]
    assert any("red\x1b]0;pwned\x07" in each["text"] for each in kept)


def test_the_box_of_a_run_shows_control_characters_and_obeys_none(tmp_path: Path) -> None:
    write(
        tmp_path,
        PACED.replace('policy = "momentum"', 'policy = "steers.py:act"').replace("params = { lookback = 60 }", ""),
    )
    (tmp_path / "steers.py").write_text(STEERS)
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon.cli", "run"], cwd=tmp_path, env=environment(), stdout=slave, stderr=slave
    )
    os.close(slave)
    shown = b""
    until = time.monotonic() + 60
    while b"pwned" not in shown and time.monotonic() < until:
        shown += os.read(master, 65_536)
    process.kill()
    process.wait(10)
    os.close(master)
    assert b"pwned" in shown
    assert b"\x1b]0;" not in shown
