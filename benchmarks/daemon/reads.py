"""CPU time, bytes and loop delay of each read of the API in a large house.

    python -m benchmarks.daemon.reads [--symbols 500] [--agents 20] [--orders 100000] [--alerts 10000] [--only TEXT]
    python -m benchmarks.daemon.reads --limit 0.5     # exit status 1 if a read takes more seconds of CPU

The house trades synthetic daily bars until it has so many orders, in this process. Rows of alerts are then copied into
its store. Every GET of the API is read without arguments, where it needs none, and the page's reads with theirs. Each
path is read three times: `first` since the start of the daemon, `bar` right after another session, and
`again` without a change. CPU is that of all threads of the process less that of the client. `delay` is the longest time
that the event loop came late for a sleep of 2 ms during the read after a session. Other work on the machine adds to it,
so that the row `nothing` has that of an idle wait. Garbage is collected as seldom as in a daemon.

It needs the full environment (`make test` makes it).
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # as `quantd run` does

import argparse
import asyncio
import gc
import http.client
import logging
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from benchmarks import instances
from benchmarks.scaling import symbols_file
from quantd.daemon.cli import COLLECT_AFTER
from quantd.daemon.runtime.timeline import Item, instants
from quantd.server.api.route_records import Read
from quantd.trading.events import Tick
from tests.support.api_world import RATES, RUN, World

PATHS: Final = (
    "positions?limit=500", "risk?limit=500", "risk/history?limit=500", "profit?limit=500", "profit/days?by=month",
    "profit/curve?points=600", "decisions?limit=10", "decisions?limit=1&agent=agent00", "orders?limit=25&totals=yes",
    "orders?limit=25&group=cut&totals=yes", "orders?limit=25&search=S012&totals=yes", "refusals?limit=25&totals=yes",
    "alerts?limit=25&totals=yes", "alerts?limit=25&search=copy&totals=yes", "portfolio/history?limit=500",
    "performance?book=agent00", "performance/rolling?window=63&points=600",
)  # fmt: skip
"""Reads with arguments."""

SKIPPED: Final = ("research/beside", "research/compare", "research/limit", "wait/{id}", "pairing", "{key}", "jobs/{id}")
"""Ends of paths that need a backtest, a limit, a proposal, a phone or an act, which this house does not have."""

CONFIG: Final = """
[quantd]
state = "state"
[universe]
symbols = SYMBOLS
[feed]
path = "bars.parquet"
stamps = "session"
warmup = 70
pace = "fast"
[broker]
cash = "1000000000.00"
[risk]
max_position_weight = 0.25
max_drawdown = 0.9
max_daily_loss = 0.9
var = { limit = 0.5 }
[alerts.notices]
milestone = 0.01
correlation = 0.1
[bus]
port = 0
[api]
port = 0
"""

AGENT: Final = """
[[agents]]
name = "AGENT"
policy = "inverse_volatility"
capital = CAPITAL
min_trade = 0.0
params = { lookback = LOOKBACK }
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One read: its status, bytes, CPU seconds and the longest delay of the loop in seconds."""

    status: int
    size: int
    cpu_s: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class Row:
    """The three reads of a path."""

    path: str
    first: Reading
    bar: Reading
    again: Reading

    @property
    def worst_s(self) -> float:
        return max(reading.cpu_s for reading in (self.first, self.bar, self.again))


class Delay:
    """The longest time that a sleep of the event loop came late, since it was read last."""

    SLEEP_S: Final = 0.002

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(self.SLEEP_S)
            self.worst_s = max(self.worst_s, time.perf_counter() - began - self.SLEEP_S)

    def taken(self) -> float:
        worst_s, self.worst_s = self.worst_s, 0.0
        return worst_s


class House:
    """A large house in this process, which trades a session at a time."""

    def __init__(self, folder: Path, symbols: int, agents: int) -> None:
        names = symbols_file(folder / "bars.parquet", symbols)
        text = CONFIG.replace("SYMBOLS", str(names)).replace("[api]\n", f"[api]\n{RATES}")
        for k in range(agents):
            one = AGENT.replace("AGENT", f"agent{k:02d}").replace("CAPITAL", f"{0.95 / agents:.4f}")
            text += one.replace("LOOKBACK", str(20 + 2 * k))
        self.world = World(folder, text)
        self._instants: Iterator[list[Item]] = instants(self.world.assembly.items())

    async def session(self) -> bool:
        """Trade one session, and wait for its commit; False at the end of the bars."""
        for instant in self._instants:
            await self.world.service.inbox.put([instant])
            last = instant[-1]
            if isinstance(last, Tick) and last.sample:
                await self._stood(last.ts)
                return True
        return False

    async def until(self, orders: int) -> int:
        """Trade until the house has so many orders; their number."""
        service = self.world.service
        while service.shell.tally.orders < orders:
            chunk = list(islice(self._instants, 32))
            if not chunk:
                break
            await service.inbox.put(chunk)
            last = chunk[-1][-1]
            await self._stood(last.ts if isinstance(last, Tick) else 0)
        return int(service.shell.tally.orders)

    async def _stood(self, ts: int) -> None:
        service = self.world.service
        while service.shell.ts < ts or self.world.store.last_seq(RUN) < service.journal.seq:
            await service.changed(0.02)


def paths_of(house: House) -> list[str]:
    """Every GET of the API with a JSON document for an answer, then PATHS; an order explains itself by a symbol."""
    named = {"{name}": "agent00", "{agent}": "agent00", "{order}": "S000"}
    paths = [route.path for route in house.world.api._routes if isinstance(route, Read)]
    plain = [path.removeprefix("/api/v1/") for path in paths if path.startswith("/api/v1/")]
    plain = [path for path in plain if not path.endswith(SKIPPED)]
    for place, name in named.items():
        plain = [path.replace(place, name) for path in plain]
    return [*plain, *PATHS]


def alerts(folder: Path, number: int) -> int:
    """Copy rows of alerts in the store until it has so many; their number."""
    with closing(sqlite3.connect(folder / "quantd.db", timeout=60.0)) as db:
        names = [row[1] for row in db.execute("pragma table_info(alerts)")]
        count = int(db.execute("select count(*) from alerts").fetchone()[0])
        if count and count < number:
            copied = {"k": "alerts.k + 1000000 + n.value", "text": "alerts.text || ', copy ' || n.value"}
            values = ", ".join(copied.get(name, f"alerts.{name}") for name in names)
            db.execute(
                "with recursive n(value) as (select 1 union all select value + 1 from n where value < ?) "
                f"insert into alerts ({', '.join(names)}) select {values} from n, "
                "(select * from alerts order by seq desc limit 1) alerts",
                (number - count,),
            )
            db.commit()
        return int(db.execute("select count(*) from alerts").fetchone()[0])


def asked(port: int, token: str, path: str) -> tuple[int, int, float]:
    """Status, bytes, and the CPU seconds of this thread for one request."""
    began = time.thread_time()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=600)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        size = len(response.read())
    return response.status, size, time.thread_time() - began


async def read(house: House, delay: Delay, client: ThreadPoolExecutor, path: str) -> Reading:
    """One read; an empty path waits a tenth of a second without one."""
    world, loop = house.world, asyncio.get_running_loop()
    port = int(world.api.url.rstrip("/").rpartition(":")[2])
    delay.taken()
    began = time.process_time()
    if not path:
        await asyncio.sleep(0.1)
        return Reading(200, 0, time.process_time() - began, delay.taken())
    status, size, own_s = await loop.run_in_executor(client, asked, port, world.token, path)
    await asyncio.sleep(0.004)
    return Reading(status, size, time.process_time() - began - own_s, delay.taken())


async def measured(house: House, paths: Sequence[str]) -> list[Row]:
    """The three reads of each path. The first reads come before any other."""
    delay = Delay()
    watching = asyncio.create_task(delay.watch())
    with ThreadPoolExecutor(1) as client:
        await read(house, delay, client, "/api/v1")
        rows = [Row("nothing", *[await read(house, delay, client, "") for _ in range(3)])]
        show(rows[0])
        for path in paths:
            first = await read(house, delay, client, f"/api/v1/{path}")
            await house.session()
            await asyncio.sleep(0.3)
            bar = await read(house, delay, client, f"/api/v1/{path}")
            rows.append(Row(path, first, bar, await read(house, delay, client, f"/api/v1/{path}")))
            show(rows[-1])
    watching.cancel()
    return rows


def show(row: Row) -> None:
    """Print one row."""
    cells = [f"{reading.cpu_s * 1e3:,.0f}" for reading in (row.first, row.bar, row.again)]
    cells += [f"{reading.delay_s * 1e3:,.0f}" for reading in (row.first, row.bar, row.again)]
    cells.append(f"{row.bar.size:,d}")
    words = "" if row.bar.status == 200 else f"  status {row.bar.status}"
    print(f"{row.path:48s}" + "".join(f"{cell:>10s}" for cell in cells) + words, flush=True)


async def main_of(options: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="quantd-reads-") as name:
        folder = Path(name)
        house = House(folder, options.symbols, options.agents)
        world = house.world
        await world.api.start()
        stepping = asyncio.create_task(world.service.step_forever())
        began, cpu_s = time.monotonic(), time.process_time()
        orders = await house.until(options.orders)
        count = alerts(world.folder, options.alerts)
        print(
            f"{options.symbols} symbols, {options.agents} agents, {orders:,} orders, {count:,} alerts, "
            f"{world.service.shell.tally.slices:,} sessions in {time.monotonic() - began:.0f} s "
            f"({time.process_time() - cpu_s:.0f} s of CPU); {instances.machine()}"
        )
        print(f"{'':48s}{'CPU ms:':>8s}{'':22s}{'delay ms:':>10s}")
        head = ("first", "bar", "again", "first", "bar", "again", "bytes")
        print(f"{'read':48s}" + "".join(f"{cell:>10s}" for cell in head), flush=True)
        rows = await measured(house, [path for path in paths_of(house) if options.only in path])
        world.service.shell.stopped = "the benchmark is over"
        await stepping
        await world.api.stop()
        world.store.close()
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--symbols", type=int, default=500)
    options.add_argument("--agents", type=int, default=20)
    options.add_argument("--orders", type=int, default=100_000)
    options.add_argument("--alerts", type=int, default=10_000)
    options.add_argument("--only", default="", help="read only the paths that contain this text")
    options.add_argument("--limit", type=float, default=0.0, help="most seconds of CPU of a read; 0 for none")
    chosen = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    threading.current_thread().name = "loop"
    gc.set_threshold(COLLECT_AFTER)
    rows = asyncio.run(main_of(chosen))
    worst = max(rows, key=lambda row: row.worst_s)
    print(f"most CPU: {worst.worst_s:.2f} s, {worst.path}")
    if chosen.limit and worst.worst_s > chosen.limit:
        sys.exit(1)


if __name__ == "__main__":
    main()
