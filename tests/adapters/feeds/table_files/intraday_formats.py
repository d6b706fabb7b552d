"""Writers of intraday files of shares and currencies, and of terminals."""

from collections.abc import Callable, Sequence
from typing import Final
from zoneinfo import ZoneInfo

from tests.adapters.feeds.table_files.expected_bars import Bar
from tests.adapters.feeds.table_files.writing import (
    NEW_YORK,
    Files,
    at,
    delimited,
    document,
    fixed,
    floats,
    mean,
    prices,
    short,
    trades,
    utc,
)

Writer = Callable[[Sequence[Bar]], Files]

EST: Final = ZoneInfo("Etc/GMT+5")
"""Eastern standard time in summer too."""

ATHENS: Final = ZoneInfo("Europe/Athens")
LONDON: Final = ZoneInfo("Europe/London")


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


def histdata_ninjatrader(bars: Sequence[Bar]) -> Files:
    return {"DAT_NT_EURUSD_M1_202403.csv": next(iter(histdata_ascii(bars).values()))}


def histdata_metastock(bars: Sequence[Bar]) -> Files:
    rows = [("EURUSD", f"{at(bar, EST):%Y%m%d%H%M}", *(fixed(price, 6) for price in prices(bar)), 0) for bar in bars]
    return {"DAT_MS_EURUSD_M1_202403.csv": delimited(None, rows, end="\r\n")}


def metatrader4(bars: Sequence[Bar]) -> Files:
    """The clock of a broker's server in Athens, two hours ahead of London in winter and in summer."""
    rows = [
        (f"{at(bar, ATHENS):%Y.%m.%d,%H:%M}", *(fixed(price, 5) for price in prices(bar)), bar.volume) for bar in bars
    ]
    return {"EURUSD1.csv": delimited(None, rows, end="\r\n")}


def jforex(bars: Sequence[Bar]) -> Files:
    """The name of the first column says the zone."""
    rows = [(utc(bar, "%Y.%m.%d %H:%M:%S"), *map(short, prices(bar)), bar.volume) for bar in bars]
    return {"EURUSD_1 Min_Bid_2024.03.29_2024.04.01.csv": delimited("Time (UTC),Open,High,Low,Close,Volume", rows)}


def kibot_minutes(bars: Sequence[Bar]) -> Files:
    """No header, the month first, New York's clock."""
    rows = [(f"{at(bar, NEW_YORK):%m/%d/%Y,%H:%M}", *map(short, prices(bar)), bar.volume) for bar in bars]
    return {"AAPL.txt": delimited(None, rows, end="\r\n")}


def ib_insync(bars: Sequence[Bar]) -> Files:
    """The CSV of `util.df(bars)`: numbered rows, and the clock of the machine without a word about it."""
    rows = [
        (n, f"{at(bar, NEW_YORK):%Y-%m-%d %H:%M:%S}", *floats(bar), bar.volume, trades(bar, 90), float(mean(bar, 3)))
        for n, bar in enumerate(bars)
    ]
    return {"AAPL.csv": delimited(",date,open,high,low,close,volume,barCount,average", rows)}


def metatrader5(bars: Sequence[Bar]) -> Files:
    """Tabs, names of columns in angle brackets, tick volume beside a volume of zero, the broker's clock."""
    head = "<DATE> <TIME> <OPEN> <HIGH> <LOW> <CLOSE> <TICKVOL> <VOL> <SPREAD>".replace(" ", "\t")
    rows = [
        (*f"{at(bar, ATHENS):%Y.%m.%d %H:%M:%S}".split(), *(fixed(price, 5) for price in prices(bar)), bar.volume, 0, 4)
        for bar in bars
    ]
    return {"EURUSD_M1_202403292200_202404010104.csv": delimited(head, rows, "\t", end="\r\n")}


def dukascopy(bars: Sequence[Bar]) -> Files:
    """Local time with the offset of each moment; minutes without a trade are flat and have no volume."""
    rows = []
    for bar in bars:
        stamp = at(bar, LONDON)
        rows.append((f"{stamp:%d.%m.%Y %H:%M:%S}.000 GMT{stamp:%z}", *map(short, prices(bar)), bar.volume))
    name = "EURUSD_Candlestick_1_M_BID_29.03.2024-31.03.2024.csv"
    return {name: delimited("Local time,Open,High,Low,Close,Volume", rows)}


def backtesting_minutes(bars: Sequence[Bar]) -> Files:
    """A frame's CSV whose index has no name; times without a zone are UTC."""
    rows = [(utc(bar, "%Y-%m-%d %H:%M:%S"), *map(short, prices(bar)), bar.volume) for bar in bars]
    return {"EURUSD.csv": delimited(",Open,High,Low,Close,Volume", rows)}


WRITERS: Final[dict[str, Writer]] = {
    "backtesting-minutes": backtesting_minutes,
    "dukascopy": dukascopy,
    "metatrader5": metatrader5,
    "alphavantage-intraday-json": alphavantage_intraday_json,
    "histdata-ascii": histdata_ascii,
    "histdata-metastock": histdata_metastock,
    "histdata-ninjatrader": histdata_ninjatrader,
    "ib-insync": ib_insync,
    "jforex": jforex,
    "kibot-minutes": kibot_minutes,
    "metatrader4": metatrader4,
    "alphavantage-intraday-csv": alphavantage_intraday_csv,
    "histdata-metatrader": histdata_metatrader,
    "stocksharp-metastock": stocksharp_metastock,
    "tslab-offline": tslab_offline,
}
"""Name of a format -> its writer."""
