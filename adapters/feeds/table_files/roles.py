"""The roles of a table's columns (time, open, high, low, close, volume, symbol): by their names, or without a header by
their values.

Names are compared as plain words, without case, punctuation and leading numbers: "Close/Last", "5. adjusted close" and
"<TICKVOL>" are known names. No rule depends on the program that wrote a file. Without names, the prices are four
adjacent columns, one of which is never below the other three (high) and one never above them (low). The other two are
open and close, in this order, if each open is nearer to the previous close than with the two swapped. A table whose
columns have two possible readings is refused, and both readings are reported.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from unicodedata import combining, normalize

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import PRICES
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.moments import is_clock, is_stamp, joined_clock, moments
from quantd.trading.instruments import CURRENCIES as CODES
from quantd.trading.instruments import usual_currency
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

TIMES: Final = (
    "ts", "open time", "opentime", "time open", "window start", "ts event", "candle begin time", "begin", "begins at",
    "start time", "starttime", "start", "time utc", "utc", "gmt time", "timestamp", "date time", "datetime", "date utc",
    "date gmt", "local time", "date", "dates", "time", "trade date", "trading day", "day", "unix", "unix timestamp",
    "epoch", "t",
    "mts", "index", "dt", "bar time", "period start", "time period start", "created at", "datum", "fecha", "data",
    "zeit", "日期", "时间", "交易日期", "交易时间", "時間", "日時", "日付", "날짜", "일자", "дата", "tarih", "trad dt",
    "ticks", "year month day", "observation date",
)  # fmt: skip
"""Names of columns of times, the most specific first."""

_CLOCKS: Final = ("time", "clock", "hour", "timestamp", "uhrzeit", "zeit", "hora", "heure", "ora", "stunde")
_PARTS: Final = (
    ("year", "yr", "yyyy", "jahr", "annee", "ano", "anno"), ("month", "mon", "mm", "monat", "mois", "mes", "mese"),
    ("day", "day of month", "dd", "tag", "jour", "dia", "giorno"),
)  # fmt: skip
"""Names of the columns of year, month and day, where a date is in three."""
_MINUTES: Final = ("minute", "minutes", "minuto")
_PLAIN_SYMBOLS: Final = (
    "symbol", "ticker", "sym", "act symbol", "ts code", "trading symbol", "tradingsymbol", "tckrsymb", "tckr symb",
    "ric", "代码", "股票代码", "证券代码", "銘柄コード",
)  # fmt: skip
_SYMBOLS: Final = (
    *_PLAIN_SYMBOLS, "asset", "code", "instrument", "pair", "security", "contract", "stock", "market", "mnemonic",
    "epic", "s",
)  # fmt: skip
"""Names of columns of symbols; those after the plain ones may also hold a class, a company or an exchange."""
_PRICES: Final = {
    "open": ("open", "o", "open price", "opening price", "first", "price open", "op", "eroffnung", "eroffnungskurs",
             "erster", "ouverture", "ouv", "apertura", "abertura", "otwarcie", "openen", "px open", "bidopen",
             "bid open", "open bid", "mid open", "opn pric", "ouv", "eroffn", "开盘", "开盘价", "開盤", "開盤價",
             "始値", "시가", "откр", "открытие", "acılıs"),
    "high": ("high", "h", "high price", "max", "highest", "price high", "hi", "hoch", "tageshoch", "hochst",
             "plus haut", "haut", "maximo", "massimo", "maxima", "najwyzszy", "hoog", "px high", "bidhigh", "bid high",
             "high bid", "mid high", "hgh pric", "最高", "最高价", "最高價", "高値", "고가", "макс", "максимум",
             "yuksek"),
    "low": ("low", "l", "low price", "min", "lowest", "price low", "lo", "tief", "tagestief", "tiefst", "plus bas",
            "bas", "minimo", "minima", "najnizszy", "laag", "px low", "bidlow", "bid low", "low bid", "mid low",
            "lw pric", "最低", "最低价", "最低價", "安値", "저가", "мин", "минимум", "dusuk"),
    "close": ("close", "c", "close price", "closing price", "close last", "last", "settle", "last price", "price close",
              "unadjusted close", "cl", "schluss", "schlusskurs", "zuletzt", "cloture", "dernier", "cierre", "ultimo",
              "chiusura", "fechamento", "zamkniecie", "slot", "px close", "px last", "bidclose", "bid close",
              "close bid", "mid close", "cls pric", "clot", "收盘", "收盘价", "收盤", "收盤價", "終値", "종가", "цена",
              "закр", "закрытие", "simdi", "kapanıs"),
}  # fmt: skip
"""Words of prices: English, then German, French, Spanish, Italian, Portuguese, Polish, Dutch, Chinese, Japanese,
Korean, Russian and Turkish. Of bid and ask the bid is read."""

_LONE_PRICES: Final = ("price", "value", "nav", "kurs", "prix", "precio", "prezzo", "preco", "cena", "koers")
"""Names of the only price of a table, which is a close; beside other prices most of them are something else."""

_VOLUMES: Final = (
    "volume", "v", "vol", "total volume", "base volume", "volume base", "volumefrom", "trade volume", "shares traded",
    "base asset volume", "qty", "tickvol", "tick volume", "no of shares", "total traded quantity", "volumen", "stuck",
    "stucke", "stuecke", "volumi", "wolumen", "number of shares", "shares", "shares volume", "px volume", "tottrdqty",
    "ttl trd qnty", "tickqty", "volume traded", "ttl tradg vol", "成交量", "出来高", "거래량", "объем", "hacim", "hac",
)  # fmt: skip
ADJUSTED: Final = (
    "adj close", "adjclose", "adjusted close", "close adj", "closeadj", "adj close price", "close adjusted",
    "adjusted close price", "adj schluss", "bereinigter schlusskurs", "cloture ajustee", "cierre ajustado",
    "chiusura aggiustata", "fechamento ajustado",
)  # fmt: skip
SPLITS: Final = (
    "stock splits", "split factor", "splitfactor", "split ratio", "split coefficient", "split", "splits", "stock split",
)  # fmt: skip
DIVIDENDS: Final = (
    "dividends", "dividend", "div cash", "divcash", "ex dividend", "dividend amount", "cash dividend", "dividend cash",
)  # fmt: skip

CURRENCIES: Final = ("currency", "ccy", "curr", "curcdd", "devise", "wahrung", "waehrung", "moneda", "valuta", "通貨")
"""Names of columns of currencies."""

_UNIT_OF_VOLUME: Final = re.compile(r"vol(?:ume)? ?(?:in )?([km]|[a-z0-9]{2,10})|([a-z0-9]{2,10}) vol(?:ume)?")
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
    """The column of each role (time, prices, volume, symbol), empty if the table has none.

    `clock` is a column of times of day beside a column of dates.
    """

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
        """Return the columns of open, high, low and close."""
        return self.open, self.high, self.low, self.close


def word(name: str) -> str:
    """Return a column's name as plain words: in lower case, without accents, signs and a leading number."""
    # composed again: the decomposed signs of Korean are parts of syllables
    without_accents = normalize("NFC", "".join(sign for sign in normalize("NFKD", name) if not combining(sign)))
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", without_accents.strip())
    words = re.sub(r"^\s*\d+[a-z]?\s*[.:)]\s*", "", words.lower())
    return " ".join(re.sub(r"[\W_]+", " ", words).split())


