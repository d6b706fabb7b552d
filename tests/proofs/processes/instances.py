"""Several daemons as programs of their own on one machine: a name, a state folder and a schema each, in one PostgreSQL,
with one mosquitto between them. For the test of two and the benchmark of twenty."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.research.runs.backtest import drive
from quantd.trading.market import MarketSlice
from tests.support.calendar_files import with_calendar
from tests.support.command_line import ROOT, environment
from tests.support.mqtt import Mosquitto, Subscriber
from tests.support.postgres import postgres_server

CONFIG = """
[quantd]
name = "{name}"
state = "state"
[universe]
symbols = ["SPY", "QQQ", "IWM", "AAPL", "BAC"]
[feed]
path = "{root}/data/us_daily.parquet"
actions = "{root}/data/us_actions.csv"
stamps = "session"
start = 2012-01-03
warmup = 130
pace = "{pace}"
[broker]
cash = "100000.00"
commission_bp = 1.0
seed = {number}
[risk]
max_position_weight = 0.2      # drifts beyond it, as the next two do in time: each level is an alert
var = {{ limit = 0.02, lookback = 60 }}
max_volatility = 0.25
volatility_lookback = 60
max_loop_lag = "60s"           # a machine that stands still for seconds must not change what is traded
max_clock_jump = "60s"
[[agents]]
name = "parity"
policy = "inverse_volatility"
capital = 0.5
params = {{ lookback = {lookback} }}
min_trade = 0.0
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.5
min_trade = 0.0
[bus]
{bus}
[store]
url = "{store}"
[api]
port = 0
[alerts]
per_minute = 10000
[log]
level = "error"
"""
"""Two agents that trade at every bar; each instance looks back another number of bars, so that no two have one
digest."""


@dataclass
class Instance:
    """One `quantd run`."""

    name: str
    folder: Path
    process: "subprocess.Popen[str]"
    port: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    """What it printed at its end."""

    def get(self, path: str) -> str:
        """The body of a page of its API, whatever the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether it trades; the first time, where its API listens is found out."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {(self.folder / 'err.txt').read_text()[-2000:]}")
        with suppress(OSError, ValueError, KeyError):
            place = json.loads((self.folder / "state" / "api.json").read_text())
            if place["pid"] == self.process.pid:
                self.port = place["port"]
                status = json.loads(self.get("/api/v1/status"))
                return bool(status["ready"]) and status["status"] == "running" and status["fills"] > 0
        return False

    def left(self) -> None:
        """Wait until it has ended, and read what it says of itself."""
        self.process.wait(60)
        text = (self.folder / "out.json").read_text()
        self.summary = json.loads(text) if text else {}

    def backtest(self) -> dict[str, Any]:
        """Digest, orders and fills of a backtest of the same configuration over the sessions that this one took."""
        config = self.folder / "config.toml"
        assembly = assemble(read(config, ()), cache=self.folder / "cache")
        slices = (item for item in assembly.items() if isinstance(item, MarketSlice))
        last = next(islice(slices, self.summary["slices"] - 1, None))
        end = datetime.fromtimestamp(int(last.ts_event) / 1e9, UTC).date()
        run_config = read(config, (f"feed.end={end}",))
        shell, _ = drive(
            assemble(run_config, cache=self.folder / "cache"), run_config, "backtest", None, None, lambda _: None
        )
        return {"digest": shell.digest.hexdigest(), "orders": shell.tally.orders, "fills": shell.tally.fills}


