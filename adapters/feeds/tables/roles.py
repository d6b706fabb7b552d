"""What the columns of a table are: by their names, and without a header by their values.

Names are compared without case, signs and numbers before them: "Close/Last", "5. adjusted close" and "<TICKVOL>" are
words. No rule asks which program wrote a file. Prices without names are four neighbours of which one is never
below, and one never above, the three others. That leaves open and close: they come in this order, and the next open
has to lie nearer to the close than to the open. A table whose columns would have two readings is refused with both.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from unicodedata import combining, normalize

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import PRICES
from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.tables.moments import is_clock, is_stamp, joined_clock, moments
from quantd.trading.market import Floats, Ints

TIMES: Final = (
    "ts", "open time", "opentime", "time open", "window start", "ts event", "candle begin time", "begin", "begins at",
    "start time", "starttime", "start", "time utc", "utc", "gmt time", "timestamp", "date time", "datetime", "date utc",
    "date gmt", "local time", "date", "time", "trade date", "trading day", "day", "unix", "unix timestamp", "epoch",
    "t",
    "mts", "index", "dt", "bar time", "period start", "created at", "datum", "fecha", "data", "zeit",
)  # fmt: skip
"""Names of columns of times, the most telling first."""

_CLOCKS: Final = ("time", "clock", "hour", "timestamp", "uhrzeit", "zeit", "hora", "heure", "ora")
_SYMBOLS: Final = (
    "symbol", "ticker", "asset", "sym", "code", "instrument", "pair", "act symbol", "security", "contract", "stock",
    "market",
)  # fmt: skip
_PRICES: Final = {
    "open": ("open", "o", "open price", "opening price", "first", "price open", "op", "eroffnung", "eroffnungskurs",
             "erster", "ouverture", "ouv", "apertura", "abertura", "otwarcie", "openen"),
    "high": ("high", "h", "high price", "max", "highest", "price high", "hi", "hoch", "tageshoch", "hochst",
             "plus haut", "haut", "maximo", "massimo", "maxima", "najwyzszy", "hoog"),
    "low": ("low", "l", "low price", "min", "lowest", "price low", "lo", "tief", "tagestief", "tiefst", "plus bas",
            "bas", "minimo", "minima", "najnizszy", "laag"),
    "close": ("close", "c", "close price", "closing price", "close last", "last", "settle", "last price", "price close",
              "unadjusted close", "cl", "schluss", "schlusskurs", "zuletzt", "cloture", "dernier", "cierre", "ultimo",
              "chiusura", "fechamento", "zamkniecie", "slot"),
}  # fmt: skip
"""Words of prices: English, then German, French, Spanish, Italian, Portuguese, Polish and Dutch."""

_VOLUMES: Final = (
    "volume", "v", "vol", "total volume", "base volume", "volume base", "volumefrom", "trade volume", "shares traded",
    "base asset volume", "qty", "tickvol", "tick volume", "no of shares", "total traded quantity", "volumen", "stuck",
    "volumi", "wolumen", "number of shares", "shares", "shares volume",
)  # fmt: skip
ADJUSTED: Final = (
    "adj close", "adjclose", "adjusted close", "close adj", "adj close price", "close adjusted", "adjusted close price",
)  # fmt: skip
SPLITS: Final = (
    "stock splits", "split factor", "splitfactor", "split ratio", "split coefficient", "split", "splits", "stock split",
)  # fmt: skip
DIVIDENDS: Final = (
    "dividends", "dividend", "div cash", "divcash", "ex dividend", "dividend amount", "cash dividend", "dividend cash",
)  # fmt: skip

_UNIT_OF_VOLUME: Final = re.compile(r"vol(?:ume)? ?(?:in )?([a-z0-9]{2,10})|([a-z0-9]{2,10}) vol(?:ume)?")
_OTHER_VOLUMES: Final = (
    "quote",
    "taker",
    "notional",
    "usd value",
    "weighted",
    "dollar",
    "avg",
    "average",
    "change",
    "adj",
)


class Roles(NamedTuple):
    """The column of each role, empty without one. `clock` is a column of times beside one of dates."""

    time: str
    open: str
    high: str
    low: str
    close: str
    clock: str = ""
    volume: str = ""
    symbol: str = ""
    adjusted: str = ""
    split: str = ""
    dividend: str = ""
    other_volume: str = ""

    def prices(self) -> tuple[str, ...]:
        """The columns of open, high, low and close."""
        return self.open, self.high, self.low, self.close


def word(name: str) -> str:
    """Return a column's name as plain words: without case, signs and a number before it."""
    bare = "".join(sign for sign in normalize("NFKD", name) if not combining(sign))
    plain = re.sub(r"([a-z])([A-Z])", r"\1 \2", bare.strip())
    plain = re.sub(r"^\s*\d+[a-z]?\s*[.:)]\s*", "", plain.lower())
    return " ".join(re.sub(r"[^a-z0-9]+", " ", plain).split())


