"""A file that takes long to open, as a leased one does, holds up no event loop: a running daemon reads in threads."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.calendar_files import with_calendar
from tests.support.checkout import ROOT
from tests.support.isolated_policies import CONFIG, ENV

WATCHED = """
import asyncio, os, sys, threading
out, main = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), threading.get_ident()
def opened(event, given):
    if event == "open" and not isinstance(given[0], int) and ready:
        held = threading.get_ident() == main and asyncio._get_running_loop() is not None
        frame, places = sys._getframe(1), []
        while held and frame is not None:
            places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            frame = frame.f_back
        ours = [place for place in places if "/quantd/" in place][:7]
        os.write(out, f"{'loop' if held else 'thread'} {given[0]} {' < '.join(ours)}\\n".encode())
ready = []
sys.addaudithook(opened)
from quantd.daemon.monitoring import systemd
systemd.ready = ready.append
from quantd.daemon.cli import main as program
sys.argv = ["quantd", "run"]
program()
"""

MORE = f"""
[manual]
capital = 0.1
[portfolios]
places = 2
[[agents]]
name = "learned"
policy = "{ROOT}/models/shipped/scorer"
capital = 0.1
[[agents]]
name = "outside"
policy = "external"
shadow = true
challenges = "mine"
capital = 0.3
"""

NAMES = {"symbol": "SPY", "agent": "learned", "name": "outside", "order": "1", "id": "1", "incident": "1"}


class Daemon:
    """A daemon that notes each file that it opens after its start."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, folder / "opened"
        with_calendar(folder)
        words = [sys.executable, "-c", WATCHED, str(self.notes)]
        self.process = subprocess.Popen(
            words, cwd=folder, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        url_match = None
        while url_match is None:
            line = self.process.stdout.readline()
            assert line, "it ended"
            url_match = re.search(r"http://[0-9.:]+", line)
        self.address = url_match[0]
        self.token = (folder / "state" / "token").read_text().strip()

    def ask(self, path: str, body: object = None, token: str = "") -> tuple[int, bytes]:
        path = re.sub(r"\{(\w+)\}", lambda match: NAMES.get(match[1], "1"), path)
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as why:
            return why.code, why.read()

    def opened(self, where: str) -> list[str]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(where)]

    def wait_for(self, name: str, count: int = 1) -> None:
        """Waits until a thread has opened a file of this name so often."""
        until = time.monotonic() + 20.0
        while sum(name in line for line in self.opened("thread")) < count:
            assert time.monotonic() < until, (name, self.opened("loop"))
            time.sleep(0.02)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "mine.py").write_text("def act(view):\n    return [0.1] * len(view.prices)\n")
    text = CONFIG.format(pace="20/s", at_end="wait", policy="mine.py:act", params="{}")
    (tmp_path / "config.toml").write_text(text.replace("capital = 1.0", "capital = 0.4") + MORE)
    target = Daemon(tmp_path)
    yield target
    target.process.kill()
    target.process.communicate()


@pytest.mark.long
def test_no_file_is_opened_in_the_event_loop(daemon: Daemon) -> None:
    status, data = daemon.ask("/openapi.json")
    assert status == 200
    document = json.loads(data)["paths"]
    pages = [path for path, ways in document.items() if "get" in ways and "events" not in path]
    for path in ("/", "/dashboard/dashboard.js", "/docs", *pages):
        assert daemon.ask(path)[0] < 500, path
    for path, ways in document.items():
        if "post" in ways:
            (content,) = ways["post"]["requestBody"]["content"].values()
            assert daemon.ask(path, content["example"])[0] < 500, path
    config = daemon.folder / "config.toml"
    for number, (old, new) in enumerate([("0.35", "0.34"), ("max_position_weight", "max_position")], 1):
        config.write_text(config.read_text().replace(old, new))
        os.kill(daemon.process.pid, signal.SIGHUP)
        daemon.wait_for("config.toml", number)
    quantd = Path(sys.executable).parent / "quantd"
    words = [quantd, "token", "create", "reader", "--scope", "read"]
    process = subprocess.run(words, cwd=daemon.folder, env=ENV, capture_output=True, text=True, check=True)
    time.sleep(0.6)  # the shortest time between two looks at the file
    assert daemon.ask("/api/v1/status", token=process.stdout.split()[-1])[0] == 200
    (daemon.folder / "state" / "HALT").touch()
    time.sleep(0.3)
    # a started process opens two files of the kernel, which no disk delays
    assert [line for line in daemon.opened("loop") if not line.startswith(("/dev/null ", "/proc/"))] == []
    for name in ("index.html", "dashboard.js", "docs.html", "statm", "tokens.json"):
        assert any(name in line for line in daemon.opened("thread")), name


FAILING = """
import sys
from quantd.daemon.monitoring.metrics import configure
import structlog
configure(format="json")
log, opened = structlog.get_logger("quantd"), []
def fail():
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError("lost") from error
log.info("first")
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
try:
    fail()
except ValueError:
    log.exception("failed")
print(opened)
"""


def test_a_failure_is_logged_with_its_calls_and_without_reading_their_source(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    words = [sys.executable, str(tmp_path / "failing.py")]
    done = subprocess.run(words, env=ENV, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    trace = json.loads(done.stderr.splitlines()[-1])["exception"]
    assert f'File "{tmp_path}/failing.py", line 11, in fail' in trace
    assert "KeyError: 'inner'" in trace
    assert trace.endswith("ValueError: lost")
