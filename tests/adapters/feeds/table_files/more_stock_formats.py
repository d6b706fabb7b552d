"""Writers of daily files of shares: further vendors, pages with local spellings, and frames of libraries."""

import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
from alpaca.data.models import BarSet

from tests.adapters.feeds.table_files.expected_bars import Bar
from tests.adapters.feeds.table_files.stock_formats import DIVIDEND, SPLIT, alpaca_bar
from tests.adapters.feeds.table_files.writing import (
    Files,
    adjusted_closes,
    delimited,
    document,
    fixed,
    floats,
    gzipped,
    midnight,
    number,
    of,
    offset,
    prices,
    short,
    single,
    trades,
    zipped,
)

Writer = Callable[[Sequence[Bar]], Files]
FIELDS: Final = ("Close", "High", "Low", "Open", "Volume")


def stooq_single(bars: Sequence[Bar]) -> Files:
    """Named by the ticker with its country; prices without zeros at the end."""
    rows = [(bar.day, *map(short, prices(bar)), bar.volume) for bar in bars]
    return {"aapl_us_d.csv": delimited("Date,Open,High,Low,Close,Volume", rows, end="\r\n")}


def stooq_bulk(bars: Sequence[Bar]) -> Files:
    """A folder of one file a ticker, with names of columns in angle brackets."""
    head = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"
    return {
        f"data/daily/us/nasdaq stocks/{symbol.lower()}.us.txt": delimited(
            head,
            [
                (f"{symbol}.US", "D", f"{bar.day:%Y%m%d}", "000000", *map(short, prices(bar)), bar.volume, 0)
                for bar in of(bars, symbol)
            ],
            end="\r\n",
        )
        for symbol in ("AAPL", "MSFT")
    }


def stooq_bulk_zip(bars: Sequence[Bar]) -> Files:
    return {"d_us_txt.zip": zipped(stooq_bulk(bars))}


def huge_stock_market(bars: Sequence[Bar]) -> Files:
    rows = [(bar.day, *map(short, prices(bar)), bar.volume, 0) for bar in bars]
    return {"aapl.us.txt": delimited("Date,Open,High,Low,Close,Volume,OpenInt", rows)}


def metastock_days(bars: Sequence[Bar]) -> Files:
    """Seven columns without a header; all symbols of a day beside each other."""
    rows = [
        (bar.symbol, f"{bar.day:%Y%m%d}", *map(short, prices(bar)), bar.volume)
        for bar in sorted(bars, key=lambda bar: (bar.ts, bar.symbol))
    ]
    return {"prices.csv": delimited(None, rows)}


def kibot_days(bars: Sequence[Bar]) -> Files:
    """One file a symbol without a header, the month first."""
    return {
        f"{symbol}.txt": delimited(
            None,
            [(f"{bar.day:%m/%d/%Y}", *map(short, prices(bar)), bar.volume) for bar in of(bars, symbol)],
            end="\r\n",
        )
        for symbol in ("AAPL", "MSFT")
    }


def alphavantage_adjusted(bars: Sequence[Bar]) -> Files:
    """Newest first; raw prices, an adjusted close, and the day's dividend and split."""
    head = "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient"
    rows = [
        (
            bar.day,
            *map(short, prices(bar)),
            f"{float(adjusted):.10f}",
            bar.volume,
            fixed(DIVIDEND.get(bar.day, bar.volume * 0), 4),
            float(SPLIT.get(bar.day, 1)),
        )
        for bar, adjusted in zip(bars, adjusted_closes(bars, DIVIDEND, SPLIT), strict=True)
    ]
    return {"daily_adjusted_AAPL.csv": delimited(head, rows[::-1], end="\r\n")}


