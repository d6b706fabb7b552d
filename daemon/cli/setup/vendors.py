"""Opens the vendors of bars that command-line options name, and makes the universe of the symbols."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from quantd.adapters.feeds.source import Source, SourceError
from quantd.adapters.feeds.vendor import Request, RequestWrong, Vendor
from quantd.adapters.feeds.wrappers.cache import Cached
from quantd.adapters.feeds.wrappers.fallback import Fallback
from quantd.adapters.feeds.wrappers.retry import Retried
from quantd.daemon.assembly.feeds import source_of as opened
from quantd.daemon.assembly.feeds import vendors
from quantd.daemon.cli.failures import Failure, note
from quantd.trading.exit_codes import CONFIG, USAGE
from quantd.trading.instruments import Instrument, Universe, calendar_of, kind_of, usual_currency

RETRY_FOR_S: Final = 30.0
"""Longest time of retries, in seconds: a person waits for the command."""


@dataclass(frozen=True, slots=True)
class Vendors:
    """One source of bars, made of one or several vendors.

    `names` are the vendors' names; `Rows.source` has indices into them. If `whole` is True, a vendor sends all bars up
    to now at each request, so that a period should be requested at once, not in pieces.
    """

    source: Source
    names: tuple[str, ...]
    caches: tuple[Cached, ...]
    whole: bool


def universe_of(symbols: Sequence[str], calendar: str | None, currency: str) -> Universe:
    """Return the universe of these symbols; an element may have several, separated by commas.

    Without a `calendar` each symbol has the calendar that its spelling implies (`calendar_of`). Without a `currency`
    the currency of the first symbol that trades is used, since an account has one currency. Raises Failure without
    symbols.
    """
    names = tuple(dict.fromkeys(name for symbol in symbols for name in symbol.split(",") if name))
    if not names:
        raise Failure("no symbols; write them one after the other: SPY QQQ BTC-USD", USAGE)
    first_traded = next((name for name in names if kind_of(name) != "index"), names[0])
    account_currency = currency or usual_currency(first_traded)
    instruments = tuple(
        Instrument(name, calendar=calendar or calendar_of(name), currency=account_currency) for name in names
    )
    return Universe(instruments, currency=account_currency, calendar=instruments[0].calendar)


def source_of(kinds: Sequence[str], request: Request, cache: Path | None, patience_s: float = RETRY_FOR_S) -> Vendors:
    """Return one source from the vendors `kinds`: each is retried for `patience_s` and cached, and later ones are
    fallbacks.

    Raises Failure and SourceError.
    """

    def report(error: SourceError, failures: int, pause_s: float) -> None:
        if failures == 1:
            note(f"{error}. Trying again for up to {patience_s:g} s; Ctrl-C stops")
        else:
            note(f"{error.source}: attempt {failures} failed too: {error.what}; the next one in {pause_s:.0f} s")

    sources: list[Source] = []
    caches: list[Cached] = []
    vendors_by_name = vendors()
    for name in kinds:
        vendor = vendors_by_name.get(name)
        if vendor is None:
            raise Failure(f"{name!r} is not a source. {_nearest_source(name, list(vendors_by_name))}", USAGE)
        if request.adjusted and not vendor.adjusts:
            adjusting = ", ".join(alternative.kind for alternative in vendors_by_name.values() if alternative.adjusts)
            raise Failure(f"{name} has raw prices only; --adjusted is for {adjusting}", USAGE)
        source: Source = Retried(_vendor(vendor, request), deadline_s=patience_s, report=report)
        if cache is not None:
            source = Cached(source, request.universe, request.interval, cache)
            caches.append(source)
        sources.append(source)
    _require_read(kinds, request)
    names = tuple(source.name for source in sources)
    whole_ranges = any(vendors_by_name[name].whole for name in kinds)
    try:
        combined = sources[0] if len(sources) == 1 else Fallback(sources, request.universe)
    except ValueError as error:
        raise Failure(str(error), USAGE) from None
    return Vendors(combined, names, tuple(caches), whole_ranges)


def _require_read(kinds: Sequence[str], request: Request) -> None:
    """Raise Failure for an option that none of the vendors `kinds` reads, such as an exchange without ccxt."""
    absent = Request(request.universe, request.interval)
    readers: dict[str, list[str]] = {}
    flags = {}
    for vendor in vendors().values():
        for option in vendor.options:
            readers.setdefault(option.key, []).append(vendor.kind)
            flags[option.key] = (option.flag or f"--{option.key}").split()[0]
    for key, reading in readers.items():
        if getattr(request, key) != getattr(absent, key) and not {*reading} & {*kinds}:
            text = f"{flags[key]} has no effect with the source {', '.join(kinds)}"
            raise Failure(f"{text}; leave it out, or name --source {' or '.join(reading)}", USAGE)


def _nearest_source(name: str, kinds: Sequence[str]) -> str:
    """Return the remedy for a name that is no source: ccxt for an exchange, else the nearest kind, else all."""
    from quantd.adapters.exchange.dialects import DIALECTS

    if name.lower() in DIALECTS:
        return f"The bars of an exchange come by ccxt: --source ccxt --exchange {name.lower()}"
    close_names = get_close_matches(name.lower(), kinds, n=1)
    every = f"There are {', '.join(kinds)}; an exchange is named by --source ccxt --exchange kraken"
    return f"Did you mean {close_names[0]}?" if close_names else every


def _vendor(vendor: Vendor, request: Request) -> Source:
    """Return the opened source of one vendor. Raises Failure for missing or wrong options, and SourceError."""
    if text := vendor.lack():
        raise Failure(text, CONFIG)
    for option in vendor.options:
        value = getattr(request, option.key)
        if option.missing and not value:
            raise Failure(f"{vendor.kind} needs {option.flag}; docs/operate/feeds.md has examples", USAGE)
        if option.choices and value not in option.choices:
            raise Failure(f"{value!r} is not one of {vendor.kind}'s; there are {', '.join(option.choices)}", USAGE)
    try:
        return opened(vendor.kind, request)
    except RequestWrong as error:
        raise Failure(str(error), USAGE) from None
