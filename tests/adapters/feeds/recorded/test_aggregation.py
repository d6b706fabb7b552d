"""[feed] build_from: bars out of files of trades and of finer bars, and out of a vendor's finer ones."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from aiohttp import web

from quantd.adapters.feeds.bars.rows import Rows
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.wrappers.interval import Resampled
from quantd.daemon.assembly.names import known_names, mistakes_of
from quantd.daemon.assembly.parts import assemble_live
from quantd.daemon.config import read
from quantd.daemon.live.connect import feed_of
from quantd.trading.market import MarketSlice
from tests.support.command_line import quantd
from tests.support.vendor import MINUTE, calendars, market, ns, rows_of, universe
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData

CALENDARS = calendars()
HALF_DAY = ns("2024-07-03")
OPEN, CLOSE = HALF_DAY + (13 * 60 + 30) * MINUTE, HALF_DAY + 17 * 60 * MINUTE
NAMES = universe("SPY", "QQQ")


def minutes(path: Path, spoil: int | None = None) -> pl.DataFrame:
    """Every minute of an early close, of two symbols; of one of them SPY's high is no price."""
    rng = np.random.default_rng(4)
    rows = []
    for symbol, price in (("SPY", 550.0), ("QQQ", 480.0)):
        for k, ts in enumerate(range(OPEN, CLOSE, MINUTE)):
            close = round(price + float(rng.normal(0, 0.2)), 2)
            high = -1.0 if symbol == "SPY" and k == spoil else max(price, close) + 0.05
            rows.append((ts, symbol, price, high, min(price, close) - 0.05, close, 100.0 + k))
            price = close
    frame = pl.DataFrame(rows, ["ts", "symbol", "open", "high", "low", "close", "volume"], orient="row")
    frame = frame.with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC")))
    frame.write_parquet(path)
    return frame


def load(path: Path, interval: str, build_from: str, **more: object) -> Replay:
    return Replay.load(
        path, universe=NAMES, sessions=CALENDARS, stamps="open", interval=interval, build_from=build_from, **more
    )  # type: ignore[arg-type]


def slices(feed: Replay) -> list[MarketSlice]:
    return [item for item in feed.items() if isinstance(item, MarketSlice)]


@pytest.mark.long
def test_hours_of_a_file_of_minutes_end_with_the_early_close_and_hold_what_their_minutes_hold(tmp_path: Path) -> None:
    frame = minutes(tmp_path / "m.parquet")
    got = slices(load(tmp_path / "m.parquet", "1h", "1m"))
    assert [s.ts_event for s in got] == [OPEN + 60 * MINUTE, OPEN + 120 * MINUTE, OPEN + 180 * MINUTE, CLOSE]
    for number, bar_slice in enumerate(got):
        for column, symbol in enumerate(NAMES.symbols):
            of = frame.filter(pl.col("symbol") == symbol)[60 * number : 60 * number + 60]
            assert bar_slice.open[column] == of["open"][0]
            assert bar_slice.close[column] == of["close"][-1]
            assert bar_slice.high[column] == of["high"].max()
            assert bar_slice.low[column] == of["low"].min()
            assert bar_slice.volume[column] == of["volume"].sum()
    (day,) = slices(load(tmp_path / "m.parquet", "1d", "1m"))
    assert (day.ts_open, day.ts_event) == (OPEN, CLOSE)


@pytest.mark.long
def test_a_bad_minute_is_put_aside_by_itself_and_its_bar_is_made_of_the_others(tmp_path: Path) -> None:
    minutes(tmp_path / "good.parquet")
    minutes(tmp_path / "bad.parquet", spoil=70)
    good, bad = (load(tmp_path / f"{name}.parquet", "1h", "1m") for name in ("good", "bad"))
    assert [(b.ts, b.symbol, b.reason) for b in bad.quarantined] == [(OPEN + 70 * MINUTE, "SPY", "non_positive")]
    assert good.quarantined == ()
    assert slices(bad)[1].volume[0] == slices(good)[1].volume[0] - 170.0
    assert slices(bad)[1].close.tolist() == slices(good)[1].close.tolist()


def test_of_trades_the_one_at_the_very_close_is_in_and_a_bad_one_is_named(tmp_path: Path) -> None:
    rows = [
        (OPEN, "SPY", "550.01", "10"), (OPEN + 1, "QQQ", "480.5", "1"), (OPEN + 5 * MINUTE, "SPY", "551.25", "3"),
        (OPEN + 5 * MINUTE, "SPY", "551.25", "3"), (OPEN + 6 * MINUTE, "SPY", "0", "3"),
        (CLOSE, "SPY", "552.000000001", "7"),
        (CLOSE + 1, "SPY", "600", "9"), (CLOSE, "QQQ", "481.5", "2"),
    ]  # fmt: skip
    text = [
        f"{datetime.fromtimestamp(ts // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ts % 10**9:09d}Z,{s},{p},{q}"
        for ts, s, p, q in rows
    ]
    (tmp_path / "t.csv").write_text("\n".join(["ts,symbol,price,size", *text]))
    feed = load(tmp_path / "t.csv", "1d", "trades")
    (day,) = slices(feed)
    assert (day.open_nano.tolist(), day.close_nano.tolist()) == (
        [550_010_000_000, 480_500_000_000],
        [552_000_000_001, 481_500_000_000],
    )
    assert day.volume.tolist() == [23.0, 3.0]
    assert [(b.ts, b.reason) for b in feed.quarantined] == [(OPEN + 6 * MINUTE, "non_positive")]
    assert feed.extended == 1
    five = slices(load(tmp_path / "t.csv", "5m", "trades"))
    assert [s.ts_event for s in five] == [OPEN + 5 * MINUTE, OPEN + 10 * MINUTE, CLOSE]
    assert five[1].fresh.tolist() == [True, False], "silence gives no bar"