def is_time(name: str) -> bool:
    """Whether a column of this name has times."""
    return word(name) in TIMES


def are_names(row: Sequence[str]) -> bool:
    """Whether fields are the names of prices: three of the four, at least."""
    words = {word(field) for field in row}
    return sum(any(name in words for name in names) for names in _PRICES.values()) >= 3


def named_roles(columns: Sequence[str], where: str, chosen: Mapping[str, str]) -> Roles | None:
    """Return the roles of columns by their names, None where no price has one.

    `chosen` are columns by role that a person names. Raises FeedError for a price that is missing among others.
    """
    words = {name: word(name) for name in columns}
    taken: dict[str, str] = {}
    for role, name in chosen.items():
        if name not in words:
            raise FeedError(where, f"there is no column {name} (it has {', '.join(columns)})", "Name one that it has")
        taken[role] = name
    for role, names in {**_PRICES, "adjusted": ADJUSTED, "symbol": _SYMBOLS, "split": SPLITS,
                        "dividend": DIVIDENDS}.items():  # fmt: skip
        if role not in taken and (name := _first(words, names, taken)):
            taken[role] = name
    prices = [role for role in PRICES if role in taken]
    if "close" not in taken and len(prices) == 3 and (name := _first(words, ("price", "value"), taken)):
        taken["close"] = name  # "Price" beside open, high and low
        prices.append("close")
    if not prices and "adjusted" in taken:
        raise _lacking(where, PRICES, taken, columns)
    if not prices or (len(prices) < 3 and "close" not in taken):
        return None
    if missing := [role for role in PRICES if role not in taken]:
        raise _lacking(where, missing, taken, columns)
    if "volume" not in taken:
        taken.update(_volume(words, taken))
    if "time" not in taken:
        taken.update(_time(words, taken))
    return Roles(**{role: taken.get(role, "") for role in Roles._fields})


def _first(words: Mapping[str, str], names: Sequence[str], taken: Mapping[str, str]) -> str:
    """Return the column with the first of some names; empty without one."""
    for wanted in names:
        for name, plain in words.items():
            if plain == wanted and name not in taken.values():
                return name
    return ""


def _time(words: Mapping[str, str], taken: Mapping[str, str]) -> dict[str, str]:
    """Return the column of times, and that of the clock where a date and a time are apart."""
    dates = _first(words, ("date", "trade date", "day", "dtyyyymmdd", "yyyymmdd", "datum", "fecha", "data"), taken)
    clock = _first(words, _CLOCKS, taken) if dates else ""
    if dates and clock:
        return {"time": dates, "clock": clock}
    name = _first(words, TIMES, taken)
    if not name:
        unnamed = [name for name, plain in words.items() if re.fullmatch(r"|none|level 0|unnamed \d+", plain)]
        name = unnamed[0] if unnamed and unnamed[0] not in taken.values() else ""
    return {"time": name} if name else {}


def _volume(words: Mapping[str, str], taken: Mapping[str, str]) -> dict[str, str]:
    """Return the column of volumes: of units, not of money; and a second one where its name does not tell."""
    plain = [name for name, text in words.items() if text in _VOLUMES and name not in taken.values()]
    plain.sort(key=lambda name: _VOLUMES.index(words[name]))
    united = [
        name
        for name, text in words.items()
        if name not in taken.values() and text not in _VOLUMES and _UNIT_OF_VOLUME.fullmatch(text)
        and not any(other in text for other in _OTHER_VOLUMES)
    ]  # fmt: skip
    candidates = plain + united
    if not candidates:
        return {}
    return {"volume": candidates[0], "other_volume": candidates[1] if len(candidates) > 1 else ""}


def _lacking(where: str, missing: Sequence[str], taken: Mapping[str, str], columns: Sequence[str]) -> FeedError:
    text = f"column {', '.join(missing)} is missing (it has {', '.join(columns)})"
    if "adjusted" in taken and "close" in missing:
        return FeedError(
            where, text, "Adjusted closes alone have no open to fill at; use a file with open, high, low, close"
        )
    shown = " ".join(f"--column {role}=NAME" for role in missing)
    return FeedError(where, text, f"Name the columns that have them: {shown}")


