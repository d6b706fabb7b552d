"""From paper days over a green doctor to a live start, at wire-level servers: nothing is live before, and little is at
first."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.adapters.feeds.live.feed import Live
from quantd.adapters.feeds.live.slice_builder import PutAside
from quantd.adapters.feeds.sources.alpaca import AlpacaBars
from quantd.adapters.store.handle import Store
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.app import Options, read_config, serve
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.recovery.stored_run import CannotStart
from quantd.daemon.views.run_summary import Summary
from quantd.risk.limits.catalogue import Reason
from quantd.trading.codec import decode
from quantd.trading.effects import Planned
from quantd.trading.ports import Broker, LiveFeed
from tests.proofs.live_day import Clock
from tests.support.command_line import quantd
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData

HALF_DAY_S = 43_200
SCALE = HALF_DAY_S
"""A bar of twelve hours takes a second."""

SYMBOLS = {"BTC/USD": 90_000.0, "ETH/USD": 3_000.0}
PAPER_DAYS = 4
KEYS = {"QUANTD_ALPACA_KEY": KEY, "QUANTD_ALPACA_SECRET": SECRET}

CONFIG = """
[quantd]
mode = "live"
live = true
state = "state"
[universe]
symbols = ["BTC/USD", "ETH/USD"]
calendar = "24/7"
instruments = [
  {{ symbol = "BTC/USD", lot = "0.0001", tick = "0.01" }},
  {{ symbol = "ETH/USD", lot = "0.001", tick = "0.01" }},
]
[feed]
kind = "alpaca"
url = "{feed}"
interval = "12h"
warmup = 70
stream = false
[broker]
kind = "alpaca"
url = "{venue}"
cash = "100000.00"
[risk]
max_position_weight = 0.35
max_gross_exposure = 1.0
max_drawdown = 0.25
max_daily_loss = 0.08
max_missed_bars = 10
var = {{ limit = 0.03 }}
correlation = {{ joint_weight = 0.6 }}
[[agents]]
name = "mix"
policy = "equal_weight"
capital = 0.9
profile = "balanced"
[live]
max_account_notional = "10000.00"
max_order_notional = "800.00"
max_orders_per_day = 20
ramp = {{ days = 20, from = 0.1 }}
paper_days = {days}
[bus]
port = 0
[api]
port = 0
[log]
level = "error"
"""


class Past(Clock):
    """Quick, and begins so many days ago."""

    def __init__(self, days: float) -> None:
        super().__init__(SCALE)
        self.base -= int(days * 2 * HALF_DAY_S * 1e9)


class Venue(AlpacaServer):
    """The venue by whichever clock runs."""

    clock: Callable[[], int] = staticmethod(time.time_ns)

    def now(self) -> int:
        return self.clock()


@dataclass
class Town:
    """Vendor and venue."""

    folder: Path
    venue: Venue
    data: AlpacaData
    url: str
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def config(self, *sets: str) -> Options:
        path = self.folder / "config.toml"
        if not path.exists():
            path.write_text(CONFIG.format(feed=self.url, venue=self.venue.url, days=PAPER_DAYS))
        return Options(config=path, sets=sets, quiet=True, live=True)

    def bars(self, until_s: int) -> None:
        """Every half day that has closed by then."""
        for symbol, price in SYMBOLS.items():
            bars = self.data.crypto.setdefault(symbol, [])
            opened = (
                _seconds(bars[-1][0]) + HALF_DAY_S if bars else until_s // HALF_DAY_S * HALF_DAY_S - 120 * HALF_DAY_S
            )
            while opened + HALF_DAY_S <= until_s:
                close = price * (1.0 + float(self.rng.normal(0.0, 0.01)))
                low, high = min(price, close) - 1.0, max(price, close) + 1.0
                bars.append((_stamp(opened), f"{price:.2f}", f"{high:.2f}", f"{low:.2f}", f"{close:.2f}", "5000"))
                opened += HALF_DAY_S

    def has_paper_days(self) -> bool:
        """Whether the run in the state folder has traded for long enough."""
        try:
            reader = Reader.open(self.folder / "state")
            return bool(reader.fills()) and len(reader.equity()) > 2 * PAPER_DAYS + 1
        except StoreError:  # not made yet
            return False

    async def live(self, clock: Past, options: Options, until: Callable[[], bool], within_s: float) -> Summary:
        """One stretch of the daemon by that clock, stopped in order."""
        self.venue.clock = clock
        self.bars(clock() // 10**9)

        def find(
            parts: Parts, run: str, folder: Path, put_aside: PutAside, now: Callable[[], int]
        ) -> tuple[LiveFeed, Broker | None]:
            source = AlpacaBars(parts.universe, "12h", key=KEY, secret=SECRET, crypto=True, url=self.url, rate=None)
            feed = Live(
                source, universe=parts.universe, sessions=parts.sessions, interval_ns=parts.interval_ns,
                grace_ns=4 * 3600 * 10**9, now=now, put_aside=put_aside, sleep=clock.sleep, beat_s=1800.0,
                poll_ns=600 * 10**9,
            )  # fmt: skip
            if parts.config.broker.kind == "paper":
                return feed, None
            settings = AlpacaSettings(
                url=self.venue.url, stream_url=self.venue.stream_url, key=KEY, secret=SECRET, max_skew_s=86_400.0,
                per_minute=100_000,
            )  # fmt: skip
            return feed, Alpaca(settings, parts.universe, run, now=now)

        daemon = asyncio.create_task(serve(read_config(options), options, find=find, now=clock))
        deadline = time.monotonic() + within_s
        while not daemon.done() and not until():
            assert time.monotonic() < deadline, self.venue.book.orders
            self.bars(clock() // 10**9)
            await asyncio.sleep(0.02)
        if not daemon.done():
            await asyncio.sleep(0.3)
            os.kill(os.getpid(), signal.SIGTERM)
        return await daemon


def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(stamp: str) -> int:
    return int(datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


@asynccontextmanager
async def town(folder: Path) -> AsyncIterator[Town]:
    venue, data = Venue(key=KEY, secret=SECRET, cash="100000"), AlpacaData()
    venue.book.auto = True
    await venue.start()
    for symbol, price in SYMBOLS.items():
        venue.list(symbol, f"{price:.2f}")
    runner = web.AppRunner(data.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Town(folder, venue, data, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        with suppress(OSError):
            await venue.stop()
        await runner.cleanup()


@pytest.mark.long
async def test_after_paper_days_and_a_green_doctor_a_live_start_sends_what_ramp_and_caps_leave(tmp_path: Path) -> None:
    async with town(tmp_path) as of:
        options = of.config()
        with pytest.raises(CannotStart, match="there is no result in"):
            await serve(read_config(options), options)

        shadow = of.config("quantd.mode=shadow", "broker.kind=paper")
        on_paper = await of.live(Past(PAPER_DAYS + 1.0), shadow, of.has_paper_days, within_s=120.0)
        assert on_paper.fills > 0, "it traded on paper"
        assert of.venue.book.orders == {}, "and nothing reached the venue"

        of.venue.clock = time.time_ns
        red = await asyncio.to_thread(
            quantd, tmp_path, "doctor", "--live", "--json", "--set", "live.paper_days=20", env=KEYS
        )
        assert red.returncode == 1
        green = await asyncio.to_thread(quantd, tmp_path, "doctor", "--live", "--json", env=KEYS)
        report = json.loads(green.stdout)
        assert green.returncode == 0, [check for check in report["checks"] if check["ok"] is False]
        assert of.venue.book.orders == {}, "the doctor only asks"

        other = of.config("live.max_order_notional=900.00")
        with pytest.raises(CannotStart, match="another configuration"):
            await serve(read_config(other), other)
        unasked = Options(config=options.config, quiet=True)
        with pytest.raises(CannotStart, match="--live on this command line"):
            await serve(read_config(unasked), unasked)

        fresh = Options(config=options.config, quiet=True, live=True, fresh=True)
        summary = await of.live(Past(0.0), fresh, lambda: len(of.venue.book.orders) >= 2, within_s=60.0)
        assert summary.mode == "live"
        orders = list(of.venue.book.orders.values())
        assert 0 < len(orders) <= summary.orders, "the stop may come before the last of them are sent"
        spent = [order.qty * order.limit for order in orders if order.limit is not None]
        assert len(spent) == len(orders)
        assert max(spent) <= Decimal(800), "max_order_notional"
        first = sum(order.qty * order.limit for order in orders[:2] if order.limit is not None)
        assert first <= Decimal(1_050), "a tenth of max_account_notional in the first session, at worst prices 5 % away"
        with Store.open(tmp_path / "state") as store:
            steps = [decode(data) for _, data in store.entries(summary.run, 1)]
        plans = [effect for step in steps for effect in step.effects if isinstance(effect, Planned)]
        cut = {code for plan in plans for code in np.frombuffer(plan.reason, dtype=np.int8).tolist()}
        assert int(Reason.ACCOUNT_NOTIONAL) in cut, "the journal says what cut it"
