"""Whole `quantd run` processes on one account at a venue of the wire: a configuration, a start, what each was told by
hand.

Their orders are told apart by their size: each is an order by hand, and nobody else orders anything.
"""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.command_line import environment
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData, minutes

CONFIG = """
[quantd]
name = "desk"
state = "state"
[universe]
symbols = ["BTC/USD"]
calendar = "24/7"
instruments = [{{ symbol = "BTC/USD", lot = "0.0001", tick = "0.01" }}]
[feed]
kind = "alpaca"
url = "{feed}"
interval = "1m"
warmup = 70
stream = false
grace = "1s"
[broker]
kind = "alpaca"
url = "{venue}"
cash = "100000.00"
[store]
url = "{store}"
lease = "3s"
[manual]
capital = 0.5
[[agents]]
name = "flat"
policy = "flat.py:act"
capital = 0.5
[bus]
port = 0
[api]
port = 0
"""

POLICY = """
def act(view):
    return view.prices * 0.0
"""

PRICE = 90_000.0
KEYS = {"QUANTD_ALPACA_KEY": KEY, "QUANTD_ALPACA_SECRET": SECRET}


@dataclass
class Daemon:
    """One process."""

    folder: Path
    process: "subprocess.Popen[str]"

    def stop(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def said(self) -> str:
        return (self.folder / "err.txt").read_text()

    async def left(self, within_s: float = 60.0) -> int:
        """Its exit code."""
        return await asyncio.to_thread(self.process.wait, within_s)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """What its API answers; raises OSError where nobody does."""
        place = json.loads((self.folder / "state" / "api.json").read_text())
        if place["pid"] != self.process.pid:
            raise ConnectionError("it does not listen yet")
        token = (self.folder / "state" / "token").read_text().strip()
        line = http.client.HTTPConnection("127.0.0.1", place["port"], timeout=30)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            line.request(method, path, None if body is None else json.dumps(body), headers)
            return json.loads(line.getresponse().read())
        finally:
            line.close()

    def ready(self) -> bool:
        """Whether it trades: its account is compared, and its warm-up has prices."""
        with suppress(OSError, ValueError, KeyError):
            status = self.ask("GET", "/api/v1/status")
            return bool(status["ready"]) and status["status"] == "running" and status["slices"] >= 70
        return False

    async def until_ready(self, within_s: float = 40.0) -> None:
        deadline = time.monotonic() + within_s
        while not await asyncio.to_thread(self.ready):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            await asyncio.sleep(0.1)

    async def buy(self, qty: str) -> Any:
        body = {"side": "buy", "qty": qty, "symbol": "BTC/USD", "reason": "by hand"}
        return await asyncio.to_thread(self.ask, "POST", "/api/v1/orders", body)

    async def buys(self, qty: str, within_s: float = 90.0) -> None:
        """An order that passes; a first start has no price to trade by until a minute has closed."""
        deadline = time.monotonic() + within_s
        while "detail" in (answer := await self.buy(qty)):
            assert answer["code"] == "not_ready", answer
            assert time.monotonic() < deadline, self.said()
            await asyncio.sleep(0.5)

    async def compares(self, within_s: float = 90.0) -> Any:
        """A comparison with the venue, asked for again while a busy machine does not end one in time."""
        deadline = time.monotonic() + within_s
        while (answer := await asyncio.to_thread(self.ask, "POST", "/api/v1/reconcile", {})).get("code") == "late":
            assert time.monotonic() < deadline, self.said()
        return answer


@dataclass
class World:
    """Vendor and venue, and the daemons that were started."""

    folder: Path
    store: str
    venue: AlpacaServer
    feed: str
    daemons: list[Daemon] = field(default_factory=list)

    def start(self, name: str) -> Daemon:
        """One more process, with the state folder `name`."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "flat.py").write_text(POLICY)
        text = CONFIG.format(feed=self.feed, venue=self.venue.url, store=self.store)
        (folder / "config.toml").write_text(text)
        with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet"],
                cwd=folder, env=environment() | KEYS | {"OMP_NUM_THREADS": "1"}, stdout=out, stderr=err, text=True,
            )  # fmt: skip
        self.daemons.append(Daemon(folder, process))
        return self.daemons[-1]

    def orders(self) -> dict[Decimal, int]:
        """Size -> how many orders of it the venue got."""
        count_by_size: dict[Decimal, int] = {}
        for order in self.venue.book.orders.values():
            count_by_size[order.qty] = count_by_size.get(order.qty, 0) + 1
        return count_by_size

    async def until(self, what: Callable[[], bool], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < deadline, self.orders()
            await asyncio.sleep(0.05)


@asynccontextmanager
async def world(folder: Path, store: str) -> AsyncIterator[World]:
    """A venue that fills what is marketable, and a vendor with two hours of minutes."""
    venue, data = AlpacaServer(key=KEY, secret=SECRET, cash="100000"), AlpacaData()
    venue.book.auto = True
    await venue.start()
    venue.list("BTC/USD", f"{PRICE:.2f}")
    runner = web.AppRunner(data.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    data.crypto["BTC/USD"] = minutes(PRICE, 120, 20)
    venue_world = World(folder, store, venue, f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        yield venue_world
    finally:
        for daemon in venue_world.daemons:
            if daemon.process.poll() is None:
                with suppress(ProcessLookupError):
                    daemon.wake()
                    daemon.process.kill()
                daemon.process.wait(10)
        await venue.stop()
        await runner.cleanup()
