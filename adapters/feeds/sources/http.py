"""Bars from any HTTP source with JSON answers, by a mapping of its address, rows and fields."""

import base64
import hashlib
import hmac
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode, urlsplit
from zoneinfo import ZoneInfo

import msgspec

from quantd.adapters.calendars import day_ns, instant_ns
from quantd.adapters.feeds.bars.rows import ActionRow, Bar, Rows, joined, number, rows_of, within
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.source import SourceError, whole
from quantd.adapters.feeds.sources.http_client import Web
from quantd.adapters.feeds.vendor import FileWrong, Request, Vendor
from quantd.adapters.pace import Rate
from quantd.adapters.plugins import Option
from quantd.trading.instruments import NANO, Universe
from quantd.trading.sessions import DAY_NS

StampFormat = Literal["s", "ms", "us", "ns", "iso", "date"]

_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MOST_PAGES: Final = 10_000

VENDOR: Final = Vendor(
    "http",
    source="quantd.adapters.feeds.sources.http:source",
    options=(
        Option("mapping", "--mapping vendor.toml", 'name the file that describes the answers, mapping = "vendor.toml"'),
    ),
    secrets={
        "http_key": "key of a vendor of bars that a mapping describes",
        "http_secret": "secret that requests to such a vendor are signed with",
    },
)


@dataclass(frozen=True, slots=True)
class Signature:
    """The HMAC-SHA256 signature of a request.

    `text` is the template of the text to sign; it may contain {timestamp}, {method}, {path} and {query}. The signature
    and the timestamp are sent in the configured headers or query parameters. `encoding` is the encoding of the
    signature, `secret` the encoding in which the secret is written.
    """

    text: str = "{query}"
    header: str = ""
    parameter: str = ""
    timestamp_header: str = ""
    timestamp_parameter: str = ""
    timestamp: Literal["s", "ms", "us", "ns"] = "ms"
    encoding: Literal["hex", "base64"] = "hex"
    secret: Literal["text", "base64"] = "text"


@dataclass(frozen=True, slots=True)
class HttpMapping:
    """The address and answers of one vendor.

    `url` may contain the placeholders {symbol} {start} {end} {interval} {key}. `rows` is the dotted path to the list of
    bars (empty: the whole answer); {symbol} in that path is the vendor's name of the symbol. `ts`, `open` ... are
    dotted names of fields in a bar, or indices ("0") if a bar is a list. With `columns` each field is a list with one
    value per bar. If bars are the values of an object whose keys are stamps, `ts` is "@key".

    `stamps` is the stamp convention; with "session" a stamp counts as its date in `zone`. Stamps without an offset are
    read in `zone`, else in the zone of the request, else in UTC. An answer without `rows` is an error, unless
    `rows_optional` is set. `error` is the dotted path of the text of a failure.

    The next page is requested with the token at `next_token`, sent as `next_parameter`, or with `page_by_last` from the
    last stamp on. `end_inclusive` means that the vendor includes {end} in the range. `key_header` is the header that
    carries `key_text`, in which {key} is replaced.
    """

    name: str
    url: str
    rows: str = ""
    rows_optional: bool = False
    columns: bool = False
    ts: str = "ts"
    open: str = "open"
    high: str = "high"
    low: str = "low"
    close: str = "close"
    volume: str = "volume"
    stamp_format: StampFormat = "iso"
    stamps: Stamps = "open"
    zone: str = ""
    ask_format: StampFormat = "iso"
    end_inclusive: bool = False
    adjusted: bool = False
    symbols: Mapping[str, str] = field(default_factory=dict)
    intervals: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    next_token: str = ""
    next_parameter: str = ""
    page_by_last: bool = False
    error: str = ""
    key_header: str = ""
    key_text: str = "{key}"
    signature: Signature | None = None
    rate: Rate | None = None
    timeout_s: float = 20.0


