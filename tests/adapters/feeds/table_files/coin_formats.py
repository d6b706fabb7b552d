"""Writers of files of coins: candles of exchanges and of the tools that store them."""

import io
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.feather as feather

from tests.adapters.feeds.table_files.expected_bars import Bar
from tests.adapters.feeds.table_files.writing import (
    Files,
    at,
    delimited,
    document,
    fixed,
    floats,
    gzipped,
    number,
    of,
    prices,
    seconds,
    short,
    trades,
    zipped,
)

Writer = Callable[[Sequence[Bar]], Files]


def kline(bar: Bar, *, unit: int, decimals: int, length: int = 3600) -> tuple[object, ...]:
    """The twelve fields of Binance; `unit` is the number of stamps a second."""
    opened = seconds(bar) * unit
    quote, bought = bar.volume * bar.close, bar.volume / 2
    return (
        opened,
        *(fixed(price, decimals) for price in prices(bar)),
        fixed(bar.volume, decimals),
        opened + length * unit - 1,
        fixed(quote, decimals),
        trades(bar, 1),
        fixed(bought, decimals),
        fixed(bought * bar.close, decimals),
        0,
    )


def binance_spot(bars: Sequence[Bar]) -> Files:
    rows = [kline(bar, unit=1000, decimals=8) for bar in bars]
    return {"BTCUSDT-1h-2024-03.csv": delimited(None, rows)}


def binance_spot_zip(bars: Sequence[Bar]) -> Files:
    return {"BTCUSDT-1h-2024-03.zip": zipped(binance_spot(bars))}


def binance_spot_micro(bars: Sequence[Bar]) -> Files:
    rows = [kline(bar, unit=1_000_000, decimals=8) for bar in bars]
    return {"BTCUSDT-1h-2025-03.csv": delimited(None, rows)}


def binance_futures(bars: Sequence[Bar]) -> Files:
    names = "open_time open high low close volume close_time quote_volume count taker_buy_volume taker_buy_quote_volume"
    head = ",".join([*names.split(), "ignore"])
    return {"BTCUSDT-1h-2024-03.csv": delimited(head, [kline(bar, unit=1000, decimals=5) for bar in bars])}


def cryptoarchive(bars: Sequence[Bar]) -> Files:
    """A gzip of columns between bars of text, in seconds."""
    rows = []
    for bar in bars:
        quote, bought = bar.volume * bar.close, bar.volume / 2
        amounts = (bought * bar.close, bought, quote)
        rows.append(
            (
                seconds(bar),
                *(fixed(price, 2) for price in prices(bar)),
                fixed(bar.volume, 6),
                *(fixed(amount, 6) for amount in amounts),
                trades(bar, 1),
            )
        )
    return {"BTCUSDT.csv.gz": gzipped(delimited(None, rows, "|"))}


def kaiko(bars: Sequence[Bar]) -> Files:
    rows = [(seconds(bar) * 1000, *map(short, prices(bar)), short(bar.volume)) for bar in bars]
    return {"bn_btcusdt_ohlcv_1h_2024.csv": delimited(None, rows)}


def coinbase_candles(bars: Sequence[Bar]) -> Files:
    """Arrays of time, low, high, open, close and volume, newest first."""
    rows = [
        [seconds(bar), *(number(price) for price in (bar.low, bar.high, bar.open, bar.close)), number(bar.volume)]
        for bar in reversed(bars)
    ]
    return {"candles.json": document(rows)}


def coinbase_advanced(bars: Sequence[Bar]) -> Files:
    """Objects with strings, newest first."""
    names = ("low", "high", "open", "close", "volume")
    candles = [
        {"start": str(seconds(bar)), **{name: short(getattr(bar, name)) for name in names}} for bar in reversed(bars)
    ]
    return {"candles.json": document({"candles": candles})}


def cryptodatadownload(bars: Sequence[Bar]) -> Files:
    """The first line names the site; newest first; the quote's volume is called `volume`."""
    head = "Created on 04-01-2024,https://www.CryptoDataDownload.com\ndate,symbol,open,high,low,close,volume_btc,volume"
    rows = [
        (bar.day, "BTCUSDT", *map(short, prices(bar)), short(bar.volume), fixed(bar.volume * bar.close, 2))
        for bar in reversed(bars)
    ]
    return {"Binance_BTCUSDT_d.csv": delimited(head, rows)}


