"""A real mosquitto, its own clients, and two small outboxes, for the tests of the bus."""

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from quantd.adapters.bus.publisher import Outgoing
from tests.support.services import require


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, within_s: float = 60.0) -> None:
    limit = time.monotonic() + within_s
    while time.monotonic() < limit:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"nothing listens on {port}")


async def until(true: Callable[[], object], what: str = "it", within_s: float = 60.0) -> None:
    limit = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < limit, f"{what} did not happen within {within_s} s"
        await asyncio.sleep(0.01)


def certificate(folder: Path, names: str = "DNS:localhost,IP:127.0.0.1") -> tuple[Path, Path]:
    """A self-signed certificate for this machine or for other names, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "1", "-subj", "/CN=localhost", "-addext", f"subjectAltName={names}"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o644)
    return cert, key


class Mosquitto:
    """The broker as a process on a free loopback port, with persistence that survives `restart`."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.programs = require("mosquitto")
        self.folder = folder
        self.port = free_port()
        self.config = folder / "mosquitto.conf"
        folder.chmod(0o777)
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous {'false' if extra else 'true'}\n"
            f"persistence true\npersistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\n"
            f"max_queued_messages 0\nmax_inflight_messages 0\n{extra}\n" + ("user root\n" if os.getuid() == 0 else "")
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        with (self.folder / "mosquitto.log").open("ab") as out:
            self.process = subprocess.Popen(
                [self.programs["mosquitto"], "-c", str(self.config)], stdout=out, stderr=out
            )
        wait_for_port(self.port)
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)  # a test may have left it stopped
            self.process.send_signal(how)
            self.process.wait(10)
            self.process = None

    def subscribe(self, *arguments: str) -> "Subscriber":
        return Subscriber(self.programs["mosquitto_sub"], self.port, self.folder, *arguments)


class Subscriber:
    """mosquitto_sub, writing "topic payload" lines into a file; made once the broker has granted its subscriptions."""

    running: ClassVar[list["Subscriber"]] = []
    number = 0

    def __init__(self, program: str, port: int, folder: Path, *arguments: str) -> None:
        Subscriber.number += 1
        self.out = folder / f"subscriber-{Subscriber.number}.txt"
        with self.out.open("wb") as out:
            # its debug lines say when it is subscribed; they must not wait in a buffer
            words = ["stdbuf", "-oL", program, "-d", "-h", "127.0.0.1", "-p", str(port), "-v", *arguments]
            self.process = subprocess.Popen(words, stdout=out, stderr=subprocess.DEVNULL)
        Subscriber.running.append(self)
        limit = time.monotonic() + 60
        while "\nSubscribed (" not in self.out.read_text() and self.process.poll() is None:
            assert time.monotonic() < limit, "the broker grants no subscription"
            time.sleep(0.01)

    @classmethod
    def close_all(cls) -> None:
        """For the end of a test that may have failed before it closed its own."""
        while cls.running:
            cls.running[-1].close()

    def lines(self) -> list[tuple[str, str]]:
        text = self.out.read_text()
        messages = [line.split(" ", 1) for line in text.splitlines() if " " in line]
        return [(topic, payload) for topic, payload in messages if topic not in ("Client", "Subscribed")]

    def close(self) -> None:
        Subscriber.running.remove(self)
        self.process.kill()
        self.process.wait(10)


class MemoryOutbox:
    """Messages in a dict."""

    def __init__(self) -> None:
        self.messages: dict[str, Outgoing] = {}

    def put(self, id: str, topic: str, payload: bytes, retain: bool = False) -> None:
        self.messages[id] = (id, topic, payload, retain)

    def pending(self, limit: int) -> Sequence[Outgoing]:
        return list(self.messages.values())[:limit]

    def acknowledge(self, ids: Sequence[str]) -> None:
        for id in ids:
            self.messages.pop(id, None)

    def depth(self) -> int:
        return len(self.messages)

    def dropped(self) -> int:
        return 0


class SqliteOutbox:
    """Messages in a file, so that they outlive the process; one connection a call, as threads differ."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as db:
            db.execute(
                "create table if not exists outbox "
                "(seq integer primary key, id text unique, topic text, payload blob, retain int)"
            )

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=10)

    def put(self, id: str, topic: str, payload: bytes, retain: bool = False) -> None:
        with self._open() as db:
            db.execute(
                "insert into outbox (id, topic, payload, retain) values (?, ?, ?, ?)", (id, topic, payload, retain)
            )

    def pending(self, limit: int) -> Sequence[Outgoing]:
        with self._open() as db:
            rows = db.execute("select id, topic, payload, retain from outbox order by seq limit ?", (limit,)).fetchall()
        return [(id, topic, payload, bool(retain)) for id, topic, payload, retain in rows]

    def acknowledge(self, ids: Sequence[str]) -> None:
        with self._open() as db:
            db.executemany("delete from outbox where id = ?", [(id,) for id in ids])

    def depth(self) -> int:
        with self._open() as db:
            return db.execute("select count(*) from outbox").fetchone()[0]

    def dropped(self) -> int:
        return 0
