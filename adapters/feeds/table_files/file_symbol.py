"""Finds the symbol in the name of a file, for a table without a column of symbols, and coins by their spelling."""

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.trading.display_text import some
from quantd.trading.instruments import kind_of, usual_currency

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
"""Words in file names that are no symbol."""

_TICKER: Final = re.compile(r"\^?[A-Z][A-Z0-9]{0,9}([.=^-][A-Z0-9]{1,6}){0,2}(=[XF])?|\d{4,6}\.[A-Z]{1,3}")


_COINS: Final = frozenset(("ADA", "BNB", "BTC", "DOGE", "ETH", "LTC", "SOL", "XBT", "XRP"))
"""Codes of large coins."""

_METALS: Final = frozenset(("XAG", "XAU", "XPD", "XPT"))

_QUOTES: Final = (
    "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "KRW", "TRY", "BRL", "BTC", "XBT",
    "ETH", "BNB",
)  # fmt: skip
"""Currencies in which venues of coins quote them, the longest spelling first."""


_MANY: Final = 1_000_000
"""From so many bars on, symbols are categories, which take a quarter of the memory of text."""


def names_coin(symbol: str) -> bool:
    """Return whether a symbol is spelled as a coin: BTC, or a coin in a currency, such as BTC-USD and BTCUSDT.

    Without a separator a pair has six signs at least, more than a ticker of a share in the United States.
    """
    if kind_of(symbol) == "coin" or symbol in _COINS:
        return True
    letters = symbol.upper().replace("-", "").replace("_", "")
    base = next((letters.removesuffix(quote) for quote in _QUOTES if letters.endswith(quote)), "")
    return len(letters) >= 6 and base.isalnum() and base not in _METALS and usual_currency(f"{base}=X") != base


def symbol_of(stem: str, universe_symbols: Sequence[str] = ()) -> tuple[str, tuple[str, ...]]:
    """Return the symbol in `stem`, a file's name without its ending, and other candidates.

    If the symbol is certain, there are no candidates. If it is not, the symbol is empty, and the candidates are the
    words of the name that could be a symbol. If `universe_symbols` has exactly one symbol that the name contains, or
    one symbol in all and the name is no other ticker, that one is certain.

    An ending such as (1), of a second download, is removed. Tickers are words in the spelling of symbols, such as BRK.B
    or ^GSPC. Words for intervals, dates and kinds of files are no candidates.
    """
    bare_stem = re.sub(r"\s*\(\d+\)$", "", stem.strip())
    name_parts = [piece for piece in re.split(r"[\s_,;()\[\]]+", bare_stem) if piece]
    name_parts += [piece for word in list(name_parts) for piece in re.split(r"[-.]", word) if piece and piece != word]
    matching = [
        symbol
        for symbol in universe_symbols
        if _letters_and_digits(symbol) in {_letters_and_digits(bare_stem), *map(_letters_and_digits, name_parts)}
    ]
    if len(matching) == 1:
        return matching[0], ()
    is_ticker = _TICKER.fullmatch(bare_stem) and not re.search(r"[.-]\d{4,}$", bare_stem)
    if universe_symbols and len(universe_symbols) == 1 and not (is_ticker and bare_stem.lower() not in _WORDS):
        return universe_symbols[0], ()
    if class_letter := re.fullmatch(r"([A-Z]{1,5})_([ABC])", bare_stem):  # BRK_B; other letters may be intervals
        return "-".join(class_letter.groups()), ()
    if is_ticker:
        return bare_stem, ()
    main_parts = [_without_ends(piece) for piece in re.split(r"[\s_,;()\[\]]+", bare_stem) if piece]
    candidates = [word for word in main_parts if not _is_no_symbol(word)]
    # ALL and COIN are tickers too, where nothing else in the name is one
    candidates = candidates or [
        word for word in main_parts if word.isupper() and word.lower() in _WORDS and len(word) > 1
    ]
    tickers = [word for word in candidates if _TICKER.fullmatch(word)]
    # the only ticker of several letters prevails over single letters
    several_letters = [word for word in tickers if len(word) > 1]
    if len(tickers) == 1 or len(several_letters) == 1:
        return (several_letters or tickers)[0], ()
    lower = re.compile(r"\^?[a-z][a-z0-9]{0,7}([.-][a-z0-9]{1,4})?")
    longest_lower = 5 if len(main_parts) > 1 else 4  # a longer word without capitals is rather the name of a source
    if not tickers and len(candidates) == 1 and len(candidates[0]) <= longest_lower and lower.fullmatch(candidates[0]):
        return candidates[0].upper(), ()
    return "", tuple(dict.fromkeys(tickers or candidates))


