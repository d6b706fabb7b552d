"""Yahoo through yfinance itself, against answers of recorded shape: prices are what was paid, and failures are
failures."""

import sqlite3
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.rows import ActionRow
from quantd.adapters.feeds.recorded.bar_files import read_actions, read_bars
from quantd.adapters.feeds.source import PartialAnswer, SourceError
from quantd.adapters.feeds.sources.yfinance import YahooSource, factors, paid, spelled
from quantd.trading.instruments import BY_SUFFIX, NANO, OTHER_SUFFIXES, Instrument, Universe, calendar_of
from quantd.trading.sessions import DAY_NS
from tests.support.checkout import DATA
from tests.support.command_line import program, quantd
from tests.support.examples import examples
from tests.support.memory_source import keeps_its_promises
from tests.support.venues.served import served
from tests.support.venues.yahoo import Listing, Yahoo, home, utc

AAPL = Universe((Instrument("AAPL"),))


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NANO


def day(ts_ns: int) -> date:
    return datetime.fromtimestamp(ts_ns // NANO, UTC).date()


def recorded(symbol: str, first: int = 2012) -> Listing:
    """A symbol of the bundled market as Yahoo would list it."""
    frame = pl.read_parquet(DATA / "us_daily.parquet")
    frame = frame.filter((pl.col("symbol") == symbol) & (pl.col("ts").dt.year() >= first))
    bars = [(ts.date(), *values) for ts, *values in frame.drop("symbol").iter_rows()]
    actions = read_actions(DATA / "us_actions.csv", Universe((Instrument(symbol),)))
    return Listing(
        bars,
        [(day(a.day_ns), a.numerator, a.denominator) for a in actions if a.kind == "split"],
        [(day(a.day_ns), f"{a.cash_nano / NANO:.9f}") for a in actions if a.kind == "dividend"],
    )


@pytest.fixture(scope="module")
def cookies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("yfinance")


@contextmanager
def yahoo(venue: Yahoo) -> Iterator[str]:
    with served(venue.app()) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def asking(
    venue: Yahoo, cookies: Path, *, universe: Universe = AAPL, interval: str = "1d", **more: Any
) -> AsyncIterator[YahooSource]:
    """A source whose vendor is this one."""
    with yahoo(venue) as gateway:
        source = YahooSource(universe, interval, gateway=gateway, cookies=cookies, **more)
        yield source
        await source.close()


async def test_prices_and_dividends_of_before_two_splits_are_what_was_paid_then(cookies: Path) -> None:
    """Yahoo has divided them by 28 and by 4 and rounded to seven digits; the bundled file has the truth."""
    start, end = ns("2012-01-01"), ns("2021-04-01")
    async with asking(Yahoo({"AAPL": recorded("AAPL")}), cookies) as source:
        with warnings.catch_warnings(record=True) as said:
            rows, actions = await source.bars(start, end), await source.actions(start, end)
    assert not said
    truth = read_bars((DATA / "us_daily.parquet",), AAPL)
    truth = truth.take(truth.ts >= start)
    assert len(rows) == len(truth) > 2000
    for name in ("ts", "open_nano", "close_nano", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(truth, name), err_msg=name)
    expected = [a for a in read_actions(DATA / "us_actions.csv", AAPL) if a.day_ns >= start]
    assert len(actions) == len(expected)
    for mine, theirs in zip(actions, expected, strict=True):
        assert (mine.day_ns, mine.kind, mine.numerator) == (theirs.day_ns, theirs.kind, theirs.numerator)
        assert abs(mine.cash_nano - theirs.cash_nano) <= 30_000, "six decimals after a division by 28"


@pytest.mark.requirement("R-011")
async def test_it_keeps_the_contract_of_sources(cookies: Path) -> None:
    start, end = ns("2020-07-01"), ns("2020-10-01")
    truth = read_bars((DATA / "us_daily.parquet",), AAPL)
    with yahoo(Yahoo({"AAPL": recorded("AAPL", 2020)})) as gateway:
        source = YahooSource(AAPL, "1d", gateway=gateway, cookies=cookies)
        await keeps_its_promises(source, truth.take((truth.ts >= start) & (truth.ts < end)), start, end)


async def test_actions_right_after_bars_need_no_second_download(cookies: Path) -> None:
    venue = Yahoo({"AAPL": recorded("AAPL", 2020)})
    heard: list[float] = []
    async with asking(venue, cookies, progress=heard.append) as source:
        await source.bars(ns("2020-08-03"), ns("2020-09-02"))
        before = len(venue.asked)
        assert len(await source.actions(ns("2020-08-03"), ns("2020-09-02"))) == 2
        assert len(venue.asked) == before
        await source.actions(ns("2020-07-01"), ns("2020-09-02"))
        assert len(venue.asked) > before, "a longer range does"
    assert heard[0] == 1.0


async def test_a_split_after_the_range_asked_for_is_undone_too(cookies: Path) -> None:
    async with asking(Yahoo({"AAPL": recorded("AAPL")}), cookies) as source:
        rows = await source.bars(ns("2020-08-27"), ns("2020-08-29"))
    assert rows.close.tolist() == [500.04, 499.23]
    assert rows.close_nano.tolist() == [500_040_000_000, 499_230_000_000]
    assert rows.ts.tolist() == [ns("2020-08-27"), ns("2020-08-28")]


async def test_adjusted_prices_say_so_and_carry_no_actions(cookies: Path) -> None:
    listing = Listing(
        [(date(2024, 1, d), 100.0, 101.0, 99.0, 100.0, 1000.0) for d in (2, 3, 4)],
        dividends=[(date(2024, 1, 4), "5")],
    )
    async with asking(Yahoo({"AAPL": listing}), cookies, adjusted=True) as source:
        rows = await source.bars(ns("2024-01-02"), ns("2024-01-05"))
        assert source.adjusted
        assert await source.actions(ns("2024-01-02"), ns("2024-01-05")) == []
    np.testing.assert_allclose(rows.close, [95.0, 95.0, 100.0], rtol=1e-9)
    np.testing.assert_allclose(rows.open, rows.close, rtol=1e-9)


@pytest.mark.parametrize("held", [0.0, 0.01, 0.1, 1.5, 2.0])
async def test_adjusted_prices_that_hold_another_dividend_than_the_listed_one_are_refused(
    cookies: Path, held: float
) -> None:
    """8TRA.DE's closes hold none of its dividend, CLC.L's a hundredth, and DODFX's its capital gain twice."""
    listing = recorded("AAPL", 2018)
    listing.held, listing.dividends = held, [(date(2019, 5, 10), "7.7")]
    async with asking(Yahoo({"AAPL": listing}), cookies, adjusted=True) as source:
        with pytest.raises(
            SourceError, match=r"adjusted closes fall by .* for the dividend of 1.925 on 2019-05-10"
        ) as it:
            await source.bars(ns("2019-01-02"), ns("2019-12-31"))
    assert not it.value.again
    assert "without --adjusted" in str(it.value)


async def test_a_dividend_on_the_day_of_a_split_is_multiplied_by_its_ratio(cookies: Path) -> None:
    """Yahoo's amount is for each new share, and the account is paid on the shares before the split."""
    listing = Listing(
        [(date(2024, 1, d), *(4 * [price]), 1000.0) for d, price in ((2, 100.0), (3, 100.0), (4, 20.0))],
        splits=[(date(2024, 1, 4), 5, 1)], dividends=[(date(2024, 1, 3), "2"), (date(2024, 1, 4), "0.5")],
    )  # fmt: skip
    async with asking(Yahoo({"AAPL": listing}), cookies) as source:
        actions = await source.actions(ns("2024-01-02"), ns("2024-01-05"))
    cash = [action.cash_nano / NANO for action in actions if action.kind == "dividend"]
    assert cash == pytest.approx([2.0, 2.5], rel=1e-6)


async def test_days_are_dated_by_the_exchanges_own_date_on_both_sides_of_a_clock_change(cookies: Path) -> None:
    march = [date(2024, 3, d) for d in (7, 8, 11, 12)]  # New York changed its clocks on the 10th
    tokyo = Listing([(d, 10.0, 11.0, 9.0, 10.5, 100.0) for d in march], zone="Asia/Tokyo", opens=(9, 0))
    new_york = Listing([(d, 20.0, 21.0, 19.0, 20.5, 100.0) for d in march])
    universe = Universe((Instrument("7203.T", calendar="XTKS"), Instrument("SPY")))
    async with asking(Yahoo({"7203.T": tokyo, "SPY": new_york}), cookies, universe=universe) as source:
        rows = await source.bars(ns("2024-03-07"), ns("2024-03-13"))
    expected = [ns(d.isoformat()) for d in march]
    assert rows.ts[rows.column == 0].tolist() == expected
    assert rows.ts[rows.column == 1].tolist() == expected


async def test_bars_inside_a_day_are_stamped_by_their_open_in_utc_across_a_clock_change(cookies: Path) -> None:
    opens = ["2024-03-08 14:30", "2024-03-08 20:30", "2024-03-11 13:30", "2024-03-11 19:30"]
    minutes = [(utc(at), 4.0, 5.0, 3.0, 4.5, 10.0) for at in opens]
    days = [date(2024, 3, 8), date(2024, 3, 11), date(2024, 4, 1)]
    listing = Listing([(d, 4.0, 5.0, 3.0, 4.5, 10.0) for d in days], [(date(2024, 4, 1), 4, 1)], minutes=minutes)
    async with asking(Yahoo({"AAPL": listing}), cookies, interval="1h", now=lambda: ns("2024-04-02")) as source:
        rows = await source.bars(ns("2024-03-08"), ns("2024-03-12"))
    assert source.stamps == "open"
    assert rows.ts.tolist() == [ns(at) for at in opens]
    assert rows.open.tolist() == [4.0] * 4, "the later split is undone inside a day too"
    assert rows.volume.tolist() == [10.0] * 4


async def test_half_hours_have_no_bars_through_the_night(cookies: Path) -> None:
    """yfinance makes half hours of quarters, and puts empty ones where the exchange slept."""
    opens = ["2024-03-07 20:30", "2024-03-07 20:45", "2024-03-08 14:30", "2024-03-08 14:45"]
    minutes = [(utc(at), 4.0, 5.0, 3.0, 4.5, 10.0) for at in opens]
    listing = Listing([(date(2024, 3, d), 4.0, 5.0, 3.0, 4.5, 20.0) for d in (7, 8)], minutes=minutes)
    async with asking(Yahoo({"AAPL": listing}), cookies, interval="30m", now=lambda: ns("2024-03-09")) as source:
        rows = await source.bars(ns("2024-03-07"), ns("2024-03-09"))
    assert rows.ts.tolist() == [ns("2024-03-07 20:30"), ns("2024-03-08 14:30")]
    assert rows.volume.tolist() == [20.0, 20.0]


async def test_a_symbol_that_yahoo_does_not_know_is_named_and_the_others_come_with_the_error(cookies: Path) -> None:
    universe = Universe((Instrument("AAPL"), Instrument("TWTR")))
    async with asking(Yahoo({"AAPL": recorded("AAPL", 2020)}), cookies, universe=universe) as source:
        with pytest.raises(PartialAnswer, match="no bar of TWTR") as caught:
            await source.bars(ns("2020-08-03"), ns("2020-09-01"))
        with pytest.raises(SourceError, match="TWTR"):
            await source.actions(ns("2020-08-03"), ns("2020-09-01"))
    assert caught.value.missing == ("TWTR",)
    assert not caught.value.again
    assert set(caught.value.rows.column.tolist()) == {0}
    assert len(caught.value.rows) == 21


async def test_an_empty_chart_is_an_error_and_not_a_market_without_bars(cookies: Path) -> None:
    async with asking(Yahoo({"AAPL": recorded("AAPL", 2020)}, empty={"AAPL"}), cookies) as source:
        with pytest.raises(SourceError, match="AAPL"):
            await source.bars(ns("2020-08-03"), ns("2020-09-01"))


async def test_a_quiet_hour_of_a_known_symbol_is_no_error(cookies: Path) -> None:
    days = [date(2024, 3, 7), date(2024, 3, 8)]
    listing = Listing(
        [(d, 4.0, 5.0, 3.0, 4.5, 10.0) for d in days], minutes=[(utc("2024-03-08 14:30"), 4, 5, 3, 4.5, 1)]
    )
    async with asking(Yahoo({"AAPL": listing}), cookies, interval="1m", now=lambda: ns("2024-03-09")) as source:
        assert len(await source.bars(ns("2024-03-08 14:31"), ns("2024-03-08 14:32"))) == 0
        assert len(await source.bars(ns("2024-03-08 14:30"), ns("2024-03-08 14:32"))) == 1


async def test_an_answer_that_does_not_come_is_given_up_by_its_deadline(cookies: Path) -> None:
    async with asking(Yahoo({"AAPL": recorded("AAPL", 2021)}, slow_s=1.0), cookies, deadline_s=0.3) as source:
        with pytest.raises(SourceError) as caught:
            await source.bars(ns("2021-02-01"), ns("2021-03-01"))
    assert caught.value.again


async def test_days_that_yahoo_leaves_empty_are_no_bars_but_keep_their_dividend(cookies: Path) -> None:
    days = [date(2024, 1, d) for d in (2, 3, 4)]
    listing = Listing(
        [(d, 9.0, 9.5, 8.5, 9.2, 50.0) for d in days], dividends=[(days[1], "0.11")], nulls={days[1]}
    )  # fmt: skip
    async with asking(Yahoo({"AAPL": listing}), cookies) as source:
        rows = await source.bars(ns("2024-01-02"), ns("2024-01-05"))
        actions = await source.actions(ns("2024-01-02"), ns("2024-01-05"))
    assert rows.ts.tolist() == [ns("2024-01-02"), ns("2024-01-04")]
    assert actions == [ActionRow(ns("2024-01-03"), 0, "dividend", 1, 1, 110_000_000)]


async def test_a_throttled_client_is_told_to_wait(cookies: Path) -> None:
    async with asking(Yahoo({"AAPL": recorded("AAPL", 2020)}, throttled=True), cookies) as source:
        with pytest.raises(SourceError, match="too many requests") as caught:
            await source.bars(ns("2020-08-03"), ns("2020-09-01"))
    assert caught.value.again
    assert caught.value.after_s > 0


async def test_a_failure_is_asked_again_and_not_remembered_for_the_life_of_the_process(cookies: Path) -> None:
    """yfinance keeps answers about the past, those of 500 among them."""
    never_asked_before = Universe((Instrument("FAILS"),))
    listing = Listing([(date(2024, 1, d), 9.0, 9.5, 8.5, 9.2, 50.0) for d in (2, 3)])
    venue = Yahoo({"FAILS": listing}, broken={"FAILS"})
    async with asking(venue, cookies, universe=never_asked_before) as source:
        with pytest.raises(SourceError, match="FAILS") as caught:
            await source.bars(ns("2024-01-02"), ns("2024-01-04"))
        venue.broken.clear()
        assert len(await source.bars(ns("2024-01-02"), ns("2024-01-04"))) == 2
    assert caught.value.again


@pytest.mark.long
async def test_a_cache_that_another_process_locks_is_named_and_asked_again(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "tkr-tz.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        source = YahooSource(AAPL, "1d", gateway="http://127.0.0.1:1", cookies=tmp_path)
        with pytest.raises(SourceError, match=f"cache in {tmp_path}: database is locked") as caught:
            await source.bars(ns("2024-01-02"), ns("2024-01-04"))
        await source.close()
    assert caught.value.again


async def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    source = YahooSource(AAPL, "1d", gateway="http://127.0.0.1:1", cookies=tmp_path / "file" / "yfinance")
    with pytest.raises(SourceError, match=f"cache in {tmp_path}/file/yfinance: .*Not a directory"):
        await source.bars(ns("2024-01-02"), ns("2024-01-04"))
    await source.close()


@pytest.mark.long
def test_a_first_download_of_several_symbols_makes_the_caches_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four threads of yfinance would change a new cache to a write-ahead log, and three find it locked."""
    venue = Yahoo({symbol: recorded(symbol, 2020) for symbol in ("AAPL", "SPY", "QQQ", "IWM")})
    asked = ("SPY", "AAPL", "QQQ", "IWM", "--from", "2021-01-04", "--to", "2021-03-31", "--out")
    with yahoo(venue) as gateway:
        for n in range(3):
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{n}"))
            done = program(tmp_path, "data", "fetch", *asked, f"{n}.parquet", "--url", gateway)
            assert done.returncode == 0, done.stderr


async def test_a_currency_that_the_universe_does_not_count_in_is_refused(cookies: Path) -> None:
    listing = Listing([(date(2024, 1, 2), 700.0, 710.0, 690.0, 705.0, 9.0)], currency="GBp", zone="Europe/London")
    with yahoo(Yahoo({"VOD.L": listing})) as gateway:
        universe = Universe((Instrument("VOD.L", calendar="XLON", currency="GBP"),))
        source = YahooSource(universe, "1d", gateway=gateway, cookies=cookies)
        with pytest.raises(SourceError, match="GBp"):
            await source.bars(ns("2024-01-01"), ns("2024-01-03"))
        await source.close()


async def test_intervals_say_how_far_back_they_reach() -> None:
    with pytest.raises(SourceError, match=r"1m, 2m, 5m"):
        YahooSource(AAPL, "7m")
    source = YahooSource(AAPL, "1m", now=lambda: ns("2024-03-20"))
    with pytest.raises(SourceError, match="7 days") as caught:
        await source.bars(ns("2024-03-20") - 8 * DAY_NS, ns("2024-03-20"))
    assert not caught.value.again
    await source.close()


def test_share_classes_and_pairs_are_spelled_as_yahoo_does_and_foreign_suffixes_kept() -> None:
    assert spelled(Instrument("BRK.B")) == "BRK-B"
    assert spelled(Instrument("BTC/USD", calendar="24/7")) == "BTC-USD"
    assert spelled(Instrument("VOD.L", calendar="XLON")) == "VOD.L"
    assert spelled(Instrument("OTP.XX", calendar="XBUD")) == "OTP.XX", "as it is written on another calendar"
    assert spelled(Instrument("^GSPC")) == "^GSPC"
    assert spelled(Instrument("BRK.B", calendar="NASDAQ")) == "BRK-B"


@pytest.mark.parametrize("suffix", [*BY_SUFFIX, *sorted(OTHER_SUFFIXES)])
@pytest.mark.parametrize("calendar", ["", "XNYS"])
def test_a_suffix_of_an_exchange_stays_a_dot_whatever_the_calendar(suffix: str, calendar: str) -> None:
    for symbol, theirs in (("ABC", "ABC"), ("BT.A", "BT-A"), ("7203", "7203")):
        instrument = Instrument(symbol + suffix, calendar=calendar or calendar_of(symbol + suffix))
        assert spelled(instrument) == theirs + suffix


@pytest.mark.long
@pytest.mark.requirement("R-012")
def test_the_command_writes_adjusted_weeks_and_unknown_symbols_nothing(tmp_path: Path) -> None:
    caches = ("--cache", str(tmp_path / "bars"))
    ordinary = ("--from", "2019-01-02", "--to", "2020-12-31", "--url")
    with yahoo(Yahoo({"SPY": recorded("SPY", 2018)})) as gateway:
        weeks = quantd(tmp_path, "data", "fetch", "SPY", "--adjusted", "-i", "1wk", *ordinary, gateway, "-o",
            "w.parquet", *caches, env=home())  # fmt: skip
        days = quantd(
            tmp_path, "data", "fetch", "SPY", "--adjusted", *ordinary, gateway, "-o", "d.parquet", *caches, env=home()
        )
        lost = quantd(
            tmp_path, "data", "fetch", "SPY", "TWTR", *ordinary, gateway, "-o", "lost.parquet", *caches, env=home()
        )
    assert weeks.returncode == 0, weeks.stderr
    assert "105 adjusted bars" in weeks.stdout
    assert "from the cache" in days.stdout, "weeks are made of days"
    week, day = (pl.read_parquet(tmp_path / name) for name in ("w.parquet", "d.parquet"))
    first = day.filter(pl.col("ts").is_between(datetime(2019, 1, 7, tzinfo=UTC), datetime(2019, 1, 11, tzinfo=UTC)))
    week_bar = week.row(1, named=True)
    assert week_bar["ts"].date() == date(2019, 1, 11)
    assert (week_bar["open"], week_bar["close"]) == (first["open"][0], first["close"][-1])
    assert (week_bar["high"], week_bar["low"]) == (first["high"].max(), first["low"].min())
    assert week_bar["volume"] == first["volume"].sum()
    assert lost.returncode == 1
    assert "TWTR" in lost.stderr
    assert not (tmp_path / "lost.parquet").exists()


@pytest.mark.requirement("R-012")
def test_the_command_writes_raw_days_as_they_were_paid_with_their_splits_beside(tmp_path: Path) -> None:
    caches = ("--cache", str(tmp_path / "bars"))
    with yahoo(Yahoo({"AAPL": recorded("AAPL")})) as gateway:
        done = quantd(tmp_path, "data", "fetch", "AAPL", "--from", "2020-07-01", "--to", "2020-10-30", "--url", gateway,
            "-o", "raw.parquet", *caches, env=home())  # fmt: skip
    assert done.returncode == 0, done.stderr
    raw = pl.read_parquet(tmp_path / "raw.parquet").sort("ts")
    truth = pl.read_parquet(DATA / "us_daily.parquet").filter(
        (pl.col("symbol") == "AAPL") & pl.col("ts").dt.date().is_between(date(2020, 7, 1), date(2020, 10, 30))
    ).sort("ts")  # fmt: skip
    assert raw["ts"].dt.date().to_list() == truth["ts"].dt.date().to_list()
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_allclose(raw[name].to_numpy(), truth[name].to_numpy(), rtol=1e-9, err_msg=name)
    closes = dict(zip(raw["ts"].dt.date().to_list(), raw["close"].to_list(), strict=True))
    assert (closes[date(2020, 8, 28)], closes[date(2020, 8, 31)]) == (499.23, 129.04), "the split of 4 for 1 is in them"


ratios = st.lists(
    st.sampled_from([(2, 1), (3, 1), (4, 1), (7, 1), (3, 2), (20, 1), (1, 10), (1, 8), (21, 20)]), max_size=3
)


@settings(max_examples=examples(300))
@given(st.integers(100, 99_999), ratios)
def test_any_price_in_cents_survives_division_and_single_precision(cents: int, splits: list[tuple[int, int]]) -> None:
    """Up to 999.99, seven digits hold what is needed; the largest error is half a single-precision step, times the
    factor."""
    listed = [ActionRow((k + 1) * DAY_NS, 0, "split", new, old, 0) for k, (new, old) in enumerate(splits)]
    factor = factors(np.array([0], dtype=np.int64), listed)
    exact = Fraction(1)
    for new, old in splits:
        exact *= Fraction(new, old)
    assert factor[0] == float(exact)
    sent = np.array([float(np.float32(cents / 100 / factor[0]))])
    assert paid(sent, factor).tolist() == [cents * NANO // 100]
