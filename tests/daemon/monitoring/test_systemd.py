"""The protocol with systemd over a real datagram socket."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantd.daemon.monitoring import systemd
from quantd.daemon.monitoring.systemd import watchdog_usec


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield heard


def test_each_message_is_one_datagram_of_the_protocol(listener: socket.socket) -> None:
    systemd.ready("RUN · 3 agents")
    systemd.alive()
    systemd.stopping()
    heard = [listener.recv(4096).decode() for _ in range(4)]
    assert heard == ["STATUS=RUN · 3 agents", "READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_a_status_cannot_say_anything_but_a_status(listener: socket.socket) -> None:
    systemd.tell_status("halted\nMAINPID=1\x00\r\nREADY=1 " + "x" * 1_000)
    heard = listener.recv(4096)
    assert heard.startswith(b"STATUS=halted MAINPID=1 READY=1 x")
    assert b"\n" not in heard
    assert len(heard) < 300


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract addresses")
def test_an_abstract_address_is_written_with_an_at_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"quantd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}")
        heard.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.alive()
        assert heard.recv(64) == b"WATCHDOG=1"


@pytest.mark.long
def test_a_service_manager_that_reads_nothing_does_not_hold_the_daemon_up(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "SEND_S", 0.001)
    for _ in range(700):  # more than a queue of datagrams holds
        systemd.alive()
    assert listener.recv(64) == b"WATCHDOG=1"


def test_a_socket_that_is_gone_does_not_stop_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    monkeypatch.setenv("NOTIFY_SOCKET", str(gone))
    systemd.ready("RUN")
    systemd.alive()
    assert not gone.exists()


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", "", 30_000_000),
        ("30000000", "own", 30_000_000),
        ("30000000", "1", 0),
        ("", "", 0),
        ("0", "", 0),
        ("-5", "", 0),
        ("soon", "", 0),
    ],
)
def test_the_watchdog_is_ours_only_when_it_names_us(
    usec: str, pid: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value:
            monkeypatch.setenv(key, str(os.getpid()) if value == "own" else value)
        else:
            monkeypatch.delenv(key, raising=False)
    assert watchdog_usec() == expected
