"""The replay feed puts files on the true clock, merges them by instant and yields actions in their place."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.rows import exact_nano
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import read_actions
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.trading.events import Action
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import MarketSlice
from quantd.trading.sessions import Sessions
from tests.support.checkout import DATA
from tests.support.examples import examples

HEADER = "ts,symbol,open,high,low,close,volume"


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def calendars(first: int = 1998, last: int = 2025) -> dict[str, Sessions]:
    return {name: sessions(name, date(first, 1, 1), date(last, 12, 31)) for name in ("XNYS", "24/7")}


def universe(*symbols: str, house: str = "XNYS") -> Universe:
    kinds = [Instrument(s, calendar="24/7" if "BTC" in s or "ETH" in s else "XNYS") for s in symbols]
    return Universe(tuple(kinds), calendar=house)


def write(folder: Path, lines: Sequence[str], name: str = "bars.csv", header: str = HEADER) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def slices(feed: Replay) -> list[MarketSlice]:
    return [item for item in feed.items() if isinstance(item, MarketSlice)]


def test_bitcoin_and_an_etf_of_one_date_close_hours_apart(tmp_path: Path) -> None:
    path = write(tmp_path, ["2024-07-03,BTC-USD,10,11,9,10,5", "2024-07-03,SPY,10,11,9,10,5"])
    etf, crypto = slices(Replay.load(path, universe=universe("SPY", "BTC-USD"), sessions=calendars()))
    assert (etf.ts_event, crypto.ts_event) == (ns("2024-07-03 17:00"), ns("2024-07-04"))
    assert etf.key == crypto.key == ns("2024-07-03")
    assert etf.fresh.tolist() == [True, False]
    assert np.isnan(etf.close[1])
    assert etf.close_nano[1] == 0
    assert (etf.full, crypto.fresh.tolist()) == (False, [False, True])


def test_bars_of_one_instant_are_one_slice_in_the_columns_of_the_universe(tmp_path: Path) -> None:
    lines = ["2024-07-02,QQQ,20,21,19,20.5,7", "2024-07-02,SPY,10,11,9,10.5,5", "2024-07-02,XXX,1,1,1,1,1"]
    for order in (("SPY", "QQQ"), ("QQQ", "SPY")):
        (only,) = slices(Replay.load(write(tmp_path, lines), universe=universe(*order), sessions=calendars()))
        assert only.full
        at = {s: k for k, s in enumerate(order)}
        assert only.close[at["SPY"]] == 10.5
        assert only.open[at["QQQ"]] == 20.0
        assert only.volume[at["QQQ"]] == 7.0


def test_a_slice_opens_when_the_first_of_its_bars_opens(tmp_path: Path) -> None:
    lines = ["2024-07-02 13:00,BTC-USD,10,11,9,10,5", "2024-07-02 13:00,SPY,10,11,9,10,5"]
    (only,) = slices(
        Replay.load(
            write(tmp_path, lines),
            universe=universe("SPY", "BTC-USD"),
            sessions=calendars(),
            stamps="open",
            interval="1h",
        )
    )
    assert only.full
    assert (only.ts_open, only.ts_event) == (ns("2024-07-02 13:00"), ns("2024-07-02 14:00"))


@pytest.mark.parametrize(
    ("stamps", "interval", "stamp", "opened", "closed"),
    [
        ("open", "1h", "2024-07-02T14:00:00Z", "2024-07-02 14:00", "2024-07-02 15:00"),
        ("close", "1h", "2024-07-02 15:00", "2024-07-02 14:00", "2024-07-02 15:00"),
        ("open", "1h", "2024-07-02 13:00:00", "2024-07-02 13:30", "2024-07-02 14:00"),
        ("open", "1h", "2024-07-02 19:30:00", "2024-07-02 19:30", "2024-07-02 20:00"),
        ("open", "30s", "2024-07-02 19:59:30", "2024-07-02 19:59:30", "2024-07-02 20:00"),
        ("close", "1h", "2024-07-02T10:00:00-04:00", "2024-07-02 13:30", "2024-07-02 14:00"),
        ("open", "1d", "2024-07-03 13:30:00", "2024-07-03 13:30", "2024-07-03 17:00"),
        ("close", "1d", "2024-07-03 17:00:00", "2024-07-03 13:30", "2024-07-03 17:00"),
        ("close", "1d", "2024-07-03 20:00:00", "2024-07-03 13:30", "2024-07-03 17:00"),
        ("session", "1d", "2024-11-04", "2024-11-04 14:30", "2024-11-04 21:00"),
    ],
)
def test_each_way_of_stamping_finds_the_true_open_and_close(
    tmp_path: Path, stamps: str, interval: str, stamp: str, opened: str, closed: str
) -> None:
    path = write(tmp_path, [f"{stamp},SPY,10,11,9,10,100"])
    feed = Replay.load(path, universe=universe("SPY"), sessions=calendars(), stamps=stamps, interval=interval)
    (only,) = slices(feed)
    assert (only.ts_open, only.ts_event) == (ns(opened), ns(closed))


def test_prices_of_a_text_file_are_exact_to_the_ninth_digit(tmp_path: Path) -> None:
    lines = [
        "2024-07-02,SPY,0.100000001,0.2,0.1,0.123456789,1", "2024-07-02,QQQ,499999.999999999,5e5,400000,500000,1",
    ]  # fmt: skip
    (only,) = slices(Replay.load(write(tmp_path, lines), universe=universe("SPY", "QQQ"), sessions=calendars()))
    assert only.open_nano.tolist() == [100_000_001, 499_999_999_999_999]
    assert only.close_nano.tolist() == [123_456_789, 500_000_000_000_000]


@given(st.integers(1, 9_000_000_000_000), st.sampled_from([1, 1_000, 10_000_000]))
def test_the_float_of_a_short_decimal_gives_that_decimal(units: int, step: int) -> None:
    nano = units * step if units * step < 8_000_000 * 10**9 else units
    price = float(f"{nano // 10**9}.{nano % 10**9:09d}")
    assert exact_nano(np.array([price]))[0] == nano


def actions_file(folder: Path, lines: Sequence[str]) -> Path:
    return write(folder, lines, "actions.csv", "ts,symbol,kind,ratio,cash")


def test_an_action_comes_before_the_slice_of_its_session_and_after_the_bar_before(tmp_path: Path) -> None:
    bars = write(tmp_path, [f"2024-07-0{d},{s},10,11,9,10,{d}" for s in ("SPY", "BTC-USD") for d in (1, 2, 3)])
    acts = actions_file(
        tmp_path,
        [
            "2024-07-02,SPY,split,2:1,",
            "2024-07-02,SPY,dividend,,0.25",
            "2024-07-03,BTC-USD,split,1:1,",
            "2024-07-03,SPY,delisting,,0",
        ],
    )
    items = list(Replay.load(bars, universe=universe("SPY", "BTC-USD"), sessions=calendars(), actions=acts).items())
    kinds = [i.kind if isinstance(i, Action) else f"{i.ts_event - ns('2024-07-01'):.0e}" for i in items]
    assert [k for k in kinds if k in ("split", "dividend", "delisting")] == ["dividend", "split", "split", "delisting"]
    first = items[2]
    assert isinstance(first, Action)
    assert first == Action(ns("2024-07-02 13:30"), ns("2024-07-02"), 0, "dividend", 1, 1, 250_000_000)
    at_midnight = items[5]
    assert isinstance(at_midnight, MarketSlice)
    assert at_midnight.ts_event == ns("2024-07-03"), "the crypto day that ends at the action's instant is of before"
    assert isinstance(items[6], Action)
    assert [i.ts if isinstance(i, Action) else i.ts_event for i in items] == sorted(
        i.ts if isinstance(i, Action) else i.ts_event for i in items
    )


def test_actions_before_the_first_bar_and_after_the_last_are_left_out(tmp_path: Path) -> None:
    bars = write(tmp_path, [f"2024-07-0{d},SPY,10,11,9,10,{d}" for d in (2, 3)])
    lines = [f"2024-0{m}-03,SPY,dividend,,0.5" for m in (6, 7, 9)]
    feed = Replay.load(bars, universe=universe("SPY"), sessions=calendars(), actions=actions_file(tmp_path, lines))
    assert [a.key for a in feed.actions] == [ns("2024-07-03")]


def test_an_ex_date_without_a_session_acts_at_the_next_open(tmp_path: Path) -> None:
    bars = write(tmp_path, [f"2024-07-0{d},SPY,10,11,9,10,{d}" for d in (3, 5)])
    feed = Replay.load(
        bars,
        universe=universe("SPY"),
        sessions=calendars(),
        actions=actions_file(tmp_path, ["2024-07-04,SPY,dividend,,1"]),
    )
    assert [(a.ts, a.key) for a in feed.actions] == [(ns("2024-07-05 13:30"), ns("2024-07-04"))]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2024-07-02,SPY,split,four,", r"actions.csv:2.*\"four\""),
        ("2024-07-02,SPY,split,4:0,", r"actions.csv:2"),
        ("2024-07-02,SPY,dividend,,-1", r"actions.csv:2.*-1"),
        ("2024-07-02,SPY,dividend,,nan", r"nan"),
        ("2024-07-02,SPY,merger,,1", r"merger"),
        ("soon,SPY,dividend,,1", r"ex date"),
        ("2024-07-02,spy,dividend,,1", r"it has spy, and the universe has SPY"),
    ],
)
def test_a_line_of_actions_that_cannot_be_read_is_named(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(FeedError, match=says):
        read_actions(actions_file(tmp_path, [line]), universe("SPY"))


def test_the_warm_up_is_counted_in_samples_of_the_house(tmp_path: Path) -> None:
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(120)]
    lines = [f"{d},BTC-USD,10,11,9,10,{k}" for k, d in enumerate(days)]
    xnys = calendars()["XNYS"]
    lines += [f"{d},SPY,10,11,9,10,{k}" for k, d in enumerate(days) if ns(str(d)) in xnys.row_of_day]
    feed = Replay.load(
        write(tmp_path, lines), universe=universe("SPY", "BTC-USD"), sessions=calendars(),
        start=date(2024, 3, 4), end=date(2024, 4, 5), warmup=10,
    )  # fmt: skip
    house = [s.key for s in slices(feed) if s.fresh[0]]
    assert sum(k < feed.start_key for k in house) == 10
    assert feed.start_key == ns("2024-03-04")
    assert (house[0], house[-1]) == (ns("2024-02-16"), ns("2024-04-05"))
    assert slices(feed)[0].key == ns("2024-02-15"), "a bitcoin day that ends after the last sample left out"
    assert slices(feed)[-1].key == ns("2024-04-05")


@pytest.mark.parametrize("warmup", [0, 3, 7, 8, 20])
def test_the_warm_up_inside_the_day_is_counted_in_bars(tmp_path: Path, warmup: int) -> None:
    lines = [
        f"2024-07-0{d} {h}:00,SPY,10,11,9,10,{d * h}" for d in (1, 2, 3, 5) for h in range(13, 17 if d == 3 else 20)
    ]
    feed = Replay.load(
        write(tmp_path, lines), universe=universe("SPY"), sessions=calendars(), stamps="open", interval="1h",
        start=date(2024, 7, 5), warmup=warmup,
    )  # fmt: skip
    assert sum(s.ts_event < feed.start_key for s in slices(feed)) == min(warmup, 7 + 7 + 4)


@pytest.mark.long
@settings(max_examples=examples(30), deadline=None)
@given(st.data())
def test_items_from_a_slice_are_the_tail_of_all_items(data: st.DataObject) -> None:
    feed = Replay.load(
        DATA / "us_daily.parquet", universe=universe("AAPL"), sessions=calendars(), actions=DATA / "us_actions.csv",
        start=date(2012, 1, 3), end=date(2014, 12, 31),
    )  # fmt: skip
    first = data.draw(st.integers(0, feed.count))
    all_items = [(i.ts if isinstance(i, Action) else i.index) for i in feed.items()]
    tail = [(i.ts if isinstance(i, Action) else i.index) for i in feed.items(first)]
    assert all_items[len(all_items) - len(tail) :] == tail
    assert sum(isinstance(i, MarketSlice) for i in feed.items(first)) == feed.count - first


def test_the_digest_names_the_content_and_the_selection(tmp_path: Path) -> None:
    lines = [f"2024-07-0{d},SPY,10,11,9,10,{d}" for d in (1, 2, 3)]
    path = write(tmp_path, lines)

    def of(**changes: object) -> str:
        arguments: dict[str, object] = {"universe": universe("SPY"), "sessions": calendars(), **changes}
        return Replay.load(path, **arguments).digest  # type: ignore[arg-type]

    before = of()
    assert of() == before
    assert of(sessions=calendars(2000, 2026)) == before, "a longer horizon is not another market"
    assert len({before, of(start=date(2024, 7, 2)), of(warmup=1), of(adjusted=True), of(end=date(2024, 7, 2))}) == 5
    write(tmp_path, [*lines[:2], "2024-07-03,SPY,10,11,9,10.5,3"])
    assert of() != before


def test_quoted_text_spaces_and_a_comma_of_thousands_are_read(tmp_path: Path) -> None:
    lines = ['"2024-07-02"," SPY ","1,500.0", 1502 ,1499,1500,1', '2024-07-03,SPY,"1,501.5",1502,1500,1501,1']
    feed = Replay.load(write(tmp_path, lines), universe=universe("SPY"), sessions=calendars())
    assert [s.open_nano.tolist() for s in slices(feed)] == [[1_500_000_000_000], [1_501_500_000_000]]
    assert not feed.quarantined


@pytest.mark.parametrize(
    ("lines", "header", "says"),
    [
        (["2024-07-02,SPY,1,1,1,1"], "ts,symbol,open,high,close,volume", "low is missing"),
        (["2024-07-02,SPY,1"], "ts,symbol,adj_close", "no open to fill at"),
        (["2024-07-02,QQQ,1,1,1,1,1"], HEADER, "no bar of SPY"),
        ([], HEADER, "no bar of SPY"),
        (["2024-07-04,SPY,1,1,1,1,1"], HEADER, "mostly: session"),
        (["2024-07-02,SPY,x,1,1,1,1"], HEADER, "mostly: nan"),
    ],
)
def test_a_file_that_gives_no_market_is_refused_by_name(
    tmp_path: Path, lines: list[str], header: str, says: str
) -> None:
    path = write(tmp_path, lines, header=header)
    with pytest.raises(FeedError, match=says) as caught:
        Replay.load(path, universe=universe("SPY"), sessions=calendars())
    assert "bars.csv" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.long
def test_files_that_cannot_be_read_and_settings_that_contradict_are_refused(tmp_path: Path) -> None:
    good = write(tmp_path, ["2024-07-02,SPY,1,1,1,1,1"])
    broken = tmp_path / "broken.parquet"
    broken.write_bytes((DATA / "vix_daily.parquet").read_bytes()[:5000])
    acts = actions_file(tmp_path, [])
    cases: list[tuple[Path, dict[str, object], str]] = [
        (tmp_path / "none.parquet", {}, "no such file"),
        (broken, {}, "cannot be read as parquet"),
        (good, {"interval": "1h"}, "session"),
        (good, {"interval": "7w"}, "7w"),
        (good, {"adjusted": True, "actions": acts}, "already"),
        (good, {"start": date(2024, 7, 3), "end": date(2024, 7, 2)}, "before start"),
        (good, {"start": date(2024, 7, 5)}, "no bar between"),
        (good, {"sessions": {}}, "no sessions of XNYS"),
        (good, {"universe": universe("SPY", "QQQ")}, "no bar of QQQ"),
    ]
    for path, changes, says in cases:
        arguments: dict[str, object] = {"universe": universe("SPY"), "sessions": calendars(), **changes}
        with pytest.raises(FeedError, match=says):
            Replay.load(path, **arguments)  # type: ignore[arg-type]


@pytest.mark.requirement("R-013", "R-247")
def test_the_reference_set_has_its_514_sessions_and_its_dividends() -> None:
    feed = Replay.load(
        DATA / "seed4_daily.parquet", universe=universe("SPY", "TLT", "GLD", "BTC-USD"), sessions=calendars(),
        actions=DATA / "seed4_actions.csv", start=date(2022, 12, 14), end=date(2024, 12, 31), warmup=252,
    )  # fmt: skip
    keys = {s.key for s in slices(feed) if s.fresh[0] and s.key >= feed.start_key}
    assert len(keys) == 514
    assert sum(s.key < feed.start_key for s in slices(feed) if s.fresh[0]) == 252
    assert feed.quarantined == ()
    assert [a.cash_nano for a in feed.actions if a.symbol == 0][-1] == 1_966_000_000
    assert {a.symbol for a in feed.actions} == {0, 1}


def test_a_market_cut_at_an_instant_is_that_of_files_that_end_there(tmp_path: Path) -> None:
    days = ("2024-07-01", "2024-07-02", "2024-07-03", "2024-07-05")
    path = write(tmp_path, [f"{day},SPY,10,11,9,10,10{k}" for k, day in enumerate(days)])
    action = write(
        tmp_path, ["2024-07-02,SPY,dividend,,0.1", "2024-07-05,SPY,dividend,,0.1"], "a.csv", "ts,symbol,kind,ratio,cash"
    )
    feed = Replay.load(path, universe=universe("SPY"), sessions=calendars(), actions=action)
    ended = Replay.load(path, universe=universe("SPY"), sessions=calendars(), actions=action, end=date(2024, 7, 3))
    cut = feed.until(ns("2024-07-03 17:00"))
    assert [(s.ts_event, s.close.tolist()) for s in slices(cut)] == [
        (s.ts_event, s.close.tolist()) for s in slices(ended)
    ]
    assert cut.actions == ended.actions != feed.actions
    assert (cut.first_ts, cut.last_ts, cut.count) == (ended.first_ts, ended.last_ts, 3)
    assert cut.digest not in (feed.digest, feed.until(ns("2024-07-02 20:00")).digest)
    assert feed.until(ns("2024-07-03 16:59")).count == 2
    base = slices(cut)[0].block.close.base
    assert base is None or len(base) == 3  # nothing later can be reached from it
    with pytest.raises(ValueError, match="no bar is known"):
        feed.until(ns("2024-07-01 19:00"))
