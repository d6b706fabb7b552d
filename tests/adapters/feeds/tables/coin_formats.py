"""Writers of files of coins: candles of exchanges and of the tools that store them."""

import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.feather as feather

from tests.adapters.feeds.tables.expected_bars import Bar
from tests.adapters.feeds.tables.writing import (
    Files,
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


WRITERS: Final[dict[str, Writer]] = {
    "binance-futures": binance_futures,
    "binance-spot": binance_spot,
    "binance-spot-micro": binance_spot_micro,
    "binance-spot-zip": binance_spot_zip,
    "coinbase-advanced": coinbase_advanced,
    "coinbase-candles": coinbase_candles,
    "cryptoarchive": cryptoarchive,
    "cryptodatadownload-days": cryptodatadownload,
    "freqtrade-feather": freqtrade_feather,
    "freqtrade-json": freqtrade_json,
    "kaiko": kaiko,
}
"""Name of a format -> its writer."""
