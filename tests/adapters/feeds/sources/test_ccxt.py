"""Bars of a crypto exchange: exact, paged, with their gaps, the unfinished one by its stamp, and as they are made."""

import asyncio
import importlib
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib.util import find_spec

import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.exchange.client import Access
from quantd.adapters.feeds.bars.rows import Rows
from quantd.adapters.feeds.live.feed import Live
from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.sources.ccxt import CryptoSource, CryptoStream, by_stamp
from quantd.adapters.feeds.vendor import Request
from quantd.daemon.assembly.feeds import stream_of
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.market import MarketSlice
from tests.proofs.conformance.rigs.ccxt import ASSETS, MARKETS
from tests.support.running_server import running_server
from tests.support.venues.kraken import Exchange

pytestmark = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")

DAY = 86_400
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
UNIVERSE = Universe((Instrument("BTC/USD", calendar="24/7"), Instrument("SOL-USD", calendar="24/7")), calendar="24/7")


venue = running_server(lambda: Exchange((replace(pair, bars=[]) for pair in MARKETS), ASSETS, lambda: START * NANO))


def source(
    venue: Exchange, interval: str = "1d", universe: Universe = UNIVERSE, timeout_s: float = 0.5
) -> CryptoSource:
    return CryptoSource(Access("kraken", url=venue.url, timeout_s=timeout_s, per_minute=0), universe, interval)


def fill(venue: Exchange, count: int, step: int = DAY, without: tuple[int, ...] = ()) -> None:
    for pair in ("XXBTZUSD", "SOLUSD"):
        venue.pairs[pair].bars = [
            (
                START + k * step,
                f"{100 + k}.10",
                f"{102 + k}.00",
                f"{99 + k}.00",
                f"{101 + k}.123456789",
                f"0.{k + 1:08d}",
            )
            for k in range(count)
            if k not in without
        ]


async def taken(source: CryptoSource, first: int, last: int, step: int = DAY) -> Rows:
    return await source.bars((START + first * step) * NANO, (START + last * step) * NANO)


