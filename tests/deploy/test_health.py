"""The image's health check, beside a real server."""

import http.server
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, running, write


@contextmanager
def serving(status: int) -> Iterator[int]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()
            self.wfile.write(b'{"status": "no"}')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", ROOT / "deploy" / "container" / "health.py"]
    return subprocess.run(command, env={"QUANTD_STATE": str(folder)}, capture_output=True, text=True, check=False)


@pytest.mark.requirement("R-218")
def test_the_check_passes_with_200_only_and_names_the_reason_otherwise(tmp_path: Path) -> None:
    process = check(tmp_path)
    assert (process.returncode, "no daemon answers" in process.stderr, "Traceback" in process.stderr) == (
        1,
        True,
        False,
    )
    for status, code, text in ((200, 0, ""), (503, 1, '/health answers 503: {"status": "no"}\n')):
        with serving(status) as port:
            place = {"host": "0.0.0.0", "port": port, "pid": 1, "tls": False, "token": "token"}
            (tmp_path / "api.json").write_text(json.dumps(place))
            process = check(tmp_path)
        assert (process.returncode, process.stderr) == (code, text)
    process = check(tmp_path)
    assert (process.returncode, "refused" in process.stderr) == (1, True)
    (tmp_path / "api.json").write_text("{")
    assert (check(tmp_path).returncode, "Traceback" in check(tmp_path).stderr) == (1, False)


@pytest.mark.requirement("R-218")
@pytest.mark.long
def test_the_check_of_a_real_daemon_passes_while_it_runs_and_fails_after_its_end(tmp_path: Path) -> None:
    write(tmp_path, CONFIG.replace('at_end = "stop"', 'at_end = "wait"'))
    with running(tmp_path) as daemon:
        process = check(tmp_path / "state")
        assert (process.returncode, process.stderr) == (0, "")
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
    process = check(tmp_path / "state")
    assert (process.returncode, "no daemon answers" in process.stderr) == (1, True)