def valued_roles(frame: pl.DataFrame, where: str) -> Roles:
    """Return the roles of columns without names, from their values. Raises FeedError where none or two fit."""
    sample = frame.head(400)
    values = {name: sample[name].cast(pl.Float64, strict=False).to_numpy() for name in frame.columns}
    time, clock, symbol = "", "", ""
    for name in frame.columns[:4]:
        fields = [str(field) for field in sample[name].drop_nulls().head(50).to_list()]
        if not fields:
            continue
        if not time and all(is_stamp(field) for field in fields):
            time = name
        elif time and not clock and all(is_clock(field) for field in fields) and _is_text_clock(fields):
            clock = name
        elif not symbol and all(re.fullmatch(r"[A-Za-z^][\w.^=/-]*", field) for field in fields):
            symbol = name
    start = frame.columns.index(time) + 1 if time else 0
    free = [name for name in frame.columns[start:] if name not in (clock, symbol)]
    block, high, low = _price_block(free, values)
    if not time or not block:
        raise FeedError(
            where, f"it has no header, and of its {frame.width} columns none are a time and four prices",
            "Add a line with the names, such as ts,open,high,low,close,volume",
        )  # fmt: skip
    first, second = (name for name in block if name not in (high, low))
    order = _by_time(sample, time, clock)
    if _order_is_contradicted(values[first][order], values[second][order]) and not symbol:
        raise FeedError(
            where, f"it has no header, and its columns have two readings: open in {first}, close in {second}, or the "
            "other way round: each price follows the column of the day before that would be its open",
            f"Add a line with the names, or --column open={second} --column close={first}",
        )  # fmt: skip
    after_prices = free[free.index(block[-1]) + 1 :]
    volume = next((name for name in after_prices if _is_volume(values[name], values[low], values[high])), "")
    return Roles(time, first, high, low, second, clock=clock, volume=volume, symbol=symbol)


def _by_time(sample: pl.DataFrame, time: str, clock: str) -> Ints:
    """Return the places of rows by their time, in whichever order of day and month; as they stand without one."""
    for dates in ("", "month-first", "day-first"):
        try:
            stamps = moments(sample[time], "", dates=dates)
        except FeedError:
            continue
        if stamps.values.null_count() == 0:
            stamps = joined_clock(stamps, sample[clock]) if clock else stamps
            return stamps.values.arg_sort().to_numpy().astype(np.int64)
    return np.arange(len(sample))


def _is_text_clock(fields: Sequence[str]) -> bool:
    return all(":" in field for field in fields) or all(len(field) in (4, 6) for field in fields)


def _price_block(names: Sequence[str], values: Mapping[str, Floats]) -> tuple[Sequence[str], str, str]:
    """Return the first four neighbours that are prices of a bar, with their high and low; empty without any."""
    for start in range(len(names) - 3):
        block = names[start : start + 4]
        cells = np.array([values[name] for name in block])
        cells = cells[:, np.isfinite(cells).all(axis=0)]
        if cells.shape[1] < 1 or (cells <= 0).any():
            continue
        highs = [k for k in range(4) if (cells[k] >= cells.max(axis=0)).all()]
        lows = [k for k in range(4) if (cells[k] <= cells.min(axis=0)).all()]
        if highs and lows and (cells.max(axis=0) < 100 * cells.min(axis=0)).all():
            if highs[0] == lows[0]:  # prices that never move
                return block, block[1], block[2]
            return block, block[highs[0]], block[lows[0]]
    return (), "", ""


def _order_is_contradicted(opens: Floats, closes: Floats) -> bool:
    """Whether the closes, as read, follow the opens of the bar before rather than the other way round."""
    if len(opens) < 5:
        return False
    as_read = np.nanmean(np.abs(opens[1:] - closes[:-1]))
    turned = np.nanmean(np.abs(closes[1:] - opens[:-1]))
    return bool(turned < 0.5 * as_read)


def _is_volume(values: Floats, low: Floats, high: Floats) -> bool:
    """Whether a column may be volumes: no price within the bar, such as an average, and never negative."""
    finite = values[np.isfinite(values)]
    if not len(finite) or (finite < 0).any():
        return False
    within = (values >= low) & (values <= high)
    return not bool(within.all())
