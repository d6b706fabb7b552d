"""From names on the command line to sources: which vendor, whose keys, which calendar a symbol trades on."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.source import Source
from quantd.adapters.feeds.wrappers.cache import Cached
from quantd.adapters.feeds.wrappers.fallback import Fallback
from quantd.adapters.feeds.wrappers.retry import Retried
from quantd.daemon.assembly.feeds import MappingWrong, Vendor
from quantd.daemon.assembly.feeds import source_of as vendor_source
from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import CONFIG, USAGE
from quantd.trading.instruments import Instrument, Universe, calendar_of
from quantd.trading.sessions import Sessions

VENDORS: Final = ("yahoo", "alpaca", "ccxt", "http")
EXTRAS: Final[Mapping[str, str]] = {"yahoo": "yfinance", "ccxt": "ccxt"}
"""Vendor -> the module that has to be installed for it."""

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
        source: Source = Retried(_vendor(name, wanted, universe, interval), deadline_s=RETRY_FOR_S)
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


def _vendor(name: str, wanted: Wanted, universe: Universe, interval: str) -> Source:
    """One vendor, with what is missing said in this command's words. Raises Failure."""
    from quantd.adapters.feeds.sources.alpaca import STOCK_FEEDS

    if name in EXTRAS:
        _needs(EXTRAS[name], "yahoo" if name == "yahoo" else name)
    if name == "alpaca" and len({"/" in symbol for symbol in universe.symbols}) > 1:
        raise Failure("alpaca has stocks and crypto apart: fetch them one after the other", USAGE)
    if wanted.feed not in STOCK_FEEDS:
        raise Failure(f"{wanted.feed!r} is not a feed of alpaca; there are {', '.join(STOCK_FEEDS)}", USAGE)
    if name == "ccxt" and not wanted.exchange:
        raise Failure("ccxt needs the exchange: --exchange kraken", USAGE)
    if name == "http" and wanted.mapping is None:
        raise Failure("http needs a mapping: --mapping vendor.toml (docs/operate/feeds.md has examples)", USAGE)
    vendor = Vendor(
        "yfinance" if name == "yahoo" else name,
        url=wanted.url,
        plan=wanted.feed,
        venue=wanted.exchange,
        mapping=wanted.mapping,
        adjusted=wanted.adjusted,
        cookies=cache_folder().parent / "yfinance",
        told=wanted.told,
    )
    try:
        return vendor_source(vendor, universe, interval)
    except MappingWrong as error:
        raise Failure(str(error), CONFIG) from None


def _needs(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise Failure(f"{module} is not installed: install quantd with its extra `{extra}`", CONFIG)
