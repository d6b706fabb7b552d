"""Writers of daily files of shares, as pages, vendors' downloads and back-testers keep them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date
from decimal import Decimal
from typing import Final

from tests.adapters.feeds.table_files.expected_bars import EX_DAY, SPLIT_DAY, Bar
from tests.adapters.feeds.table_files.writing import (
    Files,
    adjusted_closes,
    delimited,
    document,
    floats,
    lines,
    mean,
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

DIVIDEND: Final = {EX_DAY: Decimal("0.24")}
SPLIT: Final = {SPLIT_DAY: 4}


def yahoo_page(bars: Sequence[Bar]) -> Files:
    """Six decimals of 32-bit prices; a line of nulls on a day without trading."""
    rows = [
        (f"{bar.day}", *(f"{single(price):.6f}" for price in prices(bar)), f"{single(adjusted):.6f}", bar.volume)
        for bar, adjusted in zip(bars, adjusted_closes(bars, DIVIDEND, {}), strict=True)
    ]
    rows.insert(len([bar for bar in bars if bar.day.isoformat() < "2024-03-29"]), ("2024-03-29", *["null"] * 6))
    return {"AAPL.csv": delimited("Date,Open,High,Low,Close,Adj Close,Volume", rows)}


def yfinance_history(bars: Sequence[Bar], splits: Mapping[date, int] | None = None) -> Files:
    """`Ticker.history()`: midnight of New York with its offset, then columns of actions."""
    rows = [
        (
            offset(midnight(bar)),
            *(repr(single(price)) for price in prices(bar)),
            bar.volume,
            0.24 if bar.day == EX_DAY else 0.0,
            float((splits or {}).get(bar.day, 0)),
        )
        for bar in bars
    ]
    return {"AAPL.csv": delimited("Date,Open,High,Low,Close,Volume,Dividends,Stock Splits", rows)}


def yfinance_history_split(bars: Sequence[Bar]) -> Files:
    """As `yfinance_history`, with a split that the prices do not show: Yahoo's prices are adjusted for splits."""
    return yfinance_history(bars, {SPLIT_DAY: 4})


def download(bars: Sequence[Bar], symbols: Sequence[str]) -> bytes:
    """`yf.download(..).to_csv()`: one line for each level of the columns, then one with the index's name."""
    fields = ("Close", "High", "Low", "Open", "Volume")
    columns = {symbol: of(bars, symbol) for symbol in symbols}
    head = [
        "Price," + ",".join(field for field in fields for _ in symbols),
        "Ticker," + ",".join(list(symbols) * len(fields)),
        "Date" + "," * (len(fields) * len(symbols)),
    ]
    rows = []
    for n, bar in enumerate(columns[symbols[0]]):
        cells = [
            str(columns[symbol][n].volume)
            if field == "Volume"
            else repr(single(getattr(columns[symbol][n], field.lower())))
            for field in fields
            for symbol in symbols
        ]
        rows.append(",".join([f"{bar.day}", *cells]))
    return lines([*head, *rows])


def yfinance_download_one(bars: Sequence[Bar]) -> Files:
    return {"AAPL.csv": download(bars, ["AAPL"])}


def yfinance_download_two(bars: Sequence[Bar]) -> Files:
    return {"prices.csv": download(bars, ["AAPL", "MSFT"])}


def alpaca_bar(bar: Bar) -> dict[str, object]:
    """One day, stamped with New York's midnight in UTC: 05:00Z in winter, 04:00Z in summer."""
    opened, high, low, close = (number(price) for price in prices(bar))
    moment = midnight(bar).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "t": moment, "o": opened, "h": high, "l": low, "c": close, "v": int(bar.volume), "n": trades(bar, 118),
        "vw": float(mean(bar, 6)),
    }  # fmt: skip


def alpaca_one(bars: Sequence[Bar]) -> Files:
    answer = {"bars": [alpaca_bar(bar) for bar in bars], "symbol": "AAPL", "next_page_token": None}
    return {"bars.json": document(answer)}


def alpaca_several(bars: Sequence[Bar]) -> Files:
    groups = {symbol: [alpaca_bar(bar) for bar in of(bars, symbol)] for symbol in ("AAPL", "MSFT")}
    return {"bars.json": document({"bars": groups, "next_page_token": None})}


def tiingo_values(bar: Bar, adjusted: Decimal) -> dict[str, object]:
    """The fields of one day, in the order of the answer."""
    factor, split = adjusted / bar.close, float(SPLIT.get(bar.day, 1))
    scaled = {f"adj{name.capitalize()}": round(float(getattr(bar, name) * factor), 10) for name in ORDER}
    return {
        **{name: float(getattr(bar, name)) for name in ORDER},
        "volume": int(bar.volume),
        **scaled,
        "adjVolume": int(bar.volume) if bar.day >= SPLIT_DAY else int(bar.volume) * 4,
        "divCash": float(DIVIDEND.get(bar.day, 0)),
        "splitFactor": split,
    }