def code_of_currency(text: str) -> str:
    """Return the code of a currency, of pence and the like too (GBp is GBX); empty for another text."""
    code = {"GBp": "GBX", "GBx": "GBX", "ZAc": "ZAC", "ILa": "ILA"}.get(text, text.upper())
    return code if code in CODES.values() or usual_currency(f"BTC-{code}") == code else ""


def currency_in(name: str) -> str:
    """Return the currency, by its sign or code, in the name of a column of prices or volumes; empty without one."""
    sign = re.search(r"[$€£¥₹₩]", name)
    words = re.findall(r"[^\W_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name))
    coins = ("USDT", "USDC")
    return sign[0] if sign else next((code_of_currency(text) or text.upper() for text in words
                                      if text.upper() in coins or code_of_currency(text)), "")  # fmt: skip


def without_currency(name: str) -> tuple[str, str]:
    """Return a column's name and the currency in brackets at its end: ("AAPL", " (USD)"); the second is empty without
    one."""
    match = re.fullmatch(r"(.*\S)\s*[(\[]([A-Za-z]{3})[)\]]", name.strip())
    return (match[1], f" ({match[2]})") if match and code_of_currency(match[2]) else (name.strip(), "")


def is_time(name: str) -> bool:
    return word(name) in TIMES


def is_unnamed(name: str) -> bool:
    """Whether a column has no name, or the one that pandas gives to an index without a name."""
    return re.fullmatch(r"|none|level 0|unnamed \d+", word(name)) is not None


def is_ticker(name: str) -> bool:
    """Whether a name is spelled as a symbol: in capitals and digits, with a letter."""
    return _TICKER.fullmatch(name) is not None


def may_be_class(name: str) -> bool:
    """Whether a column of this name may hold something else than symbols, such as a class or an exchange."""
    return word(name) not in _PLAIN_SYMBOLS


def require_one_block(columns: Sequence[str], roles: Roles, where: str) -> None:
    """Raise FeedError if three prices or more have a second column of the same name: the table has two symbols.

    Other programs number a repeated name, as in "Open.1".
    """
    used = set(roles)
    other = {re.sub(r" \d+$", "", word(name)) for name in columns if name not in used}
    repeated = [name for name in roles.prices() if re.sub(r" \d+$", "", word(name)) in other]
    if len(repeated) >= 3:
        raise FeedError(
            where, f"the columns {', '.join(repeated)} repeat: it has several blocks of prices, side by side",
            "Write the symbol of each block above its first column, in a line before the names, or give one file for "
            "each block",
        )  # fmt: skip


def regular_time(frame: pl.DataFrame, roles: Roles, where: str) -> str:
    """Return the column of times whose distances divide a day; empty if it is the column of `roles`, or there is none.

    A column of the times of first or last trades has no such distances. A column that begins a bar comes before one
    that ends it, and UTC before a local time. Raises FeedError if only the ends of bars are regular.
    """
    if roles.clock or _divides_day(frame[roles.time]):
        return ""
    others = [
        name for name in frame.columns
        if name not in roles and re.search(r"time|date|period|start|begin|open|end|close|utc", word(name))
    ]  # fmt: skip
    fewest = 0.9 * frame[roles.time].n_unique()  # a column of days is no column of times
    regular = [name for name in others if frame[name].n_unique() >= fewest and _divides_day(frame[name])]
    ends = [name for name in regular if re.search(r"\b(end|close|until|to)\b", word(name))]
    begins = [name for name in regular if name not in ends]
    begins.sort(key=lambda name: not re.search(r"utc|gmt|start|begin", word(name)))
    if begins or not ends:
        return begins[0] if begins else ""
    raise FeedError(
        where, f"the times of column {roles.time} are no regular distance apart, and those of {ends[0]} end the bars",
        f"Add --column time={ends[0]} and --stamps close",
    )  # fmt: skip


def whole_dates(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose dates are in three columns (year, month, day) with one column of dates in their place, and
    of hour and minute one of times; any other table as it is."""
    plain_names = {name: word(name) for name in frame.columns}
    year, month, day = (_column_named(plain_names, aliases, {}) for aliases in _PARTS)
    if not (year and month and day) or not frame[year].cast(pl.String).str.contains(r"^\s*(19|20)\d\d\s*$").all():
        return frame
    others = [name for name in frame.columns if name not in (year, month, day) and is_time(name)]
    if any(is_stamp(str(field)) for name in others for field in frame[name].drop_nulls().head(1).to_list()):
        return frame  # a column of whole dates is beside them
    numbered = frame[month].cast(pl.String).str.contains(r"^\s*\d+\s*$").all()
    order = (year, month, day) if numbered else (day, month, year)
    text = [pl.col(name).cast(pl.String).str.strip_chars() for name in order]
    dated = frame.select(pl.concat_str(text, separator="-").alias("Year, Month, Day"), pl.exclude(order))
    hour, minute = (_column_named(plain_names, aliases, {}) for aliases in (_CLOCKS, _MINUTES))
    if hour and minute:
        minutes = pl.col(minute).cast(pl.String).str.strip_chars().str.zfill(2)
        clock = pl.concat_str(pl.col(hour).cast(pl.String).str.strip_chars(), minutes, separator=":")
        dated = dated.with_columns(clock.alias(hour)).drop(minute)
    return dated


def _divides_day(column: pl.Series) -> bool:
    """Whether most distances of the times of a column are one length that divides a day, or whole days."""
    try:
        values = moments(column.head(2_000), "").values
    except (FeedError, pl.exceptions.PolarsError):
        return False
    steps = values.cast(pl.Datetime("ns")).unique().sort().diff().drop_nulls().cast(pl.Int64).to_numpy()
    if not len(steps):
        return False
    lengths, counts = np.unique(steps, return_counts=True)
    commonest = int(lengths[counts.argmax()])
    regular = commonest > 0 and (DAY_NS % commonest == 0 or commonest % DAY_NS == 0)
    return regular and (counts.max() > len(steps) / 2 or bool((steps % commonest == 0).mean() > 0.9))


def are_names(row: Sequence[str]) -> bool:
    """Whether a line is a header: its fields name at least three of open, high, low and close."""
    words = {word(field) for field in row}
    return sum(any(name in words for name in names) for names in _PRICES.values()) >= 3


def named_roles(columns: Sequence[str], where: str, chosen: Mapping[str, str]) -> Roles | None:
    """Return the roles of columns by their names; None if the names do not show prices.

    `chosen` maps roles to the columns that a person names. Raises FeedError if some prices are named and one is
    missing, and for a chosen column that does not exist.

    A role is the meaning of a column: a price, the time, the volume, the symbol, splits or dividends. Plain names are
    in lower case without signs.
    """
    plain_names = _without_currency({name: word(name) for name in columns})
    column_of: dict[str, str] = {}
    for role, name in chosen.items():
        if name not in plain_names:
            raise FeedError(where, f"there is no column {name} (it has {', '.join(columns)})", "Name one that it has")
        column_of[role] = name
    for role, aliases in {**_PRICES, "adjusted": ADJUSTED, "symbol": _SYMBOLS, "split": SPLITS,
                        "dividend": DIVIDENDS}.items():  # fmt: skip
        if role not in column_of and (name := _column_named(plain_names, aliases, column_of)):
            column_of[role] = name
    prices = [role for role in PRICES if role in column_of]
    if (
        "close" not in column_of
        and len(prices) == 3
        and (name := _column_named(plain_names, ("price", "value"), column_of))
    ):
        column_of["close"] = name  # "Price" beside open, high and low
        prices.append("close")
    if not prices and (name := _column_named(plain_names, _LONE_PRICES, column_of)):
        _read_closes_alone(plain_names, lone := {**column_of, "close": name})
        if "open" in lone:
            column_of, prices = lone, list(PRICES)
    if not prices and "adjusted" in column_of:
        raise _missing_error(where, PRICES, column_of, columns)
    if not prices or (len(prices) < 3 and "close" not in column_of):
        return None
    _read_closes_alone(plain_names, column_of)
    if missing := [role for role in PRICES if role not in column_of]:
        raise _missing_error(where, missing, column_of, columns)
    if "volume" not in column_of:
        column_of.update(_volume(plain_names, column_of))
    if "time" not in column_of:
        column_of.update(_time(plain_names, column_of))
    return Roles(**{role: column_of.get(role, "") for role in Roles._fields})


def _without_currency(plain_names: Mapping[str, str]) -> dict[str, str]:
    """Return the plain names, those of prices without a currency at their end, as in "close eur", where no other column
    then has the same name."""
    prices = {alias for aliases in (*_PRICES.values(), _LONE_PRICES, ADJUSTED) for alias in aliases}
    shorter = {
        name: text.rpartition(" ")[0] if text.rpartition(" ")[0] in prices and currency_in(text) else text
        for name, text in plain_names.items()
    }
    texts = list(shorter.values())
    return {name: text if texts.count(text) == 1 else plain_names[name] for name, text in shorter.items()}


def _read_closes_alone(plain_names: Mapping[str, str], column_of: dict[str, str]) -> None:
    """Make the closes all prices of a table that has closes alone: no other price, and no column of unknown meaning.

    Such a bar trades at its close only, so that an order fills at the close of the bar after its decision.
    """
    roles = {role for role in PRICES if role in column_of}
    others = [text for name, text in plain_names.items() if name not in column_of.values()]
    if roles == {"close"} and all(text in (*TIMES, *_CLOCKS, *_VOLUMES, "") for text in others):
        column_of.update(dict.fromkeys(PRICES, column_of["close"]))


_TICKER: Final = re.compile(r"(?=.*[A-Z])[A-Z0-9^][A-Z0-9.^=/:_-]{0,14}")


_JOINED: Final = frozenset({*PRICES, "volume", "adj close", "adjclose", "adjusted close"})
"""Words of prices in names that join a price and a symbol."""


def columns_of_symbols(columns: Sequence[str]) -> list[str]:
    """Return the columns of a table of closes with one column for each symbol; empty for another table.

    The first column has the times, or the second one beside row numbers. Every other name is a symbol in capitals.
    Words of prices are symbols too, because LOW, V, T and C are traded; but not where three of them make a bar, or
    where few names are anything else.
    """
    unnamed = bool(columns) and is_unnamed(columns[0])
    first = 2 if unnamed and len(columns) > 1 and is_time(columns[1]) else 1
    names = [without_currency(name)[0] for name in columns[first:]]
    if not names or not (unnamed or is_time(columns[0])):
        return []
    words = {word(name) for name in names}
    of_roles = {alias for aliases in (*_PRICES.values(), _VOLUMES, _SYMBOLS, TIMES, ADJUSTED) for alias in aliases}
    has_bars = are_names(names) or bool(words & {"close", "volume", "price", "value", "adj close"})
    if has_bars or len(words - of_roles) < (3 if words & {*_PRICES["close"]} and words & {*_VOLUMES} else 1):
        return []
    is_symbol = all(map(_TICKER.fullmatch, names))
    return list(columns[first:]) if is_symbol and len(set(names)) == len(names) else []


def price_and_symbol(name: str) -> tuple[str, str]:
    """Return the price and the symbol that a name joins, such as Close_AAPL or AAPL Adj Close; empty for another.

    A currency in brackets stays with the price.
    """
    name, currency = without_currency(name)
    for sign in "_ .|":
        for first, last in (name.partition(sign)[::2], name.rpartition(sign)[::2]):
            for price, symbol in ((first, last), (last, first)):
                if word(price) in _JOINED and _TICKER.fullmatch(symbol.strip()):
                    return price + currency, symbol.strip()
    return "", ""


def _column_named(plain_names: Mapping[str, str], aliases: Sequence[str], column_of: Mapping[str, str]) -> str:
    """Return the unused column whose plain name comes first in `aliases`; empty if there is none.

    `plain_names` maps columns to names in lower case without signs, `column_of` maps roles to the columns in use.
    """
    for alias in aliases:
        for name, plain_name in plain_names.items():
            if plain_name == alias and name not in column_of.values():
                return name
    return ""


def _time(plain_names: Mapping[str, str], column_of: Mapping[str, str]) -> dict[str, str]:
    """Return the role "time", and "clock" if dates and times of day are in two columns; empty without either."""
    date_column = _column_named(
        plain_names,
        ("date", "trade date", "year month day", "day", "dtyyyymmdd", "yyyymmdd", "datum", "fecha", "data"),
        column_of,
    )
    clock_column = _column_named(plain_names, _CLOCKS, column_of) if date_column else ""
    if date_column and clock_column:
        return {"time": date_column, "clock": clock_column}
    name = _column_named(plain_names, TIMES, column_of)
    if not name:
        # names that pandas gives to an index without a name
        unnamed = [name for name in plain_names if is_unnamed(name)]
        name = unnamed[0] if unnamed and unnamed[0] not in column_of.values() else ""
    return {"time": name} if name else {}


def _volume(plain_names: Mapping[str, str], column_of: Mapping[str, str]) -> dict[str, str]:
    """Return the roles of columns of volumes: "volume" (in units, not money), and "other_volume" if a second column
    may be the volume."""
    usual = [name for name, text in plain_names.items() if text in _VOLUMES and name not in column_of.values()]
    usual.sort(key=lambda name: _VOLUMES.index(plain_names[name]))
    with_unit = [
        name
        for name, text in plain_names.items()
        if name not in column_of.values() and text not in _VOLUMES and _UNIT_OF_VOLUME.fullmatch(text)
        and not any(other in text for other in _OTHER_VOLUMES)
    ]  # fmt: skip
    candidates = usual + with_unit
    if not candidates:
        return {}
    return {"volume": candidates[0], "other_volume": candidates[1] if len(candidates) > 1 else ""}


def _missing_error(
    where: str, missing: Sequence[str], column_of: Mapping[str, str], columns: Sequence[str]
) -> FeedError:
    """Return the error about missing prices; where only adjusted closes are there, it says why these do not serve."""
    fault = f"column {', '.join(missing)} is missing (it has {', '.join(columns)})"
    if "adjusted" in column_of and "close" in missing:
        return FeedError(
            where, fault, "Adjusted closes alone have no open to fill at; use a file with open, high, low, close"
        )
    options = " ".join(f"--column {role}=NAME" for role in missing)
    return FeedError(where, fault, f"Name the columns that have them: {options}")


def valued_roles(frame: pl.DataFrame, where: str) -> Roles:
    """Return the roles of columns without names, from their values. Raises FeedError if no assignment fits, or two
    do.

    The first 400 rows decide. High and low are known from the values; of the two other prices the first column is the
    open. Bars whose next prices contradict that order are refused.
    """
    sample = frame.head(400)
    values = {name: sample[name].cast(pl.Float64, strict=False).to_numpy() for name in frame.columns}
    time, clock, symbol = "", "", ""
    # time, clock and symbol are among the first columns, before the prices
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
    price_candidates = [name for name in frame.columns[start:] if name not in (clock, symbol)]
    block, high, low = _price_block(price_candidates, values)
    if not time or not block:
        raise FeedError(
            where, f"it has no header, and of its {frame.width} columns none are a time and four prices",
            "Add a line with the names, such as ts,open,high,low,close,volume",
        )  # fmt: skip
    open_column, close_column = (name for name in block if name not in (high, low))
    order = _by_time(sample, time, clock)
    if _order_is_contradicted(values[open_column][order], values[close_column][order]) and not symbol:
        raise FeedError(
            where, "it has no header, and its columns have two readings: "
            f"open in {open_column}, close in {close_column}, or the other way round: "
            "each price follows the column of the day before that would be its open",
            f"Add a line with the names, or --column open={close_column} --column close={open_column}",
        )  # fmt: skip
    after_prices = price_candidates[price_candidates.index(block[-1]) + 1 :]
    volume = next((name for name in after_prices if _is_volume(values[name], values[low], values[high])), "")
    return Roles(time, open_column, high, low, close_column, clock=clock, volume=volume, symbol=symbol)


def _by_time(sample: pl.DataFrame, time: str, clock: str) -> Ints:
    """Return the indices that sort the rows by time, whatever the order of day and month is; the file's order if no
    time can be read."""
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
    """Return the first four adjacent columns that are prices of a bar, and which of them are high and low; empty
    without any."""
    for start in range(len(names) - 3):
        block = names[start : start + 4]
        cells = np.array([values[name] for name in block])
        cells = cells[:, np.isfinite(cells).all(axis=0)]
        if cells.shape[1] < 1 or (cells <= 0).any():
            continue
        highs = [k for k in range(4) if (cells[k] >= cells.max(axis=0)).all()]
        lows = [k for k in range(4) if (cells[k] <= cells.min(axis=0)).all()]
        # prices of one bar are of one size: a volume among them is much larger
        if highs and lows and (cells.max(axis=0) < 100 * cells.min(axis=0)).all():
            if highs[0] == lows[0]:  # prices that never move
                return block, block[1], block[2]
            return block, block[highs[0]], block[lows[0]]
    return (), "", ""


def _order_is_contradicted(opens: Floats, closes: Floats) -> bool:
    """Whether open and close are more likely swapped: as read, the opens are farther from the previous closes than with
    the two columns exchanged."""
    if len(opens) < 5:
        return False
    as_read = np.nanmean(np.abs(opens[1:] - closes[:-1]))
    other_way = np.nanmean(np.abs(closes[1:] - opens[:-1]))
    return bool(other_way < 0.5 * as_read)


def _is_volume(values: Floats, low: Floats, high: Floats) -> bool:
    """Whether a column may be volumes: never negative, and not always within the bar, as an average price is."""
    finite = values[np.isfinite(values)]
    if not len(finite) or (finite < 0).any():
        return False
    inside_bar = (values >= low) & (values <= high)
    return not bool(inside_bar.all())
