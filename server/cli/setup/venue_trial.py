"""`quantd doctor --venue NAME`: the account at a venue, with --order or --fill also a few orders at its test network.

The orders are those of a run of its own: one book that no policy trades, the profile `conservative`, a state folder
that goes with the command. They pass the gate, the journal and the daemon's own sender; nothing here sends an order.

What can go wrong: the trial leaves an order or a position behind. So every step is followed by its opposite, also after
a failure, and the last check compares the run's books with the account. An order that is still open then is named, with
the command that ends it without quantd.
"""

import asyncio
import os
import re
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from decimal import ROUND_DOWN, Decimal
from math import ceil
from pathlib import Path
from typing import Any, Final, cast

from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.calendars import CalendarError
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.live.slice_builder import PutAside
from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.table_files.actions import ACTIONS
from quantd.adapters.wire_record import RECORD, WireRecord
from quantd.daemon.app import Options, read_config, serve
from quantd.daemon.assembly.brokers import broker_of, venues
from quantd.daemon.assembly.feeds import source_of, vendors
from quantd.daemon.assembly.parts import Parts, parts_of
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.places import Place
from quantd.daemon.config import Config, ConfigError, secret
from quantd.daemon.config.mistakes import suggestion
from quantd.daemon.live.connect import reach, request_of
from quantd.daemon.monitoring.metrics import configure
from quantd.daemon.recovery.stored_run import CannotStart
from quantd.server.cli.client import Daemon, named
from quantd.server.cli.setup.doctor_checks import Check
from quantd.server.cli.setup.doctor_live import account_checks
from quantd.trading.display_text import session_date
from quantd.trading.exit_codes import CHECK_FAILED, TRY_LATER, USAGE
from quantd.trading.instruments import NANO
from quantd.trading.orders import OrderBasket, Reports, money_text
from quantd.trading.ports import Broker, BrokerNews, LiveFeed
from quantd.trading.sessions import DAY_NS

ENDED: Final = ("filled", "cancelled", "rejected", "expired")
"""States of an order that has ended."""

STEP_S: Final = 90.0
"""Seconds within which each step must be confirmed: the first price may need a bar of a minute."""

FAR: Final = Decimal("0.8")
"""The price of the order that must not fill, as a share of the price at which it would."""

WORTH: Final = Decimal(25)
"""The least value of a trial's order, in the currency: venues refuse orders below 1 to 20."""

LIVE_ORDERS: Final = "with money an order needs a live daemon and its four permissions; there `quantd order` sends one"

LOT: Final = re.compile(r'[Ss]et lot = "?([0-9.]*[0-9])')
"""The remedy of an adapter where a pair has another lot at the venue."""

BARS: Final = {"24/7": 2 * 24 * 60, "XNYS": 2 * 390}
"""Bars of a minute before the start: they hold a whole session, whose volume the gate compares an order with."""

ACTIONS_FILE: Final = "actions.csv"
"""An empty file of splits, for a vendor that lists none: the trial asks for few days."""

DAYS_NS: Final = 10 * DAY_NS
"""No exchange closes for so long."""

REASON: Final = "quantd doctor --venue"

CONFIG: Final = """
[quantd]
name = "trial"
mode = "paper"
[universe]
symbols = ["{symbol}"]
currency = "{currency}"
calendar = "{calendar}"
[feed]
kind = "{feed}"
venue = "{exchange}"
interval = "1m"
warmup = {warmup}
[broker]
kind = "{kind}"
venue = "{exchange}"
cash = "1000.00"
differences = "fence"
[[agents]]
name = "trial"
policy = "{policy}"
capital = 1.0
profile = "conservative"
[risk]
volume_lookback = 1
[bus]
kind = "embedded"
port = 0
[api]
port = 0
[log]
level = "error"
"""


def config_text(name: str, symbol: str, lot: str, live: bool = False) -> str:
    """The trial's configuration for a venue, or an exchange that ccxt connects, and a symbol such as SPY or BTC/USD.

    `lot` is the lot of a pair.
    """
    is_kind = name in venues()
    _, is_pair, currency = symbol.partition("/")
    calendar = "24/7" if is_pair else "XNYS"
    text = CONFIG.format(
        symbol=symbol,
        currency=currency or "USD",
        calendar=calendar,
        warmup=BARS[calendar],
        kind=name if is_kind else "ccxt",
        feed=name if name in vendors() else "yfinance" if is_kind else "ccxt",  # a venue without bars of its own
        exchange="" if is_kind else name,
        # with money a book that only an operator trades is refused; nothing trades in the checks of such an account
        policy="equal_weight" if live else "external",
    )
    lines = [line for line in text.splitlines() if line != 'venue = ""']
    if is_kind and name in vendors() and vendors()[name].at_broker:
        lines.insert(lines.index("[broker]"), f'actions = "{ACTIONS_FILE}"')
    if is_pair:
        lines.insert(lines.index("[feed]"), f'instruments = [{{ symbol = "{symbol}", lot = "{lot}", tick = "0.01" }}]')
    return "\n".join(lines)


