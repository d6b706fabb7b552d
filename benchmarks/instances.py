"""Many daemons on one machine with one PostgreSQL and one mosquitto: cost per instance, and the limiting resource.

    python -m benchmarks.instances --instances 20 [--pace 2/s] [--seconds 10] [--alone]

It starts real `quantd run` processes on the bundled data, each with its own name, state folder and schema. Every
instance must live, trade and hold its account's lease. Its digest, orders and fills must equal a backtest of its
configuration. Its alerts must arrive under its own topic. Otherwise the exit code is 1. `--alone` uses SQLite and the
embedded broker instead. Needs the full environment (`make test` creates it) and the two services.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.proofs.processes.instances import Fleet

TICKS: Final = os.sysconf("SC_CLK_TCK")
MIB: Final = 2**20
START_S: Final = 300.0
"""The start timeout of the unit file."""

COMMITTERS: Final = 8
COMMITTING_S: Final = 1.5


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_mib(pid: int) -> float:
    """Return a process's proportional memory (PSS), in which shared pages are divided among processes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024 / MIB


def family(parent: int) -> list[int]:
    """Return a process and its children."""
    pids = [parent]
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            pids.append(int(path.parent.name))
    return pids


def machine() -> str:
    """Return a description of the machine and its current load."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {memory_mib() / 1024:.0f} GiB, load {load:.1f}"


def memory_mib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MIB


@dataclass
class Reading:
    """Sums over all instances at one instant; of the services, CPU and memory of their processes."""

    at: float
    cpu: dict[str, float]
    pss: dict[str, float]
    slices: int
    commits: int = 0
    transactions: int = 0
    journal_bytes: int = 0
    messages: int = 0
    connections: int = 0
    lag_ms: list[float] = field(default_factory=list)


def read(fleet: "Fleet") -> Reading:
    """Take one reading; the API's lag restarts with each reading."""
    groups = {"quantd": [instance.process.pid for instance in fleet.instances]}
    if fleet.url:
        ((data,),) = fleet.ask("SHOW data_directory")
        groups["postgres"] = family(int((Path(data) / "postmaster.pid").read_text().split()[0]))
    if fleet.mosquitto is not None and fleet.mosquitto.process is not None:
        groups["mosquitto"] = [fleet.mosquitto.process.pid]
    lags, slices = [], 0
    for instance in fleet.instances:
        lines = [line.rpartition(" ") for line in instance.get("/metrics").splitlines()]
        lags += [float(value) * 1e3 for name, _, value in lines if name.startswith("quantd_loop_lag_seconds{")]
        slices += json.loads(instance.get("/api/v1/status"))["slices"]
    reading = Reading(
        time.monotonic(),
        {name: sum(map(cpu_s, alive(pids))) for name, pids in groups.items()},
        {name: sum(map(pss_mib, alive(pids))) for name, pids in groups.items()},
        slices,
        lag_ms=lags,
    )
    if fleet.url:
        reading.connections = fleet.ask(
            "SELECT COUNT(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"  # without this connection
        )[0][0]
        reading.transactions = fleet.ask("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")[
            0
        ][0]
        for instance in fleet.instances:
            rows, size = fleet.ask(f"SELECT COUNT(*), SUM(LENGTH(blob)) FROM {instance.name}.journal")[0]
            reading.commits += rows
            reading.journal_bytes += size
    if fleet.heard is not None:
        reading.messages = len(fleet.heard.lines())
    return reading


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/smaps_rollup").exists()]


