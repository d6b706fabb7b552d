"""A vendor of bars with a true market and a script of faults, for the live feed: served over HTTP and WebSocket at a
scaled clock, or in the same process on a loop whose time only goes on when nothing is left to do."""

import asyncio
import json
import random
import selectors
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import aiohttp
import numpy as np
from aiohttp import web

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.checks import BadBar
from quantd.adapters.feeds.bars.merge import place_all
from quantd.adapters.feeds.bars.rows import ActionRow, Rows, exact_nano
from quantd.adapters.feeds.bars.stamps import BarTimes, Stamps
from quantd.adapters.feeds.live.feed import Live
from quantd.adapters.feeds.source import SourceError
from quantd.trading.events import Action
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.market import Jump, MarketSlice
from quantd.trading.ports import Until
from quantd.trading.sessions import DAY_NS, Sessions

T = TypeVar("T")
MINUTE = 60 * NANO


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NANO


def calendars(first: int = 2023, last: int = 2025) -> dict[str, Sessions]:
    return {name: sessions(name, date(first, 1, 1), date(last, 12, 31)) for name in ("XNYS", "24/7")}


def universe(*symbols: str, house: str = "XNYS") -> Universe:
    return Universe(
        tuple(Instrument(s, calendar="24/7" if s.startswith("BTC") else "XNYS") for s in symbols), calendar=house
    )


@dataclass(frozen=True)
class Bar:
    """One bar of the truth: `opens` and `event` in ns, prices in cents, volume in units."""

    column: int
    opens: int
    event: int
    day: int
    open: int
    high: int
    low: int
    close: int
    volume: int

    @property
    def values(self) -> tuple[int, int, int, int, int]:
        return (self.open, self.high, self.low, self.close, self.volume)


@dataclass
class Market:
    """What truly happened: bars by close, and the actions."""

    universe: Universe
    sessions: dict[str, Sessions]
    interval: int
    stamps: Stamps
    bars: list[Bar]
    actions: list[ActionRow] = field(default_factory=list)

    def stamp(self, bar: Bar) -> int:
        if self.stamps == "session":
            return bar.day
        return bar.opens if self.stamps == "open" else bar.event


def market(
    seed: int,
    symbols: Sequence[str],
    start: int,
    end: int,
    *,
    interval: int = MINUTE,
    stamps: Stamps = "open",
    missing: float = 0.0,
    by_clock: bool = False,
) -> Market:
    """A random walk of each symbol over the bars that close in (start, end]; `missing` of them were never traded."""
    rng, names, cal = random.Random(seed), universe(*symbols), calendars()
    bars: list[Bar] = []
    for column, instrument in enumerate(names.instruments):
        price = rng.randrange(5_000, 50_000)
        s = cal[instrument.calendar]
        for day, opened, closed in zip(s.day_ns, s.open_ns, s.close_ns, strict=True):
            if closed <= start or opened >= end:
                continue
            begin = opened - opened % interval if by_clock and interval < DAY_NS else opened
            while begin < closed:
                event = closed if interval == DAY_NS else min(begin + interval, closed)
                first, price = price, max(100, price + rng.randint(-9, 9))
                if start < event <= end and rng.random() >= missing:
                    high, low = max(first, price) + rng.randint(0, 3), min(first, price) - rng.randint(0, 3)
                    volume = rng.randint(100, 5_000)
                    bars.append(Bar(column, max(begin, opened), event, day, first, high, low, price, volume))
                begin = event
    bars.sort(key=lambda b: (b.event, b.column))
    return Market(names, cal, interval, stamps, bars)


def rows_of(true: Market, bars: Sequence[Bar]) -> Rows:
    prices = [np.array([b.values[k] / 100 for b in bars], dtype=np.float64) for k in range(4)]
    return Rows(
        ts=np.array([true.stamp(b) for b in bars], dtype=np.int64),
        column=np.array([b.column for b in bars], dtype=np.int64),
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        volume=np.array([float(b.volume) for b in bars]),
        open_nano=exact_nano(prices[0]),
        close_nano=exact_nano(prices[3]),
        source=np.zeros(len(bars), dtype=np.int64),
    )


@dataclass
class Faults:
    """What goes wrong. Spans are (from, to) in ns. Nothing here keeps a bar from the vendor's own records for longer
    than the grace of the feed: then it would be a bar that nobody can have."""

    sent: list[tuple[int, list[Bar]]]
    """What the stream sends, and when."""
    away: list[tuple[int, int]] = field(default_factory=list)
    """The stream refuses and drops connections."""
    mute: list[tuple[int, int]] = field(default_factory=list)
    """The stream stays connected and says nothing."""
    failing: list[tuple[int, int, int]] = field(default_factory=list)
    """(from, to, status): the records cannot be asked."""
    lag: int = 0
    """How long after its close a bar is in the records."""
    kinds: Counter[str] = field(default_factory=Counter)
    corrected: set[tuple[int, int]] = field(default_factory=set)