def venue_checks(name: str, symbol: str, sets: tuple[str, ...], live: bool, order: bool, fill: bool) -> Iterator[Check]:
    """The checks of a venue's account with the keys at hand; with `order` or `fill` also of orders at its test network.

    `live` is the account with money, which receives queries alone.

    Raises Failure for a name that is no venue.
    """
    if (name in venues() and not venues()[name].broker) or name == "ccxt":
        raise Failure(
            f'venue "{name}" sends orders to nobody; write alpaca, ibkr, or an exchange such as kraken', USAGE
        )
    names = sorted({*(venues()["ccxt"].exchanges or ()), *(kind for kind, venue in venues().items() if venue.broker)})
    names.remove("ccxt")
    if name not in names:
        raise Failure(f"--venue {name} is no venue of quantd: {suggestion(name, names)}", USAGE)
    with tempfile.TemporaryDirectory(prefix="quantd-venue-") as folder_name:
        folder = Path(folder_name)
        path = folder / "venue.toml"
        path.write_text(config_text(name, symbol, "0.0001", live))
        (folder / ACTIONS_FILE).write_text(",".join(ACTIONS) + "\n")
        mode = ("quantd.mode=live",) if live else ()
        options = Options(path, folder, (*sets, *mode), environ={})
        try:
            config = read_config(options)
            cash, lot = asyncio.run(_account(config))
            if lot:
                path.write_text(config_text(name, symbol, lot, live))
                config = read_config(options)
                cash, _ = asyncio.run(_account(config))
        except ConfigError as error:
            yield from (Check("config", False, str(mistake)) for mistake in error.mistakes)
            return
        checks = []
        for check in account_checks(config, Place(folder, folder)):
            checks.append(check)
            yield check
        if (vendor := vendors().get(config.feed.kind)) and vendor.at_broker and all(check.ok for check in checks):
            yield asyncio.run(_bars(config, symbol))
        if not (order or fill):
            return
        if live or any(check.ok is False for check in checks):
            text = "not tried: " + (LIVE_ORDERS if live else "a check of the account failed")
            yield Check("order", None, text)
            return
        configure("ERROR", config.log.format, instance=config.quantd.name)
        sets = (*sets, f"broker.cash={cash}")
        yield from asyncio.run(Trial(name, symbol, folder).checks(path, sets, order, fill))


