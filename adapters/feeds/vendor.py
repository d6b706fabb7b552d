"""The record of a vendor of bars, and the request that opens it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quantd.adapters.feeds.source import SourceError
from quantd.adapters.plugins import Option
from quantd.extras import lack
from quantd.trading.instruments import Universe


class RequestWrong(SourceError):
    """A request that this vendor cannot serve."""


class FileWrong(ValueError):
    """A file of a request that cannot be read. The text names the file, the key and the remedy."""


@dataclass(frozen=True, slots=True)
class Request:
    """The requested bars, and the options of [feed] or of the command line.

    `url` replaces the vendor's address; `plan` is Alpaca's feed, `venue` the exchange of ccxt, `mapping` the file of
    http, and `zone` the clock of its stamps without an offset, if the mapping has none. `adjusted` and `cookies` are
    Yahoo's. `progress` receives the completed share.
    """

    universe: Universe
    interval: str
    url: str = ""
    plan: str = "iex"
    venue: str = ""
    mapping: Path | None = None
    zone: str = ""
    adjusted: bool = False
    cookies: Path | None = None
    progress: Callable[[float], None] = lambda share: None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor of bars as data. Its module imports neither the vendor's library nor another heavy package.

    `source` is "module:function" from a Request to a Source. `stream` is one to a Stream, or to None without a stream
    of that interval. Both raise SourceError. `module` has to be installed, with the extra `extra` of quantd. `adjusts`
    means that it has adjusted prices, `whole` that each request downloads all bars up to now.
    """

    kind: str
    source: str
    stream: str = ""
    options: tuple[Option, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    module: str = ""
    extra: str = ""
    adjusts: bool = False
    whole: bool = False

    def lack(self) -> str:
        """The text about a missing module, with the remedy; empty where it is installed."""
        return lack(f"the source {self.kind}", self.extra or self.module, self.module) if self.module else ""
