"""Time of one run of a shipped graph: in the daemon's process, in the process of graphs, and asked by a thread.

    OMP_NUM_THREADS=1 python benchmarks/graph_process.py [--calls 2000] [--json]

The two alternate call by call in one run. "asked" is the run as the daemon asks it: handed to a thread, which waits.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from quantd import bundled
from quantd.daemon.policies.isolation.worker import Apart
from quantd.models.artifacts.loader import load_artifact
from quantd.models.isolation.session import Session


def feeds(session: Session) -> dict[str, np.ndarray]:
    """Inputs of a graph from one seed, with 5 for each free size."""
    draw = np.random.default_rng(1)
    return {
        port.name: draw.random([extent if isinstance(extent, int) else 5 for extent in port.shape]).astype(np.float32)
        for port in session.get_inputs()
    }


def measured(folder: Path, calls: int) -> dict[str, float]:
    """p50 in microseconds of each way."""
    near, far = (load_artifact(folder, {}, *where).sessions[0] for where in ((), (Apart().graphs(),)))
    given = feeds(near)
    with ThreadPoolExecutor(1) as threads:
        ways = {
            "here": lambda: near.run(None, given),
            "process": lambda: far.run(None, given),
            "asked": lambda: threads.submit(far.run, None, given).result(),
        }
        times: dict[str, list[int]] = {name: [] for name in ways}
        for _ in range(calls):
            for name, call in ways.items():
                began = perf_counter_ns()
                call()
                times[name].append(perf_counter_ns() - began)
    return {name: round(float(np.median(values)) / 1e3, 1) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = {name: measured(bundled.SHIPPED / name, given.calls) for name in ("dqn", "scorer", "lite", "full")}
    if given.json:
        print(json.dumps(rows))
        return
    print(f"{'graph':10}{'here us':>10}{'process us':>12}{'asked us':>10}{'more ms':>9}")
    for name, row in rows.items():
        print(f"{name:10}{row['here']:10}{row['process']:12}{row['asked']:10}{(row['asked'] - row['here']) / 1e3:9.3f}")


if __name__ == "__main__":
    main()
