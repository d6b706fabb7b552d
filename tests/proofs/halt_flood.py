"""Halts while a program floods the API: python -m tests.proofs.halt_flood --seconds 300

The flood has 300 sockets in a process of its own and renews each one as soon as it is closed. `headers` sends headers
that never end, `streams` opens event streams, `bodies` sends bodies that never end, `none` is a minute without a flood.
`bodies`, and `reads` (requests one after another on each socket), have the token that is given. Each second the house
is halted in one of three ways by turns, and armed again over MQTT: the API itself may have no place for a resume.
Printed are the times from the command to HALT, and until the command has ended; those of `quantd halt` contain the
start of Python.
"""

import argparse
import contextlib
import http.client
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from quantd.server.requests.tokens import created
from tests.proofs.kill_switch import Daemon, daemon
from tests.support.command_line import ROOT, environment

SOCKETS: Final = 300
_WITH_TOKEN: Final = b"Host: localhost\r\nAuthorization: Bearer TOKEN\r\n"
KINDS: Final = {
    "none": b"",
    "headers": b"GET / HTTP/1.1\r\nX: ",
    "streams": b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bodies": b"POST /api/v1/predict HTTP/1.1\r\n" + _WITH_TOKEN
    + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
    "reads": b"GET /api/v1/orders HTTP/1.1\r\n" + _WITH_TOKEN + b"\r\n",
}  # fmt: skip
QUIET_S: Final = 60.0
PROMISE_S: Final = {"api": 1.0, "command": 1.0, "file": 0.2}
LOADED: Final = 3.0
"""On a loaded machine three seconds are promised for the API and the command."""


def flood(port: int, kind: str, token: str = "") -> None:
    """Keep SOCKETS connections open, for ever."""
    request = KINDS[kind].replace(b"TOKEN", token.encode())
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}

    def renew() -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", port))
        sockets[connection.fileno()] = connection
        poll.register(connection.fileno(), select.EPOLLOUT)

    for _ in range(SOCKETS):
        renew()
    while True:
        for number, what in poll.poll():
            client = sockets[number]
            try:
                if what & select.EPOLLOUT:
                    client.send(request)
                    poll.modify(number, select.EPOLLIN)
                    continue
                if client.recv(65_536):
                    if kind == "reads":  # again, whether or not the answer is whole
                        client.send(request)
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            poll.unregister(number)
            del sockets[number]
            client.close()
            renew()


@contextlib.contextmanager
def flooded(port: int, kind: str, token: str = "") -> Iterator[None]:
    """The flood, for the time of the block; it is complete when the block begins."""
    if kind == "none":
        yield
        return
    command = [sys.executable, "-m", "tests.proofs.halt_flood", "--flood", kind, "--port", str(port)]
    command += [f"--token={token}"] if token else []  # one word: a token may begin with a dash
    process = subprocess.Popen(command, cwd=ROOT, env=environment())
    try:
        until = time.monotonic() + 60
        while _descriptors(process.pid) < SOCKETS:
            assert time.monotonic() < until, "the flood does not start"
            assert process.poll() is None, "the flood ended"
            time.sleep(0.05)
        yield
        assert process.poll() is None, "the flood ended"
    finally:
        process.kill()
        process.wait(10)


def _descriptors(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def halt(d: Daemon, way: str) -> tuple[float, float, str]:
    """Seconds to HALT and to the end of the command, and the way that was taken. Raises what the API raises."""
    began = time.monotonic_ns()
    took = way
    if way == "file":
        d.pull("file")
    elif way == "api":
        d.post("halt", "flooded", door=True)
    else:
        command = [sys.executable, "-m", "quantd.daemon.cli", "halt", "--reason", "flooded", "--json"]
        done = subprocess.run(command, cwd=d.folder, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        took = json.loads(done.stdout)["way"]
    ended_s = (time.monotonic_ns() - began) / 1e9
    return (d.moved("HALT") - began) / 1e9, ended_s, took


def rearm(d: Daemon) -> None:
    """Resume over MQTT."""
    (d.folder / "state" / "HALT").unlink(missing_ok=True)
    time.sleep(0.3)  # until the daemon has seen that the file is gone
    d.publish("resume", "measured")
    d.moved("RUN")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="duration of each flood")
    parser.add_argument("--loaded", action="store_true", help="the machine has other work: the longer times hold")
    parser.add_argument("--flood", choices=list(KINDS), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--token", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.flood is not None:
        flood(given.port, given.flood, given.token)
    late = 0
    print("flood    way      halts    api   file  refused  p50 s  p99 s  max s  ended p99 s", flush=True)
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder, daemon(Path(folder), 5.0, "2001-01-02") as d:
            token = created(d.folder / "state", "flood", "read")[1]
            time.sleep(1.0)  # until the daemon knows the token
            with flooded(d.port, kind, token):
                seconds = min(QUIET_S, given.seconds) if kind == "none" else given.seconds
                late += _measured(d, kind, seconds, loaded=given.loaded)
            print(f"{kind}: {d.orders} baskets of orders were made, {d.late} of them in HALT", flush=True)
            late += d.late
    return 1 if late else 0


def _measured(d: Daemon, kind: str, seconds: float, *, loaded: bool) -> int:
    """Prints a line for each way; the number of broken promises."""
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in PROMISE_S}
    ways: dict[str, Counter[str]] = {way: Counter() for way in PROMISE_S}
    began = time.monotonic()
    for number in range(max(len(PROMISE_S), int(seconds))):
        time.sleep(max(0.0, began + number - time.monotonic()))
        if time.monotonic() - began > seconds and number >= len(PROMISE_S):
            break
        way = list(PROMISE_S)[number % len(PROMISE_S)]
        try:
            to_halt_s, ended_s, took = halt(d, way)
        except (OSError, http.client.HTTPException):
            ways[way]["refused"] += 1
            continue
        times[way].append((to_halt_s, ended_s))
        ways[way][took] += 1
        rearm(d)
    broken = 0
    for way, promise_s in PROMISE_S.items():
        moved, ended = np.array(times[way] or [(np.nan, np.nan)]).T
        p99 = float(np.percentile(moved, 99))
        counts = ways[way]
        broken += counts["refused"] + (not p99 <= (promise_s * LOADED if loaded and way != "file" else promise_s))
        print(
            f"{kind:8} {way:8} {len(times[way]):5} {counts['api']:6} {counts['file']:6} {counts['refused']:8}"
            f"  {np.median(moved):5.3f}  {p99:5.3f}  {moved.max():5.3f}  {np.percentile(ended, 99):11.3f}",
            flush=True,
        )
    return broken


if __name__ == "__main__":
    sys.exit(main())
