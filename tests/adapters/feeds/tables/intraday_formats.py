"""Writers of intraday files of shares and currencies, and of terminals."""

from collections.abc import Callable, Sequence
from typing import Final
from zoneinfo import ZoneInfo

from tests.adapters.feeds.tables.expected_bars import Bar
from tests.adapters.feeds.tables.writing import NEW_YORK, Files, at, delimited, document, fixed, prices, short, utc

Writer = Callable[[Sequence[Bar]], Files]

EST: Final = ZoneInfo("Etc/GMT+5")
"""Eastern standard time in summer too."""


def alphavantage_intraday_json(bars: Sequence[Bar]) -> Files:
    """An object of objects, newest first, in the zone that its head names."""
    names = ("1. open", "2. high", "3. low", "4. close")
    series = {
        f"{at(bar, NEW_YORK):%Y-%m-%d %H:%M:%S}": {
            **{name: fixed(price, 4) for name, price in zip(names, prices(bar), strict=True)},
            "5. volume": f"{bar.volume}",
        }
        for bar in reversed(bars)
    }
    head = {
        "1. Information": "Intraday (5min) open, high, low, close prices and volume",
        "2. Symbol": "AAPL",
        "3. Last Refreshed": next(iter(series)),
        "4. Interval": "5min",
        "5. Output Size": "Compact",
        "6. Time Zone": "US/Eastern",
    }
    return {"query.json": document({"Meta Data": head, "Time Series (5min)": series}, indent=4)}


def alphavantage_intraday_csv(bars: Sequence[Bar]) -> Files:
    """Newest first, New York's clock without a word about it, line ends of Windows."""
    rows = [
        (f"{at(bar, NEW_YORK):%Y-%m-%d %H:%M:%S}", *(fixed(price, 4) for price in prices(bar)), bar.volume)
        for bar in reversed(bars)
    ]
    return {"intraday_5min_AAPL.csv": delimited("timestamp,open,high,low,close,volume", rows, end="\r\n")}


def histdata_ascii(bars: Sequence[Bar]) -> Files:
    rows = [(f"{at(bar, EST):%Y%m%d %H%M%S}", *(fixed(price, 6) for price in prices(bar)), 0) for bar in bars]
    return {"DAT_ASCII_EURUSD_M1_202403.csv": delimited(None, rows, ";", end="\r\n")}


def histdata_metatrader(bars: Sequence[Bar]) -> Files:
    rows = [(f"{at(bar, EST):%Y.%m.%d,%H:%M}", *(fixed(price, 6) for price in prices(bar)), 0) for bar in bars]
    return {"DAT_MT_EURUSD_M1_202403.csv": delimited(None, rows, end="\r\n")}


def stocksharp_metastock(bars: Sequence[Bar]) -> Files:
    head = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>"
    rows = [
        ("AAPL", 5, *at(bar, NEW_YORK).strftime("%Y%m%d %H%M%S").split(), *map(short, prices(bar)), bar.volume)
        for bar in bars
    ]
    return {"AAPL_5.txt": delimited(head, rows, end="\r\n")}


def tslab_offline(bars: Sequence[Bar]) -> Files:
    """No header, the month first, a semicolon at the end of each line."""
    rows = [(utc(bar, "%m/%d/%Y"), utc(bar, "%H:%M"), *map(short, prices(bar)), bar.volume, "") for bar in bars]
    return {"AAPL.csv": delimited(None, rows, ";", end="\r\n")}


WRITERS: Final[dict[str, Writer]] = {
    "alphavantage-intraday-json": alphavantage_intraday_json,
    "histdata-ascii": histdata_ascii,
    "histdata-metatrader": histdata_metatrader,
    "stocksharp-metastock": stocksharp_metastock,
    "tslab-offline": tslab_offline,
}
"""Name of a format -> its writer."""