def is_disputed(symbol: str, stem: str, *, may_be_class: bool) -> str:
    """Return what the name of a file says against the only symbol of a column; empty where nothing does.

    A column that may hold a class or a company is contradicted by any certain symbol in the name, and by its own
    spelling: "Microsoft Corp" is no symbol. A column of symbols is contradicted by a name that is a ticker alone.
    """
    bare_stem = re.sub(r"\s*\(\d+\)$", "", stem.strip())
    named = symbol_of(stem)[0] if may_be_class or _TICKER.fullmatch(bare_stem) else ""
    letters, own = _letters_and_digits(named), _letters_and_digits(symbol)
    if named and letters not in own and own not in letters:
        return f"the file's name says {named}"
    return "it is not spelled as a symbol" if may_be_class and re.search(r"[A-Z][a-z]|\s", symbol) else ""


def _without_ends(word: str) -> str:
    """Return a word without an interval or date after a dash or point: BTCUSDT of BTCUSDT-1h-2025-01, ES of ES.5min."""
    pieces = re.split(r"([-.])", word)
    while len(pieces) > 2 and _is_no_symbol(pieces[-1]) and pieces[-2:] != ["-", "USD"]:
        pieces = pieces[:-2]
    return "".join(pieces)


def _letters_and_digits(spelling: str) -> str:
    return re.sub(r"[^a-z0-9]", "", spelling.lower())


def _is_no_symbol(word: str) -> bool:
    bare = word.strip(".-")
    return bool(
        bare.lower() in _WORDS
        or (_INTERVALS.fullmatch(bare) and (re.search(r"\d", bare) or len(bare) > 2 or bare.islower()))
        or _DATES.fullmatch(bare) or not re.search(r"[A-Za-z]", bare) or len(bare) > 18
    )  # fmt: skip


def without_blanks(symbols: pl.Series) -> pl.Series:
    """Return symbols as text without blanks around them, or as categories."""
    if symbols.dtype == pl.Categorical:
        return symbols
    text = symbols.cast(pl.String)
    names = text.unique() if len(text) >= _MANY else text
    if len(text) < _MANY or (names.str.strip_chars() != names).any():
        return text.str.strip_chars()
    return text.cast(pl.Categorical)


def require_symbol(asked_symbol: str, names: Sequence[str], where: str) -> None:
    """Raise FeedError if a person names a symbol for a table of others, or for one of several tables with another."""
    if asked_symbol and list(names) != [asked_symbol]:
        fault = f"it has {some(names)}, and the option symbol names {asked_symbol} for all of its bars"
        raise FeedError(where, fault, "Leave the option out, or give a file of that symbol alone")


def require_spelling(names: pl.Series, symbols: Sequence[str], where: str) -> None:
    """Raise FeedError if a table has a symbol of the universe in another case or with another sign.

    Rows of other symbols are left out, so that those of aapl or BRK.B would be lost to AAPL or BRK-B.
    """
    traded = {_plain(symbol): symbol for symbol in symbols}
    for name in names.unique(maintain_order=True).drop_nulls().cast(pl.String).to_list():
        if (symbol := traded.get(_plain(name), name)) != name and name not in symbols:
            fault = f"it has {name}, and the universe has {symbol}, which differ in their case or sign alone"
            raise FeedError(where, fault, f"Write {symbol}")


def _plain(symbol: str) -> str:
    return re.sub(r"[^a-z0-9]", "-", symbol.lower())
