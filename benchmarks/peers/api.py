"""Throughput of GET /api/v1/status beside a bare aiohttp server: `python -m benchmarks.peers.api`.

Both servers run in one process, whose run trades ten bars a second. The bare one sends the bytes of a status after the
same check of the token. A client in another process asks them in turn. The measure is CPU time of the server's thread
for a request, so that the client and other processes do not count.
"""

import asyncio
import hmac
import http.client
import subprocess
import sys
import tempfile
from hashlib import blake2b
from pathlib import Path
from statistics import median
from typing import Final

from aiohttp import web

from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.timeline import instants
from tests.support.api_world import World
from tests.support.command_line import CONFIG

RATIO: Final = 0.6
"""Least throughput of the API as a share of the bare server's."""

BLOCK, ROUNDS = 300, 20
TEXT: Final = CONFIG.replace(
    "[api]",
    "[api]\nopen_reads = false\nrate = { reads = 10000, reads_burst = 100000 }",
).replace("end = 2019-03-29", "end = 2026-05-29")


async def serve(folder: Path) -> None:
    """Serve both, print the addresses and the token, and run until standard input ends."""
    world = World(folder, TEXT)
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    feeding = asyncio.create_task(feed_recorded(world.service, instants(world.assembly.items()), "10/s", "wait"))
    body, salt = b"", bytes(16)
    digest = blake2b(world.token.encode(), key=salt, digest_size=32).hexdigest()

    async def status(request: web.Request) -> web.Response:
        secret = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(blake2b(secret, key=salt, digest_size=32).hexdigest(), digest):
            return web.Response(status=401)
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/api/v1/status", status)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    own_port = int(world.api.url.rstrip("/").rsplit(":", 1)[1])
    body = await asyncio.to_thread(lambda: ask(http.client.HTTPConnection("127.0.0.1", own_port), world.token))
    print(own_port, port, world.token, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    feeding.cancel()
    world.service.shell.stopped = "the benchmark is over"
    await stepping
    await runner.cleanup()
    await world.api.stop()
    world.store.close()


def ask(connection: http.client.HTTPConnection, token: str) -> bytes:
    """Return one status. Raises RuntimeError for another answer."""
    connection.request("GET", "/api/v1/status", headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {body[:200]!r}")
    return body


def cpu_ns(pid: int) -> int:
    """CPU time of the main thread of a process, which runs the event loop."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.api", "--serve", folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        own_port, bare, token = next(line for line in server.stdout if len(line.split()) == 3).split()
        lines = {
            name: http.client.HTTPConnection("127.0.0.1", int(port))
            for name, port in (("api", own_port), ("bare", bare))
        }
        took: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(ROUNDS):
            for name, connection in lines.items():
                began = cpu_ns(server.pid)
                for _ in range(BLOCK):
                    ask(connection, token)
                took[name].append((cpu_ns(server.pid) - began) / BLOCK / 1e3)
        server.stdin.close()
        server.wait()
    api, plain = median(took["api"][2:]), median(took["bare"][2:])
    print(f"GET /api/v1/status: {api:.0f} us of CPU a request, {1e6 / api:,.0f} a second on one core")
    print(f"bare aiohttp, same bytes and token check: {plain:.0f} us, {1e6 / plain:,.0f} a second")
    print(f"ratio {plain / api:.2f} (at least {RATIO})")
    return 0 if plain / api >= RATIO else 1


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(serve(Path(sys.argv[-1])))
    else:
        sys.exit(main())
