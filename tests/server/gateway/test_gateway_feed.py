"""Market data of the gateway, read by the vendor's own client: what the run has seen, or the vendor's, passed on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.requests import GetCalendarRequest, GetPortfolioHistoryRequest

from quantd.daemon.runtime.feeder import feed_recorded
from quantd.server.gateway.vendor_data import VendorData
from tests.server.gateway.gateway_bot import TRADING, Bot, bot_of
from tests.support.command_line import CONFIG, ROOT, quantd, with_calendar, write
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData
from tests.support.venues.served import served

SYMBOLS = ("IWM", "QQQ", "SPY")
JANUARY = datetime(2019, 1, 1, tzinfo=UTC)


def data_of(bot: Bot) -> StockHistoricalDataClient:
    return StockHistoricalDataClient(bot.key, bot.secret, url_override=bot.url)


async def bars(bot: Bot, symbols: Any = "SPY", frame: Any = TimeFrame.Day, **more: Any) -> dict[str, list[Any]]:
    asked = StockBarsRequest(symbol_or_symbols=symbols, timeframe=frame, **more)
    answer = await bot.call(data_of(bot).get_stock_bars, asked)
    return dict(answer.data)


def recorded(symbol: str, last: date) -> pl.DataFrame:
    """The rows of the file of bars from 2019 on, up to a day."""
    rows = pl.read_parquet(f"{ROOT}/data/us_daily.parquet").filter(pl.col("symbol") == symbol).sort("ts")
    return rows.filter((pl.col("ts") >= JANUARY) & (pl.col("ts").cast(pl.Date) <= last))


def now(bot: Bot) -> datetime:
    return datetime.fromtimestamp(bot.world.service.shell.ts / 1e9, UTC)


def newest_close(bot: Bot) -> datetime:
    """The newest close of a session that the run has seen, from the calendar alone."""
    closes = bot.world.assembly.sessions["XNYS"].close_ns
    ns = max(close for close in closes if close <= bot.world.service.shell.ts)
    return datetime.fromtimestamp(ns / 1e9, UTC)


async def test_bars_are_those_of_the_file_up_to_the_market_time_and_none_of_the_future(bot: Bot) -> None:
    for _ in range(5):  # instants before a close are among them
        until = datetime(2019, 12, 31, tzinfo=UTC)
        told = await bars(bot, list(SYMBOLS), start=JANUARY, end=until)
        for symbol in SYMBOLS:
            rows = recorded(symbol, newest_close(bot).date())
            assert [bar.timestamp.date() for bar in told[symbol]] == rows["ts"].cast(pl.Date).to_list()
            for name in ("open", "high", "low", "close", "volume"):
                assert [getattr(bar, name) for bar in told[symbol]] == pytest.approx(rows[name].to_list(), abs=0.006)
        assert told["SPY"][0].timestamp == datetime(2019, 1, 2, 5, tzinfo=UTC)  # midnight in New York
        await bot.world.go(1)


@pytest.mark.parametrize("sort", [Sort.ASC, Sort.DESC])
async def test_pages_give_each_bar_once(bot: Bot, sort: Sort) -> None:
    whole = await bars(bot, list(SYMBOLS), start=JANUARY, sort=sort)
    frames = [(symbol, bar) for symbol in sorted(whole) for bar in whole[symbol]]
    for limit in (1, 7, len(whole["IWM"]), len(frames)):
        found, token, count = [], "", 0
        while token is not None:
            query = f"symbols=SPY,QQQ,IWM&timeframe=1Day&start=2019-01-01&limit={limit}&sort={sort.value}"
            status, page = await bot.raw("GET", f"/v2/stocks/bars?{query}&page_token={token}")
            assert status == 200, page
            found += [(symbol, bar) for symbol, rows in page["bars"].items() for bar in rows]
            assert len([bar for rows in page["bars"].values() for bar in rows]) <= limit
            token, count = page["next_page_token"], count + 1
        assert [(symbol, bar["c"]) for symbol, bar in found] == [(symbol, bar.close) for symbol, bar in frames]
        assert count == -(-len(frames) // limit)
    stamps = [bar.timestamp for bar in whole["SPY"]]
    assert stamps == sorted(stamps, reverse=sort == Sort.DESC)
    some = await bars(bot, "SPY", start=JANUARY, limit=3, sort=sort)
    assert [bar.close for bar in some["SPY"]] == [bar.close for bar in whole["SPY"][:3]]


async def test_the_ends_of_a_period_are_inside_and_a_date_is_a_whole_day(bot: Bot) -> None:
    query = "/v2/stocks/SPY/bars?timeframe=1D&start=2019-01-03&end=2019-01-07"
    _, answer = await bot.raw("GET", query)
    days = ["2019-01-03T05:00:00Z", "2019-01-04T05:00:00Z", "2019-01-07T05:00:00Z"]
    assert [bar["t"] for bar in answer["bars"]] == days
    for start, end, count in (
        ("2019-01-03T05:00:00Z", "2019-01-07T05:00:00Z", 3),
        ("2019-01-03T05:00:01Z", "2019-01-07T04:59:59Z", 1),
        ("2019-01-03T00:00:00-05:00", "2019-01-03", 1),
        ("2030-01-01", "", 0),
        ("1900-01-01", "1950-01-01", 0),
    ):
        _, answer = await bot.raw(
            "GET", f"/v2/stocks/SPY/bars?timeframe=1Day&start={start.replace('+', '%2B')}&end={end}"
        )
        assert len(answer["bars"]) == count, (start, end)
    for _ in range(4):  # without a start: the present day, which has no bar before its close
        _, answer = await bot.raw("GET", "/v2/stocks/SPY/bars?timeframe=1Day")
        seen = [str(now(bot).date())] if newest_close(bot).date() == now(bot).date() else []
        assert [bar["t"][:10] for bar in answer["bars"]] == seen
        await bot.world.go(1)


async def test_weeks_and_months_are_joined_from_the_days(bot: Bot) -> None:
    days = (await bars(bot, "SPY", start=JANUARY))["SPY"]
    for frame, first in (
        (TimeFrame.Week, lambda day: day - timedelta(days=day.weekday())),
        (TimeFrame.Month, lambda day: day.replace(day=1)),
    ):
        told = (await bars(bot, "SPY", frame, start=datetime(2019, 1, 4, tzinfo=UTC)))["SPY"]
        for bar in told:
            members = [day for day in days if first(day.timestamp.date()) == bar.timestamp.date()]
            assert (bar.open, bar.close) == (members[0].open, members[-1].close)
            assert (bar.high, bar.low) == (max(day.high for day in members), min(day.low for day in members))
            assert bar.volume == sum(day.volume for day in members)
        assert told[0].timestamp.date() == first(date(2019, 1, 31)) if frame == TimeFrame.Month else date(2019, 1, 7)


async def test_latest_prices_and_snapshots_are_the_newest_bar(bot: Bot) -> None:
    client, rows = data_of(bot), (await bars(bot, "SPY", start=JANUARY))["SPY"]
    newest = (await bot.call(client.get_stock_latest_bar, StockLatestBarRequest(symbol_or_symbols="SPY")))["SPY"]
    assert newest == rows[-1]
    quote = (await bot.call(client.get_stock_latest_quote, StockLatestQuoteRequest(symbol_or_symbols="SPY")))["SPY"]
    trade = (await bot.call(client.get_stock_latest_trade, StockLatestTradeRequest(symbol_or_symbols="SPY")))["SPY"]
    assert quote.bid_price == quote.ask_price == trade.price == newest.close == pytest.approx(bot.mark)
    assert (quote.bid_size, quote.ask_size, trade.size) == (0, 0, 0)
    assert quote.timestamp == newest_close(bot)
    asked = StockSnapshotRequest(symbol_or_symbols=["SPY", "QQQ"])
    snapshots = await bot.call(client.get_stock_snapshot, asked)
    assert set(snapshots) == {"SPY", "QQQ"}
    assert (snapshots["SPY"].daily_bar, snapshots["SPY"].previous_daily_bar) == (rows[-1], rows[-2])
    assert (snapshots["SPY"].minute_bar, snapshots["SPY"].latest_trade) == (None, trade)
    for path, key in (("bars/latest", "bar"), ("quotes/latest", "quote"), ("trades/latest", "trade"),
                      ("snapshot", "latestTrade")):  # fmt: skip
        status, answer = await bot.raw("GET", f"/v2/stocks/SPY/{path}")
        assert (status, answer["symbol"], key in answer) == (200, "SPY", True)


NOT_SERVED = [
    ("bars?symbols=SPY&timeframe=1Min", "1Day, 1Week, 1Month are"),
    ("bars?symbols=SPY&timeframe=2Day", "1Day, 1Week, 1Month are"),
    ("bars?symbols=SPY", "timeframe '' is not served"),
    ("bars?symbols=SPY,NOPE&timeframe=1Day", "NOPE is none of the 3 symbols"),
    ("bars?timeframe=1Day", "symbols must name"),
    ("bars?symbols=SPY&timeframe=1Day&adjustment=all", "adjustment 'all' is not served"),
    ("bars?symbols=SPY&timeframe=1Day&asof=2019-01-01", "asof is not served"),
    ("bars?symbols=SPY&timeframe=1Day&feed=sip", "feed 'sip' is not served: the bars are those of the run"),
    ("quotes/latest?symbols=SPY&feed=sip", "feed 'sip' is not served"),
    ("bars?symbols=SPY&timeframe=1Day&start=soon", "is no time"),
    ("bars?symbols=SPY&timeframe=1Day&limit=0", "limit must be"),
    ("bars?symbols=SPY&timeframe=1Day&sort=up", "sort must be"),
    ("bars?symbols=SPY&timeframe=1Day&page_token=abc", "page_token is none"),
    ("bars?symbols=SPY&timeframe=1Day&currency=EUR", "prices are in USD"),
    ("bars?symbols=SPY&timeframe=1Day&limit=1&limit=2", "given twice"),
    ("bars?symbols=SPY&timeframe=1Day&loc=x", "loc is not supported"),
    ("quotes/latest?symbols=NOPE", "NOPE is none"),
    ("snapshots?symbols=", "symbols must name"),
]  # fmt: skip
"""A request, and words of its refusal."""


async def test_what_is_not_served_is_refused_with_one_sentence(bot: Bot) -> None:
    for path, words in NOT_SERVED:
        status, answer = await bot.raw("GET", f"/v2/stocks/{path}")
        assert (status, answer["code"]) == (422, 42210000), (path, answer)
        assert words in answer["message"], (path, answer)


async def test_the_vendors_client_shows_the_sentence_and_a_wrong_key_reads_nothing(bot: Bot) -> None:
    with pytest.raises(APIError, match="1Day, 1Week, 1Month are"):
        await bars(bot, "SPY", TimeFrame(5, TimeFrameUnit.Minute))
    client = StockHistoricalDataClient(bot.key, "wrong", url_override=bot.url)
    with pytest.raises(APIError) as refused:
        await bot.call(client.get_stock_latest_bar, StockLatestBarRequest(symbol_or_symbols="SPY"))
    assert refused.value.status_code == 401
    for path in ("/v2/stocks/SPY/quotes", "/v2/stocks/SPY/trades", "/v1beta1/news"):
        status, answer = await bot.raw("GET", path)
        assert (status, answer["code"]) == (404, 40410000), path


async def test_the_calendar_has_the_sessions_with_half_days(bot: Bot) -> None:
    asked = GetCalendarRequest(start=date(2018, 7, 2), end=date(2018, 7, 6))
    days = await bot.call(bot.client.get_calendar, asked)
    assert [(str(day.date), f"{day.open:%H:%M}", f"{day.close:%H:%M}") for day in days] == [
        ("2018-07-02", "09:30", "16:00"), ("2018-07-03", "09:30", "13:00"), ("2018-07-05", "09:30", "16:00"),
        ("2018-07-06", "09:30", "16:00"),
    ]  # fmt: skip
    whole = await bot.call(bot.client.get_calendar)
    assert len(whole) == len(bot.gateway._feed._house.day_ns)
    assert (await bot.raw("GET", "/v2/calendar?start=x"))[0] == 422


def minute_run(folder: Path) -> str:
    """A configuration of minute bars of ten sessions."""
    rows = []
    for day in pl.date_range(date(2019, 1, 2), date(2019, 1, 16), eager=True).to_list():
        if day.weekday() < 5:
            first = datetime(day.year, day.month, day.day, 14, 30)
            for k in range(390):
                price = 250 + day.day + k / 100
                for symbol in SYMBOLS:
                    rows.append(
                        (symbol, first + timedelta(minutes=k), price, price + 1, price - 1, price + 0.5, 5000.0)
                    )
    names = ["symbol", "ts", "open", "high", "low", "close", "volume"]
    pl.DataFrame(rows, names, orient="row").write_parquet(folder / "minutes.parquet")
    return (
        TRADING.replace(f"{ROOT}/data/us_daily.parquet", str(folder / "minutes.parquet"))
        .replace(f'actions = "{ROOT}/data/us_actions.csv"\n', "")
        .replace('stamps = "session"', 'stamps = "open"\ninterval = "1m"')
        .replace("warmup = 130", "warmup = 5")
        .replace("end = 2019-03-29", "end = 2019-01-16")
    )


async def test_a_run_of_minutes_serves_minutes_and_days_and_both_in_a_snapshot(tmp_path: Path) -> None:
    async with bot_of(tmp_path, minute_run(tmp_path)) as bot:
        minutes = (await bars(bot, "SPY", TimeFrame.Minute, start=now(bot) - timedelta(minutes=30)))["SPY"]
        assert [bar.timestamp for bar in minutes] == [now(bot) - timedelta(minutes=30 - k) for k in range(30)]
        days = (await bars(bot, "SPY", start=JANUARY))["SPY"]
        assert days[-1].close == minutes[-1].close == pytest.approx(bot.mark)
        assert days[0].volume == 390 * 5000
        snapshot = (await bot.call(data_of(bot).get_stock_snapshot, StockSnapshotRequest(symbol_or_symbols="SPY")))[
            "SPY"
        ]
        assert (snapshot.minute_bar, snapshot.daily_bar, snapshot.previous_daily_bar) == (minutes[-1], *days[:-3:-1])
        with pytest.raises(APIError, match="1Min, 1Day, 1Week, 1Month are"):
            await bars(bot, "SPY", TimeFrame.Hour)


async def test_the_history_of_a_run_of_minutes_begins_each_day_anew_unless_told_otherwise(tmp_path: Path) -> None:
    async with bot_of(tmp_path, minute_run(tmp_path), left=500) as bot:
        await bot.buy(3)
        await bot.world.go(480)

        async def history(**asked: Any) -> Any:
            return await bot.call(bot.client.get_portfolio_history, GetPortfolioHistoryRequest(**asked))

        daily, whole = await history(period="3D"), await history(period="3D", pnl_reset="no_reset")
        assert (daily.timeframe, daily.equity, daily.timestamp) == ("1Min", whole.equity, whole.timestamp)
        begins = [datetime.fromtimestamp(second, UTC) for second in whole.timestamp]
        assert begins[0].time() == time(14, 30)
        assert begins[1] - begins[0] == timedelta(minutes=1)
        gained = whole.profit_loss
        for k, at in enumerate(begins):
            before = [gain for gain, other in zip(gained, begins, strict=True) if other.date() < at.date()]
            assert daily.profit_loss[k] == pytest.approx(gained[k] - (before[-1] if before else 0.0), abs=1e-6)
        assert any(here != there for here, there in zip(daily.profit_loss, gained, strict=True))
        hours = await history(period="3D", timeframe="1H", pnl_reset="no_reset")
        assert hours.equity == [
            whole.equity[k]
            for k, at in enumerate(begins)
            if at == begins[-1] or begins[k + 1].replace(minute=0) > at.replace(minute=0)
        ]


def test_the_check_says_what_a_quote_is_over_daily_bars_and_pass_is_refused(tmp_path: Path) -> None:
    write(tmp_path, TRADING + "[gateway]\n")
    with_calendar(tmp_path)
    said = quantd(tmp_path, "config", "check")
    assert said.returncode == 0, said.stderr
    assert "bid, ask and last price of a program are the close of the newest day" in said.stdout
    refused = quantd(tmp_path, "config", "check", "--set", "gateway.data=pass")
    assert (refused.returncode, "pass" in refused.stderr) == (78, True), refused.stderr
    assert "feed" in refused.stderr


async def test_the_clock_is_open_after_each_daily_bar_and_closed_for_ever_after_the_last(bot: Bot) -> None:
    for _ in range(4):
        clock = await bot.call(bot.client.get_clock)
        house = bot.gateway._feed._house
        opens = [datetime.fromtimestamp(ns / 1e9, UTC) for ns in house.open_ns]
        assert (clock.is_open, clock.timestamp) == (True, now(bot))
        assert clock.next_open == min(opened for opened in opens if opened > now(bot))
        await bot.world.go(1)
    fills = (await bot.call(bot.client.get_clock)).next_open
    held = await bot.buy(1)
    await bot.world.go(3)
    (fill,) = [t for t in bot.gateway.tickets.by_id.values() if t.id == str(held.id)]
    assert (fill.status, datetime.fromtimestamp(fill.ended / 1e9, UTC)) == ("filled", fills)
    await feed_recorded(bot.world.service, bot.world.rest, "fast", "wait")
    while bot.world.store.last_seq(bot.world.service.run) < bot.world.service.journal.seq:
        await bot.world.service.changed(0.05)
    clock = await bot.call(bot.client.get_clock)
    assert not clock.is_open
    assert clock.next_open > clock.timestamp
    for send in (bot.buy(1), bot.buy(-1), bot.call(bot.client.close_position, "SPY")):
        with pytest.raises(APIError, match="recorded market of this run has ended") as refused:
            await send
        assert (refused.value.status_code, refused.value.code) == (403, 40310000)
    assert (await bars(bot, "SPY", start=datetime(2019, 3, 29, tzinfo=UTC)))["SPY"][-1].close == pytest.approx(bot.mark)


async def test_the_clock_of_minutes_is_open_within_the_sessions(tmp_path: Path) -> None:
    async with bot_of(tmp_path, minute_run(tmp_path)) as bot:
        assert (await bot.call(bot.client.get_clock)).is_open
        while now(bot).time() < time(21, 0):
            await bot.world.go(1)
        clock = await bot.call(bot.client.get_clock)
        assert (clock.is_open, clock.timestamp) == (False, now(bot))
        assert clock.next_open == datetime(2019, 1, 17, 14, 30, tzinfo=UTC)


BARS = [
    (f"2024-01-03T14:{minute}:00Z", "187.15", "188.00", "187.00", f"187.{minute}", "100") for minute in range(30, 37)
]
START, END = datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 4, tzinfo=UTC)


@asynccontextmanager
async def passing(folder: Path, venue: AlpacaData, key: str = KEY) -> AsyncIterator[tuple[Bot, Any]]:
    """A program behind a gateway that passes on the data of `venue`, and its data client."""
    with served(venue.app()) as port:
        vendor = VendorData(key, SECRET, f"http://127.0.0.1:{port}", rate=None)
        async with bot_of(folder, vendor=vendor) as bot:
            yield bot, StockHistoricalDataClient(bot.key, bot.secret, url_override=bot.url)
        await vendor.close()


async def test_the_vendors_client_reads_its_data_under_the_key_of_quantd(tmp_path: Path) -> None:
    venue = AlpacaData({"AAPL": BARS, "MSFT": BARS[:3]}, page=4)
    async with passing(tmp_path, venue) as (bot, data):
        asked = StockBarsRequest(symbol_or_symbols=["AAPL", "MSFT"], timeframe=TimeFrame.Minute, start=START, end=END)
        bars = (await bot.call(data.get_stock_bars, asked)).data
        assert [bar.close for bar in bars["AAPL"]] == [float(row[4]) for row in BARS], "a symbol outside the universe"
        assert len(bars["MSFT"]) == 3
        assert {row["feed"] for row in venue.asked} == {"iex"}
        one = {"symbol_or_symbols": "AAPL"}
        assert (await bot.call(data.get_stock_latest_bar, StockLatestBarRequest(**one)))["AAPL"].close == 187.36
        quote = (await bot.call(data.get_stock_latest_quote, StockLatestQuoteRequest(**one)))["AAPL"]
        trade = (await bot.call(data.get_stock_latest_trade, StockLatestTradeRequest(**one)))["AAPL"]
        assert (quote.ask_size, trade.size) == (3, 7)
        assert await bot.call(bot.client.get_calendar), "the calendar is that of the run"
        count = len(venue.asked)
        await bot.call(data.get_stock_bars, asked)
        assert len(venue.asked) == count, "the same request again is answered from memory"


async def test_what_is_no_read_of_market_data_is_not_passed_on(tmp_path: Path) -> None:
    venue = AlpacaData({"AAPL": BARS})
    async with passing(tmp_path, venue) as (bot, _):
        for method, path in (
            ("POST", "/v2/stocks/bars"), ("GET", "/v1/corporate-actions"), ("GET", "/v2/stocks/../orders/bars"),
            ("GET", "/v2/stocks/A%2F..%2F..%2Fv2%2Faccount/bars"), ("DELETE", "/v2/stocks/AAPL/bars"),
            ("GET", "/v1beta3/crypto/us/bars?symbols=BTC/USD"), ("GET", "/v2/stocks/bars?symbols=AAPL&symbols=X"),
        ):  # fmt: skip
            status, told = await bot.raw(method, path)
            assert status in (404, 405, 422), (path, told)
        bot.secret = "wrong"
        assert (await bot.raw("GET", "/v2/stocks/bars/latest?symbols=AAPL"))[0] == 401
        assert not venue.asked


async def test_a_refusal_of_the_vendor_is_told_without_its_key(tmp_path: Path) -> None:
    venue = AlpacaData({"AAPL": BARS})
    async with passing(tmp_path, venue, key="PKOTHER") as (bot, _):
        status, told = await bot.raw("GET", "/v2/stocks/bars/latest?symbols=AAPL")
        assert (status, "it refuses the key (HTTP 403" in told["message"]) == (422, True)
        assert "PKOTHER" not in str(told)
        assert SECRET not in str(told)


async def test_a_program_in_a_loop_does_not_use_up_the_account(tmp_path: Path) -> None:
    venue = AlpacaData({"AAPL": BARS})
    with served(venue.app()) as port:
        vendor = VendorData(KEY, SECRET, f"http://127.0.0.1:{port}")
        async with bot_of(tmp_path, vendor=vendor) as bot:
            asks = [bot.raw("GET", f"/v2/stocks/trades/latest?symbols=AAPL&asof={k}") for k in range(40)]
            done, waiting = await asyncio.wait([asyncio.ensure_future(ask) for ask in asks], timeout=2.5)
            statuses = [task.result()[0] for task in done]
            assert statuses.count(429) >= 15
            assert len(venue.asked) <= 8, "100 a minute are one in 0.6 s"
            for task in waiting:
                task.cancel()
        await vendor.close()


def test_a_replay_and_a_missing_key_are_named(tmp_path: Path) -> None:
    write(tmp_path, CONFIG + '[gateway]\ndata = "pass"\n')
    told = quantd(tmp_path, "config", "check")
    assert told.returncode == 78
    assert "a program would see the future" in told.stdout + told.stderr
    live = CONFIG[: CONFIG.index("[feed]")] + '[feed]\nkind = "yfinance"\n' + CONFIG[CONFIG.index("[broker]") :]
    write(tmp_path, live + '[gateway]\ndata = "pass"\n')
    notes = "without a key of Alpaca: programs get the bars of the run", "bid, ask and last price"
    told = quantd(tmp_path, "config", "check")
    assert [note in told.stdout for note in notes] == [True, True], told
    told = quantd(tmp_path, "config", "check", env={"QUANTD_ALPACA_KEY": "x", "QUANTD_ALPACA_SECRET": "x"})
    assert [note in told.stdout for note in notes] == [False, False]
    assert told.returncode == 0
