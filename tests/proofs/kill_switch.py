"""How long the kill switch takes, from each of its triggers to a switch in HALT: python -m tests.proofs.kill_switch
--times 200

The daemon is a program of its own, trading each session; this program pulls the triggers. Both read the same monotonic
clock: the daemon stamps the step in which its switch moved, and each order it makes, where it journals them.
"""

import argparse
import contextlib
import http.client
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Final

import numpy as np
from paho.mqtt.client import CallbackAPIVersion, Client

from quantd.adapters.bus.commands import Name, signed
from quantd.daemon.cli.command import RunOptions
from quantd.server.cli.operate import switch
from tests.support.calendar_files import with_calendar
from tests.support.command_line import ROOT, environment, write

PROMISE_MS: Final = 50.0
KEY: Final = "0123456789abcdef" * 2
TRIGGERS: Final = ("cli", "api", "mqtt", "file", "signal")
WITHIN_S: Final = 60.0

POLICY = """\
def act(view, memory):
    even = view.time // 86_400_000_000_000 % 2
    return [0.3, 0.1, 0.2] if even else [0.1, 0.3, 0.2], memory
"""

CONFIG = f"""
[universe]
symbols = ["SPY", "QQQ", "IWM"]
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = START
holes = "known"
spikes = "reject"
warmup = 70
pace = "PACE/s"
[broker]
cash = "100000.00"
[risk]
rearm = "never"
[[agents]]
name = "busy"
policy = "busy.py:act"
capital = 1.0
[bus]
port = 0
commands = true
[api]
port = 0
[alerts]
per_minute = 10000
[log]
level = "error"
"""


