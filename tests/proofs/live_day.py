"""A day of trading at a wire-level venue with everything that can go away going away.

    python -m tests.proofs.live_day [--venue alpaca] [--minutes 60] [--scale 60] [--times 10]
        [--kill venue,path,stream,feed,store,bus,daemon]

The whole daemon runs in this process on a clock that is `scale` times as quick: bars of a minute over HTTP, orders to a
venue that fills what is marketable, its updates over a WebSocket. At the end our books must be the venue's to the last
unit, and no order may be there twice. Prints what was cut off how often, orders, fills and the verdict; exit 1 when
something differs.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import psycopg
from aiohttp import ClientSession, web

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.adapters.feeds.live.feed import Live
from quantd.adapters.feeds.live.slice_builder import PutAside
from quantd.adapters.feeds.sources.alpaca import AlpacaBars
from quantd.adapters.feeds.wrappers.retry import Retried
from quantd.daemon.app import Options, serve
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.config import load
from quantd.daemon.views.run_summary import Summary
from quantd.trading.ports import Broker, LiveFeed
from tests.support.mqtt import Mosquitto, Subscriber
from tests.support.postgres import postgres_server
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.alpaca_book import Placed
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData

SYMBOLS = {"BTC/USD": 90_000.0, "ETH/USD": 3_000.0, "SOL/USD": 180.0}
BACK = 90
"""Minutes of history at the vendor when the day begins."""

VENUES: Final = ("alpaca", "kraken", "binance", "bybit", "ibkr")
KINDS = ("venue", "path", "stream", "feed")
DAEMON = "daemon"
"""SIGKILL of the daemon, which then is a process of its own."""
SERVICES = ("store", "bus")
"""These need PostgreSQL and mosquitto on the machine."""

CALM = 5
"""Looks, 0.3 s apart, without a change after which the day has ended."""

CONFIG = """
[quantd]
name = "day"
state = "state"
[universe]
symbols = ["BTC/USD", "ETH/USD", "SOL/USD"]
calendar = "24/7"
instruments = [
  {{ symbol = "BTC/USD", lot = "0.0001", tick = "0.01" }},
  {{ symbol = "ETH/USD", lot = "0.001", tick = "0.01" }},
  {{ symbol = "SOL/USD", lot = "0.01", tick = "0.01" }},
]
[feed]
kind = "alpaca"
interval = "1m"
warmup = 70
stream = false
[broker]
kind = "alpaca"
url = "http://127.0.0.1:1"
cash = "100000.00"
[risk]
max_position_weight = 0.6
max_loop_lag = "60s"
max_clock_jump = "1h"
max_missed_bars = 10
[store]
url = "{store}"
[[agents]]
name = "rotating"
policy = "rotating.py:act"
capital = 0.9
min_trade = 0.0
[alerts]
per_minute = 10000
[bus]
{bus}
[api]
port = 0
[log]
level = "error"
"""

POLICY = '''
import numpy as np


def act(view):
    """Holds another one of its symbols every few minutes, so that there is always something to trade."""
    n = len(view.prices)
    weights = np.full(n, 0.15)
    weights[int(view.time // 60_000_000_000 // 2) % n] = 0.5
    return weights
'''


class Clock:
    """UTC in ns, `scale` times as quick as the real one."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.base, self.began = time.time_ns(), time.monotonic_ns()

    def __call__(self) -> int:
        return self.base + int((time.monotonic_ns() - self.began) * self.scale)

    async def sleep(self, seconds: float) -> None:
        while seconds > 0.0:
            step_s = min(seconds / self.scale, 0.2)
            await asyncio.sleep(step_s)
            seconds -= step_s * self.scale

    def paced(self, scale: float) -> None:
        """From now on `scale` times as quick as the real one."""
        self.base, self.began, self.scale = self(), time.monotonic_ns(), scale

    async def waits(self, state: Path) -> None:
        """As quick as the real one until the daemon serves: bars of its start are not missed on a slow machine."""
        scale = self.scale
        self.paced(1.0)
        try:
            await serves(state)
        finally:
            self.paced(scale)