@pytest.mark.long
def test_another_way_of_building_is_another_market(tmp_path: Path) -> None:
    minutes(tmp_path / "m.parquet")
    assert load(tmp_path / "m.parquet", "1h", "1m").digest != load(tmp_path / "m.parquet", "1h", "").digest
    with pytest.raises(FeedError, match="do not add up"):
        load(tmp_path / "m.parquet", "1h", "7m")
    with pytest.raises(FeedError, match="column price, size is missing"):
        load(tmp_path / "m.parquet", "1h", "trades")


TEXT = """
[quantd]
state = "state"
[universe]
symbols = ["SPY", "QQQ"]
[feed]
kind = "{kind}"
path = "m.parquet"
stamps = "open"
interval = "30m"
build_from = "{build_from}"
warmup = 1
{more}
[broker]
cash = "100000.00"
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.9
profile = "research"
[risk]
profile = "research"
"""


@pytest.mark.long
def test_a_backtest_of_minutes_by_the_half_hour(tmp_path: Path) -> None:
    minutes(tmp_path / "m.parquet")
    (tmp_path / "config.toml").write_text(TEXT.format(kind="replay", build_from="1m", more=""))
    done = quantd(tmp_path, "backtest", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["slices"] == 7


@pytest.mark.parametrize(
    ("kind", "build_from", "said"),
    [
        ("replay", "1m", ""),
        ("replay", "trades", ""),
        ("replay", "30m", "does not divide"),
        ("replay", "7m", "does not divide"),
        ("alpaca", "trades", "needs a replay of a file of trades"),
        ("alpaca", "5m", ""),
    ],
)
def test_what_cannot_be_built_is_a_mistake_with_its_line(kind: str, build_from: str, said: str) -> None:
    mistakes = [
        str(m) for m in mistakes_of(read(TEXT.format(kind=kind, build_from=build_from, more=""), known_names()))
    ]
    assert bool(mistakes) == bool(said)
    assert all("build_from" in text and said in text for text in mistakes)


async def test_a_vendors_minutes_become_a_live_feeds_five_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the wire: history by asking, and the vendor's stream of minutes, which bars of five minutes do not have."""
    monkeypatch.setenv("QUANTD_ALPACA_KEY", KEY)
    monkeypatch.setenv("QUANTD_ALPACA_SECRET", SECRET)
    data = AlpacaData()
    runner = web.AppRunner(data.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    now = int(time.time()) // 300 * 300
    for k in range(-60, 0):
        stamp = datetime.fromtimestamp(now + 60 * k, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        price = 1000 + k
        data.crypto.setdefault("BTC/USD", []).append(
            (stamp, f"{price}.00", f"{price}.50", f"{price - 1}.50", f"{price}.25", "2")
        )
    text = TEXT.format(kind="alpaca", build_from="1m", more=f'url = "http://127.0.0.1:{runner.addresses[0][1]}"')
    text = text.replace('["SPY", "QQQ"]', '["BTC/USD"]\ncalendar = "24/7"').replace('"30m"', '"5m"')
    parts = assemble_live(read(text, known_names()), now * 10**9)
    feed = feed_of(parts, tmp_path, lambda bad, given: None)
    got: list[MarketSlice] = []
    async with asyncio.timeout(20):
        async for item in feed.items((now - 1800) * 10**9):
            if isinstance(item, MarketSlice):
                got.append(item)
            if len(got) >= 6 and data.sockets:
                break
    await feed.close()
    await runner.cleanup()
    assert [s.ts_event // 10**9 for s in got[:6]] == [now - 1800 + 300 * k for k in range(1, 7)]
    for number, bar_slice in enumerate(got[:6]):
        first = 970 + 5 * number
        values = bar_slice.open[0], bar_slice.high[0], bar_slice.low[0], bar_slice.close[0], bar_slice.volume[0]
        assert values == (first, first + 4.5, first - 0.5, first + 4.25, 10.0)


def test_a_bar_whose_last_minute_is_missing_waits_until_the_vendor_cannot_be_late_any_more() -> None:
    opened = ns("2024-07-02 13:30")
    true = market(5, ("SPY",), opened, opened + 10 * MINUTE)
    early_bars = [b for b in true.bars if b.opens != opened + 4 * MINUTE]

    class Late:
        """A vendor that does not have the fifth minute yet."""

        name, stamps, adjusted = "late", "open", False

        async def bars(self, start_ns: int, end_ns: int) -> Rows:
            return rows_of(true, early_bars)

    def asked(at: int) -> list[int]:
        resampler = Resampled(
            Late(),
            true.universe,
            true.sessions,
            5 * MINUTE,
            MINUTE,
            now=lambda: at,
            settle_ns=MINUTE,  # type: ignore[arg-type]
        )
        return asyncio.run(resampler.bars(opened, opened + 10 * MINUTE)).ts.tolist()

    assert asked(opened + 5 * MINUTE) == [opened + 5 * MINUTE]
    assert asked(opened + 6 * MINUTE - 1) == [opened + 5 * MINUTE]
    assert asked(opened + 6 * MINUTE) == [opened, opened + 5 * MINUTE]