def cryptodatadownload_hours(bars: Sequence[Bar]) -> Files:
    """Unix seconds with a decimal beside an hour of twelve; a slash in the pair; newest first."""
    head = (
        "https://www.CryptoDataDownload.com\n"
        "Unix Timestamp,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount"
    )
    rows = [
        (
            f"{seconds(bar)}.0",
            f"{bar.ts:%Y-%m-%d %I-%p}",
            "BTC/USDT",
            *(fixed(price, 2) for price in (*prices(bar), bar.volume, bar.volume * bar.close)),
            "NULL",
        )
        for bar in reversed(bars)
    ]
    return {"Binance_BTCUSDT_1h.csv": delimited(head, rows)}


def freqtrade_json(bars: Sequence[Bar]) -> Files:
    rows = [[seconds(bar) * 1000, *floats(bar), float(bar.volume)] for bar in of(bars, "ADABTC")]
    return {"ADA_BTC-1d.json": document(rows)}


def freqtrade_feather(bars: Sequence[Bar]) -> Files:
    """A feather file with a column `date` in UTC milliseconds, compressed by lz4."""
    columns: dict[str, Any] = {"date": pa.array([bar.ts for bar in bars], pa.timestamp("ms", tz="UTC"))}
    for name in ("open", "high", "low", "close", "volume"):
        columns[name] = pa.array([float(getattr(bar, name)) for bar in bars], pa.float64())
    file = io.BytesIO()
    feather.write_feather(pa.table(columns), file, compression="lz4", compression_level=9)
    return {"BTC_USDT-1h.feather": file.getvalue()}


def binance_rest(bars: Sequence[Bar]) -> Files:
    rows = []
    for bar in bars:
        fields = kline(bar, unit=1000, decimals=8)
        rows.append([field if n in (0, 6, 8) else str(field) for n, field in enumerate(fields)])
    return {"klines.json": document(rows)}


def ccxt_json(bars: Sequence[Bar]) -> Files:
    return {"ohlcv.json": document([[seconds(bar) * 1000, *floats(bar), float(bar.volume)] for bar in bars])}


def bitfinex_json(bars: Sequence[Bar]) -> Files:
    """Newest first; the close stands before high and low."""
    rows = [
        [seconds(bar) * 1000, *(number(amount) for amount in (bar.open, bar.close, bar.high, bar.low, bar.volume))]
        for bar in reversed(bars)
    ]
    return {"hist.json": document(rows)}


def okx_json(bars: Sequence[Bar]) -> Files:
    """Newest first; nine strings a candle: volumes of base and quote, and whether it is complete."""
    rows = [
        [str(seconds(bar) * 1000), *map(short, prices(bar)), *map(short, amounts), "1"]
        for bar in reversed(bars)
        for amounts in [(bar.volume, bar.volume * bar.close, bar.volume * bar.close)]
    ]
    return {"candles.json": document({"code": "0", "msg": "", "data": rows})}


def bybit_json(bars: Sequence[Bar]) -> Files:
    """Newest first; the symbol stands beside the list."""
    rows = [
        [str(seconds(bar) * 1000), *map(short, prices(bar)), short(bar.volume), short(bar.volume * bar.close)]
        for bar in reversed(bars)
    ]
    result = {"category": "spot", "symbol": "BTCUSDT", "list": rows}
    answer = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1711929600000}
    return {"kline.json": document(answer)}


def kraken_json(bars: Sequence[Bar]) -> Files:
    """The pair is the name of the list; a mean price stands before the volume."""
    rows = []
    for bar in bars:
        texts = (*(fixed(price, 2) for price in prices(bar)), fixed(bar.close, 2), fixed(bar.volume, 8))
        rows.append([seconds(bar), *texts, trades(bar, 1)])
    return {"OHLC.json": document({"error": [], "result": {"XBTUSDT": rows, "last": seconds(bars[-1])}})}


