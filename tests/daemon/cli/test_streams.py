"""Descriptors 0 to 2: closed, full or without a reader, they undo no work, and the exit code names what was done."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from quantd.daemon.cli.streams import Outlet
from tests.daemon.running_daemon import until
from tests.support.command_line import CONFIG, quantd, write
from tests.support.mqtt import free_port

QUANTD = [sys.executable, "-m", "quantd.daemon.cli"]

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


@pytest.mark.parametrize("gone", ["pipe", "terminal", "socket"])
def test_a_reader_that_has_left_ends_only_a_command_whose_work_is_its_output(gone: str) -> None:
    reader, writer = os.pipe() if gone == "pipe" else os.openpty() if gone == "terminal" else (-1, -1)
    if gone == "socket":
        one, two = socket.socketpair()
        reader, writer = one.detach(), two.detach()
    os.close(reader)
    outlet = Outlet(writer)
    assert outlet.write(b"line") == 4
    assert outlet.lost
    outlet.strict = True
    with pytest.raises(BrokenPipeError):
        outlet.write(b"line")
    os.close(writer)


def test_a_pipe_that_does_not_block_and_is_full_loses_what_it_does_not_take() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    outlet = Outlet(writer)
    for _ in range(40):
        assert outlet.write(b"x" * 4_096) == 4_096
    assert outlet.lost
    os.close(reader)
    os.close(writer)


def test_output_goes_on_when_a_device_takes_it_again(tmp_path: Path) -> None:
    with FULL.open("wb") as device:
        number = os.dup(device.fileno())
    outlet = Outlet(number)
    outlet.write(b"lost\n")
    with (tmp_path / "log").open("wb") as file:
        os.dup2(file.fileno(), number)
    outlet.write(b"kept\n")
    assert (tmp_path / "log").read_bytes() == b"kept\n"
    os.close(number)


def shell(folder: Path, words: str, redirect: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", f"exec {' '.join(QUANTD)} {words} {redirect}"],
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.long
@needs_full
@pytest.mark.parametrize(
    ("words", "redirect", "code"),
    [
        ("config check --show", ">&-", 0),
        ("config check --show", "<&- >&- 2>&-", 0),
        ("config check --show", ">/dev/full", 0),
        ("features list", ">&- 2>&-", 0),
        ("features list", ">/dev/full", 1),
        ("features list", ">/dev/full 2>/dev/full", 1),
        ("features list", "2>&-", 0),
        ("token create phone --scope read", ">/dev/full", 0),
    ],
)
def test_what_was_done_decides_the_exit_code(tmp_path: Path, words: str, redirect: str, code: int) -> None:
    write(tmp_path, CONFIG)
    (tmp_path / "state").mkdir()
    done = shell(tmp_path, words, redirect)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if redirect == ">/dev/full":
        assert "no space left on device" in done.stderr


def filled(database: Path) -> bool:
    """Whether an order has a fill there."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return bool(connection.execute("select 1 from fills limit 1").fetchone())


@pytest.mark.long
def test_a_daemon_trades_on_and_says_so_where_the_partition_of_its_log_file_is_full(tmp_path: Path) -> None:
    """LOGS_DIR is a file system of 4 KiB, in a mount namespace of its own."""
    text = CONFIG.replace('pace = "fast"', 'pace = "20/s"').replace('at_end = "stop"', 'at_end = "wait"')
    write(tmp_path, text)
    (tmp_path / "logs").mkdir()
    mount = "mount -t tmpfs -o size=4k none logs"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("this machine permits no mount namespaces")
    program = f"{mount} && head -c 4096 /dev/zero > logs/other && exec {' '.join(QUANTD)} run"
    environment = os.environ | {"LOGS_DIR": str(tmp_path / "logs")}
    with (tmp_path / "errors").open("w") as errors:
        command = ["unshare", "-rm", "sh", "-c", program]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=errors, stderr=errors)
    try:
        limit = time.monotonic() + 120
        alerts: list[str] = []
        while not alerts:
            assert time.monotonic() < limit, (tmp_path / "errors").read_text()
            assert process.poll() is None, (tmp_path / "errors").read_text()
            time.sleep(0.5)
            listed = quantd(tmp_path, "alerts", "--json")
            alerts = [line for line in listed.stdout.splitlines() if "LOGS_DIR" in line]
        assert "lines of the log file are lost (no space left on device); trading goes on" in alerts[0]
        assert "Make space in that folder" in alerts[0]
        before = json.loads(quantd(tmp_path, "status", "--json").stdout)["ts"]
        while json.loads(quantd(tmp_path, "status", "--json").stdout)["ts"] == before:
            assert time.monotonic() < limit, "no bar was processed any more"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert "Traceback" not in (tmp_path / "errors").read_text()
    assert quantd(tmp_path, "doctor", "--store").returncode == 0


REDIRECTS = ("<&- >&- 2>&-", ">&-", "2>&-", "<&-", ">/dev/full 2>/dev/full", ">/dev/full", "| true")
FORMS = ("json", "console")
SEVERAL = {("<&- >&- 2>&-", "json"), (">/dev/full 2>/dev/full", "console"), ("| true", "json")}
"""Each fault on all descriptors that it can be on: closed, full, without a reader."""


@needs_full
@pytest.mark.long
@pytest.mark.parametrize(
    ("redirect", "form"),
    [
        pytest.param(redirect, form, marks=() if (redirect, form) in SEVERAL else pytest.mark.slow)
        for redirect in REDIRECTS
        for form in FORMS
    ],
)
def test_a_daemon_trades_on_without_its_standard_descriptors_and_stops_in_order(
    tmp_path: Path, redirect: str, form: str
) -> None:
    """Each fault is on several descriptors, and has one form of the log; `pytest -m slow` adds each descriptor alone,
    and the other form of each."""
    port = free_port()
    text = CONFIG.replace('pace = "fast"', 'pace = "20/s"').replace('at_end = "stop"', 'at_end = "wait"')
    write(tmp_path, text.replace("[api]\nport = 0", f"[api]\nport = {port}") + f'\n[log]\nformat = "{form}"\n')
    words = "run" if redirect != "| true" else "run 2>&1"
    command = f"{' '.join(QUANTD)} {words} {redirect}"
    if redirect == "| true":
        command = f"set -o pipefail; {command}"
    process = subprocess.Popen(["bash", "-c", f"{command} & echo $! >/dev/null; wait $!; exit $?"], cwd=tmp_path)
    try:
        until((tmp_path / "state/api.json").exists, "it did not start")
        until(lambda: filled(tmp_path / "state/quantd.db"), "no order was filled")
        daemon = json.loads((tmp_path / "state/api.json").read_text())["pid"]
        for number in (0, 1, 2):
            target = os.readlink(f"/proc/{daemon}/fd/{number}")
            assert "quantd.db" not in target
        os.kill(daemon, signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
    done = quantd(tmp_path, "doctor", "--store")
    assert done.returncode == 0, done.stdout + done.stderr
