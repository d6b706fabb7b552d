"""Marginal cost of one more symbol, agent and instance.

    python -m benchmarks.scaling [--seconds 8] [--instances 1,5,20]
    python -m benchmarks.scaling --service [--sizes 20,100,500] [--times 40] [--pace 4]

Symbols and agents: the engine on synthetic daily bars with a durable commit per bar into SQLite, as in the daemon; each
case has its own process. Times are CPU time, except `waits`, the elapsed time of a commit with the disk. The message
bus, the API and the feed are not included; the instances include them, because they are real daemons
(benchmarks/instances.py). Columns with `x` are ratios to the first row of their table.
"""

import argparse
import gc
import os
import random
import socket
import sqlite3
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import instances
from benchmarks.engine import LIMITS as DEFAULTS
from benchmarks.engine import Quiet, Rotating, market, shell, timeline
from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.writer import Batch
from quantd.daemon.runtime.journal import Journal
from quantd.strategies.policies import POLICIES
from quantd.trading.ports import Policy

ROOT: Final = Path(__file__).parents[1]
RUN: Final = "scaling0"
BEFORE: Final = 300
"""Sessions that fill the history before the measurement."""

COLUMNS: Final = (
    "ms a bar", "x", "engine", "read models", "commit", "waits", "commits/s", "journal B", "x", "store B", "MiB",
    "of run"
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row: `days` timed sessions."""

    name: str
    symbols: int
    days: int
    policies: str
    agents: int = 1


@dataclass(frozen=True)
class Cost:
    """Cost of one bar.

    CPU seconds are those of the engine, of the read models and of the commit; `durable_s` is the elapsed time of the
    commit. Bytes are those in journal and store. Memory is the process's, with the growth during the run, in MiB.
    """

    engine_s: float
    fold_s: float
    commit_s: float
    durable_s: float
    journal_bytes: float
    store_bytes: float
    memory_mib: float
    grown_mib: float

    @property
    def bar_s(self) -> float:
        return self.engine_s + self.fold_s + self.commit_s


SYMBOLS: Final = tuple(
    Case(f"{count} symbols, {name}", count, days, policies)
    for policies, name in (("rotating", "all trade at every bar"), ("quiet", "one trade, then quiet"))
    for count, days in ((5, 200), (20, 200), (100, 100), (500, 40))
)
AGENTS: Final = tuple(
    Case(
        f"20 symbols, {count} agent{'s' * (count > 1)} that decide{'s' * (count == 1)} at every bar",
        20,
        150,
        "inverse",
        count,
    )
    for count in (1, 3, 10)
)


def policies(case: Case) -> list[Policy]:
    if case.policies == "quiet":
        return [Quiet()]
    if case.policies == "rotating":
        return [Rotating()]
    return [POLICIES["inverse_volatility"]({"lookback": 40 + k}) for k in range(case.agents)]


def cost(case: Case) -> Cost:
    """Run one case, in this process."""
    days = BEFORE + case.days
    block, universe, sessions = market(case.symbols, days)
    asked = policies(case)
    items = timeline(block, 1, len(asked))
    gc.collect()
    gc.freeze()
    before = instances.pss_mib(os.getpid())
    body = shell(universe, sessions, asked, True, DEFAULTS)
    body.log = journal = Journal()
    engine = fold = commit = durable = 0.0
    committed = stored = 0
    with tempfile.TemporaryDirectory() as name, Store.open(name) as store:
        projection = store.begin(RUN, universe, agents=[f"a{k}" for k in range(len(asked))])
        for number, item in enumerate(items, 1):
            began = time.process_time()
            body.take(item)
            stepped = time.process_time()
            if number % 2 or (
                number < BEFORE * 2 and number % 200
            ):  # a slice is followed by its tick: one commit for both
                engine += stepped - began
                continue
            entries, steps = journal.taken()
            for seq, (event, effects) in enumerate(steps, committed + 1):
                projection.add(seq, event, effects)
            rows = projection.take()
            folded, asked_at = time.process_time(), time.perf_counter()
            store.commit(Batch(RUN, committed + 1, entries, body.ts, rows=rows, durable=True))
            done, durable_at = time.process_time(), time.perf_counter()
            committed += len(entries)
            if number == BEFORE * 2:
                engine = fold = commit = durable = 0.0
                stored = written(Path(name))
                continue
            engine += stepped - began
            fold += folded - stepped
            commit += done - folded
            durable += durable_at - asked_at
        size = written(Path(name)) - stored
        kept = instances.pss_mib(os.getpid())
        # a row of the journal is a commit
        newest = f"SELECT blob FROM journal ORDER BY number DESC LIMIT {case.days}"
        journalled = number_of(Path(name), f"SELECT SUM(LENGTH(blob)) FROM ({newest})")
    n = case.days
    return Cost(
        engine / n, fold / n, commit / n, durable / n, journalled / n, size / n, kept, kept - before
    )  # fmt: skip


def written(folder: Path) -> int:
    """Return the bytes in the pages of the database so far."""
    return number_of(folder, "PRAGMA page_count") * number_of(folder, "PRAGMA page_size")


def number_of(folder: Path, query: str) -> int:
    """Return the single number that a query gives."""
    with closing(sqlite3.connect(folder / "quantd.db")) as db:
        return int(db.execute(query).fetchone()[0])


def table(cases: Sequence[Case]) -> None:
    """Print a row for each case, each measured in a new process."""
    print(f"{'':46s}" + "".join(f"{name:>11s}" for name in COLUMNS))
    first: Cost | None = None
    for case in cases:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            case_cost = pool.submit(cost, case).result()
        first = first or case_cost
        cells = (
            f"{case_cost.bar_s * 1e3:.2f}", f"{case_cost.bar_s / first.bar_s:.2f}", f"{case_cost.engine_s * 1e3:.2f}",
            f"{case_cost.fold_s * 1e3:.2f}", f"{case_cost.commit_s * 1e3:.2f}", f"{case_cost.durable_s * 1e3:.2f}",
            f"{1 / case_cost.durable_s:,.0f}",
            f"{case_cost.journal_bytes:,.0f}", f"{case_cost.journal_bytes / first.journal_bytes:.2f}",
            f"{case_cost.store_bytes:,.0f}", f"{case_cost.memory_mib:.0f}", f"{case_cost.grown_mib:.1f}",
        )  # fmt: skip
        print(f"{case.name:46s}" + "".join(f"{cell:>11s}" for cell in cells), flush=True)


def symbols_file(path: Path, size: int) -> list[str]:
    """Write daily bars of so many symbols over the dates of the bundled file; their names."""
    import polars as pl

    dates = pl.read_parquet(ROOT / "data" / "us_daily.parquet").filter(pl.col("symbol") == "SPY")["ts"]
    dates = dates.filter(dates >= datetime(2016, 1, 1, tzinfo=UTC))
    block, universe, _ = market(size, len(dates))
    columns = {name: getattr(block, name).ravel() for name in ("open", "high", "low", "close", "volume")}
    rows = {"ts": np.repeat(dates.to_numpy(), size), "symbol": list(universe.symbols) * len(dates)}
    pl.DataFrame({**rows, **columns}).with_columns(pl.col("ts").dt.replace_time_zone("UTC")).write_parquet(path)
    return list(universe.symbols)


ALTERNATING: Final = """
import numpy as np

def act(view, memory):
    even = view.time // 86_400_000_000_000 % 2
    weights = 1.0 + 0.5 * np.sin(np.arange(view.universe.size) * 1.7 + even * 2.1)
    return weights / weights.sum() * 0.9, memory
"""


def service(size: int, times: int, pace: float) -> float:
    """Print the row of one daemon; the 99th percentile of its kill switch in ms."""
    from tests.proofs import kill_switch

    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        folder = Path(name)
        symbols = symbols_file(folder / "bars.parquet", size)
        config = kill_switch.CONFIG.replace('["SPY", "QQQ", "IWM"]', str(symbols)).replace("100000.00", "100000000.00")
        config = config.replace("capital = 1.0", "capital = 1.0\nmin_trade = 0.0")
        lines = [line for line in config.splitlines() if not line.startswith("actions")]
        config = "\n".join('path = "bars.parquet"' if line.startswith("path") else line for line in lines)
        daemon = kill_switch.Daemon(folder, pace, "2016-06-01", config, ALTERNATING)
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(300.0)
        os.environ["NOTIFY_SOCKET"] = str(folder / "notify")
        began = time.monotonic()
        process = daemon.spawn()
        try:
            while b"READY=1" not in systemd.recv(4096):
                pass
            ready_s, ready_cpu_s = time.monotonic() - began, instances.cpu_s(process.pid)
            daemon.ready()
            del os.environ["NOTIFY_SOCKET"]
            daemon.measure("cli", rng)  # imports of this program are not the daemon's time
            took = [daemon.measure(trigger, rng) for _ in range(times) for trigger in kill_switch.TRIGGERS]
            lag_ms = loop_lag_ms(daemon.port)
        finally:
            daemon.stop()
    p50, p99 = (float(quantile) for quantile in np.percentile(took, (50, 99)))
    cells = (
        f"{p50:.1f}", f"{p99:.1f}", f"{max(took):.1f}", f"{lag_ms:.1f}", f"{ready_s:.1f}", f"{ready_cpu_s:.1f}",
        f"{daemon.orders}", f"{daemon.late}",
    )  # fmt: skip
    print(f"{size:>7d}" + "".join(f"{cell:>11s}" for cell in cells), flush=True)
    return p99


def loop_lag_ms(port: int) -> float:
    """The largest lag of the loop since it was asked last."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
        lines = [line.rpartition(" ") for line in page.read().decode().splitlines()]
    return max(float(value) * 1e3 for name, _, value in lines if name.startswith("quantd_loop_lag_seconds"))


def services(sizes: list[int], times: int, pace: float) -> None:
    """Print the table of daemons."""
    from tests.proofs.kill_switch import PROMISE_MS, TRIGGERS

    print(f"one daemon, {pace:g} bars/s, {times} times each of {', '.join(TRIGGERS)} ({instances.machine()})")
    head = ("halt p50 ms", "p99 ms", "max ms", "lag ms", "READY s", "CPU s", "baskets", "in HALT")
    print(f"{'symbols':>7s}" + "".join(f"{name:>11s}" for name in head), flush=True)
    p99_by_size = {size: service(size, times, pace) for size in sizes}
    held = [size for size, p99 in p99_by_size.items() if p99 <= PROMISE_MS]
    print(f"{PROMISE_MS:g} ms hold up to {max(held, default=0)} symbols of {', '.join(map(str, sizes))}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=8.0, help="how long to look at instances")
    options.add_argument("--instances", default="1,5,20", help="how many, one after the other; 0 for none")
    options.add_argument("--service", action="store_true", help="kill switch, loop lag and READY of one daemon")
    options.add_argument("--sizes", default="20,100,500", help="symbols of the daemons")
    options.add_argument("--times", type=int, default=40, help="how often each trigger is pulled")
    options.add_argument("--pace", type=float, default=4.0, help="sessions a second")
    asked = options.parse_args()
    if asked.service:
        services([int(size) for size in asked.sizes.split(",")], asked.times, asked.pace)
        return
    print(f"per symbol, one agent ({instances.machine()})")
    table(SYMBOLS)
    print(f"per agent ({instances.machine()})")
    table(AGENTS)
    counts = [int(count) for count in asked.instances.split(",") if int(count)]
    if counts and (lacks := instances.missing()):
        print(f"instances not measured: {lacks} not here (make test, scripts/install-services)")
        counts = []
    for count in counts:
        instances.measure(count, "2/s", asked.seconds)


if __name__ == "__main__":
    main()
