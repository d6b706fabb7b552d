"""The description of a vendor of bars as data (`Vendor`), and the data of a request for bars (`Request`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantd.adapters.feeds.bars.rows import ActionRow
from quantd.adapters.feeds.source import SourceError
from quantd.adapters.plugins import Option
from quantd.extras import lack
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.instruments import Universe


class RequestWrong(SourceError):
    """A request, for example its interval or symbols, that this vendor cannot serve."""


class FileWrong(ExplainedError, ValueError):
    """A file named by a request cannot be read. The text names the file, the key and the remedy."""

    exit_code = CONFIG


@dataclass(frozen=True, slots=True)
class Request:
    """The requested bars, and the options of [feed] or of the command line.

    `url` replaces the vendor's address. `plan` is the data feed of Alpaca, `venue` the exchange of ccxt, `mapping` the
    mapping file of the vendor `http`. `zone` is the time zone of that vendor's stamps without an offset, if the mapping
    names none. `actions` is the file of splits and dividends for a vendor that lists none, and `listed` reads it.
    `adjusted` and `cookies` (the file of cookies) apply to Yahoo only. `progress` receives the completed
    share, 0 to 1.
    """

    universe: Universe
    interval: str
    url: str = ""
    plan: str = "iex"
    venue: str = ""
    mapping: Path | None = None
    zone: str = ""
    actions: Path | None = None
    listed: Callable[[], Sequence[ActionRow]] = tuple
    adjusted: bool = False
    cookies: Path | None = None
    progress: Callable[[float], None] = lambda share: None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Vendor:
    """The record of a vendor of bars. The module that has it imports neither the vendor's library nor a heavy package.

    `source` is the "module:function" that turns a Request into a Source. `stream` is the "module:function" that turns
    it into a Stream, or into None where the vendor streams no bars of that interval. Both functions raise SourceError.
    `module` is the Python module that must be installed, by the extra `extra` of quantd. `adjusts` means that the
    vendor can adjust prices. `whole` means that each request downloads all bars up to the present. `at_broker` means
    that the bars come from the address of the broker of the same kind.
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
    at_broker: bool = False

    def lack(self) -> str:
        """Return the message about the missing module, with the remedy; empty if it is installed."""
        return lack(f"the source {self.kind}", self.extra or self.module, self.module) if self.module else ""
