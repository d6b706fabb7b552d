"""Alpaca's market data over REST: raw bars of stocks (v2) and crypto (v1beta3), splits and dividends. What the
account's plan does not allow is refused by Alpaca in words, which are passed on."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, TypeVar, cast, get_args

import msgspec
from msgspec import Struct

from quantd.adapters.feeds.bars.rows import ORDER, ActionRow, Bar, Rows, nano, rows_of, within
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.source import SourceError, whole
from quantd.adapters.feeds.sources.http import iso_ns
from quantd.adapters.feeds.sources.http_client import Web
from quantd.adapters.feeds.vendor import Request, RequestWrong, Vendor
from quantd.adapters.pace import Rate
from quantd.adapters.plugins import Option
from quantd.trading.instruments import NANO, Universe
from quantd.trading.sessions import DAY_NS

DATA_URL: Final = "https://data.alpaca.markets"
FREE_RATE: Final = Rate(200, 60.0)
"""Requests a minute of the free plan."""

T = TypeVar("T")
StockFeed = Literal["iex", "sip", "delayed_sip", "boats", "overnight"]

STOCK_FEEDS: Final[tuple[StockFeed, ...]] = get_args(StockFeed)

VENDOR: Final = Vendor(
    "alpaca",
    source="quantd.adapters.feeds.sources.alpaca:source",
    stream="quantd.adapters.feeds.sources.alpaca_stream:stream",
    options=(Option("url"), Option("plan", "--feed iex", choices=STOCK_FEEDS)),
    secrets={
        "alpaca_key": "key of the account at Alpaca",
        "alpaca_secret": "secret of the account at Alpaca",
    },
)

_PAGE_BARS: Final = 10_000
_PAGE_ACTIONS: Final = 1_000
_MOST_PAGES: Final = 100_000
_SYMBOLS_A_REQUEST: Final = 200
"""Keeps an address below 2 KiB."""

_TYPES: Final = "forward_split,reverse_split,stock_dividend,cash_dividend,cash_merger,worthless_removal"


class WireBar(Struct):
    """One bar as Alpaca sends it; numbers exact."""

    t: str
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 - Alpaca's name
    c: Decimal
    v: Decimal


class _BarsPage(Struct):
    bars: dict[str, list[WireBar]] | None = None
    next_page_token: str | None = None


class _Split(Struct):
    symbol: str
    ex_date: date
    new_rate: Decimal
    old_rate: Decimal


class _Dividend(Struct):
    symbol: str
    ex_date: date
    rate: Decimal


class _Merger(Struct):
    acquiree_symbol: str
    effective_date: date
    rate: Decimal


class _Removal(Struct):
    symbol: str
    process_date: date


class _Actions(Struct):
    forward_splits: list[_Split] = []
    reverse_splits: list[_Split] = []
    stock_dividends: list[_Dividend] = []
    cash_dividends: list[_Dividend] = []
    cash_mergers: list[_Merger] = []
    worthless_removals: list[_Removal] = []


class _ActionsPage(Struct):
    corporate_actions: _Actions
    next_page_token: str | None = None


class AlpacaBars:
    """A Source over a universe of US stocks or, with `crypto`, of pairs such as BTC/USD; not of both.

    A session's bars are dated by their session, finer ones by their open (extended hours among them). Alpaca's crypto
    days end at midnight in Chicago, which no session of ours does: days of crypto are refused, hours are not.
    """

    stamps: Stamps
    adjusted: Final = False

    def __init__(
        self,
        universe: Universe,
        interval: str,
        *,
        key: str,
        secret: str,
        feed: StockFeed = "iex",
        crypto: bool = False,
        url: str = DATA_URL,
        rate: Rate | None = FREE_RATE,
        timeout_s: float = 20.0,
    ) -> None:
        if not (key and secret) and not crypto:
            remedy = "Set QUANTD_ALPACA_KEY and QUANTD_ALPACA_SECRET; paper accounts have them too"
            raise SourceError("alpaca", "it needs a key and a secret", remedy, again=False)
        self._length_ns = interval_ns(interval)
        if crypto and self._length_ns == DAY_NS:
            what = "its crypto days end at midnight in Chicago, not UTC"
            raise SourceError("alpaca", what, 'Ask for interval "1h"; days are made of hours', again=False)
        self._universe, self._crypto, self._feed = universe, crypto, feed
        self._timeframe = timeframe(self._length_ns)
        self._url = url.rstrip("/")
        self._headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret} if key else {}
        self._web = Web(self.name, rate=rate, timeout_s=timeout_s, hide=(key, secret))
        self.stamps = "session" if self._length_ns == DAY_NS else "open"

    @property
    def name(self) -> str:
        return "alpaca"

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Raises SourceError, and PartialAnswer where a long range holds no bar of some symbol."""
        daily = self._length_ns == DAY_NS
        # a day's bar is stamped at midnight in New York, 4 or 5 hours after the date that we ask by
        last_ns = end_ns + DAY_NS if daily else end_ns - 1
        params = {"timeframe": self._timeframe, "start": iso(start_ns), "end": iso(last_ns), "limit": str(_PAGE_BARS)}
        params |= {"sort": "asc"}
        path = "/v1beta3/crypto/us/bars"
        if not self._crypto:
            path = "/v2/stocks/bars"
            params |= {"adjustment": "raw", "feed": self._feed}
        found: list[Bar] = []
        for symbols in _groups(self._universe.symbols):
            async for body in self._pages(path, params | {"symbols": ",".join(symbols)}):
                page = _decoded(_bars_page, body)
                for symbol, bars in (page.bars or {}).items():
                    column = self._universe.index.get(symbol)
                    if column is None:
                        raise SourceError(self.name, f"bars of {symbol}, which nobody asked for", again=False)
                    found += [bar_of(bar, column, daily=daily) for bar in bars]
        rows = within(rows_of(found), start_ns, end_ns)
        return whole(self.name, rows, self._universe.symbols, start_ns, end_ns)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Splits, stock dividends (as splits), cash dividends, and delistings: mergers for cash, and what is removed as
        worthless. Spin-offs and mergers for shares cannot be said in an ActionRow: they are not among them. Raises
        SourceError."""
        if self._crypto:
            return []
        first, last = _day(start_ns), _day(end_ns - 1)
        params = {"types": _TYPES, "start": first, "end": last, "limit": str(_PAGE_ACTIONS), "sort": "asc"}
        rows: list[ActionRow] = []
        for symbols in _groups(self._universe.symbols):
            async for body in self._pages("/v1/corporate-actions", params | {"symbols": ",".join(symbols)}):
                rows += self._rows(_decoded(_actions_page, body).corporate_actions)
        wanted = [row for row in rows if start_ns <= row.day_ns < end_ns]
        return sorted(wanted, key=lambda row: (row.day_ns, row.column, ORDER[row.kind]))

    async def close(self) -> None:
        await self._web.close()

    async def _pages(self, path: str, params: Mapping[str, str]) -> AsyncIterator[bytes]:
        token = ""
        for _ in range(_MOST_PAGES):
            body = await self._web.get(
                self._url + path, {**params, **({"page_token": token} if token else {})}, self._headers
            )
            yield body
            following = _decoded(_token, body).next_page_token
            if not following:
                return
            if following == token:
                raise SourceError(self.name, "its pages never end: the next is always the same")
            token = following
        raise SourceError(self.name, f"more than {_MOST_PAGES} pages", "Ask for a shorter range", again=False)

    def _rows(self, page: _Actions) -> list[ActionRow]:
        index = self._universe.index
        rows = []
        for split in (*page.forward_splits, *page.reverse_splits):
            if split.symbol in index:
                rows.append(
                    _split(split.ex_date, index[split.symbol], Fraction(split.new_rate) / Fraction(split.old_rate))
                )
        for given in page.stock_dividends:
            if given.symbol in index:
                rows.append(_split(given.ex_date, index[given.symbol], 1 + Fraction(given.rate)))
        for paid in page.cash_dividends:
            if paid.symbol in index and nano(paid.rate):
                rows.append(ActionRow(_midnight(paid.ex_date), index[paid.symbol], "dividend", 1, 1, nano(paid.rate)))
        for bought in page.cash_mergers:
            if (column := index.get(bought.acquiree_symbol)) is not None:
                rows.append(ActionRow(_midnight(bought.effective_date), column, "delisting", 1, 1, nano(bought.rate)))
        for gone in page.worthless_removals:
            if gone.symbol in index:
                rows.append(ActionRow(_midnight(gone.process_date), index[gone.symbol], "delisting", 1, 1, 0))
        return rows


class _Token(Struct):
    next_page_token: str | None = None


_bars_page: Final = msgspec.json.Decoder(_BarsPage)
_actions_page: Final = msgspec.json.Decoder(_ActionsPage)
_token: Final = msgspec.json.Decoder(_Token)


def timeframe(length_ns: int) -> str:
    """Alpaca's name of an interval: 1Min to 59Min, 1Hour to 23Hour, 1Day. Raises SourceError where it has none."""
    minutes, rest = divmod(length_ns, 60 * NANO)
    if length_ns == DAY_NS:
        return "1Day"
    if not rest and minutes < 60:
        return f"{minutes}Min"
    if not rest and minutes % 60 == 0:
        return f"{minutes // 60}Hour"
    what = f"it has no bars of {length_ns // NANO} s"
    raise SourceError("alpaca", what, 'Ask for "1m" to "59m", "1h" to "23h" or "1d"', again=False)