def polygon_aggregates(bars: Sequence[Bar]) -> Files:
    """Days stamped with milliseconds of New York's midnight; the ticker stands once."""
    results = []
    for bar in bars:
        opened, high, low, close = (number(price) for price in prices(bar))
        average = float(((bar.high + bar.low) / 2).quantize(bar.low))
        results.append(
            {"v": float(bar.volume), "vw": average, "o": opened, "c": close, "h": high, "l": low}
            | {"t": int(midnight(bar).timestamp()) * 1000, "n": trades(bar, 106)}
        )
    head = {"ticker": "AAPL", "queryCount": len(bars), "resultsCount": len(bars), "adjusted": True}
    tail = {"status": "OK", "request_id": "0123456789abcdef", "count": len(bars)}
    return {"aggs.json": document({**head, "results": results, **tail})}


def massive_flat_days(bars: Sequence[Bar]) -> Files:
    """A folder of years and months with one gzip a day, which holds all tickers."""
    head = "ticker,volume,open,close,high,low,window_start,transactions"
    result = {}
    for day in sorted({bar.ts for bar in bars}):
        rows = [
            (
                bar.symbol,
                bar.volume,
                *map(short, (bar.open, bar.close, bar.high, bar.low)),
                int(midnight(bar).timestamp()) * 10**9,
                trades(bar, 106),
            )
            for bar in bars
            if bar.ts == day
        ]
        result[f"day_aggs_v1/{day:%Y/%m/%Y-%m-%d}.csv.gz"] = gzipped(delimited(head, rows))
    return result


def marketstack(bars: Sequence[Bar]) -> Files:
    """Newest first; each day names its symbol and exchange."""
    days = []
    for bar, close in zip(bars, adjusted_closes(bars, DIVIDEND, SPLIT), strict=True):
        factor = close / bar.close
        opened, high, low, last = floats(bar)
        days.append(
            {"open": opened, "high": high, "low": low, "close": last, "volume": float(bar.volume)}
            | {f"adj_{name}": round(float(getattr(bar, name) * factor), 4) for name in ("high", "low", "close", "open")}
            | {"adj_volume": float(bar.volume), "split_factor": float(SPLIT.get(bar.day, 1))}
            | {"dividend": float(DIVIDEND.get(bar.day, 0)), "symbol": "AAPL", "exchange": "XNAS", "date": f"{bar.day}"}
        )
    page = {"limit": 100, "offset": 0, "count": len(days), "total": len(days)}
    return {"eod.json": document({"pagination": page, "data": days[::-1]}, indent=2)}


def eodhd_json(bars: Sequence[Bar]) -> Files:
    days = [
        {"date": f"{bar.day}", "open": opened, "high": high, "low": low, "close": close}
        | {"adjusted_close": round(float(adjusted), 4), "volume": int(bar.volume)}
        for bar, adjusted in zip(bars, adjusted_closes(bars, DIVIDEND, {}), strict=True)
        for opened, high, low, close in [floats(bar)]
    ]
    return {"AAPL.US.json": document(days)}


def eodhd_csv(bars: Sequence[Bar]) -> Files:
    rows = [
        (bar.day, *map(short, prices(bar)), round(float(adjusted), 4), bar.volume)
        for bar, adjusted in zip(bars, adjusted_closes(bars, DIVIDEND, {}), strict=True)
    ]
    return {"AAPL.US.csv": delimited("Date,Open,High,Low,Close,Adjusted_close,Volume", rows)}


def fmp_json(bars: Sequence[Bar]) -> Files:
    """Newest first; beside the prices stand changes and a label."""
    days = []
    for bar, adjusted in zip(bars, adjusted_closes(bars, DIVIDEND, {}), strict=True):
        opened, high, low, close = floats(bar)
        change = bar.close - bar.open
        days.append(
            {"date": f"{bar.day}", "open": opened, "high": high, "low": low, "close": close}
            | {"adjClose": round(float(adjusted), 6), "volume": int(bar.volume), "change": float(change)}
            | {"changePercent": round(float(change / bar.open * 100), 3), "label": f"{bar.day:%B %d, %y}"}
            | {"changeOverTime": round(float(change / bar.open), 5)}
        )
    return {"historical-price-full.json": document({"symbol": "AAPL", "historical": days[::-1]}, indent=2)}