ORDER: Final = ("close", "high", "low", "open")


def tiingo_csv(bars: Sequence[Bar]) -> Files:
    closes = adjusted_closes(bars, DIVIDEND, SPLIT)
    values = [tiingo_values(bar, close) for bar, close in zip(bars, closes, strict=True)]
    rows = [(bar.day, *value.values()) for bar, value in zip(bars, values, strict=True)]
    return {"AAPL.csv": delimited(",".join(["date", *values[0]]), rows)}


def tiingo_json(bars: Sequence[Bar]) -> Files:
    closes = adjusted_closes(bars, DIVIDEND, SPLIT)
    days = [
        {"date": f"{bar.day}T00:00:00.000Z", **tiingo_values(bar, close)}
        for bar, close in zip(bars, closes, strict=True)
    ]
    return {"AAPL.json": document(days)}


def zipline_csvdir(bars: Sequence[Bar]) -> Files:
    """A folder `daily` with one file a symbol."""
    head = "date,open,high,low,close,volume,dividend,split"
    return {
        f"daily/{symbol}.csv": delimited(
            head, [(bar.day, *map(short, prices(bar)), bar.volume, "0.0", "1.0") for bar in of(bars, symbol)]
        )
        for symbol in ("AAPL", "MSFT")
    }


def wiki_prices(bars: Sequence[Bar]) -> Files:
    """The table WIKI/PRICES: raw prices, dividend and split ratio of the day, then adjusted prices."""
    head = (
        "ticker,date,open,high,low,close,volume,ex-dividend,split_ratio,adj_open,adj_high,adj_low,adj_close,adj_volume"
    )
    rows = []
    for bar, close in zip(bars, adjusted_closes(bars, DIVIDEND, SPLIT), strict=True):
        adjusted = [round(float(price * close / bar.close), 12) for price in prices(bar)]
        volume = float(bar.volume if bar.day >= SPLIT_DAY else bar.volume * 4)
        actions = float(DIVIDEND.get(bar.day, 0)), float(SPLIT.get(bar.day, 1))
        rows.append(("AAPL", bar.day, *floats(bar), float(bar.volume), *actions, *adjusted, volume))
    return {"WIKI_PRICES.zip": zipped({"WIKI_PRICES_212b326a081eacca455e13140d7bb9db.csv": delimited(head, rows)})}


def lean_daily(bars: Sequence[Bar]) -> Files:
    """A zip of one file without header; prices are ten-thousandths of a dollar."""
    rows = [(f"{bar.day:%Y%m%d} 00:00", *(int(price * 10_000) for price in prices(bar)), bar.volume) for bar in bars]
    return {"aapl.zip": zipped({"aapl.csv": delimited(None, rows)})}


def databento_days(bars: Sequence[Bar]) -> Files:
    """Nanoseconds of midnight UTC, prices as integers of 1e-9."""
    head = "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol"
    rows = []
    for symbol, instrument in (("AAPL", 38), ("MSFT", 10888)):
        for bar in of(bars, symbol):
            scaled = (int(price.scaleb(9)) for price in prices(bar))
            rows.append((int(bar.ts.timestamp()) * 10**9, 35, 90, instrument, *scaled, bar.volume, symbol))
    rows.sort(key=lambda row: (row[0], row[3]))
    return {"equs-summary-20240226-20240405.ohlcv-1d.csv": delimited(head, rows)}


def pine_seeds(bars: Sequence[Bar]) -> Files:
    """No header; a date that ends in T."""
    rows = [(f"{bar.day:%Y%m%d}T", *map(short, prices(bar)), bar.volume) for bar in bars]
    return {"AAPL.csv": delimited(None, rows)}


WRITERS: Final[dict[str, Writer]] = {
    "alpaca-one": alpaca_one,
    "alpaca-several": alpaca_several,
    "databento-days": databento_days,
    "lean-daily": lean_daily,
    "pine-seeds": pine_seeds,
    "tiingo-csv": tiingo_csv,
    "tiingo-json": tiingo_json,
    "wiki-prices": wiki_prices,
    "yahoo-page": yahoo_page,
    "yfinance-download-one": yfinance_download_one,
    "yfinance-download-two": yfinance_download_two,
    "yfinance-history": yfinance_history,
    "yfinance-history-split": yfinance_history_split,
    "zipline-csvdir": zipline_csvdir,
}
"""Name of a format -> its writer."""
