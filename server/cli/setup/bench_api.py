"""Response times of the API of a daemon that trades, for `quantd bench`."""

import http.client
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from quantd import bundled
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.places import Place
from quantd.server.cli.client import Daemon, reach, running
from quantd.trading.exit_codes import CHECK_FAILED, TRY_LATER

PATHS: Final = ("/health", "/api/v1/status", "/api/v1/positions", "/api/v1/risk", "/api/v1/orders")

START_S: Final = 120.0
"""Longest wait for the start of the daemon, in seconds."""

SETS: Final = (
    "api.port=0", "bus.port=0", 'feed.pace="10/s"', "api.rate={ reads = 10000, reads_burst = 100000 }",
)  # fmt: skip
"""Keys of the started daemon: free ports, ten bars a second, and a rate of requests that is not reached."""


def request_times(home: Place | None, seconds: float) -> dict[str, list[int]]:
    """Time reads of the running daemon of `home`, or of one on the shipped example in a temporary folder for None.

    Returns the durations in ns by path, of about `seconds` per path.
    """
    if home is not None:
        return _measured(reach(home), seconds)
    with _started() as daemon:
        return _measured(daemon, seconds)


def _measured(daemon: Daemon, seconds: float) -> dict[str, list[int]]:
    """Time requests for about `seconds` per path.

    The paths are requested in random order, so that other work of the daemon delays all of them equally.
    """
    connection, headers = daemon.connection()
    times: dict[str, list[int]] = {path: [] for path in PATHS}
    rng, began = random.Random(1), perf_counter_ns()
    try:
        # at least one round over all paths
        while not times[PATHS[-1]] or perf_counter_ns() - began < seconds * len(PATHS) * 1e9:
            for path in rng.sample(PATHS, len(PATHS)):
                times[path].append(_duration_ns(connection, headers, path, len(times[path])))
    except (OSError, http.client.HTTPException) as why:
        raise Failure(f"the daemon does not answer: {why or type(why).__name__}", TRY_LATER) from None
    finally:
        connection.close()
    return times


def _duration_ns(connection: http.client.HTTPConnection, headers: dict[str, str], path: str, earlier_count: int) -> int:
    """Return the duration of one request in ns. Raises Failure for a status of 400 or more.

    `earlier_count` is the number of earlier requests to this path, for the message about the limit on reads.
    """
    began_ns = perf_counter_ns()
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.read()
    duration_ns = perf_counter_ns() - began_ns
    if response.status == 429:
        text = (
            f"GET {path}: request {earlier_count + 1} is beyond [api] rate.reads; set a larger rate, or fewer --seconds"
        )
        raise Failure(text, TRY_LATER)
    if response.status >= 400 and path != "/health":  # /health answers 503 while it is not ready
        raise Failure(f"GET {path}: {response.status} {response.reason}", CHECK_FAILED)
    return duration_ns


@contextmanager
def _started() -> Iterator[Daemon]:
    """Yield a daemon that trades the shipped example in a temporary folder. Raises Failure if it does not start."""
    with tempfile.TemporaryDirectory(prefix="quantd-bench-") as folder:
        command = [sys.executable, "-m", "quantd.daemon.cli", "run", "--config", str(bundled.CONFIG), "--state", folder]
        log = Path(folder) / "bench.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, *(word for override in SETS for word in ("--set", override))],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("QUANTD_")},
            )  # fmt: skip
        try:
            yield _ready(process, Place(Path(folder), Path(folder)), log)
        finally:
            process.terminate()
            process.wait(30)


def _ready(process: "subprocess.Popen[bytes]", where: Place, log: Path) -> Daemon:
    """Return the daemon once it is ready. Raises Failure with the end of its log if it is not ready in START_S."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        if (daemon := running(where)) is not None and daemon.get("/health")["ready"]:
            return daemon
        time.sleep(0.1)
    raise Failure(f"the daemon of the measurement did not start:\n{log.read_text()[-2000:]}", CHECK_FAILED)