def nasdaq_page(bars: Sequence[Bar]) -> Files:
    """Newest first, the close before the volume, a currency sign before each price."""
    rows = [
        (f"{bar.day:%m/%d/%Y}", f"${bar.close}", bar.volume, f"${bar.open}", f"${bar.high}", f"${bar.low}")
        for bar in reversed(bars)
    ]
    return {"HistoricalData_1712361600000.csv": delimited("Date,Close/Last,Volume,Open,High,Low", rows)}


def investing(bars: Sequence[Bar], form: str) -> bytes:
    """Each cell in quotes, commas in thousands, volumes of three digits and a letter, a byte-order mark."""
    rows, before = [], bars[0].open
    for bar in bars:
        size, letter = (bar.volume / 10**6, "M") if bar.volume >= 10**6 else (bar.volume / 1000, "K")
        change = (bar.close / before - 1) * 100
        cells = [bar.day.strftime(form), *(f"{price:,.2f}" for price in (bar.close, bar.open, bar.high, bar.low))]
        rows.append(",".join(f'"{cell}"' for cell in [*cells, f"{size:.2f}{letter}", f"{change:.2f}%"]))
        before = bar.close
    head = '"Date","Price","Open","High","Low","Vol.","Change %"'
    return b"\xef\xbb\xbf" + "\n".join([head, *reversed(rows)]).encode()


def investing_page(bars: Sequence[Bar]) -> Files:
    return {"BKNG Historical Data.csv": investing(bars, "%m/%d/%Y")}


def investing_page_months(bars: Sequence[Bar]) -> Files:
    return {"AAPL Historical Data.csv": investing(bars, "%b %d, %Y")}


def tradingview_unix(bars: Sequence[Bar]) -> Files:
    """Unix seconds of the session's open in New York, and a mean of volumes as the last column."""
    rows, volumes = [], []
    for bar in bars:
        volumes.append(bar.volume)
        opened = midnight(bar).replace(hour=9, minute=30)
        mean_volume = sum(volumes[-20:]) // len(volumes[-20:])
        rows.append((int(opened.timestamp()), *map(short, prices(bar)), bar.volume, mean_volume))
    return {"NASDAQ_AAPL, 1D.csv": delimited("time,open,high,low,close,Volume,Volume MA", rows)}


def backtesting_days(bars: Sequence[Bar]) -> Files:
    """A frame's CSV whose index has no name."""
    rows = [(bar.day, *map(short, prices(bar)), bar.volume) for bar in bars]
    return {"AAPL.csv": delimited(",Open,High,Low,Close,Volume", rows)}


def german_bank(bars: Sequence[Bar]) -> Files:
    """Semicolons, day first, decimal commas, points in thousands, newest first, in the code page of Windows."""

    def spelled(text: str) -> str:
        return text.translate(str.maketrans(",.", ".,"))

    rows = [
        (f"{bar.day:%d.%m.%Y}", *(spelled(f"{price:,.2f}") for price in prices(bar)), spelled(f"{bar.volume:,}"))
        for bar in reversed(bars)
    ]
    text = delimited("Datum;Eröffnung;Hoch;Tief;Schluss;Volumen", rows, ";", end="\r\n")
    return {"kurse_RMS.csv": text.decode().encode("cp1252")}


def download_frame(bars: Sequence[Bar], symbols: Sequence[str], names: tuple[str, str]) -> bytes:
    """Parquet of a downloaded frame, as pandas writes it: a pair of levels is a column named by its tuple."""
    columns: dict[tuple[str, str], list[Any]] = {}
    for symbol in symbols:
        for field in FIELDS:
            values = [getattr(bar, field.lower()) for bar in of(bars, symbol)]
            key = (field, symbol) if names[0] == "Price" else (symbol, field)
            columns[key] = (
                [int(value) for value in values] if field == "Volume" else [single(value) for value in values]
            )
    days = pd.DatetimeIndex([bar.ts.replace(tzinfo=None) for bar in of(bars, symbols[0])], name="Date")
    frame = pd.DataFrame(columns, index=days)
    frame.columns = pd.MultiIndex.from_tuples(list(columns), names=names)
    if names[0] == "Price":
        frame = frame.sort_index(axis=1)
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def yfinance_frame_price(bars: Sequence[Bar]) -> Files:
    return {"prices.parquet": download_frame(bars, ["AAPL", "MSFT"], ("Price", "Ticker"))}