def bar_of(bar: WireBar, column: int, *, daily: bool) -> Bar:
    """A bar of Alpaca as ours: by session date where `daily`, else by its open."""
    ts = iso_ns(bar.t)
    return (ts - ts % DAY_NS if daily else ts), column, bar.o, bar.h, bar.l, bar.c, bar.v


def iso(ns: int) -> str:
    """RFC 3339 with nanoseconds where there are some."""
    seconds, rest = divmod(ns, NANO)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09d}Z" if rest else f"{text}Z"


def _decoded(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError) as error:
        raise SourceError("alpaca", f"an answer that is not as documented ({error})", again=False) from None


def _split(day: date, column: int, ratio: Fraction) -> ActionRow:
    return ActionRow(_midnight(day), column, "split", ratio.numerator, ratio.denominator, 0)


def _midnight(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_NS


def _day(ns: int) -> str:
    return datetime.fromtimestamp(ns // NANO, UTC).date().isoformat()


def _groups(symbols: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [symbols[k : k + _SYMBOLS_A_REQUEST] for k in range(0, len(symbols), _SYMBOLS_A_REQUEST)]


def source(request: Request) -> AlpacaBars:
    """Opens Alpaca's bars over REST. Raises SourceError."""
    return AlpacaBars(
        request.universe, request.interval, key=request.secrets["alpaca_key"], secret=request.secrets["alpaca_secret"],
        feed=cast(StockFeed, request.plan), crypto=pairs(request.universe), url=request.url or DATA_URL,
    )  # fmt: skip


def pairs(universe: Universe) -> bool:
    """Whether these are pairs such as BTC/USD. Raises RequestWrong where only some are."""
    kinds = {"/" in symbol for symbol in universe.symbols}
    if len(kinds) > 1:
        raise RequestWrong("alpaca", "it has stocks and crypto apart", "Take them one after the other", again=False)
    return kinds == {True}
