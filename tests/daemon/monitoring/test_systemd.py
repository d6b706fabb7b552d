"""The protocol with systemd over a real datagram socket, and secrets."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantd.daemon.monitoring import systemd
from quantd.daemon.monitoring.systemd import SECRET_BYTES, SecretUnreadable, secret, watchdog_usec


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
    systemd.reloading()
    systemd.stopping("flushing")
    heard = [listener.recv(4096).decode() for _ in range(6)]
    assert heard == ["STATUS=RUN · 3 agents", "READY=1", "WATCHDOG=1", "RELOADING=1", "STATUS=flushing", "STOPPING=1"]


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


def test_a_service_manager_that_reads_nothing_does_not_hold_the_daemon_up(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "SEND_S", 0.001)
    for _ in range(700):  # more than a queue of datagrams holds
        systemd.alive()
    assert listener.recv(64) == b"WATCHDOG=1"


def test_a_socket_that_is_gone_does_not_stop_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    systemd.ready()
    systemd.alive()


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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("QUANTD_MQTT_PASSWORD", raising=False)
    return tmp_path


def test_a_credential_is_read_and_comes_before_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTD_MQTT_PASSWORD", "from the environment")
    assert secret("mqtt_password") == "from the environment"
    (folder / "mqtt_password").write_text("from the file \n")
    assert secret("mqtt_password") == "from the file "


def test_a_secret_that_nobody_set_is_none(folder: Path) -> None:
    assert secret("mqtt_password") is None
    (folder / "mqtt_password").write_text("\n")
    assert secret("mqtt_password") is None


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a\x00b", b"x" * (SECRET_BYTES + 1)])
def test_a_secret_that_is_no_text_is_refused_without_being_told(folder: Path, data: bytes) -> None:
    (folder / "mqtt_password").write_bytes(data)
    with pytest.raises(SecretUnreadable, match="mqtt_password") as refused:
        secret("mqtt_password")
    assert "xxxx" not in str(refused.value)


def test_a_secret_that_is_a_folder_is_refused(folder: Path) -> None:
    (folder / "mqtt_password").mkdir()
    with pytest.raises(SecretUnreadable, match="LoadCredential"):
        secret("mqtt_password")


@pytest.mark.parametrize("name", ["../passwd", "/etc/passwd", "", "A", "a.b", "a\n", "1a"])
def test_a_name_that_leaves_the_folder_is_no_name(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a secret"):
        secret(name)