def punctual(true: Market, lag: int = NANO) -> Faults:
    by_close: dict[int, list[Bar]] = {}
    for bar in true.bars:
        by_close.setdefault(bar.event, []).append(bar)
    return Faults([(event + lag, bars) for event, bars in by_close.items()], lag=lag)


def scripted(true: Market, seed: int, grace: int, start: int, end: int) -> Faults:
    """Every kind of fault, drawn by `seed`, on the stream and the records of a true market."""
    rng = random.Random(seed)
    out = Faults([], lag=rng.randrange(grace // 8))
    rate = {kind: rng.choice((0.0, 0.02, 0.2)) for kind in ("drop", "double", "delay", "correct", "early")}
    together: dict[int, list[Bar]] = {}
    for bar in true.bars:
        if bar.event <= start:
            continue
        at = bar.event + rng.randrange(1, NANO)
        if rng.random() < rate["early"]:  # as it is being made, with the prices of then
            out.kinds["early"] += 1
            out.sent.append((bar.opens + 2 * NANO, [_unlike(bar)]))
        if rng.random() < rate["delay"]:
            out.kinds["delay"] += 1
            at = bar.event + rng.randrange(NANO, grace // 3)
        if rng.random() < rate["drop"]:
            out.kinds["drop"] += 1
        elif rng.random() < 0.5:
            together.setdefault(bar.event, []).append(bar)
        else:
            out.kinds["alone"] += 1
            out.sent.append((at, [bar]))
        if rng.random() < rate["double"]:
            out.kinds["double"] += 1
            out.sent.append((at + rng.randrange(3 * grace), [bar]))
        if rng.random() < rate["correct"]:
            out.kinds["correct"] += 1
            out.corrected.add((bar.column, bar.event))
            out.sent.append((bar.event + 3 * grace, [_unlike(bar)]))
    for event, bars in together.items():
        rng.shuffle(bars)
        out.sent.append((event + rng.randrange(1, NANO), bars))
    for spans, kind, times, longest in ((out.away, "away", 2, 5), (out.mute, "mute", 1, 4)):
        for _ in range(rng.randint(0, times)):
            at = rng.randrange(start, end)
            out.kinds[kind] += 1
            spans.append((at, at + rng.randrange(NANO, longest * true.interval)))
    if out.away and rng.random() < 0.5:  # both ways at once, for longer than the grace
        out.kinds["all away"] += 1
        first, last = out.away[0]
        out.failing.append((first - 5 * NANO, last + 2 * grace, 500))
        out.away[0] = (first - grace, last + 2 * grace)
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(start, end)
        out.kinds["failing"] += 1
        out.failing.append((at, at + rng.randrange(grace // 8, grace // 4), rng.choice((429, 500, 503))))
    out.sent.sort(key=lambda s: s[0])
    return out


def _unlike(bar: Bar) -> Bar:
    return replace(bar, close=bar.close + 1, high=max(bar.high, bar.close + 1), volume=bar.volume + 7)


@dataclass
class Vendor:
    """The vendor's side of a true market under a script."""

    true: Market
    faults: Faults
    asked: int = 0
    connected: int = 0

    def records(self, start: int, end: int, now: int) -> list[Bar] | int:
        """Bars stamped in [start, end) as recorded at `now`, the one in the making too; or the status of a failure."""
        self.asked += 1
        for first, last, status in self.faults.failing:
            if first <= now < last:
                return status
        out = []
        for bar in self.true.bars:
            if start <= self.true.stamp(bar) < end and bar.opens <= now:
                if bar.event + self.faults.lag <= now:
                    out.append(bar)
                elif bar.event > now:
                    out.append(_unlike(bar))
        return out

    def away(self, now: int) -> bool:
        return any(first <= now < last for first, last in self.faults.away)

    def next_away(self, now: int) -> int:
        return min((first for first, _ in self.faults.away if first > now), default=2**62)

    def mute(self, now: int) -> bool:
        return any(first <= now < last for first, last in self.faults.mute)


class Clock:
    """UTC in ns that runs `speed` times as fast as the loop's own."""

    def __init__(self, start: int, speed: float = 1.0) -> None:
        self._start, self._speed = start, speed
        self._zero = asyncio.get_running_loop().time()

    def now(self) -> int:
        return self._start + int((asyncio.get_running_loop().time() - self._zero) * self._speed * NANO)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0) / self._speed)

    async def until(self, ts: int) -> None:
        while (wait_ns := ts - self.now()) > 0:
            await self.sleep(wait_ns / NANO + 1e-9)


class Inside:
    """The vendor in this process: an quantd.adapters.feeds.source.Source, and through `stream` a Stream."""

    name = "inside"
    adjusted = False

    def __init__(self, vendor: Vendor, clock: Clock) -> None:
        self._vendor, self._clock = vendor, clock
        self.stamps = vendor.true.stamps
        self.closed = 0

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        await self._clock.sleep(0.05)
        answer = self._vendor.records(start_ns, end_ns, self._clock.now())
        if isinstance(answer, int):
            raise SourceError(self.name, f"status {answer}", after_s=2.0 if answer == 429 else 0.0)
        return rows_of(self._vendor.true, answer)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        return [a for a in self._vendor.true.actions if start_ns <= a.day_ns < end_ns]

    async def close(self) -> None:
        self.closed += 1


class InsideStream:
    def __init__(self, vendor: Vendor, clock: Clock) -> None:
        self._vendor, self._clock = vendor, clock

    async def bars(self) -> AsyncGenerator[Rows, None]:
        self._vendor.connected += 1
        joined = self._clock.now()
        for at, bars in self._vendor.faults.sent:
            while True:
                now = self._clock.now()
                if self._vendor.away(now):
                    raise SourceError("inside", "connection lost")
                if now >= at:
                    break
                await self._clock.until(min(at, self._vendor.next_away(now)))
            if at >= joined and not self._vendor.mute(at):
                yield rows_of(self._vendor.true, bars)
        await self._clock.until(self._vendor.next_away(self._clock.now()))
        raise SourceError("inside", "connection lost")

    async def close(self) -> None:
        pass


class Server:
    """The vendor on 127.0.0.1: /bars over HTTP and /stream over WebSocket, JSON with prices as text."""

    def __init__(self, vendor: Vendor, clock: Clock) -> None:
        self._vendor, self._clock = vendor, clock
        self.port = 0

    async def __aenter__(self) -> "Server":
        app = web.Application()
        app.add_routes([web.get("/bars", self._bars), web.get("/actions", self._actions), web.get("/stream", self._ws)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def _json(self, bars: Sequence[Bar]) -> list[list[object]]:
        true = self._vendor.true
        return [
            [true.stamp(b), true.universe.symbols[b.column], *(f"{p / 100:.2f}" for p in b.values[:4]), b.volume]
            for b in bars
        ]

    async def _bars(self, request: web.Request) -> web.Response:
        start, end = int(request.query["start"]), int(request.query["end"])
        answer = self._vendor.records(start, end, self._clock.now())
        if isinstance(answer, int):
            return web.Response(status=answer, headers={"Retry-After": "2"} if answer == 429 else {})
        return web.json_response(self._json(answer))

    async def _actions(self, request: web.Request) -> web.Response:
        start, end = int(request.query["start"]), int(request.query["end"])
        rows = [a for a in self._vendor.true.actions if start <= a.day_ns < end]
        return web.json_response([[a.day_ns, a.column, a.kind, a.numerator, a.denominator, a.cash_nano] for a in rows])

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if self._vendor.away(self._clock.now()):
            return web.Response(status=503)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self._vendor.connected += 1
        joined = self._clock.now()
        for at, bars in self._vendor.faults.sent:
            while (now := self._clock.now()) < at:
                if self._vendor.away(now) or ws.closed:
                    break
                await self._clock.until(min(at, self._vendor.next_away(now)))
            if self._vendor.away(self._clock.now()) or ws.closed:
                break
            over = at < bars[0].event <= self._clock.now()  # a busy machine: nobody sends it as being made any more
            if at >= joined and not over and not self._vendor.mute(at):
                await ws.send_str(json.dumps(self._json(bars)))
        else:
            await ws.receive()
        if not ws.closed and request.transport is not None:
            request.transport.abort()  # no farewell: as a cable that is pulled
        return ws


class Remote:
    """A client of Server: Source and Stream in one."""

    adjusted = False

    def __init__(self, name: str, port: int, true: Market) -> None:
        self.name, self.stamps = name, true.stamps
        self._true = true
        self._session = aiohttp.ClientSession(f"http://127.0.0.1:{port}")

    def _rows(self, records: list[list[Any]]) -> Rows:
        prices = [np.array([float(b[k]) for b in records], dtype=np.float64) for k in range(2, 6)]
        exact = [np.array([round(float(b[k]) * 100) * 10_000_000 for b in records], dtype=np.int64) for k in (2, 5)]
        return Rows(
            ts=np.array([b[0] for b in records], dtype=np.int64),
            column=np.array([self._true.universe.index[b[1]] for b in records], dtype=np.int64),
            open=prices[0],
            high=prices[1],
            low=prices[2],
            close=prices[3],
            volume=np.array([float(b[6]) for b in records]),
            open_nano=exact[0],
            close_nano=exact[1],
            source=np.zeros(len(records), dtype=np.int64),
        )

    async def _get(self, path: str, start: int, end: int) -> Any:
        try:
            async with self._session.get(path, params={"start": str(start), "end": str(end)}) as answer:
                if answer.status != 200:
                    wait = float(answer.headers.get("Retry-After", 0))
                    raise SourceError(self.name, f"status {answer.status}", after_s=wait)
                return await answer.json()
        except aiohttp.ClientError as error:
            raise SourceError(self.name, str(error)) from None

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        return self._rows(await self._get("/bars", start_ns, end_ns))

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        return [ActionRow(*row) for row in await self._get("/actions", start_ns, end_ns)]

    async def close(self) -> None:
        await self._session.close()


class RemoteStream:
    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def bars(self) -> AsyncGenerator[Rows, None]:
        try:
            async with self._remote._session.ws_connect("/stream") as ws:
                async for message in ws:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    yield self._remote._rows(json.loads(message.data))
        except aiohttp.ClientError as error:
            raise SourceError(self._remote.name, f"stream: {error}") from None
        raise SourceError(self._remote.name, "the stream was cut")

    async def close(self) -> None:
        pass


@dataclass
class Got:
    """What a feed gave: items in order, what it put aside, and how late each slice was, in seconds of the market."""

    items: list[Action | Jump | MarketSlice | Until] = field(default_factory=list)
    aside: list[tuple[BadBar, BadBar | None]] = field(default_factory=list)
    troubles: list[tuple[int, str]] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)

    def note(self, bar: BadBar, replacement: BadBar | None) -> None:
        self.aside.append((bar, replacement))

    @property
    def slices(self) -> list[MarketSlice]:
        return [i for i in self.items if isinstance(i, MarketSlice)]

    @property
    def actions(self) -> list[Action]:
        return [i for i in self.items if isinstance(i, Action)]

    def bars(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """(close, column, values) of all bars, in the order in which they were given."""
        out = []
        for s in self.slices:
            for c in np.flatnonzero(s.fresh).tolist():
                assert (s.open_nano[c], s.close_nano[c]) == (round(s.open[c] * NANO), round(s.close[c] * NANO))
                values = [round(float(p[c]) * 100) for p in (s.open, s.high, s.low, s.close)]
                out.append((s.ts_event, c, (*values, int(s.volume[c]))))
        return out

    def check_time(self, after: int) -> None:
        """Time only goes forward, an Until is kept, and nothing was known before it had happened."""
        last_until, newest = after, after
        for item in self.items:
            if isinstance(item, Until):
                assert item.ts >= max(last_until, newest), "time went back"
                last_until = item.ts
            elif isinstance(item, MarketSlice):
                assert item.ts_event >= newest
                assert item.ts_event > last_until or item.ts_event == newest == last_until, "a bar of before an Until"
                assert item.ts_seen >= item.ts_event
                newest = item.ts_event
            else:
                assert item.ts > last_until
                assert item.ts >= newest


def truth(true: Market, after: int, until: int) -> list[tuple[int, int, tuple[int, ...]]]:
    return [(b.event, b.column, b.values) for b in true.bars if after < b.event <= until]


def feed_of(source: Any, stream: Any, true: Market, clock: Clock, record: Got, grace: int, **more: Any) -> Live:
    more.setdefault("jitter", random.Random(0).random)
    return Live(
        source,
        stream,
        universe=true.universe,
        sessions=true.sessions,
        interval_ns=true.interval,
        grace_ns=grace,
        now=clock.now,
        sleep=clock.sleep,
        put_aside=record.note,
        **more,
    )


async def collect(feed: Live, clock: Clock, record: Got, after: int, until: int) -> Got:
    """Read the feed until it has said `until`."""
    items = feed.items(after)
    async for item in items:
        record.items.append(item)
        if isinstance(item, MarketSlice):
            record.waited_s.append((clock.now() - item.ts_event) / NANO)
        trouble = feed.trouble
        if not record.troubles or record.troubles[-1][1] != trouble:
            record.troubles.append((clock.now(), trouble))
        if isinstance(item, Until) and item.ts >= until:
            break
    await items.aclose()  # type: ignore[attr-defined]
    await feed.close()
    return record


class _Jump(selectors.DefaultSelector):
    """Never waits: what a loop would have slept is added to its time."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits for ever")
            self.loop.elapsed += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in which an hour of waiting takes no time, and every run is the same."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.elapsed


def virtually(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def place_of(true: Market, rows: Rows) -> BarTimes:
    return place_all(rows, true.universe, true.sessions, true.stamps, true.interval)