@dataclass
class Fleet:
    """The instances, and what they share; without services each has SQLite and a broker of its own."""

    instances: list[Instance]
    url: str = ""
    mosquitto: Mosquitto | None = None
    heard: Subscriber | None = None
    ready_s: float = 0.0
    """From the first start until the last one traded."""

    def ask(self, query: str) -> Sequence[tuple[Any, ...]]:
        """Rows from the database."""
        with psycopg.connect(self.url, autocommit=True) as db:
            return db.execute(query.encode()).fetchall()

    def wait(self, within_s: float) -> None:
        """Until each of them trades."""
        began = time.monotonic()
        waiting = list(self.instances)
        while waiting := [instance for instance in waiting if not instance.ready()]:
            if time.monotonic() - began > within_s:
                raise AssertionError(
                    f"not ready within {within_s:g} s: {', '.join(instance.name for instance in waiting)}"
                )
            time.sleep(0.1)
        self.ready_s = time.monotonic() - began

    def living(self) -> list[str]:
        """What is wrong while they run: one that is dead, not ready, or does not lead its account."""
        wrong = [f"{member.name} is not running, ready and trading" for member in self.instances if not member.ready()]
        for instance in self.instances if self.url else ():
            leads = self.ask(f"SELECT holder, pid, expires_ns FROM {instance.name}.lease")
            (now,) = self.ask("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000000)::bigint")[0]
            if [row[:2] for row in leads] != [(instance.name, instance.process.pid)] or leads[0][2] <= now:
                wrong.append(f"{instance.name} does not lead its account alone: {leads}")
        return wrong

    def stop(self) -> None:
        """All of them at once, in order."""
        for instance in self.instances:
            instance.process.send_signal(signal.SIGTERM)
        for instance in self.instances:
            instance.left()

    def ended(self) -> list[str]:
        """What is wrong with what they left: an exit code, a digest, another one's message under its topic, a lost
        alert."""
        wrong = []
        for instance in self.instances:
            if instance.process.returncode != 0:
                wrong.append(f"{instance.name} left with {instance.process.returncode}")
                continue
            expected = instance.backtest()
            figures = {key: instance.summary[key] for key in expected}
            if figures != expected or not figures["fills"]:
                wrong.append(f"{instance.name}: {figures}, but the backtest has {expected}")
        digests = {member.summary.get("digest") for member in self.instances}
        if len(digests) != len(self.instances):
            wrong.append(f"{len(self.instances)} instances with different configurations have {len(digests)} digests")
        return wrong + (self._alerts() if self.heard is not None else [])

    def _alerts(self) -> list[str]:
        assert self.heard is not None
        runs = {member.name: member.summary.get("run") for member in self.instances}
        wrong: list[str] = []
        ids: dict[str, set[str]] = {name: set() for name in runs}
        for topic, payload in self.heard.lines():
            prefix, name, kind = topic.split("/")[:3]
            message = json.loads(payload)
            if prefix != "quantd" or runs.get(name, "none") != message.get("run", runs.get(name)):
                wrong.append(f"run {message.get('run')} spoke under {topic}, which is of run {runs.get(name)}")
            elif kind == "alerts":
                ids[name].add(message["id"])
        for instance in self.instances:
            ((waiting,),) = self.ask(f"SELECT COUNT(*) FROM {instance.name}.outbox")
            raised, arrived = instance.summary.get("alerts", 0), len(ids[instance.name])
            # one that arrived waits still where the daemon ended before it heard so: it is sent again, with the same id
            if not arrived or raised > arrived + waiting:  # ends of incidents and reminders arrive too
                wrong.append(f"{instance.name} raised {raised} alerts: {arrived} arrived, {waiting} wait")
        return wrong

    def alerts(self) -> int:
        """How many alerts arrived."""
        return 0 if self.heard is None else sum("/alerts/" in topic for topic, _ in self.heard.lines())


@contextmanager
def fleet(folder: Path, count: int, pace: str, *, shared: bool = True, durable: bool = False) -> Iterator[Fleet]:
    """`count` instances, all started at once; `shared`: over one PostgreSQL and one mosquitto, `durable`: that syncs
    its commits."""
    with ExitStack() as undo:
        started_fleet = Fleet([])
        names = [f"desk{number:02d}" for number in range(1, count + 1)]
        if shared:
            started_fleet.url, _ = postgres_server(durable=durable)
            with psycopg.connect(started_fleet.url, autocommit=True) as db:
                for name in names:
                    db.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
                    db.execute(f"CREATE SCHEMA {name}".encode())
            (folder / "mosquitto").mkdir()
            started_fleet.mosquitto = Mosquitto(folder / "mosquitto").start()
            undo.callback(started_fleet.mosquitto.stop)
            started_fleet.heard = started_fleet.mosquitto.subscribe("-t", "quantd/#", "-q", "1")
            undo.callback(started_fleet.heard.close)
        for number, name in enumerate(names, 1):
            started_fleet.instances.append(started(folder / name, name, number, pace, started_fleet))
            undo.callback(killed, started_fleet.instances[-1].process)
        yield started_fleet


def started(folder: Path, name: str, number: int, pace: str, among: Fleet) -> Instance:
    """One more daemon, in a folder of its own."""
    folder.mkdir()
    with_calendar(folder)
    port = among.mosquitto.port if among.mosquitto is not None else 0
    text = CONFIG.format(
        name=name, number=number, root=ROOT, pace=pace, lookback=20 + number,
        bus=f'kind = "mqtt"\nurl = "mqtt://127.0.0.1:{port}"' if port else "port = 0",
        store=f"{among.url}&options=-csearch_path%3D{name}" if among.url else "",
    )  # fmt: skip
    (folder / "config.toml").write_text(text)
    with (folder / "out.json").open("w") as out, (folder / "err.txt").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "quantd.daemon.cli", "run", "--json"],
            cwd=folder,
            env=environment() | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdout=out,
            stderr=err,
            text=True,
        )
    return Instance(name, folder, process)


def killed(process: "subprocess.Popen[str]") -> None:
    """Nothing stays behind a test that failed."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
