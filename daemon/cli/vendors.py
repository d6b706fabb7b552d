"""From names on the command line to sources: which vendor, whose keys, which calendar a symbol trades on."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from adapters.calendars import sessions
from adapters.feeds.cached import Cached
from adapters.feeds.fallback import Fallback
from adapters.feeds.retried import Retried
from adapters.feeds.source import Source
from daemon.cli.failures import CONFIG, USAGE, Failure
from daemon.config import secret
from daemon.mapping import MappingWrong, read_mapping
from trading.instruments import Instrument, Universe
from trading.sessions import Sessions

VENDORS: Final = ("yahoo", "alpaca", "ccxt", "http")
RETRY_FOR_S: Final = 30.0
"""Somebody waits."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says about vendors, apart from symbols and dates. `told` hears how far a slow one is."""

    sources: tuple[str, ...]
    adjusted: bool = False
    feed: str = "iex"
    exchange: str = ""
    mapping: Path | None = None
    url: str = ""
    cache: Path | None = None
    told: Callable[[float], None] = lambda share: None


@dataclass(frozen=True, slots=True)
class Vendors:
    """One source out of several: `names` are those that Rows.source numbers."""

    source: Source
    names: tuple[str, ...]
    caches: tuple[Cached, ...]


def cache_folder() -> Path:
    """Where downloads are kept when --cache names no other folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quantd" / "bars"


def universe_of(symbols: Sequence[str], calendar: str | None, currency: str) -> Universe:
    """Symbols as columns. Without a `calendar` pairs such as BTC/USD and BTC-USD never close, and all others are New York's."""
    names = tuple(dict.fromkeys(part for symbol in symbols for part in symbol.split(",") if part))
    if not names:
        raise Failure("no symbols; write them one after the other: SPY QQQ BTC-USD", USAGE)
    made = tuple(Instrument(name, calendar=calendar or calendar_of(name), currency=currency) for name in names)
    return Universe(made, currency=currency, calendar=made[0].calendar)


def calendar_of(symbol: str) -> str:
    """The calendar that a symbol's spelling suggests."""
    pair = "/" in symbol or symbol.endswith(("-USD", "-USDT", "-EUR"))
    return "24/7" if pair else "XNYS"


def calendars_of(universe: Universe, first: date, last: date) -> dict[str, Sessions]:
    """Sessions by calendar name, with a margin on both sides."""
    margin = timedelta(days=10)
    kept = cache_folder().parent / "calendars"
    names = {universe.calendar, *(i.calendar for i in universe.instruments)}
    return {name: sessions(name, first - margin, last + margin, cache=kept) for name in names}


def source_of(wanted: Wanted, universe: Universe, interval: str) -> "Vendors":
    """The vendors in their order, each retried and cached, the later ones standing in for the first."""
    made: list[Source] = []
    caches: list[Cached] = []
    for name in wanted.sources:
        if name not in VENDORS:
            near = get_close_matches(name, VENDORS, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(VENDORS)}"
            raise Failure(f"{name!r} is not a source. {hint}", USAGE)
        if wanted.adjusted and name != "yahoo":
            raise Failure(f"{name} has raw prices only; --adjusted is for yahoo", USAGE)
        source: Source = Retried(_MAKERS[name](wanted, universe, interval), deadline_s=RETRY_FOR_S)
        if wanted.cache is not None:
            cached = Cached(source, universe, interval, wanted.cache)
            caches.append(cached)
            source = cached
        made.append(source)
    names = tuple(source.name for source in made)
    if len(made) == 1:
        return Vendors(made[0], names, tuple(caches))
    try:
        return Vendors(Fallback(made, universe), names, tuple(caches))
    except ValueError as error:
        raise Failure(str(error), USAGE) from None


def _yahoo(wanted: Wanted, universe: Universe, interval: str) -> Source:
    _needs("yfinance", "yahoo")
    from adapters.feeds.yahoo import YahooSource

    cookies = cache_folder().parent / "yfinance"
    return YahooSource(
        universe, interval, adjusted=wanted.adjusted, gateway=wanted.url, cookies=cookies, told=wanted.told
    )


def _alpaca(wanted: Wanted, universe: Universe, interval: str) -> Source:
    from adapters.feeds.alpaca_bars import DATA_URL, STOCK_FEEDS, AlpacaBars

    kinds = {"/" in symbol for symbol in universe.symbols}
    if len(kinds) > 1:
        raise Failure("alpaca has stocks and crypto apart: fetch them one after the other", USAGE)
    if wanted.feed not in STOCK_FEEDS:
        raise Failure(f"{wanted.feed!r} is not a feed of alpaca; there are {', '.join(STOCK_FEEDS)}", USAGE)
    key, hidden = secret("alpaca_key") or "", secret("alpaca_secret") or ""
    return AlpacaBars(
        universe, interval, key=key, secret=hidden, feed=wanted.feed, crypto=kinds == {True}, url=wanted.url or DATA_URL
    )


def _ccxt(wanted: Wanted, universe: Universe, interval: str) -> Source:
    _needs("ccxt", "ccxt")
    if not wanted.exchange:
        raise Failure("ccxt needs the exchange: --exchange kraken", USAGE)
    from adapters.exchange.client import Access
    from adapters.feeds.crypto import CryptoSource

    return CryptoSource(Access(wanted.exchange, url=wanted.url or None), universe, interval)


def _http(wanted: Wanted, universe: Universe, interval: str) -> Source:
    from adapters.feeds.http_json import HttpSource

    if wanted.mapping is None:
        raise Failure("http needs a mapping: --mapping vendor.toml (docs/feeds.md has examples)", USAGE)
    try:
        mapping = read_mapping(wanted.mapping)
    except MappingWrong as error:
        raise Failure(str(error), CONFIG) from None
    return HttpSource(mapping, universe, interval, key=secret("http_key") or "", secret=secret("http_secret") or "")


_MAKERS: Final[Mapping[str, Callable[[Wanted, Universe, str], Source]]] = {
    "yahoo": _yahoo,
    "alpaca": _alpaca,
    "ccxt": _ccxt,
    "http": _http,
}


def _needs(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise Failure(f"{module} is not installed: install quantd with its extra `{extra}`", CONFIG)