class Daemon:
    """`quantd run` in a folder, with its moves and orders as they happen; started again it continues."""

    def __init__(
        self, folder: Path, pace: float = 20.0, start: str = "2018-01-02", config: str = CONFIG, policy: str = POLICY
    ) -> None:
        self.folder = folder
        write(folder, config.replace("PACE", str(pace)).replace("START", start))
        (folder / "busy.py").write_text(policy)
        self.stamps: Queue[tuple[str, int]] = Queue()
        self.orders = 0
        self.late = 0
        """Orders made while the switch was in HALT."""
        self.halted = False
        self.pause_s = 0.12
        self.process: subprocess.Popen[str] | None = None
        self._mqtt: Client | None = None
        self._sent = 0

    def spawn(self) -> "subprocess.Popen[str]":
        """Begin, without waiting for anything."""
        with_calendar(self.folder)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.proofs.kill_switch", "--serve", str(self.folder / "config.toml")],
            cwd=ROOT,
            env=environment() | {"QUANTD_MQTT_COMMAND_KEY": KEY},
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        return self.process

    def start(self) -> "Daemon":
        """Returns once it trades."""
        self.spawn()
        return self.ready()

    def ready(self) -> "Daemon":
        """Wait until it takes bars and commands."""
        assert self.process is not None
        limit = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError, ValueError, KeyError):
                place = json.loads((self.folder / "state" / "api.json").read_text())
                self.port, self.halt_port = place["port"], place["halt_port"]
                if place["pid"] == self.process.pid and self.get("/health")["status"] == "running":
                    break
            assert time.monotonic() < limit, "the daemon does not start"
            assert self.process.poll() is None, "the daemon ended"
            time.sleep(0.02)
        self.token = (self.folder / "state" / "token").read_text().strip()
        url = self.get("/api/v1")["bus"]
        client = self._mqtt = Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", int(url.rpartition(":")[2]))
        client.loop_start()
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by whatever signal."""
        if self._mqtt is not None:
            self._mqtt.loop_stop()
            self._mqtt.disconnect()
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            what, at = line.split()
            if what == "ORDER":
                self.orders += 1
                self.late += self.halted
            else:
                self.halted = what == "HALT"
                self.stamps.put((what, int(at)))

    def get(self, path: str) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN_S)
        try:
            connection.request("GET", path)
            answer: dict[str, object] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def post(self, command: str, reason: str, *, door: bool = False) -> None:
        """A command over the API, or at the port for halts alone."""
        port, path = (self.halt_port, f"/{command}") if door else (self.port, "/api/v1/commands")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        body = json.dumps({"command": command, "reason": reason})
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            text = response.read()
            assert response.status == 200, text
        finally:
            connection.close()

    def pull(self, trigger: str) -> None:
        """One trigger of the kill switch."""
        if trigger == "cli":
            # what `quantd halt` does once Python has started and read the command line; the whole is measured apart
            with contextlib.redirect_stdout(io.StringIO()):
                switch.switch("halt", RunOptions(self.folder / "config.toml"), reason="test", as_json=True)
        elif trigger == "api":
            self.post("halt", "test")
        elif trigger == "mqtt":
            self.publish("halt")
        elif trigger == "file":
            (self.folder / "state" / "HALT").touch()
        else:
            assert self.process is not None
            os.kill(self.process.pid, signal.SIGUSR1)

    def publish(self, command: Name, reason: str = "") -> None:
        """A signed command over MQTT."""
        assert self._mqtt is not None
        self._sent += 1
        topic, id = "quantd/paper/commands", f"pull-{os.getpid()}-{self._sent}"
        self._mqtt.publish(topic, signed(KEY, topic, id, int(time.time()), command, who="me", reason=reason), 1)

    def moved(self, to: str, within_s: float = WITHIN_S) -> int:
        """When the switch moved there, ns of the monotonic clock."""
        while True:
            try:
                what, at = self.stamps.get(timeout=within_s)
            except Empty:
                raise AssertionError(f"the switch did not move to {to} within {within_s} s") from None
            if what == to:
                return at

    def measure(self, trigger: str, rng: random.Random) -> float:
        """Milliseconds from one trigger to HALT; the switch is in RUN again, and orders flow, when it returns."""
        began = time.monotonic_ns()
        self.pull(trigger)
        took_ms = (self.moved("HALT") - began) / 1e6
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "state" / "HALT").unlink()
        self.post("resume", f"{trigger} was measured")
        self.moved("RUN")
        time.sleep(rng.uniform(0.0, self.pause_s))  # another phase of the loop, of its commits and of the file's watch
        return took_ms

    def whole_program(self) -> float:
        """Milliseconds of `quantd halt` from Enter, the start of Python included."""
        began = time.monotonic_ns()
        command = [sys.executable, "-m", "quantd.daemon.cli", "halt"]
        subprocess.run(command, cwd=self.folder, env=environment(), check=True, capture_output=True)
        took_ms = (self.moved("HALT") - began) / 1e6
        self.post("resume", "measured")
        self.moved("RUN")
        return took_ms


@contextlib.contextmanager
def daemon(folder: Path, pace: float = 20.0, start: str = "2018-01-02") -> Iterator[Daemon]:
    """A daemon that trades, ended with the block."""
    trading_daemon = Daemon(folder, pace, start)
    try:
        yield trading_daemon.start()
    finally:
        trading_daemon.stop()


def serve(config: Path) -> None:
    """The daemon as it is, but for stamps where steps are journalled."""
    import asyncio

    from quantd.daemon.app import Options, read_config
    from quantd.daemon.app import serve as run
    from quantd.daemon.monitoring.metrics import configure
    from quantd.daemon.runtime.journal import Journal
    from quantd.trading.effects import Switched
    from quantd.trading.orders import OrderBasket

    add: Callable[..., None] = Journal.add
    names = ("RUN", "REDUCE", "HALT")

    def stamped(self: Journal, event: object, effects: tuple[object, ...]) -> None:
        fresh = not self.replaying
        add(self, event, effects)
        for effect in effects if fresh else ():
            if isinstance(effect, Switched) and effect.agent < 0:
                os.write(1, f"{names[effect.after]} {time.monotonic_ns()}\n".encode())
            elif isinstance(effect, OrderBasket):
                os.write(1, f"ORDER {time.monotonic_ns()}\n".encode())

    Journal.add = stamped  # type: ignore[assignment, method-assign]
    configure("ERROR", "json")
    options = Options(config=config, quiet=True, environ=dict(os.environ))
    asyncio.run(run(read_config(options), options))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="how often each trigger is pulled")
    parser.add_argument("--pace", type=float, default=20.0, help="sessions a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve)
        return 0
    rng = random.Random(given.seed)
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder, daemon(Path(folder), given.pace, "2001-01-02") as d:
        d.measure("cli", rng)  # imports of this program are not the daemon's time
        print(f"trigger  {'times':>5}  {'p50 ms':>7}  {'p99 ms':>7}  {'max ms':>7}")
        for trigger in TRIGGERS:
            took = [d.measure(trigger, rng) for _ in range(given.times)]
            p50, p99 = np.percentile(took, [50, 99])
            worst = max(worst, float(p99))
            print(f"{trigger:7}  {len(took):5}  {p50:7.1f}  {p99:7.1f}  {max(took):7.1f}", flush=True)
        took = [d.whole_program() for _ in range(max(3, given.times // 20))]
        print(f"`quantd halt` from Enter, the start of Python included: p50 {np.median(took):.0f} ms (not promised)")
        print(f"{d.orders} baskets of orders were made, {d.late} of them in HALT; the market was {d.get('/health')}")
        return 0 if worst <= PROMISE_MS and d.late == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
