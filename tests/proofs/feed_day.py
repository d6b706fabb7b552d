"""A day of 1-minute bars for 100 symbols through the streaming adapter, over HTTP and WebSocket, at 100 times the
speed.

    python -m tests.proofs.feed_day [--symbols 100] [--minutes 390] [--speed 100] [--faults SEED]

Prints bars, losses, how long after its close a slice was given (market seconds, and as real time), and how late the
loop woke up. Exit 1 when a bar is lost, doubled, out of order or not the true one.
"""

import argparse
import asyncio
import sys
import time
from itertools import pairwise

import numpy as np

from tests.support.vendor import (
    DAY_NS,
    MINUTE,
    NANO,
    Clock,
    Got,
    Remote,
    RemoteStream,
    Server,
    Vendor,
    collect,
    feed_of,
    market,
    ns,
    punctual,
    scripted,
    truth,
    watch_lag,
)  # fmt: skip


async def day(symbols: int, minutes: int, speed: float, faults: int | None, grace_s: float = 20.0) -> dict[str, float]:
    """Figures of one run. A vendor and the feed share this process's loop."""
    opened = ns("2024-07-02 13:30")
    start, end = opened - MINUTE, opened + minutes * MINUTE
    true = market(1, [f"S{k:03d}" for k in range(symbols)], start - DAY_NS, opened + 390 * MINUTE)
    grace = int(grace_s * NANO)
    script = punctual(true) if faults is None else scripted(true, faults, grace, start, end)
    clock, got, lags = Clock(start, speed), Got(), list[float]()
    began = time.perf_counter()
    async with Server(Vendor(true, script), clock) as server:
        remote = Remote("remote", server.port, true)
        feed = feed_of(remote, RemoteStream(remote), true, clock, got, grace, beat_s=1.0)
        watching = asyncio.create_task(watch_lag(lags))
        await collect(feed, clock, got, start, end)
        watching.cancel()
    got.check_time(start)
    given, wanted = [b for b in got.bars() if b[0] <= end], truth(true, start, end)
    lag_ms, wait_s = np.array(lags) * 1e3, np.array(got.waited_s)
    return {
        "bars": len(wanted),
        "given": len(given),
        "lost": len(set(wanted) - set(given)),
        "wrong": len(set(given) - set(wanted)),
        "doubled": len(given) - len(set(given)),
        "out of order": sum(a[0] > b[0] for a, b in pairwise(given)),
        "slices": len(got.slices),
        "put aside": len(got.aside),
        "wall s": time.perf_counter() - began,
        "slice after close, market s p50": float(np.percentile(wait_s, 50)),
        "slice after close, market s p99": float(np.percentile(wait_s, 99)),
        "slice after close, market s max": float(wait_s.max()),
        "slice after close, real ms max": float(wait_s.max() / speed * 1e3),
        "loop lag ms p50": float(np.percentile(lag_ms, 50)),
        "loop lag ms p99": float(np.percentile(lag_ms, 99)),
        "loop lag ms max": float(lag_ms.max()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--minutes", type=int, default=390)
    parser.add_argument("--speed", type=float, default=100.0)
    parser.add_argument("--faults", type=int, default=None, help="seed of a script of faults; none without")
    asked = parser.parse_args()
    figures = asyncio.run(day(asked.symbols, asked.minutes, asked.speed, asked.faults))
    for name, value in figures.items():
        print(f"{name:36}{value:>12,.2f}" if isinstance(value, float) else f"{name:36}{value:>12,}")
    return 1 if figures["lost"] or figures["wrong"] or figures["doubled"] or figures["out of order"] else 0


if __name__ == "__main__":
    sys.exit(main())