def yfinance_frame_ticker(bars: Sequence[Bar]) -> Files:
    return {"prices.parquet": download_frame(bars, ["AAPL", "MSFT"], ("Ticker", "Price"))}


def alpaca_frame(bars: Sequence[Bar]) -> pd.DataFrame:
    """The frame of alpaca-py from its own classes."""
    return BarSet({symbol: [alpaca_bar(bar) for bar in of(bars, symbol)] for symbol in ("AAPL", "MSFT")}).df


def alpaca_frame_csv(bars: Sequence[Bar]) -> Files:
    return {"bars.csv": alpaca_frame(bars).to_csv().encode()}


def alpaca_frame_parquet(bars: Sequence[Bar]) -> Files:
    file = io.BytesIO()
    alpaca_frame(bars).to_parquet(file)
    return {"bars.parquet": file.getvalue()}


def databento_frame(bars: Sequence[Bar]) -> Files:
    """The frame of databento's client: times with an offset, prices as decimals."""
    head = "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol"
    rows = [
        (offset(bar.ts), 35, 90, instrument, *floats(bar), bar.volume, bar.symbol)
        for bar in sorted(bars, key=lambda bar: (bar.ts, bar.symbol))
        for instrument in [{"AAPL": 38, "MSFT": 10888}[bar.symbol]]
    ]
    return {"ohlcv-1d.csv": delimited(head, rows)}


def nautilus_bars(bars: Sequence[Bar]) -> Files:
    """Fixed-point binaries of 16 bytes (10^-16, little-endian); stamps of the close; the type is in the metadata."""

    def raw(value: Any) -> bytes:
        return int(value.scaleb(16)).to_bytes(16, "little", signed=True)

    stamps = pa.array([(int(bar.ts.timestamp()) + 300) * 10**9 for bar in bars], pa.uint64())
    columns = {
        name: pa.array([raw(getattr(bar, name)) for bar in bars], pa.binary(16))
        for name in ("open", "high", "low", "close", "volume")
    }
    metadata = {"bar_type": "AAPL.XNAS-5-MINUTE-LAST-EXTERNAL", "price_precision": "2", "size_precision": "0"}
    table = pa.table(columns | {"ts_event": stamps, "ts_init": stamps}).replace_schema_metadata(metadata)
    file = io.BytesIO()
    parquet.write_table(table, file)
    return {"data/bar/AAPL.XNAS-5-MINUTE-LAST-EXTERNAL/part-0.parquet": file.getvalue()}


WRITERS: Final[dict[str, Writer]] = {
    "alpaca-frame-csv": alpaca_frame_csv,
    "alpaca-frame-parquet": alpaca_frame_parquet,
    "alphavantage-adjusted": alphavantage_adjusted,
    "backtesting-days": backtesting_days,
    "databento-frame": databento_frame,
    "eodhd-csv": eodhd_csv,
    "eodhd-json": eodhd_json,
    "fmp-json": fmp_json,
    "german-bank": german_bank,
    "huge-stock-market": huge_stock_market,
    "investing-page": investing_page,
    "investing-page-months": investing_page_months,
    "kibot-days": kibot_days,
    "marketstack": marketstack,
    "massive-flat-days": massive_flat_days,
    "metastock-days": metastock_days,
    "nasdaq-page": nasdaq_page,
    "nautilus-bars": nautilus_bars,
    "polygon-aggregates": polygon_aggregates,
    "stooq-bulk": stooq_bulk,
    "stooq-bulk-zip": stooq_bulk_zip,
    "stooq-single": stooq_single,
    "tradingview-unix": tradingview_unix,
    "yfinance-frame-price": yfinance_frame_price,
    "yfinance-frame-ticker": yfinance_frame_ticker,
}
"""Name of a format -> its writer."""