class HttpSource:
    """A source of bars that a mapping describes, without splits and dividends: if its prices are raw, a file of actions
    is needed.

    Raises SourceError if a key or secret that the mapping needs is missing.
    """

    def __init__(
        self, mapping: HttpMapping, universe: Universe, interval: str, *, key: str = "", secret: str = ""
    ) -> None:
        """Raises SourceError where the mapping needs a key or a secret that is not given.

        A mapping describes the requests and answers of a vendor.
        """
        needs_key = mapping.key_header or "{key}" in mapping.url or "{key}" in "".join(mapping.headers.values())
        if needs_key and not key:
            raise SourceError(mapping.name, "it needs a key", "Set QUANTD_HTTP_KEY", again=False)
        if mapping.signature is not None and not secret:
            raise SourceError(mapping.name, "it needs a secret to sign with", "Set QUANTD_HTTP_SECRET", again=False)
        self._mapping, self._universe, self._interval = mapping, universe, interval
        self.name, self.stamps, self.adjusted = mapping.name, mapping.stamps, mapping.adjusted
        self._length_ns = interval_ns(interval)
        self._key, self._secret = key, secret
        self._zone = ZoneInfo(mapping.zone or "UTC")
        # False where requests are too coarse to begin after the newest bar: with dates, that day's bars come again
        self._fine = _unit_ns(mapping.ask_format) <= self._length_ns
        self._web = Web(mapping.name, rate=mapping.rate, timeout_s=mapping.timeout_s, hide=(key, secret))

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the bars, requested for one symbol after another. Raises SourceError where an answer is missing or
        incomplete."""
        # depending on the exchange's zone, a session's stamp may lie on the day before or after its date
        margin_ns = DAY_NS if self.stamps == "session" else 0
        parts = []
        for column, symbol in enumerate(self._universe.symbols):
            parts.append(rows_of(await self._bars_of(column, symbol, start_ns - margin_ns, end_ns + margin_ns)))
        return whole(self.name, within(joined(parts), start_ns, end_ns), self._universe.symbols, start_ns, end_ns)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return no action: a mapping describes bars only."""
        return []

    async def close(self) -> None:
        await self._web.close()

    async def _bars_of(self, column: int, symbol: str, start_ns: int, end_ns: int) -> list[Bar]:
        """Return all bars of one symbol, page after page.

        The next page begins after the newest bar (`page_by_last`), or is named by a token of the answer. Raises
        SourceError for pages that do not end.

        `newest` is the newest stamp so far (ns), -1 before the first page.
        """
        bars: list[Bar] = []
        newest, token, begin = -1, "", start_ns
        for _ in range(_MOST_PAGES):
            document = await self._page(symbol, begin, end_ns, token, further=newest >= 0)
            page = list(self._read(document, column, symbol))
            # a page from the last stamp on begins with the last bars of the previous page
            fresh = [bar for bar in page if bar[0] > newest] if self._mapping.page_by_last else page
            bars += fresh
            if self._mapping.page_by_last:
                newest = max((bar[0] for bar in fresh), default=newest)
                if not fresh or newest + 1 >= end_ns:
                    return bars
                begin = newest + 1
                continue
            next_token = _at(document, self._mapping.next_token) if self._mapping.next_token else None
            if next_token in (None, "", False):
                return bars
            if str(next_token) == token:
                raise SourceError(self.name, f"its pages of {symbol} never end: two pages have the same next token")
            token = str(next_token)
        raise SourceError(
            self.name, f"more than {_MOST_PAGES} pages of {symbol}", "Ask for a shorter range", again=False
        )

    async def _page(self, symbol: str, start_ns: int, end_ns: int, token: str, *, further: bool) -> Any:
        """Request one page, and return its JSON.

        A `further` page begins after the newest bar; a `token` that is not empty names the page. Raises SourceError for
        an answer that is no JSON or has an error message.
        """
        mapping = self._mapping
        values = {
            "symbol": mapping.symbols.get(symbol, symbol),
            "start": self._ask(start_ns, up=further and self._fine),
            "end": self._ask(end_ns - 1, up=False) if mapping.end_inclusive else self._ask(end_ns, up=True),
            "interval": mapping.intervals.get(self._interval, self._interval),
            "key": self._key,
        }
        url = _filled(mapping.url, {name: quote(value, safe="") for name, value in values.items()})
        if token:
            url += ("&" if "?" in url else "?") + urlencode({mapping.next_parameter: token})
        headers = {name: _filled(text, {"key": self._key}) for name, text in mapping.headers.items()}
        if mapping.key_header:
            headers[mapping.key_header] = _filled(mapping.key_text, {"key": self._key})
        if mapping.signature is not None:
            url, headers = signed(mapping.signature, url, headers, self._secret, time.time())
        body = await self._web.get(url, headers=headers)
        try:
            document = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._web.unreadable(body, f"JSON for {symbol}") from None
        failure_text = _at(document, mapping.error) if mapping.error else None
        if failure_text:
            raise SourceError(self.name, f"{symbol}: {self._web.words(str(failure_text))}", again=False)
        return document

    def _ask(self, ns: int, *, up: bool) -> str:
        """Return an instant (ns UTC) in the vendor's format, rounded `up` or down to its unit."""
        stamp_format = self._mapping.ask_format
        unit_ns = _unit_ns(stamp_format)
        ns = -(-ns // unit_ns) * unit_ns if up else ns // unit_ns * unit_ns
        if stamp_format in _PER_SECOND:
            return str(ns // unit_ns)
        moment = datetime.fromtimestamp(ns // NANO, UTC)
        return moment.date().isoformat() if stamp_format == "date" else moment.isoformat().replace("+00:00", "Z")

    def _read(self, document: Any, column: int, symbol: str) -> Iterator[Bar]:
        """Yield the bars of an answer, whose rows are objects, lists, a list for each column, or objects by time.

        Raises SourceError where the rows are not at the place that the mapping names.

        A bar is (stamp, column, open, high, low, close, volume). "@key" means that the key of a row is its time.
        """
        mapping = self._mapping
        names = (mapping.ts, mapping.open, mapping.high, mapping.low, mapping.close, mapping.volume)
        rows_path = _filled(mapping.rows, {"symbol": mapping.symbols.get(symbol, symbol)})
        rows = _at(document, rows_path)
        if rows is None:
            if not mapping.rows_optional:
                remedy = "Check rows in the mapping, or write rows_optional = true where the vendor leaves them out"
                raise SourceError(
                    self.name, f'no rows at "{rows_path}" in its answer for {symbol}', remedy, again=False
                )
            return
        if mapping.columns:
            lists = [_at(rows, name) for name in names]
            if not all(isinstance(cells, list) and len(cells) == len(lists[0]) for cells in lists):
                raise SourceError(self.name, f"its columns for {symbol} are not lists of one length", again=False)
            rows = [list(values) for values in zip(*lists, strict=True)]
            # the fields of a list by index
            names = ("0", "1", "2", "3", "4", "5")
        if isinstance(rows, dict) and mapping.ts == "@key":
            rows = [{"@key": key, **row} if isinstance(row, dict) else row for key, row in rows.items()]
        if not isinstance(rows, list):
            raise SourceError(
                self.name, f'"{rows_path}" holds no list of bars for {symbol}', "Check rows in the mapping", again=False
            )
        for row in rows:
            ts, *values = (_at(row, name) for name in names)
            if all(value is None for value in values):
                raise SourceError(
                    self.name, f"a row of {symbol} has none of {', '.join(names[1:])}", "Check the mapping", again=False
                )
            opened, high, low, close, volume = (number(value) for value in values)
            yield self._stamp(ts, symbol), column, opened, high, low, close, volume

    def _stamp(self, value: Any, symbol: str) -> int:
        """Convert a stamp to ns UTC, or to the date of a session. Raises SourceError for an unreadable stamp."""
        stamp_format = self._mapping.stamp_format
        try:
            if stamp_format in _PER_SECOND:
                number_of_units = number(value)
                if number_of_units is None or not number_of_units.is_finite():
                    raise ValueError
                ts = int(number_of_units * (NANO // _PER_SECOND[stamp_format]))
            else:
                ts = instant_ns(str(value), self._zone)
            return day_ns(datetime.fromtimestamp(ts // NANO, self._zone).date()) if self.stamps == "session" else ts
        except (ValueError, OverflowError):
            text = f"{str(value)[:40]!r} of {symbol} is no stamp in {stamp_format}"
            raise SourceError(self.name, text, "Check ts and stamp_format in the mapping", again=False) from None


def signed(
    how: Signature, url: str, headers: Mapping[str, str], secret: str, now_s: float
) -> tuple[str, dict[str, str]]:
    """Return the url and headers of a GET request with its signature (HMAC-SHA256, RFC 2104) added."""
    # the time in the unit of the signature
    stamp = str(int(now_s * 1_000_000) * _PER_SECOND[how.timestamp] // 1_000_000)
    signed_headers = dict(headers)
    if how.timestamp_parameter:
        url += ("&" if "?" in url else "?") + urlencode({how.timestamp_parameter: stamp})
    if how.timestamp_header:
        signed_headers[how.timestamp_header] = stamp
    url_parts = urlsplit(url)
    request = {"timestamp": stamp, "method": "GET", "path": url_parts.path, "query": url_parts.query}
    secret_bytes = base64.b64decode(secret) if how.secret == "base64" else secret.encode()
    mac = hmac.new(secret_bytes, _filled(how.text, request).encode(), hashlib.sha256).digest()
    signature = base64.b64encode(mac).decode() if how.encoding == "base64" else mac.hex()
    if how.header:
        signed_headers[how.header] = signature
    if how.parameter:
        url += ("&" if "?" in url else "?") + urlencode({how.parameter: signature})
    return url, signed_headers


def _unit_ns(how: StampFormat) -> int:
    return NANO * 86_400 if how == "date" else NANO // _PER_SECOND.get(how, 1)


_decoder: Final = msgspec.json.Decoder(float_hook=str)  # prices stay text, because a float would round them


def _at(value: Any, path: str) -> Any:
    """Return the value at a dotted path through JSON objects and lists; None where the path has no value."""
    if not path:
        return value
    if isinstance(value, dict) and path in value:
        return value[path]  # a name may contain dots: BRK.B
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.lstrip("-").isdecimal() and -len(value) <= int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Replace each {name} that is a key of `values`; other braces of the text stay."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def source(request: Request) -> HttpSource:
    """Return the source that the request's mapping describes. Raises SourceError, and FileWrong for a fault of the
    mapping file."""
    if request.mapping is None:
        raise SourceError("http", "it needs a mapping", "docs/operate/feeds.md has examples", again=False)
    key, hidden = request.secrets["http_key"], request.secrets["http_secret"]
    mapping = read_mapping(request.mapping)
    mapping = replace(mapping, zone=mapping.zone or request.zone)
    return HttpSource(mapping, request.universe, request.interval, key=key, secret=hidden)


def read_mapping(path: Path) -> HttpMapping:
    """Read a mapping from a TOML file. Raises FileWrong for an unreadable file, and for unknown or wrong keys."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileWrong(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileWrong(f"{path}: is not TOML: {error}") from None
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
        raise FileWrong(f"{path}: {str(error).replace('$.', '')}") from None


def _known_keys(path: Path, kind: type, table: Mapping[str, object], where: str) -> None:
    """Raise FileWrong for a key of a table that is no field of `kind`, and for a missing key without a default."""
    names = [key_field.name for key_field in fields(kind)]
    for key in table:
        if key not in names:
            similar = get_close_matches(key, names, n=1)
            hint = f"Did you mean {similar[0]}?" if similar else f"There are {', '.join(names)}"
            raise FileWrong(f"{path}: {where}{key} is not a key of a mapping. {hint}")
    for key_field in fields(kind):
        if key_field.default is MISSING and key_field.default_factory is MISSING and key_field.name not in table:
            raise FileWrong(f"{path}: {where}{key_field.name} is missing")