async def test_bars_are_exact_and_stamped_with_their_open(venue: Exchange) -> None:
    fill(venue, 5)
    bars = source(venue)
    rows = await taken(bars, 1, 4)
    await bars.close()
    assert bars.stamps == "open"
    assert not bars.adjusted
    assert rows.ts.tolist() == [(START + k * DAY) * NANO for k in (1, 1, 2, 2, 3, 3)]
    assert rows.column.tolist() == [0, 1] * 3
    assert rows.open_nano.tolist()[::2] == [(101 + k) * NANO + NANO // 10 for k in range(3)]
    assert rows.close_nano.tolist()[::2] == [(102 + k) * NANO + 123_456_789 for k in range(3)]
    assert rows.volume.tolist()[::2] == [2e-8, 3e-8, 4e-8]
    assert rows.high.tolist()[0] == 103.0
    assert rows.low.tolist()[0] == 100.0
    assert await bars.actions(0, 2**62) == []


async def test_a_history_is_read_page_after_page_over_its_gaps(venue: Exchange) -> None:
    fill(venue, 1000, step=60, without=tuple(range(300, 420)))
    venue.bars_forward = 100
    bars = source(venue, "1m")
    rows = await taken(bars, 5, 900, step=60)
    await bars.close()
    expected = [k for k in range(5, 900) if not 300 <= k < 420]
    for column in (0, 1):
        mine = rows.ts[rows.column == column]
        assert [(ts // NANO - START) // 60 for ts in mine.tolist()] == expected


async def test_what_the_exchange_no_longer_has_is_not_made_up(venue: Exchange) -> None:
    fill(venue, 1000)
    bars = source(venue)
    rows = await taken(bars, 0, 1000)
    await bars.close()
    assert len(rows) == 2 * 720
    assert rows.ts.min() == (START + 280 * DAY) * NANO


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "again"),
    [
        ("429", True),
        ("429 bare", True),
        ("500", True),
        ("503", True),
        ("time-out before", True),
        ("reset before", True),
    ],
)
async def test_what_goes_wrong_says_whether_asking_again_may_help(venue: Exchange, fault: str, again: bool) -> None:
    fill(venue, 3)
    bars = source(venue)
    await taken(bars, 0, 3)
    venue.misbehave(fault, ("OHLC",), 8)  # aiohttp puts a lost GET once more by itself
    with pytest.raises(SourceError) as wrong:
        await taken(bars, 0, 3)
    assert wrong.value.again is again
    assert wrong.value.source == "kraken"
    if fault == "429":
        assert wrong.value.after_s == 0.05
    venue.misbehaviours.clear()
    assert len(await taken(bars, 0, 3)) == 6
    await bars.close()


async def test_a_symbol_or_an_interval_that_does_not_exist_is_named_with_a_remedy(venue: Exchange) -> None:
    with pytest.raises(SourceError, match="NOPE/USD is no market") as wrong:
        await taken(source(venue, universe=Universe((Instrument("NOPE/USD"),))), 0, 1)
    assert not wrong.value.again
    with pytest.raises(SourceError, match=r"no bars of 3m.*1m, 5m") as wrong:
        await taken(source(venue, "3m"), 0, 1)
    assert not wrong.value.again


async def test_a_bar_that_cannot_be_read_is_no_bar(venue: Exchange) -> None:
    fill(venue, 3)
    ts, *values = venue.pairs["XXBTZUSD"].bars[1]
    venue.pairs["XXBTZUSD"].bars[1] = (ts, "n/a", *values[1:])
    bars = source(venue)
    with pytest.raises(SourceError, match="cannot be read"):
        await taken(bars, 0, 3)
    await bars.close()


async def test_bars_are_heard_as_they_are_made_and_again_when_they_change(venue: Exchange) -> None:
    fill(venue, 3, step=60)
    bars = source(venue, "1m", Universe((Instrument("BTC/USD"),)))
    await taken(bars, 0, 3, step=60)
    stream = CryptoStream(bars).bars()
    first = await anext(stream)
    assert (first.ts // NANO).max() == START + 120
    await venue.bar("BTC/USD", (START + 180, "110.5", "111.5", "109.5", "110.75", "0.5"))
    rows = await anext(stream)
    assert (rows.ts.tolist(), rows.close_nano.tolist()) == ([(START + 180) * NANO], [110_750_000_000])
    await venue.bar("BTC/USD", (START + 180, "110.5", "112.25", "109.5", "112.25", "0.75"))
    rows = await anext(stream)
    assert (rows.ts.tolist(), rows.close_nano.tolist()) == ([(START + 180) * NANO], [112_250_000_000])
    assert (rows.high.tolist(), rows.volume.tolist()) == ([112.25], [0.75])
    await stream.aclose()
    await bars.close()


async def test_a_lost_stream_is_an_error_and_a_new_one_goes_on(venue: Exchange) -> None:
    fill(venue, 3, step=60)
    bars = source(venue, "1m", Universe((Instrument("BTC/USD"),)))
    stream = CryptoStream(bars).bars()
    await anext(stream)
    await venue.cut()
    with pytest.raises(SourceError) as wrong:
        await anext(stream)
    assert wrong.value.again
    stream = CryptoStream(bars).bars()
    await anext(stream)
    await venue.bar("BTC/USD", (START + 180, "110.5", "111.5", "109.5", "110.75", "0.5"))
    rows = await anext(stream)
    assert rows.ts.tolist() == [(START + 180) * NANO]
    await stream.aclose()
    await bars.close()


@pytest.mark.parametrize(
    ("text", "nano"), [("1234567.123456789", 1_234_567_123_456_789), ("0.0000000001", 0), ("10000000000", 0)]
)
def test_a_price_is_exact_from_its_text_or_no_price(text: str, nano: int) -> None:
    bars = CryptoSource(Access("kraken"), UNIVERSE, "1d")
    rows = by_stamp([bars.bar(0, [2, text, "2", "1", text, "3"]), bars.bar(1, [1, text, "2", "1", text, "3"])])
    assert rows.open_nano.tolist() == rows.close_nano.tolist() == [nano, nano]
    assert (rows.ts.tolist(), rows.column.tolist()) == ([1_000_000, 2_000_000], [1, 0])


@pytest.mark.long
async def test_a_live_feed_that_listens_gives_each_minute_once_as_it_was_in_the_end(
    venue: Exchange,
) -> None:
    """Over the wire at thirty times the speed: the exchange sends the bar in the making with each change, the last ones
    late."""
    universe = Universe((Instrument("BTC/USD", calendar="24/7"),), calendar="24/7")
    history, pushed = 8 * 60, 4
    fill(venue, history, step=60)
    venue.pairs["XXBTZUSD"].bars = [(*bar[:5], "60.0") for bar in venue.pairs["XXBTZUSD"].bars]
    importlib.import_module("ccxt.pro")  # it takes seconds, which are minutes here
    clock = Clock(START + 60 * history, scale=30.0)
    calendar = {"24/7": sessions("24/7", date(2025, 12, 1), date(2026, 2, 1))}
    stream = stream_of("ccxt", Request(universe, "1m", url=venue.url, venue="kraken"))
    assert stream is not None
    aside: list[str] = []
    feed = Live(
        source(venue, "1m", universe, timeout_s=5.0), stream, universe=universe, sessions=calendar,
        interval_ns=60 * NANO,
        grace_ns=30 * NANO, now=clock, sleep=clock.sleep, beat_s=3.0,
        put_aside=lambda bad, given: aside.append(bad.reason),
    )  # fmt: skip

    async def trade() -> None:
        for k in range(history, history + pushed + 1):
            open_s = START + 60 * k
            for share in (5, 30, 58):
                await clock.until(open_s + share)
                text = f"{100 + k}.10", f"{102 + k}.00", f"{99 + k}.00", f"{101 + k}.{share:02d}", f"{share}.0"
                await venue.bar("BTC/USD", (open_s, *text))
            # the last change is said after the close
            await clock.until(open_s + 61)
            last = f"{100 + k}.10", f"{103 + k}.00", f"{99 + k}.00", f"{101 + k}.99", "60.0"
            await venue.bar("BTC/USD", (open_s, *last))

    trading = asyncio.create_task(trade())
    got: list[tuple[int, float, float]] = []
    async with asyncio.timeout(30):
        async for item in feed.items((START + 60 * history) * NANO):
            if isinstance(item, MarketSlice):
                got.append((item.ts_event // NANO, float(item.close[0]), float(item.volume[0])))
            if len(got) >= pushed:
                break
    trading.cancel()
    await feed.close()
    assert got == [(START + 60 * (k + 1), 101.99 + k, 60.0) for k in range(history, history + pushed)]
    assert aside == []


class Clock:
    """UTC in ns, quick, from `seconds` on."""

    def __init__(self, seconds: int, scale: float) -> None:
        self._from, self._scale, self._began = seconds * NANO, scale, time.monotonic_ns()

    def __call__(self) -> int:
        return self._from + int((time.monotonic_ns() - self._began) * self._scale)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._scale)

    async def until(self, seconds: int) -> None:
        await self.sleep(max(0.0, seconds - self() / NANO))


def test_only_who_sends_bars_is_listened_to() -> None:
    assert stream_of("ccxt", Request(UNIVERSE, "5m", venue="kraken")) is not None
    assert stream_of("yfinance", Request(UNIVERSE, "1m")) is None
    assert stream_of("alpaca", Request(UNIVERSE, "5m")) is None
