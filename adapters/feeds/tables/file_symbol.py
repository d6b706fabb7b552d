"""The symbol that a file's name has, for a table without a column of symbols."""

import re
from collections.abc import Sequence
from typing import Final

_INTERVALS: Final = re.compile(
    r"(?i)[mhdw]\d{1,3}|\d{0,3}(m|min|mins|minute|minutes|h|hr|hour|hours|d|day|days|daily|w|wk|week|weekly|mo|month|monthly|s|sec|t)"
)
_DATES: Final = re.compile(r"(19|20)\d\d([-_.]?\d\d){0,2}|\d{6,8}|\d{1,2}|\d{10,}")
_WORDS: Final = frozenset((
    "data", "sample", "historical", "history", "max", "min", "prices", "price", "bars", "bar", "ohlc", "ohlcv",
    "ohlcvt", "quotes", "chart", "export", "download", "adjusted", "adj", "unadjusted", "raw", "full", "bid",
    "ask", "last", "trades", "time", "series", "intraday", "eod", "spot", "futures", "perp", "candles",
    "candle", "candlestick", "klines", "kline", "utc", "est", "from", "to", "the", "stock", "stocks", "etf",
    "report", "table", "values", "aggs", "aggregates", "agg", "test", "copy", "final", "new", "old", "usd",
    "us", "minutes", "file", "dat", "ascii", "all", "of", "one", "part", "external", "internal", "mid",
    "interval", "results", "result", "response", "hist", "tick", "ticks", "quote", "feed", "coin", "coins",
    "crypto", "forex", "fx", "list", "mine", "my",
))  # fmt: skip
"""Words of file names that are no symbol."""

_TICKER: Final = re.compile(r"\^?[A-Z][A-Z0-9]{0,9}([.=^-][A-Z0-9]{1,6}){0,2}(=[XF])?|\d{4,6}\.[A-Z]{1,3}")


def symbol_of(stem: str, wanted: Sequence[str] = ()) -> tuple[str, tuple[str, ...]]:
    """Return the symbol of a file's name without its end, and the words that could be one where none is certain.

    Of `wanted`, the symbols of a universe, the one that the name has is it.
    """
    bare = re.sub(r"\s*\(\d+\)$", "", stem.strip())
    words = [part for part in re.split(r"[\s_,;()\[\]]+", bare) if part]
    words += [part for word in list(words) for part in re.split(r"[-.]", word) if part and part != word]
    named = [symbol for symbol in wanted if _plain(symbol) in {_plain(bare), *map(_plain, words)}]
    if len(named) == 1:
        return named[0], ()
    if wanted and len(wanted) == 1:
        return wanted[0], ()
    if _TICKER.fullmatch(bare):
        return bare, ()
    top = [_without_ends(part) for part in re.split(r"[\s_,;()\[\]]+", bare) if part]
    candidates = [word for word in top if not _is_no_symbol(word)]
    # ALL and COIN are tickers too, where nothing else in the name is one
    candidates = candidates or [word for word in top if word.isupper() and word.lower() in _WORDS and len(word) > 1]
    tickers = [word for word in candidates if _TICKER.fullmatch(word)]
    longer = [word for word in tickers if len(word) > 1]
    if len(tickers) == 1 or len(longer) == 1:
        return (longer or tickers)[0], ()
    lower = re.compile(r"\^?[a-z][a-z0-9]{0,7}([.-][a-z0-9]{1,4})?")
    short = 5 if len(top) > 1 else 4  # a longer word without capitals is rather the name of a source
    if not tickers and len(candidates) == 1 and len(candidates[0]) <= short and lower.fullmatch(candidates[0]):
        return candidates[0].upper(), ()
    return "", tuple(dict.fromkeys(tickers or candidates))


def _without_ends(word: str) -> str:
    """Return a word without an interval or a date behind dashes or points: BTCUSDT-1h-2025-01, ES.5min."""
    parts = re.split(r"([-.])", word)
    while len(parts) > 2 and _is_no_symbol(parts[-1]):
        parts = parts[:-2]
    return "".join(parts)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _is_no_symbol(word: str) -> bool:
    bare = word.strip(".-")
    return bool(
        bare.lower() in _WORDS
        or (_INTERVALS.fullmatch(bare) and (re.search(r"\d", bare) or len(bare) > 2 or bare.islower()))
        or _DATES.fullmatch(bare) or not re.search(r"[A-Za-z]", bare) or len(bare) > 18
    )  # fmt: skip