def capacity(url: str) -> float:
    """Return the server's commits per second, one synced row each, from several connections at once."""
    import psycopg

    done = [0] * COMMITTERS
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE IF NOT EXISTS committed (n int)")
    until = time.monotonic() + COMMITTING_S

    def work(k: int) -> None:
        with psycopg.connect(url) as db:
            while time.monotonic() < until:
                db.execute("INSERT INTO committed VALUES (1)")
                db.commit()
                done[k] += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(COMMITTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / COMMITTING_S


def ends(fleet: "Fleet", per: dict[str, float]) -> str:
    """Return the number of such instances that each resource of this machine supports, the scarcest first."""
    bears = {"processor": (os.cpu_count() or 1) / per["cpu"], "memory": memory_mib() / per["mib"]}
    if fleet.url:
        ((maximum, reserved),) = fleet.ask(
            "SELECT current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int"
        )
        bears[f"connections ({maximum} less {reserved} reserved)"] = (maximum - reserved) / per["connections"]
        able = capacity(fleet.url)
        bears[f"synced commits ({able:,.0f}/s of one row)"] = able / per["transactions"]
    return ", ".join(f"{what} {count:,.0f}" for what, count in sorted(bears.items(), key=lambda pair: pair[1]))


def measure(count: int, pace: str, seconds: float, *, shared: bool = True) -> list[str]:
    """Start the instances, measure for `seconds`, stop them, and print the results. Returns the faults."""
    from tests.proofs.processes.instances import fleet

    where = "one PostgreSQL, one mosquitto" if shared else "SQLite and the embedded broker each"
    print(f"{count} instances at {pace}, {where} ({machine()})", flush=True)
    with (
        tempfile.TemporaryDirectory() as name,
        fleet(Path(name), count, pace, shared=shared, durable=True) as running_fleet,
    ):
        running_fleet.wait(START_S)
        started = sum(cpu_s(instance.process.pid) for instance in running_fleet.instances) / count
        time.sleep(1.0)
        first = read(running_fleet)
        time.sleep(seconds)
        last = read(running_fleet)
        wrong = running_fleet.living()
        took = last.at - first.at
        cpu = {group: (last.cpu[group] - first.cpu[group]) / took for group in last.cpu}
        bars = last.slices - first.slices
        per = {
            "cpu": sum(cpu.values()) / count,
            "mib": (last.pss["quantd"] + last.pss.get("postgres", 0.0)) / count,
            "connections": last.connections / count,
            "transactions": (last.transactions - first.transactions) / took / count,
        }
        print(f"  all trade {running_fleet.ready_s:.1f} s after the first start, {started:.1f} CPU s each")
        print(f"  bars/s each {bars / took / count:.2f}; loop lag at worst {max(last.lag_ms):.0f} ms, median of the "
              f"instances {median(last.lag_ms):.0f} ms")  # fmt: skip
        print("  cores: " + ", ".join(f"{k} {v:.2f} ({v / count:.3f} each)" for k, v in cpu.items())
              + f"; ms a bar, all of it {sum(cpu.values()) * took / bars * 1e3:.1f}")  # fmt: skip
        print("  PSS MiB: " + ", ".join(f"{k} {v:,.0f} ({v / count:.1f} each)" for k, v in last.pss.items()))
        if shared:
            commits = last.commits - first.commits
            print(
                f"  connections {last.connections} ({per['connections']:.1f} each); commits/s of the journal "
                f"{commits / took:.1f}, of everything {per['transactions'] * count:.1f} "
                f"({per['transactions'] * took * count / bars:.1f} a bar); journal "
                f"{(last.journal_bytes - first.journal_bytes) / bars:,.0f} bytes a bar; "
                f"{(last.messages - first.messages) / took:.1f} messages/s"
            )
        print(f"  this machine would bear, by what is used here: {ends(running_fleet, per)}", flush=True)
        running_fleet.stop()
        wrong += running_fleet.ended()
        fills = sum(instance.summary.get("fills", 0) for instance in running_fleet.instances)
        checked = "digest and topics" if shared else "digest"
        digests = "as its backtest" if not wrong else "NOT as it should be"
        print(f"  {fills:,d} fills, {running_fleet.alerts()} alerts; each instance's {checked}: {digests}")
        for fault in wrong:
            print(f"  WRONG: {fault}")
    return wrong


def missing() -> str:
    """Return the missing requirements of this machine; empty without any."""
    lacks = [name for name in ("pytest", "psycopg") if importlib.util.find_spec(name) is None]
    if not lacks:
        from tests.support.services import find

        lacks = [name for name in ("postgres", "mosquitto") if find(name) is None]
    return ", ".join(lacks)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--instances", type=int, help="how many; 2 when not given")
    options.add_argument("--pace", default="2/s", help="sessions a second of each")
    options.add_argument("--seconds", type=float, default=10.0, help="how long to look")
    options.add_argument("--alone", action="store_true", help="SQLite and the embedded broker each")
    asked = options.parse_args()
    if lacks := missing():
        print(f"not measured: {lacks} not here (make test, scripts/install-services)", file=sys.stderr)
        sys.exit(asked.instances is not None)  # `make bench` continues without the services; an explicit request fails
    sys.exit(bool(measure(asked.instances or 2, asked.pace, asked.seconds, shared=not asked.alone)))


if __name__ == "__main__":
    main()