def kraken_ohlcvt(bars: Sequence[Bar]) -> Files:
    """A zip of one headerless CSV a pair, named by pair and minutes."""
    members = {}
    for symbol, pair in (("BTCUSDT", "XBTUSDT"), ("ETHUSDT", "ETHUSDT")):
        rows = [(seconds(bar), *map(short, prices(bar)), short(bar.volume), trades(bar, 1)) for bar in of(bars, symbol)]
        members[f"{pair}_1440.csv"] = delimited(None, rows)
    return {"Kraken_OHLCVT_Q1_2024.zip": zipped(members)}


def bitstamp_json(bars: Sequence[Bar]) -> Files:
    names = ("close", "high", "low", "open")
    candles = [
        {name: short(getattr(bar, name)) for name in names}
        | {"timestamp": str(seconds(bar)), "volume": fixed(bar.volume, 8)}
        for bar in bars
    ]
    return {"ohlc.json": document({"data": {"ohlc": candles, "pair": "BTC/USDT"}}, spaces=True)}


def finnhub_json(bars: Sequence[Bar]) -> Files:
    """One list for each field."""
    lists: dict[str, object] = {name[0]: [float(getattr(bar, name)) for bar in bars] for name in NAMES}
    return {
        "candle.json": document(
            lists | {"s": "ok", "t": [seconds(bar) for bar in bars], "v": [float(bar.volume) for bar in bars]}
        )
    }


NAMES: Final = ("close", "high", "low", "open")


def bitmex_json(bars: Sequence[Bar]) -> Files:
    """Stamped with the close of the candle."""
    candles = []
    for bar in bars:
        opened, high, low, close = (number(price) for price in prices(bar))
        candles.append(
            {"timestamp": f"{bar.ts + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}.000Z", "symbol": "XBTUSDT", "open": opened}
            | {"high": high, "low": low, "close": close, "trades": trades(bar, 1), "volume": number(bar.volume)}
            | {"vwap": close, "lastSize": 100, "turnover": number(bar.volume * 10**8), "homeNotional": 1.5}
            | {"foreignNotional": 100000}
        )
    return {"bucketed.json": document(candles)}


def coinex_json(bars: Sequence[Bar]) -> Files:
    candles = [
        {"market": "BTCUSDT", "created_at": seconds(bar) * 1000, "open": short(bar.open), "close": short(bar.close)}
        | {"high": short(bar.high), "low": short(bar.low), "volume": short(bar.volume)}
        | {"value": short(bar.volume * bar.close)}
        for bar in bars
    ]
    return {"kline.json": document({"code": 0, "data": candles, "message": "OK"})}


def tradingview_iso(bars: Sequence[Bar]) -> Files:
    """A chart in Tokyo's clock, with three plots of one name between close and volume."""
    rows = []
    for bar in bars:
        plots = (float(bar.close * band) for band in BANDS)
        rows.append((at(bar, TOKYO).isoformat(), *map(short, prices(bar)), *plots, short(bar.volume)))
    return {"BINANCE_BTCUSDT, 60.csv": delimited("time,open,high,low,close,Plot,Plot,Plot,Volume", rows)}


TOKYO: Final = ZoneInfo("Asia/Tokyo")
BANDS: Final = (Decimal("0.98"), Decimal("1.001"), Decimal("1.02"))
"""Plots of the chart, as multiples of the close."""

WRITERS: Final[dict[str, Writer]] = {
    "binance-futures": binance_futures,
    "binance-rest": binance_rest,
    "bitfinex-json": bitfinex_json,
    "bitmex-json": bitmex_json,
    "bitstamp-json": bitstamp_json,
    "bybit-json": bybit_json,
    "ccxt-json": ccxt_json,
    "coinex-json": coinex_json,
    "finnhub-json": finnhub_json,
    "kraken-json": kraken_json,
    "kraken-ohlcvt": kraken_ohlcvt,
    "okx-json": okx_json,
    "tradingview-iso": tradingview_iso,
    "binance-spot": binance_spot,
    "binance-spot-micro": binance_spot_micro,
    "binance-spot-zip": binance_spot_zip,
    "coinbase-advanced": coinbase_advanced,
    "coinbase-candles": coinbase_candles,
    "cryptoarchive": cryptoarchive,
    "cryptodatadownload-days": cryptodatadownload,
    "cryptodatadownload-hours": cryptodatadownload_hours,
    "freqtrade-feather": freqtrade_feather,
    "freqtrade-json": freqtrade_json,
    "kaiko": kaiko,
}
"""Name of a format -> its writer."""