def recorded(checks: Iterator[Check], name: str, folder: Path) -> Iterator[Check]:
    """Make the checks of a venue, and keep its answers in a new or empty folder, also if a check fails.

    Raises Failure for another folder.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = next(folder.iterdir(), None)
    except OSError as error:
        raise Failure(f"--record {folder}: {error.strerror}; name a new folder", USAGE) from None
    if taken is not None:
        raise Failure(f"--record {folder}: it has {taken.name}; name a new or an empty folder", USAGE)
    kind = venues().get(name) or venues()["ccxt"]
    record = WireRecord(name, filter(None, (secret(key) for key in kind.secrets)))
    before = RECORD.set(record)
    try:
        yield from checks
    finally:
        RECORD.reset(before)
        count = record.write(folder)
    more = f"; {record.missed} more were not kept" if record.missed else ""
    yield Check("record", True, f"{count} answers in {folder}{more}; read them before you pass them on")


async def _account(config: Config) -> tuple[str, str]:
    """(The cash of the account, which a run's books begin with; the lot that the venue asks for, where it is another).

    Both are empty where the account cannot be read; its checks say why.
    """
    broker = None
    try:
        broker = broker_of(config, parts_of(config, time.time_ns()).universe, "doctor00")
        assert broker is not None, "a venue has a broker"
        await broker.open()
        return money_text((await broker.account()).cash_micro), ""
    except VenueError as error:
        asked = LOT.search(str(error))
        return "", asked[1] if asked else ""
    except (ConnectionError, FeedError, CalendarError):
        return "", ""
    finally:
        if broker is not None:
            await broker.close()


async def _bars(config: Config, symbol: str) -> Check:
    """The days that the venue itself has; without them a run takes the feed of another source."""
    now, kind = time.time_ns(), config.feed.kind
    source = source_of(kind, request_of(parts_of(config, now), kind, "1d"))
    try:
        rows = await source.bars(now - DAYS_NS, now)
    except SourceError as error:
        return Check("bars", None, f"take the feed of another source: {error}")
    finally:
        await source.close()
    return Check("bars", True, f"{len(rows)} days of {symbol}, the newest {session_date(int(rows.ts.max()))}")


class Observed:
    """A venue that notes the last basket of the daemon's sender and the reports of the stream."""

    def __init__(self, venue: Broker) -> None:
        self._venue = venue
        self.basket: OrderBasket | None = None
        self.streamed: list[BrokerNews] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        self.basket = basket
        return await self._venue.submit(basket, rows)

    async def news(self) -> AsyncIterator[BrokerNews]:
        async for report in self._venue.news():
            self.streamed.append(report)
            yield report


class Trial:
    """A daemon of its own at a venue's test network, for orders of `symbol`, asked by its API as any client asks."""

    def __init__(self, name: str, symbol: str, folder: Path) -> None:
        self.name = name
        self.symbol = symbol
        self._folder = folder
        self._lot_nano = NANO
        self._venue: Observed | None = None

    def _reached(
        self, parts: Parts, run: str, folder: Path, put_aside: PutAside, now: Callable[[], int]
    ) -> tuple[LiveFeed, Broker | None]:
        feed, venue = reach(parts, run, folder, put_aside, now)
        self._lot_nano = int(parts.universe.lot_nano[0])
        self._venue = None if venue is None else Observed(venue)
        return feed, cast(Broker | None, self._venue)

    async def checks(self, config: Path, sets: tuple[str, ...], order: bool, fill: bool) -> list[Check]:
        """Start the daemon, try what is asked, and stop it. A step that fails is a failed check."""
        serving = asyncio.Event()
        options = Options(config, self._folder, (*sets,), quiet=True, environ={}, began=lambda link: serving.set())
        daemon = asyncio.create_task(serve(read_config(options), options, find=self._reached))
        begins = asyncio.create_task(serving.wait())
        await asyncio.wait({daemon, begins}, timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED)
        begins.cancel()
        checks: list[Check] = []
        try:
            if not serving.is_set():
                if daemon.done():
                    await daemon  # raises the reason of its end
                return [Check("run", False, f"the trial's daemon did not start within {STEP_S:g} s; try again later")]
            client = await asyncio.to_thread(named, Place(self._folder, self._folder))
            assert client is not None, "a daemon that serves has written its address"
            return await self._steps(client, order, fill)
        except (CannotStart, ConfigError) as error:
            return [*checks, Check("run", False, str(error))]
        finally:
            if not daemon.done():
                os.kill(os.getpid(), signal.SIGTERM)  # by which a daemon stops in order
                with suppress(CannotStart):
                    await daemon

    async def _steps(self, client: Daemon, order: bool, fill: bool) -> list[Check]:
        """The asked steps, then what they left behind. The steps end with the first that fails."""
        checks: list[Check] = []
        try:
            price, lot = await self._price(client), Decimal(self._lot_nano) / NANO
            qty = ceil(WORTH / (price * lot)) * lot
            if order:
                async for check in self._far_order(client, qty, price):
                    checks.append(check)
            if fill and all(check.ok for check in checks):
                async for check in self._round_trip(client, qty + lot):
                    checks.append(check)
        except Failure as error:
            checks.append(Check("order", False, str(error)))
        return [*checks, *await self._left(client)]

    async def _price(self, client: Daemon) -> Decimal:
        """The newest price of the symbol. Raises Failure without one in STEP_S."""
        async for _ in _attempts():
            room = (await _get(client, "/api/v1/risk?agent=trial"))["room"]
            if room and Decimal(room[0]["price"] or 0) > 0:
                return Decimal(room[0]["price"])
        text = f"no price of {self.symbol} arrived within {STEP_S:g} s: its market is closed, or the feed has no bars"
        raise Failure(f"{text}. Try again while it is open, or another symbol with --symbol", TRY_LATER)

    async def _sent(self, client: Daemon, side: str, qty: Decimal, limit: str = "") -> str:
        """Send an order by hand, and return its id. Raises Failure where the gate refuses or holds it."""
        body = {"side": side, "qty": f"{qty:f}", "symbol": self.symbol, "reason": REASON, "agent": "trial"}
        became = await asyncio.to_thread(client.post, "/api/v1/orders", body | ({"limit": limit} if limit else {}))
        if became["order"] and not became["waits"]:
            return str(became["order"])
        if became["order"]:
            await self._cancel(client, became["order"])
        raise Failure(f"the gate sent no order: {became['text']}", CHECK_FAILED)

    async def _far_order(self, client: Daemon, qty: Decimal, price: Decimal) -> AsyncIterator[Check]:
        """An order that must not fill: accepted, in the venue's list and its stream, then cancelled."""
        venue = self._venue
        assert venue is not None, "the trial's broker is a venue"
        limit = (price * FAR).quantize(Decimal(1) if price > 10 else price, ROUND_DOWN)
        order = await self._sent(client, "buy", qty, f"{limit:f}")
        became = await self._state(client, order, ("working",))
        yield Check("order", became == "working", f"buy {qty:f} {self.symbol} at {limit:f}, {order}: {became}")
        basket = venue.basket
        assert basket is not None, "an order with a state was sent"
        reports = await venue.query(basket.sample, basket.n, (0,))
        listed = any(isinstance(report, Reports) for report in reports)
        yield Check("list", listed, "the venue lists it by its client id" if listed else f"not listed: {reports}")
        ended = await self._cancel(client, order)
        yield Check("cancel", ended == "cancelled", f"{order}: {ended}")
        streamed = any(isinstance(report, Reports) for report in venue.streamed)
        text = "its reports arrived by the stream" if streamed else "no report arrived by the stream, answers alone"
        yield Check("stream", streamed, text)

    async def _round_trip(self, client: Daemon, qty: Decimal) -> AsyncIterator[Check]:
        """The smallest purchase, and its sale."""
        for side in ("buy", "sell"):
            order = await self._sent(client, side, qty)
            became = await self._state(client, order, ENDED)
            row = await self._row(client, order)
            text = f"{side} {qty:f} {self.symbol}, {order}: {became} at {row['price'] or '-'}, fee {row['fee'] or '-'}"
            yield Check(side, became == "filled", text)
            if became != "filled":
                return

    async def _row(self, client: Daemon, order: str) -> dict[str, Any]:
        orders = (await _get(client, "/api/v1/orders?limit=20"))["orders"]
        return next((row for row in orders if row["id"] == order), {"state": "unknown", "price": "", "fee": ""})

    async def _state(self, client: Daemon, order: str, states: tuple[str, ...]) -> str:
        """The order's state once it is one of `states` or has ended, else its state after STEP_S."""
        state = "unknown"
        async for _ in _attempts():
            state = str((await self._row(client, order))["state"])
            if state in (*states, *ENDED):
                break
        return state

    async def _cancel(self, client: Daemon, order: str) -> str:
        """Cancel an order, and return its state at the end."""
        with suppress(Failure):  # it has ended
            await asyncio.to_thread(client.post, "/api/v1/orders/cancel", {"order": order, "reason": REASON})
        return await self._state(client, order, ENDED)

    async def _left(self, client: Daemon) -> list[Check]:
        """Cancel what is open, sell what the trial holds, and compare the books with the account."""
        try:
            for row in (await _get(client, "/api/v1/orders?limit=20"))["orders"]:
                if row["state"] not in ENDED:
                    await self._cancel(client, row["id"])
            compared = await asyncio.to_thread(client.post, "/api/v1/reconcile", {"how": "", "reason": REASON}, STEP_S)
            orders = (await _get(client, "/api/v1/orders?limit=20"))["orders"]
        except Failure as error:
            return [Check("books", False, f"{error}; {self._way_out()}")]
        open_orders = [row["id"] for row in orders if row["state"] not in ENDED]
        if open_orders:
            return [Check("books", False, f"{', '.join(open_orders)} may be open at the venue; {self._way_out()}")]
        agrees, differences = compared["agrees"], "; ".join(compared["differences"])
        return [Check("books", agrees, "the account has what the trial's books have" if agrees else differences)]

    def _way_out(self) -> str:
        return f"cancel all orders of the account: quantd emergency --venue {self.name} --cancel-all"


async def _get(client: Daemon, path: str) -> Any:
    return await asyncio.to_thread(client.get, path)


async def _attempts() -> AsyncIterator[None]:
    """Twice a second for STEP_S."""
    deadline = time.monotonic() + STEP_S
    while time.monotonic() < deadline:
        yield
        await asyncio.sleep(0.5)
