"""Orders a second through the gateway of a daemon, by several trading programs at once, and a halt among them.

    python -m benchmarks.gateway [--clients 20] [--seconds 20] [--warm-up 5]

One `quantd run` with the gateway, on recorded days at two bars a second, in a process of its own; this process is all
the programs. Each sends its next order when the last is answered: it buys and sells one share in turn. The figures are
orders taken a second, the time from POST to answer (p50, p99), the largest delay of the daemon's event loop, and, under
the same load, the time from a halt to its answer and to the last order that was taken. The load of the machine is
printed, because all of it counts.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory
from typing import Any, Final

from aiohttp import ClientError, ClientSession

from quantd.server.requests.tokens import created
from tests.support.command_line import CONFIG, environment, with_calendar, write
from tests.support.sockets import free_port

TEXT: Final = (
    CONFIG.replace('pace = "fast"', 'pace = "2/s"')
    .replace('at_end = "stop"', 'at_end = "wait"')
    .replace("end = 2019-03-29", "end = 2021-03-31")
    .replace("max_position_weight = 0.25\nmax_drawdown = 0.25\nvar = { limit = 0.03 }", 'profile = "research"')
    .replace("capital = 0.5", "capital = 0.2")
    .replace("[[schedules]]", '[[agents]]\nname = "bot"\npolicy = "external"\ncapital = 0.4\n[[schedules]]', 1)
)
"""A book without a limit on its orders a minute."""

SYMBOLS: Final = ("SPY", "QQQ", "IWM")


class Programs:
    """The programs at the gateway of a daemon: their times from POST to answer in s, and their answers by status."""

    def __init__(self, url: str, secret: str) -> None:
        self.url, self.headers = url, {"APCA-API-KEY-ID": "bot", "APCA-API-SECRET-KEY": secret}
        self.times: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.words: Counter[str] = Counter()
        self.last_taken_s = 0.0

    async def trade(self, session: ClientSession, number: int, until_s: float) -> None:
        """Buy and sell one share in turn until then."""
        body = {"symbol": SYMBOLS[number % 3], "qty": "1", "type": "market", "time_in_force": "day"}
        turn = number
        while time.monotonic() < until_s:
            turn += 1
            began = time.monotonic()
            order = body | {"side": "buy" if turn % 2 else "sell", "client_order_id": f"{number}-{began}"}
            async with session.post(f"{self.url}/v2/orders", json=order) as response:
                answer = await response.json()
            self.times.append(time.monotonic() - began)
            self.statuses[response.status] += 1
            if response.status == 200:
                self.last_taken_s = time.monotonic()
            else:
                self.words[re.sub("[0-9]+", "N", str(answer.get("message")))[:90]] += 1

    async def all_trade(self, clients: int, seconds: float) -> None:
        async with ClientSession(headers=self.headers) as session:
            until_s = time.monotonic() + seconds
            await asyncio.gather(*(self.trade(session, number, until_s) for number in range(clients)))

    def clear(self) -> None:
        self.times, self.statuses, self.words = [], Counter(), Counter()


async def ready(url: str, headers: dict[str, str]) -> None:
    """Wait until the daemon answers and has a price. Raises TimeoutError."""
    async with asyncio.timeout(60), ClientSession(headers=headers) as session:
        while True:
            try:
                async with session.get(f"{url}/v2/stocks/SPY/bars/latest") as response:
                    if response.status == 200:
                        return
            except ClientError:
                pass
            await asyncio.sleep(0.2)


async def measured(folder: Path, port: int, secret: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one daemon that runs in a folder."""
    programs = Programs(f"http://127.0.0.1:{port}", secret)
    await ready(programs.url, programs.headers)
    api, token = json.loads((folder / "state/api.json").read_text())["port"], (folder / "state/token").read_text()
    async with ClientSession(f"http://127.0.0.1:{api}", headers={"Authorization": f"Bearer {token.strip()}"}) as owner:
        await programs.all_trade(arguments.clients, arguments.warm_up)
        programs.clear()
        await owner.get("/metrics")  # its lag begins anew with each scrape
        began = time.monotonic()
        await programs.all_trade(arguments.clients, arguments.seconds)
        took_s = time.monotonic() - began
        async with owner.get("/metrics") as response:
            lines = [line.rpartition(" ") for line in (await response.text()).splitlines()]
        lag_ms = max(float(value) * 1e3 for name, _, value in lines if name.startswith("quantd_loop_lag_seconds{"))
        figures = {
            "orders_s": round(programs.statuses[200] / took_s, 1), "answers_s": round(len(programs.times) / took_s, 1),
            "p50_ms": round(statistics.median(programs.times) * 1e3, 1),
            "p99_ms": round(statistics.quantiles(programs.times, n=100)[98] * 1e3, 1), "loop_lag_ms": round(lag_ms, 1),
            "statuses": dict(programs.statuses), "refusals": dict(programs.words.most_common(3)),
        }  # fmt: skip
        load = asyncio.create_task(programs.all_trade(arguments.clients, 4.0))
        await asyncio.sleep(2.0)
        began = time.monotonic()
        async with owner.post("/api/v1/commands", json={"command": "halt", "reason": "benchmark"}) as response:
            response.raise_for_status()
        figures["halt_answer_ms"] = round((time.monotonic() - began) * 1e3, 1)
        await load
        figures["halt_last_order_ms"] = round(max(programs.last_taken_s - began, 0.0) * 1e3, 1)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--warm-up", type=float, default=5.0)
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        write(folder, f"{TEXT}[gateway]\nport = {port}\n")
        with_calendar(folder)
        (folder / "state").mkdir()
        _, secret = created(folder / "state", "bot", "propose", agent="bot")
        before = os.getloadavg()[0]
        command = [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet"]
        with Popen(command, cwd=folder, env=environment()) as daemon:
            try:
                figures = asyncio.run(measured(folder, port, secret, arguments))
            finally:
                daemon.send_signal(signal.SIGTERM)
        print(f"{os.cpu_count()} cores, load {before:.1f} before and {os.getloadavg()[0]:.1f} after")
        print("\n".join(f"{name:20} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