class ScaledServer(AlpacaServer):
    """The venue on that clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        super().__init__(key=KEY, secret=SECRET, cash="100000")
        self.book.auto = True

    def now(self) -> int:
        return self.clock() + self.offset_ns + self.skew_ns


class Cable:
    """The network path to a port: everything passes, or everything is cut."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, out = await asyncio.open_connection("127.0.0.1", self._target())
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, out}
        await asyncio.gather(self._pass(reader, out), self._pass(back, writer))
        self._writers -= {writer, out}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()


def stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Account:
    """What the venue has: units by symbol, money, and the number of orders by client id."""

    units: dict[str, Decimal]
    cash: Decimal
    placed: Counter[str]


@dataclass(frozen=True)
class Arrived:
    """An order as it arrives at the venue; `limit` in money, beyond every price for an order at the market."""

    id: str
    symbol: str
    buys: bool
    left: Decimal
    limit: Decimal


@dataclass
class Day:
    """What a day left."""

    summary: Summary
    account: Account
    cut: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def _nothing_to_kill() -> None:
    raise AssertionError("the daemon is no process of its own")


class World:
    """Vendor, venue and the cable between, on one clock."""

    def __init__(self, folder: Path, scale: float, seed: int) -> None:
        self.clock = Clock(scale)
        self.rng = random.Random(seed)
        self.folder = folder
        self.data = AlpacaData()
        self.venue: Any = ScaledServer(self.clock)
        self.cable = Cable(lambda: self.venue.port)
        self.price = dict(SYMBOLS)
        self.data_runner: web.AppRunner | None = None
        self.data_port = 0
        self.data_site: web.TCPSite | None = None
        self.cut: Counter[str] = Counter()
        self.bars = 0
        self.crash_store: Callable[[], None] | None = None
        self.kill: Callable[[], Awaitable[None]] = _nothing_to_kill
        self.mosquitto: Mosquitto | None = None
        self.subscriber: Subscriber | None = None

    # the venue

    async def cut_off(self) -> None:
        """Nothing listens at the venue any more."""
        await self.venue.down()

    async def listen(self) -> None:
        await self.venue.up()

    async def cut_stream(self) -> None:
        self.venue.cut()

    def quote(self, symbol: str, price: float) -> None:
        """The venue's price of a symbol changes."""
        self.venue.price(symbol, f"{price:.2f}")

    def states(self) -> list[tuple[object, ...]]:
        """What an order of the venue is now, for each."""
        return [(order.id, order.status, order.filled) for order in self.venue.book.orders.values()]

    def account(self) -> Account:
        book = self.venue.book
        theirs = {row["symbol"]: Decimal(str(row["qty"])) for row in book.positions_json()}
        lots = {symbol: theirs.get(symbol.replace("/", ""), Decimal(0)) for symbol in self.price}
        return Account(
            lots, Decimal(str(book.account_json()["cash"])), Counter({k: len(v) for k, v in book.by_client.items()})
        )

    def open_orders(self) -> list[Arrived]:
        return [self._arrived(order) for order in self.venue.book.orders.values() if order.open]

    @staticmethod
    def _arrived(order: Placed) -> Arrived:
        buys = order.side == "buy"
        limit = order.limit or (Decimal("inf") if buys else Decimal(0))
        return Arrived(order.id, order.symbol, buys, order.left, limit)

    def lose_answers(self) -> None:
        """The next order is carried out without an answer, and nothing at the venue tells what became of it."""
        self.venue.silent = True
        self.venue.misbehave("500 after", "submit")
        self.venue.misbehave("500", "query", 100_000)

    def answer_again(self) -> None:
        """End `lose_answers`."""
        self.venue.silent = False
        self.venue.misbehave("500", "query", 0)

    def watch(self, look: Callable[[Arrived], None]) -> None:
        """Call `look` with each order that arrives at the venue, before it can fill."""
        book, say = self.venue.book, self.venue.book.say

        def said(event: str, order: Placed, more: dict[str, Any]) -> None:
            if event == "new":
                look(self._arrived(order))
            say(event, order, more)

        book.say = said

    def broker(self, parts: Parts, run: str) -> Broker:
        url = f"http://127.0.0.1:{self.cable.port}"
        settings = AlpacaSettings(
            url=url, stream_url=f"ws{url[4:]}/stream", key=KEY, secret=SECRET, timeout_s=1.0, patience_s=2.0,
            per_minute=100_000, settle_s=2.0, listing_s=0.5, backoff_s=(0.02, 0.2), max_skew_s=60.0,
        )  # fmt: skip
        return Alpaca(settings, parts.universe, run, now=self.clock)

    async def start(self) -> None:
        await self.venue.start()
        await self.cable.up()
        self.data_runner = web.AppRunner(self.data.app(), access_log=None)
        await self.data_runner.setup()
        await self.feed_up()
        self.minute = (self.clock() // 10**9 // 60 - BACK) * 60
        while self.minute + 60 <= self.clock() // 10**9:
            self._bar()
        self.list_all()

    def list_all(self) -> None:
        """The venue begins to trade."""
        for symbol, price in self.price.items():
            self.venue.list(symbol, f"{price:.2f}")

    async def stop(self) -> None:
        await self.cable.down()
        await self.venue.stop()
        if self.data_runner is not None:
            await self.data_runner.cleanup()

    async def feed_up(self) -> None:
        assert self.data_runner is not None
        self.data_site = web.TCPSite(self.data_runner, "127.0.0.1", self.data_port, reuse_address=True)
        await self.data_site.start()
        self.data_port = self.data_runner.addresses[0][1]

    def _bar(self) -> None:
        for symbol, opened in self.price.items():
            close = round(opened * (1.0 + self.rng.gauss(0.0, 0.002)), 2)
            high, low = max(opened, close) + 0.05, min(opened, close) - 0.05
            bar = (stamp(self.minute), f"{opened:.2f}", f"{high:.2f}", f"{low:.2f}", f"{close:.2f}", "12.5")
            self.data.crypto.setdefault(symbol, []).append(bar)
            self.price[symbol] = close
        self.minute += 60

    async def market(self) -> None:
        """Bars as time goes by; the venue's prices move with each."""
        while True:
            await asyncio.sleep(0.01)
            if self.clock() // 10**9 >= self.minute + 60:
                self._bar()
                self.bars += 1
                for symbol, price in self.price.items():
                    self.quote(symbol, price)

    def find(
        self, parts: Parts, run: str, folder: Path, put_aside: PutAside, now: Callable[[], int]
    ) -> tuple[LiveFeed, Broker | None]:
        url = f"http://127.0.0.1:{self.data_port}"
        source = AlpacaBars(
            parts.universe, "1m", key=KEY, secret=SECRET, crypto=True, url=url, rate=None, timeout_s=2.0
        )
        feed = Live(
            Retried(source, deadline_s=0.5, first_s=0.05),
            universe=parts.universe, sessions=parts.sessions, interval_ns=parts.interval_ns, grace_ns=10 * 10**9,
            now=now, put_aside=put_aside, sleep=self.clock.sleep,
        )  # fmt: skip
        return feed, self.broker(parts, run)

    async def trouble(self, kinds: list[str], times: int, lasting_s: tuple[float, float], pause_s: float) -> None:
        """Cut things off one after the other, each `times`, one in each `pause_s`: all along the day."""
        plan = kinds * times
        self.rng.shuffle(plan)
        began = time.monotonic()
        for number, kind in enumerate(plan):
            due = began + (number + self.rng.uniform(0.3, 1.0)) * pause_s
            await asyncio.sleep(max(0.3 * pause_s, due - time.monotonic()))
            self.cut[kind] += 1
            gone_s = self.rng.uniform(*lasting_s)
            match kind:
                case "venue":
                    await self.cut_off()
                    await asyncio.sleep(gone_s)
                    await self.listen()
                case "path":
                    await self.cable.down()
                    await asyncio.sleep(gone_s)
                    await self.cable.up()
                case "stream":
                    await self.cut_stream()
                case "daemon":
                    await self.kill()
                case "store":
                    assert self.crash_store is not None
                    await asyncio.to_thread(self.crash_store)
                case "bus":
                    assert self.mosquitto is not None
                    await asyncio.to_thread(self.mosquitto.stop)
                    await asyncio.sleep(gone_s)
                    await asyncio.to_thread(self.mosquitto.start)
                case "feed":
                    assert self.data_site is not None
                    await self.data_site.stop()
                    await asyncio.sleep(gone_s)
                    await self.feed_up()

    def services(self, kinds: list[str]) -> tuple[str, str]:
        """([store] url, lines of [bus]) with the services that are to be cut off."""
        store, bus = "", "port = 0"
        if "store" in kinds:
            server, self.crash_store = postgres_server()
            schema = f"day{time.time_ns()}"
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {schema}")
            store = f"{server}&options=-csearch_path%3D{schema}"
        if "bus" in kinds:
            folder = self.folder / "mosquitto"
            folder.mkdir()
            self.mosquitto = Mosquitto(folder).start()
            bus = f'kind = "mqtt"\nurl = "mqtt://127.0.0.1:{self.mosquitto.port}"'
            self.subscriber = self.mosquitto.subscribe("-c", "-i", "durable", "-q", "1", "-t", "quantd/day/alerts/#")
        return store, bus


def world_at(venue: str, folder: Path, scale: float, seed: int) -> World:
    """The world of a venue by its name."""
    if venue == "alpaca":
        return World(folder, scale, seed)
    if venue == "ibkr":
        return cast(World, import_module("tests.proofs.live_gateway").GatewayWorld(folder, scale, seed))
    return cast(World, import_module("tests.proofs.live_exchange").ExchangeWorld(venue, folder, scale, seed))


def write_config(folder: Path, store: str, bus: str) -> Path:
    (folder / "rotating.py").write_text(POLICY)
    path = folder / "config.toml"
    path.write_text(CONFIG.format(store=store, bus=bus))
    return path


async def day(
    folder: Path,
    *,
    minutes: float,
    scale: float,
    kinds: list[str],
    times: int,
    seed: int,
    venue: str = "alpaca",
    look: Callable[[Any], Awaitable[None]] | None = None,
) -> Day:
    """One day; the daemon is told to stop at its end. `look` runs beside a daemon that is a process of its own."""
    world = world_at(venue, folder, scale, seed)
    await world.start()
    path = write_config(folder, *await asyncio.to_thread(world.services, kinds))
    config = load(path, known_names())
    state = config.at(config.quantd.state)
    resumes = asyncio.create_task(rearm(state))
    moving = asyncio.create_task(world.market())
    child = None
    if DAEMON in kinds or look is not None:
        child = import_module("tests.proofs.live_child").Child(world, folder, state, venue)
        world.kill = child.kill
        running: Coroutine[Any, Any, Summary] = child.lives()
    else:
        running = serve(config, Options(config=path, quiet=True), find=world.find, now=world.clock)
    daemon = asyncio.create_task(running, name="daemon")
    looking = asyncio.create_task(look(child)) if look is not None else None
    pause_s = minutes * 60 / scale / max(1, len(kinds) * times)

    async def cut() -> None:
        await serves(state)
        await world.trouble(kinds, times, (0.05, 0.8), pause_s)

    cutting = asyncio.create_task(cut())
    try:
        await asyncio.wait({daemon}, timeout=minutes * 60 / scale)
        await asyncio.wait({daemon, cutting}, return_when=asyncio.FIRST_COMPLETED)
        if cutting.done():
            cutting.result()  # a day without its outages shows nothing
        moving.cancel()
        if not daemon.done():
            await still(world, state)
            child.stop() if child else os.kill(os.getpid(), signal.SIGTERM)
        summary = await daemon
        outcome = Day(summary, world.account(), world.cut)
        outcome.wrong = differences_of(summary, outcome.account)
        if world.subscriber is not None:
            outcome.wrong += await asyncio.to_thread(undelivered, world.subscriber, summary)
    finally:
        for task in (moving, cutting, resumes, *([looking] if looking else [])):
            task.cancel()
        if child is not None:
            await child.gone()
        await world.stop()
        if world.subscriber is not None:
            world.subscriber.close()
        if world.mosquitto is not None:
            world.mosquitto.stop()
    return outcome


def undelivered(subscriber: Subscriber, summary: Summary) -> list[str]:
    """Every alert must have reached the durable subscriber."""
    arrived_ids: set[str] = set()
    for _ in range(40):
        arrived_ids = {json.loads(payload)["id"] for topic, payload in subscriber.lines() if "/alerts/" in topic}
        if len(arrived_ids) >= summary.alerts:
            return []
        time.sleep(0.25)
    return [f"{summary.alerts} alerts were raised, {len(arrived_ids)} arrived"]


async def serves(state: Path, within_s: float = 300.0) -> None:
    """Wait until the daemon has begun to serve."""
    for _ in range(int(within_s * 10)):
        if (state / "api.json").exists():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("the daemon does not serve")


async def rearm(state: Path) -> None:
    """A person at a desk: what is lost and comes back leaves REDUCE, and is re-armed with a reason."""
    async with ClientSession() as http:
        while True:
            await asyncio.sleep(0.2)
            try:
                place, token = json.loads((state / "api.json").read_text()), (state / "token").read_text().strip()
                url = f"http://{place['host']}:{place['port']}"
                headers = {"Authorization": f"Bearer {token}"}
                async with http.get(f"{url}/api/v1/status", headers=headers) as answer:
                    standing = await answer.json()
                if standing.get("switch") in ("REDUCE", "HALT"):
                    body = {"command": "resume", "reason": "the test's person has looked"}
                    await http.post(f"{url}/api/v1/commands", json=body, headers=headers)
            except (OSError, ValueError):
                continue


async def still(world: World, state: Path) -> None:
    """Wait until nothing changes at the venue any more and the daemon has no open order, at CALM looks in a row.

    Fills that are under way when the daemon stops belong to its next start. An order that stays open ends the wait too,
    and shows in the differences."""
    before, calm = None, 0
    async with ClientSession() as http:
        for _ in range(200):
            await asyncio.sleep(0.3)
            now = world.states()
            calm = calm + 1 if now == before and not await _open_orders(http, state) else 0
            if calm == CALM:
                return
            before = now


async def _open_orders(http: ClientSession, state: Path) -> bool:
    """Whether the daemon has open orders, or does not answer."""
    try:
        place, token = json.loads((state / "api.json").read_text()), (state / "token").read_text().strip()
        url = f"http://{place['host']}:{place['port']}/api/v1/status"
        async with http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
            return bool((await answer.json())["open_orders"])
    except (OSError, ValueError):
        return True


def differences_of(summary: Summary, there: Account) -> list[str]:
    """What our account and the venue's do not agree about."""
    wrong = []
    for symbol, units in there.units.items():
        ours = Decimal(summary.positions.get(symbol, "0"))
        if ours != units:
            wrong.append(f"{symbol}: {units} there, {ours} here")
    if abs(there.cash - Decimal(summary.cash)) > Decimal("0.01"):
        wrong.append(f"cash {there.cash} there, {summary.cash} here")
    wrong += [f"{client} was placed {times} times" for client, times in there.placed.items() if times > 1]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--scale", type=float, default=60.0)
    parser.add_argument("--kill", default=",".join(KINDS))
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--venue", choices=VENUES, default="alpaca")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(
            day(
                Path(folder),
                minutes=asked.minutes,
                scale=asked.scale,
                kinds=asked.kill.split(","),
                times=asked.times,
                seed=asked.seed,
                venue=asked.venue,
            )
        )
    s = outcome.summary
    print(
        f"{asked.venue}, seed {asked.seed}: {dict(outcome.cut)} cut off; {s.slices} slices, {s.orders} orders, "
        f"{s.fills} fills, {s.trips} trips"
    )
    print("\n".join(outcome.wrong) or "every book is the venue's, to the last unit; no order is there twice")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
