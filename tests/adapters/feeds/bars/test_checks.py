"""Bad bars are put aside with their reason, good ones and real crashes pass, and nothing is invented."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import MarketSlice
from quantd.trading.sessions import Sessions
from tests.support.checkout import DATA

SYMBOLS = ("AAPL", "BAC", "IWM", "QQQ", "SPY")


def calendars() -> dict[str, Sessions]:
    return {name: sessions(name, date(1990, 1, 1), date(2025, 12, 31)) for name in ("XNYS", "24/7")}


def universe(*symbols: str, calendar: str = "XNYS") -> Universe:
    return Universe(tuple(Instrument(s, calendar=calendar) for s in symbols), calendar=calendar)


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def market(symbol: str = "SPY", first: int = 2003, last: int = 2006) -> pl.DataFrame:
    frame = pl.read_parquet(DATA / "us_daily.parquet")
    return frame.filter((pl.col("symbol") == symbol) & pl.col("ts").dt.year().is_between(first, last))


def load(folder: Path, frame: pl.DataFrame, actions: str = "", **settings: object) -> Replay:
    if actions:
        listed = folder / "actions.csv"
        listed.write_text("ts,symbol,kind,ratio,cash\n" + actions)
        settings["actions"] = listed
    symbols = tuple(frame["symbol"].unique(maintain_order=True).to_list())
    arguments: dict[str, object] = {"universe": universe(*symbols), "sessions": calendars(), **settings}
    return Replay.load(BarFrame(frame), **arguments)  # type: ignore[arg-type]


def set_row(frame: pl.DataFrame, row: int, **values: float | datetime) -> pl.DataFrame:
    there = pl.int_range(pl.len()) == row
    changes = [
        pl.when(there).then(pl.lit(v)).otherwise(pl.col(c)).cast(frame.schema[c]).alias(c) for c, v in values.items()
    ]
    return frame.with_columns(changes)


def scale(
    frame: pl.DataFrame, row: int, factor: float, columns: tuple[str, ...] = ("open", "high", "low", "close")
) -> pl.DataFrame:
    return set_row(frame, row, **{c: frame[c][row] * factor for c in columns})


def reasons(feed: Replay) -> Counter[str]:
    return Counter(bar.reason for bar in feed.quarantined)


ONE_BAD_VALUE: list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]] = [
    ("nan", lambda f: set_row(f, 500, close=float("nan"))),
    ("nan", lambda f: set_row(f, 500, volume=float("nan"))),
    ("infinite", lambda f: set_row(f, 500, high=float("inf"))),
    ("non_positive", lambda f: set_row(f, 500, low=0.0)),
    ("non_positive", lambda f: set_row(f, 500, open=-1.0)),
    ("volume", lambda f: set_row(f, 500, volume=-5.0)),
    ("volume", lambda f: set_row(f, 500, volume=f["volume"][500] * 1000)),
    ("crossed", lambda f: set_row(f, 500, high=f["low"][500] * 0.99)),
    ("crossed", lambda f: set_row(f, 500, low=f["close"][500] * 1.01)),
    ("session", lambda f: set_row(f, 500, ts=f["ts"][500].replace(hour=6))),
    ("spike", lambda f: scale(f, 500, 10.0)),
    ("spike", lambda f: scale(f, 500, 0.13)),
    ("spike", lambda f: scale(f, 500, 1.7)),
    ("spike", lambda f: scale(f, 500, 3.0, ("high",))),
    ("spike", lambda f: scale(f, 500, 0.05, ("low",))),
]


@pytest.mark.requirement("R-017")
@pytest.mark.quick_cases(8)
@pytest.mark.parametrize(("reason", "spoil"), ONE_BAD_VALUE)
def test_one_bad_bar_is_put_aside_alone_with_its_reason_and_its_values(
    tmp_path: Path, reason: str, spoil: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    spoiled = spoil(market())
    feed = load(tmp_path, spoiled)
    assert reasons(feed) == {reason: 1}
    (bar,) = feed.quarantined
    assert bar.symbol == "SPY"
    for name in ("open", "high", "low", "close", "volume"):
        assert getattr(bar, name) == pytest.approx(spoiled[name][500], nan_ok=True)
    assert feed.count == len(spoiled) - 1
    assert bar.ts_event not in {i.ts_event for i in feed.items() if isinstance(i, MarketSlice)}


def test_a_missing_value_and_a_word_in_a_text_file_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    lines = [
        "2024-07-02,SPY,,2,1,1,1",
        "2024-07-03,SPY,one,2,1,1,1",
        "2024-07-05,SPY,1,2,1,1",
        "2024-07-08,SPY,1,2,1,1,1",
    ]
    path.write_text("ts,symbol,open,high,low,close,volume\n" + "\n".join(lines) + "\nsoon,SPY,1,2,1,1,1\n")
    feed = Replay.load(path, universe=universe("SPY"), sessions=calendars())
    assert reasons(feed) == {"nan": 3, "stamp": 1}
    assert feed.count == 1


@pytest.mark.parametrize("price", ["0.0000000001", "10000000000", "1e300"])
def test_a_price_that_cannot_be_counted_exactly_is_no_price(tmp_path: Path, price: str) -> None:
    path = tmp_path / "bars.csv"
    lines = [f"2024-07-02,SPY,{price},{price},{price},{price},1", "2024-07-03,SPY,1,2,1,1,1"]
    path.write_text("ts,symbol,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    feed = Replay.load(path, universe=universe("SPY"), sessions=calendars())
    assert (reasons(feed), feed.count) == ({"non_positive": 1}, 1)


@pytest.mark.long
@pytest.mark.parametrize("files", [30, pytest.param(120, marks=pytest.mark.slow)])
def test_a_broken_file_gives_a_market_of_sound_bars_or_a_clear_refusal(tmp_path: Path, files: int) -> None:
    """Bytes of text files changed, and both kinds cut. (polars itself aborts on one in some hundreds of parquet
    files with changed bytes: out of memory, before anything can be caught.)"""
    rng = np.random.default_rng(11)
    frame = market()[:40]
    frame.write_parquet(tmp_path / "good.parquet")
    frame.write_csv(tmp_path / "good.csv")
    sessions_by_name, refused = calendars(), 0
    for n in range(files):
        name = "good.parquet" if n % 3 == 0 else "good.csv"
        data = bytearray((tmp_path / name).read_bytes())
        for _ in range(int(rng.integers(1, 6)) if name == "good.csv" else 0):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        cut = int(rng.integers(1, len(data))) if n % 3 == 0 or n % 5 == 0 else len(data)
        path = tmp_path / f"broken{Path(name).suffix}"
        path.write_bytes(data[:cut])
        try:
            feed = Replay.load(path, universe=universe("SPY"), sessions=sessions_by_name)
        except FeedError:
            refused += 1
            continue
        for item in feed.items():
            assert isinstance(item, MarketSlice)
            assert 0 < item.low[0] <= item.high[0] < np.inf
            assert item.open_nano[0] > 0
    assert files // 3 <= refused < 2 * files // 3


def test_rounding_noise_between_high_and_close_is_no_crossing(tmp_path: Path) -> None:
    frame = market()
    noisy = set_row(frame, 500, high=max(frame["open"][500], frame["close"][500]) * (1 - 1e-8))
    assert load(tmp_path, noisy).quarantined == ()


def test_of_two_bars_of_one_time_the_first_good_one_counts(tmp_path: Path) -> None:
    frame = market()
    double = pl.concat([frame[:501], frame[500:]])
    same = load(tmp_path, double)
    assert (same.quarantined, same.count) == ((), len(frame))
    double = set_row(double, 501, close=frame["close"][500] * (1 + 1e-6))
    assert reasons(load(tmp_path, double)) == {"duplicate": 1}
    first_bad = load(tmp_path, set_row(double, 500, close=float("nan")))
    assert reasons(first_bad) == {"nan": 1}
    assert first_bad.count == len(frame)


def test_a_bar_in_the_wrong_place_is_out_of_order_and_not_those_around_it(tmp_path: Path) -> None:
    frame = market()
    moved = pl.concat([frame[:100], frame[700:701], frame[100:700], frame[701:]])
    feed = load(tmp_path, moved)
    assert [(b.reason, b.ts) for b in feed.quarantined] == [("out_of_order", int(frame["ts"][700].timestamp()) * 10**9)]


def test_a_feed_that_repeats_itself_is_stale_from_the_third_repeat_on(tmp_path: Path) -> None:
    frame = market()
    bar = {c: frame[c][500] for c in ("open", "high", "low", "close", "volume")}
    for k in range(501, 507):
        frame = set_row(frame, k, **bar)
    feed = load(tmp_path, frame)
    assert reasons(feed) == {"stale": 4}
    assert [b.ts for b in feed.quarantined] == [int(t.timestamp()) * 10**9 for t in frame["ts"][503:507]]


def test_minutes_in_which_nothing_is_traded_are_not_stale(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    lines = [f"2024-07-02 {h:02d}:{m:02d},BTC,7,7,7,7,0" for h in range(2) for m in range(60)]
    path.write_text("ts,symbol,open,high,low,close,volume\n" + "\n".join(lines))
    feed = Replay.load(
        path, universe=universe("BTC", calendar="24/7"), sessions=calendars(), stamps="open", interval="1m"
    )
    assert (feed.quarantined, feed.count) == ((), 120)


def test_even_in_a_wild_market_no_price_goes_up_tenfold_in_a_bar() -> None:
    wild = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.12, 400)))
    wild[300] *= 10.0
    stamps = pl.Series("ts", np.array(calendars()["24/7"].day_ns[9000:9400]))
    prices = dict.fromkeys(("open", "high", "low", "close"), wild)
    frame = pl.DataFrame(
        {"ts": pl.from_epoch(stamps, "ns"), "symbol": "BTC", **prices, "volume": np.arange(400.0) + 500}
    )
    feed = Replay.load(BarFrame(frame), universe=universe("BTC", calendar="24/7"), sessions=calendars())
    assert [(b.reason, b.close) for b in feed.quarantined] == [("spike", wild[300])]


def test_a_split_that_no_action_announces_is_reported_with_its_ratio_and_rejects_no_bar(tmp_path: Path) -> None:
    frame = market("AAPL", 2014, 2015)  # 7:1 on 2014-06-09
    split_day = int(frame["ts"].search_sorted(datetime(2014, 6, 9, tzinfo=UTC)))
    feed = load(tmp_path, frame)
    assert (feed.quarantined, feed.count) == ((), len(frame))
    (jump,) = feed.jumps
    assert (jump.ts_open, jump.ts) == (ns("2014-06-09 13:30"), ns("2014-06-09 20:00"))
    assert jump.before_nano == round(frame["close"][split_day - 1] * 10**9)
    assert jump.after_nano == round(frame["open"][split_day] * 10**9)
    assert (jump.symbol, jump.numerator, jump.denominator) == (0, 7, 1)
    for line in ("2014-06-09,AAPL,split,7:1,\n", "2014-06-09,AAPL,split,1:1,\n"):
        announced_feed = load(tmp_path, frame, line)
        assert (announced_feed.quarantined, announced_feed.jumps) == ((), ()), line
    assert load(tmp_path, frame, "2014-07-01,AAPL,split,1:1,\n").jumps == (jump,), "an action of another day"
    assert load(tmp_path, frame, adjusted=True).jumps == (), "every move of adjusted prices is real"
    assert feed.until(jump.ts).jumps == (jump,)
    assert feed.until(jump.ts - 1).jumps == ()


def test_an_announced_ratio_that_does_not_fit_the_price_is_no_explanation(tmp_path: Path) -> None:
    frame = market("AAPL", 2014, 2015)
    wrong = load(tmp_path, frame, "2014-06-09,AAPL,split,2:1,\n")
    assert reasons(wrong) == {"spike": 2}
    assert wrong.jumps == (), "3.5 is no usual ratio"


@pytest.mark.long
def test_a_split_on_the_day_after_a_bad_print_is_compared_with_the_last_accepted_close(tmp_path: Path) -> None:
    frame = scale(market(), 499, 9.3)
    for k in range(500, len(frame)):
        frame = scale(frame, k, 0.5)
    feed = load(tmp_path, frame)
    assert reasons(feed) == {"spike": 1}
    (jump,) = feed.jumps
    assert jump.before_nano == round(frame["close"][498] * 10**9)
    assert (jump.numerator, jump.denominator) == (2, 1)


def test_a_bar_from_tomorrow_is_put_aside_when_the_time_is_known(tmp_path: Path) -> None:
    frame = market()
    feed = load(tmp_path, frame, now=ns("2006-12-28 21:00"))
    assert reasons(feed) == {"future": 1}
    assert feed.last_ts == ns("2006-12-28 21:00")


@pytest.mark.long
def test_bars_of_extended_hours_are_left_out_and_counted_and_those_of_a_closed_day_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    stamps = ["2024-07-02 12:00", "2024-07-02 13:00", "2024-07-02 19:00", "2024-07-02 21:00", "2024-07-04 15:00"]
    path.write_text(
        "ts,symbol,open,high,low,close,volume\n" + "\n".join(f"{s},SPY,1,2,1,1,{k}" for k, s in enumerate(stamps))
    )
    feed = Replay.load(path, universe=universe("SPY"), sessions=calendars(), stamps="open", interval="1h")
    assert (feed.count, feed.extended) == (2, 2)
    assert reasons(feed) == {"session": 1}


@pytest.mark.long
def test_real_crashes_and_rallies_pass_and_real_bad_prints_do_not() -> None:
    us = Replay.load(
        DATA / "us_daily.parquet", universe=universe(*SYMBOLS), sessions=calendars(), actions=DATA / "us_actions.csv"
    )
    assert [(b.symbol, b.ts) for b in us.quarantined] == [
        ("IWM", ns("2008-09-19")), ("AAPL", ns("2009-09-21")), ("AAPL", ns("2010-08-31")), ("AAPL", ns("2011-01-03")),
    ]  # fmt: skip
    assert us.jumps == ()
    crypto = Replay.load(
        DATA / "crypto_daily.parquet", universe=universe("BTC-USD", "ETH-USD", calendar="24/7"), sessions=calendars()
    )
    assert crypto.quarantined == ()
    vix = Replay.load(DATA / "vix_daily.parquet", universe=universe("VIX"), sessions=calendars())
    assert reasons(vix) == {"crossed": 47, "session": 20, "spike": 1}, "VIX opened at 75 on 2004-11-08, it is said"
    assert any(i.key == ns("2018-02-05") for i in vix.items() if isinstance(i, MarketSlice)), "+116 %"


def test_a_crisis_is_a_bad_print_unless_spikes_are_real(tmp_path: Path) -> None:
    """The rescue of a bank: the low is a third of its close; next day half of the range; then a bad print of a day."""
    frame = market()
    crash = set_row(frame, 500, open=frame["close"][499] * 0.6, low=frame["close"][499] * 0.2)
    crash = scale(crash, 700, 5.0)
    rejected = load(tmp_path, crash)
    assert reasons(rejected) == {"spike": 2}
    assert rejected.spikes == ()
    real = load(tmp_path, crash, spikes="real")
    assert (real.quarantined, real.count) == ((), len(frame))
    assert real.spikes == rejected.quarantined
    assert real.digest != rejected.digest
    assert real.until(real.spikes[0].ts_event).spikes == real.spikes[:1]


@pytest.mark.long
def test_every_check_looks_backwards_only(tmp_path: Path) -> None:
    frame = market()
    for row, factor in ((300, 10.0), (500, 0.5), (501, 0.5), (700, 1.9)):
        frame = scale(frame, row, factor)
    frame = set_row(frame, 400, volume=1e12)
    loaded = load(tmp_path, frame)
    all_rejections = {(b.ts, b.reason) for b in loaded.quarantined}
    assert loaded.jumps
    for cut in (299, 301, 401, 501, 502, 503, 600, 701, 702, 900):
        early = load(tmp_path, frame[:cut])
        limit = int(frame["ts"][cut].timestamp()) * 10**9
        assert {(b.ts, b.reason) for b in early.quarantined} == {b for b in all_rejections if b[0] < limit}
        assert early.jumps == tuple(j for j in loaded.jumps if j.ts_open < limit)
