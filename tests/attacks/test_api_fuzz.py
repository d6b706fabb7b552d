"""Random requests to the API of a running service: methods, paths, queries, headers and bodies of any kind."""

import asyncio
import json
import random
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from quantd.server.api.route_records import Page, Post, Read
from tests.support.api_world import World, get, standing_at_the_end
from tests.support.command_line import CONFIG

TEXT: Final = (
    CONFIG.replace(
        "[api]",
        "[api]\nrate = { reads = 10000, reads_burst = 100000, posts = 10000, posts_burst = 100000 }",
    )
    + "\n[manual]\ncapital = 0.1\n"
)

SLOW: Final = ("/why/", "/plan", "/performance", "/risk", "/events", "/house")
"""Parts of paths that take milliseconds; each is a twentieth as frequent as another path."""

WORDS: Final = (
    "", "0", "1", "-1", "1.5", "nan", "1e999", "99999999999999999999", "SPY", "even", "trend", "manual", "benchmark",
    "2019-02-01", "9999-12-31", "0001-01-01", "true", "null", "%00", "%ff%fe", "%F0%9F%98%80", "'; DROP TABLE orders",
    "../../etc/passwd", "k6ZvcmRlcnM", "A" * 300, "d1:SPY", "a%0d%0aX: y",
)  # fmt: skip

NAMES: Final = ("even", "trend", "close", "daily rebalance", "d1", "1")
"""Agents, schedules and ids, for the parameters of paths."""

METHODS: Final = ("GET", "GET", "GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "FOO")


class Fuzz:
    """Makes requests for the routes of a service from a seed."""

    def __init__(self, world: World, seed: int) -> None:
        self._rng = random.Random(seed)
        self._token = world.token
        self._port = int(world.api.url.rstrip("/").rsplit(":", 1)[1])
        routes = world.api._routes
        paths = [route.path for route in routes]
        self._paths = [path for path in paths for _ in range(1 if any(part in path for part in SLOW) else 20)]
        self._names = sorted({name for r in routes if isinstance(r, Read) for name in r.query.__struct_fields__})
        self._posts = [route for route in routes if isinstance(route, Post)]
        assert any(isinstance(route, Page) for route in routes)

    def request(self) -> bytes:
        rng = self._rng
        if rng.random() < 0.01:
            return rng.randbytes(rng.randrange(1, 200)) + b"\r\n\r\n"
        method = rng.choice(METHODS)
        post = rng.choice(self._posts)
        path = post.path if method == "POST" and rng.random() < 0.8 else rng.choice(self._paths)
        path = re.sub(r"\{\w+\}", lambda _: rng.choice((*NAMES, *WORDS)).replace(" ", "+"), path)
        if rng.random() < 0.1:
            path += rng.choice(("/", "//", "/x", "%2e%2e", "?", "#", "/" + "y" * 500))
        for k in range(rng.choice((0, 0, 1, 1, 2, 5))):
            name = rng.choice(self._names) if rng.random() < 0.8 else rng.choice(WORDS) or "x"
            path += f"{'&' if k else '?'}{name}={rng.choice(WORDS)}".replace(" ", "+")
        body = self._body(post.example) if method not in ("GET", "HEAD") or rng.random() < 0.05 else b""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {rng.choice(('localhost', 'localhost', 'localhost', 'evil'))}"]
        if rng.random() < 0.8:
            lines.append(f"Authorization: Bearer {self._token if rng.random() < 0.9 else rng.choice(WORDS)}")
        if rng.random() < 0.2:
            lines.append(f"Idempotency-Key: {rng.choice((*WORDS[:12], rng.randrange(50)))}")
        if rng.random() < 0.1:
            name = rng.choice(
                ("If-None-Match", "Origin", "Accept", "Range", "X-A", "Cookie", "Accept-Encoding", "Expect")
            )
            lines.append(f"{name}: {rng.choice(WORDS)}")
        if body or method == "POST":
            kind = (
                "application/json" if rng.random() < 0.9 else rng.choice(("text/plain", "application/json; charset=x"))
            )
            lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body

    def _body(self, example: str) -> bytes:
        rng = self._rng
        body: dict[str, Any] = json.loads(example)
        dice = rng.random()
        if dice < 0.1:
            return rng.randbytes(rng.randrange(0, 300))
        if dice < 0.12:
            return b"x" * 20_000
        for name in list(body):
            dice = rng.random()
            if dice < 0.15:
                body[name] = rng.choice((*WORDS, 1, -1.5, None, [], {}, True, 2**70, "\ud83d\ude00"))
            elif dice < 0.2:
                del body[name]
        return json.dumps(body).encode()

    def send(self, count: int) -> tuple[Counter[int], list[bytes]]:
        """Send so many requests, one after another: responses by status, and requests without one or with status 500.

        A connection is used again while the server permits.
        """
        statuses, faults = Counter[int](), list[bytes]()
        line: Line | None = None
        for _ in range(count):
            request = self.request()
            line = line or Line(self._port)
            status = line.status_of(request)
            if status is None:  # an idle connection that the server had closed
                line.close()
                line = Line(self._port)
                status = line.status_of(request)
            if status is None or status == 500:
                faults.append(request)
            statuses[status or 0] += 1
            if line.over:
                line.close()
                line = None
        return statuses, faults


class Line:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self._file = self._socket.makefile("rb")
        self.over = False

    def status_of(self, request: bytes) -> int | None:
        """The status of the response; None when the connection ends without one."""
        try:
            self._socket.sendall(request)
            status, size, stream = self._head()
            while status == 100:
                status, size, stream = self._head()
            self.over = self.over or stream or status == 400
            if not self.over and not request.startswith(b"HEAD") and status not in (204, 304):
                self._file.read(size)
            return status
        except (OSError, ValueError, IndexError):
            self.over = True
            return None

    def _head(self) -> tuple[int, int, bool]:
        status, size, stream = int(self._file.readline().split()[1]), 0, False
        while (line := self._file.readline().strip().lower()) != b"":
            name, _, value = line.partition(b":")
            size = int(value) if name == b"content-length" else size
            stream = stream or (name == b"transfer-encoding" and b"chunked" in value)
            self.over = self.over or (name == b"connection" and b"close" in value)
        return status, size, stream

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.mark.long
async def test_no_random_request_has_status_500_or_no_response(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, TEXT) as world:
        statuses, faults = await asyncio.to_thread(Fuzz(world, 7).send, 2_000)
        assert (await get(world, "/api/v1/status"))[0] == 200
    assert faults == []
    assert statuses[200] > 100
    assert len(statuses) > 8
