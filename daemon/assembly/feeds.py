"""A vendor of bars by its name: which adapter, whose keys, at which address; for a run and for `quantd data` alike.

Each adapter is imported only where it is used: one of them takes seconds.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from quantd.adapters.feeds.bars.stamps import UNITS_NS, interval_ns
from quantd.adapters.feeds.source import Source, SourceError, Stream
from quantd.adapters.feeds.sources.http import HttpMapping, Signature
from quantd.adapters.pace import Rate
from quantd.daemon.config import secret
from quantd.trading.instruments import Universe


class MappingWrong(ValueError):
    """A mapping that cannot be read; the text names the file, the key and what to write."""


def read_mapping(path: Path) -> HttpMapping:
    """An HttpMapping out of a TOML file. Raises MappingWrong, naming the file, the key and what to write."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MappingWrong(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingWrong(f"{path}: is not TOML: {error}") from None
    for kind, table, where in (
        (HttpMapping, document, ""),
        (Signature, document.get("signature"), "signature."),
        (Rate, document.get("rate"), "rate."),
    ):
        if isinstance(table, dict):
            _known_keys(path, kind, table, where)
    try:
        return msgspec.convert(document, HttpMapping)
    except (msgspec.ValidationError, ValueError) as error:
        raise MappingWrong(f"{path}: {str(error).replace('$.', '')}") from None


def _known_keys(path: Path, kind: type, table: Mapping[str, object], where: str) -> None:
    names = [field.name for field in fields(kind)]
    for key in table:
        if key not in names:
            near = get_close_matches(key, names, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(names)}"
            raise MappingWrong(f"{path}: {where}{key} is not a key of a mapping. {hint}")
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING and field.name not in table:
            raise MappingWrong(f"{path}: {where}{field.name} is missing")


if TYPE_CHECKING:
    from quantd.adapters.feeds.sources.alpaca import StockFeed

KINDS: Final = ("yfinance", "alpaca", "ccxt", "http")

MINUTE_NS: Final = UNITS_NS["m"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """Who is asked: `kind` as in [feed]; `plan` is Alpaca's feed, `venue` the exchange of kind ccxt, `mapping` the file of kind
    http. `adjusted` and `cookies` are of yfinance, which tells `told` how far it is."""

    kind: str
    url: str = ""
    plan: "StockFeed" = "iex"
    venue: str = ""
    mapping: Path | None = None
    adjusted: bool = False
    cookies: Path | None = None
    told: Callable[[float], None] = lambda share: None


def alpaca_keys() -> tuple[str, str]:
    """Key and secret, empty where there is none."""
    return secret("alpaca_key") or "", secret("alpaca_secret") or ""


def source_of(vendor: Vendor, universe: Universe, interval: str) -> Source:
    """The vendor, not yet asked for anything. Raises SourceError, and MappingWrong for a mapping that cannot be read."""
    match vendor.kind:
        case "yfinance":
            from quantd.adapters.feeds.sources.yfinance import YahooSource

            return YahooSource(
                universe,
                interval,
                adjusted=vendor.adjusted,
                gateway=vendor.url,
                cookies=vendor.cookies,
                told=vendor.told,
            )
        case "alpaca":
            from quantd.adapters.feeds.sources.alpaca import DATA_URL, AlpacaBars

            key, hidden = alpaca_keys()
            return AlpacaBars(
                universe, interval, key=key, secret=hidden, feed=vendor.plan, crypto=_pairs(universe),
                url=vendor.url or DATA_URL,
            )  # fmt: skip
        case "ccxt":
            from quantd.adapters.exchange.client import Access
            from quantd.adapters.feeds.sources.ccxt import CryptoSource

            return CryptoSource(Access(vendor.venue, url=vendor.url or None), universe, interval)
        case "http":
            from quantd.adapters.feeds.sources.http import HttpSource

            if vendor.mapping is None:
                raise SourceError("http", "it needs a mapping", "docs/operate/feeds.md has examples", again=False)
            key, hidden = secret("http_key") or "", secret("http_secret") or ""
            return HttpSource(read_mapping(vendor.mapping), universe, interval, key=key, secret=hidden)
    raise SourceError("[feed] kind", f'"{vendor.kind}" is no vendor', f"There are {', '.join(KINDS)}", again=False)


def stream_of(vendor: Vendor, universe: Universe, interval: str) -> Stream | None:
    """The same vendor's bars as they are made; None where it sends none of this interval. An exchange of ccxt that sends none says
    so when it is listened to: it is known only then."""
    if vendor.kind == "alpaca" and interval_ns(interval) == MINUTE_NS:
        from quantd.adapters.feeds.sources.alpaca_stream import STREAM_URL, AlpacaStream

        key, hidden = alpaca_keys()
        url = vendor.url.replace("http", "ws", 1) if vendor.url else STREAM_URL
        return AlpacaStream(universe, key=key, secret=hidden, feed=vendor.plan, crypto=_pairs(universe), url=url)
    if vendor.kind == "ccxt":
        from quantd.adapters.exchange.client import Access
        from quantd.adapters.feeds.sources.ccxt import CryptoSource
        from quantd.adapters.feeds.wrappers.completion import Completed

        return Completed(CryptoSource(Access(vendor.venue, url=vendor.url or None), universe, interval).stream())
    return None


def _pairs(universe: Universe) -> bool:
    """Whether these are pairs such as BTC/USD. Raises SourceError where only some are."""
    kinds = {"/" in symbol for symbol in universe.symbols}
    if len(kinds) > 1:
        raise SourceError("alpaca", "it has stocks and crypto apart", "Take them one after the other", again=False)
    return kinds == {True}
