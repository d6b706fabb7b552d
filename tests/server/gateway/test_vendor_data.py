"""The vendor's market data passed to a program that has no key of it, read by the vendor's own client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
)
from alpaca.data.timeframe import TimeFrame

from quantd.server.gateway.vendor_data import VendorData
from tests.server.gateway.gateway_bot import Bot, bot_of
from tests.support.command_line import CONFIG, quantd, write
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData
from tests.support.venues.served import served

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
